"""Numbers and codes as people read them."""

import math

import pytest

from hiper.records import Ending, Invalid
from hiper.report.words import (
    ENDINGS,
    REASONS,
    count,
    duration,
    figure,
    interval,
    percent,
    plain,
    points,
    signed,
    visible,
)


def test_every_ending_and_every_reason_has_words() -> None:
    assert set(ENDINGS) == set(Ending)
    assert set(REASONS) == set(Invalid)
    assert len(set(REASONS.values())) == len(Invalid)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.8136), "81.4 %"),
        (percent(1.0, 0), "100 %"),
        (percent(math.nan), "–"),
        (points(0.393), "+39.3"),
        (points(-0.004), "−0.4"),
        (signed(0.123), "+0.12"),
        (signed(-0.001), "0.00"),
        (signed(math.nan), "–"),
        (interval(0.7, 0.873), "[70.0, 87.3]"),
        (interval(-0.02, 0.5, 0), "[−2, 50]"),
        (interval(math.nan, 1.0), ""),
        (figure(0.001234), "0.00123"),
        (figure(-2.0), "−2"),
        (figure(2_550.4), "2,550"),
        (figure(123_456.0), "123 k"),
        (figure(math.inf), "–"),
        (count(9_999), "9,999"),
        (count(61_800_000), "61.8 M"),
        (count(2e9), "2 G"),
        (count(math.nan), "–"),
        (duration(0.25), "250 ms"),
        (duration(12.34), "12.3 s"),
        (duration(150), "2 min"),
        (duration(4000), "1 h 7 min"),
        (duration(math.nan), "–"),
        (plain("pick_and_place"), "pick and place"),
    ],
)
def test_written(written: str, expected: str) -> None:
    assert written == expected


def test_control_characters_become_pictures() -> None:
    assert visible("a\x1b[31mb\x00c\x7f") == "a␛[31mb␀c␡"
    assert visible("line\n\ttab") == "line\n\ttab"
    assert visible("\ud800\x9b") == "\ufffd\ufffd"
