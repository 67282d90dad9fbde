"""Before and after: which evaluations are compared, and what their difference is."""

import math

import numpy as np
import pytest

from hiper.report.results import Rate, comparisons, difference
from tests.report.synthetic import eval_row

RNG = np.random.default_rng(1)


def row(split: str, step: int = 10, stage: str = "train", **more: object) -> dict[str, object]:
    return {**eval_row(RNG, step=step, stage=stage, split=split, skill=0.5), **more}


def test_first_and_last_of_a_split_are_compared() -> None:
    rows = [row("test", 50, "sft"), row("test", 10), row("test", 20)]
    (found,) = comparisons(rows)
    assert found.before is not None
    assert (found.before.label, found.after.label) == ("imitation, step 50", "training, step 20")
    assert len(found.results) == 3
    before, after = found.rates("pick_and_place_simple")
    assert before is not None
    assert after is not None
    assert before.episodes == after.episodes == 24


def test_the_model_that_was_evaluated_is_named() -> None:
    (found,) = comparisons([row("test", 0, "sft"), row("test", 40, model_step=10)])
    assert found.before is not None
    assert (found.before.label, found.after.label) == ("the model at the start", "training, step 10")


def test_kinds_are_kept_apart_and_held_out_splits_come_first() -> None:
    rows = [row("train"), row("valid_seen"), row("valid_unseen"), row("valid_unseen", greedy=False)]
    found = comparisons([*rows, rows[2]])
    assert [(one.split, one.greedy, one.held_out) for one in found] == [
        ("valid_unseen", True, True),
        ("valid_unseen", False, True),
        ("valid_seen", True, True),
        ("train", True, False),
    ]
    assert found[1].before is None


def test_views_are_kept_apart() -> None:
    found = comparisons([{**row("test"), "view": view} for view in ("default", "published")])
    assert [one.title.partition("test")[2] for one in found] == [", default", ", published"]
    assert all(one.before is None for one in found)


def test_old_and_bare_rows_are_read_as_far_as_they_go() -> None:
    (found,) = comparisons([{"success": 0.5}, {"split": "no success here"}])
    assert found.title == "evaluation"
    assert found.after.overall.share == 0.5
    assert math.isnan(found.after.overall.low)
    assert found.after.overall.episodes == 0
    assert found.tasks == ()
    assert found.after.label == "evaluation"


def test_difference_adds_the_squares_of_both_arms() -> None:
    # 0.5 [0.4, 0.6] to 0.8 [0.7, 0.9]: 0.3, and sqrt(0.1^2 + 0.1^2) = 0.1414 on both sides.
    before = Rate(share=0.5, low=0.4, high=0.6, episodes=100)
    after = Rate(share=0.8, low=0.7, high=0.9, episodes=100)
    assert difference(before, after) == pytest.approx((0.3, 0.3 - 0.141421, 0.3 + 0.141421), abs=1e-6)


def test_difference_uses_the_arm_that_points_to_the_other_rate() -> None:
    # Down: after reaches 0.2 down, before 0.05 up. Up: after reaches 0.1 up, before 0.3 down.
    before = Rate(share=0.4, low=0.1, high=0.45, episodes=10)
    after = Rate(share=0.6, low=0.4, high=0.7, episodes=10)
    change, low, high = difference(before, after)
    assert change == pytest.approx(0.2)
    assert low == pytest.approx(0.2 - math.hypot(0.2, 0.05))
    assert high == pytest.approx(0.2 + math.hypot(0.1, 0.3))


def test_difference_of_a_rate_to_itself_holds_zero() -> None:
    rate = Rate(share=0.3, low=0.2, high=0.45, episodes=10)
    change, low, high = difference(rate, rate)
    assert change == 0
    assert low == pytest.approx(-high)
    assert low < 0
