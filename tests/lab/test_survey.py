"""Every estimator, measured alike."""

import re
from dataclasses import replace

import numpy as np
import pytest

import hiper.credit
from hiper.lab import survey
from hiper.lab.cases import Effort
from hiper.lab.catalogue import WITHOUT_CRITIC, Estimator, sibling, with_critic
from hiper.lab.estimators import hae_advantage, scores
from hiper.lab.expectation import Lambdas, hae_gradient
from hiper.lab.findings import Findings
from hiper.lab.mdp import FloatArray, IntArray, Tables
from hiper.lab.measure import draw_groups, measured, over_draws, over_pairs, pair_case, undiscounted_case
from hiper.lab.sampling import Episodes, enumerate_all


@pytest.fixture(scope="module")
def found() -> Findings:
    return survey.everyone(Effort(seed=0, worlds=4, drawn_worlds=2, episodes=1600, trainings=0))


def test_every_shipped_estimator_has_a_row(found: Findings) -> None:
    shipped = {name for name in hiper.credit.__all__ if name.islower()} - {"adaptive_lam_boundary", "sibling_values"}
    assert {re.split("[ ,]", row.estimator)[0] for row in found.rows} == shipped
    tried = {(row.estimator, row.critic) for row in found.rows}
    for name in with_critic(1.0):
        for lam in ("0.95", "1"):
            assert {(f"{name}, λ {lam}", critic) for critic in ("exact", "wrong")} < tried
    assert {(name, "none") for name in WITHOUT_CRITIC} < tried
    assert all(np.isfinite([row.variance, row.drawn_variance, row.drawn_test]).all() for row in found.rows)


def test_checks_pass_and_rows_say_who_is_biased(found: Findings) -> None:
    assert len(found.checks) == 6
    assert [check for check in found.checks if not check.passed] == []
    bias = {(row.estimator, row.critic): row.bias for row in found.rows}
    for name in ("hae, λ 0.95", "hae, λ 1", "hae_eb, λ 1", "fixed_hae, in thirds, λ 1", "sibling_hae, adaptive, λ 1"):
        assert bias[name, "exact"] < 1e-12
        assert bias[name, "wrong"] > 1e-3
    for name in survey.TRUSTWORTHY:
        assert bias[name, "wrong"] < 1e-12
        assert bias[name.replace("λ 1", "λ 0.95"), "wrong"] > 1e-4
    assert bias["rloo", "none"] < 1e-12
    assert bias["grpo without std", "none"] == pytest.approx(0.5, abs=1e-12)  # shorter by (n - 1)/n, n = 2
    assert min(bias[name, "none"] for name in WITHOUT_CRITIC if name != "rloo") > 0.01
    assert [claim.verdict for claim in found.claims] == ["holds if", "holds if"]


def test_tables_hold_the_numbers_of_every_world(found: Findings) -> None:
    assert len(found.tables["bias, all pairs, values: none"]["rloo"]) == 4
    assert len(found.tables["bias, all pairs, values: none"]["reinforce_pp"]) == 3  # needs a batch for every pair
    assert len(found.tables["variance, drawn, values: wrong"]["option_gae, λ 0.95"]) == 2
    cosine = found.tables["cosine, all pairs, values: none"]
    assert cosine["grpo without std"] == pytest.approx([1.0] * 4, abs=1e-10)
    assert min(cosine["grpo"]) < 0.99


def test_the_mean_over_pairs_would_notice_a_baseline_that_knows_its_own_episode() -> None:
    case = pair_case(2, "shared")
    lam = Lambdas(low=1.0, high=1.0)

    def plain(v: Tables, e: Episodes, _: IntArray, gamma: float) -> FloatArray:
        return hae_advantage(v, e, gamma, lam)

    def peeking(v: Tables, e: Episodes, group_N: IntArray, gamma: float) -> FloatArray:
        total_N = e.reward_NT.sum(axis=1)
        mean_K = np.bincount(group_N, weights=total_N) / np.bincount(group_N)
        return plain(v, e, group_N, gamma) - mean_K[group_N][:, None]

    expected = hae_gradient(case.world, case.policy, case.wrong, lam)
    for of_batch in (False, True):  # all pairs at once, or each beside a drawn task: the same where that is not heard
        honest = over_pairs(case, Estimator(advantage=plain, of_batch=of_batch), case.wrong)
        np.testing.assert_allclose(honest.mean_HD, expected, atol=1e-13)
        faulty = over_pairs(case, Estimator(advantage=peeking, of_batch=of_batch), case.wrong)
        assert np.abs(faulty.mean_HD - expected).max() > 1e-3


