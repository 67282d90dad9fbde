"""What a comparison measures: one number a run, then means over seeds with bootstrap intervals.

A curve is success in training against the turns played *before* the step, so that all arms that share an imitation
begin at one point; each point is the mean of the last `SMOOTH` steps. A run that failed has no success from there on.
Seeds are resampled together for an arm and the baseline: run for run they share seed, games and imitation. Plain
percentiles of so few seeds are too narrow; these are expanded percentile intervals (T. Hesterberg, What Teachers Should
Know About the Bootstrap, The American Statistician 2015). Of means of normal values they hold in 95 of 100 cases with
ten seeds and in 93 with five (plain percentiles: 90 and 85). They cannot reach beyond the seeds themselves: with three
they hold in 75 of 100, with two they are the range, in 50.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hiper.report.arena import Arena, Entry
from hiper.report.read import Row, number
from hiper.report.scales import Floats

POINTS = 101
"""Places of the grid over the budget."""
SMOOTH = 3
DRAWS = 4000
"""Bootstrap draws at most; five seeds and fewer are drawn in every way there is."""
LATE = 0.1
"""The share of the budget that counts as its end."""

_AT_THE_END = {
    "switches": "rollout/switches",
    "segment_turns": "rollout/segment_turns",
    "valid_rate": "rollout/valid_rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value and its 95 % interval. An infinite number of turns is one beyond the budget; NaN: not known."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(value=np.nan, low=np.nan, high=np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An arm on a task.

    heldout: success in the final evaluation; by_task: the same by type of task. final: success in training over the
    last tenth of the budget. area: mean success over the whole budget. turns: at which the mean curve first reaches
    the threshold. ratio: the baseline's turns through this arm's; its bounds are those of what was not seen, too.
    variance_ratio: gradient variance through the baseline's. switches (an episode), segment_turns, valid_rate: at the
    end. curve, low, high: the mean curve over the grid with its band.
    """

    task: str
    arm: str
    budget: int
    runs: int
    failed: int
    threshold: float
    heldout: Estimate
    gain: Estimate
    by_task: Mapping[str, Estimate]
    final: Estimate
    area: Estimate
    turns: Estimate
    ratio: Estimate
    grad_variance: Estimate
    variance_ratio: Estimate
    switches: Estimate
    segment_turns: Estimate
    valid_rate: Estimate
    curve: Floats
    low: Floats
    high: Floats
    guards: Mapping[str, int]


def measure(arena: Arena) -> tuple[Measured, ...]:
    """Every arm on every task."""
    return tuple(_measure(arena, task, arm) for task in arena.tasks for arm in arena.arms)


def grid(arena: Arena, task: str) -> Floats:
    """The turns at which curves are known."""
    return np.linspace(0.0, arena.turns[task], POINTS)


def curve(entry: Entry, turns: Floats, measure: str = "success") -> Floats:
    """Success (or score) of a run over the grid `turns`."""
    if not entry.rows:
        return np.zeros(len(turns))
    success = np.array([number(row, f"rollout/{measure}") for row in entry.rows])
    before = np.concatenate([[0.0], entry.played[:-1]])
    values = np.interp(turns, before, trailing_mean(success, SMOOTH))
    if entry.state == "failed":
        values[turns > entry.played[-1]] = 0.0
    return values


