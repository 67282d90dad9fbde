"""The official ALFWorld engine behind the face of ours: slow, for reference. Needs `hiper[alfworld]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from hiper.envs.errors import MissingExtra


class OfficialEngine:
    """One game in the official engine (alfworld 0.4.2, textworld 1.7.0), without its limit of steps."""

    def __init__(self, game_file: Mapping[str, object]) -> None:
        """game_file: the content of a `game.tw-pddl`. Loading takes seconds.

        Raises MissingExtra where alfworld is not installed.
        """
        try:
            textworld = import_module("textworld")
            pddl = import_module("textworld.envs.pddl.pddl")
            alfworld = import_module("alfworld.agents.environment.alfred_tw_env")
        except ImportError as error:
            raise MissingExtra(
                f"engine='textworld' needs the official engine ({error}): pip install 'hiper[alfworld]'"
            ) from None
        infos = textworld.EnvInfos(won=True, admissible_commands=True)
        self._env = alfworld.AlfredDemangler(pddl.PddlEnv(infos), shuffle=False)
        self._env.load(dict(game_file))
        self._state: Any = None

    @property
    def won(self) -> bool:
        """Whether the goal holds now."""
        return bool(self._state["won"])

    def reset(self) -> str:
        """Back to the start; the text printed there."""
        self._state = self._env.reset()
        return str(self._state.feedback)

    def step(self, command: str) -> str:
        """Does a command and answers it."""
        self._state, _, _ = self._env.step(command)
        return str(self._state.feedback)

    def admissible(self) -> Sequence[str]:
        """The commands that do something now, sorted."""
        return list(self._state["admissible_commands"])
