"""The episodes of one task, compared: what the methods that need no critic have in common."""

from dataclasses import dataclass

import numpy as np

from hiper.credit.scan import BoolArray, FloatArray, IntArray

SMALLEST_SCALE = 1e-8  # times the largest of them where that is above 1: returns that differ by less count as equal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupCredit:
    """What an estimator without a critic returns. Arrays are [B, T] and 0 (False) beyond an episode's length.

    advantage_BT: how much better the turn's episode (or what followed the turn) was than that of its peers.
    mask_BT:      True at the turns that were played.
    """

    advantage_BT: FloatArray
    mask_BT: BoolArray


def compared(x_N: FloatArray, index_N: IntArray, normalise_std: bool) -> FloatArray:
    """Each entry minus the mean of all entries with its index, over their standard deviation (n - 1) if wanted.

    Entries that are equal, or alone, have exactly 0; where they differ by less than `SMALLEST_SCALE`, nothing is
    divided.

    >>> compared(np.array([0.0, 2.0, 4.0, 7.0]), np.array([0, 0, 0, 1]), normalise_std=True)
    array([-1.,  0.,  1.,  0.])
    """
    size_K = np.maximum(np.bincount(index_N), 1)
    lowest_K, largest_K = np.full(len(size_K), np.inf), np.ones(len(size_K))
    np.minimum.at(lowest_K, index_N, x_N)
    np.maximum.at(largest_K, index_N, np.abs(x_N))
    above_N = x_N - lowest_K[index_N]  # 0 where all are equal, and so is then their mean
    centred_N: FloatArray = above_N - (np.bincount(index_N, weights=above_N) / size_K)[index_N]
    if not normalise_std:
        return centred_N
    scale_K = np.sqrt(np.bincount(index_N, weights=centred_N**2) / np.maximum(size_K - 1, 1))
    scale_K[scale_K <= SMALLEST_SCALE * largest_K] = 1.0
    return np.asarray(centred_N / scale_K[index_N])


def spread(advantage_B: FloatArray, mask_BT: BoolArray) -> GroupCredit:
    """The same advantage for every turn of an episode."""
    return GroupCredit(advantage_BT=np.where(mask_BT, advantage_B[:, None], 0.0), mask_BT=mask_BT)
