"""Which estimator equals which, and when: a test for each row of the table in `docs/credit.md`."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hiper.credit import (
    HAECredit,
    adaptive_lam_boundary,
    fixed_hae,
    gae,
    gigpo,
    grpo,
    hae,
    hae_eb,
    option_gae,
    reinforce_pp,
    rloo,
    sibling_hae,
    token_gae,
)
from tests.credit.batches import Batch, batches, fractions
from tests.credit.samples import FLAT, Sample, samples

GAMMA = 0.9
few = settings(max_examples=40)


def equal(actual: np.ndarray, expected: np.ndarray) -> None:
    assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def flat(batch: Batch, values_BT: np.ndarray, lam: float) -> np.ndarray:
    arrays = {**batch.arrays(), "U_BT": values_BT}
    return gae(*(arrays[name] for name in FLAT), gamma=GAMMA, lam=lam).advantage_BT


def choices(batch: Batch) -> np.ndarray:
    return batch.mask_BT & (np.arange(batch.rewards_BT.shape[1]) > 0)


def one_value(batch: Batch) -> Batch:
    return batch.with_(V_high_BT=batch.V_low_BT, U_BT=batch.V_low_BT)


def assert_same_credit(one: HAECredit, other: HAECredit) -> None:
    for name in HAECredit.__slots__:
        equal(getattr(one, name), getattr(other, name))


def assert_flat_for_all_three(credit: HAECredit, batch: Batch, expected_BT: np.ndarray) -> None:
    equal(credit.action_BT, expected_BT)
    equal(credit.subgoal_BT, np.where(batch.boundary_BT, expected_BT, 0.0))
    equal(credit.switch_BT, np.where(choices(batch), expected_BT, 0.0))


def single_turns(sample: Sample) -> Sample:
    """The same tasks, an episode a turn, all from one state."""
    columns = {name: x[:, :1] if x.ndim == 2 else x for name, x in sample.arrays().items()}
    one = np.ones_like(columns["state_BT"])
    lengths = np.ones_like(columns["lengths_B"])
    return Sample.of({**columns, "lengths_B": lengths, "state_BT": one, "subgoal_BT": one})


# GAE and its relatives


@few
@given(batches(), fractions)
def test_token_gae_with_one_token_a_turn_is_gae(batch: Batch, lam: float) -> None:
    turn_BL = np.where(batch.mask_BT, np.arange(batch.rewards_BT.shape[1]), -1)
    before = (batch.rewards_BT, batch.lengths_B, batch.terminated_B)
    credit = token_gae(*before, turn_BL, batch.U_BT, batch.U_final_B, gamma=GAMMA, lam=lam)
    equal(credit.advantage_BL, flat(batch, batch.U_BT, lam))
    equal(credit.mask_BL, batch.mask_BT)


@few
@given(samples())
def test_token_gae_with_lambda_1_is_the_return_to_go_of_the_turn(sample: Sample) -> None:
    batch = sample.batch
    before = (batch.rewards_BT, batch.lengths_B, batch.terminated_B)
    credit = token_gae(*before, sample.turn_BL, sample.V_BL, batch.U_final_B, gamma=GAMMA, lam=1.0)
    to_go_BT = flat(batch, np.zeros_like(batch.U_BT), 1.0)
    of_turn_BL = np.take_along_axis(to_go_BT, np.maximum(sample.turn_BL, 0), axis=1)
    equal(credit.return_BL, np.where(sample.turn_BL >= 0, of_turn_BL, 0.0))


@few
@given(batches(), fractions)
def test_option_gae_with_one_value_is_gae(batch: Batch, lam: float) -> None:
    batch = one_value(batch)
    credit = option_gae(**batch.arrays(), gamma=GAMMA, lam=lam)
    assert_flat_for_all_three(credit, batch, flat(batch, batch.V_low_BT, lam))


@few
@given(batches(), fractions)
def test_option_gae_aims_at_the_return_of_gae(batch: Batch, lam: float) -> None:
    credit = option_gae(**batch.arrays(), gamma=GAMMA, lam=lam)
    equal(credit.return_U_BT, np.where(batch.mask_BT, flat(batch, batch.U_BT, lam) + batch.U_BT, 0.0))


@few
@given(batches())
def test_option_gae_with_lambda_1_is_hae_with_everything_carried(batch: Batch) -> None:
    ones = {"lam_low": 1.0, "lam_high": 1.0, "lam_boundary": 1.0}
    carried = hae(**batch.arrays(), gamma=GAMMA, **ones)
    assert_same_credit(option_gae(**batch.arrays(), gamma=GAMMA, lam=1.0), carried)


# HAE and its relatives (hae to gae: test_hae_identities)


@few
@given(batches(), fractions)
def test_hae_takes_one_lam_boundary_or_one_per_episode(batch: Batch, kappa: float) -> None:
    kappa_B = np.linspace(kappa, 1.0, len(batch.lengths_B))
    many = hae(**batch.arrays(), lam_boundary=kappa_B)
    for b, k in enumerate(kappa_B):
        one = hae(**batch.arrays(), lam_boundary=float(k))
        for name in HAECredit.__slots__:
            assert (getattr(many, name)[b] == getattr(one, name)[b]).all(), name


@few
@given(batches())
def test_hae_eb_with_lambda_1_gives_actions_the_credit_of_hae(batch: Batch) -> None:
    published = hae(**batch.arrays(), gamma=GAMMA, lam_low=1.0)
    equal(hae_eb(**batch.arrays(), gamma=GAMMA, lam=1.0).action_BT, published.action_BT)


@few
@given(batches())
def test_hae_eb_with_lambda_0_gives_actions_the_credit_of_option_gae(batch: Batch) -> None:
    flat_trace = option_gae(**batch.arrays(), gamma=GAMMA, lam=0.0)
    equal(hae_eb(**batch.arrays(), gamma=GAMMA, lam=0.0).action_BT, flat_trace.action_BT)


@few
@given(batches(), fractions)
def test_hae_eb_where_U_knows_the_decision_gives_actions_the_credit_of_hae(batch: Batch, lam: float) -> None:
    knows = batch.with_(U_BT=np.where(batch.boundary_BT, batch.V_high_BT, batch.V_low_BT))
    credit = hae_eb(**knows.arrays(), gamma=GAMMA, lam=lam)
    equal(credit.action_BT, hae(**knows.arrays(), gamma=GAMMA, lam_low=lam).action_BT)


@few
@given(batches(), fractions)
def test_hae_eb_switches_like_hae_and_the_other_form_differs_by_what_follows(batch: Batch, lam: float) -> None:
    sampled = hae_eb(**batch.arrays(), gamma=GAMMA, lam=lam)
    equal(sampled.switch_BT, hae(**batch.arrays(), gamma=GAMMA).switch_BT)
    by_values = hae_eb(**batch.arrays(), gamma=GAMMA, lam=lam, switch_from_values=True)
    decided_BT = np.where(batch.boundary_BT, batch.V_high_BT, batch.V_low_BT)
    equal(by_values.switch_BT, np.where(choices(batch), decided_BT - batch.U_BT, 0.0))
    equal(by_values.action_BT, sampled.action_BT)


@few
@given(batches(), fractions, st.integers(1, 14))
def test_fixed_hae_is_hae_with_one_value_and_a_clock(batch: Batch, lam: float, every: int) -> None:
    turns = np.arange(batch.rewards_BT.shape[1])
    clock = one_value(batch).with_(switches_BT=np.tile(turns % every == 0, (len(batch.lengths_B), 1)))
    arrays = clock.arrays()
    credit = fixed_hae(*(arrays[name] for name in FLAT), every=every, gamma=GAMMA, lam=lam)
    equal(credit.advantage_BT, hae(**arrays, gamma=GAMMA, lam_low=lam).action_BT)


@few
@given(batches(), fractions)
def test_fixed_hae_is_gae_in_long_segments_and_one_surprise_in_the_shortest(batch: Batch, lam: float) -> None:
    arrays = [batch.arrays()[name] for name in FLAT]
    long = fixed_hae(*arrays, every=batch.rewards_BT.shape[1], gamma=GAMMA, lam=lam)
    equal(long.advantage_BT, flat(batch, batch.U_BT, lam))
    equal(fixed_hae(*arrays, every=1, gamma=GAMMA, lam=lam).advantage_BT, flat(batch, batch.U_BT, 0.0))


# Without a critic


@few
@given(samples())
def test_rloo_is_dr_grpo_but_for_a_factor(sample: Sample) -> None:
    arrays = (sample.batch.rewards_BT, sample.batch.lengths_B, sample.group_B)
    _, index, size = np.unique(sample.group_B, return_inverse=True, return_counts=True)
    factor_B1 = (size / (size - 1))[index][:, None]
    equal(rloo(*arrays).advantage_BT, factor_B1 * grpo(*arrays, normalise_std=False).advantage_BT)


@few
@given(samples())
def test_grpo_is_one_number_an_episode_and_sums_to_nothing(sample: Sample) -> None:
    advantage_BT = grpo(sample.batch.rewards_BT, sample.batch.lengths_B, sample.group_B).advantage_BT
    equal(advantage_BT, np.where(sample.batch.mask_BT, advantage_BT[:, :1], 0.0))
    for group in np.unique(sample.group_B):
        assert_allclose(advantage_BT[sample.group_B == group, 0].sum(), 0.0, atol=1e-12)
        assert_allclose(advantage_BT[sample.group_B == group, 0].std(ddof=1), 1.0, atol=1e-9)


@few
@given(samples())
def test_gigpo_without_anchors_is_grpo(sample: Sample) -> None:
    arrays = (sample.batch.rewards_BT, sample.batch.lengths_B, sample.group_B)
    plain_BT = grpo(*arrays).advantage_BT
    equal(gigpo(*arrays, sample.state_BT, step_weight=0.0).advantage_BT, plain_BT)
    equal(gigpo(*arrays, np.full_like(sample.state_BT, -1)).advantage_BT, plain_BT)
    all_different_BT = np.arange(sample.state_BT.size).reshape(sample.state_BT.shape)
    equal(gigpo(*arrays, all_different_BT).advantage_BT, plain_BT)


@few
@given(samples(), st.floats(0.0, 3.0))
def test_gigpo_on_single_turns_is_grpo_twice(sample: Sample, weight: float) -> None:
    one = single_turns(sample)
    arrays = (one.batch.rewards_BT, one.batch.lengths_B, one.group_B)
    twice = gigpo(*arrays, one.state_BT, step_weight=weight).advantage_BT
    equal(twice, (1.0 + weight) * grpo(*arrays).advantage_BT)


@few
@given(samples())
def test_reinforce_pp_on_single_turns_of_one_task_is_grpo(sample: Sample) -> None:
    one = single_turns(sample)
    arrays = (one.batch.rewards_BT, one.batch.lengths_B)
    task_B = np.zeros_like(one.group_B)
    plain_BT = grpo(*arrays, task_B).advantage_BT
    equal(reinforce_pp(*arrays).advantage_BT, plain_BT)
    equal(reinforce_pp(*arrays, task_B).advantage_BT, plain_BT)


@few
@given(samples())
def test_reinforce_pp_has_one_mean_and_one_scale(sample: Sample) -> None:
    credit = reinforce_pp(sample.batch.rewards_BT, sample.batch.lengths_B, sample.group_B, gamma=GAMMA)
    played = credit.advantage_BT[credit.mask_BT]
    assert_allclose([played.mean(), played.std(ddof=1)], [0.0, 1.0], atol=1e-9)


def test_equal_returns_earn_nothing() -> None:
    rewards, lengths, group = [[0.1, 0.2], [0.3, 0.0]], [2, 2], [0, 0]  # .1 + .2 is not quite .3
    for credit in (grpo(rewards, lengths, group), gigpo(rewards, lengths, group, [[-1, -1], [-1, -1]])):
        assert np.abs(credit.advantage_BT).max() < 1e-9


# Siblings


@few
@given(samples(least=1), fractions)
def test_sibling_hae_where_nobody_meets_is_hae_to_the_last_bit(sample: Sample, kappa: float) -> None:
    settings_ = {"gamma": GAMMA, "lam_low": 0.8, "lam_high": 0.7, "lam_boundary": kappa}
    plain = hae(**sample.batch.arrays(), **settings_)
    nobody_BT = np.full_like(sample.state_BT, -1)
    all_different_BT = np.arange(nobody_BT.size).reshape(nobody_BT.shape)
    alone_B = np.arange(len(sample.group_B))
    who = [
        (sample.group_B, nobody_BT, sample.subgoal_BT),
        (sample.group_B, all_different_BT, sample.subgoal_BT),
        (alone_B, sample.state_BT, sample.subgoal_BT),
        (np.zeros_like(alone_B), sample.state_BT, sample.subgoal_BT),  # one task: no other to learn weights from
    ]
    for group_B, state_BT, subgoal_BT in who:
        credit = sibling_hae(
            **sample.batch.arrays(), group_B=group_B, state_BT=state_BT, subgoal_BT=subgoal_BT, **settings_
        )
        for name in HAECredit.__slots__:
            assert (getattr(credit, name) == getattr(plain, name)).all(), name


@few
@given(samples(least=1))
def test_sibling_hae_where_nobody_meets_adapts_like_hae(sample: Sample) -> None:
    batch, alone_BT = sample.batch, np.full_like(sample.state_BT, -1)
    lams = {"gamma": GAMMA, "lam_low": 0.8, "lam_high": 0.7}
    before = (
        batch.rewards_BT,
        batch.switches_BT,
        batch.lengths_B,
        batch.terminated_B,
        batch.V_high_BT,
        batch.U_final_B,
    )
    kappa_B = adaptive_lam_boundary(*before, sample.group_B, alone_BT, gamma=GAMMA)
    plain = hae(**batch.arrays(), **lams, lam_boundary=kappa_B)
    who = {"group_B": sample.group_B, "state_BT": alone_BT, "subgoal_BT": sample.subgoal_BT}
    assert_same_credit(sibling_hae(**batch.arrays(), **who, **lams), plain)


@few
@given(samples())
def test_sibling_hae_with_a_hopeless_critic_on_single_turns_is_rloo(sample: Sample) -> None:
    one = single_turns(sample)
    two_tasks_B = np.arange(len(one.group_B)) % 2  # weights are learned from the other one
    if len(two_tasks_B) < 4:
        return
    ended = one.batch.with_(
        terminated_B=np.ones_like(one.batch.terminated_B), V_high_BT=np.full_like(one.batch.V_high_BT, 1e5)
    )
    who = {"group_B": two_tasks_B, "state_BT": one.state_BT, "subgoal_BT": one.subgoal_BT}
    credit = sibling_hae(**ended.arrays(), **who, gamma=GAMMA)
    expected = rloo(ended.rewards_BT, ended.lengths_B, two_tasks_B).advantage_BT
    assert_allclose(credit.subgoal_BT, expected, atol=1e-3)  # the critic's share is left: about 1e5 σ²/τ² = 1e-5
