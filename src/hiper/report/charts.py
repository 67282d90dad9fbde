"""Charts as inline SVG, coloured by the page's CSS variables so that they follow its light or dark mode.

Every series has a colour *and* a dash or a marker of its own. The values to show on hovering are in
`data-hover`.
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hiper.report.scales import Axis, Floats, bins, nice_domain, thin
from hiper.report.svg import (
    BOTTOM,
    LEFT,
    POINTS_DRAWN,
    RIGHT,
    TOP,
    Frame,
    columns,
    dash,
    grid,
    marker,
    strokes,
    tag,
    whisker,
)
from hiper.report.words import figure, percent

BARS_DRAWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A series over the chart's `x`. `hue` chooses its colour (0 to 5); its dash is its place in the chart.

    `note` stands in the legend beside the name; by default the last value, or a part's share of the whole.
    """

    name: str
    values: Floats
    hue: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Single measurements (x, value) with intervals [low, high]; NaN bounds draw no bar."""

    name: str
    x: Floats
    values: Floats
    low: Floats
    high: Floats
    hue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A line chart. `bounds` fixes the domain of the values; else it is chosen, and reaches to any `floor`.

    `cut` is the lowest value shown: what lies below is drawn at the edge, and the caption says so.
    `over`: what x counts.
    """

    title: str
    unit: str
    x: Floats
    lines: Sequence[Line] = ()
    points: Sequence[Points] = ()
    bounds: tuple[float, float] | None = None
    floor: float | None = 0.0
    cut: float | None = None
    over: str = "step"
    is_share: bool = False
    width: int = 360
    height: int = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A chart of stacked bars over `x`. Parts are drawn from the bottom up, in the order of the legend."""

    title: str
    unit: str
    x: Floats
    parts: Sequence[Line]
    bounds: tuple[float, float] | None = None
    is_share: bool = False
    width: int = 360
    height: int = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A series as it can be read off: by name, with the step of each value."""

    name: str
    hue: int
    x: Floats
    y: Floats


def line_chart(chart: Chart) -> Markup:
    """The chart as a `<figure>`; empty where no series has a finite value."""
    if not _has_values([*chart.lines, *chart.points]):
        return Markup()
    steps = np.concatenate([chart.x, *(points.x for points in chart.points)])
    pad = 0.012 * float(np.ptp(steps)) if chart.points else 0.0
    frame = _frame(chart, steps, _domain(chart), pad)
    body = list(grid(frame))
    for place, line in enumerate(chart.lines):
        body.extend(strokes(frame, chart.x, line.values, hue=line.hue, place=place))
    for place, points in enumerate(chart.points):
        body.extend(_measured(frame, points, place, shift=8 * (place - (len(chart.points) - 1) / 2)))
    x = thin(chart.x, POINTS_DRAWN)
    shown = [_Shown(name=line.name, hue=line.hue, x=x, y=thin(line.values, POINTS_DRAWN)) for line in chart.lines]
    shown += [_Shown(name=points.name, hue=points.hue, x=points.x, y=points.values) for points in chart.points]
    return _figure(frame, chart.title, _unit(chart), _line_legend(chart), body, shown, chart.over)


def bar_chart(bars: Bars) -> Markup:
    """The chart as a `<figure>`; empty where nothing was measured. Steps that share a bar are averaged."""
    if not _has_values(bars.parts):
        return Markup()
    x = thin(bars.x, BARS_DRAWN)
    heights = [np.nan_to_num(thin(part.values, BARS_DRAWN)) for part in bars.parts]
    tops = np.cumsum(heights, axis=0)
    half = float(np.median(np.diff(bars.x))) / 2 if len(bars.x) > 1 else 0.5
    stretches = [bars.x[stretch] for stretch in bins(len(bars.x), BARS_DRAWN)]
    edges = [(float(stretch[0]) - half, float(stretch[-1]) + half) for stretch in stretches]
    frame = _frame(bars, bars.x, bars.bounds or nice_domain(tops[-1], floor=0.0, count=4), half)
    body = list(grid(frame))
    for part, top, height in zip(bars.parts, tops, heights, strict=True):
        body.extend(columns(frame, edges, top - height, top, part.hue))
    shown = [_Shown(name=part.name, hue=part.hue, x=x, y=y) for part, y in zip(bars.parts, heights, strict=True)]
    return _figure(frame, bars.title, bars.unit, _bar_legend(bars), body, shown[::-1], "step")


def _has_values(series: Iterable[Line | Points]) -> bool:
    return any(bool(np.isfinite(each.values).any()) for each in series)


def _domain(chart: Chart) -> tuple[float, float]:
    if chart.bounds is not None:
        return chart.bounds
    parts = [line.values for line in chart.lines]
    parts += [each for points in chart.points for each in (points.values, points.low, points.high)]
    values = np.concatenate(parts)
    return nice_domain(values if chart.cut is None else np.maximum(values, chart.cut), floor=chart.floor, count=4)


