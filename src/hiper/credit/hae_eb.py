"""Expected-bootstrap HAE: at each turn the value before the switch decision stands in for the one after it."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.hae import HAECredit
from hiper.credit.returns import segment_return
from hiper.credit.scan import backward, next_turn


def hae_eb(
    rewards_BT: ArrayLike,
    switches_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    U_BT: ArrayLike,
    V_high_BT: ArrayLike,
    V_low_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    *,
    gamma: float = 0.95,
    lam: float = 0.95,
    switch_from_values: bool = False,
) -> HAECredit:
    """`hae` with less noise: an action does not answer for the luck of the next switch decision.

    `hae` bootstraps an action from V_low if the next turn keeps and from V_high if it switches: a draw whose
    mean is U. Here U itself is the bootstrap, and the draw enters with λ like all that is further away.
    With Wₜ the value after turn t's switch decision, V_highₜ at a boundary and V_lowₜ elsewhere:

        action:   A_lowₜ   = rₜ + γ Uₜ₊₁ - V_lowₜ + γ λ (Wₜ₊₁ - Uₜ₊₁ + [qₜ₊₁ = KEEP] A_lowₜ₊₁)
        subgoal:  A_high_b = A_low_b + V_low_b - V_high_b              at boundaries b
        switch:   A_swₜ    = Sₜ - Uₜ                                   for t > 0
                             Sₜ: discounted reward to the next boundary, then V_high there, as in `hae`
                  or Wₜ - Uₜ with `switch_from_values`

    After the last turn U is 0 if terminated, else U_final, and the bracket is 0.

    Special cases. λ = 1: actions as in `hae` with λ_low = 1. λ = 0: actions as in `option_gae` with λ = 0. U equal
    to W: actions as in `hae` with λ_low = λ. With exact values all three are unbiased at any λ, and the noise of
    an action or subgoal is at most that of flat GAE. With learned values errors of U (λ < 1) and V_high bias them.

    The switch from values has, given what was seen, no noise at all, but its expected direction is
    V_high - V_low(sₜ, oₜ₋₁) as the critic has them: errors go in undiluted, so it is off by default. It needs no
    value of a road not taken: on a KEEP V_lowₜ is V_low(sₜ, oₜ₋₁), on a SWITCH V_highₜ was fitted, and
    Wₜ - Uₜ differs from (qₜ - β) (V_high - V_low(sₜ, oₜ₋₁)), which would need an extra forward pass, by a baseline.

    Expected SARSA (Sutton and Barto, "Reinforcement learning", 2nd edition, 2018, equation (6.9)) on the switch
    decision of HiPER, https://arxiv.org/abs/2602.16165, section 4.

    Args:
        rewards_BT, switches_BT, lengths_B, terminated_B, U_BT, V_high_BT, V_low_BT, U_final_B: as in `hae`.
        gamma: discount γ per turn, 0 to 1.
        lam: weight λ of later surprises in a segment, per turn, 0 to 1.
        switch_from_values: credit a switch by the critic's two values instead of by what followed. The target of U
            stays Sₜ: what followed.

    The three turns of `hae`: 8 - 4; then .5·5 - 1 + .25 (4 - 5), cut; then .5·1.5 - 1 + .25 (1 - 1.5 + 1.25):

    >>> nan = float("nan")
    >>> U, V_high, V_low = [[nan, 1.5, 5]], [[1, nan, 4]], [[1, 1, 4]]
    >>> credit = hae_eb([[0, 0, 8]], [[1, 0, 1]], [3], [True], U, V_high, V_low, None, gamma=0.5, lam=0.5)
    >>> credit.action_BT
    array([[-0.0625,  1.25  ,  4.    ]])
    >>> credit.subgoal_BT  # + V_low - V_high, here 0
    array([[-0.0625,  0.    ,  4.    ]])
    >>> credit.switch_BT
    array([[0. , 0.5, 3. ]])
    """
    gamma, lam = checks.fraction("gamma", gamma), checks.fraction("lam", lam)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    d = checks.decisions(e, switches_BT, U_BT, V_high_BT, V_low_BT)

    decided_BT = np.where(d.boundary_BT, d.V_high_BT, d.V_low_BT)
    switched_BT = np.where(d.choice_BT, decided_BT - d.U_BT, 0.0)
    keep_next_BT = e.goes_on_BT & ~next_turn(d.boundary_BT)
    surprise_BT = e.rewards_BT + gamma * (next_turn(d.U_BT) + e.after_BT + lam * next_turn(switched_BT)) - d.V_low_BT
    action_BT = backward(surprise_BT, np.where(keep_next_BT, gamma * lam, 0.0))

    return_low_BT = action_BT + d.V_low_BT
    return_high_BT = np.where(d.boundary_BT, return_low_BT, 0.0)
    return_U_BT = segment_return(e, d, gamma, np.zeros_like(d.U_BT))
    sampled_BT = np.where(d.choice_BT, return_U_BT - d.U_BT, 0.0)
    return HAECredit(
        switch_BT=switched_BT if switch_from_values else sampled_BT,
        subgoal_BT=return_high_BT - d.V_high_BT,
        action_BT=action_BT,
        return_U_BT=return_U_BT,
        return_high_BT=return_high_BT,
        return_low_BT=return_low_BT,
        mask_high_BT=d.boundary_BT,
        mask_BT=e.mask_BT,
    )
