"""The official files: `items_shuffle*.json`, `items_ins_v2*.json` and `items_human_ins.json`, of any size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from hiper.envs.about import Tell, silent
from hiper.envs.errors import DataError, DataNotFound
from hiper.envs.webshop.product import MAX_ASIN, Product, Row, parse_product

PATTERNS: Final = ("items_shuffle*.json", "items_ins_v2*.json", "items_human_ins.json")
_CHUNK: Final = 1 << 20  # characters read at a time
_PIECE: Final = 1 << 24  # bytes hashed at a time
_MAX_ROW: Final = 1 << 24  # characters; a row that has not ended by then is damaged


@dataclass(frozen=True, slots=True)
class Files:
    """The three files of a catalogue. human_ins may be absent: then there are no human goals."""

    items: Path
    attributes: Path
    human: Path | None

    def all(self) -> list[Path]:
        """Those that are there."""
        return [self.items, self.attributes, *([self.human] if self.human else [])]

    def sha256(self, tell: Tell = silent) -> str:
        """Hash of the content of all files."""
        whole = hashlib.sha256()
        done, total = 0, sum(path.stat().st_size for path in self.all())
        for path in self.all():
            digest = hashlib.sha256()
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    done += len(piece)
                    tell("hashing the files", done, total)
            whole.update(digest.digest())
        return whole.hexdigest()


def find(folder: str | Path) -> Files:
    """The files in a folder, or in the one folder below it that has them.

    Raises DataNotFound where something is missing, DataError where there are several to choose from.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise DataNotFound(f"{root} is no folder; give the folder that holds {', '.join(PATTERNS)}")
    below = sorted(path for path in root.iterdir() if path.is_dir())
    homes = [path for path in (root, *below) if any(path.glob(PATTERNS[0]))]
    homes = homes or [path for path in (root, *below) if any(any(path.glob(pattern)) for pattern in PATTERNS)]
    if not homes:
        raise DataNotFound(
            f"no {PATTERNS[0]} and no {PATTERNS[1]} in {root} or one folder below it ({PATTERNS[2]} may be missing)"
        )
    if root not in homes and len(homes) > 1:
        raise DataError(f"several folders below {root} hold a catalogue; name one: {', '.join(p.name for p in homes)}")
    human = homes[0] / PATTERNS[2]
    missing = [pattern for pattern in PATTERNS[:2] if not any(homes[0].glob(pattern))]
    if missing:
        optional = "" if human.is_file() else f" (nor has it {PATTERNS[2]}, which may be missing)"
        raise DataNotFound(f"{homes[0]} lacks {' and '.join(missing)}{optional}")
    items, attributes = (_only(homes[0], pattern) for pattern in PATTERNS[:2])
    return Files(items, attributes, human if human.is_file() else None)


def _only(folder: Path, pattern: str) -> Path:
    """The one file of a folder that fits a pattern; there is one at least."""
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        raise DataError(f"{folder} has several {pattern}; leave one: {', '.join(path.name for path in found)}")
    return found[0]


def read_products(files: Files, tell: Tell = silent) -> Iterator[Product]:
    """All products, in the order of the file.

    Left out without a word, as by the original: an ASIN of more than ten characters, `nan`, and all but the
    first product of an ASIN. Attributes and human instructions of products that are not there are not used.
    Raises DataError where a file is damaged, or a product is or lacks its entry in the attribute file.
    """
    attributes = _read_object(files.attributes)
    human = _read_object(files.human) if files.human else {}
    seen = set()
    for number, row in enumerate(_read_rows(files.items, tell)):
        where = f"{files.items.name}, product {number}"
        if not isinstance(row, dict) or not isinstance(row.get("asin"), str) or not row["asin"].isascii():
            raise DataError(f"{where}: must be an object with an 'asin' of ASCII letters and digits")
        asin = row["asin"]
        if asin == "nan" or len(asin) > MAX_ASIN or asin in seen:
            continue
        seen.add(asin)
        about = attributes.get(asin)
        if not isinstance(about, dict):
            raise DataError(f"{files.attributes.name} has no object for {asin} of {files.items.name}")
        goals = human.get(asin, [])
        if not isinstance(goals, list) or not all(isinstance(goal, dict) for goal in goals):
            raise DataError(f"{files.human}: the entry of {asin} must be a list of objects")
        yield parse_product(row, about, goals, f"{where} ({asin})")
    if not seen:
        raise DataError(f"{files.items} has no products")


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object by product."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is damaged or truncated: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path} must hold a JSON object with an entry per product, not a {type(found).__name__}")
    return found


def _read_rows(path: Path, tell: Tell) -> Iterator[Row]:
    """The items of a JSON list, one at a time: the file may be larger than memory."""
    try:
        with path.open(encoding="utf-8") as file:
            scan = _Scanner(file, path.stat().st_size, tell)
            if scan.sign() != "[":
                raise DataError(f"{path} must hold a JSON list of products")
            scan.place += 1
            separator = "," if scan.sign() != "]" else "]"
            while separator == ",":
                yield scan.value()
                separator = scan.sign()
                scan.place += 1
            if separator != "]":
                raise ValueError(f"{separator or 'nothing'} where a comma or the end of the list must be")
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path} is damaged or truncated: {error}") from None


class _Scanner:
    """Reads JSON values one after another from an open file."""

    def __init__(self, file: TextIO, size: int, tell: Tell) -> None:
        """size: of the file, bytes."""
        self._file, self._size, self._tell = file, size, tell
        self._decode = json.JSONDecoder().raw_decode
        self._text = ""
        self.place = 0  # in the text that has been read and not been used up

    def sign(self) -> str:
        """The next character that is no white space; it is not passed. Empty at the end of the file."""
        while True:
            while self.place < len(self._text) and self._text[self.place].isspace():
                self.place += 1
            if self.place < len(self._text) or not self._more():
                return self._text[self.place : self.place + 1]

    def value(self) -> Any:
        """The next value. Raises ValueError where there is none."""
        self.sign()
        while True:
            try:
                value, self.place = self._decode(self._text, self.place)
                return value
            except json.JSONDecodeError:
                if len(self._text) - self.place > _MAX_ROW or not self._more():
                    raise

    def _more(self) -> bool:
        """Reads on; False at the end of the file."""
        more = self._file.read(_CHUNK)
        self._text = self._text[self.place :] + more
        self.place = 0
        self._tell("reading products", self._file.buffer.tell(), self._size)
        return bool(more)
