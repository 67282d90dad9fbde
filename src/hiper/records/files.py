"""Reading and writing records: JSON lines, optionally compressed (`.zst`), with the schema in the first line.

Also the names of the files in the folder of a run and of a comparison, so that writers and readers cannot drift apart.
"""

import dataclasses
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import zstandard

from hiper.records.types import Decision, Ending, Invalid, Span, Spans, Trajectory, Turn

SCHEMA = "hiper.trajectory/1"

CONFIG_FILE = "config.toml"
METRICS_FILE = "metrics.jsonl"
EVALS_FILE = "evals.jsonl"
ENVIRONMENT_FILE = "environment.json"
REPORT_FILE = "report.html"
DONE_FILE = "done.json"  # of a run that is over and whose weights were given away
ARENA_FILE = "arena.json"  # of a comparison: its plan, and how each run ended
TRAJECTORY_FOLDER = "trajectories"
CHECKPOINT_FOLDER = "checkpoints"
BOARD_FOLDER = "tensorboard"

JSON = dict[str, object]


class FileError(ValueError):
    """A file that cannot be read as what it should be; the message names the file and the line."""


def to_json(trajectory: Trajectory) -> JSON:
    """A JSON-able dictionary; `from_json` gives the equal record back."""
    return dataclasses.asdict(trajectory)


def from_json(row: JSON) -> Trajectory:
    """The record that `to_json` wrote."""
    data = dict(row)
    turns = tuple(_turn(turn) for turn in cast("list[JSON]", data.pop("turns")))
    final_ids = tuple(cast("list[int]", data.pop("final_context_ids")))
    ending = Ending(cast(str, data.pop("ending")))
    return Trajectory(**data, turns=turns, ending=ending, final_context_ids=final_ids)  # type: ignore[arg-type]


def _turn(row: JSON) -> Turn:
    data = dict(row)
    spans = cast("dict[str, dict[str, int] | None]", data.pop("spans"))
    invalid = cast("str | None", data.pop("invalid"))
    ids = {key: tuple(cast("list[float]", data.pop(key))) for key in ("context_ids", "reply_ids", "reply_logprobs")}
    decision = Decision(cast(str, data.pop("decision")))
    return Turn(
        **data,  # type: ignore[arg-type]
        **ids,  # type: ignore[arg-type]
        decision=decision,
        invalid=None if invalid is None else Invalid(invalid),
        spans=Spans(**{kind: None if span is None else Span(**span) for kind, span in spans.items()}),
    )


def write_trajectories(path: Path, trajectories: Iterable[Trajectory]) -> None:
    """Write all trajectories to `path` (compressed where it ends in .zst): whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _whole(path) as partial, _open_write(partial, compressed=path.suffix == ".zst") as out:
        out.write(json.dumps({"schema": SCHEMA}) + "\n")
        for trajectory in trajectories:
            out.write(json.dumps(to_json(trajectory), ensure_ascii=False) + "\n")


def read_trajectories(path: Path) -> Iterator[Trajectory]:
    """Read back what `write_trajectories` wrote. Raises FileError, naming file and line, on anything else."""
    number = 0
    try:
        with _open_read(path) as lines:
            for number, line in enumerate(lines, start=1):
                row = json.loads(line)
                if number > 1:
                    yield from_json(row)
                elif row.get("schema") != SCHEMA:
                    raise FileError(f"{path}: schema is {row.get('schema')!r}, this version reads {SCHEMA!r}")
    except FileError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zstandard.ZstdError) as error:
        raise FileError(f"{path}, line {number}: not a trajectory record ({error})") from error
    if number == 0:
        raise FileError(f"{path}: empty, or cut off before its first line")


def write_whole(path: Path, text: str, errors: str = "strict") -> None:
    """Write a text file: whole, or not at all. `errors` says what is done with what UTF-8 cannot hold."""
    with _whole(path) as partial:
        partial.write_text(text, encoding="utf-8", errors=errors)


def append_jsonl(path: Path, row: JSON) -> None:
    """Append one row and flush it to the disk, so that a killed run keeps all rows but the last."""
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")
        out.flush()
        os.fsync(out.fileno())


def read_jsonl(path: Path) -> list[JSON]:
    """All rows of a JSONL file; [] where there is none. A torn last line (a killed writer) is left out."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not text from byte {error.start} on; cut it off there to go on") from error
    lines = text.splitlines()
    rows: list[JSON] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and not text.endswith("\n"):
                break
            raise FileError(f"{path}, line {number}: not JSON ({error}); remove that line to go on") from error
        if not isinstance(row, dict):
            raise FileError(f"{path}, line {number}: not an object, {line[:40]!r}; remove that line to go on")
        rows.append(row)
    return rows


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its name once all is on the disk."""
    partial = path.with_name(path.name + ".partial")
    yield partial
    with partial.open("rb") as written:
        os.fsync(written.fileno())
    partial.replace(path)


def _open_write(path: Path, *, compressed: bool) -> IO[str]:
    raw = path.open("wb")
    stream: object = zstandard.ZstdCompressor(level=6).stream_writer(raw) if compressed else raw
    return io.TextIOWrapper(cast("IO[bytes]", stream), encoding="utf-8")


def _open_read(path: Path) -> IO[str]:
    raw = path.open("rb")
    stream: object = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
    return io.TextIOWrapper(cast("IO[bytes]", stream), encoding="utf-8")
