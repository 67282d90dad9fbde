"""Agents and critics that learn together."""

from itertools import product

import numpy as np
import pytest

from hiper.lab import training
from hiper.lab.cases import Effort
from hiper.lab.findings import half_width, student
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


@pytest.mark.parametrize(("df", "t"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (7, 2.3646), (8, 2.3060), (120, 1.9799)])
def test_students_quantile_is_that_of_the_printed_tables(df: int, t: float) -> None:
    assert student(df) == pytest.approx(t, abs=6e-5)


def test_an_interval_of_eight_tasks_holds_the_truth_in_95_of_100_draws() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 8))
    held = np.mean([abs(values.mean()) < half_width(values) for values in draws])
    two_errors = np.mean(np.abs(draws.mean(axis=1)) < 2 * draws.std(axis=1, ddof=1) / 8**0.5)
    assert held == pytest.approx(0.95, abs=0.012)
    assert two_errors < 0.93


def test_a_race_is_won_by_a_clear_difference_and_undecided_by_one_task() -> None:
    def verdict(one: list[float], other: list[float]) -> list[str]:
        return [claim.verdict for claim in training._race("ours", "it is faster", one, other)]

    assert verdict([0.9, 0.8, 0.9], [0.5, 0.4, 0.5]) == ["holds"]
    assert verdict([0.5, 0.4, 0.5], [0.9, 0.8, 0.9]) == ["fails"]
    # The mean difference .1 is more than two standard errors of .04, and less than 4.30 of them.
    assert verdict([0.56, 0.68, 0.56], [0.5, 0.5, 0.5]) == ["undecided"]
    assert verdict([0.9], [0.1]) == []


def test_no_task_is_judged_at_a_rate_that_it_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(case: training.Case, estimator: training.Estimator, *, exact_critic: bool, rate: float) -> float:
        return {0.1: 0.5, 0.3: 0.6, 1.0: 0.7}.get(rate, 0.0 if case.seed == 1 else 1.0)  # at 3 the second one fails

    monkeypatch.setattr(training, "_train", train)
    for tasks, judged in ((8, [1.0, 0.0, *[1.0] * 6]), (3, [0.7, 0.0, 0.7])):
        findings = training.training(Effort(seed=0, worlds=0, drawn_worlds=0, episodes=0, trainings=tasks))
        assert findings.tables["gain over training, chain of 6, rate chosen on the other tasks"]["gae"] == judged
        assert len(findings.claims) == len(training.RACES) * len(training.LENGTHS)
