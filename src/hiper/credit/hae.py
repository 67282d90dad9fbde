"""Hierarchical advantage estimation: one advantage per decision (switch, subgoal, action), on two clocks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.checks import Decisions, Episodes
from hiper.credit.returns import segment_return
from hiper.credit.scan import BoolArray, FloatArray, backward, next_turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HAECredit:
    """What `hae` and its relatives return. Arrays are [B, T], in reward units, and 0 (False) beyond the length.

    switch_BT:      advantage of the choice between KEEP and SWITCH; 0 at turn 0, where there is no choice.
    subgoal_BT:     advantage of the subgoal that was written; 0 outside boundaries.
    action_BT:      advantage of the action.
    return_U_BT:    target of U, at every turn played (`mask_BT`).
    return_high_BT: target of V_high, at boundaries only (`mask_high_BT`): elsewhere no SWITCH was seen.
    return_low_BT:  target of V_low, at every turn played (`mask_BT`).
    mask_high_BT:   True at boundaries.
    mask_BT:        True at the turns that were played.
    """

    switch_BT: FloatArray
    subgoal_BT: FloatArray
    action_BT: FloatArray
    return_U_BT: FloatArray
    return_high_BT: FloatArray
    return_low_BT: FloatArray
    mask_high_BT: BoolArray
    mask_BT: BoolArray


def hae(
    rewards_BT: ArrayLike,
    switches_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    U_BT: ArrayLike,
    V_high_BT: ArrayLike,
    V_low_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    gamma: float = 0.95,
    lam_low: float = 0.95,
    lam_high: float = 0.95,
    lam_boundary: ArrayLike = 0.0,
) -> HAECredit:
    """Credit of each decision from what came of it: actions turn by turn, subgoals segment by segment.

    A segment is the run of turns under one subgoal; its first turn b is a boundary (turn 0, and each SWITCH).
    U is the value before the switch decision, V_high given that it is SWITCH, V_low given the subgoal. With
    κ = `lam_boundary`, and qₜ the switch decision of turn t:

        Mₜ = rₜ + γ {Mₜ₊₁ if qₜ₊₁ = KEEP, else V_highₜ₊₁ + λ_high (Mₜ₊₁ - V_highₜ₊₁)}
        Sₜ = the same recursion with κ λ_high in place of λ_high

        subgoal:  A_high_b = M_b - V_high_b                                      at boundaries b
        action:   A_lowₜ   = rₜ + γ V_lowₜ₊₁  - V_lowₜ + γ λ_low A_lowₜ₊₁        if qₜ₊₁ = KEEP
                  A_lowₜ   = rₜ + γ V_highₜ₊₁ - V_lowₜ + γ λ_low κ A_highₜ₊₁     if qₜ₊₁ = SWITCH
        switch:   A_swₜ    = Sₜ - Uₜ                                             for t > 0

    After the last turn every successor (M, S, V) is 0 if terminated, else U_final, and no trace comes back:
    nobody has decided there, so the value before any decision is the one to use.

    Special cases. κ = 0 is the published estimator: what follows a boundary is summed up by V_high alone, so
    a wrong V_high biases action and switch at any λ. κ = 1 carries the trace across; with all λ = 1 each
    advantage is then the discounted return minus its baseline, unbiased for any values, and noisier. One
    segment: A_low is `gae` on V_low. A boundary at every turn: A_high is `gae` on V_high. λ_low counts turns
    and λ_high counts segments: equal horizons mean λ_high = λ_low to the power of the mean segment length.

    HiPER, https://arxiv.org/abs/2602.16165, section 4; `lam_boundary` and U_final at a cut are additions.

    Args:
        rewards_BT: rₜ, reward of turn t in [0, T-1], environment units.
        switches_BT: qₜ, True where turn t is a SWITCH. Turn 0 counts as one whatever is written.
        lengths_B: number of turns of each episode, 1 to T.
        terminated_B: True if the environment ended the episode; False if it was cut while the world went on.
        U_BT: value U(sₜ, oₜ₋₁) before the switch decision, reward units. Read for t in [1, T-1].
        V_high_BT: value given SWITCH, before the subgoal is written. Read at boundaries only.
        V_low_BT: value V(sₜ, oₜ) with the subgoal in force, before the action. Read for t in [0, T-1].
        U_final_B: value U(s_T, o_{T-1}) of what is seen after the last turn. Read where `terminated_B` is
            False; may be None if it is True everywhere.
        gamma: discount γ per turn, 0 to 1.
        lam_low: weight λ_low of later surprises in a segment, per turn, 0 to 1.
        lam_high: weight λ_high of later surprises, per segment, 0 to 1.
        lam_boundary: κ, how much of the trace crosses a boundary, 0 to 1: one number, or one per episode.

    Values that are not read may be NaN, and so may all rewards and values beyond an episode's length.

    Three turns, a new subgoal at the third, then the end:

    >>> nan = float("nan")
    >>> U, V_high, V_low = [[nan, 1.5, 5]], [[1, nan, 4]], [[1, 1, 4]]
    >>> credit = hae([[0, 0, 8]], [[1, 0, 1]], [3], [True], U, V_high, V_low, None,
    ...              gamma=0.5, lam_low=0.5, lam_high=0.5)
    >>> credit.subgoal_BT  # M = [1.5, 3, 8]: 3 is .5 (4 + .5 (8 - 4))
    array([[0.5, 0. , 4. ]])
    >>> credit.action_BT  # 8 - 4; then .5·4 - 1, cut off from the 4 after it; then .5·1 - 1 + .25·1
    array([[-0.25,  1.  ,  4.  ]])
    >>> credit.switch_BT  # S = [1, 2, 8]: 2 is .5·4
    array([[0. , 0.5, 3. ]])
    """
    gamma = checks.fraction("gamma", gamma)
    lam_low, lam_high = checks.fraction("lam_low", lam_low), checks.fraction("lam_high", lam_high)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    kappa_B1 = checks.fractions("lam_boundary", lam_boundary, len(e.mask_BT))
    d = checks.decisions(e, switches_BT, U_BT, V_high_BT, V_low_BT)
    return hae_of(e, d, gamma, lam_low, lam_high, np.broadcast_to(kappa_B1, e.mask_BT.shape))


def hae_of(e: Episodes, d: Decisions, gamma: float, lam_low: float, lam_high: float, kappa_BT: FloatArray) -> HAECredit:
    """`hae` once its arguments are checked. κ may differ from boundary to boundary."""
    return_high_BT = segment_return(e, d, gamma, np.full_like(kappa_BT, lam_high))
    return_U_BT = segment_return(e, d, gamma, kappa_BT * lam_high)
    subgoal_BT = np.where(d.boundary_BT, return_high_BT - d.V_high_BT, 0.0)

    switch_next_BT = next_turn(d.boundary_BT)
    keep_next_BT = e.goes_on_BT & ~switch_next_BT
    V_next_BT = np.where(keep_next_BT, next_turn(d.V_low_BT), next_turn(d.V_high_BT) + e.after_BT)
    surprise_BT = e.rewards_BT + gamma * V_next_BT - d.V_low_BT
    carried_BT = gamma * lam_low * next_turn(kappa_BT * subgoal_BT)
    action_BT = backward(surprise_BT + carried_BT, np.where(keep_next_BT, gamma * lam_low, 0.0))

    return HAECredit(
        switch_BT=np.where(d.choice_BT, return_U_BT - d.U_BT, 0.0),
        subgoal_BT=subgoal_BT,
        action_BT=action_BT,
        return_U_BT=return_U_BT,
        return_high_BT=np.where(d.boundary_BT, return_high_BT, 0.0),
        return_low_BT=action_BT + d.V_low_BT,
        mask_high_BT=d.boundary_BT,
        mask_BT=e.mask_BT,
    )
