"""Where things are in a home: counts taken from the official training games, shipped as `placement.json`.

`tools/fit_placement.py` makes the file. It holds type names and counts only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from hiper.envs.alfworld.game import GoalKind

FILE: Final = "placement.json"
# Weight, in sightings, of the average chance of a receptacle type in the chance for one item type.
_PSEUDO_COUNT: Final = 1.0
_UNSEEN: Final = 0.02

Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Room:
    """Statistics of one kind of room, as counts.

    receptacles: type -> how often a home had 0, 1, 2, ... of it. openable: type -> (can be opened, of).
    beside: type -> type of the receptacle whose place it shares (`""`: it came first there) -> how often.
    items: type -> how often a home had 0, 1, 2, ... of it. inside: item type -> receptacle type -> how often.
    tasks: kind of goal -> (item type, target type) -> how often.
    """

    receptacles: Mapping[str, tuple[int, ...]]
    openable: Mapping[str, tuple[int, int]]
    beside: Mapping[str, Counts]
    items: Mapping[str, tuple[int, ...]]
    inside: Mapping[str, Counts]
    tasks: Mapping[GoalKind, Mapping[tuple[str, str], int]]


@dataclass(frozen=True, slots=True)
class Placement:
    """All statistics.

    flags: item type -> abilities (`game.Flag`). holds: receptacle type -> item types that may be put there.
    found: item type -> receptacle type -> [receptacles holding it, receptacles in all games that have it].
    text: the file itself.
    """

    flags: Mapping[str, int]
    holds: Mapping[str, frozenset[str]]
    found: Mapping[str, Mapping[str, tuple[int, int]]]
    rooms: Mapping[str, Room]
    text: str


@cache
def placement() -> Placement:
    """The statistics that come with the package."""
    text = files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    table = json.loads(text)
    found = {
        item: {receptacle: (holding, seen) for receptacle, (holding, seen) in row.items()}
        for item, row in table["found"].items()
    }
    holds = {receptacle: frozenset(items) for receptacle, items in table["holds"].items()}
    rooms = {name: _room(row) for name, row in table["rooms"].items()}
    return Placement(table["flags"], holds, found, rooms, text)


def _room(row: Mapping[str, Mapping[GoalKind, list[tuple[str, str, int]]]]) -> Room:
    """One room of the file."""
    tasks = {kind: {(item, target): n for item, target, n in rows} for kind, rows in row["tasks"].items()}
    rest = {name: value for name, value in row.items() if name != "tasks"}
    return Room(tasks=tasks, **rest)  # type: ignore[arg-type]


class Prior:
    """How likely one receptacle of a type holds at least one item of a type."""

    def __init__(self, found: Mapping[str, Mapping[str, tuple[int, int]]] | None = None) -> None:
        """found: counts as in `Placement.found`; None: those that come with the package."""
        self._found = placement().found if found is None else found
        self._average = _averages(self._found)

    def chance(self, item: str, receptacle: str) -> float:
        """The chance for types `item` and `receptacle`. Never 0: a search must get everywhere in the end."""
        average = self._average.get(receptacle, _UNSEEN)
        holding, seen = self._found.get(item, {}).get(receptacle, (0, 0))
        return (holding + _PSEUDO_COUNT * average) / (seen + _PSEUDO_COUNT)


def _averages(found: Mapping[str, Mapping[str, tuple[int, int]]]) -> dict[str, float]:
    """Chance of each receptacle type, whatever the item type."""
    holding: dict[str, int] = {}
    seen: dict[str, int] = {}
    for row in found.values():
        for receptacle, (n, of) in row.items():
            holding[receptacle] = holding.get(receptacle, 0) + n
            seen[receptacle] = seen.get(receptacle, 0) + of
    return {receptacle: (holding[receptacle] + 1) / (seen[receptacle] + 50) for receptacle in seen}
