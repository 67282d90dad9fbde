"""Token-level GAE: PPO as it is usual for language models, one advantage and one value per generated token."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.scan import BoolArray, FloatArray, backward, next_turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenCredit:
    """What `token_gae` returns. All arrays are [B, L] and 0 (False) in padding.

    advantage_BL: advantage of the token, in reward units.
    return_BL:    target of the token's value, advantage + value.
    mask_BL:      True at generated tokens.
    """

    advantage_BL: FloatArray
    return_BL: FloatArray
    mask_BL: BoolArray


def token_gae(
    rewards_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    turn_BL: ArrayLike,
    V_BL: ArrayLike,
    U_final_B: ArrayLike | None,
    *,
    gamma: float = 0.95,
    lam: float = 0.95,
) -> TokenCredit:
    """`gae` with a step for every token instead of every turn.

    The tokens l = 0..L-1 of all replies of an episode stand in one row. A turn's reward is paid at the last
    token of its reply. λ counts tokens; the discount counts turns, so it is γ where the turn changes and 1
    inside a reply:

        δ_l = V_{l+1} - V_l,                A_l = δ_l + λ A_{l+1}       inside a reply
        δ_l = rₜ + γ V_{l+1} - V_l,         A_l = δ_l + γ λ A_{l+1}     at the last token of turn t

    and after the last token V is 0 if terminated, else U_final, and A is 0.

    Special cases. One token a turn: `gae`. λ = 1: the discounted return minus the token's value, unbiased for
    any values. For λ < 1 the horizon is in tokens: a reply of 50 tokens at λ = .95 hands on .95⁵⁰ = 8 % of
    what comes after it.

    Schulman et al., "High-dimensional continuous control using generalized advantage estimation",
    https://arxiv.org/abs/1506.02438, equation (16), on tokens; with the turn's discount an addition.

    Args:
        rewards_BT: rₜ, reward of turn t in [0, T-1], environment units.
        lengths_B: number of turns of each episode, 1 to T.
        terminated_B: True if the environment ended the episode; False if it was cut while the world went on.
        turn_BL: the turn that a token belongs to: 0, .., 0, 1, .., lengths-1, then -1 in padding. Every turn
            has a token.
        V_BL: value of what was read and written before token l, reward units. Read where `turn_BL` is not -1.
        U_final_B: value of the observation after the last turn. Read where `terminated_B` is False; may be
            None if it is True everywhere.
        gamma: discount γ per turn, 0 to 1.
        lam: weight λ of later surprises, per token, 0 to 1.

    Three turns of one, two and one tokens. The surprises are 0 + .5·2 - 1 = 0, 4 - 2 = 2 inside the second
    reply, 0 + .5·4 - 4 = -2 and 8 - 4 = 4; a step inside a reply weighs .5, one between turns .25:

    >>> credit = token_gae([[0, 0, 8]], [3], [True], [[0, 1, 1, 2]], [[1, 2, 4, 4]], None, gamma=0.5, lam=0.5)
    >>> credit.advantage_BL
    array([[ 0.375,  1.5  , -1.   ,  4.   ]])
    """
    gamma, lam = checks.fraction("gamma", gamma), checks.fraction("lam", lam)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    turn_BL = checks.turns_of_tokens("turn_BL", turn_BL, e.mask_BT.sum(axis=1))
    mask_BL = turn_BL >= 0
    V_BL = checks.where_read("V_BL", V_BL, mask_BL, like="turn_BL")

    goes_on_BL = next_turn(mask_BL)
    is_last_BL = mask_BL & ~(goes_on_BL & (next_turn(turn_BL) == turn_BL))
    turn_read_BL = np.maximum(turn_BL, 0)
    paid_BL, after_BL = (
        np.where(is_last_BL, np.take_along_axis(x_BT, turn_read_BL, axis=1), 0.0) for x_BT in (e.rewards_BT, e.after_BT)
    )
    discount_BL = np.where(is_last_BL, gamma, 1.0)
    surprise_BL = paid_BL + discount_BL * (next_turn(V_BL) + after_BL) - V_BL
    advantage_BL = backward(surprise_BL, np.where(goes_on_BL, discount_BL * lam, 0.0))
    return TokenCredit(advantage_BL=advantage_BL, return_BL=advantage_BL + V_BL, mask_BL=mask_BL)
