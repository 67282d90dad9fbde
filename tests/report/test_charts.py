"""Charts: what is drawn is what was measured, and text cannot break out of it."""

import json
import math
import re
from html import unescape

import numpy as np
import pytest

from hiper.report.charts import Bars, Chart, Line, Points, bar_chart, line_chart
from hiper.report.marks import dumbbell, signed_bar, value_plot
from hiper.report.read import Credit
from hiper.report.results import Rate
from hiper.report.scales import Floats
from hiper.report.svg import tag
from tests.report.well_formed import parse

NAN = math.nan


def steps(count: int) -> Floats:
    return np.arange(1.0, count + 1)


def hover(figure: str) -> dict[str, object]:
    found = re.search(r'data-hover="([^"]*)"', figure)
    assert found
    loaded = json.loads(unescape(found[1]))
    assert isinstance(loaded, dict)
    return loaded


def draw(*lines: Line, **settings: object) -> str:
    chart = Chart(title="T", unit="u", x=steps(len(lines[0].values)), lines=lines, **settings)  # type: ignore[arg-type]
    return str(line_chart(chart))


def test_nothing_is_drawn_without_a_finite_value() -> None:
    assert draw(Line(name="a", values=np.array([NAN, math.inf]), hue=0)) == ""
    assert str(bar_chart(Bars(title="T", unit="", x=steps(1), parts=[]))) == ""


def test_a_value_lies_where_the_axis_puts_it() -> None:
    # 360 x 190 with margins 44, 10, 10, 24: x from 44 to 350, y from 166 (0) up to 10 (1).
    figure = draw(Line(name="a", values=np.array([0.0, 1.0, 0.5]), hue=0), bounds=(0.0, 1.0))
    assert 'd="M44.0 166.0h0L197.0 10.0L350.0 88.0"' in figure


def test_gaps_break_the_line() -> None:
    figure = draw(Line(name="a", values=np.array([0.0, NAN, 1.0, NAN]), hue=0), bounds=(0.0, 1.0))
    assert re.search(r'd="M44\.0 166\.0h0M[\d.]+ 10\.0h0"', figure)
    assert hover(figure)["series"] == [{"name": "a", "x": [1, 2, 3, 4], "y": [0, None, 1, None]}]


def test_long_series_are_drawn_faint_with_a_smooth_course_on_top() -> None:
    long = Line(name="a", values=np.sin(steps(40)), hue=3)
    short = Line(name="a", values=np.sin(steps(8)), hue=3)
    assert 'class="raw h3"' in draw(long)
    assert 'class="raw h3"' not in draw(short)
    assert draw(long).count('class="line h3"') == draw(short).count('class="line h3"') == 1


@pytest.mark.parametrize("count", [2, 8, 11, 30])
def test_steps_are_whole_numbers(count: int) -> None:
    bars = Bars(title="T", unit="u", x=steps(count), parts=[Line(name="a", values=np.ones(count), hue=0)])
    figure = draw(Line(name="a", values=np.full(count, 0.5), hue=0), bounds=(0.0, 1.0)) + str(bar_chart(bars))
    shown = re.findall(r'y="183" text-anchor="\w+">([^<]+)<', figure)
    assert shown
    assert all(label.isdigit() for label in shown)


def test_series_differ_by_more_than_colour() -> None:
    figure = draw(*(Line(name=name, values=steps(3), hue=hue) for hue, name in enumerate("abc")))
    dashes = re.findall(r'<path class="line h\d" stroke-dasharray="([^"]*)"', figure)
    assert len(set(dashes)) == 3


def test_values_below_the_cut_are_drawn_at_the_edge_and_the_caption_says_so() -> None:
    line = Line(name="a", values=np.array([-30.0, 0.0, 0.5]), hue=0)
    figure = draw(line, cut=-1.0, floor=None)
    assert "u; below −1 at the edge" in figure
    assert "M44.0 166.0h0" in figure
    assert "-30" in figure  # what is read off stays true


