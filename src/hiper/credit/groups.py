"""The episodes of one task, compared: what the methods that need no critic have in common."""

from dataclasses import dataclass

import numpy as np

from hiper.credit.scan import BoolArray, FloatArray, IntArray

SMALLEST_SCALE = 1e-8  # returns that differ by less are taken to be equal: there is nothing to scale


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

    Entries that do not differ, or that are alone, have the distance 0 to their mean and stay 0.

    >>> compared(np.array([0.0, 2.0, 4.0, 7.0]), np.array([0, 0, 0, 1]), normalise_std=True)
    array([-1.,  0.,  1.,  0.])
    """
    size_K = np.maximum(np.bincount(index_N), 1)
    centred_N = x_N - (np.bincount(index_N, weights=x_N) / size_K)[index_N]
    if not normalise_std:
        return centred_N
    variance_K = np.bincount(index_N, weights=centred_N**2) / np.maximum(size_K - 1, 1)
    scale_N = np.sqrt(variance_K)[index_N]
    return centred_N / np.where(scale_N > SMALLEST_SCALE, scale_N, 1.0)


def spread(advantage_B: FloatArray, mask_BT: BoolArray) -> GroupCredit:
    """The same advantage for every turn of an episode."""
    return GroupCredit(advantage_BT=np.where(mask_BT, advantage_B[:, None], 0.0), mask_BT=mask_BT)
