"""What estimators gain that listen to the other episodes of a task: bias, noise and error in groups of eight."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from hiper.lab.cases import Case, Effort, random_case, task_case
from hiper.lab.catalogue import Estimator, adaptive_hae, sibling, with_critic
from hiper.lab.findings import Claim, Findings, geometric_mean, percent, ratio
from hiper.lab.mdp import Tables, untrained
from hiper.lab.measure import draw_groups, over_draws

LAM = 0.95
BATCHES = (64, 1024, 16384)  # episodes per update
ERROR, NOISE = 1.10, 1.02  # what a claim of at most the same allows, as the claim says

FIXED: dict[str, Estimator] = {
    **{f"gae, λ {lam:g}": with_critic(lam)["gae"] for lam in (0.5, LAM, 1.0)},
    "hae, lam_boundary 0": with_critic(LAM)["hae"],
    "hae, lam_boundary 1": with_critic(LAM)["hae, lam_boundary 1"],
    "hae, lam_boundary 1, λ 1": with_critic(1.0)["hae, lam_boundary 1"],
    "hae, adaptive by explained variance": with_critic(LAM)["hae, adaptive by explained variance"],
    "sibling_hae, lam_boundary 0": sibling(LAM, 0.0),
    "sibling_hae, lam_boundary 1": sibling(LAM, 1.0),
    "sibling_hae, lam_boundary 1, λ 1": sibling(1.0, 1.0),
}
# These weigh noise as one return has it (N = 1), or as an update of N episodes has it.
ADAPTIVE: dict[str, Callable[[int], Estimator]] = {
    "hae, adaptive by groups": lambda N: adaptive_hae(LAM, N),
    "sibling_hae, adaptive": lambda N: sibling(LAM, "adaptive", N),
}
ESTIMATORS = FIXED | {f"{name}, N {N}": make(N) for name, make in ADAPTIVE.items() for N in (1, *BATCHES)}
KINDS: dict[str, Callable[[int], Case]] = {"tasks": task_case, "noisy": lambda seed: random_case(seed, "shared")}
CRITICS: dict[str, Callable[[Case], Tables]] = {
    "exact": lambda case: case.exact,
    "wrong": lambda case: case.wrong,
    "untrained": lambda case: untrained(case.exact),
}


def groups(effort: Effort) -> Findings:
    """Bias, noise and error per batch of estimators that know their siblings, beside those that do not."""
    tables: Numbers = {}
    for kind, make in KINDS.items():
        for seed in effort.seeds(effort.drawn_worlds):
            case = make(seed)
            e, group_N = draw_groups(case, effort.episodes, seed)
            for critic, values in CRITICS.items():
                where = f"{kind}, {critic} critic"
                for name, drawn in over_draws(case, values(case), e, group_N, ESTIMATORS).items():
                    tables.setdefault(f"bias, {where}", {}).setdefault(name, []).append(drawn.measured.bias)
                    tables.setdefault(f"noise, {where}", {}).setdefault(name, []).append(drawn.measured.variance)
    for where in PLACES:
        for count in BATCHES:
            tables[f"square error of {count} episodes, {where}"] = {
                name: _errors(tables, where, measured, count) for name, measured in _judged(count).items()
            }
    nearer = [_less_error(tables, *one) for one in NEARER]
    return Findings(
        claims=(*nearer[:2], _less_noise(tables), _less_bias(tables), *nearer[2:], _adapts(tables)), tables=tables
    )


# Whose claim, of whom, that with a wrong critic the first estimator is nearer to the gradient than the second.
NEARER: tuple[tuple[Literal["paper", "practice", "ours"], str, str, str], ...] = (
    ("paper", "HAE, λ 0.95", "hae, lam_boundary 0", "gae, λ 0.95"),
    ("practice", "HAE, λ 0.95", "hae, lam_boundary 0", "gae, λ 0.5"),
    ("ours", "sibling_hae, adaptive with N = 1", "sibling_hae, adaptive", "gae, λ 0.95"),
    (
        "ours",
        "sibling_hae, adaptive with N = the episodes of the update",
        "sibling_hae, adaptive for the batch",
        "gae, λ 0.95",
    ),
)
Numbers = dict[str, dict[str, list[float]]]
PLACES = tuple(f"{kind}, {critic} critic" for kind in KINDS for critic in CRITICS)


def _judged(count: int) -> dict[str, str]:
    """Estimators whose error an update of so many episodes is judged by, and where it was measured."""
    fixed = {name: name for name in FIXED}
    one = {name: f"{name}, N 1" for name in ADAPTIVE}
    batch = {f"{name} for the batch": f"{name}, N {count}" for name in ADAPTIVE}
    return fixed | one | batch


def _errors(tables: Numbers, where: str, name: str, count: int) -> list[float]:
    """Square error of an update, world by world."""
    worlds = zip(tables[f"bias, {where}"][name], tables[f"noise, {where}"][name], strict=True)
    return [bias**2 + noise / count for bias, noise in worlds]


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
    never = [where for where, x in found.items() if min(x) * NOISE >= 1]
    return Claim(
        source="ours",
        text="sibling_hae with lam_boundary = λ = 1 is at most 2 % noisier than flat GAE with λ = 1, in every world",
        verdict="holds" if len(never) == len(found) else "holds if" if never else "fails",
        condition=f"so it is: {', '.join(never) or 'nowhere'}. Variance, gae / sibling_hae:",
        numbers={where: ratio(x) for where, x in found.items()},
    )


def _less_bias(tables: Numbers) -> Claim:
    plain, heard = "hae, lam_boundary 0", "sibling_hae, adaptive, N 1"
    bad = [where for where in PLACES if "exact" not in where]
    fewer = sum(float(np.mean(tables[f"bias, {w}"][heard])) < float(np.mean(tables[f"bias, {w}"][plain])) for w in bad)
    return Claim(
        source="ours",
        text="sibling_hae, adaptive with N = 1, has less bias than hae when the critic is wrong",
        verdict="holds" if fewer == len(bad) else "holds if" if fewer else "fails",
        condition="how much less depends on how much the siblings' returns vary. Bias, hae; sibling_hae:",
        numbers={
            where: f"{percent(tables[f'bias, {where}'][plain])}; {percent(tables[f'bias, {where}'][heard])}"
            for where in bad
        },
    )


def _less_error(
    tables: Numbers, source: Literal["paper", "practice", "ours"], whom: str, one: str, other: str
) -> Claim:
    """Is one estimator nearer to the gradient than another? Square error of the other over its own."""
    numbers: dict[str, str] = {}
    better: dict[int, list[bool]] = {}
    for count in BATCHES:
        over = _over(tables, f"square error of {count} episodes", other, one)
        found = {where: x for where, x in over.items() if "exact" not in where}
        numbers |= {f"{where}, {count} episodes": ratio(x) for where, x in found.items()}
        better[count] = [geometric_mean(x) > 1 for x in found.values()]
    every = [is_better for of_count in better.values() for is_better in of_count]
    where = ", ".join(f"{sum(x)} of {len(x)} at {count} episodes" for count, x in better.items())
    return Claim(
        source=source,
        text=f"with a wrong critic {whom}, is nearer to the gradient than flat GAE, {other.removeprefix('gae, ')}",
        verdict="holds" if all(every) else "holds if" if any(every) else "fails",
        condition=f"kinds of worlds and critics where it is: {where}. Square error, {other} / {one}:",
        numbers=numbers,
    )


def _adapts(tables: Numbers) -> Claim:
    """How far the square error is above that of the better one of lam_boundary 0 and 1."""
    excess: dict[str, dict[str, list[float]]] = {}
    ways = {
        "by explained variance": "hae, adaptive by explained variance",
        "by groups, N = 1": "hae, adaptive by groups",
        "by groups, N = the batch": "hae, adaptive by groups for the batch",
    }
    for way, name in ways.items():
        for count in BATCHES:
            for where in PLACES:
                table = tables[f"square error of {count} episodes, {where}"]
                columns = (table[one] for one in (name, "hae, lam_boundary 0", "hae, lam_boundary 1"))
                excess.setdefault(f"{way}, {count} episodes", {})[where] = [
                    found / min(cut, carried) for found, cut, carried in zip(*columns, strict=True)
                ]
    means = {way: max(geometric_mean(x) for x in by_place.values()) for way, by_place in excess.items()}
    good = [way for way, worst in means.items() if worst <= ERROR]
    return Claim(
        source="ours",
        text="an adaptive lam_boundary errs at most 10 % more than the better one of 0 and 1, on average over worlds "
        "of any kind with any critic",
        verdict="holds" if len(good) == len(means) else "holds if" if good else "fails",
        condition=f"so it is: {'; '.join(good) or 'nowhere'}. Square error over that of the better one, all worlds and "
        "critics; the worst average of a kind and critic:",
        numbers={
            way: f"{ratio([one for x in by_place.values() for one in x])}; {means[way]:.2f}"
            for way, by_place in excess.items()
        },
    )