def trailing_mean(values: Floats, width: int) -> Floats:
    """Mean of each value and those before it, `width` at most."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    stops = np.arange(1, len(values) + 1)
    begins = np.maximum(0, stops - width)
    means: Floats = (sums[stops] - sums[begins]) / (stops - begins)
    return means


def crossing(curves: Floats, thresholds: Floats, turns: Floats) -> Floats:
    """Turns at which each curve (a row) first reaches its threshold, linear in between; infinite where it does not."""
    reached = curves >= thresholds[:, None]
    first = np.argmax(reached, axis=1)
    rows = np.arange(len(curves))
    before = np.maximum(first - 1, 0)
    low, high = curves[rows, before], curves[rows, first]
    share = np.divide(thresholds - low, high - low, out=np.ones(len(curves)), where=high > low)
    at = turns[before] + share * (turns[first] - turns[before])
    return np.where(reached.any(axis=1), np.where(first == 0, 0.0, at), np.inf)


def resamples(runs: int) -> NDArray[np.intp]:
    """Places of the runs drawn, with replacement, in each bootstrap draw: [draws, runs]. Always the same."""
    if runs**runs <= DRAWS:
        return np.indices((runs,) * runs, dtype=np.intp).reshape(runs, -1).T
    return np.random.default_rng(0).integers(runs, size=(DRAWS, runs))


def levels(runs: int) -> tuple[float, float]:
    """The percentiles between which a 95 % interval over so many runs lies, two or more.

    Phi(-sqrt(n / (n - 1)) t) with t the .975 quantile of Student's distribution for n - 1 degrees of freedom: the first
    root makes up for the bootstrap's variance, which divides by n, and t for the spread being known from n runs only.
    """
    z, df = NormalDist().inv_cdf(0.975), runs - 1
    # Abramowitz and Stegun 26.7.5; too small for df of 1 and 2, where the level is 0 to four digits all the same.
    t = z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)
    low = NormalDist().cdf(-math.sqrt(runs / df) * t)
    return low, 1 - low


def mean_interval(values: Floats) -> Estimate:
    """Mean over runs, with its bootstrap interval; of one run there is none."""
    if not len(values) or not np.isfinite(values).all():
        return UNKNOWN
    value = float(values.mean())
    if len(values) == 1:
        return replace(UNKNOWN, value=value)
    low, high = np.quantile(values[resamples(len(values))].mean(axis=1), levels(len(values)))
    return Estimate(value=value, low=float(low), high=float(high))


def ratio_interval(above: Floats, below: Floats) -> Estimate:
    """Ratio of two means over the same runs, resampled together."""
    if len(above) != len(below) or not len(above) or not np.isfinite([*above, *below]).all() or below.mean() <= 0:
        return UNKNOWN
    value = float(above.mean() / below.mean())
    if len(above) == 1:
        return replace(UNKNOWN, value=value)
    chosen = resamples(len(above))
    ratios = above[chosen].mean(axis=1) / np.maximum(below[chosen].mean(axis=1), np.finfo(float).tiny)
    low, high = np.quantile(ratios, levels(len(above)))
    return Estimate(value=value, low=float(low), high=float(high))


@dataclass(frozen=True, slots=True)
class Speed:
    """Turns to the threshold and the ratio to the baseline's."""

    threshold: float
    turns: Estimate
    ratio: Estimate


def speed(curves: Floats, baseline: Floats, threshold: float | None, turns: Floats) -> Speed:
    """How fast the mean of `curves` [runs, grid] is, beside that of the baseline's.

    threshold: None takes what the baseline's mean comes to at the end, in each draw anew. Where only one of the two
    gets there, the ratio is known to lie below or above something: that side of the interval is 0 or infinite. It may
    be anything where neither does, or where the start is there already.
    """
    runs = len(curves)
    if not runs or len(baseline) != runs:
        return Speed(np.nan if threshold is None else threshold, UNKNOWN, UNKNOWN)
    draws = np.concatenate([[np.arange(runs)], resamples(runs)])  # the first is what was seen
    ours, theirs = curves[draws].mean(axis=1), baseline[draws].mean(axis=1)
    wanted = _end(theirs) if threshold is None else np.full(len(draws), threshold)
    mine, its = crossing(ours, wanted, turns), crossing(theirs, wanted, turns)
    budget = turns[-1]
    at_once = (mine == 0) | (its == 0)
    low = np.where(np.isinf(mine) | at_once, 0.0, np.minimum(its, budget) / np.where(at_once, 1.0, mine))
    high = np.where(np.isinf(its) | at_once, np.inf, its / np.minimum(np.where(at_once, 1.0, mine), budget))
    ratio = float(low[0]) if low[0] == high[0] else np.nan
    seen = slice(1, None) if runs > 1 else slice(0, 1)
    return Speed(
        float(wanted[0]),
        _bounded(float(mine[0]), mine[seen], mine[seen], runs),
        _bounded(ratio, low[seen], high[seen], runs),
    )


