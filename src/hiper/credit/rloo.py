"""RLOO: an episode against the mean of the others of its group."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.groups import GroupCredit, compared, spread
from hiper.credit.returns import episode_return


def rloo(rewards_BT: ArrayLike, lengths_B: ArrayLike, group_B: ArrayLike) -> GroupCredit:
    """One advantage for all turns of an episode: its return minus what the others of its task got.

    With Rᵢ = Σₜ rᵢₜ the undiscounted return of episode i, and n episodes in its group:

        Aᵢ = Rᵢ - Σ_{j≠i} Rⱼ / (n - 1)

    The baseline holds nothing of the episode itself, so the gradient of the return that was seen is unbiased.

    Special case: n/(n - 1) times `grpo` without the standard deviation.

    A truncated episode counts with the return that was seen: without a critic nobody can say what was to come.

    Ahmadian et al., "Back to basics: revisiting REINFORCE-style optimization for learning from human feedback in
    LLMs", https://arxiv.org/abs/2402.14740, the estimator of that name; Kool et al., "Buy 4 REINFORCE samples, get a
    baseline for free!" (2019).

    Args:
        rewards_BT, lengths_B, group_B: as in `grpo`.

    Three episodes of one task with the returns 0, 2 and 4; the others of the first have (2 + 4)/2 = 3:

    >>> rloo([[0, 0, 0], [0, 2, 0], [0, 0, 4]], [3, 2, 3], [7, 7, 7]).advantage_BT
    array([[-3., -3., -3.],
           [ 0.,  0.,  0.],
           [ 3.,  3.,  3.]])
    """
    e = checks.seen_episodes(rewards_BT, lengths_B)
    index_B = checks.groups(group_B, e.mask_BT.shape[:1], pairs_for="rloo")
    size_B = np.bincount(index_B)[index_B]
    from_mean_B = compared(episode_return(e), index_B, normalise_std=False)
    return spread(from_mean_B * size_B / (size_B - 1), e.mask_BT)  # of the others' mean it is as much further away
