"""GRPO and Dr. GRPO: an episode against the mean of its group."""

from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.groups import GroupCredit, compared, spread
from hiper.credit.returns import episode_return


def grpo(rewards_BT: ArrayLike, lengths_B: ArrayLike, group_B: ArrayLike, *, normalise_std: bool = True) -> GroupCredit:
    """One advantage for all turns of an episode: how its return stands out among those of the same task.

    With Rᵢ = Σₜ rᵢₜ the undiscounted return of episode i, and mean and std over its group:

        Aᵢ = (Rᵢ - mean R) / std R      GRPO
        Aᵢ = Rᵢ - mean R                Dr. GRPO, `normalise_std=False`

    std divides by n - 1. In a group whose returns are all equal every advantage is 0.

    Special cases. Dr. GRPO is `rloo` times (n - 1)/n: its mean holds the episode's own return, which shortens the
    gradient by that factor and, in groups of one size, does not turn it. With the std a task weighs more the more its
    returns agree, and the direction is biased.

    A truncated episode counts with the return that was seen: without a critic nobody can say what was to come.

    Shao et al., "DeepSeekMath", https://arxiv.org/abs/2402.03300, section 4.1.2; Liu et al., "Understanding
    R1-Zero-like training" (Dr. GRPO), https://arxiv.org/abs/2503.20783, section 3.

    Args:
        rewards_BT: rₜ, reward of turn t in [0, T-1], environment units. Not read beyond an episode's length.
        lengths_B: number of turns of each episode, 1 to T.
        group_B: an integer per episode, the same for episodes of one task. Each group needs 2 or more.
        normalise_std: divide by the group's standard deviation.

    Three episodes of one task with the returns 0, 2 and 4: mean 2, std 2.

    >>> grpo([[0, 0, 0], [0, 2, 0], [0, 0, 4]], [3, 2, 3], [7, 7, 7]).advantage_BT
    array([[-1., -1., -1.],
           [ 0.,  0.,  0.],
           [ 1.,  1.,  1.]])
    """
    e = checks.seen_episodes(rewards_BT, lengths_B)
    index_B = checks.groups(group_B, e.mask_BT.shape[:1], pairs_for="grpo")
    return spread(compared(episode_return(e), index_B, normalise_std), e.mask_BT)
