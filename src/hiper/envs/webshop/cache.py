"""Keeps what is built from a catalogue on disk, where all environments and processes of a host share it.

The folder is `$HIPER_CACHE`, else `$XDG_CACHE_HOME/hiper`, else `~/.cache/hiper`. What is built lies in a
folder of its own, named by a hash of the data and of the code that built it; it gets that name in one step
when it is complete, is never changed afterwards, and may be deleted at any time. A process that is killed
leaves a folder ending in `.part`, which the next build removes; of several processes that need the same
thing one builds and the others wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SIZES: Final = "sizes.json"


def folder() -> Path:
    """Where everything is kept."""
    if chosen := os.environ.get("HIPER_CACHE"):
        return Path(chosen).expanduser() / "webshop"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hiper" / "webshop"


def code_hash(names: Iterable[str]) -> str:
    """Hash of the content of files of this package, and of those in folders of it."""
    key = hashlib.sha256()
    for name in names:
        found = files(__package__).joinpath(name)
        for file in sorted(found.iterdir(), key=lambda file: file.name) if found.is_dir() else [found]:
            if file.is_file():
                key.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return key.hexdigest()


def built(name: str, build: Callable[[Path], None]) -> Path:
    """The folder of that name, built by `build(folder)` where it is not there or not whole.

    Where nothing can be written, warns and builds in a temporary folder that goes with the process.
    """
    home = folder() / name
    if _is_whole(home):
        return home
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        lock = home.with_suffix(".lock").open("a")
    except OSError as error:
        warnings.warn(f"cannot keep the catalogue in {folder()} ({error.strerror}); each start builds it", stacklevel=2)
        return _temporary(build)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the process ends, however it ends
        if not _is_whole(home):
            part = home.with_suffix(".part")
            for left in (part, home):
                if left.exists():
                    shutil.rmtree(left)
            part.mkdir()
            try:
                build(part)
                _seal(part)
                part.rename(home)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return home


_temporaries: list[tempfile.TemporaryDirectory[str]] = []  # kept until the process ends


def _temporary(build: Callable[[Path], None]) -> Path:
    """What `build` makes, in a folder that is deleted when the process ends."""
    _temporaries.append(tempfile.TemporaryDirectory(prefix="hiper-webshop-"))
    part = Path(_temporaries[-1].name)
    build(part)
    return part


def _seal(part: Path) -> None:
    """Writes down how large each file is."""
    sizes = {path.name: path.stat().st_size for path in part.iterdir()}
    (part / _SIZES).write_text(json.dumps(sizes))


def _is_whole(home: Path) -> bool:
    """Whether a folder has all its files at their full size."""
    try:
        sizes = json.loads((home / _SIZES).read_text())
        return all((home / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def remembered_hash(paths: Iterable[Path], compute: Callable[[], str]) -> str:
    """`compute()`, a hash of the content of files; taken from a note while path, size and date stay the same."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    key = hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:32]
    note = built(f"hash-{key}", lambda part: _write(part / "sha256", compute()))
    return (note / "sha256").read_text()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def save_array(home: Path, name: str, values: NDArray[Any]) -> None:
    """Writes an array into a folder."""
    np.save(home / f"{name}.npy", values, allow_pickle=False)


def load_array(home: Path, name: str) -> NDArray[Any]:
    """An array of a folder, memory-mapped, read-only."""
    return np.load(home / f"{name}.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)  # type: ignore[no-any-return]
