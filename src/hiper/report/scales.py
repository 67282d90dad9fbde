"""From numbers to places on a chart: axes, ticks, smoothing and thinning."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiper.report.words import MINUS

Floats = NDArray[np.float64]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A linear map of [low, high] to pixels [start, stop] (start > stop where the axis points up)."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """The pixel of `value`; values outside the axis are put at its ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)


def nice_step(low: float, high: float, count: int = 5) -> float:
    """The round length (1, 2, 2.5 or 5 times a power of ten) of which at most `count` fit in [low, high]."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in _STEPS if step * power >= rough * (1 - 1e-9))


def nice_ticks(low: float, high: float, count: int = 5) -> tuple[float, ...]:
    """Round numbers inside [low, high], at most `count + 1` of them."""
    step = nice_step(low, high, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(step * k for k in range(first, last + 1))


def nice_domain(values: Iterable[float], *, floor: float | None = None, count: int = 5) -> tuple[float, float]:
    """[low, high] around all finite values, ending on ticks; it reaches down to `floor` where one is given.

    Without a finite value: [0, 1]. A single value is put in the middle of a domain of some width.
    """
    finite = [value for value in values if math.isfinite(value)]
    if floor is not None:
        finite.append(floor)
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        width = abs(high) / 2 or 1.0
        low, high = (low if floor is not None else low - width), high + width
    step = nice_step(low, high, count)
    return step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)


def tick_label(value: float, step: float, *, percent: bool = False) -> str:
    """`value` with as many decimals as ticks `step` apart need; thousands as "k", millions as "M"."""
    if percent:
        return tick_label(100 * value, 100 * step) + " %"
    if abs(value) < step / 1e6:
        return "0"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3 if step >= 1e3 else 1e4, "k")):
        if abs(value) >= size:
            scale = 1e3 if unit == "k" else size
            return tick_label(value / scale, step / scale) + unit
    if step < 1e-4:
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-").replace("-", MINUS)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    decimals += not math.isclose(step * 10**decimals, round(step * 10**decimals), abs_tol=1e-6)
    return f"{value:.{decimals}f}".replace("-", MINUS)


def smooth(values: Floats, width: float) -> Floats:
    """Mean of the values around each, weighted by a normal curve of standard deviation `width` steps.

    NaN stays NaN and weighs nothing. At the ends only one side counts.
    """
    reach = math.ceil(3 * width)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    known = np.isfinite(values)
    padded = [np.pad(part, reach) for part in (np.where(known, values, 0.0), known.astype(np.float64))]
    total, weight = (np.convolve(part, kernel, mode="valid") for part in padded)
    means: Floats = np.divide(total, weight, out=np.full(len(values), np.nan), where=known)
    return means


def bins(length: int, limit: int) -> list[slice]:
    """At most `limit` stretches that cover range(length), all of one size but for the last."""
    size = max(1, math.ceil(length / limit))
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def thin(values: Floats, limit: int) -> Floats:
    """Means over at most `limit` equal stretches of the values; NaN where a stretch has no finite value."""
    parts = (values[stretch] for stretch in bins(len(values), limit))
    return np.array([part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan for part in parts])
