"""ALFWorld as a Gymnasium environment.

Observations are exactly the text that the official engine prints, commands exactly those it takes; the reward
is 1 at success and 0 otherwise. `info` always holds:

- `admissible_commands`: list of str, sorted; every command that does something now
- `won`: bool
- `task_type`: str, one of the benchmark's six
- `game`: str, the name of the game being played
- `expert_action`, `expert_decision`, `expert_subgoal`: only with `expert=True`: what the scripted expert
  would do now, whether it would KEEP its subgoal or SWITCH, and the subgoal it would act under
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, get_args
from weakref import WeakValueDictionary

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text

from hiper.envs.about import About
from hiper.envs.alfworld.data import GameSource, OfficialGames, open_games
from hiper.envs.alfworld.engine import Engine
from hiper.envs.alfworld.game import renumber as renumber_game
from hiper.envs.alfworld.generate import GeneratedGames
from hiper.envs.alfworld.homes import Size
from hiper.envs.alfworld.ladder import LadderEngine, engine_of
from hiper.envs.errors import DataError, UnknownName, nearest

EngineName = Literal["native", "textworld"]
Info = dict[str, Any]  # Gymnasium's own type of `info`
RULES_VERSION: Final = "alfworld-0.4.2"
MAX_OBSERVATION: Final = 8192  # characters; the longest of the official games has about 1,300
MAX_COMMAND: Final = 1024


class Player(Protocol):
    """What plays one game: the native engine, or the official one behind the same face."""

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""

    def reset(self) -> str:
        """Back to the start; the text printed there."""

    def step(self, command: str) -> str:
        """Does a command and answers it."""

    def admissible(self) -> Sequence[str]:
        """The commands that do something now."""


class _Expert(Protocol):
    """The part of `hiper.envs.alfworld.expert.Expert` that is used here."""

    def reset(self, observation: str, seed: int | None = None) -> None:
        """A new episode begins with this text."""

    def observe(self, command: str, observation: str) -> None:
        """What was done, by whomever, and what the game answered."""

    def advise(self) -> Any:
        """What to do now, as a record with a field `action`."""


class AlfworldEnv(gymnasium.Env[str, str]):
    """One household game at a time.

    An episode ends as *terminated* when the goal holds, as *truncated* after `max_steps` commands.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}  # type: ignore[misc]
    about: ClassVar[About] = About(eval_splits=("valid_seen", "valid_unseen"), further_splits=("valid_train",))

    def __init__(
        self,
        data: str | Path | GameSource | None = None,
        split: str = "valid_unseen",
        max_steps: int = 50,
        engine: EngineName = "native",
        expert: bool = False,
        expert_search: Literal["best", "varied"] = "best",
        renumber: bool = False,
        size: Size = "full",
        chain: int = 1,
        room: str = "",
        shortest: int = 0,
        pay_stages: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """data: path of the official tree or pack, or a source of games; None for generated games.

        engine: `native`, or `textworld` for the official engine (`pip install 'hiper[alfworld]'`), which is
        slow. renumber: at every reset give the things of a kind other numbers, by the seed. expert: put the
        expert's advice into info; expert_search: see `expert.Expert`. size, chain, room, shortest: of generated
        games, see `generate.GeneratedGames`. pay_stages: of a chain of k tasks, each pays 1/k when it is done, in
        place of 1 for all at the end; `task_score` in info is what was paid so far. render_mode: None or `ansi`.
        Raises ValueError for a bad setting, DataError or UnknownName for data that is not there.
        """
        if type(max_steps) is not int or max_steps < 1:
            raise ValueError(f"max_steps must be a whole number of at least 1, not {max_steps!r}")
        if engine not in get_args(EngineName):
            raise ValueError(f"engine must be one of {', '.join(get_args(EngineName))}, not {engine!r}")
        if engine == "textworld" and renumber:
            raise ValueError("renumber=True needs engine='native'")
        if render_mode not in {None, "ansi"}:
            raise ValueError(f"render_mode must be None or 'ansi', not {render_mode!r}")
        printable = string.printable
        self.observation_space = Text(min_length=1, max_length=MAX_OBSERVATION, charset=printable)
        self.action_space = Text(min_length=0, max_length=MAX_COMMAND, charset=printable)
        self.render_mode = render_mode
        self.max_steps = max_steps
        self.games = _source(data, split, size=size, chain=chain, room=room, shortest=shortest)
        self._engine: EngineName = engine
        self._renumber = renumber
        self._pay_stages = pay_stages
        self._paid = 0.0
        self._expert = _make_expert(expert_search) if expert else None
        self._player: Player | None = None
        self._observation = ""
        self._fixed_info: Info = {}
        self._steps = 0
        self._over = True

    @property
    def version(self) -> str:
        """Rules, engine and data in one string, for reports."""
        return f"{RULES_VERSION}/{self._engine}/{self.games.version}"

    @property
    def data_sha256(self) -> str:
        """Hash of all games of the split."""
        return self.games.sha256

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Starts a game: `options={"game": name}`, or without it one chosen uniformly by the seed.

        Raises UnknownName where there is no such game or option.
        """
        super().reset(seed=seed)
        name = self._chosen(options or {})
        game = self.games.game(name)
        if self._renumber:
            game = renumber_game(game, self.np_random)
        native = self._engine == "native"
        self._player = engine_of(game) if native else _official_player(self.games, game.path)
        self._fixed_info = {"task_type": game.task_type, "game": game.path}
        self._steps = 0
        self._over = False
        self._observation = self._player.reset()
        self._paid = self._earned(self._player)
        if self._expert is not None:
            self._expert.reset(self._observation, seed=seed)
        return self._observation, self._info(self._player)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Does one command. One that is not admissible answers `Nothing happens.` and counts as a step too.

        Raises ResetNeeded before the first reset and after the end of an episode, TypeError for a non-string.
        """
        player = self._player
        if player is None or self._over:
            raise ResetNeeded("the episode is over (or none was begun): call reset() before step()")
        if not isinstance(action, str):
            raise TypeError(f"a command must be a str, not {type(action).__name__}")
        self._observation = player.step(action)
        self._steps += 1
        if self._expert is not None:
            self._expert.observe(action, self._observation)
        won = player.won
        truncated = not won and self._steps >= self.max_steps
        self._over = won or truncated
        before, self._paid = self._paid, self._earned(player)
        return self._observation, self._paid - before, won, truncated, self._info(player)

    def situation(self) -> tuple[int, ...] | None:
        """A name for how far the game has come, of which only equality means anything: `Engine.situation`.

        Credit that compares episodes of one game takes turns of one name for one state. None: the official engine
        does not say.
        """
        return self._player.situation() if isinstance(self._player, Engine) else None

    def render(self) -> str | None:
        """The last observation with `render_mode="ansi"`, else None."""
        return self._observation if self.render_mode == "ansi" else None

    def _earned(self, player: Player) -> float:
        """What has been earned in this game so far: 1 for winning, or a share for each task of a chain that is done."""
        if player.won or not (self._pay_stages and isinstance(player, LadderEngine)):
            return float(player.won)
        return player.stage / player.stages

    def _chosen(self, options: Mapping[str, Any]) -> str:
        """The name of the game to play."""
        for key in options:
            if key != "game":
                raise UnknownName(f"unknown reset option {key!r}; known: 'game'{nearest(key, ['game'])}")
        name = options.get("game")
        return self.games.pick(self.np_random) if name is None else str(name)

    def _info(self, player: Player) -> Info:
        """The info of the present state. The list is the caller's own."""
        info = {"admissible_commands": list(player.admissible()), "won": player.won, **self._fixed_info}
        if self._pay_stages:
            info["task_score"] = self._paid
        if self._expert is not None:
            advice = self._expert.advise()
            info["expert_action"] = advice.action
            info["expert_decision"] = advice.decision
            info["expert_subgoal"] = advice.subgoal
        return info


# Generated games in use: environments that run beside each other share them, and what is known about each.
_generated: WeakValueDictionary[tuple[str, Size, int, str, int], GeneratedGames] = WeakValueDictionary()


def _source(
    data: str | Path | GameSource | None, split: str, *, size: Size, chain: int, room: str, shortest: int
) -> GameSource:
    """The games to play."""
    if data is None:
        key = (split, size, chain, room, shortest)
        games = _generated.get(key)
        if games is None:
            games = _generated[key] = GeneratedGames(split, size=size, chain=chain, room=room, shortest=shortest)
        return games
    if (size, chain, room, shortest) != ("full", 1, "", 0):
        raise ValueError(f"size, chain, room and shortest are settings of generated games; data names others: {data}")
    return open_games(data, split) if isinstance(data, str | Path) else data


def _make_expert(search: Literal["best", "varied"]) -> _Expert:
    """The scripted expert. Loaded only when asked for: it reads tables that nothing else needs."""
    from hiper.envs.alfworld.expert import Expert

    return Expert(search=search)


def _official_player(games: GameSource, name: str) -> Player:
    """The official engine with the game of that name. Raises DataError where the games are not official."""
    from hiper.envs.alfworld.textworld import OfficialEngine

    if not isinstance(games, OfficialGames):
        raise DataError("engine='textworld' plays official games only; give their path as data=")
    return OfficialEngine(games.files.official_json(name))
