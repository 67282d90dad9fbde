"""From episodes to arrays to credit, by hand."""

import numpy as np
import pytest

from hiper.batch import Values
from hiper.credit import gae, hae
from hiper.records import Decision, Ending, Invalid, Trajectory, Turn
from hiper.runs.config import CreditConfig
from hiper.runs.estimate import estimate, explained_variance, table_of

KEEP, SWITCH = Decision.KEEP, Decision.SWITCH


def turn(index: int, decision: Decision, reward: float = 0.0, invalid: Invalid | None = None) -> Turn:
    return Turn(
        index=index,
        observation="",
        context="",
        fresh_context=False,
        reply="",
        decision=decision,
        subgoal="",
        action="",
        reward=reward,
        invalid=invalid,
    )


def episode(ending: Ending, *turns: Turn) -> Trajectory:
    return Trajectory(game="g", task_type="t", seed=0, turns=turns, ending=ending, final_observation="")


EPISODES = [
    episode(Ending.SUCCEEDED, turn(0, KEEP), turn(1, KEEP, invalid=Invalid.NO_ACTION_TAG), turn(2, SWITCH, 1.0)),
    episode(Ending.TURN_LIMIT, turn(0, SWITCH), turn(1, KEEP, 0.25, Invalid.NOT_ADMISSIBLE)),
]
NAN = np.nan
VALUES = Values(
    U_BT=np.array([[0.1, 0.2, 0.3], [0.4, 0.5, NAN]]),
    V_high_BT=np.array([[0.5, NAN, 0.6], [0.7, NAN, NAN]]),
    V_low_BT=np.array([[0.2, 0.1, 0.8], [0.3, 0.9, NAN]]),
    U_final_B=np.array([NAN, 2.0]),
)


def test_the_table_of_two_episodes() -> None:
    table = table_of(EPISODES, CreditConfig(reward_scale=10.0))
    np.testing.assert_array_equal(table.rewards_BT, [[0, 0, 10], [0, 2.5, 0]])
    np.testing.assert_array_equal(table.switches_BT, [[True, False, True], [True, False, False]])
    np.testing.assert_array_equal(table.mask_BT, [[True, True, True], [True, True, False]])
    np.testing.assert_array_equal(table.lengths_B, [3, 2])
    np.testing.assert_array_equal(table.terminated_B, [True, False])
    assert not table.shaping_BT.any()


def test_shaping_is_added_and_kept_apart() -> None:
    table = table_of(EPISODES, CreditConfig(reward_scale=10.0, invalid_penalty=0.5))
    np.testing.assert_array_equal(table.shaping_BT, [[0, -0.5, 0], [0, -0.5, 0]])  # not scaled
    np.testing.assert_array_equal(table.rewards_BT, [[0, -0.5, 10], [0, 2.0, 0]])


def test_the_estimators_get_what_they_ask_for() -> None:
    config = CreditConfig(gamma=0.9, lam_low=0.8, lam_high=0.7, lam_boundary=0.6)
    table = table_of(EPISODES, config)
    rewards, lengths, terminated = [[0, 0, 1], [0, 0.25, 0]], [3, 2], [True, False]
    U, V_high, V_low = (np.nan_to_num(v) for v in (VALUES.U_BT, VALUES.V_high_BT, VALUES.V_low_BT))
    switches = [[True, False, True], [True, False, False]]
    wanted = hae(
        rewards, switches, lengths, terminated, U, V_high, V_low, [0.0, 2.0],
        gamma=0.9, lam_low=0.8, lam_high=0.7, lam_boundary=0.6,
    )  # fmt: skip
    found = estimate(table, VALUES, config)
    for mine, theirs in (
        ("switch_BT", wanted.switch_BT),
        ("subgoal_BT", wanted.subgoal_BT),
        ("action_BT", wanted.action_BT),
        ("target_U_BT", wanted.return_U_BT),
        ("target_high_BT", wanted.return_high_BT),
        ("target_low_BT", wanted.return_low_BT),
    ):
        np.testing.assert_allclose(getattr(found, mine), theirs)
    flat = gae(rewards, lengths, terminated, U, [0.0, 2.0], gamma=0.9, lam=0.8)
    found = estimate(table, VALUES, config.model_copy(update={"estimator": "gae"}))
    for name in ("switch_BT", "subgoal_BT", "action_BT"):
        np.testing.assert_allclose(getattr(found, name), flat.advantage_BT)
    np.testing.assert_allclose(found.target_U_BT, flat.return_BT)
    assert np.isnan(found.target_high_BT).all()
    assert np.isnan(found.target_low_BT).all()


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0),
        ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], 0.0),
        ([2.0, 3.0, 4.0], [1.0, 2.0, 3.0], 1.0),  # a constant error explains all the same
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], -3.0),  # errors -2, 0, 2: variance 8/3 against 2/3
        ([1.0, NAN, 9.0], [1.0, 2.0, NAN], 0.0),  # one entry is left: nothing varies
        ([1.0, 2.0], [5.0, 5.0], 0.0),
        ([NAN], [NAN], 0.0),
    ],
)
def test_explained_variance(value: list[float], target: list[float], expected: float) -> None:
    assert explained_variance(np.array(value), np.array(target)) == pytest.approx(expected)
