"""What is done around the estimator: scales, cut episodes, rewards for keeping."""

import numpy as np
import pytest

from hiper.lab import pitfalls
from hiper.lab.cases import Effort, random_case
from hiper.lab.estimators import hae_advantage
from hiper.lab.sampling import draw

SOME = Effort(seed=0, worlds=4, drawn_worlds=4, episodes=2000, trainings=0)


def test_one_scale_for_all_levels_example_e() -> None:
    """Normalised level by level the gradient turns round: .25/.559 - .15/.25 = -.153 where .25 - .15 = .10 is true."""
    assert pitfalls._opposed() == pytest.approx((0.10, -0.1527864), abs=1e-7)


def test_normalising_a_switch_credit_without_noise_turns_shared_gradients() -> None:
    table = pitfalls.scales(SOME).tables
    assert min(table["cosine with the gradient, hae"]["shared"]) > 0.95
    assert min(table["cosine with the gradient, hae_eb, switch from values"]["shared"]) < 0.9


def test_truncation_needs_u_after_the_cut() -> None:
    findings = pitfalls.truncation(Effort(seed=0, worlds=0, drawn_worlds=6, episodes=4000, trainings=0))
    assert [check for check in findings.checks if not check.passed] == []
    means = {name: float(np.mean(found)) for name, found in findings.tables["bias of a cut episode"].items()}
    assert means["0"] > 0.05
    assert means["V_low of the last turn, V_high of its segment"] > 0.05
    assert means["V_high after the cut"] > 0.04
    assert 0.005 < means["V_low after the cut"] < 0.06


def test_a_cut_changes_open_quantities_alone() -> None:
    case = random_case(0, "shared")
    e = draw(case.world, case.policy, 200, 0, cut=pitfalls.CUT)
    right = hae_advantage(case.exact, e, case.world.gamma, pitfalls.LAM)
    ended = case.world.ends_S[e.final_state_N]
    assert 0 < ended.sum() < 200
    for wrong in pitfalls._cut_short(case, e).values():
        np.testing.assert_array_equal(wrong[:, ended], right[:, ended])
        assert (np.abs(wrong - right).max(axis=(0, 2))[~ended] > 0).all()


def test_a_penalty_on_keep_changes_the_optimum_example_h() -> None:
    findings = pitfalls.shaping(SOME)
    (claim,) = findings.claims
    assert claim.numbers["example H, gradient of the switch logit"] == "-0.050, with a penalty of 0.3 +0.025"
    assert claim.verdict == "fails"
