"""Reads the folder of a comparison: its plan, and the rows of each of its runs."""

import csv
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from hiper.records import ARENA_FILE, ENVIRONMENT_FILE, EVALS_FILE, METRICS_FILE, FileError, read_jsonl
from hiper.report.read import ReportError, Row, number, read_environment
from hiper.report.scales import Floats

ROWS_FILE = "rows.jsonl"
K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One run of an arm; rows are of training. `state` is "done", "failed" (learning broke it, `reason` says how) or
    "unfinished" (`reason` says what befell it, if anything).

    start: the imitation it shares with other runs, by plan; empty where there is none. imitated: the hash of what it
    came out as, or, where that was not written down, when it was made. code: hashes of the code that trained it, one
    after the other; empty where they were not written down.
    """

    task: str
    arm: str
    seed: int
    folder: str
    state: str
    reason: str
    rows: tuple[Row, ...]
    evals: tuple[Row, ...]
    start: str = ""
    imitated: str = ""
    code: tuple[str, ...] = ()

    @property
    def played(self) -> Floats:
        """Turns played in training when each step was over."""
        return np.array([number(row, "total/turns") for row in self.rows], dtype=np.float64)

    @property
    def played_before(self) -> Floats:
        """Turns played in training when each step began."""
        return np.concatenate([[0.0], self.played[:-1]])

    @property
    def last(self) -> Row | None:
        """The final evaluation on held-out games, of the first of its splits, as far as the run got there."""
        final = [row for row in self.evals if row.get("stage") == "train" and row.get("final")]
        return next((row for row in reversed(final) if row.get("split") == final[0].get("split")), None)

    @property
    def guards(self) -> tuple[str, ...]:
        """Guards that saw trouble at any time."""
        named = (row.get("guards") for row in self.rows)
        return tuple(dict.fromkeys(str(name) for names in named if isinstance(names, list) for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arena:
    """A comparison. turns: the budget of each task's runs; chains: how many tasks are chained in each of its games.

    threshold: a share, or None for where the baseline has made the share `gained` of its way. measure: "success" or
    "score", whatever is compared.
    """

    folder: Path
    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    chains: Mapping[str, int | None]
    seeds: tuple[int, ...]
    turns: Mapping[str, int]
    baseline: str
    threshold: float | None
    gained: float
    measure: str
    entries: tuple[Entry, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """All arms but the baseline."""
        return tuple(arm for arm in self.arms if arm != self.baseline)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Tasks of which no run has begun."""
        return tuple(task for task in self.turns if task not in self.tasks)

    def of(self, task: str, arm: str) -> tuple[Entry, ...]:
        """The runs of an arm that have come to an end, by seed: those that failed too."""
        return tuple(
            entry for entry in self.entries if (entry.task, entry.arm) == (task, arm) and entry.state != "unfinished"
        )


def is_comparison(folder: Path) -> bool:
    """Whether a comparison lies there."""
    return (folder / ARENA_FILE).exists()


