"""Counts where things are in the official training games and writes `placement.json`.

    python tools/fit_placement.py PATH_OF_THE_GAMES

Only the split `train` is read, so nothing is learnt from the games that evaluation uses. What is written is
type names and counts; see `hiper.envs.alfworld.placement` for their meaning.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from hiper.envs.alfworld import placement
from hiper.envs.alfworld.data import OfficialGames
from hiper.envs.alfworld.game import Flag, Game, Item

ROOMS: Final = {0: "kitchen", 2: "living room", 3: "bedroom", 4: "bathroom"}  # hundreds of the scene number


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the official games, json_2.1.1: tree or pack")
    default = Path(placement.__file__).with_name(placement.FILE)
    parser.add_argument("--out", type=Path, default=default)
    arguments = parser.parse_args()
    source = OfficialGames(arguments.data, "train")
    table = fit([source.game(name) for name in source.names()])
    arguments.out.write_text(dumps(table), encoding="utf-8")
    print(f"{arguments.out}: {len(source)} games, {arguments.out.stat().st_size} bytes")


def fit(games: Sequence[Game]) -> dict[str, Mapping[str, object]]:
    """The whole table."""
    by_room: dict[str, list[Game]] = defaultdict(list)
    for game in games:
        by_room[room_of(game)].append(game)
    # A few game files lack a fact about one item: the type has what any of its items has.
    flags: Counter[str] = Counter()
    for item in (item for game in games for item in game.items if item.receptacles):
        flags[item.type] |= item.flags & ~Flag.COLD
    return {
        "flags": flags,
        "holds": _holds(games),
        "found": _found(games),
        "rooms": {room: _room(by_room[room]) for room in ROOMS.values()},
    }


def dumps(table: Mapping[str, Mapping[str, object]]) -> str:
    """The table as sorted JSON, a line per entry of the second level: small, and still readable in a diff."""
    encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
    parts = []
    for name, part in sorted(table.items()):
        rows = ",\n".join(f"{encode(key)}:{encode(value)}" for key, value in sorted(part.items()))
        parts.append(f"{encode(name)}:{{\n{rows}\n}}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def room_of(game: Game) -> str:
    """The kind of room, told by the scene number at the end of the task folder's name."""
    scene = game.path.split("/")[1].rpartition("-")[2]
    return ROOMS[int(scene) // 100]


def _seen(game: Game) -> list[Item]:
    """The items that a player can find."""
    return [item for item in game.items if item.receptacles]


def _holds(games: Iterable[Game]) -> dict[str, list[str]]:
    """Receptacle type -> item types that may be put there."""
    holds: dict[str, set[str]] = defaultdict(set)
    for game in games:
        for receptacle in game.receptacles:
            holds[receptacle.type].update(i.type for k, i in enumerate(game.items) if receptacle.accepts >> k & 1)
    return {receptacle: sorted(items) for receptacle, items in holds.items()}


def _found(games: Iterable[Game]) -> dict[str, dict[str, list[int]]]:
    """Item type -> receptacle type -> [receptacles holding one, receptacles in games that have the item]."""
    holding: dict[str, Counter[str]] = defaultdict(Counter)
    present: dict[str, Counter[str]] = defaultdict(Counter)
    for game in games:
        receptacles = Counter(r.type for r in game.receptacles)
        inside: dict[str, set[int]] = defaultdict(set)
        for item in _seen(game):
            inside[item.type].update(item.receptacles)
        for item_type, indices in inside.items():
            present[item_type].update(receptacles)
            holding[item_type].update(game.receptacles[r].type for r in indices)
    return {item: {r: [holding[item][r], n] for r, n in sorted(present[item].items())} for item in sorted(present)}


def _room(games: Sequence[Game]) -> dict[str, object]:
    """Statistics of the games of one kind of room."""
    openable: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    tasks: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for game in games:
        for receptacle in game.receptacles:
            openable[receptacle.type][0] += receptacle.openable
            openable[receptacle.type][1] += 1
        for item in _seen(game):
            inside[item.type].update(game.receptacles[r].type for r in item.receptacles)
        tasks[game.goal.kind][game.goal.item, game.goal.target] += 1
    return {
        "receptacles": _numbers([Counter(r.type for r in game.receptacles) for game in games]),
        "openable": openable,
        "beside": _beside(games),
        "items": _numbers([Counter(item.type for item in _seen(game)) for game in games]),
        "inside": inside,
        "tasks": {kind: [[*pair, n] for pair, n in sorted(pairs.items())] for kind, pairs in tasks.items()},
    }


def _numbers(homes: Sequence[Counter[str]]) -> dict[str, list[int]]:
    """Type -> in how many homes there are 0, 1, 2, ... of it."""
    table = {}
    for kind in sorted({kind for home in homes for kind in home}):
        numbers = Counter(home[kind] for home in homes)
        table[kind] = [numbers[n] for n in range(max(numbers) + 1)]
    return table


def _beside(games: Iterable[Game]) -> dict[str, Counter[str]]:
    """Type -> type of the receptacle before it, in id order, at the same place ("" where it is the first)."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for game in games:
        last: dict[int, str] = {}
        for receptacle in game.receptacles:
            table[receptacle.type][last.get(receptacle.location, "")] += 1
            last[receptacle.location] = receptacle.type
    return table


if __name__ == "__main__":
    main()
