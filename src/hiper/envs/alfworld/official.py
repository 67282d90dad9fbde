"""Reads the official games (json_2.1.1) from disk, in either of two forms.

Tree: `json_2.1.1/<split>/<task folder>/<trial folder>/game.tw-pddl`, as `alfworld-download` leaves it.
Pack: one file `games.jsonl.xz`; a header line, then a line per game. Both yield the same records.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from hiper.envs.errors import DataError, DataNotFound

SPLITS: Final = ("train", "valid_train", "valid_seen", "valid_unseen")
ROOT: Final = "json_2.1.1"
GAME_FILE: Final = "game.tw-pddl"
PACK_FILE: Final = "games.jsonl.xz"
_PACK_FORMAT: Final = "alfworld-pack-1"
_TASK: Final = re.compile(r"Your task is to: [^\"\\\n]*\.")
# The official loader leaves these out: their tasks cannot be carried out in the text world.
_UNSUPPORTED: Final = ("movable", "Sliced")
_JSON_KEYS: Final = ("pddl_domain", "grammar", "pddl_problem", "solvable", "walkthrough")


class RawGame(NamedTuple):
    """A game as the files have it. path: `<split>/<task folder>/<trial folder>`; task: the whole sentence."""

    path: str
    task: str
    walkthrough: tuple[str, ...]
    pddl_problem: str

    def digest(self) -> bytes:
        """SHA-256 over all fields; the same for a tree and for the pack made of it."""
        text = json.dumps([self.path, self.task, list(self.walkthrough), self.pddl_problem])
        return hashlib.sha256(text.encode()).digest()


class Tree:
    """The official folder tree."""

    def __init__(self, root: Path) -> None:
        """root: the folder that holds the split folders."""
        self.root = root

    def fingerprint(self, split: str) -> str:
        """Changes when a game file of the split is added, removed, resized or rewritten. Reads no file."""
        seen = hashlib.sha256(str(self.root.resolve()).encode())
        for path in self._folders(split):
            status = self._file(path).stat()
            seen.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return seen.hexdigest()

    def games(self, split: str) -> Iterator[RawGame]:
        """The games of one split, sorted by path, without those known to be unsolvable.

        Raises DataError for a file that is no game.
        """
        for path in self._folders(split):
            record = self.official_json(path)
            if record["solvable"]:
                yield _raw_game(path, record, self._file(path))

    def official_json(self, path: str) -> dict[str, object]:
        """The content of one game file. Raises DataError when it is damaged or lacks a key."""
        file = self._file(path)
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{file} is damaged ({error}); download it again") from None
        if not isinstance(record, dict) or any(key not in record for key in _JSON_KEYS):
            raise DataError(f"{file} is not a game file: it lacks one of {', '.join(_JSON_KEYS)}")
        return record

    def _file(self, path: str) -> Path:
        return self.root / path / GAME_FILE

    def _folders(self, split: str) -> list[str]:
        """Paths of the games of one split, sorted."""
        folder = self.root / split
        if not folder.is_dir():
            return []
        found = (
            f"{split}/{task.name}/{trial.name}"
            for task in os.scandir(folder)
            if task.is_dir() and not any(word in task.name for word in _UNSUPPORTED)
            for trial in os.scandir(task.path)
            if (folder / task.name / trial.name / GAME_FILE).is_file()
        )
        return sorted(found)


class Pack:
    """All games in one compressed file."""

    def __init__(self, file: Path) -> None:
        """file: the pack. Its header is read at once: DataError where the file is no pack."""
        self.root = file
        self._header = self._read_header()

    def fingerprint(self, split: str) -> str:
        """SHA-256 of the file and the name of the split."""
        return hashlib.sha256(self.root.read_bytes() + split.encode()).hexdigest()

    def games(self, split: str) -> Iterator[RawGame]:
        """The games of one split in the order of the file. Raises DataError where the file is damaged."""
        for record in self._records(f'"split": "{split}"'):
            if record.get("split") == split:
                yield self._raw(record)

    def official_json(self, path: str) -> dict[str, object]:
        """The content of the official file of one game. Raises DataError where there is none."""
        header = self._header
        for record in self._records(path):
            if record.get("path") == path:
                grammar = str(header["grammar_template"]).replace(str(header["task_placeholder"]), str(record["task"]))
                full = {**record, "pddl_domain": header["pddl_domain"], "grammar": grammar}
                return {key: full[key] for key in _JSON_KEYS}
        raise DataError(f"{self.root} has no game {path!r}")

    def _raw(self, record: dict[str, object]) -> RawGame:
        """A line as a game; the task sentence stands beside the problem here."""
        return _raw_game(str(record.get("path")), {"grammar": record.get("task"), **record}, self.root)

    def _records(self, having: str) -> Iterator[dict[str, object]]:
        """Every game line in which the text `having` occurs, parsed."""
        for line in self._lines():
            if having in line:
                record = self._parse(line)
                if "format" not in record:
                    yield record

    def _read_header(self) -> dict[str, object]:
        header = self._parse(next(self._lines(), ""))
        if header.get("format") != _PACK_FORMAT:
            raise DataError(f"{self.root} is not a pack of ALFWorld games (format {_PACK_FORMAT})")
        return header

    def _lines(self) -> Iterator[str]:
        """The lines of the file. Raises DataError where it is damaged."""
        try:
            with lzma.open(self.root, "rt", encoding="utf-8") as lines:
                yield from lines
        except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
            raise DataError(f"{self.root} is damaged or only half downloaded ({error})") from None

    def _parse(self, line: str) -> dict[str, object]:
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{self.root} is damaged or only half downloaded ({error})") from None
        return record if isinstance(record, dict) else {}


def find(path: str | Path) -> Tree | Pack:
    """The games at `path`: a pack, a folder that holds one, `json_2.1.1`, or a folder that holds that.

    A folder with both is read by its pack, which is faster. Raises DataNotFound where there is none of these.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise DataNotFound(f"no such file or folder: {place}")
    if place.is_file():
        return Pack(place)
    if (place / PACK_FILE).is_file():
        return Pack(place / PACK_FILE)
    for root in (place, place / ROOT):
        if any((root / split).is_dir() for split in SPLITS):
            return Tree(root)
    raise DataNotFound(f"no games in {place}: it holds neither {PACK_FILE} nor {ROOT} with folders like valid_seen")


def _raw_game(path: str, record: dict[str, object], file: Path) -> RawGame:
    """The record checked. The task sentence is found in the grammar."""
    walkthrough, problem = record.get("walkthrough"), record.get("pddl_problem")
    task = _TASK.search(str(record.get("grammar")))
    if not isinstance(walkthrough, list) or not isinstance(problem, str) or task is None:
        raise DataError(f"{file}: game {path} lacks its task sentence, walkthrough or pddl_problem")
    return RawGame(path, task[0], tuple(str(command) for command in walkthrough), problem)