def test_measured_points_have_whiskers_only_where_the_interval_is_known() -> None:
    points = Points(
        name="valid",
        x=np.array([0.0, 10.0]),
        values=np.array([0.4, 0.8]),
        low=np.array([NAN, 0.7]),
        high=np.array([0.5, 0.9]),
        hue=1,
    )
    lines = [Line(name="train", values=steps(10) / 10, hue=0)]
    chart = Chart(title="S", unit="", x=steps(10), lines=lines, points=[points], bounds=(0.0, 1.0))
    figure = str(line_chart(chart))
    body = figure[figure.index('class="drawn"') :]
    assert body.count('class="whisker h1"') == 1
    assert body.count('class="dot h1"') == 2


def test_bars_are_stacked_without_gaps() -> None:
    parts = [
        Line(name="a", values=np.array([1.0, 2.0]), hue=0),
        Line(name="b", values=np.array([3.0, 2.0]), hue=1),
    ]
    figure = str(bar_chart(Bars(title="T", unit="s", x=steps(2), parts=parts, bounds=(0.0, 4.0))))
    found = re.findall(r'<rect class="bar h(\d)" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', figure)
    drawn = [(hue, float(y), float(height)) for hue, _, y, height in found]
    # The area is 156 high (10 to 166), so one unit is 39.
    assert drawn == [("0", 127, 39), ("0", 88, 78), ("1", 10, 117), ("1", 10, 78)]
    assert "a <b>38 %</b>" in figure  # 3 of 8
    assert "b <b>62 %</b>" in figure


def test_many_steps_share_bars() -> None:
    parts = [Line(name="a", values=np.ones(1000), hue=0)]
    figure = str(bar_chart(Bars(title="T", unit="s", x=steps(1000), parts=parts)))
    assert 40 <= figure.count("<rect class=") <= 61


def test_text_is_escaped() -> None:
    nasty = '"><script>alert(1)</script>'
    figure = draw(Line(name=nasty, values=steps(3), hue=0), Line(name="b", values=steps(3), hue=1))
    figure += str(line_chart(Chart(title=nasty, unit=nasty, x=steps(1), lines=[Line(name="", values=steps(1), hue=0)])))
    assert "<script" not in figure
    parse(figure)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 1000])
def test_charts_of_any_length_are_well_formed(count: int) -> None:
    parse(draw(Line(name="a", values=steps(count), hue=0)))
    parse(str(bar_chart(Bars(title="T", unit="", x=steps(count), parts=[Line(name="a", values=steps(count), hue=0)]))))


def test_tag_escapes_text_and_attributes() -> None:
    made = tag("text", "a<b", css="tick", text_anchor="end", x=1.25, title='"')
    assert made == '<text class="tick" text-anchor="end" x="1.2" title="&#34;">a&lt;b</text>'


@pytest.mark.parametrize(("value", "start", "width"), [(0.5, 50, 25), (-1.0, 0, 50), (0.0, 50, 0), (-9.0, 0, 50)])
def test_signed_bars_grow_from_the_middle(value: float, start: float, width: float) -> None:
    bar = signed_bar(value, scale=1.0)
    assert (bar.start, bar.width, bar.is_negative) == (start, width, value < 0)
    assert signed_bar(0.0, scale=0.0).width == 0


def test_a_dumbbell_shows_both_rates_and_what_is_known_of_their_intervals() -> None:
    before = Rate(share=0.25, low=0.2, high=0.3, episodes=9)
    after = Rate(share=0.5, low=NAN, high=NAN, episodes=9)
    drawn = dumbbell(before, after)
    assert 'd="M25.0 5h0"' in drawn
    assert 'd="M20.0 5H30.0"' in drawn
    assert 'd="M50.0 15h0"' in drawn
    assert drawn.count('class="range') == 1
    assert 'aria-label="before 25.0 %, after 50.0 %"' in drawn
    assert 'class="point' not in dumbbell(None, Rate(share=NAN, low=NAN, high=NAN, episodes=0))


def test_values_without_any_number_draw_nothing() -> None:
    empty = (None, None)
    credit = Credit(switch=empty, subgoal=empty, action=empty, U=empty, V_high=empty, V_low=empty)
    assert value_plot(credit, ()) is None
