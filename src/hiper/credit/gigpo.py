"""GiGPO: an episode against its group, and a turn against all turns of the group that saw the same state."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.groups import GroupCredit, compared
from hiper.credit.places import places
from hiper.credit.returns import episode_return, return_to_go


def gigpo(
    rewards_BT: ArrayLike,
    lengths_B: ArrayLike,
    group_B: ArrayLike,
    state_BT: ArrayLike,
    *,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    normalise_std: bool = True,
) -> GroupCredit:
    """`grpo` for the episode, plus the same comparison among the turns that started from one state.

    With R the undiscounted return of the episode, Gₜ = rₜ + γ Gₜ₊₁ the discounted return from turn t, and ω =
    `step_weight`:

        A_E = (R - mean R) / std R          over the episodes of the group
        A_S = (Gₜ - mean G) / std G         over all turns of the group with the state of turn t (the anchor)
        Aₜ  = A_E + ω A_S

    A state that was seen once, or is marked -1, has nothing to be compared with: A_S = 0. All visits count, also
    several of one episode. std divides by n - 1; with `normalise_std=False` it is left out of both.

    Special cases. ω = 0, or no state seen twice: `grpo`. Episodes of one turn from one state: `grpo` times 1 + ω.

    The mean at an anchor holds the turn's own return and, where an episode came by again, returns of the same
    episode: the step credit is biased, the less so the more episodes meet there.
    A truncated episode counts with the return that was seen: without a critic nobody can say what was to come.

    Feng et al., "Group-in-group policy optimization for LLM agent training", https://arxiv.org/abs/2505.10978,
    section 4.

    Args:
        rewards_BT, lengths_B, group_B: as in `grpo`.
        state_BT: an integer per turn, the same for turns of a group that saw the same state; -1 for none.
        gamma: discount γ per turn of the returns compared at anchors, 0 to 1.
        step_weight: ω, weight of the comparison at anchors, 0 or more.
        normalise_std: divide both parts by their group's standard deviation.

    Two episodes of one task with the returns 8 and 0. They part after state 5: the discounted returns there are
    .25·8 = 2 and 0, so that A_E = 4 and A_S = 1 for the first; turn 1 and 2 have no equal.

    >>> gigpo([[0, 0, 8], [0, 0, 0]], [3, 2], [7, 7], [[5, 6, 8], [5, 9, -1]], gamma=0.5,
    ...       normalise_std=False).advantage_BT
    array([[ 5.,  4.,  4.],
           [-5., -4.,  0.]])
    """
    gamma, step_weight = checks.fraction("gamma", gamma), checks.not_negative("step_weight", step_weight)
    e = checks.seen_episodes(rewards_BT, lengths_B)
    index_B = checks.groups(group_B, e.mask_BT.shape[:1], pairs_for="gigpo")
    state_BT = checks.ids("state_BT", state_BT, e.mask_BT)

    episode_B = compared(episode_return(e), index_B, normalise_std)
    anchor_BT = places(index_B, state_BT)
    step_BT = np.zeros_like(e.rewards_BT)
    seen_BT = anchor_BT >= 0
    step_BT[seen_BT] = compared(return_to_go(e, gamma)[seen_BT], anchor_BT[seen_BT], normalise_std)
    advantage_BT = np.where(e.mask_BT, episode_B[:, None] + step_weight * step_BT, 0.0)
    return GroupCredit(advantage_BT=advantage_BT, mask_BT=e.mask_BT)
