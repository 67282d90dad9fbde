"""`hae` against numbers worked out by hand and against the definition."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from numpy.testing import assert_allclose

from hiper.credit import HAECredit, hae
from tests.credit.batches import GOLDEN, Batch, batches, fractions
from tests.credit.oracle import Lambdas, hae_batch

# γ = .9, λ_low = .8, λ_high = .7. From the end:
#   M5 = 2                                    M4 = .9 (1.2 + .7 (2 - 1.2)) = 1.584
#   M3 = -.5 + .9 M4 = .9256                  M2 = .9 (.7 + .7 (.9256 - .7)) = .772128
#   M1 = 1 + .9 M2 = 1.6949152                M0 = .9 M1 = 1.52542368
# and S the same with 0 in place of .7: S4 = .9·1.2 = 1.08, S3 = .472, S2 = .63, S1 = 1.567, S0 = 1.4103.
LAMS = {"gamma": 0.9, "lam_low": 0.8, "lam_high": 0.7}


def assert_matches_oracle(credit: HAECredit, batch: Batch, lams: Lambdas) -> None:
    expected = hae_batch(batch, lams)
    close = {"rtol": 1e-12, "atol": 1e-12}
    assert_allclose(credit.switch_BT, expected["switch"], **close)
    assert_allclose(credit.subgoal_BT, expected["subgoal"], **close)
    assert_allclose(credit.action_BT, expected["action"], **close)
    assert_allclose(credit.return_U_BT, expected["return_U"], **close)
    returns_high = np.where(batch.boundary_BT, expected["subgoal"] + batch.V_high_BT, 0.0)
    assert_allclose(credit.return_high_BT, returns_high, **close)
    returns_low = np.where(batch.mask_BT, expected["action"] + batch.V_low_BT, 0.0)
    assert_allclose(credit.return_low_BT, returns_low, **close)
    assert (credit.mask_BT == batch.mask_BT).all()
    assert (credit.mask_high_BT == batch.boundary_BT).all()


def test_golden_terminated() -> None:
    credit = hae(**GOLDEN.arrays(), **LAMS)
    # A_low5 = 2 - 1.5; A_low4 = .9·1.2 - .8, cut; A_low3 = -.5 + .9·.8 - .3 + .72·.28; and so on
    assert_allclose(credit.action_BT, [[0.706432, 0.9256, 0.23, 0.1216, 0.28, 0.5]], atol=1e-12)
    assert_allclose(credit.subgoal_BT, [[1.07542368, 0, 0, 0.2256, 0, 0.8]], atol=1e-12)
    # 1.0103 at turn 0 is not credit: the first SWITCH is no choice.
    assert_allclose(credit.switch_BT, [[0, 1.067, 0.18, -0.128, 0.33, 0.7]], atol=1e-12)
    assert_allclose(credit.return_U_BT[0, 0] - 0.4, 1.0103, atol=1e-12)
    assert_matches_oracle(credit, GOLDEN, Lambdas())


def test_golden_truncated_changes_only_what_looks_past_the_cut() -> None:
    cut = GOLDEN.with_(terminated_B=np.array([False]))
    credit = hae(**cut.arrays(), **LAMS)
    # the last turn: 2 + .9·1.1 = 2.99, minus 1.5, 1.2 and 1.3
    assert_allclose(credit.action_BT, [[0.706432, 0.9256, 0.23, 0.1216, 0.28, 1.49]], atol=1e-12)
    assert_allclose(credit.subgoal_BT, [[1.361870379, 0, 0, 0.78693, 0, 1.79]], atol=1e-9)
    assert_allclose(credit.switch_BT, [[0, 1.067, 0.18, -0.128, 0.33, 1.69]], atol=1e-12)
    assert_matches_oracle(credit, cut, Lambdas())


def test_golden_with_the_whole_trace_carried() -> None:
    credit = hae(**GOLDEN.arrays(), **LAMS, lam_boundary=1.0)
    # A_low4 = .9·1.2 - .8 + .72·.8 = .856; A_low3 = -.5 + .9·.8 - .3 + .72·.856 = .53632
    # A_low2 = .9·.7 - .4 + .72·.2256 = .392432; A_low1 = 1 + .9·.4 - .6 + .72·A_low2
    # A_low0 = .9·.6 - .5 + .72·A_low1
    low_1 = 0.76 + 0.72 * 0.392432
    assert_allclose(credit.action_BT, [[0.04 + 0.72 * low_1, low_1, 0.392432, 0.53632, 0.856, 0.5]], atol=1e-12)
    assert_allclose(credit.subgoal_BT, [[1.07542368, 0, 0, 0.2256, 0, 0.8]], atol=1e-12)
    # now S = M
    assert_allclose(credit.switch_BT[0, 1:], [1.6949152 - 0.5, 0.772128 - 0.45, 0.3256, 0.834, 0.7], atol=1e-12)


@given(batches(), fractions, fractions, fractions, fractions)
def test_oracle(batch: Batch, gamma: float, low: float, high: float, boundary: float) -> None:
    lams = Lambdas(gamma, low, high, boundary)
    kwargs = {"gamma": gamma, "lam_low": low, "lam_high": high, "lam_boundary": boundary}
    assert_matches_oracle(hae(**batch.arrays(), **kwargs), batch, lams)


@given(batches(), fractions)
def test_what_must_not_be_read_may_be_nan(batch: Batch, boundary: float) -> None:
    credit = hae(**batch.unread_as_nan().arrays(), **LAMS, lam_boundary=boundary)
    assert_matches_oracle(credit, batch, Lambdas(boundary=boundary))


def test_defaults_are_the_published_form() -> None:
    lams = Lambdas(gamma=0.95, low=0.95, high=0.95, boundary=0.0)
    assert_matches_oracle(hae(**GOLDEN.arrays()), GOLDEN, lams)


def test_result_is_frozen_float64() -> None:
    credit = hae(**GOLDEN.arrays())
    dtypes = {f.name: getattr(credit, f.name).dtype.name for f in dataclasses.fields(credit)}
    assert {name for name, dtype in dtypes.items() if dtype == "bool"} == {"mask_BT", "mask_high_BT"}
    assert set(dtypes.values()) == {"bool", "float64"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        credit.action_BT = credit.switch_BT  # type: ignore[misc]


def test_arguments_are_left_as_they_were() -> None:
    before = {name: array.copy() for name, array in GOLDEN.arrays().items()}
    hae(**GOLDEN.arrays())
    assert all((before[name] == array).all() for name, array in GOLDEN.arrays().items())
