"""How far a comparison has come, and how long it will take."""

from collections.abc import Sequence
from pathlib import Path

from hiper.runs.arena import Job


class Board:
    """How much is done, and the time that is left. A job is as large as its steps (imitation) or turns (training)."""

    def __init__(self, jobs: Sequence[Job], workers: int) -> None:
        self.jobs, self.workers = jobs, workers
        self.share = {job.out: 0.0 for job in jobs}
        self._told: dict[Path, float] = {}
        self._done = {True: 0.0, False: 0.0}  # by kind of job (imitation, training), and in how many seconds
        self._busy = {True: 0.0, False: 0.0}

    def settle(self, job: Job, seconds: float = 0.0) -> None:
        """Nothing is left to do of it, well or badly. seconds: what all of it took, if it was done before."""
        if seconds:
            self._done[job.only_imitation] += _size(job)
            self._busy[job.only_imitation] += seconds
        self.share[job.out] = 1.0

    def advance(self, job: Job, share: float, seconds: float) -> None:
        """`share` of it is done; it was worked on for so many seconds more. What is told first was done before."""
        self._done[job.only_imitation] += _size(job) * (share - self._told.get(job.out, share))
        self._busy[job.only_imitation] += seconds
        self._told[job.out] = self.share[job.out] = share

    def left_s(self) -> float | None:
        """At the pace so far, each kind of job (imitation, training) by its own; None where that is not known yet."""
        left = 0.0
        for kind, done in self._done.items():
            todo = sum(_size(job) * (1 - self.share[job.out]) for job in self.jobs if job.only_imitation == kind)
            if todo and not done:
                return None
            left += self._busy[kind] * todo / done if todo else 0.0
        return left / self.workers


def _size(job: Job) -> int:
    return job.config.sft.steps if job.only_imitation else job.config.train.turns
