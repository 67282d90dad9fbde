"""Keeps compiled games on disk, so that thousands are ready in a fraction of a second.

The folder is `$HIPER_CACHE`, else `$XDG_CACHE_HOME/hiper`, else `~/.cache/hiper`. A file is named by a hash
of the data and of the code that compiles it; it is never updated, only written anew under another name, and
may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

_FORMAT: Final = "hiper-alfworld-games-1"
_COMPILERS: Final = ("game.py", "pddl.py", "official.py")


class CompiledSplit(NamedTuple):
    """All games of a split as JSON rows (`game.to_row`), parsed only when asked for.

    names: paths of the games, sorted. rows: the row of each, in the same order. sha256: of the raw data.
    """

    names: tuple[str, ...]
    rows: tuple[str, ...]
    sha256: str


def folder() -> Path:
    """Where compiled games are kept."""
    if chosen := os.environ.get("HIPER_CACHE"):
        return Path(chosen).expanduser() / "alfworld"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hiper" / "alfworld"


def file_for(fingerprint: str) -> Path:
    """The file of the data with this fingerprint, compiled by the present code."""
    key = hashlib.sha256(fingerprint.encode())
    for name in _COMPILERS:
        key.update(files(__package__).joinpath(name).read_bytes())
    return folder() / f"{key.hexdigest()[:32]}.games"


def load(file: Path) -> CompiledSplit | None:
    """What was stored, or None where the file is absent or unreadable: then the games are compiled again."""
    try:
        header, _, body = zlib.decompress(file.read_bytes()).decode().partition("\n")
        about = json.loads(header)
        rows = tuple(body.split("\n"))
        compiled = CompiledSplit(tuple(about["names"]), rows, about["sha256"])
    except (OSError, zlib.error, ValueError, KeyError, TypeError):
        return None
    return compiled if about.get("format") == _FORMAT and len(compiled.names) == len(rows) else None


def store(file: Path, compiled: CompiledSplit) -> None:
    """Writes the file whole or not at all. Where the folder cannot be written, warns and goes on without."""
    header = json.dumps({"format": _FORMAT, "sha256": compiled.sha256, "names": compiled.names})
    content = zlib.compress("\n".join([header, *compiled.rows]).encode(), level=6)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(file, content)
    except OSError as error:
        warnings.warn(
            f"cannot keep compiled games in {file.parent} ({error.strerror}); each start compiles them",
            stacklevel=2,
        )


def _write_whole(file: Path, content: bytes) -> None:
    """Replaces the file by one with this content, in one step."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.stem)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        Path(name).replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
