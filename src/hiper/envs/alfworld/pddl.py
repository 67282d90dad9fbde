"""Compiles the PDDL problem of an official game file into a `Game`.

Only flat facts occur in `(:init ...)`: no numbers, no negation, many repeated. What is read, and how names
get their numbers, follows ALFWorld 0.4.2 (`AlfredDemangler` without shuffling).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from hiper.envs.alfworld.game import Flag, Game, Goal, GoalKind, Item, Receptacle
from hiper.envs.errors import DataError

_FACT: Final = re.compile(r"\((\w+) ([^()]*)\)")
_ABILITIES: Final[Mapping[str, Flag]] = {
    "pickupable": Flag.PICKUPABLE,
    "cleanable": Flag.CLEANABLE,
    "heatable": Flag.HEATABLE,
    "coolable": Flag.COOLABLE,
    "sliceable": Flag.SLICEABLE,
    "toggleable": Flag.TOGGLEABLE,
    "isreceptacleobject": Flag.CONTAINER,
    "iscool": Flag.COLD,
}
# The six goal formulas of the benchmark, each told by the predicates in it.
_GOALS: Final[Mapping[tuple[str, ...], GoalKind]] = {
    ("inreceptacle", "objecttype", "receptacletype"): "place",
    ("cleanable", "inreceptacle", "isclean", "objecttype", "receptacletype"): "clean",
    ("heatable", "inreceptacle", "ishot", "objecttype", "receptacletype"): "heat",
    ("coolable", "inreceptacle", "iscool", "objecttype", "receptacletype"): "cool",
    ("inreceptacle",) * 2 + ("objecttype",) * 2 + ("receptacletype",) * 2: "two",
    (
        "atlocation",
        "holds",
        "inreceptacle",
        "istoggled",
        "objecttype",
        "objecttype",
        "receptacleatlocation",
        "toggleable",
    ): "look",
}

Facts = Mapping[str, Sequence[tuple[str, ...]]]


def compile_game(pddl_problem: str, *, task: str, walkthrough: Sequence[str], path: str) -> Game:
    """The game that a PDDL problem describes.

    task: the whole sentence `Your task is to: ... .`; path: `<split>/<task folder>/<trial folder>`.
    Raises DataError where the problem has no facts, or a goal that is none of the benchmark's six.
    """
    init, separator, goal = pddl_problem.lower().partition("(:goal")
    facts = _facts(init)
    if not separator or not facts["receptacleatlocation"]:
        raise DataError(f"{path}: the PDDL problem has no goal or no receptacles")
    ids = sorted({name for rows in facts.values() for row in rows for name in row})
    names = _names(ids)
    receptacles = _receptacles(facts, ids, names)
    receptacle_index = {name: r for r, name in enumerate(receptacles)}
    location_index = _locations(facts, receptacles)
    kept = _kept_items(facts, ids)
    split, task_folder = (*path.split("/"), "")[:2]
    return Game(
        path=path,
        split=split,
        task_type=task_folder.split("-")[0],
        task=task,
        goal=_goal(goal, path),
        receptacles=_build_receptacles(facts, receptacles, kept, names, location_index),
        items=_build_items(facts, kept, names, location_index, receptacle_index),
        walkthrough=tuple(walkthrough),
    )


def _facts(text: str) -> dict[str, list[tuple[str, ...]]]:
    """Every distinct fact by predicate, in the order of the text."""
    facts: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for predicate, arguments in dict.fromkeys(_FACT.findall(text)):
        facts[predicate].append(tuple(arguments.split()))
    return facts


def _names(ids: Iterable[str]) -> dict[str, tuple[str, int]]:
    """(base name, number) of every id with coordinates; within a base the first id has the highest number."""
    bases = {name: _base(name) for name in ids if "_bar_" in name}
    left = Counter(bases.values())
    names = {}
    for name, base in bases.items():
        names[name] = (base, left[base])
        left[base] -= 1
    return names


def _base(name: str) -> str:
    """`sink_bar_.._bar_sinkbasin` -> `sinkbasin`, `mug_bar_..` -> `mug`."""
    return name.partition("_bar_")[0] + ("basin" if "basin" in name else "")


def _receptacles(facts: Facts, ids: Iterable[str], names: Mapping[str, tuple[str, int]]) -> list[str]:
    """Ids of the receptacles, in id order."""
    placed = {name for name, _ in facts["receptacleatlocation"]}
    return [name for name in ids if name in placed and name in names]


def _locations(facts: Facts, receptacles: Iterable[str]) -> dict[str, int]:
    """Index of each location that has a receptacle, by the first receptacle there in id order."""
    location_of = dict(_pairs(facts, "receptacleatlocation"))
    places = dict.fromkeys(location_of[name] for name in receptacles)
    return {location: i for i, location in enumerate(places)}


def _kept_items(facts: Facts, ids: Iterable[str]) -> list[str]:
    """Ids of the items that can matter, in id order: in a receptacle, sliceable, or inside an item kept."""
    kept = {name for name, _ in facts["inreceptacle"]} | {name for (name,) in facts["sliceable"]}
    kept |= {inner for inner, outer in facts["inreceptacleobject"] if outer in kept}
    return [name for name in ids if name in kept]


def _pairs(facts: Facts, predicate: str) -> list[tuple[str, str]]:
    """The facts of a predicate of two arguments."""
    return [(row[0], row[1]) for row in facts[predicate]]


def _build_receptacles(
    facts: Facts,
    receptacles: Iterable[str],
    items: Iterable[str],
    names: Mapping[str, tuple[str, int]],
    location_index: Mapping[str, int],
) -> tuple[Receptacle, ...]:
    """The receptacle records."""
    item_type = dict(_pairs(facts, "objecttype"))
    types_of_items = [item_type.get(item) for item in items]
    allowed = set(_pairs(facts, "cancontain"))
    type_of = dict(_pairs(facts, "receptacletype"))
    location_of = dict(_pairs(facts, "receptacleatlocation"))
    openable = {name for (name,) in facts["openable"]}

    def accepts(kind: str) -> int:
        return sum(1 << i for i, item in enumerate(types_of_items) if (kind, item) in allowed)

    masks = {kind: accepts(kind) for kind in set(type_of.values())}
    return tuple(
        Receptacle(
            *names[name],
            type_of[name].removesuffix("type"),
            location_index[location_of[name]],
            name in openable,
            masks[type_of[name]],
        )
        for name in receptacles
    )


def _build_items(
    facts: Facts,
    items: Sequence[str],
    names: Mapping[str, tuple[str, int]],
    location_index: Mapping[str, int],
    receptacle_index: Mapping[str, int],
) -> tuple[Item, ...]:
    """The item records. An item inside itself (the data has such) counts as not inside."""
    type_of = dict(_pairs(facts, "objecttype"))
    item_index = {name: i for i, name in enumerate(items)}
    locations = _gather(_pairs(facts, "objectatlocation"), location_index.get)
    holders = _gather(_pairs(facts, "inreceptacle"), receptacle_index.get)
    swapped = [(outer, inner) for inner, outer in facts["inreceptacleobject"] if inner != outer]
    inner = _gather(swapped, item_index.get)
    flags: Counter[str] = Counter()
    for predicate, flag in _ABILITIES.items():
        flags.update({name: int(flag) for (name,) in facts[predicate]})
    return tuple(
        Item(
            *names[name],
            type_of[name].removesuffix("type"),
            flags[name],
            locations.get(name, ()),
            holders.get(name, ()),
            inner.get(name, ()),
        )
        for name in items
    )


def _gather(pairs: Iterable[tuple[str, str]], index_of: Callable[[str], int | None]) -> dict[str, tuple[int, ...]]:
    """For each first name, the sorted indices of its second names that have one."""
    found: dict[str, list[int]] = {}
    for first, second in pairs:
        index = index_of(second)
        if index is not None:
            found.setdefault(first, []).append(index)
    return {name: tuple(sorted(indices)) for name, indices in found.items()}


def _goal(text: str, path: str) -> Goal:
    """The goal, read from the formula only; the task sentence plays no part."""
    facts = _FACT.findall(text)
    kind = _GOALS.get(tuple(sorted(predicate for predicate, _ in facts)))
    if kind is None:
        raise DataError(f"{path}: the goal is none of the six kinds known")
    types: dict[str, str] = {}
    for predicate, arguments in facts:
        variable, *rest = arguments.split()
        if predicate.endswith("type"):
            types[variable] = rest[0].removesuffix("type")
    if kind == "look":
        return Goal(kind, types["?o"], types["?ot"])
    return Goal(kind, types.get("?o") or types["?o1"], types["?r"])