def test_the_check_at_exact_values_would_notice_credit_that_is_scaled_by_its_own_episode() -> None:
    case = pair_case(2, "shared")
    honest = sibling(0.95, "adaptive")

    def lucky(v: Tables, e: Episodes, group_N: IntArray, gamma: float) -> FloatArray:
        return honest.advantage(v, e, group_N, gamma) * (1 + 0.1 * e.reward_NT.sum(axis=1))[:, None]

    assert case.error(over_pairs(case, honest, case.exact).mean_HD) < 1e-12
    assert case.error(over_pairs(case, replace(honest, advantage=lucky), case.exact).mean_HD) > 1e-4


def test_the_variance_of_a_pair_is_half_that_of_an_episode() -> None:
    """Where other episodes mean nothing; the variance of one over all episodes, by hand."""
    case = pair_case(1, "coupled")
    one = with_critic(0.95)["hae_eb"]
    e = enumerate_all(case.world, case.policy)
    advantage_HNT = one.advantage(case.wrong, e, np.arange(len(e.weight_N)), 1.0)
    gradient_ND = np.einsum("hnt,hntd->nd", advantage_HNT, scores(case.world, case.policy, e))
    around_ND = gradient_ND - e.weight_N @ gradient_ND
    by_hand = float(e.weight_N @ (around_ND**2).sum(axis=1))
    assert 2 * over_pairs(case, one, case.wrong).trace == pytest.approx(by_hand, rel=1e-10)


def test_drawn_groups_see_a_bias_that_is_there_and_none_that_is_not() -> None:
    excess = {"exact": 0.0, "wrong": 0.0, "as expected": 0.0}
    null = 0.0
    for seed in range(3):
        case = undiscounted_case(seed)
        one = with_critic(0.95)["hae_eb, switch from values"]
        e, group_N = draw_groups(case, 4000, seed)
        assert one.mean is not None
        for critic, values in (("exact", case.exact), ("wrong", case.wrong)):
            drawn = over_draws(case, values, e, group_N, {"it": one})["it"]
            excess[critic] += drawn.spread.T(case.gradient_D) - 1
        expected_D = one.mean(case.world, case.policy, case.wrong).sum(axis=0)
        excess["as expected"] += drawn.spread.T(expected_D) - 1
        null += drawn.spread.null
    assert excess["wrong"] > survey.DEVIATIONS * null**0.5
    assert abs(excess["exact"]) < 5 * null**0.5
    assert abs(excess["as expected"]) < 5 * null**0.5


def test_a_distance_to_a_known_mean_finds_the_mean_of_an_unknown_one() -> None:
    case = undiscounted_case(4)
    e, group_N = draw_groups(case, 4000, 4)
    known = with_critic(0.95)
    hidden = replace(known["hae"], mean=None)
    both = over_draws(case, case.wrong, e, group_N, {"gae": known["gae"], "hae": known["hae"], "hidden": hidden})
    # Beside itself the distance is 0; beside `gae` alone it is drawn.
    assert both["hidden"].measured.square_bias == pytest.approx(both["hae"].measured.square_bias, rel=1e-9)
    apart = over_draws(case, case.wrong, e, group_N, {"option_gae": known["option_gae"], "hidden": hidden})
    assert apart["hidden"].measured.bias == pytest.approx(both["hae"].measured.bias, abs=0.05)


def test_measures_by_hand() -> None:
    case = pair_case(0, "shared")
    length = float(case.gradient_D @ case.gradient_D)
    found = measured(case, 2 * case.gradient_D, 3 * length, uncertain=0.25 * length)
    assert (found.square_bias, found.square_length, found.cosine, found.variance) == pytest.approx((0.75, 3.75, 1, 3))


def test_a_token_for_each_decision_is_option_gae_at_lambda_1_alone() -> None:
    case = pair_case(3, "shared")
    e = enumerate_all(case.world, case.policy)
    nobody_N = np.arange(len(e.weight_N))
    distances = []
    for lam in (1.0, 0.95):
        token, option = (
            with_critic(lam)[name].advantage(case.wrong, e, nobody_N, 1.0)
            for name in ("token_gae, a token for each decision", "option_gae")
        )
        made_HNT = option != 0
        assert (token[~made_HNT] == 0).all()
        distances.append(float(np.abs(token - option).max()))
    assert distances[0] < 1e-12
    assert distances[1] > 1e-3
    assert survey._one_token(Effort(seed=3, worlds=1, drawn_worlds=0, episodes=0, trainings=0)) == 0.0
