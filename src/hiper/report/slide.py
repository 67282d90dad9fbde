"""The plot of a comparison as a picture of its own: success against turns, one panel a task, every line named.

Plain attributes and no style sheet, so that slides and editors show it as it is. Colours are those of Okabe and Ito
with some of Tol's, which people who see fewer colours tell apart; names stand at the ends of their lines.
"""

import math
from collections.abc import Collection, Sequence

import numpy as np
from markupsafe import Markup

from hiper.report.arena import Arena
from hiper.report.measures import Measured, grid
from hiper.report.scales import Axis, Floats, nice_domain, nice_step, nice_ticks, tick_label
from hiper.report.svg import dash, tag
from hiper.report.words import visible

_COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#aa4499",
    "#56b4e9",
    "#b88100",
    "#332288",
    "#882255",
    "#117733",
    "#88611a",
)
_BASELINE = "#3d4248"
_INK, _SOFT, _GRID = "#1a1d21", "#59616b", "#e4e7ea"
_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"
_LEFT, _TOP, _BOTTOM, _HEAD, _NAMES = 52, 44, 42, 58, 168
_LETTERS = 21  # of a name
_LINE = 14  # pixels between names
_SHADED = 4  # bands in a panel at most: more of them, one upon the other, are a grey block


def slide(arena: Arena, measured: Sequence[Measured]) -> Markup:
    """The picture, an `<svg>`."""
    across = 1 if len(arena.tasks) == 1 else 2
    width, height = (960, 480) if across == 1 else (600, 360)
    down = math.ceil(len(arena.tasks) / across)
    panels, shaded = [], _shaded(arena, measured)
    for place, task in enumerate(arena.tasks):
        shift = f"translate({width * (place % across)} {_HEAD + height * (place // across)})"
        drawn = _panel(arena, [one for one in measured if one.task == task], task, width, height, shaded)
        panels.append(tag("g", *drawn, transform=shift))
    whole = (width * across, _HEAD + height * down)
    what = f"{arena.measure.capitalize()} in training against turns played"
    return tag(
        "svg",
        tag("title", what),
        tag("rect", width=whole[0], height=whole[1], fill="#ffffff"),
        _text(what, _LEFT - 30, 30, size=20, weight="bold"),
        _text(_note(arena, measured), _LEFT - 30, 49, size=13, fill=_SOFT),
        *panels,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {whole[0]} {whole[1]}",
        font_family=_FONT,
    )


def _note(arena: Arena, measured: Sequence[Measured]) -> str:
    """How many seeds are in the lines."""
    counts = sorted({one.runs for one in measured if one.runs} or {0})
    most = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    seeds = f"{most} of {len(arena.seeds)} seeds" if counts != [len(arena.seeds)] else f"{most} seeds"
    if counts == [1] and len(arena.seeds) == 1:
        seeds = "one seed"
    bands = _shaded(arena, measured)
    whose = " of the baseline" if bands == {arena.baseline} else ""
    return f"mean of {seeds}" + (f", shaded: 95 % bootstrap interval{whose} over seeds" if bands else "")


def _shaded(arena: Arena, measured: Sequence[Measured]) -> set[str]:
    """Arms with a band: all that have one, or where those are too many the baseline alone."""
    banded = {one.arm for one in measured if np.isfinite(one.low).all()}
    return banded if len(banded) <= _SHADED else banded & {arena.baseline}


