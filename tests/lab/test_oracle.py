"""The oracle itself: values, gradient, moments and episodes, each against another way to get them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hiper.lab.cases import SHARINGS, Case, random_case, small_case
from hiper.lab.estimators import hae_advantage
from hiper.lab.expectation import Lambdas, action_rule, segment_rule, target_moments
from hiper.lab.gradient import difference_gradient
from hiper.lab.mdp import Policy, Sharing, World, expected_return, make_policy, switch_probability, visits
from hiper.lab.pitfalls import penalty_gradient
from hiper.lab.sampling import draw, enumerate_all, read


@pytest.mark.parametrize("sharing", SHARINGS)
@pytest.mark.parametrize("seed", [0, 11])
def test_gradient_is_the_slope_of_the_return(sharing: Sharing, seed: int) -> None:
    case = random_case(seed, sharing)
    directions = np.eye(case.theta_D.size)[:: max(1, case.theta_D.size // 12)]
    slopes = difference_gradient(case.world, case.features, case.theta_D, directions)
    np.testing.assert_allclose(directions @ case.gradient_D, slopes, rtol=0, atol=1e-9)


def test_known_numbers_of_one_world() -> None:
    folder = os.environ.get("HIPER_HAE_DATA")
    if not folder:
        pytest.skip("set HIPER_HAE_DATA to the folder of fixture_shared_seed0.json")
    known = json.loads((Path(folder) / "fixture_shared_seed0.json").read_text(encoding="utf-8"))
    case = random_case(0, "shared")
    assert expected_return(case.world, case.policy) == pytest.approx(known["J"], abs=1e-14)
    np.testing.assert_allclose(case.world.next_SAS, known["P"], atol=1e-15)
    np.testing.assert_allclose(case.theta_D, known["theta"], atol=1e-15)
    # At turn 0 there is no choice, so U is V_high there; the file has the value with one.
    np.testing.assert_allclose(case.exact.U_TSO[1:], np.array(known["U"])[1:], atol=1e-14)
    np.testing.assert_allclose(case.exact.U_TSO[0, :, 0], case.exact.V_high_TS[0], atol=1e-14)
    np.testing.assert_allclose(case.exact.V_low_TSO, known["VL"], atol=1e-14)
    np.testing.assert_allclose(case.exact.V_high_TS, np.array(known["VH"])[:, :, 0], atol=1e-14)
    np.testing.assert_allclose(case.gradient_HD, known["grad_heads_qoa"], atol=1e-14)


@pytest.mark.parametrize("cut", [None, 2])
def test_all_episodes_have_probability_one_and_the_right_mean_return(cut: int | None) -> None:
    case = small_case(3, "shared")
    e = enumerate_all(case.world, case.policy, cut=cut)
    assert e.weight_N.sum() == pytest.approx(1, abs=1e-14)
    discount_T = case.world.gamma ** np.arange(e.reward_NT.shape[1])
    after_N = np.where(e.terminated_N, 0.0, case.world.gamma**e.length_N * read(case.exact, e).U_final_N)
    assert e.weight_N @ (e.reward_NT @ discount_T + after_N) == pytest.approx(
        expected_return(case.world, case.policy), abs=1e-14
    )


def test_drawn_episodes_visit_what_they_should() -> None:
    case = random_case(1, "coupled")
    e = draw(case.world, case.policy, 40_000, seed=5)
    _, act_TSO = visits(case.world, case.policy)
    seen_TSO = np.zeros_like(act_TSO)
    turn_NT = np.broadcast_to(np.arange(case.world.horizon), e.state_NT.shape)
    np.add.at(seen_TSO, (turn_NT[e.mask_NT], e.state_NT[e.mask_NT], e.subgoal_NT[e.mask_NT]), 1 / 40_000)
    np.testing.assert_allclose(seen_TSO, act_TSO, atol=5 * 0.5 / 40_000**0.5)  # 5 standard errors at most
    start_mean = e.reward_NT @ case.world.gamma ** np.arange(case.world.horizon)
    error = start_mean.std() / 40_000**0.5
    assert abs(start_mean.mean() - expected_return(case.world, case.policy)) < 5 * error


def test_given_starts_stay_where_they_were_put() -> None:
    case = random_case(2, "shared")
    starts = np.repeat([4, 0, 2], 7)
    np.testing.assert_array_equal(draw(case.world, case.policy, 21, 0, starts_N=starts).state_NT[:, 0], starts)


def test_moments_are_those_of_the_targets_that_hae_reads() -> None:
    """Mean and variance of M and of A_low + V_low after each (turn, state, subgoal, action), over all episodes."""
    case = small_case(4, "shared")
    lam = Lambdas(low=0.8, high=0.6, boundary=0.3)
    e = enumerate_all(case.world, case.policy)
    r = read(case.wrong, e)
    _, subgoal_NT, action_NT = hae_advantage(case.wrong, e, case.world.gamma, lam)
    boundary_NT = e.mask_NT & (e.switch_NT | (np.arange(3) == 0))
    for rule, target_NT, where_NT in (
        (action_rule(case.wrong, lam), action_NT + r.V_low_NT, e.mask_NT),
        (segment_rule(case.wrong, lam.high), subgoal_NT + r.V_high_NT, boundary_NT),
    ):
        moments = target_moments(case.world, case.policy, rule)
        found = 0
        for t, s, o, a in np.ndindex(3, 2, 2, 2):
            here_N = where_NT[:, t] & (e.state_NT[:, t] == s) & (e.subgoal_NT[:, t] == o) & (e.action_NT[:, t] == a)
            weight_N = e.weight_N[here_N] / e.weight_N[here_N].sum()
            target_N = target_NT[here_N, t]
            assert moments.mean_TSOA[t, s, o, a] == pytest.approx(weight_N @ target_N, abs=1e-12)
            assert moments.square_TSOA[t, s, o, a] == pytest.approx(weight_N @ target_N**2, abs=1e-12)
            found += 1
        assert found == 24


def test_penalty_gradient_is_the_slope_of_the_number_of_keeps() -> None:
    case = random_case(6, "shared")

    def keeps(world: World, policy: Policy) -> float:
        arrive_TSO, _ = visits(world, policy)
        kept_T = (arrive_TSO * (1 - switch_probability(world, policy))).sum(axis=(1, 2))
        return float(world.gamma ** np.arange(world.horizon) @ kept_T)

    def cost(theta: np.ndarray) -> float:
        return -0.3 * keeps(case.world, make_policy(case.features, theta))

    steps = 1e-5 * np.eye(case.theta_D.size)
    slopes = [(cost(case.theta_D + step) - cost(case.theta_D - step)) / 2e-5 for step in steps]
    found_D = penalty_gradient(case.world, case.policy, case.exact, 0.3).sum(axis=0)
    np.testing.assert_allclose(found_D, slopes, atol=1e-8)


def test_noise_of_rewards_enters_the_square_of_a_target_once_a_turn() -> None:
    case: Case = random_case(0, "shared")
    quiet = replace(case.world, noise=0.0)
    rule = segment_rule(case.exact, 1.0)
    loud_TSOA, quiet_TSOA = (target_moments(w, case.policy, rule).square_TSOA for w in (case.world, quiet))
    assert (loud_TSOA - quiet_TSOA)[-1, :5].ravel() == pytest.approx(0.3**2)
    assert (loud_TSOA - quiet_TSOA)[-1, 5].ravel() == pytest.approx(0.0)
