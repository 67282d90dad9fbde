"""The shop as a local web site. Loads no torch: what is shown is the environment and files."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hiper.envs.webshop import WebshopEnv
from hiper.envs.webshop.site import App, Shop, SiteError, SiteServer, load_episodes
from hiper.records import CONFIG_FILE, TRAJECTORY_FOLDER
from hiper.runs.config import Config, EnvConfig, load_config, make_config
from hiper.runs.world import World

ENVIRONMENT = "webshop"
LONGEST = 1_000_000  # turns; no recorded episode is cut here, its own run did that


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be shown. None: as in the run whose episodes are replayed, else the default.

    goal: a place in the split, or game: a name; where the visit begins. replay: a trajectory file; episode: the one
    to begin with. overrides: `KEY=VALUE` settings, of which those of `env` count.
    """

    data: str | None = None
    split: str = "test"
    compat: str | None = None
    goal: int | None = None
    game: str | None = None
    port: int = 8080
    replay: Path | None = None
    episode: int | None = None
    overrides: tuple[str, ...] = ()


def open_site(wanted: Wanted) -> SiteServer:
    """The site, listening but not yet answering. Raises SiteError, UnknownName, DataError, ConfigError or FileError."""
    if wanted.episode is not None and wanted.replay is None:
        raise SiteError("an episode is chosen from a file of them: --episode needs --replay")
    config = _placed(wanted)
    shop = _shop(config, wanted.split)
    app = _with_episodes(wanted, config, shop) if wanted.replay else App(shop, start=_first_goal(wanted, shop))
    return SiteServer(app, wanted.port)


def _placed(wanted: Wanted) -> EnvConfig:
    """The environment's settings: the run's where its episodes are replayed, and over them what is asked for."""
    run = None if wanted.replay is None else _run_of(wanted.replay)
    changes = Config(env=EnvConfig(name=ENVIRONMENT)).model_dump() if run is None else run.model_dump()
    env = changes["env"]
    if env["name"] != ENVIRONMENT:
        raise SiteError(f"{wanted.replay}: recorded in {env['name']!r}; only {ENVIRONMENT} has a site")
    if wanted.data is not None:
        env["data"] = wanted.data
    if wanted.compat is not None:
        env["options"] = {**env["options"], "compat": wanted.compat}
    return make_config(changes, wanted.overrides).env


def _run_of(file: Path) -> Config | None:
    """The configuration of the run that wrote the file; None where it lies in no run folder."""
    config = file.absolute().parent.parent / CONFIG_FILE
    return load_config(config) if file.absolute().parent.name == TRAJECTORY_FOLDER and config.exists() else None


def _shop(config: EnvConfig, split: str) -> Shop:
    return Shop(cast(WebshopEnv, World(config).make(split)))


def _first_goal(wanted: Wanted, shop: Shop) -> str:
    """The address of the goal to begin with. Raises UnknownName where there is none."""
    place = shop.goals.place(wanted.game) if wanted.game is not None else wanted.goal or 0
    shop.goals.at(place)
    return f"/goal/{place}"


def _with_episodes(wanted: Wanted, config: EnvConfig, shop: Shop) -> App:
    """The site with the episodes of a file, which may be of any split."""
    assert wanted.replay is not None
    every = _shop(config.model_copy(update={"max_turns": LONGEST}), "all")
    episodes = load_episodes(wanted.replay, every)
    start = "/replay" if wanted.episode is None else f"/replay/{wanted.episode}/0"
    if wanted.episode is not None and wanted.episode >= len(episodes):
        raise SiteError(f"{wanted.replay} has no episode {wanted.episode}: they are numbered 0 to {len(episodes) - 1}")
    if wanted.goal is not None or wanted.game is not None:
        start = _first_goal(wanted, shop)
    return App(shop, start=start, episodes=episodes, source=wanted.replay.name)
