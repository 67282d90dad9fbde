"""Every estimator of `hiper.credit`, measured alike: bias and variance, at exact and wrong values, exact and drawn."""

import math
from dataclasses import dataclass

import numpy as np

from hiper.credit import gae, token_gae
from hiper.lab.cases import SHARINGS, Case, Effort
from hiper.lab.catalogue import WITHOUT_CRITIC, Estimator, with_critic
from hiper.lab.findings import EXACT, Check, Claim, Critic, Findings, Row, percent
from hiper.lab.mdp import Tables
from hiper.lab.measure import Measured, draw_groups, measured, over_draws, over_pairs, pair_case, undiscounted_case
from hiper.lab.sampling import enumerate_all, read

DEVIATIONS = 7.0  # that a T test may be off: all estimators see the same episodes, so the largest is nearly one draw
PAIR_BY_PAIR = 3  # worlds of two turns in which each pair of episodes is run by itself
LAM = 0.95
LAMBDAS = (LAM, 1.0)

# At λ = 1 unbiased whatever the critic says.
TRUSTWORTHY = (
    "gae, λ 1",
    "gae, critic blind to the subgoal, λ 1",
    "token_gae, a token for each decision, λ 1",
    "option_gae, λ 1",
    "hae, lam_boundary 1, λ 1",
    "sibling_hae, lam_boundary 1, λ 1",
)

Tried = tuple[str, Critic]  # an estimator's name, and with which values


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """Over all pairs of one world."""

    measured: Measured
    error: float  # of the mean, any head and parameter, against the true gradient
    missed: float  # the same against what dynamic programming says of the estimator; 0 where it says nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Over the drawn groups of one world."""

    measured: Measured
    excess: float  # T - 1 against the true gradient
    lasting: float  # T - 1 against the mean it must have, as far as that is known; else 0
    null: float  # variance of T if that is the mean


def tried(case: Case) -> tuple[tuple[Critic, Tables, dict[str, Estimator]], ...]:
    """What is measured with which values; those that have no critic only once."""
    named = {f"{name}, λ {lam:g}": one for lam in LAMBDAS for name, one in with_critic(lam).items()}
    return ("exact", case.exact, named), ("wrong", case.wrong, named), ("none", case.exact, WITHOUT_CRITIC)


def everyone(effort: Effort) -> Findings:
    """Bias and variance of every estimator, exact and perturbed values."""
    pairs = _over_pairs(effort)
    draws = _over_draws(effort)
    off = max(sum(one.lasting for one in x) / sum(one.null for one in x) ** 0.5 for x in draws.values())
    common = min(len(worlds) for worlds in pairs.values())  # worlds that all estimators saw
    tables: dict[str, dict[str, list[float]]] = {}
    for key in pairs:
        name, critic = key
        for how, worlds in (
            ("all pairs", [one.measured for one in pairs[key]]),
            ("drawn", [one.measured for one in draws[key]]),
        ):
            for quantity in ("bias", "cosine", "variance"):
                table = tables.setdefault(f"{quantity}, {how}, values: {critic}", {})
                table[name] = [float(getattr(one, quantity)) for one in worlds]
    return Findings(
        checks=(
            *_checks(pairs),
            Check(text="token_gae, one token a turn: largest distance to gae", found=_one_token(effort), limit=EXACT),
            Check(
                text="every estimator whose mean is known, any values, drawn groups: T test, in standard deviations",
                found=off,
                limit=DEVIATIONS,
            ),
        ),
        claims=(_compared(pairs), _heard(pairs)),
        rows=tuple(_row(key, pairs[key][:common], draws[key]) for key in pairs),
        tables=tables,
    )


def _over_pairs(effort: Effort) -> dict[Tried, list[Summed]]:
    """Those that look at the whole batch are run pair by pair: in the first worlds only."""
    found: dict[Tried, list[Summed]] = {}
    for number, seed in enumerate(effort.seeds(effort.worlds)):
        case = pair_case(seed, SHARINGS[(number + 1) % len(SHARINGS)])
        for critic, values, estimators in tried(case):
            for name, one in estimators.items():
                if number >= PAIR_BY_PAIR and one.of_batch:
                    continue
                spread = over_pairs(case, one, values)
                known_HD = spread.mean_HD if one.mean is None else one.mean(case.world, case.policy, values)
                found.setdefault((name, critic), []).append(
                    Summed(
                        measured=measured(case, spread.mean_D, 2 * spread.trace),
                        error=case.error(spread.mean_HD),
                        missed=float(np.abs(spread.mean_HD - known_HD).max()),
                    )
                )
    return found


def _is_sound(name: str, critic: Critic) -> bool:
    """Must it be unbiased?"""
    return (critic == "exact" and "blind" not in name) or name in (*TRUSTWORTHY, "rloo")