def _frame(chart: Chart | Bars, steps: Floats, domain: tuple[float, float], pad: float) -> Frame:
    """Both axes; `pad` is kept free at both ends of the steps."""
    low, high = float(steps.min()) - pad, float(steps.max()) + pad
    if high <= low:
        low, high = low - 0.5, low + 0.5
    return Frame(
        x=Axis(low=low, high=high, start=LEFT, stop=chart.width - RIGHT),
        y=Axis(low=domain[0], high=domain[1], start=chart.height - BOTTOM, stop=TOP),
        width=chart.width,
        height=chart.height,
        is_share=chart.is_share,
    )


def _measured(frame: Frame, points: Points, place: int, shift: float) -> Iterable[Markup]:
    """Markers with their intervals, put a little aside so that splits measured together do not overlap."""
    for x, value, low, high in zip(points.x, points.values, points.low, points.high, strict=True):
        if math.isfinite(value):
            at = min(max(frame.x(x) + shift, frame.x.start), frame.x.stop)
            yield whisker(frame, at, low, high, points.hue)
            yield marker(place, at, frame.y(value), points.hue)


def _unit(chart: Chart) -> str:
    """What is measured; where values were cut off, where."""
    lowest = min((float(np.nanmin(line.values, initial=math.inf)) for line in chart.lines), default=math.inf)
    is_cut = chart.cut is not None and lowest < chart.cut
    return f"{chart.unit}; below {figure(chart.cut)} at the edge" if chart.cut is not None and is_cut else chart.unit


def _line_legend(chart: Chart) -> Markup:
    """Names and last values; a single line needs no name but the title."""
    if len(chart.lines) == 1 and not chart.points:
        return tag("b", f"last {_last(chart.lines[0].values, is_share=chart.is_share)}", css="last")
    items = []
    for place, line in enumerate(chart.lines):
        stroke = tag("path", css=f"line h{line.hue}", stroke_dasharray=dash(place), d="M1 6H23")
        key = tag("svg", stroke, css="key wide", viewBox="0 0 24 12")
        items.append((key, line.name, line.note or _last(line.values, is_share=chart.is_share)))
    for place, points in enumerate(chart.points):
        items.append((tag("svg", marker(place, 6, 6, points.hue), css="key", viewBox="0 0 12 12"), points.name, ""))
    return _legend(items)


def _bar_legend(bars: Bars) -> Markup:
    totals = [float(np.nansum(part.values)) for part in bars.parts]
    whole = sum(totals) or 1.0
    items = []
    for part, total in zip(bars.parts, totals, strict=True):
        square = tag("rect", css=f"bar h{part.hue}", width=12, height=12)
        key = tag("svg", square, css="key", viewBox="0 0 12 12")
        items.append((key, part.name, part.note or percent(total / whole, 0)))
    return _legend(items)


def _legend(items: Iterable[tuple[Markup, str, str]]) -> Markup:
    made = (tag("li", key, name, *((" ", tag("b", note)) if note else ())) for key, name, note in items)
    return tag("ul", *made, css="legend")


def _last(values: Floats, *, is_share: bool) -> str:
    finite = values[np.isfinite(values)]
    last = float(finite[-1]) if len(finite) else math.nan
    return percent(last) if is_share else figure(last)


def _figure(
    frame: Frame, title: str, unit: str, legend: Markup, body: Iterable[Markup], shown: Sequence[_Shown], over: str
) -> Markup:
    caption = tag("figcaption", tag("span", title, css="title"), " ", tag("span", unit, css="unit"), legend)
    cross = tag("line", css="cross", y1=TOP, y2=frame.y.start)
    size, summary = f"0 0 {frame.width} {frame.height}", _summary(frame, title, shown, over)
    drawn = tag("svg", *body, cross, css="drawn", viewBox=size, role="img", aria_label=summary)
    return tag("figure", caption, drawn, css="chart", data_hover=_hover(frame, shown, over))


def _summary(frame: Frame, title: str, shown: Sequence[_Shown], over: str) -> str:
    """The chart in one sentence, for those who do not see it."""
    said = []
    for series in shown:
        finite = series.y[np.isfinite(series.y)]
        if len(finite):
            first, last = (_last(part, is_share=frame.is_share) for part in (finite[:1], finite))
            said.append(f"{series.name} from {first} to {last}")
    return f"{title} by {over}: {'; '.join(said)}"


def _hover(frame: Frame, shown: Sequence[_Shown], over: str) -> str:
    """What the page's script needs to find the values under the pointer."""
    series = [{"name": each.name, "x": _compact(each.x, digits=10), "y": _compact(each.y, digits=5)} for each in shown]
    axis = {"low": frame.x.low, "high": frame.x.high, "start": frame.x.start, "stop": frame.x.stop}
    whole = {**axis, "over": over, "share": frame.is_share, "series": series}
    return json.dumps(whole, separators=(",", ":"))


def _compact(values: Floats, *, digits: int) -> list[float | None]:
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]
