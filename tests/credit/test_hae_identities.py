"""What `hae` must be equal to in special cases, for any rewards, values and switches, to 1e-12."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from hiper.credit import HAECredit, gae, hae
from tests.credit.batches import Batch, batches, fractions, random_batch
from tests.credit.oracle import segments

GAMMA = 0.9
ONES = {"gamma": GAMMA, "lam_low": 1.0, "lam_high": 1.0}
SOME = {"gamma": GAMMA, "lam_low": 0.8, "lam_high": 0.7}
ADVANTAGES = ("switch_BT", "subgoal_BT", "action_BT")
TARGETS = ("return_U_BT", "return_high_BT", "return_low_BT")


def equal(actual: np.ndarray, expected: np.ndarray) -> None:
    assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def equal_where(mask: np.ndarray, actual: np.ndarray, expected: np.ndarray) -> None:
    equal(np.where(mask, actual, 0.0), np.where(mask, expected, 0.0))


def every_turn_switches(batch: Batch) -> Batch:
    return batch.with_(switches_BT=np.ones_like(batch.switches_BT))


def no_turn_switches(batch: Batch) -> Batch:
    return batch.with_(switches_BT=np.zeros_like(batch.switches_BT))


def one_value(batch: Batch) -> Batch:
    return batch.with_(V_high_BT=batch.V_low_BT, U_BT=batch.V_low_BT)


def flat(batch: Batch, values_BT: np.ndarray, lam: float) -> np.ndarray:
    arrays = (batch.rewards_BT, batch.lengths_B, batch.terminated_B, values_BT, batch.U_final_B)
    return gae(*arrays, gamma=GAMMA, lam=lam).advantage_BT


def return_to_go(batch: Batch) -> np.ndarray:
    """Discounted reward from each turn to the end, and the value of what follows a cut."""
    out_BT = np.zeros_like(batch.rewards_BT)
    for b, length in enumerate(batch.lengths_B):
        total = 0.0 if batch.terminated_B[b] else batch.U_final_B[b]
        for t in reversed(range(length)):
            total = batch.rewards_BT[b, t] + GAMMA * total
            out_BT[b, t] = total
    return out_BT


def choices(batch: Batch) -> np.ndarray:
    return batch.mask_BT & (np.arange(batch.rewards_BT.shape[1]) > 0)


def assert_same_credit(one: HAECredit, other: HAECredit) -> None:
    for name in (*ADVANTAGES, *TARGETS):
        assert (getattr(one, name) == getattr(other, name)).all(), name


@given(batches(), fractions)
def test_a_every_turn_a_boundary_leaves_one_surprise(batch: Batch, lam_low: float) -> None:
    batch = every_turn_switches(batch)
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_low=lam_low)
    next_BT = np.pad(batch.V_high_BT, ((0, 0), (0, 1)))[:, 1:]
    last_BT = np.arange(batch.rewards_BT.shape[1]) == batch.lengths_B[:, None] - 1
    final_B = np.where(batch.terminated_B, 0.0, batch.U_final_B)
    next_BT = np.where(last_BT, final_B[:, None], next_BT)
    equal_where(batch.mask_BT, credit.action_BT, batch.rewards_BT + GAMMA * next_BT - batch.V_low_BT)


@given(batches(), fractions)
def test_a_every_turn_a_boundary_makes_the_subgoal_credit_flat(batch: Batch, lam_high: float) -> None:
    batch = every_turn_switches(batch)
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_high=lam_high)
    equal(credit.subgoal_BT, flat(batch, batch.V_high_BT, lam_high))


@given(batches(), fractions, fractions)
def test_b_one_segment_makes_the_action_credit_flat(batch: Batch, lam_low: float, boundary: float) -> None:
    batch = no_turn_switches(batch)
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_low=lam_low, lam_boundary=boundary)
    equal(credit.action_BT, flat(batch, batch.V_low_BT, lam_low))


@given(batches())
def test_b_one_segment_with_lambda_1_is_the_return_for_all_three(batch: Batch) -> None:
    batch = no_turn_switches(batch)
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_low=1.0, lam_high=0.3)
    to_go_BT = return_to_go(batch)
    equal(credit.return_low_BT, to_go_BT)
    equal(credit.return_U_BT, to_go_BT)
    equal(credit.return_high_BT, np.where(batch.boundary_BT, to_go_BT, 0.0))


@given(batches())
def test_c_lambda_high_0_stops_at_the_next_boundary(batch: Batch) -> None:
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_high=0.0)
    equal_where(batch.boundary_BT, credit.return_high_BT, credit.return_U_BT)


@given(batches())
def test_d_no_values_one_segment_is_return_to_go(batch: Batch) -> None:
    nothing_BT = np.zeros_like(batch.U_BT)
    batch = no_turn_switches(batch).with_(U_BT=nothing_BT, V_high_BT=nothing_BT, V_low_BT=nothing_BT)
    credit = hae(**batch.arrays(), **ONES)
    to_go_BT = return_to_go(batch)
    equal(credit.action_BT, to_go_BT)
    equal(credit.switch_BT, np.where(choices(batch), to_go_BT, 0.0))
    equal(credit.subgoal_BT, np.where(batch.boundary_BT, to_go_BT, 0.0))


@given(batches())
def test_e_trace_carried_with_all_lambdas_1_is_return_to_go(batch: Batch) -> None:
    credit = hae(**batch.arrays(), **ONES, lam_boundary=1.0)
    to_go_BT = return_to_go(batch)
    equal_where(batch.mask_BT, credit.action_BT + batch.V_low_BT, to_go_BT)
    equal_where(batch.boundary_BT, credit.subgoal_BT + batch.V_high_BT, to_go_BT)
    equal_where(choices(batch), credit.switch_BT + batch.U_BT, to_go_BT)


@given(batches(), fractions)
def test_carried_trace_with_a_boundary_at_every_turn_is_flat_for_all_three(batch: Batch, lam: float) -> None:
    batch = one_value(every_turn_switches(batch))
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_low=lam, lam_high=lam, lam_boundary=1.0)
    expected_BT = flat(batch, batch.V_low_BT, lam)
    equal(credit.action_BT, expected_BT)
    equal(credit.subgoal_BT, expected_BT)
    equal(credit.switch_BT, np.where(choices(batch), expected_BT, 0.0))


@given(batches(), fractions)
def test_action_credit_is_a_straight_line_in_lam_boundary(batch: Batch, kappa: float) -> None:
    none, some, all_ = (hae(**batch.arrays(), **SOME, lam_boundary=k) for k in (0.0, kappa, 1.0))
    equal(some.action_BT, (1 - kappa) * none.action_BT + kappa * all_.action_BT)
    assert (none.subgoal_BT == all_.subgoal_BT).all()


@given(batches())
def test_f_high_values_outside_boundaries_change_nothing(batch: Batch) -> None:
    moved = batch.with_(V_high_BT=np.where(batch.boundary_BT, batch.V_high_BT, batch.V_high_BT + 7.0))
    assert_same_credit(hae(**batch.arrays()), hae(**moved.arrays()))


@given(batches(), st.randoms(use_true_random=False))
def test_g_order_of_episodes_changes_nothing(batch: Batch, random: np.random.Generator) -> None:
    order = list(range(len(batch.lengths_B)))
    random.shuffle(order)
    moved = hae(**{name: array[order] for name, array in batch.arrays().items()}, **SOME)
    credit = hae(**batch.arrays(), **SOME)
    for name in (*ADVANTAGES, *TARGETS):
        assert (getattr(moved, name) == getattr(credit, name)[order]).all(), name


@given(batches(), st.integers(1, 4), st.booleans())
def test_g_padding_changes_nothing(batch: Batch, extra: int, switch: bool) -> None:
    padding = {"rewards_BT": np.nan, "U_BT": np.nan, "V_high_BT": 9.0, "V_low_BT": 9.0, "switches_BT": switch}
    wider = batch.with_(
        **{
            name: np.pad(getattr(batch, name), ((0, 0), (0, extra)), constant_values=fill)
            for name, fill in padding.items()
        }
    )
    narrow, wide = (hae(**b.arrays(), **SOME, lam_boundary=0.5) for b in (batch, wider))
    for name in (*ADVANTAGES, *TARGETS):
        assert (getattr(wide, name)[:, :-extra] == getattr(narrow, name)).all(), name
        assert (getattr(wide, name)[:, -extra:] == 0).all(), name


@given(batches())
def test_g_one_batch_is_its_episodes_one_by_one(batch: Batch) -> None:
    together = hae(**batch.arrays(), **SOME, lam_boundary=0.5)
    for b in range(len(batch.lengths_B)):
        alone = hae(**{name: array[b : b + 1] for name, array in batch.arrays().items()}, **SOME, lam_boundary=0.5)
        for name in (*ADVANTAGES, *TARGETS):
            assert (getattr(alone, name)[0] == getattr(together, name)[b]).all(), name


@given(batches(), fractions)
def test_h_one_value_function_is_flat_credit_cut_at_boundaries(batch: Batch, lam_low: float) -> None:
    """Each segment is an episode of its own, cut where the next one begins and worth V there."""
    batch = one_value(batch)
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_low=lam_low)
    for b, length in enumerate(batch.lengths_B):
        for start, stop in segments(batch.switches_BT[b].tolist(), length):
            is_last = stop == length
            final = batch.U_final_B[b] if is_last else batch.V_low_BT[b, stop]
            rewards, values = batch.rewards_BT[b : b + 1, start:stop], batch.V_low_BT[b : b + 1, start:stop]
            ended = [bool(batch.terminated_B[b]) and is_last]
            alone = gae(rewards, [stop - start], ended, values, [final], gamma=GAMMA, lam=lam_low)
            equal(credit.action_BT[b, start:stop], alone.advantage_BT[0])


@given(batches())
def test_lambda_high_1_is_the_return_minus_the_value(batch: Batch) -> None:
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_high=1.0)
    equal_where(batch.boundary_BT, credit.subgoal_BT, return_to_go(batch) - batch.V_high_BT)


@given(batches())
def test_lambda_low_1_is_the_reward_to_the_segment_end_and_the_value_there(batch: Batch) -> None:
    """Which is also what the switch credit bootstraps from, so both targets are one number."""
    credit = hae(**batch.arrays(), gamma=GAMMA, lam_low=1.0)
    equal(credit.return_low_BT, credit.return_U_BT)


@given(batches())
def test_one_value_lambda_high_0_is_lambda_low_1_at_boundaries(batch: Batch) -> None:
    credit = hae(**one_value(batch).arrays(), gamma=GAMMA, lam_low=1.0, lam_high=0.0)
    equal_where(batch.boundary_BT, credit.subgoal_BT, credit.action_BT)


@given(batches(), fractions)
def test_a_critic_that_knows_the_outcome_leaves_no_credit(batch: Batch, kappa: float) -> None:
    to_go_BT = return_to_go(batch)
    perfect = batch.with_(U_BT=to_go_BT, V_high_BT=to_go_BT, V_low_BT=to_go_BT)
    credit = hae(**perfect.arrays(), **SOME, lam_boundary=kappa)
    for name in ADVANTAGES:
        equal(getattr(credit, name), np.zeros_like(to_go_BT))


@given(batches(), st.sampled_from([-2.0, 0.0, 0.1, 10.0]))
def test_credit_has_the_unit_of_the_reward(batch: Batch, scale: float) -> None:
    reals = ("rewards_BT", "U_BT", "V_high_BT", "V_low_BT", "U_final_B")
    scaled = batch.with_(**{name: scale * getattr(batch, name) for name in reals})
    one, many = (hae(**b.arrays(), **SOME, lam_boundary=0.5) for b in (batch, scaled))
    for name in (*ADVANTAGES, *TARGETS):
        equal(getattr(many, name), scale * getattr(one, name))


def test_locality_a_later_segment_moves_no_earlier_action_or_switch() -> None:
    batch = random_batch(seed=3, lengths=[9])
    batch = batch.with_(switches_BT=np.array([[True, False, False, False, True, False, False, True, False]]))
    changed = batch.with_(rewards_BT=batch.rewards_BT + 5.0 * (np.arange(9) == 6))
    before, after = (hae(**b.arrays(), **SOME) for b in (batch, changed))
    assert (before.action_BT[0, :4] == after.action_BT[0, :4]).all()
    assert (before.switch_BT[0, :4] == after.switch_BT[0, :4]).all()
    assert (before.action_BT[0, 4:7] != after.action_BT[0, 4:7]).all()
    assert before.subgoal_BT[0, 0] != after.subgoal_BT[0, 0]


def test_turn_0_is_a_boundary_and_no_choice_whatever_is_written() -> None:
    batch = random_batch(seed=4, lengths=[5, 2])
    written = [batch.with_(switches_BT=batch.switches_BT.copy()) for _ in range(2)]
    written[0].switches_BT[:, 0], written[1].switches_BT[:, 0] = True, False
    one, other = (hae(**b.arrays()) for b in written)
    assert_same_credit(one, other)
    assert one.mask_high_BT[:, 0].all()
    assert (one.switch_BT[:, 0] == 0).all()


@given(batches())
def test_subgoal_credit_only_at_boundaries(batch: Batch) -> None:
    credit = hae(**batch.arrays())
    assert (credit.subgoal_BT[~credit.mask_high_BT] == 0).all()
    assert (credit.return_high_BT[~credit.mask_high_BT] == 0).all()


def test_value_after_the_cut_counts_only_where_an_episode_was_cut() -> None:
    batch = random_batch(seed=5, lengths=[4, 4]).with_(terminated_B=np.array([True, False]))
    moved = batch.with_(U_final_B=batch.U_final_B + 1.0)
    one, other = (hae(**b.arrays(), **SOME) for b in (batch, moved))
    for name in (*ADVANTAGES, *TARGETS):
        assert (getattr(one, name)[0] == getattr(other, name)[0]).all(), name
    # All three look one turn past the cut: γ times what U_final rose by.
    for name in ("return_low_BT", "return_U_BT"):
        equal(getattr(other, name)[1, 3] - getattr(one, name)[1, 3], np.array(GAMMA))
