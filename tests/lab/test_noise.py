"""Variance: what is a theorem, what is typical, and what fails."""

import numpy as np
import pytest

from hiper.lab import noise
from hiper.lab.cases import Effort, random_case
from hiper.lab.examples import baseline_by_luck, chain_and_coin, rewarded_keeping_or_not
from hiper.lab.mdp import Sharing
from hiper.lab.sampling import enumerate_all

ALL_LAMBDAS = (0.0, 0.5, 0.9, 0.95, 1.0)


@pytest.mark.parametrize(
    ("sharing", "lam", "switch", "subgoal", "action", "eb_subgoal", "eb_action"),
    [
        ("shared", 0.0, 0.352, 0.324, 0.973, 1.000, 1.000),
        ("shared", 0.95, 1.143, 0.797, 1.388, 1.425, 1.391),
        ("shared", 1.0, 1.429, 1.000, 1.503, 1.570, 1.503),
        ("separate", 0.9, 0.938, 0.664, 1.295, 1.306, 1.298),
    ],
)
def test_token_variance_has_the_published_ratios(
    sharing: Sharing, lam: float, switch: float, subgoal: float, action: float, eb_subgoal: float, eb_action: float
) -> None:
    """Geometric means over 24 worlds of gae / hae and gae / hae_eb."""
    logs = []
    for seed in range(24):
        flat, hae, eb = noise._token_variances(random_case(seed, sharing), lam)
        logs.append(np.log([*(flat / hae), *(flat / eb)[1:]]))
    found = np.exp(np.mean(logs, axis=0))
    assert found == pytest.approx([switch, subgoal, action, eb_subgoal, eb_action], abs=5.1e-4)


def test_subgoal_variance_is_never_below_flat_and_equal_at_lambda_one() -> None:
    for seed in range(30, 36):
        case = random_case(seed, "coupled")
        for lam in ALL_LAMBDAS:
            flat, hae, eb = noise._token_variances(case, lam)
            assert hae[1] >= flat[1] * (1 - 1e-10)
            assert (eb[1:] <= flat[1:] * (1 + 1e-10)).all()
        assert hae[1] == pytest.approx(flat[1], rel=1e-10)
        assert (hae <= flat * (1 + 1e-10)).all()


@pytest.mark.parametrize("lam", [0.5, 0.9, 0.95, 1.0])
def test_example_a_an_action_pays_for_the_next_switch(lam: float) -> None:
    flat, hae = noise.example_spreads(rewarded_keeping_or_not(), lam)
    assert flat.trace == pytest.approx(0.5 * lam**2, abs=1e-12)  # the noise ±1 with weight λ, times |score|² = .5
    assert hae.trace == pytest.approx(0.5, abs=1e-12)
    example = rewarded_keeping_or_not()
    e = enumerate_all(example.world, example.policy)
    found = noise.advantages(example.tables, e, 1.0, lam)
    np.testing.assert_allclose(found["hae_eb"][2, :, 0], found["gae"][2, :, 0], atol=1e-12)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_example_b_an_unlucky_baseline_makes_hae_noisier(lam: float) -> None:
    flat, hae = noise.example_spreads(baseline_by_luck(), lam)
    assert (flat.trace, hae.trace) == pytest.approx((0.02655, 0.08415), abs=1e-12)


@pytest.mark.parametrize(("lam", "ratio"), [(0.5, 256.0), (0.9, 2.3230573), (0.95, 1.5073397), (1.0, 1.0)])
def test_example_c_a_subgoal_hears_the_end_of_its_segment_undiminished(lam: float, ratio: float) -> None:
    flat, hae = noise.example_spreads(chain_and_coin(), lam)
    assert hae.trace_H[1] / flat.trace_H[1] == pytest.approx(ratio, rel=1e-6)
    assert hae.trace_H[2] / flat.trace_H[2] == pytest.approx(1, rel=1e-12)


def test_whole_gradient_agrees_with_the_published_ratios() -> None:
    """.64, 1.15 and 1.32 at λ 0, .95 and 1 with shared parameters; the cut of the trace, not the baselines, does it."""
    findings = noise.gradient_variance(Effort(seed=0, worlds=0, drawn_worlds=2, episodes=2000, trainings=0))
    assert [check for check in findings.checks if not check.passed] == []
    better = findings.tables["gae over other"]
    means = {name: float(np.exp(np.mean(np.log(found)))) for name, found in better.items()}
    assert means["hae, λ 0"] == pytest.approx(0.62, abs=0.08)
    assert means["hae, λ 0.95"] == pytest.approx(1.14, abs=0.08)
    assert means["hae, λ 1"] == pytest.approx(1.31, abs=0.09)
    assert means["option_gae, λ 0.95"] == pytest.approx(1.0, abs=0.02)
    assert means["hae, lam_boundary 1, λ 1"] == pytest.approx(1.0, abs=0.02)
    assert max(np.abs(findings.tables["covariance between heads, separate"]["hae, λ 1"])) < 1e-12


def test_checks_of_token_variance_pass() -> None:
    findings = noise.token_variance(Effort(seed=3, worlds=2, drawn_worlds=0, episodes=0, trainings=0))
    assert [check for check in findings.checks if not check.passed] == []
    assert [claim.verdict for claim in findings.claims] == ["holds", "fails", "holds"]
