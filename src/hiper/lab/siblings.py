"""What estimators gain that listen to the other episodes of a task: bias, noise and error in groups of eight."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from hiper.lab.cases import Case, Effort, random_case, task_case
from hiper.lab.estimators import (
    Spread,
    adaptive_advantage,
    gae_advantage,
    gradients,
    hae_advantage,
    scores,
    sibling_advantage,
    spread_of,
)
from hiper.lab.expectation import Lambdas, gae_gradient, hae_gradient
from hiper.lab.findings import Claim, Findings, geometric_mean, percent, ratio
from hiper.lab.mdp import FloatArray, IntArray, Tables, untrained
from hiper.lab.sampling import Episodes, draw

LAM = 0.95
GROUP = 8  # episodes of a task, as in published runs
BATCHES = (64, 1024, 16384)  # episodes per update

Grouped = Callable[[Tables, Episodes, IntArray, float], FloatArray]


def _hae(lam: float, boundary: float) -> Grouped:
    return lambda v, e, _, gamma: hae_advantage(v, e, gamma, Lambdas(low=lam, high=lam, boundary=boundary))


def _adaptive(*, by_groups: bool) -> Grouped:
    return lambda v, e, group_N, gamma: adaptive_advantage(v, e, group_N if by_groups else None, gamma, LAM)


def _sibling(lam: float, boundary: float | str) -> Grouped:
    return lambda v, e, group_N, gamma: sibling_advantage(v, e, group_N, gamma, lam, boundary)


GROUPED: dict[str, Grouped] = {
    "hae, lam_boundary 0": _hae(LAM, 0.0),
    "hae, lam_boundary 1": _hae(LAM, 1.0),
    "hae, adaptive by explained variance": _adaptive(by_groups=False),
    "hae, adaptive by groups": _adaptive(by_groups=True),
    "sibling_hae, lam_boundary 0": _sibling(LAM, 0.0),
    "sibling_hae, adaptive": _sibling(LAM, "adaptive"),
    "sibling_hae, lam_boundary 1": _sibling(LAM, 1.0),
    "sibling_hae, lam_boundary 1, λ 1": _sibling(1.0, 1.0),
}
# Plain estimators whose mean is known exactly. The bias of the others is measured by their distance to the nearest.
PLAIN = (
    Lambdas(low=LAM, high=LAM),
    Lambdas(low=LAM, high=LAM, boundary=1.0),
    Lambdas(low=1.0, high=1.0, boundary=1.0),
)
KINDS: dict[str, Callable[[int], Case]] = {"tasks": task_case, "noisy": lambda seed: random_case(seed, "shared")}
CRITICS: dict[str, Callable[[Case], Tables]] = {
    "exact": lambda case: case.exact,
    "wrong": lambda case: case.wrong,
    "untrained": lambda case: untrained(case.exact),
}


def groups(effort: Effort) -> Findings:
    """Bias, noise and error per batch of estimators that know their siblings, beside those that do not."""
    tables: dict[str, dict[str, list[float]]] = {}
    for kind, make in KINDS.items():
        for seed in effort.seeds(effort.drawn_worlds):
            case = make(seed)
            e, group_N = _draw_groups(case, effort.episodes, seed)
            scores_HNTD = scores(case.world, case.policy, e)
            for critic, values in CRITICS.items():
                for name, (bias, noise) in _biases_and_noises(case, values(case), e, group_N, scores_HNTD).items():
                    where = f"{kind}, {critic} critic"
                    tables.setdefault(f"bias, {where}", {}).setdefault(name, []).append(bias)
                    tables.setdefault(f"noise, {where}", {}).setdefault(name, []).append(noise)
                    for count in BATCHES:
                        table = tables.setdefault(f"square error of {count} episodes, {where}", {})
                        table.setdefault(name, []).append(bias**2 + noise / count)
    small = "batches are small enough for noise to count more than bias. Square error,"
    return Findings(
        claims=(
            _less_error(
                tables,
                "paper",
                "with a wrong critic HAE is nearer to the gradient than flat GAE, both with λ 0.95",
                "hae, lam_boundary 0",
                "gae, λ 0.95",
                f"{small} gae / hae:",
            ),
            _less_error(
                tables,
                "practice",
                "with a wrong critic HAE with λ 0.95 is nearer to the gradient than flat GAE with λ 0.5",
                "hae, lam_boundary 0",
                "gae, λ 0.5",
                "batches are large; in small ones a smaller λ does more than the cut. Square error, gae / hae:",
            ),
            _less_noise(tables),
            _less_bias(tables),
            _less_error(
                tables,
                "ours",
                "with a wrong critic sibling_hae, adaptive, is nearer to the gradient than flat GAE with λ 0.95",
                "sibling_hae, adaptive",
                "gae, λ 0.95",
                f"{small} gae / sibling_hae:",
            ),
            _adapts(tables),
        ),
        tables=tables,
    )


def _biases_and_noises(
    case: Case, values: Tables, e: Episodes, group_N: IntArray, scores_HNTD: FloatArray
) -> dict[str, tuple[float, float]]:
    """For each estimator relative bias, and variance per episode over the squared length of the gradient."""
    world, policy, gamma = case.world, case.policy, case.world.gamma
    length = float(case.gradient_D @ case.gradient_D)

    def drawn(estimator: Grouped) -> FloatArray:
        return _by_group(gradients(scores_HNTD, estimator(values, e, group_N, gamma)))

    def flat(lam: float) -> tuple[float, float]:
        noise = GROUP * _spread(drawn(lambda v, e, _, gamma: gae_advantage(v, e, gamma, lam))).trace
        return case.bias(gae_gradient(world, policy, values, lam)), noise / length

    plain = [
        (drawn(_hae(lam.low, lam.boundary)), hae_gradient(world, policy, values, lam).sum(axis=0)) for lam in PLAIN
    ]
    found = {f"gae, λ {lam:g}": flat(lam) for lam in (0.5, LAM, 1.0)}
    for name, estimator in GROUPED.items():
        gradient_HKD = drawn(estimator)
        distances = ((_spread(gradient_HKD - near_HKD), mean_D) for near_HKD, mean_D in plain)
        distance, mean_D = min(distances, key=lambda pair: pair[0].trace)
        off_D = mean_D + distance.mean_D - case.gradient_D
        # The square of a mean is too large by its variance.
        square = max(float(off_D @ off_D) - distance.trace / distance.count, 0.0)
        found[name] = (square / length) ** 0.5, GROUP * _spread(gradient_HKD).trace / length
    return found


def _spread(gradient_HKD: FloatArray) -> Spread:
    """Of K groups: they are independent, the episodes of one are not."""
    return spread_of(gradient_HKD, np.full(gradient_HKD.shape[1], 1 / gradient_HKD.shape[1]))


Numbers = dict[str, dict[str, list[float]]]
PLACES = tuple(f"{kind}, {critic} critic" for kind in KINDS for critic in CRITICS)


def _over(tables: Numbers, quantity: str, above: str, below: str) -> dict[str, list[float]]:
    """Ratios of two estimators, world by world, for each kind of world and critic."""
    return {
        where: [
            a / b
            for a, b in zip(tables[f"{quantity}, {where}"][above], tables[f"{quantity}, {where}"][below], strict=True)
        ]
        for where in PLACES
    }


def _less_noise(tables: Numbers) -> Claim:
    found = _over(tables, "noise", "gae, λ 1", "sibling_hae, lam_boundary 1, λ 1")
    worst = min(min(x) for x in found.values())
    best = max(geometric_mean(x) for x in found.values())
    return Claim(
        source="ours",
        text="sibling_hae with lam_boundary = λ = 1 is unbiased and at most as noisy as flat GAE with λ = 1",
        verdict="holds" if worst > 0.98 and best > 1.02 else "holds if" if best > 1.02 else "fails",
        condition="the critic is bad; near exact values it may cost a little. Variance, gae / sibling_hae:",
        numbers={where: ratio(x) for where, x in found.items()},
    )


def _less_bias(tables: Numbers) -> Claim:
    plain, heard = "hae, lam_boundary 0", "sibling_hae, adaptive"
    bad = [where for where in PLACES if "exact" not in where]
    fewer = sum(float(np.mean(tables[f"bias, {w}"][heard])) < float(np.mean(tables[f"bias, {w}"][plain])) for w in bad)
    return Claim(
        source="ours",
        text="sibling_hae, adaptive, has less bias than hae when the critic is wrong",
        verdict="holds" if fewer == len(bad) else "holds if" if fewer else "fails",
        condition="how much less depends on how much the siblings' returns vary. Bias, hae; sibling_hae:",
        numbers={
            where: f"{percent(tables[f'bias, {where}'][plain])}; {percent(tables[f'bias, {where}'][heard])}"
            for where in bad
        },
    )


def _less_error(
    tables: Numbers, source: Literal["paper", "practice", "ours"], text: str, one: str, other: str, condition: str
) -> Claim:
    """Is one estimator nearer to the gradient than another? Square error of the other over its own."""
    found = {
        f"{where}, {count} episodes": x
        for count in BATCHES
        for where, x in _over(tables, f"square error of {count} episodes", other, one).items()
        if "exact" not in where
    }
    better = [geometric_mean(x) > 1 for x in found.values()]
    return Claim(
        source=source,
        text=text,
        verdict="holds" if all(better) else "holds if" if any(better) else "fails",
        condition=condition,
        numbers={key: ratio(x) for key, x in found.items()},
    )


def _adapts(tables: Numbers) -> Claim:
    """How far the square error is above that of the better one of lam_boundary 0 and 1."""
    excess: dict[str, list[float]] = {}
    for way in ("by explained variance", "by groups"):
        for count in BATCHES[:2]:
            for where in PLACES:
                table = tables[f"square error of {count} episodes, {where}"]
                fixed = zip(table["hae, lam_boundary 0"], table["hae, lam_boundary 1"], strict=True)
                excess.setdefault(f"{way}, {count} episodes", []).extend(
                    found / min(pair) for found, pair in zip(table[f"hae, adaptive {way}"], fixed, strict=True)
                )
    means = [geometric_mean(x) for x in excess.values()]
    return Claim(
        source="ours",
        text="an adaptive lam_boundary is as good as the better one of 0 and 1",
        verdict="holds" if max(means) < 1.02 else "holds if" if min(means) < 1.02 else "fails",
        condition="up to the factor given (square error over that of the better one; all worlds and critics):",
        numbers={name: ratio(x) for name, x in excess.items()},
    )


def _draw_groups(case: Case, episodes: int, seed: int) -> tuple[Episodes, IntArray]:
    """Groups of eight episodes that start in one state."""
    count = episodes // GROUP
    starts = np.random.default_rng(2000 + seed).choice(len(case.world.start_S), size=count, p=case.world.start_S)
    e = draw(case.world, case.policy, count * GROUP, 3000 + seed, starts_N=np.repeat(starts, GROUP))
    return e, np.repeat(np.arange(count), GROUP)


def _by_group(gradient_HND: FloatArray) -> FloatArray:
    """Mean over each group."""
    heads, _, size = gradient_HND.shape
    return np.asarray(gradient_HND.reshape(heads, -1, GROUP, size).mean(axis=2), np.float64)
