"""Generalised advantage estimation: one advantage per turn, one value function."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.scan import BoolArray, FloatArray, backward, next_turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GAECredit:
    """What `gae` returns. All arrays are [B, T] and 0 (False) beyond an episode's length.

    advantage_BT: how much better the turn went than U said, in reward units.
    return_BT:    the target of U, advantage + U.
    mask_BT:      True at the turns that were played.
    """

    advantage_BT: FloatArray
    return_BT: FloatArray
    mask_BT: BoolArray


def gae(
    rewards_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    U_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    gamma: float = 0.95,
    lam: float = 0.95,
) -> GAECredit:
    """Credit of a turn as the discounted sum of the surprises that follow it.

    With δₜ = rₜ + γ Uₜ₊₁ - Uₜ, from the last turn T-1 backwards:

        Aₜ = δₜ + γ λ Aₜ₊₁,   A_T = 0,   U_T = 0 if terminated, else U_final.

    Special cases: λ = 0 is the one-turn surprise δₜ; λ = 1 is the discounted return minus Uₜ, and then the
    estimator is unbiased for any U. The discount counts turns, never tokens.

    Schulman et al., "High-dimensional continuous control using generalized advantage estimation",
    https://arxiv.org/abs/1506.02438, equation (16).

    Args:
        rewards_BT: rₜ, reward of turn t in [0, T-1], environment units.
        lengths_B: number of turns of each episode, 1 to T.
        terminated_B: True if the environment ended the episode; False if it was cut while the world went on.
        U_BT: value of what is seen at turn t in [0, T-1], before anything is decided; reward units.
        U_final_B: value of the observation after the last turn. Read where `terminated_B` is False; may be
            None if it is True everywhere.
        gamma: discount γ per turn, 0 to 1.
        lam: weight λ of later surprises, 0 to 1.

    Rewards and values beyond an episode's length are never read and may be NaN.

    Three turns, then the end. The surprises are 0 + .5·2 - 1 = 0, 0 + .5·4 - 2 = 0 and 8 - 4 = 4; each
    reaches the turn before it with weight γλ = .25:

    >>> credit = gae([[0, 0, 8]], [3], [True], [[1, 2, 4]], None, gamma=0.5, lam=0.5)
    >>> credit.advantage_BT
    array([[0.25, 1.  , 4.  ]])
    >>> credit.return_BT
    array([[1.25, 3.  , 8.  ]])
    """
    gamma, lam = checks.fraction("gamma", gamma), checks.fraction("lam", lam)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    U_BT = checks.where_read("U_BT", U_BT, e.mask_BT)

    surprise_BT = e.rewards_BT + gamma * (next_turn(U_BT) + e.after_BT) - U_BT
    advantage_BT = backward(surprise_BT, np.where(e.goes_on_BT, gamma * lam, 0.0))
    return GAECredit(advantage_BT=advantage_BT, return_BT=advantage_BT + U_BT, mask_BT=e.mask_BT)
