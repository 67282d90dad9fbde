"""The table "What is unbiased, and when" of `docs/credit.md`, in a world whose values are known.

Siblings have a file of their own, and `hiper verify` looks at many worlds and more closely.
"""

from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from hiper.credit import HAECredit, fixed_hae, gae, hae, hae_eb, option_gae
from tests.credit.world import (
    GAMMA,
    H,
    N,
    Played,
    S,
    Values,
    gradient,
    gradients,
    judge,
    make_world,
    play,
    values,
    wrong,
)

GROUPS = 20_000
WORLD = make_world(1)
TRUTH = values(WORLD)
WRONG = wrong(TRUTH, 2.0, seed=4)
NOTHING = Values(U=0 * TRUTH.U, V_high=0 * TRUTH.V_high, V_low=0 * TRUTH.V_low)
ONES = {"lam_low": 1.0, "lam_high": 1.0}
HALVES = {"lam_low": 0.5, "lam_high": 0.5}

HIERARCHICAL = {
    "option_gae": partial(option_gae, lam=0.5),
    "hae": partial(hae, **HALVES),
    "hae, carried": partial(hae, **HALVES, lam_boundary=1.0),
    "hae_eb": partial(hae_eb, lam=0.5),
    "hae_eb, values": partial(hae_eb, lam=0.5, switch_from_values=True),
}


@cache
def played() -> Played:
    return play(WORLD, GROUPS, 1, seed=6)


def judged(function: Any, critic: Values) -> float:
    """T: about 1 without a bias."""
    credit = function(**played().arguments(critic), gamma=GAMMA)
    return judge(WORLD, played(), credit, gradient(WORLD, TRUTH)).T


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_exact_values_unbiased_at_lambda_below_1(name: str) -> None:
    assert judged(HIERARCHICAL[name], TRUTH) < 3.0


@pytest.mark.parametrize("name", HIERARCHICAL)
def test_wrong_values_biased_at_lambda_below_1(name: str) -> None:
    assert judged(HIERARCHICAL[name], NOTHING) > 8.0


def test_wrong_values_unbiased_at_lambda_1_if_all_is_carried() -> None:
    assert judged(partial(option_gae, lam=1.0), WRONG) < 3.0
    assert judged(partial(hae, **ONES, lam_boundary=1.0), WRONG) < 3.0


def test_wrong_values_biased_at_lambda_1_if_it_is_not() -> None:
    assert judged(partial(hae, **ONES), NOTHING) > 8.0
    assert judged(partial(hae_eb, lam=1.0), NOTHING) > 8.0


def flat(function: Any, **settings: Any) -> float:
    """T of one advantage for all three decisions, from a U that is wrong everywhere."""
    p, t = played(), np.arange(H)
    U_0 = WRONG.U[0, p.state[:, 0], 0]
    U_BT = np.where(p.before >= 0, WRONG.U[t, p.state, p.before], U_0[:, None])
    ends = np.full(GROUPS, H), np.ones(GROUPS, bool)
    a_BT = function(p.reward, *ends, U_BT, None, gamma=GAMMA, **settings).advantage_BT
    hae_like = hae(**p.arguments(TRUTH))
    everywhere = HAECredit(
        **{
            name: getattr(hae_like, name)
            for name in HAECredit.__slots__
            if not name.startswith(("switch", "sub", "act"))
        },
        switch_BT=np.where(t > 0, a_BT, 0.0),
        subgoal_BT=np.where(p.switch, a_BT, 0.0),
        action_BT=a_BT,
    )
    return judge(WORLD, p, everywhere, gradient(WORLD, TRUTH)).T


def test_flat_with_wrong_values() -> None:
    assert flat(gae, lam=1.0) < 3.0
    assert flat(gae, lam=0.5) > 8.0
    assert flat(fixed_hae, lam=1.0, every=2) > 8.0


def test_a_switch_from_values_needs_no_value_of_the_road_not_taken() -> None:
    """Its expected direction is β (1 - β) (V_high - V_low of the old subgoal), as the critic has them."""
    p = played()
    credit = hae_eb(**p.arguments(WRONG), gamma=GAMMA, switch_from_values=True)
    nothing = np.zeros_like(credit.switch_BT)
    found = gradients(WORLD, p, credit.switch_BT, nothing, nothing)[:, : S * N]
    expected = gradient(WORLD, WRONG)[: S * N]
    error = found.std(axis=0) / np.sqrt(GROUPS)
    assert (np.abs(found.mean(axis=0) - expected) < 4.5 * error).all()
    assert np.abs(expected).max() > 20 * error.max()
