"""Looking at agents: evaluating whoever is named, watching an episode, or handing the keyboard to a person."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import torch

from hiper.envs import DataNotFound, Survey, Tell, about, names
from hiper.records import Trajectory, write_trajectories
from hiper.rollout import Limits, Task, play
from hiper.runs.agent import open_agent
from hiper.runs.config import Config, ConfigError, EnvConfig, make_config
from hiper.runs.evaluate import evaluate
from hiper.runs.setup import build_interface, build_layout, cores
from hiper.runs.world import World

Row = dict[str, object]
DEFAULT_VIEW = "default"
_OPTION_OF = {"seed": "--seed", "sampling.temperature": "--temperature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The games to look at: environment, official data ("": generated games), turn limit. None: as in training."""

    env: str | None = None
    data: str | None = None
    max_turns: int | None = None
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for override in self.overrides:
            key = override.partition("=")[0].strip()
            if key in _OPTION_OF:
                raise ConfigError(f"{key} is that of training and has no part here: give {_OPTION_OF[key]}")


def placed(base: Config, where: Where) -> Config:
    """The agent's configuration in the place where it is to play. Options for generated games stay with those."""
    changes = base.model_dump(exclude={"env": {"train_split"}, "sft": {"split"}, "eval": {"splits"}})
    name = base.env.name if where.env is None else where.env
    data = base.env.data if where.data is None else where.data
    same = base.env.name == name and bool(base.env.data) == bool(data)
    changes["env"] |= {"name": name, "data": data, "options": base.env.options if same else {}}
    if where.max_turns is not None:
        changes["env"]["max_turns"] = where.max_turns
    return make_config(changes, where.overrides)


def evaluate_agent(
    name: str,
    where: Where,
    *,
    splits: Sequence[str] = (),
    episodes: int = 0,
    tries: int = 1,
    temperature: float = 0.0,
    seed: int = 0,
    base_url: str = "",
    capacity: int | None = None,
    all_views: bool = False,
    save: Path | None = None,
    on_split: Callable[[str, int], None] = lambda split, total: None,
    on_done: Callable[[Trajectory], None] | None = None,
) -> list[Row]:
    """One row for each split. `on_split` is told what comes and how many games it has. splits: empty for those that
    the environment evaluates on. all_views: also under each of the views that the environment declares (`About.views`),
    a row for each of those as well; `view` in the row says which. tries: how often each game is played.
    Raises ConfigError where views are asked for and there is none, and for several tries of who never draws.
    """
    if tries > 1 and temperature == 0:
        raise ConfigError(f"{tries} tries at temperature 0 would all be the same: set a temperature, e.g. 0.7")
    base, sampler, is_expert = open_agent(
        name, overrides=where.overrides, temperature=temperature, base_url=base_url, capacity=capacity
    )
    config = placed(base, where)
    rows: list[Row] = []
    kept: list[Trajectory] = []
    for view, seen in (_views(config, where.overrides) if all_views else {"": config}).items():
        world = World(seen.env)
        for split in dict.fromkeys(splits or about(seen.env.name).eval_splits):
            count = tries * len(world.all_tasks(split, limit=episodes, seed=seed))
            on_split(f"{split}, {view}" if view else split, count)
            row, played = evaluate(
                seen, world, sampler, split, seed=seed, limit=episodes, tries=tries, expert=is_expert, on_done=on_done
            )
            rows.append({"model": name, "temperature": temperature, **({"view": view} if view else {}), **row})
            kept += played
        world.close()
    if save is not None:
        write_trajectories(save, kept)
    return rows


def _views(config: Config, overrides: Sequence[str]) -> dict[str, Config]:
    """The configuration in the default view, whatever the agent was trained in, and in each that its environment
    declares."""
    env = config.env
    declared = about(env.name).views
    if not declared:
        raise ConfigError(f"environment {env.name!r} has one view only: there is nothing to compare it with")
    keys = {key for options in declared.values() for key in options}
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.removeprefix("env.options.") in keys:
            raise ConfigError(f"{key} is what the views differ in: leave out either the setting or the views")
    plain = {key: value for key, value in env.options.items() if key not in keys}
    return {
        view: config.model_copy(update={"env": env.model_copy(update={"options": {**plain, **options}})})
        for view, options in {DEFAULT_VIEW: {}, **declared}.items()
    }


def watch(name: str, where: Where, split: str | None, *, game: str | None, seed: int, temperature: float) -> Trajectory:
    """One episode of an agent. split: None for the environment's own choice, as in `open_game`."""
    base, sampler, is_expert = open_agent(name, overrides=where.overrides, temperature=temperature)
    config = placed(base, where)
    world = World(config.env)
    split = split or about(config.env.name).eval_splits[-1]
    more = {"expert": True} if is_expert else {}
    task = Task(seed=seed, options={"game": game} if game else None)
    limits = Limits(turns=config.env.max_turns)
    make_env, agent = (lambda: world.make(split, **more)), config.agent
    return play(make_env, sampler, build_interface(agent), build_layout(agent), [task], limits=limits)[0]


def open_game(where: Where, split: str | None) -> gymnasium.Env[str, str]:
    """An environment for a person to play."""
    config = placed(make_config({}), where).env
    return World(config).make(split or about(config.name).eval_splits[-1])


def find_data(first: str | None, second: str | None) -> tuple[str, str | None]:
    """Environment and path of `hiper data [ENVIRONMENT] [PATH]`. Alone, the name of an environment is one."""
    default = EnvConfig().name
    if first is None:
        return default, None
    return (default, first) if second is None and first not in names() else (first, second)


def describe_data(name: str, path: str | None, tell: Tell) -> Survey:
    """What the data of an environment holds, and all that is to be known of each split; prepares the cache on the way.

    Raises EnvError where something is missing or damaged.
    """
    own = about(name)
    if own.survey is not None:
        return own.survey(path, tell)
    world = World(EnvConfig(name=name, data=path or ""))
    splits, absent = [own.train_split, *own.eval_splits], []
    for split in own.further_splits if path else ():
        try:
            world.names(split)
            splits.append(split)
        except DataNotFound:
            absent.append(f"{split}: not there; neither training nor evaluation needs it")
    found = {split: {"games": len(world.names(split)), **world.identity(split)} for split in splits}
    return Survey(splits=found, absent=tuple(absent))


def diagnose() -> Row:
    """What is installed and what this machine can do."""
    rows: Row = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpus": cores(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "disk_free_gb": round(shutil.disk_usage(".").free / 1e9, 1),
        "folder_is_writable": os.access(".", os.W_OK),
    }
    official = importlib.util.find_spec("alfworld")
    rows["alfworld"] = "installed" if official else "not installed (optional: the official engine, for comparison)"
    return rows
