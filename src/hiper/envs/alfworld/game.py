"""One household game as an immutable record; built from parts here, from PDDL in `pddl.py`.

A `Game` holds only what a player can ever see or change: names, places and abilities of receptacles and
items, the goal, the task sentence and a known solution. Indices (of receptacles, items, locations) count
from 0 in *id order*, the order in which the official engine prints lists; numbers in names usually fall
along it (`cabinet 3, cabinet 2, cabinet 1`). Source of the rules: ALFWorld 0.4.2, data json_2.1.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from sys import intern
from typing import Final, Literal, NamedTuple, Protocol, cast, get_args

from hiper.envs.errors import DataError

GoalKind = Literal["place", "look", "clean", "heat", "cool", "two"]
GOAL_KINDS: Final[tuple[GoalKind, ...]] = get_args(GoalKind)
TASK_TYPES: Final[Mapping[GoalKind, str]] = {
    "place": "pick_and_place_simple",
    "look": "look_at_obj_in_light",
    "clean": "pick_clean_then_place_in_recep",
    "heat": "pick_heat_then_place_in_recep",
    "cool": "pick_cool_then_place_in_recep",
    "two": "pick_two_obj_and_place",
}
TASK_PREFIX: Final = "Your task is to: "


class Flag(IntFlag):
    """Abilities of an item, which never change, and COLD: cool at the start. Items store them as one int."""

    PICKUPABLE = 1
    CLEANABLE = 2
    HEATABLE = 4
    COOLABLE = 8
    SLICEABLE = 16
    TOGGLEABLE = 32
    CONTAINER = 64  # examining it lists its inner items; it never shows clean, hot or cold
    COLD = 128


class Receptacle(NamedTuple):
    """A place that holds items. Bit i of `accepts` is set when item i may be put here.

    Example: `Receptacle("cabinet", 6, "cabinet", 4, True, 0)` is `cabinet 6` at location 4; it can be opened,
    and nothing may be put into it.
    """

    base: str
    number: int
    type: str
    location: int
    openable: bool
    accepts: int

    @property
    def name(self) -> str:
        """How the game prints it, e.g. `cabinet 6`."""
        return f"{self.base} {self.number}"


class Item(NamedTuple):
    """A thing that may be carried, used or sliced.

    receptacles: indices of all that hold it at the start (none to four). locations: indices of where the
    world says at the start that it is; only slicing asks for them, and they may differ from the places of
    its receptacles. inner: indices of the items listed when one examines it.
    """

    base: str
    number: int
    type: str
    flags: int
    locations: tuple[int, ...]
    receptacles: tuple[int, ...]
    inner: tuple[int, ...]

    @property
    def name(self) -> str:
        """How the game prints it, e.g. `mug 2`."""
        return f"{self.base} {self.number}"


class Goal(NamedTuple):
    """What wins. `target`: type of the receptacle to fill; for `look`, type of the lamp to use."""

    kind: GoalKind
    item: str
    target: str


@dataclass(frozen=True, slots=True)
class Game:
    """Everything that defines one game.

    path: name of the game, `<split>/<task folder>/<trial folder>`.
    task: the whole sentence printed at the start, `Your task is to: put some mug on desk.`
    walkthrough: commands that win exactly at the last one; empty where none is known.
    """

    path: str
    split: str
    task_type: str
    task: str
    goal: Goal
    receptacles: tuple[Receptacle, ...]
    items: tuple[Item, ...]
    walkthrough: tuple[str, ...]

    @property
    def location_count(self) -> int:
        """Number of locations that have a receptacle; the start location is not among them."""
        return 1 + max((r.location for r in self.receptacles), default=-1)


# From parts


class ReceptaclePart(NamedTuple):
    """A receptacle to build a game from. `location` is any label: equal labels share one place."""

    type: str
    location: int
    openable: bool = False


class ItemPart(NamedTuple):
    """An item to build a game from. `receptacles` and `inner` are positions in the lists that `build_game`
    gets; `locations` are labels, None for the places of its receptacles."""

    type: str
    receptacles: tuple[int, ...]
    flags: int = Flag.PICKUPABLE
    locations: tuple[int, ...] | None = None
    inner: tuple[int, ...] = ()


class _Typed(Protocol):
    @property
    def type(self) -> str: ...


def build_game(
    *,
    goal: Goal,
    task: str,
    receptacles: Sequence[ReceptaclePart],
    items: Sequence[ItemPart],
    can_contain: Mapping[str, Iterable[str]],
    path: str,
    walkthrough: Sequence[str] = (),
) -> Game:
    """A game from parts, without any PDDL.

    receptacles, items: in any order; they are brought into id order (by type, else as given) and numbered as
    in the official games: of n things of one type the first is called n, the last 1.
    can_contain: receptacle type -> types of the items that may be put there. path: `<split>/<task>/<trial>`.
    Raises DataError where an index points nowhere or the goal kind is unknown.
    """
    if goal.kind not in GOAL_KINDS:
        raise DataError(f"unknown goal kind {goal.kind!r}; known: {', '.join(GOAL_KINDS)}")
    receptacle_order, item_order = _by_type(receptacles), _by_type(items)
    receptacle_at = {old: new for new, old in enumerate(receptacle_order)}
    item_at = {old: new for new, old in enumerate(item_order)}
    labels = dict.fromkeys(receptacles[r].location for r in receptacle_order)
    place_of = {label: place for place, label in enumerate(labels)}
    item_types = [items[i].type for i in item_order]
    receptacle_types = [receptacles[r].type for r in receptacle_order]
    return Game(
        path=path,
        split=path.split("/")[0],
        task_type=TASK_TYPES[goal.kind],
        task=task,
        goal=goal,
        receptacles=tuple(
            Receptacle(
                kind,
                number,
                kind,
                place_of[receptacles[r].location],
                receptacles[r].openable,
                _mask(item_types, can_contain.get(kind, ())),
            )
            for r, kind, number in zip(receptacle_order, receptacle_types, _numbers(receptacle_types), strict=True)
        ),
        items=tuple(
            _build_item(items[i], number, receptacles, receptacle_at, item_at, place_of)
            for i, number in zip(item_order, _numbers(item_types), strict=True)
        ),
        walkthrough=tuple(walkthrough),
    )


def _by_type(parts: Sequence[_Typed]) -> list[int]:
    """Positions of the parts in id order: by type, equal types as given."""
    return sorted(range(len(parts)), key=lambda i: parts[i].type)


def _numbers(types: Sequence[str]) -> list[int]:
    """The number of each thing: counting down to 1 within one type."""
    left = Counter(types)
    numbers = []
    for kind in types:
        numbers.append(left[kind])
        left[kind] -= 1
    return numbers


def _mask(item_types: Sequence[str], allowed: Iterable[str]) -> int:
    """Bit i set when the type of item i is allowed."""
    types = frozenset(allowed)
    return sum(1 << i for i, item_type in enumerate(item_types) if item_type in types)


def _build_item(
    part: ItemPart,
    number: int,
    receptacles: Sequence[ReceptaclePart],
    receptacle_at: Mapping[int, int],
    item_at: Mapping[int, int],
    place_of: Mapping[int, int],
) -> Item:
    """An item with all its indices turned from positions as given into id order."""
    try:
        inside = tuple(sorted(receptacle_at[r] for r in part.receptacles))
        labels = part.locations
        if labels is None:
            labels = tuple(receptacles[r].location for r in part.receptacles)
        locations = tuple(sorted({place_of[label] for label in labels}))
        inner = tuple(sorted(item_at[i] for i in part.inner))
    except KeyError as error:
        raise DataError(
            f"item {part.type!r} points to a receptacle, location or item that is not there: {error}"
        ) from None
    return Item(part.type, number, part.type, int(part.flags), locations, inside, inner)


# Other numbers


class Shuffler(Protocol):
    """What `renumber` needs of a random generator; `numpy.random.Generator` has it."""

    def permutation(self, x: int, /) -> Iterable[int]:
        """The numbers 0..x-1 in random order."""


def renumber(game: Game, rng: Shuffler) -> Game:
    """The same game with instance numbers permuted at random within each base name, as the official setting
    `domain_randomization` does (but here things that never show keep theirs). Printed lists keep the id
    order; the walkthrough follows the new names."""
    members: dict[str, list[int]] = {}
    things: list[Receptacle | Item] = [*game.receptacles, *game.items]
    for thing in things:
        members.setdefault(thing.base, []).append(thing.number)
    new_number: dict[tuple[str, int], int] = {}
    for base, numbers in members.items():
        for old, position in zip(numbers, rng.permutation(len(numbers)), strict=True):
            new_number[base, old] = numbers[int(position)]
    return replace(
        game,
        receptacles=tuple(r._replace(number=new_number[r.base, r.number]) for r in game.receptacles),
        items=tuple(i._replace(number=new_number[i.base, i.number]) for i in game.items),
        walkthrough=tuple(_rename(command, new_number) for command in game.walkthrough),
    )


def _rename(command: str, new_number: Mapping[tuple[str, int], int]) -> str:
    """`command` with every `base number` in it given its new number."""
    words = command.split(" ")
    for i in range(1, len(words)):
        if words[i].isdigit():
            words[i] = str(new_number.get((words[i - 1], int(words[i])), words[i]))
    return " ".join(words)


# Rows of the cache


def to_row(game: Game) -> list[object]:
    """The game as nested lists of strings, ints and booleans, ready for JSON."""
    return [
        game.path,
        game.split,
        game.task_type,
        game.task,
        list(game.goal),
        [list(r) for r in game.receptacles],
        [[*i[:4], list(i.locations), list(i.receptacles), list(i.inner)] for i in game.items],
        list(game.walkthrough),
    ]


def from_row(row: Sequence[object]) -> Game:
    """The inverse of `to_row`. Raises DataError when the row has another shape."""
    try:
        path, split, task_type, task, goal, receptacles, items, walkthrough = cast("list[list[list[int]]]", row)
        return Game(
            cast(str, path),
            cast(str, split),
            cast(str, task_type),
            cast(str, task),
            Goal(*cast("tuple[GoalKind, str, str]", goal)),
            tuple(_receptacle_from_row(cast("Sequence[object]", r)) for r in receptacles),
            tuple(_item_from_row(cast("Sequence[object]", i)) for i in items),
            tuple(cast("list[str]", walkthrough)),
        )
    except (TypeError, ValueError) as error:
        raise DataError(f"not a compiled game: {error}") from None


def _receptacle_from_row(row: Sequence[object]) -> Receptacle:
    """One receptacle of `from_row`. Names are interned: thousands of games share a few dozen."""
    base, number, kind, location, openable, accepts = cast("tuple[str, int, str, int, bool, int]", row)
    return Receptacle(intern(base), number, intern(kind), location, openable, accepts)


def _item_from_row(row: Sequence[object]) -> Item:
    """One item of `from_row`."""
    base, number, kind, flags, locations, receptacles, inner = cast(
        "tuple[str, int, str, int, list[int], list[int], list[int]]", row
    )
    return Item(intern(base), number, intern(kind), flags, tuple(locations), tuple(receptacles), tuple(inner))
