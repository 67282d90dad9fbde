"""What a comparison measures: one number a run, then means over seeds with bootstrap intervals.

A curve is success in training against the turns played *before* the step; each point is the mean of the last `SMOOTH`
steps. A run that failed has no success from there on. Runs of a seed share their imitation and, in groups of one size,
their games: so what compares an arm with the baseline is taken over the seeds that both have, which are resampled
together. Percentiles of a bootstrap over few seeds are too narrow; these are expanded percentile intervals (T.
Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 2015). Of means of normal values
they hold in 95 of 100 cases with ten seeds and in 93 with five (plain percentiles: 90 and 85). No draw leaves the range
of the seeds, so with three they would hold in 75 of 100 and with two in 50: below `FEW` there is none.

How fast an arm is: turns at which its mean curve is sure to stand above a threshold, by a monotone fit. The first time
at which a curve touches it would be that of its luckiest step, and favour noisy arms.
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
FEW = 5
"""Seeds from which on there is an interval."""
LATE = 0.1
"""The share of the budget that counts as its end."""

_VARIANCE = "learn/grad_variance"
_AT_THE_END = {
    "switches": "rollout/switches",
    "segment_turns": "rollout/segment_turns",
    "valid_rate": "rollout/valid_rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value and its 95 % interval. An infinite number of turns is one beyond the budget; NaN: not known.

    bound: "≥" or "≤" where what was seen only bounds the value.
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    bound: str = ""


UNKNOWN = Estimate(value=np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An arm on a task.

    seeds: those whose runs have come to an end; shared: those of them that the baseline has, too, over which all that
    compares the two is taken (gain, area_gain, threshold, turns, ratio, variance_ratio). heldout: success in the final
    evaluation, by_seed each seed's, by_task the same by type of task. final: success in training over the last tenth of
    the budget. area: mean success over the whole budget. turns: at which the mean curve comes to the threshold. ratio:
    the baseline's turns through this arm's. variance_ratio: gradient variance through the baseline's. switches (an
    episode), segment_turns, valid_rate: at the end. curve, low, high: the mean curve over the grid with its band.
    """

    task: str
    arm: str
    is_baseline: bool
    budget: int
    planned: int
    seeds: tuple[int, ...]
    shared: tuple[int, ...]
    failed: int
    threshold: float
    heldout: Estimate
    by_seed: tuple[float, ...]
    gain: Estimate
    by_task: Mapping[str, Estimate]
    final: Estimate
    area: Estimate
    area_gain: Estimate
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

    @property
    def runs(self) -> int:
        return len(self.seeds)


def measure(arena: Arena) -> tuple[Measured, ...]:
    """Every arm on every task."""
    return tuple(_measure(arena, task, arm) for task in arena.tasks for arm in arena.arms)


def grid(arena: Arena, task: str) -> Floats:
    """The turns at which curves are known."""
    return np.linspace(0.0, arena.turns[task], POINTS)


def curve(entry: Entry, turns: Floats, measure: str = "success") -> Floats:
    """Success (or score) of a run over the grid `turns`; NaN of one that is done and left no rows."""
    if not entry.rows:
        return np.full(len(turns), 0.0 if entry.state == "failed" else np.nan)
    success = np.array([number(row, f"rollout/{measure}") for row in entry.rows])
    values = np.interp(turns, entry.played_before, trailing_mean(success, SMOOTH))
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


def monotone(curves: Floats) -> Floats:
    """The rising curve nearest to each curve (a row), by least squares: neighbours that fall are pooled."""
    rows, points = curves.shape
    means, sizes, last = np.zeros(curves.shape), np.zeros(curves.shape, dtype=np.intp), np.full(rows, -1)
    for point in range(points):
        last += 1
        means[np.arange(rows), last], sizes[np.arange(rows), last] = curves[:, point], 1
        falls = np.arange(rows)
        while len(falls := falls[last[falls] > 0]):
            falls = falls[means[falls, last[falls] - 1] > means[falls, last[falls]]]
            here, there = (falls, last[falls]), (falls, last[falls] - 1)
            total = sizes[here] + sizes[there]
            means[there] = (means[here] * sizes[here] + means[there] * sizes[there]) / total
            sizes[there], sizes[here] = total, 0
            last[falls] -= 1
    return np.repeat(means.ravel(), sizes.ravel()).reshape(rows, points)


def mean_interval(values: Floats) -> Estimate:
    """Mean over runs, with its bootstrap interval where they are not too few."""
    if not len(values) or not np.isfinite(values).all():
        return UNKNOWN
    value = float(values.mean())
    if len(values) < FEW:
        return Estimate(value=value)
    low, high = np.quantile(values[resamples(len(values))].mean(axis=1), levels(len(values)))
    return Estimate(value=value, low=float(low), high=float(high))


def ratio_interval(above: Floats, below: Floats) -> Estimate:
    """Ratio of two means over the same runs, resampled together."""
    if len(above) != len(below) or not len(above) or not np.isfinite([*above, *below]).all() or below.mean() <= 0:
        return UNKNOWN
    value = float(above.mean() / below.mean())
    if len(above) < FEW:
        return Estimate(value=value)
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


