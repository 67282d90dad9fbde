"""A comparison at work: one process for each run, imitations first, taken up again from wherever it was.

Every run is an ordinary run folder. What is done is read from these folders, so a comparison that was killed needs
nothing but the same command.
"""

import contextlib
import fcntl
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from hiper.envs import EnvError
from hiper.records import (
    ARENA_FILE,
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    DONE_FILE,
    EVALS_FILE,
    read_jsonl,
    write_whole,
)
from hiper.runs.arena import Entry, Job, Plan, jobs_of
from hiper.runs.board import Board
from hiper.runs.checkpoint import Progress, checkpoints, load_progress
from hiper.runs.config import ConfigError, load_config
from hiper.runs.folder import RunFolder
from hiper.runs.run import Stopped
from hiper.runs.train import is_over
from hiper.runs.worker import carry_out
from hiper.runs.world import World

PATIENCE = 0.5  # seconds between two looks at the processes
LOG_FOLDER = "logs"


class Onlooker(Protocol):
    """Whoever shows a comparison's progress."""

    def say(self, text: str) -> None: ...
    def board(self, done: int, total: int, left_s: float | None, text: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Worker:
    """A process, what it is at, and the last it said."""

    job: Job
    process: ForkServerProcess
    pipe: Connection
    since: float = field(default_factory=time.monotonic)
    end: tuple[str, str] = ("unfinished", "")
    is_asked: bool = False

    def ask_to_stop(self) -> None:
        """After its present step. Once only: it takes a second time for a wish to break off at once."""
        if not self.is_asked:
            self.is_asked = True
            self.process.terminate()


def finished(job: Job) -> Progress | None:
    """What came of a job whose folder holds all that it is to do, or says that it did; None if something is left."""
    done = job.out / DONE_FILE
    if done.exists():
        try:
            return Progress(**json.loads(done.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{done} is damaged; remove {job.out}, and the run is made again") from error
    stage = "sft" if job.only_imitation else "train"
    found = checkpoints(job.out / CHECKPOINT_FOLDER, stage)
    if not found:
        return None
    progress = load_progress(found[-1])
    over = progress.step >= job.config.sft.steps if job.only_imitation else is_over(job.config.train, progress)
    rows = read_jsonl(job.out / EVALS_FILE)
    evaluated = {row.get("split") for row in rows if (row.get("stage"), row.get("step")) == (stage, progress.step)}
    return progress if over and evaluated >= set(job.config.eval.splits) else None


def _is_of(job: Job) -> bool:
    """Whether what lies in a job's folder, if anything, was made with its settings."""
    file = job.out / CONFIG_FILE
    return not file.exists() or load_config(file) == job.config


def state(job: Job) -> str:
    """How far a job is, in a word."""
    if finished(job):
        return "done"
    return "begun" if job.out.exists() else "to do"


def check(plan: Plan, jobs: Sequence[Job], out: Path) -> None:
    """All that can be known before anything starts: the games are there, and the folders are of these settings."""
    if (out / CONFIG_FILE).exists():
        raise ConfigError(f"{out} holds a run; choose another --out")
    for job in (*jobs, *(entry.job for entry in plan.entries)):  # what is done anyway is in the table
        RunFolder(job.out, job.config).check()
    tried: list[object] = []
    for job in jobs:
        config = job.config
        splits = (config.sft.split, config.env.train_split, *config.eval.all_splits)
        if (config.env, splits) in tried:
            continue
        tried.append((config.env, splits))
        world = World(config.env)
        try:
            for split in dict.fromkeys(splits):
                world.names(split)
        except (ConfigError, EnvError) as error:
            raise ConfigError(f"{job.name}: {error}") from error
        world.close()


class Comparison:
    """A plan at work in a folder. `execute` does what is left to do of the chosen runs."""

    def __init__(
        self, plan: Plan, out: Path, workers: int, onlooker: Onlooker, chosen: Sequence[Entry] | None = None
    ) -> None:
        self.plan, self.out, self.onlooker = plan, out, onlooker
        self.jobs = list(jobs_of(plan, plan.entries if chosen is None else chosen))
        self.workers = max(1, min(workers, len(self.jobs)))
        self.board = Board(self.jobs, self.workers)
        self.outcome: dict[Path, tuple[str, str]] = {}
        self._failed: dict[str, tuple[str, str]] = {}
        self._running: list[_Worker] = []
        self._asked = 0

    def execute(self) -> dict[str, str]:
        """Do what is left; names and reasons of the runs that failed. Raises Stopped where it was asked to stop."""
        check(self.plan, self.jobs, self.out)
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / LOG_FOLDER).mkdir(exist_ok=True)
        with self._locked(), self._interruptible():
            self._failed = self._failed_before()
            self._name_strangers()
            self._settle_what_is_done()
            self._write()
            waiting = [job for job in self.jobs if job.out not in self.outcome]
            try:
                while self._running or (waiting and not self._asked):
                    self._begin(waiting)
                    self._listen()
            finally:
                for worker in self._running:
                    worker.process.kill()
        if self._asked:
            raise Stopped(f"stopped; what was done lies in {self.out}")
        return {job.name: self.outcome[job.out][1] for job in self.jobs if self.outcome[job.out][0] != "done"}

    def _settle_what_is_done(self) -> None:
        """An imitation is done, too, when no run needs it any more."""
        done = {job.out: progress for job in self.jobs if (progress := finished(job))}
        needed = {job.start for job in self.jobs if job.out not in done}
        for job in self.jobs:
            if job.out in done or (job.only_imitation and job.out not in needed):
                progress = done.get(job.out)
                self._settle(job, "done", "", progress.wall_s if progress else 0.0)
        for entry in self.plan.entries:  # those that are not to be done now may be done all the same
            if entry.job.out not in self.board.share and finished(entry.job):
                self.outcome[entry.job.out] = ("done", "")

    def _begin(self, waiting: list[Job]) -> None:
        """Start what can be started on the free places."""
        for job in list(waiting):
            if len(self._running) >= self.workers or self._asked:
                return
            state, reason = self.outcome.get(job.start, ("", "")) if job.start else ("done", "")
            if state in ("failed", "unfinished"):
                waiting.remove(job)
                self._settle(job, "unfinished", f"its imitation failed: {reason}")
                self._write()
            elif state == "done":
                waiting.remove(job)
                if self._failed.pop(self._place(job), None):  # its numbers are of another try from here on
                    self._write()
                self._launch(job)

    def _launch(self, job: Job) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["hiper.runs.worker"])
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        ours, theirs = context.Pipe(duplex=False)
        keep = job.only_imitation or self.plan.arena.keep_weights
        process = context.Process(target=carry_out, args=(job, self._log(job), theirs, keep), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(job=job, process=process, pipe=ours)
        self._running.append(worker)
        if self._asked:  # meanwhile: the first launch takes seconds
            worker.ask_to_stop()

    def _log(self, job: Job) -> Path:
        return self.out / LOG_FOLDER / ("-".join(job.out.relative_to(self.out).parts) + ".txt")

    def _listen(self) -> None:
        """Hear what the processes say, for a moment; a closed pipe is the end of one."""
        by_pipe: dict[Any, _Worker] = {worker.pipe: worker for worker in self._running}
        for pipe in wait(list(by_pipe), timeout=PATIENCE):
            worker = by_pipe[pipe]
            try:
                self._hear(worker, worker.pipe.recv())
            except (EOFError, ConnectionError):
                self._running.remove(worker)
                self._over(worker)
        at = "; ".join(worker.job.name for worker in self._running)
        done = sum(out in self.outcome for out in self.board.share)
        self.onlooker.board(done, len(self.jobs), self.board.left_s(), at)

    def _hear(self, worker: _Worker, said: tuple[str, Any]) -> None:
        kind, what = said
        if kind == "share":
            now = time.monotonic()
            self.board.advance(worker.job, what, now - worker.since)
            worker.since = now
        elif kind == "said":
            self.onlooker.say(f"{worker.job.name}: {what}")
        else:
            worker.end = (kind, what)

    def _over(self, worker: _Worker) -> None:
        worker.process.join()
        state, reason = worker.end
        if state == "done":
            self._hear(worker, ("share", 1.0))
        if state == "stopped":
            state, reason = "unfinished", "its process was told to stop; the same command goes on from there"
        if state == "unfinished" and not reason:
            reason = _how_it_died(worker.process.exitcode, self._log(worker.job))
        if not self._asked or state == "done":
            self._settle(worker.job, state, reason)
            self._write()
            self.onlooker.say(f"{worker.job.name}: {state if not reason else f'{state} ({reason})'}")

    def _settle(self, job: Job, state: str, reason: str, seconds: float = 0.0) -> None:
        self.outcome[job.out] = (state, reason)
        self.board.settle(job, seconds)

    def _write(self) -> None:
        """What the report reads: the plan, and how each run ended."""
        arena = self.plan.arena
        runs = [
            {
                "task": entry.task,
                "arm": entry.arm,
                "seed": entry.seed,
                "folder": self._place(entry.job),
                "estimator": entry.job.config.credit.estimator,
                "start": entry.job.start.name if entry.job.start else "",
                **dict(zip(("state", "reason"), self._end_of(entry), strict=True)),
            }
            for entry in self.plan.entries
        ]
        whole = {
            "arms": [arm["name"] for arm in arena.arm],
            "tasks": [asdict(task) for task in self.plan.tasks],
            "seeds": list(arena.seeds),
            "baseline": arena.baseline,
            "threshold": arena.threshold,
            "gained": arena.gained,
            "measure": arena.measure,
            "runs": runs,
        }
        write_whole(self.out / ARENA_FILE, json.dumps(whole, indent=1) + "\n")

    def _end_of(self, entry: Entry) -> tuple[str, str]:
        """How a run ended; one that failed before and was not tried again since has failed still."""
        return self.outcome.get(entry.job.out) or self._failed.get(self._place(entry.job), ("unfinished", ""))

    def _place(self, job: Job) -> str:
        return job.out.relative_to(self.out).as_posix()

    def _failed_before(self) -> dict[str, tuple[str, str]]:
        """Folders of the runs that went wrong when this comparison was last at work, with these settings, and how."""
        file = self.out / ARENA_FILE
        if not file.exists():
            return {}
        try:
            known = json.loads(file.read_text(encoding="utf-8"))["runs"]
            failed = {run["folder"]: (run["state"], run["reason"]) for run in known if run["reason"]}
        except (ValueError, KeyError, TypeError):
            self.onlooker.say(f"{file} is damaged and written anew; runs that had failed before are not known")
            return {}
        changed = [self._place(entry.job) for entry in self.plan.entries if not _is_of(entry.job)]
        return {place: end for place, end in failed.items() if place not in changed}

    def _name_strangers(self) -> None:
        """Runs that lie there and are not planned (an arm was renamed, say) are left out, and not in silence."""
        known = {entry.job.out for entry in self.plan.entries}
        strangers = sorted({file.parent for file in (self.out / "runs").glob(f"*/*/*/{CONFIG_FILE}")} - known)
        if strangers:
            first = ", ".join(one.relative_to(self.out).as_posix() for one in strangers[:3])
            more = ", ..." if len(strangers) > 3 else ""
            self.onlooker.say(f"not in the plan, and left out: {len(strangers)} runs ({first}{more})")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.out / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"{self.out}: another program is at work on this comparison") from error
            yield

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C lets every run finish its step and save; the second one breaks off at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._asked += 1
            if self._asked > 1:
                raise KeyboardInterrupt
            self.onlooker.say("stopping after the present steps (once more: at once, back to the last checkpoints)")
            for worker in self._running:
                worker.ask_to_stop()

        before = {sign: signal.signal(sign, ask) for sign in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


def _how_it_died(exit_code: int | None, log: Path) -> str:
    """Of a process that had no last words."""
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"its process was killed ({name}{', perhaps for want of memory' if name == 'SIGKILL' else ''})"
    return f"its process ended with exit code {exit_code}; see {log}"


def compare(
    plan: Plan, out: Path, workers: int, onlooker: Onlooker, chosen: Sequence[Entry] | None = None
) -> dict[str, str]:
    """Carry a comparison, or the chosen runs of it, out as far as it is not; names and reasons of what failed."""
    return Comparison(plan, out, workers, onlooker, chosen).execute()
