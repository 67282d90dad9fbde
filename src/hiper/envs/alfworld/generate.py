"""Games without number, to play without downloading any.

Rooms, receptacles, items and tasks follow the statistics of the official training games (`placement`). Task
sentences are in the official style, and the same engine plays the games. Every one can be won as it begins, because
what its task needs is put within reach; but a few things, none that a task needs, fit into nothing that is there, and
whoever takes one keeps it. A game is made from its name alone, in less than a millisecond.

Splits: `train` has its homes, `valid_seen` other games in the same homes, `valid_unseen` homes of its own.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple, get_args, overload

import numpy as np

from hiper.envs.alfworld.chores import avoided, draw_stages, kinds
from hiper.envs.alfworld.game import Game, Goal, ItemPart, build_game
from hiper.envs.alfworld.homes import TRAINING_HOMES, Home, Size, home
from hiper.envs.alfworld.ladder import MAX_CHAIN, ladder
from hiper.envs.alfworld.placement import placement
from hiper.envs.alfworld.sentence import task_sentence
from hiper.envs.dice import Dice
from hiper.envs.errors import DataError, UnknownName, nearest

VERSION: Final = "generated-1"
# Split -> (first home, number of homes) of each kind of room, and how many games unless told otherwise.
_HOMES: Final = {
    "train": (0, TRAINING_HOMES),
    "valid_seen": (0, TRAINING_HOMES),
    "valid_unseen": (TRAINING_HOMES, 25),
}
_GAMES: Final = {"train": 10_000, "valid_seen": 200, "valid_unseen": 200}
_ITEMS: Final = {"small": 10, "tiny": 5}
_ATTEMPTS: Final = 1000
_KEPT: Final = 2048  # games kept ready


class _Plan(NamedTuple):
    """What a game is about: where, and what for. Enough for its name."""

    home: Home
    stages: tuple[Goal, ...]


class GeneratedGames:
    """A split of generated games, as a `GameSource`."""

    def __init__(
        self,
        split: str,
        seed: int = 0,
        size: Size = "full",
        chain: int = 1,
        n: int | None = None,
        room: str = "",
        shortest: int = 0,
    ) -> None:
        """size: `full`, about 23 receptacles and 32 items, `small`, 6 to 9 and about 10, or `tiny`, 4 or 5 and 5.

        chain: number of tasks to do one after another in each game (see `ladder`). shortest: of games of mixed length,
        as many of each from `shortest` to `chain` tasks; 0: all have `chain`. n: number of games; the
        first ones are the same whatever it is. room: only homes of this kind, e.g. `kitchen`; "" for all.
        Raises UnknownName (split, room) or ValueError (anything else).
        """
        if split not in _GAMES:
            raise UnknownName(f"unknown split {split!r}; known: {', '.join(_GAMES)}{nearest(split, _GAMES)}")
        if size not in get_args(Size):
            raise ValueError(f"size must be one of {', '.join(get_args(Size))}; not {size!r}")
        if type(chain) is not int or not 1 <= chain <= MAX_CHAIN:
            raise ValueError(f"chain must be 1 to {MAX_CHAIN}, not {chain!r}")
        if type(shortest) is not int or not 0 <= shortest <= chain:
            raise ValueError(f"shortest must be 0 (all games of one length) or 1 to chain = {chain}, not {shortest}")
        if n is not None and n < 1:
            raise ValueError(f"n must be at least 1, not {n}")
        rooms = sorted(placement().rooms)
        if room and room not in rooms:
            raise UnknownName(f"unknown room {room!r}; known: {', '.join(rooms)}{nearest(room, rooms)}")
        self._split = split
        self._room = room
        self._seed = seed
        self._size: Size = size
        self._chain = chain
        self._shortest = shortest or chain
        self._n = _GAMES[split] if n is None else n
        self._games: OrderedDict[str, Game] = OrderedDict()

    @property
    def split(self) -> str:
        """Name of the split."""
        return self._split

    @property
    def version(self) -> str:
        """Version of the generator, with its settings."""
        where = f"/{self._room}" if self._room else ""
        least = f"{self._shortest}-" if self._shortest < self._chain else ""
        return f"{VERSION}/{self._size}{where}/chain-{least}{self._chain}/seed-{self._seed}"

    @property
    def sha256(self) -> str:
        """Hash of all that determines the games: version, settings and statistics."""
        text = f"{self.version}/{self._split}/{self._n}\n{placement().text}"
        return hashlib.sha256(text.encode()).hexdigest()

    def __len__(self) -> int:
        """Number of games."""
        return self._n

    def names(self) -> Sequence[str]:
        """The name of every game, such as `generated/train/7/heat-mug-diningtable`; made when asked for."""
        return _Names(self)

    def name(self, index: int) -> str:
        """The name of game number `index`."""
        return self._name(index, self._plan(index))

    def pick(self, rng: np.random.Generator) -> str:
        """A name chosen uniformly."""
        return self.name(int(rng.integers(self._n)))

    def game(self, name: str) -> Game:
        """The game of that name, made anew if it was not among the last 2,048 asked for."""
        game = self._games.get(name)
        if game is None:
            game = self._games[name] = self._build(name)
            if len(self._games) > _KEPT:
                self._games.popitem(last=False)
        else:
            self._games.move_to_end(name)
        return game

    def _name(self, index: int, plan: _Plan) -> str:
        """The name of a game with that plan."""
        tasks = "+".join("-".join(goal) for goal in plan.stages)
        return f"generated/{self._split}/{index}/{tasks}"

    def _dice(self, purpose: str, index: int) -> Dice:
        """The random numbers for one purpose in one game."""
        return Dice(f"{purpose}/{self.version}/{self._split}/{index}")

    def _plan(self, index: int) -> _Plan:
        """Where game number `index` is, and what for."""
        dice = self._dice("plan", index)
        first, count = _HOMES[self._split]
        odds = {pair: odd for pair, odd in kinds().items() if self._room in ("", pair[0])}
        room, kind = dice.weighted(odds)
        chain = self._shortest + index % (self._chain - self._shortest + 1)
        for _ in range(_ATTEMPTS):
            place = home(self._seed, self._size, room, first + dice.below(count))
            stages = draw_stages(place, kind, chain, dice)
            if stages:
                return _Plan(place, stages)
        raise DataError(f"no game number {index} could be made; the file of statistics is damaged")

    def _build(self, name: str) -> Game:
        """The game of that name."""
        index = _index(name)
        plan = self._plan(index) if index < self._n else None
        if plan is None or name != self._name(index, plan):
            example = f"such as {self.name(0)!r}, with numbers below {self._n}"
            raise UnknownName(f"unknown game {name!r}; a name says number, settings and task, {example}")
        place, stages = plan
        dice = self._dice("build", index)
        task = task_sentence(stages, [dice.below(2) for _ in stages])
        game = build_game(
            goal=stages[0],
            task=task,
            receptacles=place.receptacles,
            items=_items(place, stages, self._size, dice),
            can_contain=placement().holds,
            path=name,
        )
        game = replace(game, split=self._split)
        return game if len(stages) == 1 else ladder(game, stages, task)


class _Names(Sequence[str]):
    """The names of a source, each made when looked at."""

    def __init__(self, source: GeneratedGames) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        chosen = range(len(self))[index]
        return self._source.name(chosen) if isinstance(chosen, int) else [self._source.name(i) for i in chosen]


def _index(name: str) -> int:
    """The number in the name of a game; one that no game has, where there is none."""
    parts = name.split("/")
    return int(parts[2]) if len(parts) == 4 and parts[2].isdecimal() else sys.maxsize


# Items


def _items(place: Home, stages: Sequence[Goal], size: Size, dice: Dice) -> list[ItemPart]:
    """All items of a game: those the task needs, and those that are just there."""
    needed = _needed(place, stages, size, dice)
    around = _many(place, needed, dice) if size == "full" else _few(place, needed, _ITEMS[size], dice)
    parts = []
    for item, count in sorted((needed + around).items()):
        places = place.places(item)
        for target in avoided(stages, item):
            places.pop(target, None)
        for _ in range(count if places else 0):
            receptacle = dice.one(place.of_type[dice.weighted(places)])
            parts.append(ItemPart(item, (receptacle,), placement().flags[item]))
    return parts


def _needed(place: Home, stages: Sequence[Goal], size: Size, dice: Dice) -> Counter[str]:
    """Items that the task is about, and its lamps.

    An item of several stages exists no oftener than need be: it must be found again where it was left.
    """
    histograms = placement().rooms[place.room].items
    needed: Counter[str] = Counter()
    for item in dict.fromkeys(goal.item for goal in stages):
        kinds_of_item = [goal.kind for goal in stages if goal.item == item]
        least = 2 if "two" in kinds_of_item else 1
        as_usual = len(kinds_of_item) == 1 and size == "full"
        needed[item] = max(least, dice.number(histograms[item])) if as_usual else least
    needed.update({goal.target: 1 for goal in stages if goal.kind == "look" and goal.target not in needed})
    return needed


def _many(place: Home, needed: Counter[str], dice: Dice) -> Counter[str]:
    """The other items of a full home, as many of each type as homes have."""
    histograms = placement().rooms[place.room].items
    return Counter({item: dice.number(row) for item, row in sorted(histograms.items()) if item not in needed})


def _few(place: Home, needed: Counter[str], most: int, dice: Dice) -> Counter[str]:
    """The other items of a small home: the common ones, one of each, about `most` items in all."""
    usual = {
        item: float(sum(row[1:]))
        for item, row in sorted(placement().rooms[place.room].items.items())
        if item not in needed and placement().flags[item] and place.places(item)
    }
    around: Counter[str] = Counter()
    while usual and around.total() + needed.total() < most:
        item = dice.weighted(usual)
        del usual[item]
        around[item] = 1
    return around
