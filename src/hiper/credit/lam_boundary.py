"""How much of the trace should cross a boundary: as much as V_high there cannot be trusted."""

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.places import moments_of_others, places, sum_over_other_tasks
from hiper.credit.returns import return_to_go
from hiper.credit.scan import BoolArray, FloatArray, IntArray

SMALLEST_SPREAD = 1e-24  # of returns, in parts of their mean square: below it is rounding


def adaptive_lam_boundary(
    rewards_BT: ArrayLike,
    switches_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    V_high_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    group_B: ArrayLike | None = None,
    state_BT: ArrayLike | None = None,
    *,
    gamma: float = 0.95,
    averaged_over: int = 1,
) -> FloatArray:
    """κ of each episode [B], from how well V_high explains the returns at the boundaries of the others.

    What `hae` takes for the rest of an episode behind a boundary is (1 - κ) V_high + κ M, with M the return from
    there on (λ_high = 1). If V_high is off by mean square τ², and M varies by σ² and is right on average, the mean
    square error (1 - κ)² τ² + κ² σ² is least at

        κ = τ² / (τ² + σ²)

    That is the best for one return. Where an update averages over N returns that share one error of the critic, their
    noise is divided by N and the error is not: for its sake κ = N τ² / (N τ² + σ²). Returns from one place share its
    error, those of all places only as far as the critic is wrong alike everywhere.

    With groups, σ² and τ² come from boundaries where episodes of one task met in one state (`moments_of_others`),
    all tasks but the episode's own. Without groups, or where none met, the two cannot be told apart, and

        κ = min(1, Σ (G - V_high)² / Σ (G - mean G)²) = 1 - (explained variance of V_high, 0 at least)

    over the boundaries of all other tasks (without groups: of all other episodes) stands in for it. It is no
    minimiser: V_high explains little also where it is exact and returns are luck, or all places are worth the same.
    If nothing is known, or nothing varies, κ = 1.

    Only boundaries after turn 0 count: no trace crosses the first. κ holds nothing of the episode's own future,
    so it adds no bias to that which `hae` has at a fixed κ.

    Args:
        rewards_BT, switches_BT, lengths_B, terminated_B, V_high_BT, U_final_B: as in `hae`.
        group_B: an integer per episode, the same for episodes of one task; or None. With `state_BT` or not at all.
        state_BT: an integer per turn: all that V_high depends on. -1: like no other.
        gamma: discount γ per turn, 0 to 1.
        averaged_over: N, the returns of an update that share one error of the critic.

    Four episodes with a boundary at their second turn, whose returns are 4, 8, 1 and 1 and whose values there are 0.
    By the second task V_high errs by 1 and nothing varies, so the first gets κ = 1; by the first τ² = 32, σ² = 8:

    >>> arrays = [[0, 4], [0, 8], [0, 1], [0, 1]], np.ones((4, 2)), [2] * 4, np.ones(4), np.zeros((4, 2)), None
    >>> adaptive_lam_boundary(*arrays, [3, 3, 4, 4], [[0, 1]] * 4, gamma=1.0)
    array([1. , 1. , 0.8, 0.8])
    >>> adaptive_lam_boundary(*arrays, [3, 3, 4, 4], [[0, 1]] * 4, gamma=1.0, averaged_over=4).round(3)
    array([1.   , 1.   , 0.941, 0.941])
    """
    gamma, averaged_over = checks.fraction("gamma", gamma), checks.positive("averaged_over", averaged_over)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    nothing_BT = np.zeros(e.mask_BT.shape)
    d = checks.decisions(e, switches_BT, nothing_BT, V_high_BT, nothing_BT)
    if (group_B is None) != (state_BT is None):
        given, missing = ("group_B", "state_BT") if state_BT is None else ("state_BT", "group_B")
        raise ValueError(f"{missing} is missing: {given} was given, and the one is no use without the other")
    if group_B is None or state_BT is None:
        index_B, place_BT = np.arange(len(e.mask_BT)), np.full(e.mask_BT.shape, -1)
    else:
        index_B = checks.groups(group_B, e.mask_BT.shape[:1], pairs_for=None)
        state_BT = checks.ids("state_BT", state_BT, e.mask_BT)
        place_BT = places(index_B, np.where(d.boundary_BT, state_BT, -1))
    later_BT = d.boundary_BT & d.choice_BT
    nobody_BT = np.zeros_like(place_BT)
    return_BT = return_to_go(e, gamma)
    arguments = return_BT, d.V_high_BT, later_BT, index_B, place_BT, nobody_BT, nothing_BT
    return own_share(*arguments, averaged_over)[:, 0]


def own_share(
    return_BT: FloatArray,
    V_high_BT: FloatArray,
    later_BT: BoolArray,
    index_B: IntArray,
    place_BT: IntArray,
    count_BT: IntArray,
    weight_BT: FloatArray,
    averaged_over: int,
) -> FloatArray:
    """N m / (N m + σ²) [B, T], with m = w² σ²/n + (1 - w)² τ²: what the own return is to count beside V'.

    m is the mean square error of w M + (1 - w) V_high, M the mean of n siblings at `place_BT`; σ² and τ² are those of
    the places in `later_BT`. Where w is the best for these, m = τ² σ² / (σ² + n τ²).
    """
    moments = moments_of_others(np.where(later_BT, place_BT, -1), return_BT, V_high_BT, index_B)
    noise_B1, error_B1 = moments.noise_B[:, None], moments.error_B[:, None]
    heard_BT = weight_BT**2 * noise_B1 / np.maximum(count_BT, 1)
    own_BT = averaged_over * (heard_BT + (1.0 - weight_BT) ** 2 * error_B1)
    total_BT = own_BT + noise_B1
    share_BT = np.where(total_BT > 0.0, own_BT / np.where(total_BT > 0.0, total_BT, 1.0), 1.0)
    return np.where(moments.known_B[:, None], share_BT, _unexplained(return_BT, V_high_BT, later_BT, index_B)[:, None])


def _unexplained(return_BT: FloatArray, V_BT: FloatArray, read_BT: BoolArray, index_B: IntArray) -> FloatArray:
    """For each episode Σ (G - V)² / Σ (G - mean G)² over the turns of the other tasks; 1 at most."""
    task_N = np.broadcast_to(index_B[:, None], read_BT.shape)[read_BT]
    return_N, V_N = return_BT[read_BT], V_BT[read_BT]
    task_K = np.arange(index_B.max(initial=-1) + 1)
    count_K = np.bincount(task_N, minlength=len(task_K))
    mean_K = np.bincount(task_N, return_N, len(task_K)) / np.maximum(count_K, 1)
    parts = np.ones_like(return_N), return_N, (return_N - mean_K[task_N]) ** 2, (return_N - V_N) ** 2, return_N**2
    others_K, sum_K, within_K, missed_K, size_K = (sum_over_other_tasks(x_N, task_N, task_K) for x_N in parts)
    # The spread by deviations from means: of squares of what is far from 0 little would be left.
    away_KK = mean_K - (sum_K / np.maximum(others_K, 1.0))[:, None]
    np.fill_diagonal(away_KK, 0.0)
    spread_K = within_K + (count_K * away_KK**2).sum(axis=1)
    varies_K = (spread_K > SMALLEST_SPREAD * size_K) & (missed_K < spread_K)
    return np.where(varies_K, missed_K / np.where(varies_K, spread_K, 1.0), 1.0)[index_B]
