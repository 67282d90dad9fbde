"""What there is to do in a home: draws goals that can be carried out there, one or a ladder of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Final

from hiper.envs.alfworld.game import Flag, Goal, GoalKind
from hiper.envs.alfworld.homes import Home
from hiper.envs.alfworld.placement import placement
from hiper.envs.dice import Dice

_NEW_PAIR: Final = 0.2  # how often item and target are drawn apart, which gives pairs that no official task has
_REUSE: Final = 0.5  # how often a later stage of a ladder is about an item of an earlier one
_ATTEMPTS: Final = 20  # draws for a later stage before the home is given up
_ABILITY: Final[Mapping[GoalKind, Flag]] = {
    "clean": Flag.CLEANABLE,
    "heat": Flag.HEATABLE,
    "cool": Flag.COOLABLE,
}
_APPLIANCE: Final[Mapping[GoalKind, str]] = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}


@cache
def kinds() -> Mapping[tuple[str, GoalKind], int]:
    """(room, kind of goal), with the number of official training games as odds."""
    return {
        (room, kind): sum(pairs.values())
        for room, statistics in placement().rooms.items()
        for kind, pairs in statistics.tasks.items()
    }


def draw_stages(place: Home, kind: GoalKind, chain: int, dice: Dice) -> tuple[Goal, ...]:
    """`chain` goals for this home, the first of that kind; () where the draw cannot be carried out there."""
    stages: list[Goal] = []
    for number in range(chain):
        # The last stage always is about something met before: no ladder is a mere list of tasks.
        again = number > 0 and (number == chain - 1 or dice.chance(_REUSE))
        for _ in range(_ATTEMPTS if number else 1):
            goal = _same_item(place, stages, dice) if again else _new_item(place, stages, kind, dice)
            if goal is not None and _has_room(place, [*stages, goal], goal.item):
                stages.append(goal)
                break
        else:
            return ()
    return tuple(stages)


def avoided(stages: Sequence[Goal], item: str) -> frozenset[str]:
    """Receptacle types in which no item of that type may be at the start, lest a goal be half reached.

    A single task of cleaning, heating or cooling needs no such care, and the official games take none.
    """
    return frozenset(
        goal.target
        for goal in stages
        if goal.item == item and goal.kind != "look" and (len(stages) > 1 or goal.kind not in _APPLIANCE)
    )


def _items(stages: Iterable[Goal]) -> tuple[str, ...]:
    """The item types of the goals, without repeats."""
    return tuple(dict.fromkeys(goal.item for goal in stages))


@cache
def _kinds_in(room: str) -> Mapping[GoalKind, int]:
    """Kinds of goal set in that room, with odds."""
    return {kind: n for (where, kind), n in kinds().items() if where == room}


def _new_item(place: Home, stages: Sequence[Goal], kind: GoalKind, dice: Dice) -> Goal | None:
    """A goal for an item of no earlier stage, the first of that kind; None where it cannot be carried out."""
    if stages:
        kind = dice.weighted(_kinds_in(place.room))
    pairs = placement().rooms[place.room].tasks[kind]
    item, target = dice.weighted(pairs)
    if dice.chance(_NEW_PAIR):
        _, target = dice.weighted(pairs)
    goal = Goal(kind, item, target)
    return goal if item not in _items(stages) and _is_possible(place, goal) else None


def _same_item(place: Home, stages: Sequence[Goal], dice: Dice) -> Goal | None:
    """Another goal for an item of an earlier stage; None where the draw cannot be carried out.

    The target is one the item has not been brought to, so that the stage is never done before it is begun.
    """
    item = dice.one(_items(stages))
    kind = dice.weighted(_kinds_in(place.room))
    _, target = dice.weighted(placement().rooms[place.room].tasks[kind])
    goal = Goal(kind, item, target)
    is_new = all((earlier.item, earlier.target) != (item, target) for earlier in stages)
    return goal if is_new and _is_possible(place, goal) else None


def _is_possible(place: Home, goal: Goal) -> bool:
    """The home has what the goal needs, and the item allows it."""
    if goal.kind == "look":
        return bool(place.places(goal.target))
    ability, appliance = _ABILITY.get(goal.kind), _APPLIANCE.get(goal.kind)
    if ability is not None and not placement().flags[goal.item] & ability:
        return False
    if appliance is not None and appliance not in place.of_type:
        return False
    return goal.target in place.of_type and goal.item in placement().holds[goal.target]


def _has_room(place: Home, stages: Sequence[Goal], item: str) -> bool:
    """There is somewhere to put the item at the start."""
    return not avoided(stages, item).issuperset(place.places(item))
