"""Ladders: several tasks in one game, for horizons as long as one likes.

The stages must be done in order. A stage is done as soon as its goal holds while all before it are done; from
then on it may be undone. The game is won when the goal of the last stage holds, all others being done.

Why in order, and not all goals at once in the end: a later stage can then build on an earlier one. An egg
heated and put on the table may next have to be cooled and put elsewhere, which no single state satisfies.
It also means that an agent must remember which stage it is in: the game does not say.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Final

from hiper.envs.alfworld.engine import Engine
from hiper.envs.alfworld.game import Game, Goal
from hiper.envs.alfworld.world import World, world_of

MAX_CHAIN: Final = 8
_FIRST_TURNS: Final = 50  # the usual limit of a game
_MORE_TURNS: Final = 20  # a later stage takes the expert about 7, half of it with the home already known


def turn_limit(chain: int) -> int:
    """A fair `max_steps` for a ladder of `chain` stages; for one the usual 50."""
    return _FIRST_TURNS + _MORE_TURNS * (chain - 1)


@dataclass(frozen=True, slots=True)
class LadderGame(Game):
    """A game whose goals are `stages`, to be reached in order; `goal` is the first of them."""

    stages: tuple[Goal, ...] = ()


def ladder(game: Game, stages: tuple[Goal, ...], task: str) -> LadderGame:
    """`game` with its goal and task replaced by several. Its task type becomes e.g. `chain_3`."""
    parts = {field.name: getattr(game, field.name) for field in fields(Game)}
    parts |= {"goal": stages[0], "task": task, "task_type": f"chain_{len(stages)}"}
    return LadderGame(**parts, stages=stages)


class LadderEngine(Engine):
    """Plays a ladder. `stage` is the number of stages done, save that the last is only ever under way."""

    __slots__ = ("_stages", "stage")

    def __init__(self, game: LadderGame) -> None:
        """The ladder at its start."""
        self._stages = _stage_worlds(game)
        super().__init__(self._stages[0])

    @property
    def stages(self) -> int:
        """How many there are."""
        return len(self._stages)

    def reset(self) -> str:
        """Back to the start; the text printed there."""
        self.stage = 0
        self.world = self._stages[0]
        text = super().reset()
        self._climb()
        return text

    def copy(self) -> LadderEngine:
        """An independent engine in the same state."""
        twin = LadderEngine.__new__(LadderEngine)
        for name in (*Engine.__slots__, *LadderEngine.__slots__):
            setattr(twin, name, copy(getattr(self, name)) if name in _MUTABLE else getattr(self, name))
        return twin

    def step(self, command: str) -> str:
        """Does a command and answers it."""
        answer = super().step(command)
        self._climb()
        return answer

    def situation(self) -> tuple[int, ...]:
        """As of a single task, with the stage, and the things that any stage to come speaks of."""
        items = 0
        for world in self._stages[self.stage :]:
            items |= world.goal_items
        return (self.stage, *self._facts(items))

    def _climb(self) -> None:
        """Goes up a stage for each that is done, and looks whether the next one is too."""
        while self.won and self.stage < len(self._stages) - 1:
            self.stage += 1
            self.world = self._stages[self.stage]
            self.won = self._goal_holds()


_MUTABLE: Final = frozenset({"contents", "present", "taken"})


def _stage_worlds(game: LadderGame) -> tuple[World, ...]:
    """Per stage the world with that stage's goal. All share the tables and the memory of one."""
    whole = world_of(game)
    worlds = []
    for goal in game.stages:
        world = copy(whole)
        world.game = replace(game, goal=goal)
        world._set_goal(world.game)
        worlds.append(world)
    return tuple(worlds)


def engine_of(game: Game) -> Engine:
    """The engine that plays a game: a ladder's own, or the plain one."""
    return LadderEngine(game) if isinstance(game, LadderGame) else Engine(game)
