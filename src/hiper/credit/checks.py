"""What the estimators ask of their arguments. A complaint names argument, place and what was expected."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import cast

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """The three values of each decision, checked: 0 where an estimator must not read them."""

    boundary_BT: BoolArray  # a subgoal was to be written: turn 0, and where switches_BT says so
    choice_BT: BoolArray  # every turn but turn 0, where there is no choice between KEEP and SWITCH
    U_BT: FloatArray
    V_high_BT: FloatArray
    V_low_BT: FloatArray


def episodes(
    rewards_BT: ArrayLike, lengths_B: ArrayLike, terminated_B: ArrayLike, U_final_B: ArrayLike | None
) -> Episodes:
    seen = seen_episodes(rewards_BT, lengths_B)
    terminated = flags("terminated_B", terminated_B, seen.mask_BT.shape[:1])
    after_B = final_values("U_final_B", U_final_B, terminated)
    return replace(seen, after_BT=np.where(seen.mask_BT & ~seen.goes_on_BT, after_B[:, None], 0.0))


def seen_episodes(rewards_BT: ArrayLike, lengths_B: ArrayLike) -> Episodes:
    """For estimators that count what was seen alone: nothing comes after the last turn, however it ended."""
    rewards = reals("rewards_BT", rewards_BT)
    lengths = turn_counts("lengths_B", lengths_B, rewards.shape)
    mask_BT: BoolArray = np.arange(rewards.shape[1]) < lengths[:, None]
    return Episodes(
        rewards_BT=where_read("rewards_BT", rewards, mask_BT),
        mask_BT=mask_BT,
        goes_on_BT=next_turn(mask_BT),
        after_BT=np.zeros(rewards.shape),
    )


def decisions(
    e: Episodes, switches_BT: ArrayLike, U_BT: ArrayLike, V_high_BT: ArrayLike, V_low_BT: ArrayLike
) -> Decisions:
    turn_0_BT = np.arange(e.mask_BT.shape[1]) == 0
    choice_BT = e.mask_BT & ~turn_0_BT
    switches = flags("switches_BT", switches_BT, e.mask_BT.shape, read=choice_BT)
    boundary_BT = e.mask_BT & (switches | turn_0_BT)
    return Decisions(
        boundary_BT=boundary_BT,
        choice_BT=choice_BT,
        U_BT=where_read("U_BT", U_BT, choice_BT),
        V_high_BT=where_read("V_high_BT", V_high_BT, boundary_BT),
        V_low_BT=where_read("V_low_BT", V_low_BT, e.mask_BT),
    )


def turns_of_tokens(name: str, value: ArrayLike, lengths_B: IntArray) -> IntArray:
    """`value` as int64 [B, L]: 0, .., 0, 1, .., lengths-1 without a gap, then -1."""
    array = _array(name, value)
    if array.ndim != 2 or len(array) != len(lengths_B):
        raise ValueError(f"{name}: expected two axes, [{len(lengths_B)} episodes, tokens], got shape {array.shape}")
    turn_BL = _integers(name, value, array.shape)
    before_BL = np.concatenate([np.full((len(turn_BL), 1), -1), turn_BL[:, :-1]], axis=1)
    first_BL = np.arange(turn_BL.shape[1]) == 0
    last_B1 = lengths_B[:, None] - 1
    opens_BL = (turn_BL == before_BL + 1) & (first_BL | (before_BL >= 0)) & (turn_BL <= last_B1)
    goes_on_BL = (turn_BL == before_BL) & ~first_BL
    ends_BL = (turn_BL == -1) & (before_BL == last_B1)
    _check_each(
        name,
        turn_BL,
        opens_BL | goes_on_BL | ends_BL,
        "turns 0, .., lengths - 1 in order, none without a token, then -1",
    )
    reached_B = turn_BL.max(axis=1, initial=-1)
    if (reached_B != lengths_B - 1).any():
        episode = int(np.flatnonzero(reached_B != lengths_B - 1)[0])
        raise ValueError(
            f"{name}[{episode}] ends with turn {reached_B[episode]}: expected tokens of all {lengths_B[episode]} turns"
        )
    return turn_BL


def reals(name: str, value: ArrayLike, shape: tuple[int, ...] | None = None, like: str = "rewards_BT") -> FloatArray:
    """`value` as float64. Without `shape` it must be [B, T]; NaN may stand where nothing is read."""
    array = _array(name, value)
    _check_kind(name, array, "bfiu", "a real number")
    _check_shape(name, array, shape, like)
    return array.astype(np.float64)


def flags(name: str, value: ArrayLike, shape: tuple[int, ...], read: BoolArray | None = None) -> BoolArray:
    """`value` as bool; integers and reals are accepted when each that is read (unset: all) is 0 or 1."""
    array = _array(name, value)
    _check_kind(name, array, "bfiu", "True or False")
    _check_shape(name, array, shape)
    is_right = (array == 0) | (array == 1)
    _check_each(name, array, is_right if read is None else is_right | ~read, "True or False")
    return np.asarray(array == 1)


def turn_counts(name: str, value: ArrayLike, shape_BT: tuple[int, ...]) -> IntArray:
    """`value` as int64, one number of turns per episode, each from 1 to T."""
    episodes, turns = shape_BT
    if episodes and not turns:
        raise ValueError("rewards_BT: expected a turn at least, got shape " + str(shape_BT))
    counts_B = _integers(name, value, (episodes,))
    _check_each(name, counts_B, (counts_B >= 1) & (counts_B <= turns), f"1 to {turns} turns")
    return counts_B


def fraction(name: str, value: object) -> float:
    """A discount or a lambda: a real number from 0 to 1."""
    value = _scalar(name, value)
    if isinstance(value, Real) and 0.0 <= float(value) <= 1.0:
        return float(value)
    raise ValueError(f"{name} = {value!r}: expected a number from 0 to 1")


def fractions(name: str, value: ArrayLike, episodes: int) -> FloatArray:
    """A fraction for all episodes or one for each, as a column [B, 1]."""
    array = _array(name, value)
    if array.ndim == 0:
        return np.full((episodes, 1), fraction(name, array))
    array = reals(name, array, (episodes,))
    _check_each(name, array, (array >= 0.0) & (array <= 1.0), "a number from 0 to 1")
    return array[:, None]


def positive(name: str, value: object) -> int:
    """A number of things: an integer, at least 1."""
    value = _scalar(name, value)
    if isinstance(value, Integral) and int(value) >= 1:
        return int(value)
    raise ValueError(f"{name} = {value!r}: expected an integer, 1 or more")


def not_negative(name: str, value: object) -> float:
    """A weight: a finite real number, 0 or more."""
    value = _scalar(name, value)
    if isinstance(value, Real) and 0.0 <= float(value) < np.inf:
        return float(value)
    raise ValueError(f"{name} = {value!r}: expected a number, 0 or more")


def ids(name: str, value: ArrayLike, read: BoolArray) -> IntArray:
    """`value` as int64: which state or subgoal it is, -1 for one that is like no other. -1 where not read."""
    array = _integers(name, value, read.shape)
    numbers = np.where(read, array, -1)
    _check_each(name, array, numbers >= -1, "an id from 0 on, or -1 for none")
    return numbers


def groups(value: ArrayLike, shape: tuple[int, ...], *, pairs_for: str | None) -> IntArray:
    """`group_B` as indices 0..K-1 of the tasks. With `pairs_for` a group of one is refused in its name."""
    array = _integers("group_B", value, shape)
    _, index_B, size_K = np.unique(array, return_inverse=True, return_counts=True)
    alone_B = size_K[index_B] == 1
    if pairs_for and alone_B.any():
        episode = int(np.flatnonzero(alone_B)[0])
        raise ValueError(
            f"group_B[{episode}] = {array[episode]}: a group of one; {pairs_for} compares the episodes of one "
            "task, so each group needs 2 or more"
        )
    return index_B.astype(np.int64)


def where_read(name: str, value: ArrayLike, read: BoolArray, like: str = "rewards_BT") -> FloatArray:
    """`value` as float64, with 0 where it is not read. Where it is read it must be finite."""
    array = reals(name, value, read.shape, like)
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


def _scalar(name: str, value: object) -> object:
    """The number in an array without axes, of numpy, torch or another; anything else as it is."""
    return _array(name, cast(ArrayLike, value)).item() if getattr(value, "ndim", None) == 0 else value


def _array(name: str, value: ArrayLike) -> NDArray[np.generic]:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name}: expected an array without a mask; NaN may stand where nothing is read")
    try:
        return np.asarray(value)
    except (TypeError, RuntimeError) as error:  # a tensor that has a gradient, lies on a GPU or is of a type of its own
        raise TypeError(f"{name}: expected what numpy can read: {error}") from error
    except ValueError as error:
        rows = list(value) if isinstance(value, Sequence) else []
        widths = [len(row) if isinstance(row, Sized) else -1 for row in rows]
        odd = next((i for i, width in enumerate(widths) if width != widths[0]), None)
        where = "" if odd is None else f"[{odd}]"
        raise ValueError(f"{name}{where}: expected rows of one length, padded: {error}") from error


def _integers(name: str, value: ArrayLike, shape: tuple[int, ...]) -> IntArray:
    array = _array(name, value)
    if array.size:
        _check_kind(name, array, "iu", "an integer")
    _check_shape(name, array, shape)
    _check_each(name, array, np.less_equal(array, np.iinfo(np.int64).max, dtype=bool), "an integer below 2**63")
    return array.astype(np.int64)


def _check_kind(name: str, array: NDArray[np.generic], kinds: str, expected: str) -> None:
    """Complain of the first entry that is none of these kinds: one such makes an array of another kind of all."""
    if array.dtype.kind in kinds:
        return
    for index, entry in np.ndenumerate(array):
        is_whole = isinstance(entry, Integral) or (isinstance(entry, Real) and float(entry).is_integer())
        if np.asarray(entry).dtype.kind not in kinds and not is_whole:  # else it may be innocent among integers
            shown = entry.item() if isinstance(entry, np.generic) else entry
            where = f"[{', '.join(map(str, index))}]" if index else ""
            raise TypeError(f"{name}{where} = {shown!r}: expected {expected}")
    raise TypeError(f"{name}: expected {expected} everywhere, got dtype {array.dtype}")


def _check_shape(
    name: str, array: NDArray[np.generic], shape: tuple[int, ...] | None, like: str = "rewards_BT"
) -> None:
    if shape is None and array.ndim != 2:
        raise ValueError(f"{name}: expected two axes, [episodes, turns], got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name}: expected shape {shape} to go with {like}, got {array.shape}")


def _check_each(name: str, array: NDArray[np.generic], good: BoolArray, expected: str) -> None:
    if not good.all():
        index = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"{name}[{', '.join(map(str, index))}] = {array[index]}: expected {expected}")
