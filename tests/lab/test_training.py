"""Agents and critics that learn together."""

from itertools import product

import numpy as np
import pytest

from hiper.lab import training
from hiper.lab.mdp import exact_tables, untrained
from hiper.lab.sampling import enumerate_all


def test_the_best_value_is_that_of_walking_straight_on() -> None:
    for length in (3, 6):
        world = training.chain_task(length, length)
        best_S = training._best_values(world)
        assert best_S[0] == pytest.approx(0.95 ** (length - 1))  # the last of `length` steps pays 1
        assert best_S[length] == 0.0


def test_a_critic_moves_towards_the_mean_of_its_targets_where_it_was_met() -> None:
    case = training._beginner(0, 2)
    e = enumerate_all(case.world, case.policy, cut=3)
    ones = np.ones((3, *e.state_NT.shape))
    fitted = training._fitted(untrained(case.exact), e, ones)
    met = {(t, s, o) for t, s, o in product(range(3), range(2), range(3)) if t >= s}
    for t, s, o in product(range(4), range(3), range(3)):
        assert fitted.V_low_TSO[t, s, o] == pytest.approx(training.CRITIC_RATE if (t, s, o) in met else 0.0)
        assert fitted.U_TSO[t, s, o] == pytest.approx(training.CRITIC_RATE if (t, s, o) in met and t else 0.0)
        assert fitted.V_high_TS[t, s] == pytest.approx(training.CRITIC_RATE if (t, s, o) in met else 0.0)


def test_a_critic_fitted_to_exact_values_stays_there() -> None:
    case = training._beginner(1, 2)
    e = enumerate_all(case.world, case.policy, cut=3)
    exact = exact_tables(case.world, case.policy)
    turn = np.arange(3)
    targets = np.stack(
        [
            exact.U_TSO[turn, e.state_NT, e.last_subgoal_NT],
            exact.V_high_TS[turn, e.state_NT],
            exact.V_low_TSO[turn, e.state_NT, e.subgoal_NT],
        ]
    )
    fitted = training._fitted(exact, e, targets)
    np.testing.assert_allclose(fitted.U_TSO, exact.U_TSO, atol=1e-15)
    np.testing.assert_allclose(fitted.V_high_TS, exact.V_high_TS, atol=1e-15)
    np.testing.assert_allclose(fitted.V_low_TSO, exact.V_low_TSO, atol=1e-15)


def test_a_fast_actor_breaks_hae_and_not_flat_gae_on_a_long_chain() -> None:
    gains = {
        name: np.mean(
            [training._train(training._beginner(seed, 10), training.ARMS[name][0], exact_critic=False, rate=1.0)
             for seed in range(2)]
        )
        for name in ("gae", "hae")
    }  # fmt: skip
    assert gains["gae"] > 0.9
    assert gains["hae"] < gains["gae"] - 0.1
