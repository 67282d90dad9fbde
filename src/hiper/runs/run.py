"""A whole run: imitation (where configured), training, evaluation; saved as it goes, stopped and resumed safely."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Protocol

from hiper.learn import Optimizer
from hiper.models import Policy, describe
from hiper.records import METRICS_FILE, Trajectory, read_jsonl
from hiper.runs.checkpoint import (
    BEST,
    PREFIX,
    CheckpointError,
    Progress,
    load_best,
    load_optimizer,
    load_policy,
    load_progress,
)
from hiper.runs.config import Config, OptimConfig
from hiper.runs.evaluate import evaluate
from hiper.runs.folder import Row, RunFolder
from hiper.runs.guards import is_new, troubles
from hiper.runs.imitate import imitation_round
from hiper.runs.setup import build_learner, build_optimizer, build_policy, build_sampler, set_up_torch
from hiper.runs.train import DivergedRound, Round, is_over, train_round
from hiper.runs.world import World


class Watcher(Protocol):
    """Whoever shows a run's progress."""

    def stage(self, name: str, done: int, total: int) -> None: ...
    def step(self, stage: str, step: int, total: int, row: Row) -> None: ...
    def evaluation(self, row: Row) -> None: ...
    def say(self, text: str) -> None: ...


class Stopped(Exception):
    """The run was asked to stop; all that was done is saved."""


class GuardStop(RuntimeError):
    """A guard that may stop the run has seen trouble; all that was done is saved."""


