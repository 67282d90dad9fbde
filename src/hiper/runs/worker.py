"""One run of a comparison, in a process of its own."""

import json
import multiprocessing
import os
import shutil
import sys
import threading
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from hiper.records import (
    BOARD_FOLDER,
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    DONE_FILE,
    ENVIRONMENT_FILE,
    EVALS_FILE,
    METRICS_FILE,
    TRAJECTORY_FOLDER,
    write_whole,
)
from hiper.runs.arena import Job
from hiper.runs.checkpoint import CheckpointError, checkpoints, load_progress, model_sha256, verify
from hiper.runs.config import load_config
from hiper.runs.estimate import CreditError
from hiper.runs.folder import Row
from hiper.runs.run import GuardStop, Stopped, start
from hiper.runs.train import DivergedRound, GapError


class _Teller:
    """A run's watcher that tells the comparison, which sits in another process."""

    def __init__(self, pipe: Connection, stage: str) -> None:
        self._pipe, self._stage = pipe, stage

    def stage(self, name: str, done: int, total: int) -> None:
        if name == self._stage:
            self._pipe.send(("share", min(1.0, done / max(1, total))))

    def step(self, stage: str, step: int, total: int, row: Row) -> None:
        del row
        self.stage(stage, step, total)

    def evaluation(self, row: Row) -> None:
        """The table at the end has them."""

    def say(self, text: str) -> None:
        if text.startswith("guard "):
            self._pipe.send(("said", text))


def carry_out(job: Job, log: Path, pipe: Connection, keep_weights: bool) -> None:
    """What the process of a run does. Its last words are how it ended: "failed" is what learning itself has broken."""
    os.setpgrp()  # a Ctrl-C is for the comparison, which passes it on
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with log.open("a", encoding="utf-8") as out:
        os.dup2(out.fileno(), sys.stdout.fileno())
        os.dup2(out.fileno(), sys.stderr.fileno())
    try:
        if job.start is not None and not job.out.exists():
            copy_start(job.start, job)
        watcher = _Teller(pipe, "sft" if job.only_imitation else "train")
        start(job.config, job.out, watcher, only_imitation=job.only_imitation)
        if not keep_weights:
            give_away(job.out)
    except (Stopped, KeyboardInterrupt):
        pipe.send(("stopped", ""))
    except (ValueError, RuntimeError, LookupError, ImportError, OSError) as error:
        state = "failed" if isinstance(error, DivergedRound | GapError | GuardStop | CreditError) else "unfinished"
        pipe.send((state, " ".join(f"{type(error).__name__}: {error}".split())))
    else:
        pipe.send(("done", ""))


def give_away(run: Path) -> None:
    """Remove the weights of a run that is over, and what was drawn from its numbers; say first that it is."""
    progress = load_progress(checkpoints(run / CHECKPOINT_FOLDER, "train")[-1])
    write_whole(run / DONE_FILE, json.dumps(asdict(progress)) + "\n")
    for name in (CHECKPOINT_FOLDER, TRAJECTORY_FOLDER, BOARD_FOLDER):
        shutil.rmtree(run / name, ignore_errors=True)


def _die_with_parent() -> None:
    """A comparison that is killed takes its runs with it; each goes on from its last checkpoint later."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def copy_start(imitation: Path, job: Job) -> None:
    """The imitation as the beginning of a run. It appears under its name only when it is complete.

    The imitation's evaluation goes along only where it was of the run's own games and as the run is evaluated; that it
    was worked on does not.
    """
    out = job.out
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    made = load_config(imitation / CONFIG_FILE)
    is_own = (made.env, made.eval) == (job.config.env, job.config.eval)
    for name in (METRICS_FILE, *([EVALS_FILE] if is_own else [])):
        if (imitation / name).exists():
            shutil.copy2(imitation / name, partial)
    made_with = json.loads((imitation / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
    last = checkpoints(imitation / CHECKPOINT_FOLDER, "sft")[-1]
    try:
        verify(last)
    except CheckpointError as error:
        raise CheckpointError(f"{str(error).partition(';')[0]}; remove {imitation}, and it is made again") from error
    begun = {**made_with, "start_sha256": model_sha256(last), "sessions": []}
    (partial / ENVIRONMENT_FILE).write_text(json.dumps(begun, indent=1), encoding="utf-8")
    shutil.copytree(last, partial / CHECKPOINT_FOLDER / last.name)
    (partial / TRAJECTORY_FOLDER).mkdir()
    partial.replace(out)
