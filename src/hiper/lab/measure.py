"""One measure for all estimators: over all pairs of episodes of a small task, or over drawn groups of eight."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hiper.lab.cases import Case, cosine, make_case
from hiper.lab.catalogue import Estimator, alone
from hiper.lab.estimators import Spread, gradients, scores, spread_of
from hiper.lab.mdp import FloatArray, IntArray, Sharing, Tables, World, random_features, random_world
from hiper.lab.sampling import Episodes, draw, enumerate_all

GROUP = 8  # episodes of a task, as in published runs
WITNESSES = 16  # episodes of the task beside a pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One estimator in one world. The unit is the length of the true gradient."""

    square_bias: float  # squared distance of the mean to the true gradient; where drawn, it may come out below 0
    square_length: float  # of the mean
    cosine: float  # between the two
    variance: float  # of one episode's gradient

    @property
    def bias(self) -> float:
        return math.sqrt(max(self.square_bias, 0.0))


def measured(case: Case, mean_D: FloatArray, variance: float, uncertain: float = 0.0) -> Measured:
    """`uncertain` is the variance of the mean, by which its square and that of its distance are too large."""
    true = float(case.gradient_D @ case.gradient_D)
    off_D = mean_D - case.gradient_D
    return Measured(
        square_bias=(float(off_D @ off_D) - uncertain) / true,
        square_length=(float(mean_D @ mean_D) - uncertain) / true,
        cosine=cosine(mean_D, case.gradient_D),
        variance=variance / true,
    )


def pair_world(seed: int) -> World:
    """Two turns, no discount: after the first the episode is over or goes on in the other state."""
    rng = np.random.default_rng(seed)
    next_SAS = np.zeros((3, 2, 3))
    next_SAS[0, :, 1] = rng.uniform(0.4, 0.8, size=2)
    next_SAS[0, :, 2] = 1 - next_SAS[0, :, 1]
    next_SAS[1:, :, 2] = 1.0
    reward_SAS = rng.normal(size=next_SAS.shape)
    reward_SAS[2] = 0.0
    return World(
        next_SAS=next_SAS,
        reward_SAS=reward_SAS,
        noise=0.0,
        start_S=np.eye(3)[0],
        ends_S=np.arange(3) == 2,
        horizon=2,
        gamma=1.0,
    )


def pair_case(seed: int, sharing: Sharing) -> Case:
    """An agent in a `pair_world`."""
    return make_case(
        seed, sharing, pair_world(seed), *random_features(seed, sharing, sizes=(3, 2, 2), switch_bias=-0.5)
    )


def undiscounted_case(seed: int) -> Case:
    """A random world without discount: only there do methods that compare returns follow the gradient of J."""
    return make_case(seed, "shared", replace(random_world(seed), gamma=1.0), *random_features(seed, "shared"))


def over_pairs(case: Case, estimator: Estimator, tables: Tables) -> Spread:
    """The mean gradient of two episodes of a task, over all pairs of episodes with their probabilities.

    Where other tasks matter, each pair stands beside one and the same drawn task, and the answer is given that task.
    """
    every = enumerate_all(case.world, case.policy)
    gamma, count = case.world.gamma, len(every.weight_N)
    one_K, other_K = np.triu_indices(count)
    weight_K = every.weight_N[one_K] * every.weight_N[other_K] * np.where(one_K == other_K, 1.0, 2.0)
    rows_N = np.stack([one_K, other_K], axis=1).ravel()
    if estimator.of_batch:
        drawn = draw(case.world, case.policy, WITNESSES, case.seed)
        group_N = np.repeat([0, 1], [2, WITNESSES])
        batches = (every.take(rows_2).beside(drawn) for rows_2 in rows_N.reshape(-1, 2))
        pairs = [np.asarray(estimator.advantage(tables, batch, group_N, gamma)[:, :2]) for batch in batches]
        advantage_HNT = np.concatenate(pairs, axis=1)
    else:
        group_N = np.repeat(np.arange(len(one_K)), 2)
        advantage_HNT = estimator.advantage(tables, every.take(rows_N), group_N, gamma)
    scores_HNTD = scores(case.world, case.policy, every)[:, rows_N]
    return spread_of(by_group(gradients(scores_HNTD, advantage_HNT), 2), weight_K)


def draw_groups(case: Case, episodes: int, seed: int) -> tuple[Episodes, IntArray]:
    """Groups of eight episodes that start in one state."""
    count = episodes // GROUP
    starts = np.random.default_rng(2000 + seed).choice(len(case.world.start_S), size=count, p=case.world.start_S)
    e = draw(case.world, case.policy, count * GROUP, 3000 + seed, starts_N=np.repeat(starts, GROUP))
    return e, np.repeat(np.arange(count), GROUP)


def by_group(gradient_HND: FloatArray, size: int = GROUP) -> FloatArray:
    """Mean over each group."""
    heads, _, parameters = gradient_HND.shape
    return np.asarray(gradient_HND.reshape(heads, -1, size, parameters).mean(axis=2), np.float64)


def spread_of_groups(gradient_HKD: FloatArray) -> Spread:
    """Of K groups: they are independent, the episodes of one are not."""
    return spread_of(gradient_HKD, np.full(gradient_HKD.shape[1], 1 / gradient_HKD.shape[1]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """What drawn groups say of an estimator, and the spread of their gradients."""

    measured: Measured
    spread: Spread


def over_draws(
    case: Case, tables: Tables, e: Episodes, group_N: IntArray, estimators: Mapping[str, Estimator]
) -> dict[str, Drawn]:
    """Mean and variance of each estimator, from drawn groups.

    A mean that dynamic programming knows is taken from there. The others are measured by their distance to the
    nearest of those, group by group, which scatters less than they do themselves.
    """
    world, policy = case.world, case.policy
    scores_HNTD = scores(world, policy, e)
    is_one_known = any(one.mean is not None for one in estimators.values())
    beside = estimators if is_one_known else {**estimators, **alone(1.0)}
    drawn_HKD = {
        name: by_group(gradients(scores_HNTD, one.advantage(tables, e, group_N, world.gamma)))
        for name, one in beside.items()
    }
    whole_KD = {name: gradient_HKD.sum(axis=0) for name, gradient_HKD in drawn_HKD.items()}
    known_D = {
        name: one.mean(world, policy, tables).sum(axis=0) for name, one in beside.items() if one.mean is not None
    }

    def mean_of(name: str) -> tuple[FloatArray, float]:
        """And its variance."""
        if name in known_D:
            return known_D[name], 0.0
        scatter = {near: float((whole_KD[name] - whole_KD[near]).var(axis=0).sum()) for near in known_D}
        near = min(scatter, key=lambda one: scatter[one])
        return known_D[near] + (whole_KD[name] - whole_KD[near]).mean(axis=0), scatter[near] / len(whole_KD[name])

    found = {}
    for name in estimators:
        spread = spread_of_groups(drawn_HKD[name])
        mean_D, uncertain = mean_of(name)
        found[name] = Drawn(measured=measured(case, mean_D, GROUP * spread.trace, uncertain), spread=spread)
    return found
