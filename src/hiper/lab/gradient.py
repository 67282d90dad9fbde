"""The policy gradient from the expected signal of each decision, exactly; and the slow way, by differences."""

from dataclasses import dataclass

import numpy as np

from hiper.lab.mdp import (
    Features,
    FloatArray,
    Policy,
    Tables,
    World,
    exact_tables,
    expected_return,
    make_policy,
    switch_probability,
    visits,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signals:
    """Expected advantage of each decision, up to what does not depend on the decision.

    switch_TSOQ: [t, state, last subgoal, KEEP or SWITCH]; subgoal_TSO: given SWITCH; action_TSOA: given the
    subgoal in force.
    """

    switch_TSOQ: FloatArray
    subgoal_TSO: FloatArray
    action_TSOA: FloatArray


def gradient_of(world: World, policy: Policy, signals: Signals, *, discounted: bool = True) -> FloatArray:
    """[3, D]: the gradient that these signals give through switch, subgoal and action; the whole is their sum.

    g = E Σₜ γᵗ [score(switchₜ) signal + score(subgoalₜ) signal at a SWITCH + score(actionₜ) signal]

    Without the discount γᵗ is left out, as is usual; then g is in general the gradient of nothing.
    """
    arrive_TSO, act_TSO = visits(world, policy)
    switch_TSO = switch_probability(world, policy)
    discount_T = (world.gamma if discounted else 1.0) ** np.arange(world.horizon)
    choice_TSO = discount_T[:, None, None] * arrive_TSO
    choice_TSO[0] = 0.0  # turn 0 has no choice
    probability_SOQ = np.stack([1 - policy.switch_SO, policy.switch_SO], axis=2)
    boundary_TS = discount_T[:, None] * (arrive_TSO * switch_TSO).sum(axis=2)
    weight_switch = choice_TSO[..., None] * probability_SOQ * signals.switch_TSOQ
    weight_subgoal = boundary_TS[..., None] * policy.subgoal_SO * signals.subgoal_TSO
    weight_action = (discount_T[:, None, None] * act_TSO)[..., None] * policy.action_SOA * signals.action_TSOA
    return np.stack(
        [
            np.tensordot(weight_switch.sum(axis=0), policy.switch_score_SOQD, axes=3),
            np.tensordot(weight_subgoal.sum(axis=0), policy.subgoal_score_SOD, axes=2),
            np.tensordot(weight_action.sum(axis=0), policy.action_score_SOAD, axes=3),
        ]
    )


def exact_signals(world: World, policy: Policy, tables: Tables) -> Signals:
    """True advantages: V_high or V_low against U, V_low against V_high, Q against V_low. `tables` must be exact."""
    reward_SA = (world.next_SAS * world.reward_SAS).sum(axis=2)
    after_TSOA = world.gamma * np.einsum("sax,txo->tsoa", world.next_SAS, tables.U_TSO[1:])
    Q_TSOA = reward_SA[:, None, :] + after_TSOA
    V_low_TSO, V_high_TS1 = tables.V_low_TSO[:-1], tables.V_high_TS[:-1, :, None]
    kept_or_switched_TSOQ = np.stack([V_low_TSO, np.broadcast_to(V_high_TS1, V_low_TSO.shape)], axis=3)
    return Signals(
        switch_TSOQ=kept_or_switched_TSOQ - tables.U_TSO[:-1, :, :, None],
        subgoal_TSO=V_low_TSO - V_high_TS1,
        action_TSOA=Q_TSOA - V_low_TSO[..., None],
    )


def exact_gradient(world: World, policy: Policy) -> FloatArray:
    """[3, D]: the gradient of J through switch, subgoal and action."""
    return gradient_of(world, policy, exact_signals(world, policy, exact_tables(world, policy)))


def difference_gradient(
    world: World, features: Features, theta_D: FloatArray, coordinates: FloatArray, step: float = 1e-5
) -> FloatArray:
    """Central differences of J along the given directions [K, D]."""

    def J(theta: FloatArray) -> float:
        return expected_return(world, make_policy(features, theta))

    return np.array([(J(theta_D + step * e) - J(theta_D - step * e)) / (2 * step) for e in coordinates])