def _over_draws(effort: Effort) -> dict[Tried, list[Sampled]]:
    """A mean must be what dynamic programming says; where that is silent, the gradient if the estimator is sound."""
    found: dict[Tried, list[Sampled]] = {}
    for seed in effort.seeds(effort.drawn_worlds):
        case = undiscounted_case(seed)
        e, group_N = draw_groups(case, effort.episodes, seed)
        for critic, values, estimators in tried(case):
            for name, drawn in over_draws(case, values, e, group_N, estimators).items():
                excess, lasting = drawn.spread.T(case.gradient_D) - 1, 0.0
                mean = estimators[name].mean
                if mean is not None:
                    lasting = drawn.spread.T(mean(case.world, case.policy, values).sum(axis=0)) - 1
                elif _is_sound(name, critic):
                    lasting = excess
                found.setdefault((name, critic), []).append(
                    Sampled(measured=drawn.measured, excess=excess, lasting=lasting, null=drawn.spread.null)
                )
    return found


def _largest(worlds: list[Summed]) -> float:
    return max(one.error for one in worlds)


def _checks(pairs: dict[Tried, list[Summed]]) -> tuple[Check, ...]:
    """What the estimators must do in the mean over all pairs."""
    at_exact = [_largest(x) for (name, critic), x in pairs.items() if critic == "exact" and _is_sound(name, critic)]
    trusted = [_largest(pairs[name, "wrong"]) for name in TRUSTWORTHY]
    missed = [one.missed for x in pairs.values() for one in x]
    return (
        Check(
            text="every estimator with a critic, exact values: mean over all pairs", found=max(at_exact), limit=EXACT
        ),
        Check(
            text="λ 1, all carried (gae, token_gae, option_gae, hae, sibling_hae), wrong values: mean over all pairs",
            found=max(trusted),
            limit=EXACT,
        ),
        Check(text="rloo: mean over all pairs", found=_largest(pairs["rloo", "none"]), limit=EXACT),
        Check(text="mean over all pairs against dynamic programming, any values", found=max(missed), limit=EXACT),
    )


def _one_token(effort: Effort) -> float:
    """How far token-level GAE is from `gae` if a reply is one token; all episodes, wrong values."""
    case = pair_case(effort.seeds(1)[0], "shared")
    e = enumerate_all(case.world, case.policy)
    r = read(case.wrong, e)
    turn_NT = np.where(e.mask_NT, np.arange(e.state_NT.shape[1]), -1)
    gamma, ends = case.world.gamma, (e.reward_NT, e.length_N, e.terminated_N)
    by_turn = gae(*ends, r.U_NT, r.U_final_N, gamma=gamma, lam=LAM)
    by_token = token_gae(*ends, turn_NT, r.U_NT, r.U_final_N, gamma=gamma, lam=LAM)
    return float(np.abs(by_token.advantage_BL - by_turn.advantage_BT).max())


def _row(key: Tried, pairs: list[Summed], drawn: list[Sampled]) -> Row:
    """Means over worlds: of squares, for biases and lengths."""
    name, critic = key
    summed, sampled = ([one.measured for one in worlds] for worlds in (pairs, drawn))
    return Row(
        estimator=name,
        critic=critic,
        bias=_bias(summed),
        cosine=float(np.mean([one.cosine for one in summed])),
        variance=_variance(summed),
        drawn_bias=_bias(sampled),
        drawn_test=sum(one.excess for one in drawn) / sum(one.null for one in drawn) ** 0.5,
        drawn_variance=_variance(sampled),
    )


def _bias(worlds: list[Measured]) -> float:
    return math.sqrt(max(float(np.mean([one.square_bias for one in worlds])), 0.0))


def _variance(worlds: list[Measured]) -> float:
    """In lengths of the estimator's own mean."""
    return sum(one.variance for one in worlds) / sum(one.square_length for one in worlds)


def _compared(pairs: dict[Tried, list[Summed]]) -> Claim:
    cosines = {name: [one.measured.cosine for one in pairs[name, "none"]] for name in WITHOUT_CRITIC}
    straight = _largest(pairs["rloo", "none"]) < EXACT
    return Claim(
        source="practice",
        text="comparing the episodes of a task needs no critic and is unbiased (RLOO, GRPO, GiGPO, REINFORCE++)",
        verdict="holds if" if straight and min(cosines["grpo"]) < 1 - 1e-6 else "holds" if straight else "fails",
        condition="RLOO is; GRPO without std up to its length; dividing by a task's std turns it. Cosine, groups of 2:",
        numbers={name: f"{np.mean(x):.3f} [{min(x):.3f}, {max(x):.3f}]" for name, x in cosines.items()},
    )


def _heard(pairs: dict[Tried, list[Summed]]) -> Claim:
    adaptive, fixed = "sibling_hae, adaptive, λ 0.95", "sibling_hae, lam_boundary 1, λ 1"
    largest = max(_largest(pairs[adaptive, "exact"]), _largest(pairs[fixed, "wrong"]))
    biases = {
        name: [one.measured.bias for one in pairs[f"{name}, λ 1", "wrong"]]
        for name in (
            "hae",
            "sibling_hae, lam_boundary 0",
            "sibling_hae, adaptive",
            "sibling_hae, adaptive for the batch",
        )
    }
    return Claim(
        source="ours",
        text="sibling_hae is unbiased",
        verdict="holds if" if largest < EXACT < min(biases["sibling_hae, lam_boundary 0"]) else "fails",
        condition="values are exact (any λ, adaptive or not) or lam_boundary = λ = 1. "
        "With wrong values, λ 1, groups of 2:",
        numbers={name: percent(found) for name, found in biases.items()},
    )