def speed(curves: Floats, baseline: Floats, threshold: float | None, turns: Floats, gained: float = 1.0) -> Speed:
    """How fast the mean of `curves` [runs, grid] rises, beside that of the baseline's; both by their monotone fits.

    threshold: None takes the place where the baseline's mean has made the share `gained` of its way from the start to
    the end, in each draw anew. Where only one of the two gets to the threshold, the ratio is known to lie below or
    above something: that side of the interval is 0 or infinite. It may be anything where neither does, or where the
    start is there already. A baseline that does not rise has made no way: nothing is known then.
    """
    runs = len(curves)
    is_still = threshold is None and len(baseline) and _end(baseline.mean(axis=0)[None])[0] <= baseline[:, 0].mean()
    if not runs or len(baseline) != runs or is_still:
        return Speed(np.nan if threshold is None else threshold, UNKNOWN, UNKNOWN)
    seen = np.arange(runs)[None]
    draws = seen if runs < FEW else np.concatenate([seen, resamples(runs)])  # the first is what was seen
    ours, theirs = monotone(curves[draws].mean(axis=1)), monotone(baseline[draws].mean(axis=1))
    start = theirs[:, 0]
    wanted = start + gained * (_end(theirs) - start) if threshold is None else np.full(len(draws), threshold)
    mine, its = crossing(ours, wanted, turns), crossing(theirs, wanted, turns)
    budget = turns[-1]
    at_once = (mine == 0) | (its == 0)
    low = np.where(np.isinf(mine) | at_once, 0.0, np.minimum(its, budget) / np.where(at_once, 1.0, mine))
    high = np.where(np.isinf(its) | at_once, np.inf, its / np.minimum(np.where(at_once, 1.0, mine), budget))
    ratio = _between(float(low[0]), float(high[0]))
    if runs >= FEW:
        first, last = levels(runs)  # without interpolation, which infinite values do not bear
        ratio = replace(
            ratio,
            low=float(np.quantile(low[1:], first, method="lower")),
            high=float(np.quantile(high[1:], last, method="higher")),
        )
    return Speed(float(wanted[0]), Estimate(value=float(mine[0])), ratio)


def _between(low: float, high: float) -> Estimate:
    """A value that was seen to lie there."""
    if low == high:
        return Estimate(value=low)
    if low > 0:
        return Estimate(value=low, bound="≥")
    return UNKNOWN if math.isinf(high) else Estimate(value=high, bound="≤")


def _end(curves: Floats) -> Floats:
    """Mean over the last tenth of the budget."""
    means: Floats = curves[:, -round(LATE * (POINTS - 1)) - 1 :].mean(axis=1)
    return means


def _measure(arena: Arena, task: str, arm: str) -> Measured:
    entries, baseline, turns = arena.of(task, arm), arena.of(task, arena.baseline), grid(arena, task)
    curves = _curves(arena, entries, turns)
    seeds, heldout = tuple(entry.seed for entry in entries), _heldouts(arena, entries)
    shared = tuple(seed for seed in seeds if seed in {entry.seed for entry in baseline})
    mine, its = ([entry for entry in each if entry.seed in shared] for each in (entries, baseline))
    compared, beside = _curves(arena, mine, turns), _curves(arena, its, turns)
    paced = speed(compared, beside, arena.threshold, turns, arena.gained)
    late = {
        name: mean_interval(np.array([_late(entry, key) for entry in entries])) for name, key in _AT_THE_END.items()
    }
    low, high = _band(curves)
    return Measured(
        task=task,
        arm=arm,
        is_baseline=arm == arena.baseline,
        budget=arena.turns[task],
        planned=len(arena.seeds),
        seeds=seeds,
        shared=shared,
        failed=sum(entry.state == "failed" for entry in entries),
        threshold=paced.threshold,
        heldout=mean_interval(heldout),
        by_seed=tuple(heldout.tolist()),
        gain=mean_interval(_heldouts(arena, mine) - _heldouts(arena, its)),
        by_task=_by_task(entries),
        final=mean_interval(_end(curves)),
        area=mean_interval(_area(curves)),
        area_gain=mean_interval(_area(compared) - _area(beside)),
        turns=paced.turns,
        ratio=Estimate(value=1.0) if arm == arena.baseline and math.isfinite(paced.threshold) else paced.ratio,
        grad_variance=mean_interval(np.array([_mean(entry.rows, _VARIANCE) for entry in entries])),
        variance_ratio=_variance_ratio(mine, its),
        curve=curves.mean(axis=0) if len(curves) else np.full(POINTS, np.nan),
        low=low,
        high=high,
        guards=_guards(entries),
        **late,
    )


def _curves(arena: Arena, entries: Sequence[Entry], turns: Floats) -> Floats:
    return np.array([curve(entry, turns, arena.measure) for entry in entries]).reshape(len(entries), POINTS)


def _heldouts(arena: Arena, entries: Sequence[Entry]) -> Floats:
    return np.array([_heldout(entry, None, arena.measure) for entry in entries])


def _area(curves: Floats) -> Floats:
    """Mean of each over the budget."""
    means: Floats = (curves[:, 1:] + curves[:, :-1]).mean(axis=1) / 2
    return means


def _variance_ratio(mine: Sequence[Entry], its: Sequence[Entry]) -> Estimate:
    """Over the steps at which all of them measured it: arms without a critic begin earlier."""
    rows = [
        {row.get("step"): row for row in entry.rows if math.isfinite(number(row, _VARIANCE))} for entry in (*mine, *its)
    ]
    steps = set.intersection(*map(set, rows)) if rows else set()
    above, below = (
        np.array([_mean([row for step, row in of.items() if step in steps], _VARIANCE) for of in each])
        for each in (rows[: len(mine)], rows[len(mine) :])
    )
    return ratio_interval(above, below)


def _band(curves: Floats) -> tuple[Floats, Floats]:
    if len(curves) < FEW:
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
