"""Mean and variance of each estimator's targets by dynamic programming, under any value tables.

Every estimator here is a return with its own rule for what the next turn contributes. From turn t on,

    Xₜ = rₜ + γ (keepₜ₊₁   + keep_weight   Xₜ₊₁)   if turn t+1 keeps the subgoal
    Xₜ = rₜ + γ (switchₜ₊₁ + switch_weight Yₜ₊₁)   if it switches

where Y is the target of another rule (often X itself). An advantage is such a target minus a baseline that is
fixed before the decision, so the mean of X given the decision is its signal and the variance of X its noise.
"""

from dataclasses import dataclass

import numpy as np

from hiper.lab.gradient import Signals, gradient_of
from hiper.lab.mdp import FloatArray, Policy, Tables, World, switch_probability, visits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """What the next turn contributes to a target. `keep_TSO` and `switch_TSO` are known at that turn.

    A weight is one number, or one for each turn that may be the next.
    """

    keep_TSO: FloatArray
    keep_weight: float | FloatArray
    switch_TSO: FloatArray
    switch_weight: float | FloatArray
    after_switch: "Rule | None" = None  # whose target follows a SWITCH; None: this rule's own


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lambdas:
    """The four settings of `hae`; `gae` reads `low` alone."""

    low: float
    high: float
    boundary: float = 0.0


def flat_rule(tables: Tables, lam: float) -> Rule:
    """`gae` on U: (1-λ) U + λ Xₜ₊₁ whatever is decided."""
    known = (1 - lam) * tables.U_TSO
    return Rule(keep_TSO=known, keep_weight=lam, switch_TSO=known, switch_weight=lam)


def clock_rule(tables: Tables, lam: float, every: int) -> Rule:
    """`fixed_hae`: as `gae`, but U alone where the next turn is a multiple of `every`."""
    lam_T = np.where(np.arange(len(tables.U_TSO)) % every == 0, 0.0, lam)
    known = (1 - lam_T)[:, None, None] * tables.U_TSO
    return Rule(keep_TSO=known, keep_weight=lam_T, switch_TSO=known, switch_weight=lam_T)


def blind_rule(tables: Tables, lam: float) -> Rule:
    """`gae` on a critic that does not see the subgoal."""
    known = (1 - lam) * np.broadcast_to(tables.V_state_TS[:, :, None], tables.U_TSO.shape)
    return Rule(keep_TSO=known, keep_weight=lam, switch_TSO=known, switch_weight=lam)


def segment_rule(tables: Tables, lam: float) -> Rule:
    """M and S of `hae`: rewards are summed over a segment; V_high and λ come in at boundaries only."""
    V_high_TSO = np.broadcast_to(tables.V_high_TS[:, :, None], tables.U_TSO.shape)
    return Rule(
        keep_TSO=np.zeros_like(tables.U_TSO), keep_weight=1.0, switch_TSO=(1 - lam) * V_high_TSO, switch_weight=lam
    )


def action_rule(tables: Tables, lam: Lambdas) -> Rule:
    """A_low + V_low of `hae`: λ_low inside a segment, V_high at its end, the carried trace beyond it."""
    carried = lam.low * lam.boundary
    V_high_TSO = np.broadcast_to(tables.V_high_TS[:, :, None], tables.U_TSO.shape)
    return Rule(
        keep_TSO=(1 - lam.low) * tables.V_low_TSO,
        keep_weight=lam.low,
        switch_TSO=(1 - carried) * V_high_TSO,
        switch_weight=carried,
        after_switch=segment_rule(tables, lam.high),
    )


