"""Two array steps that every estimator here is built from: look one turn ahead, and recur backwards."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]
Column = TypeVar("Column", FloatArray, BoolArray, IntArray)


def next_turn(x_BT: Column) -> Column:
    """x[t+1] in place of x[t]; zero (False) in the last column.

    >>> next_turn(np.array([[1.0, 2.0, 3.0]]))
    array([[2., 3., 0.]])
    """
    x_tp1_BT = np.zeros_like(x_BT)
    x_tp1_BT[:, :-1] = x_BT[:, 1:]
    return x_tp1_BT


def backward(gain_BT: FloatArray, decay_BT: FloatArray) -> FloatArray:
    """Solves xₜ = gainₜ + decayₜ xₜ₊₁ from the last turn to the first, with x_T = 0.

    An estimator is its choice of `gain` and `decay`. Where a recursion is to stop (the end of an episode or
    of a segment) `decay` is 0, and in padding both are.

    >>> backward(np.array([[1.0, 1.0, 1.0]]), np.array([[0.5, 0.5, 0.5]]))
    array([[1.75, 1.5 , 1.  ]])
    """
    # Time first: each step then reads and writes one contiguous row of B numbers.
    gain_TB, decay_TB = np.ascontiguousarray(gain_BT.T), np.ascontiguousarray(decay_BT.T)
    x_TB = np.empty_like(gain_TB)
    x_B = np.zeros(gain_BT.shape[0])
    for t in reversed(range(len(gain_TB))):
        x_B = gain_TB[t] + decay_TB[t] * x_B
        x_TB[t] = x_B
    return np.ascontiguousarray(x_TB.T)
