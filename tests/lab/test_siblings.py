"""Estimators that compare the episodes of a task."""

import numpy as np
import pytest

from hiper.lab import pairs, siblings
from hiper.lab.cases import Effort, task_case
from hiper.lab.estimators import hae_advantage
from hiper.lab.expectation import Lambdas, hae_gradient
from hiper.lab.mdp import FloatArray, IntArray
from hiper.lab.sampling import Episodes


def test_sibling_hae_is_unbiased_where_its_derivation_says_so() -> None:
    findings = pairs.heard(Effort(seed=2, worlds=0, drawn_worlds=0, episodes=0, trainings=0))
    assert len(findings.checks) == 2
    assert [check for check in findings.checks if not check.passed] == []
    (claim,) = findings.claims
    assert claim.verdict == "holds if"


def test_the_mean_over_pairs_would_notice_a_baseline_that_knows_its_own_episode() -> None:
    case = pairs.pair_case(2, "shared")
    lam = Lambdas(low=1.0, high=1.0)

    def plain(e: Episodes, group_N: IntArray) -> FloatArray:
        return hae_advantage(case.wrong, e, 1.0, lam)

    def peeking(e: Episodes, group_N: IntArray) -> FloatArray:
        total_N = e.reward_NT.sum(axis=1)
        mean_K = np.bincount(group_N, weights=total_N) / np.bincount(group_N)
        return plain(e, group_N) - mean_K[group_N][:, None]

    expected = hae_gradient(case.world, case.policy, case.wrong, lam)
    found = pairs.mean_over_pairs(case, plain, witnesses=2)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    assert np.abs(pairs.mean_over_pairs(case, peeking, witnesses=2) - expected).max() > 1e-3


def test_rloo_is_unbiased_and_dividing_by_the_deviation_is_not() -> None:
    findings = pairs.comparisons(Effort(seed=0, worlds=3, drawn_worlds=0, episodes=0, trainings=0))
    assert [check for check in findings.checks if not check.passed] == []
    length, angle = findings.tables["length over pairs"], findings.tables["cosine over pairs"]
    assert length["rloo"] == pytest.approx([1.0] * 9, abs=1e-10)
    assert length["grpo without std"] == pytest.approx([0.5] * 9, abs=1e-10)  # (n - 1)/n with n = 2
    assert angle["grpo without std"] == pytest.approx([1.0] * 9, abs=1e-10)
    assert min(angle["grpo"]) < 0.99


def test_siblings_help_where_the_critic_knows_nothing() -> None:
    findings = siblings.groups(Effort(seed=0, worlds=0, drawn_worlds=3, episodes=2400, trainings=0))
    noise = findings.tables["noise, tasks, untrained critic"]
    bias = findings.tables["bias, tasks, untrained critic"]
    for seed in range(3):
        assert noise["sibling_hae, lam_boundary 1, λ 1"][seed] < noise["gae, λ 1"][seed]
    assert np.mean(bias["sibling_hae, adaptive"]) < np.mean(bias["hae, lam_boundary 0"])
    assert np.mean(findings.tables["bias, tasks, exact critic"]["sibling_hae, adaptive"]) < 0.02
    # Measured by its distance to itself: what is found for a plain estimator is exact.
    case = task_case(0)
    lam = Lambdas(low=siblings.LAM, high=siblings.LAM)
    untrained = siblings.CRITICS["untrained"](case)
    assert bias["hae, lam_boundary 0"][0] == pytest.approx(
        case.bias(hae_gradient(case.world, case.policy, untrained, lam)), rel=1e-9
    )


def test_groups_start_in_one_state() -> None:
    e, group_N = siblings._draw_groups(task_case(1), 80, seed=3)
    for group in range(10):
        assert len(set(e.state_NT[group_N == group, 0])) == 1
    assert len(set(e.state_NT[:, 0])) > 1
