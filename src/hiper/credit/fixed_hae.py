"""Fixed-interval HAE: segments by the clock, for a flat policy. What is left of HAE without a hierarchy."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.gae import GAECredit
from hiper.credit.scan import backward, next_turn


def fixed_hae(
    rewards_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    U_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    *,
    every: int,
    gamma: float = 0.95,
    lam: float = 0.95,
) -> GAECredit:
    """`gae` whose trace is cut every n turns: the ablation that gives a flat policy HAE's way of bootstrapping.

        δₜ = rₜ + γ Uₜ₊₁ - Uₜ
        Aₜ = δₜ + γ λ Aₜ₊₁, but Aₜ = δₜ where turn t+1 is a multiple of n

    It is the action credit of `hae` with a boundary at every n-th turn and U = V_high = V_low. There is no
    subgoal and no switch to credit: the clock decides.

    Special cases. n = 1: `gae` with λ = 0. n at least the longest episode: `gae`.

    The missing ablation of HiPER, https://arxiv.org/abs/2602.16165, section 4, on one value function.

    Args:
        rewards_BT, lengths_B, terminated_B, U_BT, U_final_B: as in `gae`.
        every: n, turns per segment, 1 or more. The last segment of an episode may be shorter.
        gamma: discount γ per turn, 0 to 1.
        lam: weight λ of later surprises in a segment, 0 to 1.

    Three turns cut after the second. The surprises are 0, 0 + .5·4 - 2 = 0 and 8 - 4 = 4, and the 4 stays in
    its own segment:

    >>> fixed_hae([[0, 0, 8]], [3], [True], [[1, 2, 4]], None, every=2, gamma=0.5, lam=0.5).advantage_BT
    array([[0., 0., 4.]])
    """
    gamma, lam = checks.fraction("gamma", gamma), checks.fraction("lam", lam)
    every = checks.positive("every", every)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    U_BT = checks.where_read("U_BT", U_BT, e.mask_BT)

    surprise_BT = e.rewards_BT + gamma * (next_turn(U_BT) + e.after_BT) - U_BT
    cut_BT = np.arange(1, e.mask_BT.shape[1] + 1) % every == 0
    advantage_BT = backward(surprise_BT, np.where(e.goes_on_BT & ~cut_BT, gamma * lam, 0.0))
    return GAECredit(advantage_BT=advantage_BT, return_BT=advantage_BT + U_BT, mask_BT=e.mask_BT)
