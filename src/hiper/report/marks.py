"""Small graphics inside tables and episodes. They stretch with the page, so they hold no text."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hiper.records import Segment
from hiper.report.read import Column, Credit
from hiper.report.results import Rate
from hiper.report.scales import Axis, nice_domain, nice_step, tick_label
from hiper.report.svg import tag
from hiper.report.words import figure, percent

BANDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A signed bar in a box of 100 units whose middle is zero."""

    start: float
    width: float
    is_negative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ValuePlot:
    """The values of an episode over its turns, with the labels of the highest and lowest line."""

    svg: Markup
    high: str
    low: str


def signed_bar(value: float, scale: float) -> Bar:
    """`value` as a bar that fills its half of the box where |value| = scale."""
    half = 50 * min(abs(value) / scale, 1.0) if scale > 0 else 0.0
    return Bar(start=50 - half if value < 0 else 50, width=half, is_negative=value < 0)


def dumbbell(before: Rate | None, after: Rate | None) -> Markup:
    """Two rates on a line from 0 to 100 %, before above after, each with its interval."""
    grid = "".join(f"M{x} 0V20" for x in (0, 25, 50, 75, 100))
    shown = [(kind, rate, y) for kind, rate, y in (("before", before, 5), ("after", after, 15)) if rate]
    marks = [_rate_mark(rate, kind, y if len(shown) > 1 else 10) for kind, rate, y in shown]
    label = ", ".join(f"{kind} {percent(rate.share)}" for kind, rate, _ in shown)
    return _stretched("dumbbell", "-2 0 104 20", label, tag("path", css="grid", d=grid), *marks)


def value_plot(credit: Credit, pieces: Sequence[Segment]) -> ValuePlot | None:
    """U and V_low as lines, V_high as dots where segments begin, over bands for the segments."""
    opens = {piece.start for piece in pieces}
    high_values = tuple(value if turn in opens else None for turn, value in enumerate(credit.V_high))
    columns = (credit.U, high_values, credit.V_low)
    known = [value for column in columns for value in column if value is not None]
    if not known:
        return None
    low, high = nice_domain(known, count=3)
    up, turns = Axis(low=low, high=high, start=96, stop=4), len(credit.U)
    bands = [_band(number, piece) for number, piece in enumerate(pieces)]
    zero = tag("path", css="zero", d=f"M0 {up(0):.1f}H{turns}") if low < 0 < high else Markup()
    lines = (_polyline(credit.U, up, 0), _polyline(credit.V_low, up, 2), _dots(high_values, up))
    label = f"values by turn, from {figure(min(known))} to {figure(max(known))}"
    svg = _stretched("values", f"0 0 {turns} 100", label, *bands, zero, *lines)
    step = nice_step(low, high, 3)
    return ValuePlot(svg=svg, high=tick_label(high, step), low=tick_label(low, step))


def _stretched(css: str, box: str, label: str, *inner: Markup) -> Markup:
    return tag("svg", *inner, css=css, viewBox=box, preserveAspectRatio="none", role="img", aria_label=label)


def _rate_mark(rate: Rate, kind: str, y: int) -> Markup:
    if math.isnan(rate.share):
        return Markup()
    point = tag("path", css=f"point {kind}", d=f"M{100 * rate.share:.1f} {y}h0")
    if math.isnan(rate.low + rate.high):
        return point
    return tag("path", css=f"range {kind}", d=f"M{100 * rate.low:.1f} {y}H{100 * rate.high:.1f}") + point


def _band(number: int, piece: Segment) -> Markup:
    width = piece.stop - piece.start
    return tag("rect", css=f"band{number % BANDS}", x=piece.start, y=0, width=width, height=100)


def _polyline(column: Column, up: Axis, hue: int) -> Markup:
    parts = [f"{t + 0.5} {up(value):.1f}" for t, value in enumerate(column) if value is not None]
    return tag("path", css=f"line h{hue}", d="M" + "L".join(parts)) if parts else Markup()


def _dots(column: Column, up: Axis) -> Markup:
    parts = [f"M{t + 0.5} {up(value):.1f}h0" for t, value in enumerate(column) if value is not None]
    return tag("path", css="dots h1", d="".join(parts)) if parts else Markup()
