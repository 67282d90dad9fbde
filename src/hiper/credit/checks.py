"""What the estimators ask of their arguments. A complaint names argument, place and what was expected."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiper.credit.scan import BoolArray, FloatArray, IntArray, next_turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episodes:
    """What happened, checked: rewards and ends of B episodes in arrays of T columns, zero in padding."""

    rewards_BT: FloatArray
    mask_BT: BoolArray  # the turn was played
    goes_on_BT: BoolArray  # so was the one after it
    after_BT: FloatArray  # at an episode's last turn: what is to come after it; elsewhere 0


def episodes(
    rewards_BT: ArrayLike, lengths_B: ArrayLike, terminated_B: ArrayLike, U_final_B: ArrayLike | None
) -> Episodes:
    rewards = reals("rewards_BT", rewards_BT)
    lengths = turn_counts("lengths_B", lengths_B, rewards.shape)
    terminated = flags("terminated_B", terminated_B, lengths.shape)
    mask_BT: BoolArray = np.arange(rewards.shape[1]) < lengths[:, None]
    goes_on_BT = next_turn(mask_BT)
    after_B = final_values("U_final_B", U_final_B, terminated)
    return Episodes(
        rewards_BT=where_read("rewards_BT", rewards, mask_BT),
        mask_BT=mask_BT,
        goes_on_BT=goes_on_BT,
        after_BT=np.where(mask_BT & ~goes_on_BT, after_B[:, None], 0.0),
    )


def reals(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None) -> FloatArray:
    """`value` as float64. Without `shape` it must be [B, T]; NaN may stand where nothing is read."""
    array = _array(name, value)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name}: expected real numbers, got dtype {array.dtype}")
    _check_shape(name, array, shape)
    return array.astype(np.float64)


def flags(name: str, value: ArrayLike, shape: tuple[int, ...]) -> BoolArray:
    """`value` as bool; integers and reals are accepted when each is 0 or 1."""
    array = _array(name, value)
    if array.dtype.kind not in "bfiu":
        raise TypeError(f"{name}: expected booleans, got dtype {array.dtype}")
    _check_shape(name, array, shape)
    _check_each(name, array, (array == 0) | (array == 1), "True or False")
    return array.astype(np.bool_)


def turn_counts(name: str, value: ArrayLike, shape_BT: tuple[int, ...]) -> IntArray:
    """`value` as int64, one number of turns per episode, each from 1 to T."""
    episodes, turns = shape_BT
    array = _array(name, value)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got dtype {array.dtype}")
    _check_shape(name, array, (episodes,))
    counts_B = array.astype(np.int64)
    _check_each(name, array, (counts_B >= 1) & (counts_B <= turns), f"1 to {turns} turns")
    return counts_B


def fraction(name: str, value: object) -> float:
    """A discount or a lambda: a real number from 0 to 1."""
    if isinstance(value, Real) and 0.0 <= float(value) <= 1.0:
        return float(value)
    raise ValueError(f"{name} = {value!r}: expected a number from 0 to 1")


def where_read(name: str, value: ArrayLike, read: BoolArray) -> FloatArray:
    """`value` as float64, with 0 where it is not read. Where it is read it must be finite."""
    array = reals(name, value, read.shape)
    _check_each(name, array, np.isfinite(array) | ~read, "a finite number, because it is read")
    return np.where(read, array, 0.0)


def final_values(name: str, value: ArrayLike | None, terminated_B: BoolArray) -> FloatArray:
    """What an episode is worth after its last turn: 0 if terminated, else the value that was given for it."""
    if value is None:
        if not terminated_B.all():
            episode = int(np.flatnonzero(~terminated_B)[0])
            raise ValueError(f"{name} is missing: episode {episode} was truncated, so its world went on")
        return np.zeros(terminated_B.shape)
    return where_read(name, value, ~terminated_B)


def _array(name: str, value: ArrayLike) -> NDArray[np.generic]:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected rows of one length, padded: {error}") from error


def _check_shape(name: str, array: NDArray[np.generic], shape: tuple[int, ...] | None) -> None:
    if shape is None and array.ndim != 2:
        raise ValueError(f"{name}: expected two axes, [episodes, turns], got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape} to go with rewards_BT, got {array.shape}")


def _check_each(name: str, array: NDArray[np.generic], good: BoolArray, expected: str) -> None:
    if not good.all():
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"{name}[{', '.join(map(str, index))}] = {array[index]}: expected {expected}")
