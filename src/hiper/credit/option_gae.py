"""Turn-level GAE with a baseline of its own for each decision: hierarchical values, flat trace."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.hae import HAECredit
from hiper.credit.scan import backward, next_turn


def option_gae(
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
) -> HAECredit:
    """One λ-return for the whole turn, as in `gae`, measured against what was known at each of its decisions.

        Lₜ = rₜ + γ {(1 - λ) Uₜ₊₁ + λ Lₜ₊₁},   U_T = L_T = 0 if terminated, else U_final

        switch:   Lₜ - Uₜ         for t > 0
        subgoal:  L_b - V_high_b  at boundaries b
        action:   Lₜ - V_lowₜ

    It separates the two ideas of `hae`: this is its baselines without its cut of the trace at boundaries.

    Special cases. U = V_high = V_low: `gae` for all three. λ = 1: the discounted return minus a baseline,
    unbiased for any values; `hae` with `lam_boundary` and both λ at 1 is the same. For λ < 1 it is biased by
    the errors of U alone.

    Why any baseline will do: Sutton et al., "Policy gradient methods for reinforcement learning with function
    approximation" (2000), section 3; the trace: https://arxiv.org/abs/1506.02438, equation (16).

    Args:
        rewards_BT, switches_BT, lengths_B, terminated_B, U_BT, V_high_BT, V_low_BT, U_final_B: as in `hae`.
        gamma: discount γ per turn, 0 to 1.
        lam: weight λ of later surprises, per turn, 0 to 1.

    The three turns of `hae`: L₂ = 8, L₁ = .5 (.5·5 + .5·8) = 3.25 and L₀ = .5 (.5·1.5 + .5·3.25) = 1.1875.

    >>> nan = float("nan")
    >>> U, V_high, V_low = [[nan, 1.5, 5]], [[1, nan, 4]], [[1, 1, 4]]
    >>> credit = option_gae([[0, 0, 8]], [[1, 0, 1]], [3], [True], U, V_high, V_low, None, gamma=0.5, lam=0.5)
    >>> credit.return_low_BT
    array([[1.1875, 3.25  , 8.    ]])
    >>> credit.switch_BT
    array([[0.  , 1.75, 3.  ]])
    >>> credit.subgoal_BT
    array([[0.1875, 0.    , 4.    ]])
    """
    gamma, lam = checks.fraction("gamma", gamma), checks.fraction("lam", lam)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    d = checks.decisions(e, switches_BT, U_BT, V_high_BT, V_low_BT)

    known_BT = (1.0 - lam) * next_turn(d.U_BT) + e.after_BT
    return_BT = backward(e.rewards_BT + gamma * known_BT, np.where(e.goes_on_BT, gamma * lam, 0.0))
    return_high_BT = np.where(d.boundary_BT, return_BT, 0.0)
    return HAECredit(
        switch_BT=np.where(d.choice_BT, return_BT - d.U_BT, 0.0),
        subgoal_BT=return_high_BT - d.V_high_BT,
        action_BT=return_BT - d.V_low_BT,
        return_U_BT=return_BT,
        return_high_BT=return_high_BT,
        return_low_BT=return_BT,
        mask_high_BT=d.boundary_BT,
        mask_BT=e.mask_BT,
    )
