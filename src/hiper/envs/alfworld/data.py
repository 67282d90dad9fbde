"""Where games come from: the `GameSource` protocol, and the official games as one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol
from weakref import WeakValueDictionary

import numpy as np

from hiper.envs.alfworld import cache
from hiper.envs.alfworld.cache import CompiledSplit
from hiper.envs.alfworld.game import Game, from_row, to_row
from hiper.envs.alfworld.official import GAME_FILE, ROOT, SPLITS, Pack, RawGame, Tree, find
from hiper.envs.alfworld.pddl import compile_game
from hiper.envs.errors import DataNotFound, UnknownName, nearest

__all__ = ["SPLITS", "GameSource", "OfficialGames", "open_games"]

_DATA_VERSION: Final = "json_2.1.1"


class GameSource(Protocol):
    """A set of games under names. `sha256` identifies the data, `version` the kind of data."""

    @property
    def split(self) -> str:
        """Name of the set, e.g. `valid_unseen`."""

    @property
    def version(self) -> str:
        """What made the data, e.g. `json_2.1.1`."""

    @property
    def sha256(self) -> str:
        """Hash of all games of the set, 64 hexadecimal digits."""

    def __len__(self) -> int:
        """Number of games."""

    def names(self) -> Sequence[str]:
        """The name of every game, `<split>/<task folder>/<trial folder>`, in a fixed order."""

    def game(self, name: str) -> Game:
        """The game of that name; the same object each time. Raises UnknownName where there is none."""

    def pick(self, rng: np.random.Generator) -> str:
        """A name chosen uniformly."""


class OfficialGames:
    """One split of the official games. A game is built when first asked for, then kept."""

    def __init__(self, path: str | Path, split: str) -> None:
        """path: the official tree or the one-file pack (see `official.find`).

        Raises DataNotFound (also of a split without games), DataError (damaged) or UnknownName (the split).
        The first use compiles the games (about a millisecond each) and keeps the result on disk.
        """
        if split not in SPLITS:
            raise UnknownName(f"unknown split {split!r}; known: {', '.join(SPLITS)}{nearest(split, SPLITS)}")
        self.files: Tree | Pack = find(path)
        self._split = split
        file = cache.file_for(self.files.fingerprint(split))
        compiled = cache.load(file)
        if compiled is None:
            compiled = _compile(self.files, split)
            cache.store(file, compiled)
        self._names = compiled.names
        self._sha256 = compiled.sha256
        self._rows = dict(zip(compiled.names, compiled.rows, strict=True))
        self._games: dict[str, Game] = {}

    @property
    def split(self) -> str:
        """Name of the split."""
        return self._split

    @property
    def version(self) -> str:
        """Name of the official release."""
        return _DATA_VERSION

    @property
    def sha256(self) -> str:
        """Hash of the raw data of all games of the split; the same for the tree and the pack."""
        return self._sha256

    def __len__(self) -> int:
        """Number of games."""
        return len(self._names)

    def names(self) -> Sequence[str]:
        """Paths of all games, sorted."""
        return self._names

    def game(self, name: str) -> Game:
        """The game of that name, which may end in `/game.tw-pddl` and begin with a path to json_2.1.1."""
        game = self._games.get(name)
        return self._build(_canonical(name)) if game is None else game

    def pick(self, rng: np.random.Generator) -> str:
        """A name chosen uniformly."""
        return self._names[int(rng.integers(len(self._names)))]

    def _build(self, name: str) -> Game:
        """The game of a canonical name, built if it has not been yet."""
        row = self._rows.get(name)
        if row is not None:
            # Kept before its row is dropped: another thread may be asking for the same game.
            self._games.setdefault(name, from_row(json.loads(row)))
            self._rows.pop(name, None)
        elif name not in self._games:
            raise UnknownName(f"unknown game {name!r} in split {self._split}{nearest(name, self._names)}")
        return self._games[name]


# Sources in use, so that many environments share one; forgotten when the last user is gone.
_open: WeakValueDictionary[tuple[str, str], OfficialGames] = WeakValueDictionary()


def open_games(path: str | Path, split: str) -> OfficialGames:
    """`OfficialGames(path, split)`, shared by all who have it open now."""
    key = (str(Path(path).expanduser().resolve()), split)
    games = _open.get(key)
    if games is None:
        games = _open[key] = OfficialGames(path, split)
    return games


def _canonical(name: str) -> str:
    """The path of a game without the file name at its end and without what precedes the split."""
    return name.rpartition(f"{ROOT}/")[2].removesuffix(f"/{GAME_FILE}").rstrip("/")


def _compile(files: Tree | Pack, split: str) -> CompiledSplit:
    """All games of a split, compiled. Raises DataError where there are none."""
    raw_games: list[RawGame] = sorted(files.games(split), key=lambda raw: raw.path)
    if not raw_games:
        raise DataNotFound(f"split {split!r} of {files.root} has no games")
    rows = []
    whole = hashlib.sha256()
    for raw in raw_games:
        game = compile_game(raw.pddl_problem, task=raw.task, walkthrough=raw.walkthrough, path=raw.path)
        rows.append(json.dumps(to_row(game), separators=(",", ":")))
        whole.update(raw.digest())
    return CompiledSplit(tuple(raw.path for raw in raw_games), tuple(rows), whole.hexdigest())