def read_arena(folder: str | Path) -> Arena:
    """What lies in the folder of a comparison. Raises ReportError where there is none.

    Tasks of which no run has begun are left out, if there are others: a study may be carried out in parts.
    """
    folder = Path(folder)
    try:
        plan = json.loads((folder / ARENA_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{folder}: not the folder of a comparison; {ARENA_FILE} is missing or damaged") from error
    try:
        return _arena(folder, plan)
    except (KeyError, TypeError, AttributeError) as error:
        raise ReportError(f"{folder}: {ARENA_FILE} is damaged, or of another version ({error!r})") from error


def _arena(folder: Path, plan: dict[str, Any]) -> Arena:
    entries = tuple(_entry(folder, run) for run in plan["runs"])
    begun = {entry.task for entry in entries if entry.rows or entry.state != "unfinished"}
    return Arena(
        folder=folder,
        arms=tuple(plan["arms"]),
        tasks=tuple(task["name"] for task in plan["tasks"] if task["name"] in begun or not begun),
        chains={task["name"]: task["chain"] for task in plan["tasks"]},
        seeds=tuple(plan["seeds"]),
        turns={task["name"]: task["turns"] for task in plan["tasks"]},
        baseline=plan["baseline"],
        threshold=None if plan["threshold"] == "baseline" else float(plan["threshold"]),
        gained=float(plan["gained"]),
        measure=plan["measure"],
        entries=entries,
    )


def unequal_starts(arena: Arena) -> list[str]:
    """A line for each task and imitation that came out in more than one version: runs that were to begin alike did not.

    It happens where an imitation is made again, and another processor rounds otherwise. What such arms differ by is not
    the credit alone.
    """
    lines = []
    for (task, start, seed), entries in _grouped(arena.entries, lambda one: (one.task, one.start, one.seed)).items():
        known = [one for one in entries if start and one.imitated]
        count, which = _versions(known, lambda one: one.imitated[:12])
        if count > 1:
            lines.append(f"{task}, seed {seed}: {start} came out in {count} versions; {which}")
    return lines


def unequal_code(arena: Arena) -> list[str]:
    """A line for each task and seed whose runs were trained by different versions of the code: what sets arms apart may
    be that."""
    lines = []
    for (task, seed), entries in _grouped(arena.entries, lambda one: (one.task, one.seed)).items():
        known = [one for one in entries if one.rows]
        count, which = _versions(known, lambda one: " then ".join(code[:8] for code in one.code) or "unknown")
        if count > 1:
            lines.append(f"{task}, seed {seed}: trained by {count} versions of the code; {which}")
    return lines


def _versions(entries: Iterable[Entry], version: Callable[[Entry], str]) -> tuple[int, str]:
    """How many versions of something these runs have, and which arms have which."""
    arms_of = {name: dict.fromkeys(one.arm for one in some) for name, some in _grouped(entries, version).items()}
    return len(arms_of), "; ".join(f"{name}: {', '.join(arms)}" for name, arms in arms_of.items())


def _grouped(entries: Iterable[Entry], key: Callable[[Entry], K]) -> dict[K, list[Entry]]:
    """By key, each in the order in which it first comes."""
    groups: dict[K, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return groups


def write_rows(arena: Arena, path: Path) -> None:
    """Every row of every run, evaluations too, each with its task, arm and seed: for those who count for themselves."""
    with path.open("w", encoding="utf-8") as out:
        for entry in arena.entries:
            head = {"task": entry.task, "arm": entry.arm, "seed": entry.seed, "state": entry.state}
            for kind, rows in (("train", entry.rows), ("eval", entry.evals)):
                for row in rows:
                    out.write(json.dumps({**head, "kind": kind, **row}) + "\n")


def write_csv(rows: Iterable[Row], path: Path) -> None:
    """Rows of equal keys as a table; what is not known is empty."""
    found = list(rows)
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, fieldnames=list(found[0]) if found else [])
        writer.writeheader()
        writer.writerows([{key: "" if _is_nan(value) else value for key, value in row.items()} for row in found])


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _entry(folder: Path, run: Row) -> Entry:
    place = folder / str(run["folder"])
    environment = read_environment(place / ENVIRONMENT_FILE, [])
    sessions = environment.get("sessions")
    code = [str(one.get("code_sha256", "")) for one in sessions] if isinstance(sessions, list) else []
    rows = tuple(row for row in _rows(place / METRICS_FILE) if row.get("stage") == "train")
    is_lost = run["state"] == "done" and not rows
    return Entry(
        task=str(run["task"]),
        arm=str(run["arm"]),
        seed=int(number(run, "seed")),
        folder=str(run["folder"]),
        state="unfinished" if is_lost else str(run["state"]),
        reason="it is done, but its metrics are lost" if is_lost else str(run["reason"]),
        rows=rows,
        evals=tuple(_rows(place / EVALS_FILE)),
        start=str(run.get("start", "")),
        imitated=str(environment.get("start_sha256") or environment.get("started", "")),
        code=tuple(dict.fromkeys(code)),
    )


def _rows(file: Path) -> Sequence[Row]:
    try:
        return read_jsonl(file)
    except FileError as error:
        raise ReportError(str(error)) from error
