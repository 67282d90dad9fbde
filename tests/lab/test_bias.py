"""Bias: where the mean of an estimator is the gradient, and where it must not be."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.lab import bias
from hiper.lab.cases import LAMBDAS, SHARINGS, Effort, random_case, small_case
from hiper.lab.catalogue import alone
from hiper.lab.estimators import fixed_advantage, gae_advantage, hae_advantage, scores, spread, token_advantage
from hiper.lab.expectation import Lambdas, clock_rule, flat_gradient, hae_gradient, token_gradient
from hiper.lab.findings import Findings
from hiper.lab.mdp import Sharing
from hiper.lab.sampling import draw, enumerate_all

TINY = Effort(seed=0, worlds=2, drawn_worlds=2, episodes=400, trainings=0)
PUBLISHED = {"separate": 20, "shared": 24, "coupled": 20}  # worlds behind the published means


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("name", [name for name in bias.KNOWN if "blind" not in name])
def test_unbiased_at_exact_values_for_every_lambda(sharing: Sharing, name: str) -> None:
    case = random_case(5, sharing)
    for lam in LAMBDAS:
        assert case.error(bias.mean_of(name, lam)(case.world, case.policy, case.exact)) <= 1e-12


@settings(max_examples=12)
@given(
    seed=st.integers(0, 50),
    sharing=st.sampled_from(SHARINGS),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
    boundary=st.floats(0, 1),
)
def test_shipped_estimators_have_the_mean_that_the_oracle_says(
    seed: int, sharing: Sharing, low: float, high: float, boundary: float
) -> None:
    """Over all episodes of a small world, under wrong values."""
    case = small_case(seed, sharing)
    world, policy, wrong, gamma = case.world, case.policy, case.wrong, case.world.gamma
    e = enumerate_all(world, policy)
    scores_HNTD = scores(world, policy, e)
    lam = Lambdas(low=low, high=high, boundary=boundary)
    pairs = {"hae, mixed": (hae_advantage(wrong, e, gamma, lam), hae_gradient(world, policy, wrong, lam))} | {
        name: (
            one.advantage(wrong, e, np.arange(len(e.weight_N)), gamma),
            bias.mean_of(name, low)(world, policy, wrong),
        )
        for name, one in alone(low).items()
    }
    for name, (advantage_HNT, expected_HD) in pairs.items():
        found_HD = spread(scores_HNTD, advantage_HNT, e.weight_N).mean_HD
        np.testing.assert_allclose(found_HD, expected_HD, rtol=0, atol=1e-12, err_msg=name)


def test_the_comparison_would_notice_a_faulty_estimator() -> None:
    case = small_case(1, "shared")
    e = enumerate_all(case.world, case.policy)
    scores_HNTD = scores(case.world, case.policy, e)
    lam, gamma = Lambdas(low=0.8, high=0.6), case.world.gamma
    right = hae_gradient(case.world, case.policy, case.wrong, lam)
    by_clock = flat_gradient(case.world, case.policy, clock_rule(case.wrong, 0.8, 2))
    by_token = token_gradient(case.world, case.policy, case.wrong, 0.8)
    others = (
        (fixed_advantage(case.wrong, e, gamma, 0.8, 1), by_clock),
        (gae_advantage(case.wrong, e, gamma, 0.8), by_clock),
        (gae_advantage(case.wrong, e, gamma, 0.8), by_token),
        (token_advantage(case.wrong, e, gamma, 0.81), by_token),
    )
    for advantage_HNT, expected_HD in others:
        assert np.abs(spread(scores_HNTD, advantage_HNT, e.weight_N).mean_HD - expected_HD).max() > 1e-5
    faulty = (
        hae_advantage(case.wrong, e, 0.99 * gamma, lam),
        hae_advantage(case.wrong, e, gamma, Lambdas(low=0.8, high=0.6, boundary=0.1)),
        hae_advantage(case.wrong, e, gamma, lam)[[1, 0, 2]],
    )
    for advantage_HNT in faulty:
        assert np.abs(spread(scores_HNTD, advantage_HNT, e.weight_N).mean_HD - right).max() > 1e-7


@pytest.mark.parametrize("sharing", SHARINGS)
def test_unbiased_by_drawing_at_exact_values(sharing: Sharing) -> None:
    """T has mean 1 and a known variance if there is no bias; at wrong values it must leave that range."""
    excess, null, excess_wrong = 0.0, 0.0, 0.0
    for seed in range(6):
        case = random_case(seed, sharing)
        e = draw(case.world, case.policy, 3000, seed)
        scores_HNTD = scores(case.world, case.policy, e)
        lam = Lambdas(low=0.5, high=0.5)
        exact, wrong = (
            spread(scores_HNTD, hae_advantage(values, e, case.world.gamma, lam), e.weight_N)
            for values in (case.exact, case.wrong)
        )
        excess += exact.T(case.gradient_D) - 1
        null += exact.null
        excess_wrong += wrong.T(case.gradient_D) - 1
    assert abs(excess) < 5 * null**0.5
    assert excess_wrong > 2 * excess
    assert excess_wrong > 3 * null**0.5


@pytest.mark.parametrize(
    ("name", "lam", "expected"),
    [
        ("gae", 0.95, (0.0174, 0.0168, 0.0188)),
        ("gae, critic blind to the subgoal", 0.0, (0.3003, 0.2836, 0.3322)),
        ("hae", 0.0, (0.1933, 0.2127, 0.2217)),
        ("hae", 0.95, (0.0399, 0.0548, 0.0599)),
        ("hae", 1.0, (0.0371, 0.0525, 0.0577)),
        ("hae, lam_boundary 1", 0.95, (0.0106, 0.0112, 0.0111)),
        ("hae_eb, switch from values", 1.0, (0.1871, 0.2062, 0.1874)),
    ],
)
def test_bias_that_must_appear_at_wrong_values(name: str, lam: float, expected: tuple[float, ...]) -> None:
    """Means over worlds, published to four digits."""
    for (sharing, worlds), known in zip(PUBLISHED.items(), expected, strict=True):
        cases = (random_case(seed, sharing) for seed in range(worlds))
        biases = [case.bias(bias.mean_of(name, lam)(case.world, case.policy, case.wrong)) for case in cases]
        assert np.mean(biases) == pytest.approx(known, abs=5.1e-5)


@pytest.mark.parametrize("name", ["gae", "hae, lam_boundary 1"])
def test_no_bias_at_any_values_with_all_lambdas_one(name: str) -> None:
    for sharing in SHARINGS:
        case = random_case(9, sharing)
        assert case.error(bias.mean_of(name, 1.0)(case.world, case.policy, case.wrong)) < 1e-12


def test_u_in_place_of_v_high_is_biased_and_switch_credit_needs_its_factor() -> None:
    findings = bias.switches(Effort(seed=0, worlds=1, drawn_worlds=0, episodes=0, trainings=0))
    u_for_v = findings.tables["U in place of V_high"]
    assert [u_for_v[f"hae, λ {lam}"][0] for lam in ("0", "0.9", "1")] == pytest.approx(
        [0.0948, 0.0419, 0.0409], abs=5e-5
    )
    share = findings.tables["switch signal, share of the true one"]
    assert share["return to the next boundary - U"] == pytest.approx([1, 1, 1], abs=1e-10)
    assert share["(q - β)(V_high - V_low)"] == pytest.approx([1, 1, 1], abs=1e-10)
    assert share["V_high - V_low"] == pytest.approx([0, 0, 0], abs=1e-12)
    assert share["A_high at boundaries"] == pytest.approx([0, 0, 0], abs=1e-12)


def test_stale_v_high_turns_the_sign_in_example_d() -> None:
    true, hae, gae = bias._reinterpreted()
    assert (true, hae, gae) == pytest.approx((-0.2001248, 0.2001248, -0.2001248), abs=1e-7)


def test_bias_of_stale_values_grows_with_the_step() -> None:
    """Published means over 24 worlds with heads of their own: .0026, .0079, .0264, .0800."""
    found: dict[float, list[float]] = {step: [] for step in bias.STEPS}
    for seed in range(24):
        before = random_case(seed, "separate")
        for step, biases in found.items():
            after = before.moved(step * before.gradient_D / np.linalg.norm(before.gradient_D))
            biases.append(after.bias(bias.STALE["hae, λ 0.95"](after.world, after.policy, before.exact)))
    assert [np.mean(x) for x in found.values()] == pytest.approx([0.0026, 0.0079, 0.0264, 0.0800], abs=5.1e-5)


@pytest.mark.parametrize("study", [bias.oracle, bias.values, bias.staleness, bias.discount])
def test_checks_of_a_study_pass(study: Callable[[Effort], Findings]) -> None:
    findings = study(TINY)
    assert [check for check in findings.checks if not check.passed] == []
    assert findings.checks or findings.claims
