"""The run folder: metrics, trajectories, checkpoints and what they were made with. Saving is on by default."""

import fcntl
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from torch.utils.tensorboard import SummaryWriter

from hiper.learn import Optimizer
from hiper.models import Policy
from hiper.records import (
    ARENA_FILE,
    BOARD_FOLDER,
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    DONE_FILE,
    ENVIRONMENT_FILE,
    EVALS_FILE,
    METRICS_FILE,
    TRAJECTORY_FOLDER,
    FileError,
    Trajectory,
    append_jsonl,
    read_jsonl,
    write_trajectories,
    write_whole,
)
from hiper.runs.checkpoint import (
    BEST,
    PREFIX,
    Progress,
    checkpoints,
    load_best,
    prune,
    save_best,
    save_checkpoint,
)
from hiper.runs.config import Config, ConfigError, load_config, plain, to_toml

PACKAGES = ("hiper", "torch", "transformers", "tokenizers", "numpy", "gymnasium")
Row = dict[str, object]
LATER_SECTIONS = ("train", "credit", "eval", "guards")


class RunFolder:
    """One folder that holds everything one run left behind."""

    def __init__(self, path: Path, config: Config) -> None:
        self.path, self.config = path, config
        self.checkpoints = path / CHECKPOINT_FOLDER
        self._board: SummaryWriter | None = None

    @classmethod
    def create(cls, path: Path, config: Config) -> "RunFolder":
        """Start a run, or take up the one that is there. Refuses a folder that holds a run with other settings."""
        folder = cls(path, config)
        folder.check()
        if folder.is_given_away():
            raise ConfigError(
                f"{path} holds a run that is over and keeps no weights; choose another --out, or remove it"
            )
        if folder.has_lost_its_checkpoints():
            raise ConfigError(
                f"{path}: the checkpoints of this run are gone, so it cannot go on; choose another --out, or remove it"
            )
        folder.checkpoints.mkdir(parents=True, exist_ok=True)
        (path / TRAJECTORY_FOLDER).mkdir(exist_ok=True)
        return folder

    def check(self) -> None:
        """Raise ConfigError if the folder holds a run with other settings.

        Until training has begun, its own settings may still change: imitate once, then decide how to go on; guards may
        at any time. As long as nothing at all was done, everything may: the first attempt had a setting wrong.
        """
        if (self.path / ARENA_FILE).exists():
            raise ConfigError(f"{self.path} holds a comparison; choose another --out")
        file = self.path / CONFIG_FILE
        if not file.exists() or not self.has_begun():
            return
        is_trained = checkpoints(self.checkpoints, "train") or self.is_given_away()
        may_change = ("guards",) if is_trained else LATER_SECTIONS
        try:
            before = load_config(file)
        except ConfigError as error:
            raise ConfigError(f"{file}, which the run was begun with: {error}") from error
        changed = [key for key in _changes(before, self.config) if key.partition(".")[0] not in may_change]
        if changed:
            keys = ", ".join(changed)
            raise ConfigError(
                f"{self.path} holds a run with other settings ({keys}); choose another --out, or remove it"
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Two programs must not write to one run: nothing in it is changed before this."""
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"{self.path}: another program is writing to this run") from error
            try:
                write_whole(self.path / CONFIG_FILE, to_toml(self.config))
                yield
            finally:
                if self._board is not None:
                    self._board.close()
                    self._board = None

    def note_session(self, identity: Row, progress: Progress) -> None:
        """Write down that the run is worked on now, from where on and with what: it may be taken up elsewhere later.

        What stands at the top is what the run was begun with. Sessions of which nothing is left, because the run goes
        on from before them, are dropped.
        """
        file = self.path / ENVIRONMENT_FILE
        now: Row = {
            **identity,
            "command": sys.argv,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "processor": _processor(),
            "packages": {name: _version(name) for name in PACKAGES},
            "code_sha256": CODE_SHA256,
            "git_commit": _git_commit(),
            "started": _now(),
        }
        since = [progress.stage, progress.step]
        is_new = since == ["sft", 0] or not file.exists()  # an earlier attempt may have had other settings
        try:
            begun: dict[str, Any] = now if is_new else json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{file} is damaged ({error}); remove it to go on: only what it tells is lost") from error
        before = [one for one in begun.get("sessions", []) if _order(one.get("since")) < _order(since)]
        write_whole(file, json.dumps({**begun, "sessions": [*before, {**now, "since": since}]}, indent=1))

    def log(self, stage: str, row: Row) -> None:
        """One row of metrics, to the file and to TensorBoard."""
        strict = {name: None if _is_no_number(value) else value for name, value in row.items()}  # JSON knows no NaN
        append_jsonl(self.path / METRICS_FILE, {"stage": stage, **strict})
        rows = [{"stage": stage, **row}]
        if self._board is None:  # a run that goes on from an earlier step would show what came after it twice
            shutil.rmtree(self.path / BOARD_FOLDER, ignore_errors=True)
            self._board = SummaryWriter(str(self.path / BOARD_FOLDER))
            rows = read_jsonl(self.path / METRICS_FILE)
        for one in rows:
            for name, value in one.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{one['stage']}/{name}", value, int(str(one["step"])))

    def log_evaluation(self, row: Row) -> None:
        append_jsonl(self.path / EVALS_FILE, row)

    def evaluations(self) -> list[Row]:
        return read_jsonl(self.path / EVALS_FILE)

    def save_trajectories(self, name: str, trajectories: Sequence[Trajectory], credit: Sequence[Row] = ()) -> None:
        folder = self.path / TRAJECTORY_FOLDER
        write_trajectories(folder / f"{name}.jsonl.zst", trajectories)
        if credit:
            write_whole(folder / f"{name}.credit.jsonl", "".join(json.dumps(row) + "\n" for row in credit))

    def save(self, policy: Policy, optimizer: Optimizer | None, progress: Progress) -> Path:
        """Write a checkpoint, then remove old ones."""
        target = save_checkpoint(self.checkpoints, policy, optimizer, progress, plain(self.config))
        prune(self.checkpoints, progress.stage, self.config.keep)
        return target

    def save_best(self, policy: Policy, progress: Progress) -> None:
        """Write the model that did best so far, in place of the one before."""
        save_best(self.checkpoints, policy, progress, plain(self.config))

    def is_given_away(self) -> bool:
        """Whether the run is over and its weights are gone: a comparison keeps numbers only, unless it is told to."""
        return (self.path / DONE_FILE).exists()

    def has_lost_its_checkpoints(self) -> bool:
        """Whether rows tell of steps after which there must have been one."""
        if self.latest() is not None:
            return False
        rows = (self.path / METRICS_FILE, self.path / EVALS_FILE)
        places = [_place(row, file) for file in rows for row in read_jsonl(file)]
        return any(
            step > self.config.checkpoint_every or (stage == "train" and self.config.sft.steps > 0)
            for stage, step in places
        )

    def has_begun(self) -> bool:
        """Whether there is anything that a run with other settings must not continue."""
        rows = (self.path / name for name in (METRICS_FILE, EVALS_FILE))
        return self.latest() is not None or any(file.exists() and file.stat().st_size for file in rows)

    def latest(self) -> Path | None:
        """The last checkpoint of the furthest stage."""
        for stage in ("train", "sft"):
            found = checkpoints(self.checkpoints, stage)
            if found:
                return found[-1]
        return None

    def rewind(self, progress: Progress | None) -> None:
        """Drop what came after a checkpoint, rows, samples and the best model: the run plays those steps again.

        What a step left that was not finite stays: it is there to be looked into.
        """
        limit = (-1, 0) if progress is None else _order([progress.stage, progress.step])
        best = load_best(self.checkpoints)
        if best is not None and _order([best.stage, best.step]) > limit:
            shutil.rmtree(self.checkpoints / BEST)
        for name in (METRICS_FILE, EVALS_FILE):
            file = self.path / name
            rows = read_jsonl(file)
            kept = [row for row in rows if _order(_place(row, file)) <= limit]
            if len(kept) != len(rows) or _is_torn(file):
                write_whole(file, "".join(json.dumps(row) + "\n" for row in kept))
        for sample in (self.path / TRAJECTORY_FOLDER).glob(f"{PREFIX['train']}[0-9]*"):
            step = sample.name.removeprefix(PREFIX["train"]).partition(".")[0]
            if _order(["train", int(step)]) > limit:
                sample.unlink()


def _place(row: Row, file: Path) -> tuple[str, int]:
    """Stage and step of a row."""
    stage, step = row.get("stage"), row.get("step")
    if stage not in PREFIX or not isinstance(step, int):
        raise FileError(f"{file}: a row without stage and step; remove that line to go on: {json.dumps(row)[:80]}")
    return str(stage), step


def _order(place: Sequence[object] | None) -> tuple[int, int]:
    """Stage and step, the earlier the smaller; a place that was not written down comes first."""
    return (-1, 0) if place is None else (list(PREFIX).index(str(place[0])), int(str(place[1])))


def _changes(before: BaseModel, after: BaseModel, prefix: str = "") -> Iterator[str]:
    """Dotted keys in which two configurations differ."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(old, BaseModel):
            yield from _changes(old, new, f"{prefix}{name}.")
        elif old != new:
            yield prefix + name


def _is_torn(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The model, where the system tells it: another one may round otherwise."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _code_sha256() -> str:
    """Of all files of the package that training may depend on, with their places."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    for file in sorted(package.rglob("*")):
        place = file.relative_to(package)
        if file.suffix in (".py", ".json", ".toml") and place.parts[0] not in ("cli", "lab", "report"):
            digest.update(f"{place.as_posix()}\n".encode() + file.read_bytes())
    return digest.hexdigest()


CODE_SHA256 = _code_sha256()  # as it was imported: files may change while a comparison runs


def _is_no_number(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _git_commit() -> str | None:
    """Of the checkout that this code is part of; a checkout that it merely stands in is not meant."""
    own = Path(__file__)
    try:
        is_part, head = (
            subprocess.run(["git", *words], cwd=own.parent, capture_output=True, text=True, timeout=5, check=False)
            for words in (["ls-files", "--error-unmatch", own.name], ["rev-parse", "HEAD"])
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() if is_part.returncode == head.returncode == 0 else None