class Run:
    """A configuration at work in a folder. `execute` does what is left to do, from whatever is there."""

    def __init__(self, folder: RunFolder, watcher: Watcher) -> None:
        self.folder, self.config, self.watcher = folder, folder.config, watcher
        self.world = World(self.config.env)
        self._stop = False
        self._since = time.perf_counter()  # the last step's end

    def execute(self, *, only_imitation: bool = False) -> None:
        """Imitation, then training; each stage evaluated at its end (with `eval.select` training at its start, too)."""
        set_up_torch(self.config.threads, self.config.model.device)
        with self.folder.locked(), self._interruptible():
            for split in dict.fromkeys((self.config.env.train_split, *self.config.eval.all_splits)):
                self.world.names(split)  # a split that is not there is known now, not after hours
            policy, progress = self._restore()
            games = self.config.env.data or "generated (env.data=PATH plays official ones)"
            self.watcher.say(f"games: {self.config.env.name}, {games}")
            self.folder.note_session(dict(self.world.identity(self.config.env.train_split)), progress)
            if progress.stage == "sft":
                policy, progress = self._imitate(policy, progress)
                if self._stop:
                    raise Stopped("stopped after imitation, which is saved")
            if not only_imitation and (self.config.train.steps or self.config.train.turns):
                self._train(policy, progress)
        self.world.close()

    def _restore(self) -> tuple[Policy, Progress]:
        """The furthest checkpoint, or a fresh start."""
        latest = self.folder.latest()
        if latest is None:
            self.folder.rewind(None)
            policy = build_policy(self.config, self.world)
            name = self.config.model.path or f"built from scratch, {self.config.model.preset}"
            self.watcher.say(f"model: {name}, {describe(policy)}")
            return policy, Progress(stage="sft", step=0)
        policy = self._load(latest)
        progress = load_progress(latest)
        self.folder.rewind(progress)
        self.watcher.say(f"resuming from {latest}")
        return policy, progress

    def _imitate(self, policy: Policy, progress: Progress) -> tuple[Policy, Progress]:
        c = self.config.sft
        optimizer = self._optimizer(policy, c.optim, progress)
        if c.steps:
            self.watcher.stage("sft", progress.step, c.steps)
        while progress.step < c.steps:
            progress, between = self._waited(progress)
            progress, row, shown = imitation_round(self.config, self.world, policy, optimizer, progress)
            self._log(progress, row | between, c.steps)
            if progress.bad_in_a_row == 3:
                self.folder.save_trajectories(f"diverged-sft-{progress.step:06d}", shown)
                raise DivergedRound("loss or gradient was not finite in three steps in a row", shown, [])
            if progress.step % self.config.checkpoint_every == 0 or progress.step == c.steps:
                self._save(policy, optimizer, progress)
            self._check_stop(policy, optimizer, progress)
        self._evaluate(policy, "sft", c.steps, self.config.eval.splits, final=True)
        return policy, Progress(stage="train", step=0)

    def _train(self, policy: Policy, progress: Progress) -> None:
        t = self.config.train
        optimizer = self._optimizer(policy, t.optim, progress)
        learner = build_learner(self.config, policy, optimizer)
        learner.bad_in_a_row = progress.bad_in_a_row
        sampler = build_sampler(self.config, policy, temperature=self.config.sampling.temperature)
        reference = self._reference() if t.kl_coef else None
        self.watcher.stage("train", progress.turns if t.turns else progress.step, t.turns or t.steps)
        rows = [row for row in read_jsonl(self.folder.path / METRICS_FILE) if row["stage"] == "train"]
        self._evaluate_between(policy, optimizer, progress)
        while not is_over(t, progress):
            self._check_guards(policy, optimizer, progress, rows)
            progress, between = self._waited(progress)
            try:
                done = train_round(self.config, self.world, sampler, learner, progress, reference)
            except DivergedRound as diverged:
                name = f"diverged-{progress.step + 1:06d}"
                self.folder.save_trajectories(name, diverged.episodes, diverged.credit_rows)
                raise
            progress = done.progress
            rows.append(self._guarded(done.row | between, rows))
            self._log(progress, rows[-1], t.steps)
            self._keep_sample(done)
            if progress.step % self.config.checkpoint_every == 0 or is_over(t, progress):
                self._save(policy, optimizer, progress)
            self._evaluate_between(policy, optimizer, progress)
            self._check_stop(policy, optimizer, progress)
        chosen: Row = {}
        if self.config.eval.select:
            policy, best = self._best(progress)
            chosen["model_step"] = best.step
        self._evaluate(policy, "train", progress.step, self.config.eval.splits, final=True, **chosen)

    def _reference(self) -> Policy:
        """The model that training started from: the end of imitation, or what the configuration names."""
        if not self.config.sft.steps:
            return build_policy(self.config, self.world)
        imitated = self.folder.checkpoints / f"{PREFIX['sft']}{self.config.sft.steps:06d}"
        if not imitated.is_dir():
            raise CheckpointError(f"{imitated}, the model that training began with, is gone")
        return self._load(imitated)

    def _load(self, checkpoint: Path) -> Policy:
        return load_policy(checkpoint, device=self.config.model.device, dtype=self.config.model.dtype)

    def _optimizer(self, policy: Policy, c: OptimConfig, progress: Progress) -> Optimizer:
        optimizer = build_optimizer(c, policy)
        latest = self.folder.latest()
        if latest is not None and progress.step and load_progress(latest).stage == progress.stage:
            load_optimizer(latest, optimizer)
        return optimizer

    def _waited(self, progress: Progress) -> tuple[Progress, Row]:
        """Count what has passed since the last step: evaluations, saving."""
        between = time.perf_counter() - self._since
        return replace(progress, wall_s=progress.wall_s + between), {"time/between_s": between}

    def _log(self, progress: Progress, row: Row, total: int) -> None:
        self._since = time.perf_counter()
        whole: Row = {
            "step": progress.step,
            "wall_s": progress.wall_s,
            "total/episodes": progress.episodes,
            "total/turns": progress.turns,
            "total/tokens": progress.tokens,
            **row,
        }
        self.folder.log(progress.stage, whole)
        budget = self.config.train.turns if progress.stage == "train" else 0
        self.watcher.step(progress.stage, progress.turns if budget else progress.step, budget or total, whole)

    def _guarded(self, row: Row, before: Sequence[Row]) -> Row:
        """The row with the names of the guards that see trouble in it. What is new is said once."""
        found = self._troubles([*before, row])
        for name, message in found.items():
            if is_new(name, before):
                self.watcher.say(f"guard {name}: {message}")
        return row | ({"guards": list(found)} if found else {})

    def _troubles(self, rows: Sequence[Row]) -> dict[str, str]:
        return troubles(rows, limit_ends=self.config.credit.at_limit == "end")

    def _check_guards(self, policy: Policy, optimizer: Optimizer, progress: Progress, rows: Sequence[Row]) -> None:
        for name, message in self._troubles(rows).items():
            if name in self.config.guards.stop:
                target = self.folder.save(policy, optimizer, progress)
                raise GuardStop(
                    f"guard {name} stopped the run after step {progress.step}, saved in {target}: {message}"
                )

    def _keep_sample(self, done: Round) -> None:
        every = self.config.trajectories_every
        if every and (done.progress.step % every == 0 or done.progress.step == 1):
            count = self.config.trajectories
            name = f"step-{done.progress.step:06d}"
            self.folder.save_trajectories(name, done.episodes[:count], done.credit_rows[:count])

    def _evaluate_between(self, policy: Policy, optimizer: Optimizer, progress: Progress) -> None:
        e, step, over = self.config.eval, progress.step, is_over(self.config.train, progress)
        due = bool(e.every) and step % e.every == 0
        if e.select and (due or over):
            self._evaluate(policy, "train", step, [e.select], final=False)
            self._keep_best(policy, optimizer, progress)
        elif not e.select and due and step and not over:
            self._evaluate(policy, "train", step, e.splits, final=False)

    def _keep_best(self, policy: Policy, optimizer: Optimizer, progress: Progress) -> None:
        """Keep this model if none before did better on the split that chooses.

        Its step is saved first, so that a run is never taken up before the step of the best model it knows.
        """
        rows = [row for row in self.folder.evaluations() if row["stage"] == "train" and not row["final"]]
        success = {row["step"]: float(str(row["success"])) for row in rows}
        best = load_best(self.folder.checkpoints)
        if best is None and len(rows) > 1:
            self.watcher.say(
                f"the model that did best before is not there: that of step {progress.step} takes its place"
            )
        if best is None or success[progress.step] > success.get(best.step, -1.0):  # of equals the first
            if progress.step:
                self._save(policy, optimizer, progress)
            self.folder.save_best(policy, progress)

    def _best(self, progress: Progress) -> tuple[Policy, Progress]:
        """The model that did best on the split that chooses, and how far training was then."""
        best = load_best(self.folder.checkpoints)
        if best is None:
            raise CheckpointError(f"{self.folder.checkpoints / BEST}, the model that did best, is gone")
        if best.step < progress.step:
            self.watcher.say(f"of the models tried on {self.config.eval.select} that after step {best.step} is taken")
        return self._load(self.folder.checkpoints / BEST), best

    def _evaluate(
        self, policy: Policy, stage: str, step: int, splits: Sequence[str], *, final: bool, **more: object
    ) -> None:
        """Evaluate on the splits that have no row yet: a run may be taken up again in the middle of this."""
        e = self.config.eval
        known = {row["split"] for row in self.folder.evaluations() if (row["stage"], row["step"]) == (stage, step)}
        for split in [split for split in splits if split not in known]:
            if final and self._stop:  # all that training did is saved
                raise Stopped(f"stopped before the evaluation on {split}")
            begin = time.perf_counter()
            sampler = build_sampler(self.config, policy, temperature=e.temperature)
            row, episodes = evaluate(
                self.config, self.world, sampler, split, limit=e.final_episodes if final else e.episodes
            )
            head: Row = {"stage": stage, "step": step, "greedy": e.temperature == 0, "final": final, **more}
            row = {**head, **row, "time_s": time.perf_counter() - begin}
            self.folder.log_evaluation(row)
            self.watcher.evaluation(row)
            if final:
                self.folder.save_trajectories(f"eval-{stage}-{split}", _some(episodes, self.config.trajectories))

    def _save(self, policy: Policy, optimizer: Optimizer, progress: Progress) -> None:
        self.folder.save(policy, optimizer, progress)

    def _check_stop(self, policy: Policy, optimizer: Optimizer, progress: Progress) -> None:
        if self._stop:
            target = self.folder.save(policy, optimizer, progress)
            raise Stopped(f"stopped after {progress.stage} step {progress.step}; saved in {target}")

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C finishes the step and saves; the second one breaks off at once."""

        def ask(number: int, frame: FrameType | None) -> None:
            del number, frame
            if self._stop:
                raise KeyboardInterrupt
            self._stop = True
            self.watcher.say("stopping after this step (once more: at once, back to the last checkpoint)")

        before = {sign: signal.signal(sign, ask) for sign in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


def _some(episodes: Sequence[Trajectory], count: int) -> list[Trajectory]:
    """A few of each kind: failures are what one learns from."""
    failed = [one for one in episodes if not one.succeeded][: count // 2 + count % 2]
    won = [one for one in episodes if one.succeeded][: count - len(failed)]
    return [*failed, *won]


def start(config: Config, out: Path, watcher: Watcher, *, only_imitation: bool = False) -> Run:
    """Start or resume the run in `out` and carry it out."""
    run = Run(RunFolder.create(out, config), watcher)
    run.execute(only_imitation=only_imitation)
    return run