def expected_bootstrap_rule(tables: Tables, lam: float) -> Rule:
    """A_low + V_low of `hae_eb`: the next switch is averaged over; λ weighs what it turns out to be."""
    V_high_TSO = np.broadcast_to(tables.V_high_TS[:, :, None], tables.U_TSO.shape)
    known = (1 - lam) * tables.U_TSO
    return Rule(keep_TSO=known, keep_weight=lam, switch_TSO=known + lam * V_high_TSO, switch_weight=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """Mean and mean square of a target at turn t, given state, subgoal in force and action."""

    mean_TSOA: FloatArray
    square_TSOA: FloatArray


def target_moments(world: World, policy: Policy, rule: Rule) -> Moments:
    """Both moments of Xₜ, from the last turn to the first."""
    other = None if rule.after_switch is None else target_moments(world, policy, rule.after_switch)
    shape_SOA = policy.action_SOA.shape
    mean_TSOA, square_TSOA = np.zeros((2, world.horizon + 1, *shape_SOA))
    switch_TSO = switch_probability(world, policy)
    keep_weight_T, switch_weight_T = (
        np.broadcast_to(weight, world.horizon + 1) for weight in (rule.keep_weight, rule.switch_weight)
    )
    P, r = world.next_SAS, world.reward_SAS
    reward_SA1 = (P * r).sum(axis=2)[:, None, :]
    reward_square_SA1 = (P * (r**2 + world.noise**2 * ~world.ends_S[:, None, None])).sum(axis=2)[:, None, :]
    for t in reversed(range(world.horizon)):
        if t + 1 == world.horizon:
            next_SO, next_square_SO = np.zeros((2, *shape_SOA[:2]))
        else:
            follows = (mean_TSOA, square_TSOA) if other is None else (other.mean_TSOA, other.square_TSOA)
            keep = [_over_actions(policy, x[t + 1]) for x in (mean_TSOA, square_TSOA)]
            switch = [_over_subgoals(policy, x[t + 1]) for x in follows]
            at_keep = _shifted(rule.keep_TSO[t + 1], keep_weight_T[t + 1], *keep)
            at_switch = _shifted(rule.switch_TSO[t + 1], switch_weight_T[t + 1], *switch)
            beta_SO = switch_TSO[t + 1]
            next_SO, next_square_SO = (
                (1 - beta_SO) * kept + beta_SO * switched for kept, switched in zip(at_keep, at_switch, strict=True)
            )
            next_SO[world.ends_S], next_square_SO[world.ends_S] = 0.0, 0.0
        mean_TSOA[t] = reward_SA1 + world.gamma * np.einsum("sax,xo->soa", P, next_SO)
        square_TSOA[t] = (
            reward_square_SA1
            + 2 * world.gamma * np.einsum("sax,xo->soa", P * r, next_SO)
            + world.gamma**2 * np.einsum("sax,xo->soa", P, next_square_SO)
        )
    return Moments(mean_TSOA=mean_TSOA[:-1], square_TSOA=square_TSOA[:-1])


def _shifted(known: FloatArray, weight: float, mean: FloatArray, square: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and mean square of known + weight X."""
    return known + weight * mean, known**2 + 2 * known * weight * mean + weight**2 * square


def _over_actions(policy: Policy, x_SOA: FloatArray) -> FloatArray:
    return np.asarray((policy.action_SOA * x_SOA).sum(axis=-1), np.float64)


def _over_subgoals(policy: Policy, x_SOA: FloatArray) -> FloatArray:
    """[S, 1]: after a SWITCH, averaged over the new subgoal and its action."""
    return np.asarray((policy.subgoal_SO * _over_actions(policy, x_SOA)).sum(axis=-1, keepdims=True), np.float64)


def signals_of(policy: Policy, switch_TSOA: FloatArray, subgoal_TSOA: FloatArray, action_TSOA: FloatArray) -> Signals:
    """Signals of an estimator whose decisions read three targets, each given as its mean after the action."""
    kept_TSO = _over_actions(policy, switch_TSOA)
    switched_TSO = np.broadcast_to(_over_subgoals(policy, switch_TSOA), kept_TSO.shape)
    return Signals(
        switch_TSOQ=np.stack([kept_TSO, switched_TSO], axis=3),
        subgoal_TSO=_over_actions(policy, subgoal_TSOA),
        action_TSOA=action_TSOA,
    )


def flat_gradient(world: World, policy: Policy, rule: Rule) -> FloatArray:
    """[3, D]: expected gradient when all three decisions carry the turn's advantage."""
    mean = target_moments(world, policy, rule).mean_TSOA
    return gradient_of(world, policy, signals_of(policy, mean, mean, mean))


def gae_gradient(world: World, policy: Policy, tables: Tables, lam: float) -> FloatArray:
    """[3, D]: expected gradient of `gae`."""
    return flat_gradient(world, policy, flat_rule(tables, lam))


def token_gradient(world: World, policy: Policy, tables: Tables, lam: float) -> FloatArray:
    """[3, D]: expected gradient of `token_gae` with a token for each decision that is made; λ counts these.

    In the mean only: V_low of a new subgoal, which the rule holds for known, is averaged over subgoals.
    """
    V_high_TSO = np.broadcast_to(tables.V_high_TS[:, :, None], tables.U_TSO.shape)
    V_new_TS1 = (policy.subgoal_SO * tables.V_low_TSO).sum(axis=2, keepdims=True)
    rule = Rule(
        keep_TSO=(1 - lam) * (tables.U_TSO + lam * tables.V_low_TSO),
        keep_weight=lam**2,
        switch_TSO=(1 - lam) * (tables.U_TSO + lam * V_high_TSO + lam**2 * V_new_TS1),
        switch_weight=lam**3,
    )
    action_TSOA = target_moments(world, policy, rule).mean_TSOA
    subgoal_TSO = (1 - lam) * tables.V_low_TSO[:-1] + lam * _over_actions(policy, action_TSOA)
    switched_TS1 = (policy.subgoal_SO * subgoal_TSO).sum(axis=2, keepdims=True)
    switched_TSO = (1 - lam) * V_high_TSO[:-1] + lam * switched_TS1
    signals = Signals(
        switch_TSOQ=np.stack([subgoal_TSO, switched_TSO], axis=3), subgoal_TSO=subgoal_TSO, action_TSOA=action_TSOA
    )
    return gradient_of(world, policy, signals)


def hae_gradient(world: World, policy: Policy, tables: Tables, lam: Lambdas) -> FloatArray:
    """[3, D]: expected gradient of `hae`."""
    rules = (
        segment_rule(tables, lam.boundary * lam.high),
        segment_rule(tables, lam.high),
        action_rule(tables, lam),
    )
    means = (target_moments(world, policy, rule).mean_TSOA for rule in rules)
    return gradient_of(world, policy, signals_of(policy, *means))


def hae_eb_gradient(
    world: World, policy: Policy, tables: Tables, lam: float, *, from_values: bool = False
) -> FloatArray:
    """[3, D]: expected gradient of `hae_eb`, its switch credit from what followed or read off the tables."""
    mean = target_moments(world, policy, expected_bootstrap_rule(tables, lam)).mean_TSOA
    switch = target_moments(world, policy, segment_rule(tables, 0.0)).mean_TSOA
    signals = signals_of(policy, switch, mean, mean)
    return gradient_of(world, policy, with_table_switch(signals, tables, policy) if from_values else signals)


def with_table_switch(signals: Signals, tables: Tables, policy: Policy, *, weighted: bool = True) -> Signals:
    """The switch advantage (q - β)(V_high - V_low), or without its factor, which leaves no signal."""
    gain_TSO1 = (tables.V_high_TS[:-1, :, None] - tables.V_low_TSO[:-1])[..., None]
    side_SOQ = np.stack([-policy.switch_SO, 1 - policy.switch_SO], axis=2) if weighted else np.ones((1, 1, 2))
    return Signals(switch_TSOQ=gain_TSO1 * side_SOQ, subgoal_TSO=signals.subgoal_TSO, action_TSOA=signals.action_TSOA)


def conditional_variance(world: World, policy: Policy, moments: tuple[Moments, Moments, Moments]) -> FloatArray:
    """[3]: mean over the tokens met of Var(advantage | everything up to and with the token), by decision.

    `moments` are those of the targets that the switch, the subgoal and the action read. With exact tables this
    is the noise that later decisions and the world put into an advantage.
    """
    arrive_TSO, act_TSO = visits(world, policy)
    switch_TSO = switch_probability(world, policy)
    choice_TSO = arrive_TSO * (np.arange(world.horizon) > 0)[:, None, None]
    boundary_TS1 = (arrive_TSO * switch_TSO).sum(axis=2, keepdims=True)
    switch, subgoal, action = ((m.mean_TSOA, m.square_TSOA) for m in moments)
    kept, square_kept = (_over_actions(policy, x) for x in switch)
    switched, square_switched = (_over_subgoals(policy, x) for x in switch)
    chosen, square_chosen = (_over_actions(policy, x) for x in subgoal)
    variances = (
        ((1 - switch_TSO) * (square_kept - kept**2) + switch_TSO * (square_switched - switched**2), choice_TSO),
        (square_chosen - chosen**2, boundary_TS1 * policy.subgoal_SO),
        (action[1] - action[0] ** 2, act_TSO[..., None] * policy.action_SOA),
    )
    return np.array([(variance * weight).sum() / weight.sum() for variance, weight in variances])
