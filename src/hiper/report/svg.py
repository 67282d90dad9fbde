"""Building blocks of a chart: elements, axes with their ticks, strokes, markers and columns."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from hiper.report.scales import Axis, Floats, nice_step, nice_ticks, smooth, thin, tick_label

POINTS_DRAWN = 400
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 10, 24

_SMOOTH_FROM = 16
_WIDE = 600
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")
_MARKERS = (
    "m-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
    "m0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    "m-4 -4h8v8h-8z",
    "m0 -5l5 9h-10z",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plotting area: both axes, its size in pixels, and whether values are shares."""

    x: Axis
    y: Axis
    width: int
    height: int
    is_share: bool


def tag(name: str, *inner: str, **attributes: str | float) -> Markup:
    """An element; text and attributes are escaped, `css` stands for "class", "_" in names for "-".

    Worked example: `tag("text", "a<b", css="tick", x=1.25)` is `<text class="tick" x="1.2">a&lt;b</text>`.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format("class" if key == "css" else key.replace("_", "-"), _number(value))
        for key, value in attributes.items()
    )
    content = Markup("").join(escape(part) for part in inner)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, content)


def grid(frame: Frame) -> Iterator[Markup]:
    """Lines and labels of both axes."""
    ticks, step = nice_ticks(frame.y.low, frame.y.high, 4), nice_step(frame.y.low, frame.y.high, 4)
    for tick in ticks:
        kind = "axis" if tick == frame.y.low or abs(tick) < step / 1e6 else "grid"
        y, label = frame.y(tick), tick_label(tick, step, percent=frame.is_share)
        yield tag("line", css=kind, x1=frame.x.start, x2=frame.x.stop, y1=y, y2=y)
        yield tag("text", label, css="tick", x=frame.x.start - 6, y=y + 3.5, text_anchor="end")
    yield from _step_labels(frame)


def strokes(frame: Frame, x: Floats, values: Floats, *, hue: int, place: int) -> Iterator[Markup]:
    """A line as measured; where there are enough values, faint, with its smoothed course on top."""
    shown = thin(x, POINTS_DRAWN)
    raw = path(frame, shown, thin(values, POINTS_DRAWN))
    if np.isfinite(values).sum() < _SMOOTH_FROM:
        yield tag("path", css=f"line h{hue}", stroke_dasharray=dash(place), d=raw)
        return
    course = thin(smooth(values, max(1.5, len(x) / 30)), POINTS_DRAWN)
    yield tag("path", css=f"raw h{hue}", d=raw)
    yield tag("path", css=f"line h{hue}", stroke_dasharray=dash(place), d=path(frame, shown, course))


def path(frame: Frame, x: Floats, values: Floats) -> str:
    """Path data through the finite values, broken at gaps; a value between two gaps becomes a dot."""
    parts: list[str] = []
    draws = False
    for at, value in zip(x, values, strict=True):
        if math.isfinite(value):
            place = f"{frame.x(at):.1f} {frame.y(value):.1f}"
            parts.append(f"L{place}" if draws else f"M{place}h0")
        draws = math.isfinite(value)
    return "".join(parts)


def whisker(frame: Frame, at: float, low: float, high: float, hue: int) -> Markup:
    """An interval bar at pixel `at`; nothing where a bound is missing."""
    if math.isnan(low + high):
        return Markup()
    top, bottom = frame.y(high), frame.y(low)
    ends = "".join(f"M{at - 3:.1f} {y:.1f}h6" for y in (top, bottom))
    return tag("path", css=f"whisker h{hue}", d=f"M{at:.1f} {top:.1f}V{bottom:.1f}{ends}")


def marker(shape: int, x: float, y: float, hue: int) -> Markup:
    """A circle, diamond, square or triangle around pixel (x, y)."""
    return tag("path", css=f"dot h{hue}", d=f"M{x:.1f} {y:.1f}{_MARKERS[shape % len(_MARKERS)]}")


def columns(
    frame: Frame,
    edges: Sequence[tuple[float, float]],
    bottoms: Iterable[float],
    tops: Iterable[float],
    hue: int,
) -> Iterator[Markup]:
    """One part of stacked bars: from `bottoms` to `tops`, between the edges of each bar."""
    for (left, right), low, high in zip(edges, bottoms, tops, strict=True):
        if high > low:
            start, width = frame.x(left), frame.x(right) - frame.x(left)
            gap = 1.0 if width > 4 else 0.0
            height = max(frame.y(low) - frame.y(high), 0.3)
            yield tag(
                "rect",
                css=f"bar h{hue}",
                x=start + gap / 2,
                y=frame.y(high),
                width=width - gap,
                height=height,
            )


def dash(place: int) -> str:
    """The dash pattern of the series at this place of a chart; the first is solid."""
    return _DASHES[place % len(_DASHES)]


def _step_labels(frame: Frame) -> Iterator[Markup]:
    wanted = 10 if frame.width > _WIDE else 4
    step = math.ceil(nice_step(frame.x.low, frame.x.high, wanted))  # 2.5 leaves out every other tick: whole steps
    for tick in nice_ticks(frame.x.low, frame.x.high, wanted):
        if tick == round(tick):
            x = frame.x(tick)
            anchor = "end" if frame.x.stop - x < 12 else "middle"
            label = tick_label(tick, step)
            yield tag("text", label, css="tick", x=x, y=frame.height - 7, text_anchor=anchor)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
