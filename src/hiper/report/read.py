"""Reads a run folder as it is: what is there becomes a `Run`, what is not there is said in words.

A run may have been killed early, may hold an evaluation only, or may be older than a file of today. None of
this is an error; a folder without a single file of a run is.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from hiper.records import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EVALS_FILE,
    METRICS_FILE,
    TRAJECTORY_FOLDER,
    FileError,
    Trajectory,
    read_jsonl,
    read_trajectories,
)

Row = Mapping[str, object]
Column = tuple[float | None, ...]

_STEPS_READ, _OTHERS_READ = 3, 2
_STEP = re.compile(r"step-(\d+)")
_SUFFIXES = (".jsonl.zst", ".jsonl")
_CREDIT_SUFFIX = ".credit.jsonl"


class ReportError(ValueError):
    """A folder that cannot be reported on; the message says what was expected there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """Advantages and values of an episode, one entry a turn; None where there is none (as V_high at KEEP)."""

    switch: Column
    subgoal: Column
    action: Column
    U: Column
    V_high: Column
    V_low: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A recorded episode, with its credit where it was recorded too.

    `source` is the stem of its file's name, `step` the training step in that name, `index` its place in it.
    """

    source: str
    step: int | None
    index: int
    trajectory: Trajectory
    credit: Credit | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder. `imitation` and `training` are the rows of metrics.jsonl by stage, one a step, in order.

    `missing` says in sentences what the folder lacks, `problems` what is there but could not be read.
    `episodes` were chosen from `recorded` ones in `files_read` of the `files` with trajectories.
    """

    folder: Path
    config: str
    imitation: tuple[Row, ...]
    training: tuple[Row, ...]
    evals: tuple[Row, ...]
    environment: Row
    episodes: tuple[Episode, ...]
    recorded: int
    files_read: int
    files: int
    missing: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def stages(self) -> tuple[str, ...]:
        """Codes of the stages that left something here: "sft", "train", "eval"."""
        found = {"sft": bool(self.imitation), "train": bool(self.training)}
        found |= {str(row["stage"]): True for row in self.evals if row.get("stage") in found}
        stages = tuple(stage for stage, there in found.items() if there)
        return stages or (("eval",) if self.evals else ())


def read_run(folder: str | Path, *, episodes: int = 24) -> Run:
    """What lies in `folder`, with at most `episodes` trajectories, spread over steps, tasks and outcomes.

    Raises ReportError where `folder` is no run folder.
    """
    folder = Path(folder)
    _check_is_run(folder)
    problems: list[str] = []
    metrics = _rows(folder / METRICS_FILE, problems)
    files = _trajectory_files(folder / TRAJECTORY_FOLDER)
    chosen = _some_files(files)
    sampled, recorded = _episodes(chosen, episodes, problems)
    return Run(
        folder=folder,
        config=_text(folder / CONFIG_FILE),
        imitation=_latest(row for row in metrics if _is_imitation(row)),
        training=_latest(row for row in metrics if not _is_imitation(row)),
        evals=tuple(_rows(folder / EVALS_FILE, problems)),
        environment=read_environment(folder / ENVIRONMENT_FILE, problems),
        episodes=sampled,
        recorded=recorded,
        files_read=len(chosen),
        files=len(files),
        missing=_missing(folder),
        problems=tuple(problems),
    )


