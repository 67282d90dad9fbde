"""The claims of `docs/credit.md` on siblings, in a world whose values are known.

Noise is judged group by group, because the episodes of a group share their siblings.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hiper.credit import HAECredit, SiblingValues, adaptive_lam_boundary, hae, sibling_hae, sibling_values
from tests.credit.samples import Arrays, Sample, samples
from tests.credit.world import (
    GAMMA,
    H,
    Judgement,
    Played,
    Values,
    by_group,
    gradient,
    judge,
    make_world,
    play,
    values,
    wrong,
)

GROUPS, SIZE = 4000, 6
WORLD = make_world(1)
TRUTH = values(WORLD)
WRONG = wrong(TRUTH, 2.0, seed=4)
NOTHING = Values(U=0 * TRUTH.U, V_high=0 * TRUTH.V_high, V_low=0 * TRUTH.V_low)
ONES = {"gamma": GAMMA, "lam_low": 1.0, "lam_high": 1.0}
NAMES = ("U", "V_high", "V_low")
WEIGHTS = {"U": "weight_U_BT", "V_high": "weight_high_BT", "V_low": "weight_low_BT"}


@cache
def played() -> Played:
    return play(WORLD, GROUPS, SIZE, seed=5)


def heard(critic: Values) -> SiblingValues:
    return sibling_values(**played().arguments(critic), **played().who(), gamma=GAMMA)


def judged(credit: HAECredit) -> Judgement:
    return judge(WORLD, played(), credit, gradient(WORLD, TRUTH))


def plain(critic: Values, kappa: float) -> HAECredit:
    return hae(**played().arguments(critic), **ONES, lam_boundary=kappa)


def with_siblings(critic: Values, kappa: float | str, lam: float = 1.0) -> HAECredit:
    lams = {"gamma": GAMMA, "lam_low": lam, "lam_high": lam, "lam_boundary": kappa}
    return sibling_hae(**played().arguments(critic), **played().who(), **lams)


# Unbiased, where that is claimed


@pytest.mark.parametrize("name", NAMES)
def test_what_siblings_add_is_right_on_average_at_every_turn(name: str) -> None:
    """V' = w V + (1 - w) critic, on average: the bias of a bootstrap is (1 - w) times that of the critic."""
    said, true = (played().values(table)[f"{name}_BT"] for table in (WRONG, TRUTH))
    values_ = heard(WRONG)
    weight = getattr(values_, WEIGHTS[name])
    assert weight.max() > 0.5
    surplus = np.where(np.isfinite(said), getattr(values_, f"{name}_BT") - weight * true - (1 - weight) * said, 0.0)
    for t in range(H):
        for s in range(3):
            per_group = by_group(played(), np.where(played().state[:, t] == s, surplus[:, t], 0.0))
            error = per_group.std(ddof=1) / np.sqrt(GROUPS)
            assert abs(per_group.mean()) <= 4.5 * error, (t, s)


@pytest.mark.parametrize("critic", [WRONG, NOTHING], ids=["wrong", "nothing"])
def test_all_lambdas_1_is_unbiased_for_any_critic(critic: Values) -> None:
    assert judged(with_siblings(critic, kappa=1.0)).T < 3.0


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_an_exact_critic_stays_unbiased_at_any_lambda(lam: float) -> None:
    assert judged(with_siblings(TRUTH, kappa="adaptive", lam=lam)).T < 3.0


def test_this_world_shows_a_bias_where_there_is_one() -> None:
    assert judged(plain(NOTHING, kappa=0.0)).T > 10.0


# Better, where that is claimed


def test_less_noise_than_hae_where_both_are_unbiased() -> None:
    for critic in (WRONG, NOTHING):
        assert judged(with_siblings(critic, kappa=1.0)).noise < 0.9 * judged(plain(critic, kappa=1.0)).noise


def test_less_bias_than_hae_where_both_bootstrap() -> None:
    for critic in (WRONG, NOTHING):
        assert judged(with_siblings(critic, kappa=0.0)).bias2 < 0.7 * judged(plain(critic, kappa=0.0)).bias2


def test_adaptive_is_between_the_two_ends() -> None:
    none, some, all_ = (judged(with_siblings(NOTHING, kappa)) for kappa in (0.0, "adaptive", 1.0))
    assert some.bias2 < 0.5 * none.bias2
    assert some.noise < 0.9 * all_.noise


@pytest.mark.parametrize("critic", [WRONG, NOTHING], ids=["wrong", "nothing"])
@pytest.mark.parametrize("name", NAMES)
def test_the_blend_is_better_than_critic_or_siblings_alone(name: str, critic: Values) -> None:
    said, true = (played().values(table)[f"{name}_BT"] for table in (critic, TRUTH))
    values_ = heard(critic)
    blend, weight = getattr(values_, f"{name}_BT"), getattr(values_, WEIGHTS[name])
    met = np.isfinite(said) & (weight > 0)
    siblings = (blend - (1 - weight) * said)[met] / weight[met]
    missed = [np.mean((x - true[met]) ** 2) for x in (blend[met], said[met], siblings)]
    assert missed[0] < 0.95 * min(missed[1:])


def test_an_exact_critic_is_left_alone() -> None:
    values_ = heard(TRUTH)
    for name in WEIGHTS.values():
        assert getattr(values_, name).max() < 0.1


# Weights


def off_by(c: float) -> Values:
    return Values(U=TRUTH.U + c, V_high=TRUTH.V_high + c, V_low=TRUTH.V_low + c)


