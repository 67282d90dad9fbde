"""Every pair of episodes of a small task: the exact mean of estimators that compare the episodes of a task."""

from collections.abc import Callable

import numpy as np

from hiper.credit import gigpo, grpo, rloo
from hiper.lab.cases import SHARINGS, Case, Effort, cosine, make_case
from hiper.lab.estimators import gradients, places, scores, sibling_advantage
from hiper.lab.expectation import Lambdas, hae_gradient
from hiper.lab.findings import Check, Claim, Findings, percent
from hiper.lab.mdp import FloatArray, IntArray, Sharing, Tables, World, random_features
from hiper.lab.sampling import Episodes, draw, enumerate_all

EXACT, ROUNDING = 1e-12, 1e-10


def pair_world(seed: int) -> World:
    """Two turns: from the start to one of two states, and from there to the end."""
    rng = np.random.default_rng(seed)
    next_SAS = np.zeros((4, 2, 4))
    next_SAS[0, :, 1] = rng.uniform(0.2, 0.8, size=2)
    next_SAS[0, :, 2] = 1 - next_SAS[0, :, 1]
    next_SAS[1:, :, 3] = 1.0
    reward_SAS = rng.normal(size=next_SAS.shape)
    reward_SAS[3] = 0.0
    return World(
        next_SAS=next_SAS,
        reward_SAS=reward_SAS,
        noise=0.0,
        start_S=np.eye(4)[0],
        ends_S=np.arange(4) == 3,
        horizon=2,
        gamma=1.0,
    )


def pair_case(seed: int, sharing: Sharing) -> Case:
    """An agent in a `pair_world`."""
    return make_case(
        seed, sharing, pair_world(seed), *random_features(seed, sharing, sizes=(4, 2, 2), switch_bias=-0.5)
    )


def mean_over_pairs(case: Case, advantage: Callable[[Episodes, IntArray], FloatArray], *, witnesses: int) -> FloatArray:
    """[3, D]: mean gradient of an episode over all pairs of a task, beside one drawn task of `witnesses` episodes."""
    every = enumerate_all(case.world, case.policy)
    drawn = draw(case.world, case.policy, witnesses, case.seed)
    scores_HNTD = scores(case.world, case.policy, every)
    total_HD = np.zeros_like(case.gradient_HD)
    for i, j in zip(*np.triu_indices(len(every.weight_N)), strict=True):
        rows = np.array([i, j])
        batch = every.take(rows).beside(drawn)
        group_N = np.repeat([0, 1], [2, witnesses])
        credit_HNT = advantage(batch, group_N)[:, :2]
        weight = every.weight_N[i] * every.weight_N[j] * (1.0 if i == j else 2.0)
        total_HD += weight * gradients(scores_HNTD[:, rows], credit_HNT).mean(axis=1)
    return total_HD


def heard(effort: Effort) -> Findings:
    """`sibling_hae`: each pair beside a second task, from which it learns how far to trust critic and sibling."""
    (seed,) = effort.seeds(1)
    case = pair_case(seed, "shared")

    def mean(tables: Tables, lam: float, boundary: float | str) -> FloatArray:
        return mean_over_pairs(
            case, lambda e, group_N: sibling_advantage(tables, e, group_N, 1.0, lam, boundary), witnesses=4
        )

    errors = {
        "lam_boundary 1, all λ 1, wrong values": case.error(mean(case.wrong, 1.0, 1.0)),
        "adaptive, λ 0.8, exact values": case.error(mean(case.exact, 0.8, "adaptive")),
    }
    biases = {
        "hae": [case.bias(hae_gradient(case.world, case.policy, case.wrong, Lambdas(low=1.0, high=1.0)))],
        "sibling_hae": [case.bias(mean(case.wrong, 1.0, 0.0))],
    }
    return Findings(
        checks=tuple(
            Check(text=f"shipped sibling_hae, {name}: mean over all pairs of a task", found=error, limit=EXACT)
            for name, error in errors.items()
        ),
        claims=(
            Claim(
                source="ours",
                text="sibling_hae is unbiased",
                verdict="holds if" if max(errors.values()) < EXACT else "fails",
                condition="values are exact (any λ, adaptive or not) or lam_boundary = λ = 1. "
                "With lam_boundary 0, λ 1, wrong values, groups of 2:",
                numbers={name: percent(found) for name, found in biases.items()},
            ),
        ),
        tables={"bias over pairs, wrong values, lam_boundary 0, λ 1": biases},
    )


def comparisons(effort: Effort) -> Findings:
    """RLOO, GRPO and GiGPO."""
    tables: dict[str, dict[str, list[float]]] = {"cosine over pairs": {}, "length over pairs": {}}
    angle, length = tables.values()
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.worlds):
            case = pair_case(seed, sharing)
            every = enumerate_all(case.world, case.policy)
            scores_HNTD = scores(case.world, case.policy, every)
            i, j = (x.ravel() for x in np.indices((len(every.weight_N),) * 2))
            rows = np.stack([i, j], axis=1).ravel()
            batch = every.take(rows)
            group_N = np.repeat(np.arange(len(i)), 2)
            weight_N = np.repeat(every.weight_N[i] * every.weight_N[j], 2) / 2
            state_NT = places(batch, case.exact)
            arrays = batch.reward_NT, batch.length_N, group_N
            found = {
                "rloo": rloo(*arrays),
                "grpo without std": grpo(*arrays, normalise_std=False),
                "grpo": grpo(*arrays),
                "gigpo without std": gigpo(*arrays, state_NT, gamma=1.0, normalise_std=False),
                "gigpo": gigpo(*arrays, state_NT, gamma=1.0),
            }
            for name, credit in found.items():
                # The same advantage for all three decisions; the weighted sum over rows of each episode comes first.
                weighted_NT = weight_N[:, None] * credit.advantage_BT
                summed_NT = np.zeros(every.reward_NT.shape)
                np.add.at(summed_NT, rows, weighted_NT)
                mean_D = np.einsum("nt,hntd->d", summed_NT, scores_HNTD)
                angle.setdefault(name, []).append(cosine(mean_D, case.gradient_D))
                length.setdefault(name, []).append(float(np.linalg.norm(mean_D) / np.linalg.norm(case.gradient_D)))
    straight = max(1 - min(angle["rloo"]), *(abs(x - 1) for x in length["rloo"]))
    return Findings(
        checks=(Check(text="shipped rloo: mean over all pairs of a task", found=straight, limit=ROUNDING),),
        claims=(
            Claim(
                source="practice",
                text="comparing the episodes of a task needs no critic and is unbiased (RLOO, GRPO, GiGPO)",
                verdict="holds if" if straight < ROUNDING and min(angle["grpo"]) < 1 - 1e-6 else "fails",
                condition="RLOO is; GRPO without std up to its length; dividing by std turns it. Cosine, groups of 2:",
                numbers={name: f"{np.mean(x):.3f} [{min(x):.3f}, {max(x):.3f}]" for name, x in angle.items()},
            ),
        ),
        tables=tables,
    )