def _panel(
    arena: Arena, measured: Sequence[Measured], task: str, width: int, height: int, shaded: Collection[str]
) -> list[Markup]:
    turns = grid(arena, task)
    banded = [one for one in measured if one.arm in shaded and np.isfinite(one.low).all()]
    top = np.concatenate([*(one.curve for one in measured), *(one.high for one in banded)])
    x = Axis(low=0.0, high=float(turns[-1]), start=_LEFT, stop=width - _NAMES)
    y = Axis(low=0.0, high=min(1.0, nice_domain(top, floor=0.0)[1]), start=height - _BOTTOM, stop=_TOP)
    colours = _colours(arena)
    bands = [_band(x, y, turns, one, colours[one.arm]) for one in banded]
    lines = [_line(x, y, turns, one, colours[one.arm], _dash(arena, one.arm)) for one in measured]
    ends = {one.arm: y(float(one.curve[-1])) for one in measured if math.isfinite(one.curve[-1])}
    places = apart(list(ends.values()), _LINE, low=y.stop, high=y.start)
    uneven = len({one.runs for one in measured if one.runs}) > 1
    named = {one.arm: _short(visible(one.arm)) + (f" ({one.runs})" if uneven else "") for one in measured}
    names = []
    for (arm, end), place in zip(ends.items(), places, strict=True):
        lead = f"M{x.stop + 2:.1f} {end:.1f}L{x.stop + 12:.1f} {place:.1f}"
        names.append(tag("path", d=lead, stroke=colours[arm], fill="none"))
        heavy = "bold" if arm != arena.baseline else "normal"
        names.append(_text(named[arm], x.stop + 15, place + 4, size=12.5, fill=colours[arm], weight=heavy))
    title = _text(visible(task), _LEFT, _TOP - 14, size=15, weight="bold")
    return [title, *_axes(x, y, height), *bands, *lines, *names]


def _axes(x: Axis, y: Axis, height: int) -> list[Markup]:
    made = []
    for tick in nice_ticks(y.low, y.high, 4):
        at, label = y(tick), tick_label(tick, nice_step(y.low, y.high, 4), percent=True)
        made.append(tag("line", x1=x.start, x2=x.stop, y1=at, y2=at, stroke=_GRID))
        made.append(_text(label, x.start - 7, at + 4, size=12, fill=_SOFT, anchor="end"))
    for tick in nice_ticks(x.low, x.high, 4):
        label = tick_label(tick, nice_step(x.low, x.high, 4))
        made.append(_text(label, x(tick), y.start + 17, size=12, fill=_SOFT, anchor="middle"))
    made.append(
        _text("turns played in training", (x.start + x.stop) / 2, height - 7, size=12, fill=_SOFT, anchor="middle")
    )
    return made


def _band(x: Axis, y: Axis, turns: Floats, one: Measured, colour: str) -> Markup:
    upper = [f"{x(at):.1f} {y(value):.1f}" for at, value in zip(turns, one.high, strict=True)]
    lower = [f"{x(at):.1f} {y(value):.1f}" for at, value in zip(turns, one.low, strict=True)]
    return tag("path", d=f"M{'L'.join([*upper, *lower[::-1]])}Z", fill=colour, fill_opacity="0.13")


def _line(x: Axis, y: Axis, turns: Floats, one: Measured, colour: str, dashes: str) -> Markup:
    parts = [f"{x(at):.1f} {y(v):.1f}" for at, v in zip(turns, one.curve, strict=True) if math.isfinite(v)]
    course = f"M{'L'.join(parts)}" if parts else ""
    return tag("path", d=course, stroke=colour, stroke_width="2.4", stroke_dasharray=dashes, fill="none")


def apart(wanted: Sequence[float], gap: float, *, low: float, high: float) -> list[float]:
    """Places near the wanted ones, in their order, at least `gap` from each other, inside [low, high] if they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    places = [0.0] * len(wanted)
    floor = low
    for i in order:
        places[i] = max(wanted[i], floor)
        floor = places[i] + gap
    ceiling = high
    for i in reversed(order):
        places[i] = min(places[i], ceiling)
        ceiling = places[i] - gap
    return places


def _short(name: str) -> str:
    """A name for which there is room beside its line."""
    return name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"


def _colours(arena: Arena) -> dict[str, str]:
    return {arena.baseline: _BASELINE, **{arm: _COLOURS[i % len(_COLOURS)] for i, arm in enumerate(arena.others)}}


def _dash(arena: Arena, arm: str) -> str:
    """The baseline is dashed; so are those arms for which there is no colour left."""
    if arm == arena.baseline:
        return dash(1)
    turn = arena.others.index(arm) // len(_COLOURS)
    return dash(turn + 1) if turn else ""


def _text(
    content: str, x: float, y: float, *, size: float, fill: str = _INK, weight: str = "normal", anchor: str = "start"
) -> Markup:
    return tag("text", content, x=x, y=y, font_size=size, fill=fill, font_weight=weight, text_anchor=anchor)
