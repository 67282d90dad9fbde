"""Homes to play in: rooms with receptacles, drawn from the statistics of the training homes.

A home has no items; `generate` puts them there, other ones for each game. The same seed, size, room and
number always give the same home.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from hiper.envs.alfworld.game import ReceptaclePart
from hiper.envs.alfworld.placement import Room, placement
from hiper.envs.dice import Dice

Size = Literal["tiny", "small", "full"]
# What a small home keeps of its room, so that every kind of task can be set there.
_ESSENTIAL: Final = frozenset({"sinkbasin", "microwave", "fridge"})
_LEAST: Final = {"small": (6, 4), "tiny": (4, 2)}  # receptacles: 6, 7, 8 or 9; 4 or 5
TRAINING_HOMES: Final = 100  # of each kind of room


@dataclass(frozen=True, slots=True)
class Home:
    """A room and its receptacles. of_type: per type, the positions of its receptacles in the list."""

    room: str
    receptacles: tuple[ReceptaclePart, ...]
    of_type: Mapping[str, tuple[int, ...]]

    def places(self, item: str) -> dict[str, int]:
        """Receptacle types of this home in which an item of that type may be found, with odds."""
        inside = placement().rooms[self.room].inside.get(item, {})
        return {receptacle: count for receptacle, count in inside.items() if receptacle in self.of_type}


@lru_cache(maxsize=2048)
def home(seed: int, size: Size, room: str, number: int) -> Home:
    """Home number `number` of that kind of room.

    From TRAINING_HOMES on they are for evaluation: none has just the receptacles of a home for training.
    """
    dice = Dice(f"home/{seed}/{size}/{room}/{number}")
    drawn = _draw(size, room, dice)
    while number >= TRAINING_HOMES and _inventory(drawn) in _familiar(seed, size, room):
        drawn = _draw(size, room, dice)
    return drawn


@lru_cache(maxsize=64)
def _familiar(seed: int, size: Size, room: str) -> frozenset[tuple[str, ...]]:
    """What the homes for training have."""
    return frozenset(_inventory(home(seed, size, room, number)) for number in range(TRAINING_HOMES))


def _inventory(place: Home) -> tuple[str, ...]:
    """The receptacle types of a home, in order, with repeats: all that its start text tells of it."""
    return tuple(part.type for part in place.receptacles)


def _draw(size: Size, room: str, dice: Dice) -> Home:
    """A home of that kind of room."""
    statistics = placement().rooms[room]
    types = [kind for kind, histogram in sorted(statistics.receptacles.items()) for _ in range(dice.number(histogram))]
    if size != "full":
        types = _fewer(types, _LEAST[size], dice)
    receptacles = _built(types, statistics, dice)
    of_type: dict[str, tuple[int, ...]] = {}
    for index, part in enumerate(receptacles):
        of_type[part.type] = (*of_type.get(part.type, ()), index)
    return Home(room, receptacles, of_type)


def _fewer(types: Sequence[str], least: tuple[int, int], dice: Dice) -> list[str]:
    """Some of the types, sorted: the essential ones once, others twice, or thrice if that is too few."""
    fewest, choices = least
    count = fewest + dice.below(choices)
    order = dice.shuffled(types)
    chosen = Counter(kind for kind in dict.fromkeys(order) if kind in _ESSENTIAL)
    for limit in (2, 3):
        for kind in order:
            if chosen.total() < count and chosen[kind] < limit and kind not in _ESSENTIAL:
                chosen[kind] += 1
    return sorted(chosen.elements())


def _built(types: Sequence[str], statistics: Room, dice: Dice) -> tuple[ReceptaclePart, ...]:
    """A receptacle of each type. Some share a place: a coffee machine may be reached from its counter."""
    parts: list[ReceptaclePart] = []
    for index, kind in enumerate(types):
        neighbour = dice.weighted(statistics.beside[kind])
        candidates = [part.location for part in parts if part.type == neighbour]
        location = dice.one(candidates) if candidates else index
        could_open, seen = statistics.openable[kind]
        parts.append(ReceptaclePart(kind, location, dice.chance(could_open / seen)))
    return tuple(parts)
