"""Places: turns of one task that saw the same, and what the episodes that passed a place tell about it."""

from dataclasses import dataclass

import numpy as np

from hiper.credit.scan import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Siblings:
    """What the other episodes of the task got from the place of a turn on. 0 where there is no place.

    count_BT: how many of them passed it.
    mean_BT:  the mean of their returns, each from its first visit on; 0 if none passed.
    """

    count_BT: IntArray
    mean_BT: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """How far returns and values can be trusted, as the episodes of all *other* tasks show it.

    noise_B: σ², variance of a return from a place on.
    error_B: τ², mean square error of the critic there.
    known_B: whether episodes met at all; if not, both are 0.
    """

    noise_B: FloatArray
    error_B: FloatArray
    known_B: BoolArray


def places(index_B: IntArray, *ids_BT: IntArray) -> IntArray:
    """[B, T] numbers from 0: equal where the group and all ids are equal; -1 where an id is -1.

    >>> places(np.array([0, 0, 1]), np.array([[5, 6], [5, -1], [5, 6]]))
    array([[ 0,  1],
           [ 0, -1],
           [ 2,  3]])
    """
    known_BT = np.logical_and.reduce([ids >= 0 for ids in ids_BT])
    place_N = np.broadcast_to(index_B[:, None], known_BT.shape)[known_BT]
    for ids in ids_BT:
        # Both numbers stay below the number of turns in the batch, so that their product fits.
        _, other_N = np.unique(ids[known_BT], return_inverse=True)
        _, place_N = np.unique(place_N * (other_N.max(initial=0) + 1) + other_N, return_inverse=True)
    place_BT = np.full(known_BT.shape, -1)
    place_BT[known_BT] = place_N
    return place_BT


def siblings(place_BT: IntArray, return_BT: FloatArray) -> Siblings:
    """Leave-one-out means: an episode's own return is in the mean of all the others, and not in its own.

    >>> s = siblings(np.array([[0, 1], [0, 0], [0, -1]]), np.array([[3.0, 1.0], [6.0, 9.0], [2.0, 0.0]]))
    >>> s.count_BT
    array([[2, 0],
           [2, 2],
           [2, 0]])
    >>> s.mean_BT  # the second visit of the second episode brings nothing new
    array([[4. , 0. ],
           [2.5, 2.5],
           [4.5, 0. ]])
    """
    known_BT = place_BT >= 0
    place_N = place_BT[known_BT]
    first_P, visit_N = _first_visits(place_BT)
    return_P, place_P = return_BT[known_BT][first_P], place_N[first_P]
    count_N = np.bincount(place_P)[place_N] - 1
    others_N = np.bincount(place_P, weights=return_P)[place_N] - return_P[visit_N]
    count_BT, mean_BT = np.zeros(place_BT.shape, np.int64), np.zeros(place_BT.shape)
    count_BT[known_BT] = count_N
    mean_BT[known_BT] = np.where(count_N > 0, others_N / np.maximum(count_N, 1), 0.0)
    return Siblings(count_BT=count_BT, mean_BT=mean_BT)


def moments_of_others(place_BT: IntArray, return_BT: FloatArray, V_BT: FloatArray, index_B: IntArray) -> Moments:
    """σ² and τ² of each episode's task, from the places of all other tasks.

    At a place with the returns G_1..G_n (first visits), their mean M and the values V_1..V_n:

        within = Σⱼ (Gⱼ - M)²                expected: (n - 1) σ²
        missed = (n - 1)/n Σⱼ (Gⱼ - Vⱼ)²     expected: (n - 1) (σ² + τ²)

    Summed over places, both over Σ (n - 1), their difference is τ². A place passed once counts in neither, and a
    place counts the more the more siblings use it, so σ² and τ² may differ from place to place.

    >>> place, values, task = np.array([[0], [0], [1], [1]]), np.zeros((4, 1)), np.array([0, 0, 1, 1])
    >>> moments = moments_of_others(place, np.array([[4.0], [8.0], [1.0], [1.0]]), values, task)
    >>> moments.noise_B  # place 0, for the others: (4 - 6)² + (8 - 6)²
    array([0., 0., 8., 8.])
    >>> moments.error_B  # 1/2 (4² + 8²) - 8
    array([ 1.,  1., 32., 32.])
    """
    known_BT = place_BT >= 0
    first_P, _ = _first_visits(place_BT)
    return_P, V_P = (x_BT[known_BT][first_P] for x_BT in (return_BT, V_BT))
    task_P = np.broadcast_to(index_B[:, None], place_BT.shape)[known_BT][first_P]
    place_P = place_BT[known_BT][first_P]
    size_P = np.bincount(place_P)[place_P].astype(np.float64)
    mean_P = np.bincount(place_P, weights=return_P)[place_P] / size_P
    free_P = (size_P - 1) / size_P

    free_B = sum_over_other_tasks(free_P, task_P, index_B)
    within_B = sum_over_other_tasks((return_P - mean_P) ** 2, task_P, index_B)
    missed_B = sum_over_other_tasks(free_P * (return_P - V_P) ** 2, task_P, index_B)
    known_B = free_B > 0.0
    per_B = np.where(known_B, free_B, 1.0)
    return Moments(noise_B=within_B / per_B, error_B=np.maximum(missed_B - within_B, 0.0) / per_B, known_B=known_B)


def sum_over_other_tasks(x_N: FloatArray, task_N: IntArray, index_B: IntArray) -> FloatArray:
    """For each episode the sum of the entries of all other tasks, added up without its own: no rounding is left of it.

    >>> sum_over_other_tasks(np.array([1.0, 2.0, 4.0, 8.0]), np.array([0, 1, 2, 2]), np.array([0, 1, 2]))
    array([14., 13.,  3.])
    """
    x_K = np.bincount(task_N, weights=x_N, minlength=index_B.max(initial=-1) + 1).astype(np.float64)
    before_K, after_K = np.zeros_like(x_K), np.zeros_like(x_K)
    before_K[1:] = np.cumsum(x_K)[:-1]
    after_K[:-1] = np.cumsum(x_K[::-1])[:-1][::-1]
    return (before_K + after_K)[index_B]


def _first_visits(place_BT: IntArray) -> tuple[IntArray, IntArray]:
    """Among the N turns with a place: the first of each episode at each place, and for each turn which that is."""
    episode_N, _ = np.nonzero(place_BT >= 0)
    _, first_P, visit_N = np.unique(
        place_BT[place_BT >= 0] * len(place_BT) + episode_N, return_index=True, return_inverse=True
    )
    return first_P, visit_N