def number(row: Row, key: str) -> float:
    """The number under `key`; NaN where there is none."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _check_is_run(folder: Path) -> None:
    parts = (CONFIG_FILE, METRICS_FILE, EVALS_FILE, ENVIRONMENT_FILE, TRAJECTORY_FOLDER)
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; a report is made from the folder of a run")
    if not any((folder / part).exists() for part in parts):
        raise ReportError(f"{folder}: not the folder of a run; expected at least one of {', '.join(parts)}")


def _missing(folder: Path) -> tuple[str, ...]:
    said = {
        CONFIG_FILE: "the settings of the run are not known",
        METRICS_FILE: "there are no curves",
        EVALS_FILE: "no evaluation was recorded, so there is no success rate before and after",
        ENVIRONMENT_FILE: "versions, data and command line are not known",
    }
    lacking = [f"No {name}: {consequence}." for name, consequence in said.items() if not (folder / name).exists()]
    if not _trajectory_files(folder / TRAJECTORY_FOLDER):
        lacking.append(f"Nothing in {TRAJECTORY_FOLDER}/: there are no episodes to look at.")
    return tuple(lacking)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def read_environment(path: Path, problems: list[str]) -> Row:
    """What a run was made with; empty where that is not known. What is wrong with the file is added to `problems`."""
    if not path.exists():
        return {}
    try:
        loaded = json.loads(_text(path))
    except json.JSONDecodeError as error:
        problems.append(f"{path.name} is not JSON ({error}).")
        return {}
    return loaded if isinstance(loaded, dict) else {"environment": loaded}


def _rows(path: Path, problems: list[str]) -> list[Row]:
    """All rows that can be read; a line that cannot (a writer was killed) is named as a problem."""
    try:
        found: Sequence[object] = read_jsonl(path)
    except FileError as error:
        problems.append(f"A line was left out: {error}.")
        found = list(_readable(_text(path).splitlines()))
    return [row for row in found if isinstance(row, dict)]


def _readable(lines: Iterable[str]) -> Iterator[object]:
    for line in lines:
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def _is_imitation(row: Row) -> bool:
    return row.get("stage") == "sft" or ("learn/loss" in row and "learn/policy_loss" not in row)


def _latest(rows: Iterable[Row]) -> tuple[Row, ...]:
    """One row a step, by step: the last written, as a resumed run may repeat steps."""
    by_step = {number(row, "step"): row for row in rows}
    return tuple(by_step[step] for step in sorted(by_step) if not math.isnan(step))


def _trajectory_files(folder: Path) -> list[Path]:
    found = (path for suffix in _SUFFIXES for path in folder.glob(f"*{suffix}"))
    return sorted(path for path in found if not path.name.endswith(_CREDIT_SUFFIX))


def _some_files(files: Sequence[Path]) -> list[Path]:
    """The first, the middle and the last step of training, then the last evaluations: all would take long."""
    steps = [file for file in files if _STEP.search(file.name)]
    others = [file for file in files if file not in steps]
    places = np.linspace(0, len(steps) - 1, min(_STEPS_READ, len(steps))).round().astype(int)
    return [steps[place] for place in places] + others[-_OTHERS_READ:]


def _episodes(files: Sequence[Path], limit: int, problems: list[str]) -> tuple[tuple[Episode, ...], int]:
    """Some episodes of each file, `limit` in all, and how many there are."""
    chosen: list[Episode] = []
    recorded = 0
    for left, file in zip(range(len(files), 0, -1), files, strict=True):
        found = _read_file(file, problems)
        recorded += len(found)
        chosen += _spread(found, (limit - len(chosen)) // left)
    return tuple(chosen), recorded


def _read_file(path: Path, problems: list[str]) -> list[Episode]:
    stem = path.name.removesuffix(".zst").removesuffix(".jsonl")
    step = _STEP.search(stem)
    credited = _credits(path.with_name(stem + _CREDIT_SUFFIX), problems)
    episodes: list[Episode] = []
    try:
        for index, trajectory in enumerate(read_trajectories(path)):
            credit = _matching(credited.get(index), len(trajectory.turns))
            if index in credited and credit is None:
                problems.append(f"{stem}: the credit of episode {index} does not fit its turns.")
            made = Episode(
                source=stem,
                step=int(step[1]) if step else None,
                index=index,
                trajectory=trajectory,
                credit=credit,
            )
            episodes.append(made)
    except (ValueError, OSError) as error:
        problems.append(f"{path.name} could not be read to its end ({error}).")
    return episodes


def _credits(path: Path, problems: list[str]) -> dict[int, Row]:
    return {int(number(row, "index")): row for row in _rows(path, problems) if not math.isnan(number(row, "index"))}


def _matching(row: Row | None, turns: int) -> Credit | None:
    """The credit in `row`, or None where there is none or a column has not one entry a turn."""
    if row is None:
        return None
    columns = {field.name: _column(row.get(field.name)) for field in fields(Credit)}
    return Credit(**columns) if all(len(column) == turns for column in columns.values()) else None


def _column(values: object) -> Column:
    if not isinstance(values, list):
        return ()
    return tuple(float(v) if isinstance(v, int | float) and math.isfinite(v) else None for v in values)


def _spread(episodes: Sequence[Episode], limit: int) -> list[Episode]:
    """At most `limit`, taking turns between the kinds of task and outcome, in the order of the file."""
    kinds: dict[tuple[str, bool], list[Episode]] = {}
    for episode in episodes:
        kinds.setdefault((episode.trajectory.task_type, episode.trajectory.succeeded), []).append(episode)
    ranked = [(rank, episode.index) for group in kinds.values() for rank, episode in enumerate(group)]
    chosen = {index for _, index in sorted(ranked)[:limit]}
    return [episode for episode in episodes if episode.index in chosen]