def _bounded(value: float, low: Floats, high: Floats, runs: int) -> Estimate:
    """A value with the percentiles of its bounds; of one run that is known exactly, there is no interval."""
    if runs == 1:
        known = bool(low[0] == high[0])
        return replace(UNKNOWN, value=value) if known else Estimate(value=value, low=float(low[0]), high=float(high[0]))
    first, last = levels(runs)  # without interpolation, which infinite values do not bear
    return Estimate(
        value=value,
        low=float(np.quantile(low, first, method="lower")),
        high=float(np.quantile(high, last, method="higher")),
    )


def _end(curves: Floats) -> Floats:
    """Mean over the last tenth of the budget."""
    means: Floats = curves[:, -round(LATE * (POINTS - 1)) - 1 :].mean(axis=1)
    return means


def _measure(arena: Arena, task: str, arm: str) -> Measured:
    entries, turns = arena.of(task, arm), grid(arena, task)
    others = [entry for entry in arena.of(task, arena.baseline) if entry.seed in {each.seed for each in entries}]
    curves, baseline = (
        np.array([curve(entry, turns, arena.measure) for entry in each]).reshape(len(each), POINTS)
        for each in (entries, others)
    )
    heldout, beside = (np.array([_heldout(entry, None, arena.measure) for entry in each]) for each in (entries, others))
    variance, its_variance = (
        np.array([_mean(entry.rows, "learn/grad_variance") for entry in e]) for e in (entries, others)
    )
    paced = speed(curves, baseline, arena.threshold, turns)
    late = {
        name: mean_interval(np.array([_late(entry, key) for entry in entries])) for name, key in _AT_THE_END.items()
    }
    low, high = _band(curves)
    return Measured(
        task=task,
        arm=arm,
        budget=arena.turns[task],
        runs=len(entries),
        failed=sum(entry.state == "failed" for entry in entries),
        threshold=paced.threshold,
        heldout=mean_interval(heldout),
        gain=mean_interval(heldout - beside) if len(heldout) == len(beside) else UNKNOWN,
        by_task=_by_task(entries),
        final=mean_interval(_end(curves)),
        area=mean_interval((curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2),
        turns=paced.turns,
        ratio=paced.ratio if arm != arena.baseline else replace(UNKNOWN, value=1.0),
        grad_variance=mean_interval(variance),
        variance_ratio=ratio_interval(variance, its_variance),
        curve=curves.mean(axis=0) if len(curves) else np.full(POINTS, np.nan),
        low=low,
        high=high,
        guards=_guards(entries),
        **late,
    )


def _band(curves: Floats) -> tuple[Floats, Floats]:
    if len(curves) < 2:
        nothing = np.full(POINTS, np.nan)
        return nothing, nothing
    low, high = np.quantile(curves[resamples(len(curves))].mean(axis=1), levels(len(curves)), axis=0)
    return low, high


def _heldout(entry: Entry, kind: str | None, measure: str = "success") -> float:
    """Success (or score) in the final evaluation, success also of one type of task; 0 for a run that failed."""
    if entry.state == "failed":
        return 0.0
    if entry.last is None:
        return np.nan
    by_task = entry.last.get("by_task")
    part = entry.last if kind is None else by_task.get(kind) if isinstance(by_task, dict) else None
    key = "score_mean" if measure == "score" and kind is None else "success"
    return number(part, key) if isinstance(part, dict) else np.nan


def _by_task(entries: Sequence[Entry]) -> dict[str, Estimate]:
    tables = [entry.last.get("by_task") for entry in entries if entry.last]
    kinds = sorted({kind for table in tables if isinstance(table, dict) for kind in table})
    return {kind: mean_interval(np.array([_heldout(entry, kind) for entry in entries])) for kind in kinds}


def _mean(rows: Sequence[Row], key: str) -> float:
    values = np.array([number(row, key) for row in rows])
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else np.nan


def _late(entry: Entry, key: str) -> float:
    count = max(1, round(LATE * len(entry.rows)))
    return _mean(entry.rows[-count:], key)


def _guards(entries: Sequence[Entry]) -> dict[str, int]:
    """How many runs each guard saw trouble in."""
    names = [name for entry in entries for name in entry.guards]
    return {name: names.count(name) for name in sorted(set(names))}