def kappa_of(critic: Values, *, groups: bool) -> np.ndarray:
    a, who = played().arguments(critic), played().who()
    arrays = (a["rewards_BT"], a["switches_BT"], a["lengths_B"], a["terminated_B"], a["V_high_BT"], a["U_final_B"])
    return adaptive_lam_boundary(*arrays, *((who["group_B"], who["state_BT"]) if groups else ()), gamma=GAMMA)


def noise_later() -> float:
    """σ² of the return from a boundary after turn 0, given the state: pooled over the whole batch, values known."""
    p = played()
    to_go = p.reward.copy()
    for t in reversed(range(H - 1)):
        to_go[:, t] += GAMMA * to_go[:, t + 1]
    later = p.switch[:, 1:]
    return float(np.mean((to_go - TRUTH.V_high[np.arange(H), p.state])[:, 1:][later] ** 2))


@pytest.mark.parametrize("c", [0.0, 0.5, 2.0])
def test_kappa_weighs_error_against_noise(c: float) -> None:
    kappa_B = kappa_of(off_by(c), groups=True)
    assert_allclose(kappa_B, c**2 / (c**2 + noise_later()), atol=0.03)
    assert kappa_B.std() < 0.01


def test_kappa_without_groups_is_what_V_high_leaves_unexplained() -> None:
    assert (kappa_of(off_by(9.0), groups=False) == 1.0).all()
    explained = kappa_of(TRUTH, groups=False)
    assert (explained < 1.0).all()
    assert explained.mean() > kappa_of(TRUTH, groups=True).mean() + 0.2  # luck is taken for ignorance


def test_kappa_where_nothing_is_known_is_1() -> None:
    arrays = [[0.0, 1.0]], [[True, True]], [2], [True], [[0.0, 0.5]], None
    assert adaptive_lam_boundary(*arrays).tolist() == [1.0]
    assert adaptive_lam_boundary(*arrays, [3], [[0, 1]]).tolist() == [1.0]


def test_weights_by_hand() -> None:
    """The two tasks of the docstring, and a third episode in the first: n = 2, w = 2·32/(2·32 + 8)."""
    n = 5
    ones, zeros = np.ones((n, 1)), np.zeros((n, 1))
    V_high = [[5], [5], [5], [0], [0]]
    who = [3, 3, 3, 4, 4], np.ones((n, 1), int), np.ones((n, 1), int)
    rewards = [[8], [0], [3], [4], [8]]
    v = sibling_values(rewards, ones, [1] * n, np.ones(n), zeros, V_high, zeros, None, *who, gamma=1.0)
    w = 8 / 9
    assert_allclose(v.weight_high_BT[:3], w)
    assert_allclose(v.V_high_BT[:3, 0], [w * 1.5 + (1 - w) * 5, w * 5.5 + (1 - w) * 5, w * 4 + (1 - w) * 5])


# Nothing of an episode's own future enters its own values


def future_changed(sample: Sample, b: int, t: int, seed: int) -> Sample:
    """Episode b goes on differently after its decisions at turn t: another reward, state, subgoal, switch, end."""
    rng = np.random.default_rng(seed)
    arrays = {name: x.copy() for name, x in sample.arrays().items()}
    width = arrays["rewards_BT"].shape[1]
    arrays["rewards_BT"][b, t:] = 5 * rng.normal(size=width - t)
    arrays["state_BT"][b, t + 1 :] = rng.integers(-1, 3, size=width - t - 1)
    arrays["subgoal_BT"][b, t + 1 :] = rng.integers(-1, 2, size=width - t - 1)
    arrays["switches_BT"][b, t + 1 :] = rng.random(width - t - 1) < 0.5
    arrays["before_BT"][b, t + 1 :] = rng.integers(-1, 2, size=width - t - 1)
    arrays["lengths_B"][b] = rng.integers(t + 1, width + 1)
    arrays["terminated_B"][b] = rng.random() < 0.5
    for name in ("U_BT", "V_high_BT", "V_low_BT"):
        arrays[name][b, t + 1 :] = rng.normal(size=width - t - 1)
    return Sample.of(arrays)


def values_of(sample: Sample) -> Arrays:
    arrays = sample.arrays()
    takes = (*sample.batch.arrays(), "group_B", "state_BT", "subgoal_BT", "before_BT")
    credit = sibling_values(**{name: arrays[name] for name in takes}, gamma=GAMMA)
    return {name: getattr(credit, name) for name in SiblingValues.__slots__}


@settings(max_examples=150)
@given(samples(least=1), st.data())
def test_own_future_does_not_enter_own_values(sample: Sample, data: st.DataObject) -> None:
    b = data.draw(st.integers(0, len(sample.group_B) - 1))
    t = data.draw(st.integers(0, int(sample.batch.lengths_B[b]) - 1))
    before, after = (values_of(x) for x in (sample, future_changed(sample, b, t, data.draw(st.integers(0, 999)))))
    for name in before:
        assert_allclose(after[name][b, : t + 1], before[name][b, : t + 1], atol=1e-9, err_msg=name)


@settings(max_examples=50)
@given(samples(least=1), st.integers(0, 999))
def test_own_task_does_not_enter_own_weights(sample: Sample, seed: int) -> None:
    rng = np.random.default_rng(seed)
    own_B = sample.group_B == sample.group_B[0]
    rewards_BT = np.where(own_B[:, None], rng.normal(size=sample.batch.rewards_BT.shape), sample.batch.rewards_BT)
    changed = replace(sample, batch=sample.batch.with_(rewards_BT=rewards_BT))
    before, after = values_of(sample), values_of(changed)
    for name in (*WEIGHTS.values(), "lam_boundary_BT"):
        assert (before[name][own_B] == after[name][own_B]).all(), name
