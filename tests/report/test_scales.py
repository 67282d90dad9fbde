"""Axes, ticks, smoothing and thinning."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.report.scales import Axis, bins, nice_domain, nice_ticks, smooth, thin, tick_label

FINITE = st.floats(-1e9, 1e9, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-6)


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0, 1, 4, (0, 0.25, 0.5, 0.75, 1)),
        (0, 1, 5, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0, 37, 4, (0, 10, 20, 30)),
        (-1, 1, 4, (-1, -0.5, 0, 0.5, 1)),
        (1, 3, 4, (1, 1.5, 2, 2.5, 3)),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, count: int, ticks: tuple[float, ...]) -> None:
    assert nice_ticks(low, high, count) == pytest.approx(ticks)


@given(FINITE, FINITE, st.integers(2, 10))
def test_ticks_lie_inside_and_are_few(a: float, b: float, count: int) -> None:
    low, high = min(a, b), max(a, b)
    if high - low < 1e-6 * max(abs(low), abs(high), 1):
        return
    ticks = nice_ticks(low, high, count)
    slack = 1e-6 * (high - low)
    assert len(ticks) <= count + 1
    assert all(low - slack <= tick <= high + slack for tick in ticks)


@given(st.lists(st.one_of(FINITE, st.sampled_from([math.nan, math.inf])), max_size=20))
def test_domain_holds_all_finite_values_and_has_a_width(values: list[float]) -> None:
    low, high = nice_domain(values)
    assert high > low
    for value in values:
        if math.isfinite(value):
            slack = 1e-9 * max(abs(low), abs(high))
            assert low - slack <= value <= high + slack


def test_domain_reaches_down_to_its_floor_and_below_it_where_needed() -> None:
    assert nice_domain([21.0, 38.0], floor=0.0, count=4) == (0, 40)
    assert nice_domain([-3.0, 38.0], floor=0.0, count=4)[0] < -3
    assert nice_domain([math.nan], floor=None) == (0, 1)
    low, high = nice_domain([5.0])
    assert low < 5 < high


def test_axis_maps_linearly_and_clamps() -> None:
    up = Axis(low=0, high=10, start=100, stop=0)
    assert [up(value) for value in (0, 2.5, 10, 11, -1)] == [100, 75, 0, 0, 100]


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [
        (0.25, 0.25, "0.25"),
        (0.5, 0.25, "0.50"),
        (10, 10, "10"),
        (5_000, 5_000, "5k"),
        (15_000, 5_000, "15k"),
        (2_500_000, 500_000, "2.5M"),
        (0.0025, 0.0025, "0.0025"),
        (1e-5, 5e-6, "1e−5"),
        (-0.5, 0.5, "−0.5"),
        (0, 5e-6, "0"),
    ],
)
def test_tick_labels_have_the_decimals_they_need(value: float, step: float, label: str) -> None:
    assert tick_label(value, step) == label


def test_tick_labels_in_percent() -> None:
    assert [tick_label(x, 0.25, percent=True) for x in (0, 0.25, 1)] == ["0 %", "25 %", "100 %"]


def test_smoothing_keeps_constants_and_passes_over_gaps() -> None:
    values = np.array([2.0, np.nan, 2.0, 2.0, np.nan, np.nan, 2.0])
    np.testing.assert_allclose(smooth(values, 1.5), values)


def test_smoothing_is_a_weighted_mean_of_the_neighbours() -> None:
    # Weights of a normal curve of width 1 at distances 0, 1, 2: 1, 0.6065, 0.1353. Middle: 0.1353*2*0 + 1*6.
    smoothed = smooth(np.array([0.0, 0.0, 6.0, 0.0, 0.0]), 1.0)
    assert smoothed[2] == pytest.approx(6 / (1 + 2 * (0.60653 + 0.13534)), rel=1e-4)
    assert smoothed[0] == pytest.approx(6 * 0.13534 / (1 + 0.60653 + 0.13534 + 0.011109), rel=1e-3)


def test_thinning_takes_means_and_leaves_short_series_alone() -> None:
    np.testing.assert_array_equal(thin(np.array([1.0, 3.0, 5.0]), 3), [1, 3, 5])
    np.testing.assert_array_equal(thin(np.array([1.0, 3.0, 5.0, np.nan, 7.0]), 3), [2, 5, 7])
    assert np.isnan(thin(np.array([np.nan, np.nan]), 1)).all()


@given(st.integers(0, 500), st.integers(1, 60))
def test_bins_cover_everything_once(length: int, limit: int) -> None:
    stretches = bins(length, limit)
    assert len(stretches) <= limit
    assert [i for stretch in stretches for i in range(length)[stretch]] == list(range(length))
