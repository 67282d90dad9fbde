"""REINFORCE++: returns to go, on one scale for the whole batch."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.groups import GroupCredit, compared
from hiper.credit.returns import return_to_go


def reinforce_pp(
    rewards_BT: ArrayLike, lengths_B: ArrayLike, group_B: ArrayLike | None = None, *, gamma: float = 1.0
) -> GroupCredit:
    """The return that follows a turn, minus mean and divided by standard deviation over all turns of the batch.

    With Gₜ = rₜ + γ Gₜ₊₁ the return to go, and mean and std (over n - 1) taken over all turns played:

        Xₜ = Gₜ                          REINFORCE++
        Xₜ = Gₜ - mean of G₀ in the group REINFORCE++ with baseline, when `group_B` is given
        Aₜ = (Xₜ - mean X) / std X

    One scale for all tasks, unlike `grpo`: a batch's mean and std depend little on one episode, so what bias they
    bring falls with the size of the batch. Tasks of one difficulty need no groups; else the group's mean takes out
    how hard the task is.

    Special case: one group of episodes of one turn each is `grpo`.

    A truncated episode counts with the return that was seen: without a critic nobody can say what was to come.

    Hu et al., "REINFORCE++: stabilizing critic-free policy optimization with global normalization",
    https://arxiv.org/abs/2501.03262, section 3. There the penalty on the distance to a reference model is part of
    the reward; here it is if the caller puts it there.

    Args:
        rewards_BT: rₜ, reward of turn t in [0, T-1], environment units. Not read beyond an episode's length.
        lengths_B: number of turns of each episode, 1 to T.
        group_B: an integer per episode, the same for episodes of one task; each group needs 2 or more. None for
            the variant without a baseline.
        gamma: discount γ per turn, 0 to 1.

    Episodes of three turns and one, paid 4 and 0 at the end: the returns to go are 4, 4, 4 and 0, their mean 3 and
    their std 2.

    >>> reinforce_pp([[0, 0, 4], [0, 0, 0]], [3, 1]).advantage_BT
    array([[ 0.5,  0.5,  0.5],
           [-1.5,  0. ,  0. ]])
    """
    gamma = checks.fraction("gamma", gamma)
    e = checks.seen_episodes(rewards_BT, lengths_B)
    return_BT = return_to_go(e, gamma)
    if group_B is not None:
        index_B = checks.groups(group_B, e.mask_BT.shape[:1], pairs_for="reinforce_pp with group_B")
        task_B = return_BT[:, 0] - compared(return_BT[:, 0], index_B, normalise_std=False)
        return_BT = return_BT - task_B[:, None]
    one_batch_N = np.zeros(e.mask_BT.sum(), np.int64)
    advantage_BT = np.zeros_like(return_BT)
    advantage_BT[e.mask_BT] = compared(return_BT[e.mask_BT], one_batch_N, normalise_std=True)
    return GroupCredit(advantage_BT=advantage_BT, mask_BT=e.mask_BT)
