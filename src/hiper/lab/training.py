"""Agents and critics that learn together, in small tasks: does a better estimator learn faster?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hiper.credit import HAECredit, gae, hae, hae_eb, sibling_hae
from hiper.lab.cases import Case, Effort, make_case
from hiper.lab.estimators import decisions, gradients, places, scores
from hiper.lab.findings import Claim, Findings, half_width
from hiper.lab.mdp import (
    BoolArray,
    FloatArray,
    IntArray,
    Tables,
    World,
    exact_tables,
    make_policy,
    random_features,
    untrained,
)
from hiper.lab.measure import GROUP
from hiper.lab.sampling import Episodes, draw, read

GROUPS, UPDATES = 2, 80
LENGTHS = (6, 10)  # of the chains, in steps; a beginner needs about 50 and 150 turns to their end, and has 40
RATES = (0.1, 0.3, 1.0, 3.0)
CRITIC_RATE = 0.3
LAM = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesson:
    """What a batch teaches: advantages of switch, subgoal and action, and targets of U, V_high and V_low."""

    advantage_HNT: FloatArray
    target_HNT: FloatArray


Estimator = Callable[[Tables, Episodes, IntArray, float], Lesson]


def _flat(v: Tables, e: Episodes, _: IntArray, gamma: float) -> Lesson:
    r = read(v, e)
    credit = gae(e.reward_NT, e.length_N, e.terminated_N, r.U_NT, r.U_final_N, gamma=gamma, lam=LAM)
    return Lesson(
        advantage_HNT=np.broadcast_to(credit.advantage_BT, (3, *credit.advantage_BT.shape)),
        target_HNT=np.stack([credit.return_BT, r.V_high_NT, r.V_low_NT]),
    )


def _lesson(credit: HAECredit) -> Lesson:
    return Lesson(
        advantage_HNT=np.stack([credit.switch_BT, credit.subgoal_BT, credit.action_BT]),
        target_HNT=np.stack([credit.return_U_BT, credit.return_high_BT, credit.return_low_BT]),
    )


def _hae(boundary: float) -> Estimator:
    def estimate(v: Tables, e: Episodes, _: IntArray, gamma: float) -> Lesson:
        return _lesson(hae(*decisions(v, e), gamma=gamma, lam_low=LAM, lam_high=LAM, lam_boundary=boundary))

    return estimate


def _hae_eb(v: Tables, e: Episodes, _: IntArray, gamma: float) -> Lesson:
    return _lesson(hae_eb(*decisions(v, e), gamma=gamma, lam=LAM))


def _sibling(boundary: float | str, *, of_batch: bool = False) -> Estimator:
    def estimate(v: Tables, e: Episodes, group_N: IntArray, gamma: float) -> Lesson:
        credit = sibling_hae(
            *decisions(v, e),
            group_N,
            places(e, v),
            e.subgoal_NT,
            gamma=gamma,
            lam_low=LAM,
            lam_high=LAM,
            lam_boundary=boundary,
            averaged_over=len(e.length_N) if of_batch else 1,
        )
        return _lesson(credit)

    return estimate


ARMS: dict[str, tuple[Estimator, bool]] = {  # and whether the critic is exact
    "gae": (_flat, False),
    "hae": (_hae(0.0), False),
    "hae, lam_boundary 1": (_hae(1.0), False),
    "hae_eb": (_hae_eb, False),
    "sibling_hae, adaptive": (_sibling("adaptive"), False),
    "sibling_hae, adaptive for the batch": (_sibling("adaptive", of_batch=True), False),
    "sibling_hae, lam_boundary 1": (_sibling(1.0), False),
    "gae, exact critic": (_flat, True),
    "hae, exact critic": (_hae(0.0), True),
}


# Whose claim, what it says, and of which two arms.
RACES: tuple[tuple[Literal["paper", "ours"], str, str, str], ...] = (
    ("paper", "HAE learns faster than flat GAE, critics learning too", "hae", "gae"),
    ("paper", "HAE learns faster than flat GAE, exact values", "hae, exact critic", "gae, exact critic"),
    ("ours", "sibling_hae, adaptive, learns faster than HAE", "sibling_hae, adaptive", "hae"),
    ("ours", "sibling_hae, adaptive, learns faster than flat GAE", "sibling_hae, adaptive", "gae"),
    (
        "ours",
        "sibling_hae, adaptive for the batch, learns faster than flat GAE",
        "sibling_hae, adaptive for the batch",
        "gae",
    ),
    ("ours", "sibling_hae, lam_boundary 1, learns faster than flat GAE", "sibling_hae, lam_boundary 1", "gae"),
)


def training(effort: Effort) -> Findings:
    """Share of the possible gain that an agent has on average over its training, each at its own rate."""
    claims: list[Claim] = []
    tables: dict[str, dict[str, list[float]]] = {}
    for length in LENGTHS:
        cases = [_beginner(seed, length) for seed in effort.seeds(effort.trainings)]
        gains = tables.setdefault(f"gain over training, chain of {length}, rate chosen on the other tasks", {})
        for name, (estimator, exact) in ARMS.items():
            by_rate = {
                rate: [_train(case, estimator, exact_critic=exact, rate=rate) for case in cases] for rate in RATES
            }
            gains[name] = _at_rates_of_others(by_rate)
            for rate, found in by_rate.items():
                tables.setdefault(f"gain over training, chain of {length}, rate {rate:g}", {})[name] = found
        for source, text, one, other in RACES:
            claims += _race(source, f"{text}: chain of {length}", gains[one], gains[other])
    return Findings(claims=tuple(claims), tables=tables)


def _at_rates_of_others(by_rate: dict[float, list[float]]) -> list[float]:
    """Each task at the rate that was best, on average, on all the others: none judges a rate that it chose.

    >>> _at_rates_of_others({0.1: [5.0, 4.0, 3.0], 1.0: [6.0, 6.0, 0.0]})  # the last fails at what is best for others
    [5.0, 4.0, 0.0]
    """
    gains = []
    for task in range(len(next(iter(by_rate.values())))):
        of_others = {rate: sum(found[:task] + found[task + 1 :]) for rate, found in by_rate.items()}
        gains.append(by_rate[max(of_others, key=lambda rate: of_others[rate])][task])
    return gains


def _race(source: Literal["paper", "ours"], text: str, one: list[float], other: list[float]) -> list[Claim]:
    """Two arms, task by task; the 95 % interval of their mean difference decides. One task has none, and no verdict."""
    if len(one) < 2:
        return []
    differences = [a - b for a, b in zip(one, other, strict=True)]
    mean, width = float(np.mean(differences)), half_width(differences)
    clear = abs(mean) > width
    return [
        Claim(
            source=source,
            text=text,
            verdict="undecided" if not clear else "holds" if mean > 0 else "fails",
            condition="mean share of the possible gain over training, each at the rate best on the other tasks",
            numbers={
                "this one": f"{np.mean(one):.3f}",
                "the other": f"{np.mean(other):.3f}",
                f"difference over {len(one)} tasks, 95 %": f"{mean:+.3f} ± {width:.3f}",
            },
        )
    ]


def _beginner(seed: int, length: int) -> Case:
    """An agent with a table for each head that knows nearly nothing, before a chain."""
    features, theta_D = random_features(seed, "separate", sizes=(length + 1, 3, 3), switch_bias=-1.4)
    return make_case(seed, "separate", chain_task(seed, length), features, 0.3 * theta_D)


def chain_task(seed: int, length: int) -> World:
    """In each state one action leads on, one leads back and one does nothing; the end of the chain pays 1."""
    rng = np.random.default_rng(seed)
    moves_SA = np.array([rng.permutation([-1, 0, 1]) for _ in range(length + 1)])
    to_SA = np.maximum(np.arange(length + 1)[:, None] + moves_SA, 0)
    to_SA[length] = length
    reward_SAS = np.zeros((length + 1, 3, length + 1))
    reward_SAS[:length, :, length] = 1.0
    return World(
        next_SAS=np.eye(length + 1)[to_SA],
        reward_SAS=reward_SAS,
        noise=0.0,
        start_S=np.eye(length + 1)[0],
        ends_S=np.arange(length + 1) == length,
        horizon=40,
        gamma=0.95,
    )


def _train(case: Case, estimator: Estimator, *, exact_critic: bool, rate: float) -> float:
    """Mean over the updates of (J - first J) / (best J - first J)."""
    world, theta_D, policy, values = case.world, case.theta_D, case.policy, untrained(case.exact)
    first, best = _mean_value(world, case.exact), float(world.start_S @ _best_values(world))
    mean_D, square_D = np.zeros_like(theta_D), np.zeros_like(theta_D)
    group_N = np.repeat(np.arange(GROUPS), GROUP)
    total = 0.0
    for update in range(UPDATES):
        exact = exact_tables(world, policy)
        total += _mean_value(world, exact)
        values = exact if exact_critic else values
        e = draw(world, policy, GROUPS * GROUP, 10_000 * case.seed + update)
        lesson = estimator(values, e, group_N, world.gamma)
        step_D = gradients(scores(world, policy, e), lesson.advantage_HNT).sum(axis=0).mean(axis=0)
        # Adam.
        mean_D, square_D = 0.9 * mean_D + 0.1 * step_D, 0.999 * square_D + 0.001 * step_D**2
        corrected_D = mean_D / (1 - 0.9 ** (update + 1))
        scale_D = np.sqrt(square_D / (1 - 0.999 ** (update + 1))) + 1e-8
        theta_D = theta_D + rate * corrected_D / scale_D
        policy = make_policy(case.features, theta_D)
        values = values if exact_critic else _fitted(values, e, lesson.target_HNT)
    return (total / UPDATES - first) / (best - first)


def _mean_value(world: World, exact: Tables) -> float:
    return float(world.start_S @ exact.V_high_TS[0])


def _best_values(world: World) -> FloatArray:
    """[S]: the value of the best policy at turn 0, by value iteration."""
    best_S = np.zeros(len(world.start_S))
    for _ in range(world.horizon):
        best_S = (world.next_SAS * (world.reward_SAS + world.gamma * best_S)).sum(axis=2).max(axis=1)
    return best_S


def _fitted(values: Tables, e: Episodes, target_HNT: FloatArray) -> Tables:
    """Each entry that was met moves by `CRITIC_RATE` towards the mean of its targets."""
    turn_NT = np.broadcast_to(np.arange(e.state_NT.shape[1]), e.state_NT.shape)
    choice_NT = e.mask_NT & (turn_NT > 0)
    boundary_NT = e.mask_NT & (e.switch_NT | (turn_NT == 0))

    def moved(table: FloatArray, met_NT: BoolArray, target_NT: FloatArray, *places_NT: IntArray) -> FloatArray:
        index = tuple(place_NT[met_NT] for place_NT in places_NT)
        sums, counts = np.zeros((2, *table.shape))
        np.add.at(sums, index, target_NT[met_NT])
        np.add.at(counts, index, 1.0)
        return np.where(counts > 0, table + CRITIC_RATE * (sums / np.maximum(counts, 1.0) - table), table)

    U_NT, V_high_NT, V_low_NT = target_HNT
    return Tables(
        U_TSO=moved(values.U_TSO, choice_NT, U_NT, turn_NT, e.state_NT, e.last_subgoal_NT),
        V_high_TS=moved(values.V_high_TS, boundary_NT, V_high_NT, turn_NT, e.state_NT),
        V_low_TSO=moved(values.V_low_TSO, e.mask_NT, V_low_NT, turn_NT, e.state_NT, e.subgoal_NT),
        V_state_TS=values.V_state_TS,
    )
