"""`gae` against arithmetic, the definition and its limits."""

import numpy as np
from hypothesis import given
from numpy.testing import assert_allclose

from hiper.credit import gae
from tests.credit.batches import GOLDEN, Batch, batches, fractions
from tests.credit.oracle import gae_batch


def credit_of(batch: Batch, gamma: float, lam: float) -> np.ndarray:
    arrays = (batch.rewards_BT, batch.lengths_B, batch.terminated_B, batch.U_BT, batch.U_final_B)
    return gae(*arrays, gamma=gamma, lam=lam).advantage_BT


def test_golden() -> None:
    rewards, values = [[1.0, 0.0, 2.0]], [[0.5, 1.0, 1.5]]
    ended = gae(rewards, [3], [True], values, None, gamma=0.9, lam=0.5)
    # surprises: 1 + .9·1 - .5 = 1.4; .9·1.5 - 1 = .35; 2 - 1.5 = .5; each weighs .45 one turn earlier
    assert_allclose(ended.advantage_BT, [[1.4 + 0.45 * 0.575, 0.35 + 0.45 * 0.5, 0.5]], atol=1e-15)
    assert_allclose(ended.return_BT, ended.advantage_BT + values, atol=1e-15)
    cut = gae(rewards, [3], [False], values, [3.0], gamma=0.9, lam=0.5)
    assert_allclose(cut.advantage_BT[0, 2], 2 + 0.9 * 3 - 1.5, atol=1e-15)


@given(batches(), fractions, fractions)
def test_oracle(batch: Batch, gamma: float, lam: float) -> None:
    expected_BT = gae_batch(batch, gamma, lam)
    assert_allclose(credit_of(batch, gamma, lam), expected_BT, rtol=1e-12, atol=1e-12)


@given(batches())
def test_what_must_not_be_read_may_be_nan(batch: Batch) -> None:
    hidden = batch.unread_as_nan().with_(U_BT=np.where(batch.mask_BT, batch.U_BT, np.nan))
    assert (credit_of(hidden, 0.9, 0.8) == credit_of(batch, 0.9, 0.8)).all()


def test_defaults() -> None:
    arrays = (GOLDEN.rewards_BT, GOLDEN.lengths_B, GOLDEN.terminated_B, GOLDEN.U_BT, None)
    assert (gae(*arrays).advantage_BT == credit_of(GOLDEN, 0.95, 0.95)).all()


@given(batches())
def test_padding_is_zero_and_masked(batch: Batch) -> None:
    arrays = (batch.rewards_BT, batch.lengths_B, batch.terminated_B, batch.U_BT, batch.U_final_B)
    credit = gae(*arrays)
    assert (credit.mask_BT == batch.mask_BT).all()
    assert (credit.advantage_BT[~batch.mask_BT] == 0).all()
    assert (credit.return_BT[~batch.mask_BT] == 0).all()
