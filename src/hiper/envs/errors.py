"""Errors of the environments. Each message is one line that says what is wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EnvError(Exception):
    """Base of every error that this room raises on purpose."""


class DataError(EnvError, ValueError):
    """Game data is missing, damaged or not what it should be."""


class DataNotFound(DataError, FileNotFoundError):
    """The path given for data does not exist or holds no games."""


class UnknownName(EnvError, ValueError):
    """Nothing goes by this name (of an environment, split or game); the message offers the nearest known."""


class MissingExtra(EnvError, ImportError):
    """An optional package is needed and not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name most like `name`, or an empty string where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""
