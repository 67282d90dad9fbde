"""What the evaluations say: success before and after, by task type, with 95 % intervals."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hiper.report.read import Row, number
from hiper.report.words import STAGES, is_held_out

_PREFERRED = ("valid_unseen", "test", "valid_seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of episodes and its 95 % interval [low, high]; NaN where the file does not say."""

    share: float
    low: float
    high: float
    episodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One evaluation: a row of evals.jsonl. `step`: after how many of the stage's the model was as it was evaluated."""

    step: int
    stage: str
    overall: Rate
    by_task: Mapping[str, Rate]
    invalid_rate: float
    turns_mean: float

    @property
    def label(self) -> str:
        """Which model of the run it is of, in words."""
        if self.stage == "sft" and not self.step:
            return "the model at the start"
        stage = STAGES.get(self.stage, self.stage)
        return f"{stage}, step {self.step:,}" if self.stage in ("sft", "train") else stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The evaluations of one kind, in the order in which they were made: one at least.

    view: under which of the environment's settings, where several were asked for; else empty.
    """

    env: str
    split: str
    view: str
    greedy: bool
    results: tuple[Result, ...]

    @property
    def before(self) -> Result | None:
        """The first, if it is not the only one."""
        return self.results[0] if len(self.results) > 1 else None

    @property
    def after(self) -> Result:
        return self.results[-1]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task types of either evaluation, by name."""
        earlier = self.before.by_task if self.before else {}
        return tuple(sorted({*earlier, *self.after.by_task}))

    @property
    def title(self) -> str:
        """What was evaluated, in words."""
        where = f"{self.env} {self.split}".strip() or "evaluation"
        return f"{where}, {self.view}" if self.view else where

    @property
    def held_out(self) -> bool:
        return is_held_out(self.split)

    def rates(self, task: str | None = None) -> tuple[Rate | None, Rate | None]:
        """Before and after, of one task type or (None) of all."""
        return _rate_of(self.before, task), _rate_of(self.after, task)


def comparisons(evals: Iterable[Row]) -> tuple[Comparison, ...]:
    """One comparison for each environment, split, view and way of sampling; held-out splits first."""
    kinds: dict[tuple[str, str, str, bool], list[Result]] = {}
    for row in evals:
        if not math.isnan(number(row, "success")):
            env, split, view = (str(row.get(key, "")) for key in ("env", "split", "view"))
            kind = (env, split, view, row.get("greedy") is True)
            kinds.setdefault(kind, []).append(_result(row))
    found = [
        Comparison(env=env, split=split, view=view, greedy=greedy, results=tuple(results))
        for (env, split, view, greedy), results in kinds.items()
    ]
    return tuple(sorted(found, key=_prominence))


def difference(before: Rate, after: Rate) -> tuple[float, float, float]:
    """`after - before` with its 95 % interval (Newcombe's square-and-add of both, taken as independent).

    Worked example, 0.5 [0.4, 0.6] to 0.8 [0.7, 0.9]: 0.3 with sqrt(0.1**2 + 0.1**2) = 0.141 to both sides.
    """
    change = after.share - before.share
    down = math.hypot(after.share - after.low, before.high - before.share)
    up = math.hypot(after.high - after.share, before.share - before.low)
    return change, change - down, change + up


def _prominence(comparison: Comparison) -> tuple[int, bool, str, str]:
    split = comparison.split
    rank = _PREFERRED.index(split) if split in _PREFERRED else len(_PREFERRED) + (not comparison.held_out)
    return rank, comparison.before is None, comparison.env, split


def _rate_of(result: Result | None, task: str | None) -> Rate | None:
    if result is None:
        return None
    return result.overall if task is None else result.by_task.get(task)


def _result(row: Row) -> Result:
    step = number(row, "model_step" if "model_step" in row else "step")
    by_task = row.get("by_task")
    tasks = by_task.items() if isinstance(by_task, dict) else ()
    return Result(
        step=0 if math.isnan(step) else int(step),
        stage=str(row.get("stage", "eval")),
        overall=_rate(row),
        by_task={str(name): _rate(part) for name, part in tasks if isinstance(part, dict)},
        invalid_rate=number(row, "invalid_rate"),
        turns_mean=number(row, "turns_mean"),
    )


def _rate(row: Row) -> Rate:
    bounds = row.get("success_ci95")
    pair: Sequence[object] = bounds if isinstance(bounds, list | tuple) and len(bounds) == 2 else (None, None)
    episodes = number(row, "episodes")
    return Rate(
        share=number(row, "success"),
        low=number({"bound": pair[0]}, "bound"),
        high=number({"bound": pair[1]}, "bound"),
        episodes=0 if math.isnan(episodes) else int(episodes),
    )
