"""Estimators that listen to the other episodes of a task."""

import numpy as np
import pytest

from hiper.lab import hidden, siblings
from hiper.lab.cases import Effort, task_case
from hiper.lab.catalogue import Estimator, adaptive_hae
from hiper.lab.estimators import hae_advantage
from hiper.lab.expectation import Lambdas, hae_gradient
from hiper.lab.measure import draw_groups


def test_siblings_help_where_the_critic_knows_nothing() -> None:
    findings = siblings.groups(Effort(seed=0, worlds=0, drawn_worlds=3, episodes=2400, trainings=0))
    noise = findings.tables["noise, tasks, untrained critic"]
    bias = findings.tables["bias, tasks, untrained critic"]
    for seed in range(3):
        assert noise["sibling_hae, lam_boundary 1, λ 1"][seed] < noise["gae, λ 1"][seed]
    assert np.mean(bias["sibling_hae, adaptive, N 1"]) < np.mean(bias["hae, lam_boundary 0"])
    assert np.mean(findings.tables["bias, tasks, exact critic"]["sibling_hae, adaptive, N 1"]) < 0.02
    # Measured by its distance to itself: what is found for a plain estimator is exact.
    case = task_case(0)
    lam = Lambdas(low=siblings.LAM, high=siblings.LAM)
    untrained = siblings.CRITICS["untrained"](case)
    assert bias["hae, lam_boundary 0"][0] == pytest.approx(
        case.bias(hae_gradient(case.world, case.policy, untrained, lam)), rel=1e-9
    )


def test_the_verdict_on_adaptive_carrying_follows_the_numbers() -> None:
    def verdict(excess: dict[str, float]) -> tuple[str, str]:
        """Of square errors that are `excess` times those of the better fixed one, by N and for 64 and more episodes."""
        tables = {}
        for count in siblings.BATCHES:
            for where in siblings.PLACES:
                tables[f"square error of {count} episodes, {where}"] = {
                    "hae, lam_boundary 0": [1.0, 3.0],
                    "hae, lam_boundary 1": [2.0, 1.5],
                    **{f"hae, adaptive {way}": [x, 1.5 * x] for way, x in excess.items()},
                }
        claim = siblings._adapts(tables)
        return claim.verdict, claim.condition

    way, one, batch = "by explained variance", "by groups", "by groups for the batch"
    assert verdict({way: 1.0, one: 1.09, batch: 1.05})[0] == "holds"
    assert verdict({way: 1.2, one: 1.3, batch: 1.11}) == (
        "fails",
        "so it is: nowhere. Square error over that of the better one, all worlds and critics; "
        "the worst average of a kind and critic:",
    )
    found, condition = verdict({way: 1.2, one: 1.3, batch: 1.05})
    assert found == "holds if"
    assert "by groups, N = the batch, 64 episodes" in condition
    assert "N = 1" not in condition


def test_the_verdict_on_noise_names_the_critics_of_its_rows() -> None:
    def claim(siblings_noise: dict[str, list[float]]) -> tuple[str, str]:
        noise = {
            f"noise, {where}": {
                "gae, λ 1": [1.0, 1.0],
                "sibling_hae, lam_boundary 1, λ 1": siblings_noise.get(where, [0.9, 0.9]),
            }
            for where in siblings.PLACES
        }
        found = siblings._less_noise(noise)
        return found.verdict, found.condition

    assert claim({})[0] == "holds"
    verdict, condition = claim({"tasks, wrong critic": [0.5, 1.1]})
    assert verdict == "holds if"
    assert "tasks, wrong critic" not in condition
    assert "tasks, untrained critic" in condition
    assert claim({where: [0.5, 1.1] for where in siblings.PLACES})[0] == "fails"


def test_the_episodes_of_an_update_decide_how_much_is_carried() -> None:
    """With a hopeless critic N = 1 carries a part over a boundary, many episodes nearly all of it."""
    case = task_case(0)
    e, group_N = draw_groups(case, 800, seed=0)
    wrong = siblings.CRITICS["wrong"](case)
    cut, carried = (
        hae_advantage(wrong, e, 0.95, Lambdas(low=0.95, high=0.95, boundary=boundary)) for boundary in (0.0, 1.0)
    )

    def share(estimator: Estimator) -> float:
        """Of the way from `cut` to `carried`."""
        moved = estimator.advantage(wrong, e, group_N, 0.95) - cut
        return float((moved * (carried - cut)).sum() / ((carried - cut) ** 2).sum())

    shares = [share(adaptive_hae(0.95, count)) for count in (1, 64, 16384)]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert shares[2] > 0.9
    assert share(adaptive_hae(0.95, None)) == share(adaptive_hae(0.95, 800))


def test_who_is_nearer_is_said_batch_by_batch() -> None:
    tables = {
        f"square error of {count} episodes, {where}": {"one": [float(count)], "gae, λ 0.95": [1000.0]}
        for count in siblings.BATCHES
        for where in siblings.PLACES
    }
    claim = siblings._less_error(tables, "ours", "this, λ 1", "one", "gae, λ 0.95")
    assert claim.verdict == "holds if"
    assert "4 of 4 at 64 episodes, 0 of 4 at 1024 episodes, 0 of 4 at 16384 episodes" in claim.condition
    assert claim.text == "with a wrong critic this, λ 1, is nearer to the gradient than flat GAE, λ 0.95"


def test_errors_are_judged_at_one_and_at_the_batch() -> None:
    assert siblings._judged(64)["hae, adaptive by groups"] == "hae, adaptive by groups, N 1"
    assert siblings._judged(64)["hae, adaptive by groups for the batch"] == "hae, adaptive by groups, N 64"
    tables = {"bias, x": {"one": [0.5]}, "noise, x": {"one": [32.0]}}
    assert siblings._errors(tables, "x", "one", 64) == [0.5**2 + 32 / 64]


def test_groups_start_in_one_state() -> None:
    e, group_N = draw_groups(task_case(1), 80, seed=3)
    for group in range(10):
        assert len(set(e.state_NT[group_N == group, 0])) == 1
    assert len(set(e.state_NT[:, 0])) > 1


def test_how_many_siblings_come_tells_what_is_hidden() -> None:
    """By hand: .5 (.9 V'(1) + .1 V'(0)) is what looking seems worth, V' being 1 or 0 if the sibling got there too."""
    findings = hidden.coin()
    assert all(check.passed for check in findings.checks)
    too = {shown: 0.5 * hidden.REACHED[shown] for shown in (0, 1)}  # the sibling looks, and gets there
    heard = {shown: too[shown] * shown + (1 - too[shown]) * 0.9 for shown in (0, 1)}
    seems = 0.5 * (0.9 * heard[1] + 0.1 * heard[0])
    (biased,) = findings.tables["a hidden coin"]["sibling_hae, lam_boundary 0"]
    assert biased == pytest.approx(0.25 * (seems - 0.46)) == pytest.approx(0.0020)
    assert findings.tables["a hidden coin"]["true"] == pytest.approx([0.25 * (0.5 * 0.9 - 0.46)])
