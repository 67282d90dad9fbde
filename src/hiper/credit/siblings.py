"""HAE that knows its siblings: the critic, corrected by the other episodes of the task that passed the same place."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hiper.credit import checks
from hiper.credit.checks import Decisions, Episodes
from hiper.credit.hae import HAECredit, hae_of
from hiper.credit.lam_boundary import own_share
from hiper.credit.places import moments_of_others, places, siblings
from hiper.credit.returns import return_to_go
from hiper.credit.scan import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SiblingValues:
    """The three values after the siblings were heard. Arrays are [B, T]; 0 where `hae` does not read.

    U_BT, V_high_BT, V_low_BT: critic and siblings, in reward units.
    weight_U_BT, weight_high_BT, weight_low_BT: how much of that is the siblings', 0 to 1; 0 where none passed.
    lam_boundary_BT: κ at boundaries after turn 0, what is left for the episode's own return; elsewhere 0.
    """

    U_BT: FloatArray
    V_high_BT: FloatArray
    V_low_BT: FloatArray
    weight_U_BT: FloatArray
    weight_high_BT: FloatArray
    weight_low_BT: FloatArray
    lam_boundary_BT: FloatArray


def sibling_hae(
    rewards_BT: ArrayLike,
    switches_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    U_BT: ArrayLike,
    V_high_BT: ArrayLike,
    V_low_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    group_B: ArrayLike,
    state_BT: ArrayLike,
    subgoal_BT: ArrayLike,
    before_BT: ArrayLike | None = None,
    *,
    gamma: float = 0.95,
    lam_low: float = 0.95,
    lam_high: float = 0.95,
    lam_boundary: ArrayLike | Literal["adaptive"] = "adaptive",
    averaged_over: int = 1,
) -> HAECredit:
    """`hae` on `sibling_values`, with as much trace across each boundary as the values there deserve.

    Special cases. Where no sibling passed, the values are the critic's: with a fixed κ and no two episodes at one
    place it is `hae`, to the last bit. With all λ and κ = 1 every advantage is the discounted return minus a
    baseline from which the episode's own future is absent: unbiased for any critic. A critic that is far off,
    and one turn an episode: `rloo`.

    Derived in `docs/credit.md`. Shrinkage: James and Stein, "Estimation with quadratic loss" (1961); states
    shared by the rollouts of a task: GiGPO, https://arxiv.org/abs/2505.10978, section 4; the rest as in `hae`.

    Args:
        rewards_BT, switches_BT, lengths_B, terminated_B, U_BT, V_high_BT, V_low_BT, U_final_B: as in `hae`.
        group_B, state_BT, subgoal_BT, before_BT: as in `sibling_values`.
        gamma, lam_low, lam_high: as in `hae`.
        lam_boundary: κ as in `hae`; "adaptive" takes that of `sibling_values`, boundary by boundary.
        averaged_over: as in `sibling_values`.

    The first two episodes of `sibling_values`, each a single turn, against the values 1 and 7.4:

    >>> sibling_hae([[8], [0], [4], [8]], np.ones((4, 1)), [1, 1, 1, 1], np.ones(4), np.zeros((4, 1)),
    ...     [[5], [5], [0], [0]], np.zeros((4, 1)), None, [3, 3, 4, 4], [[1]] * 4, [[1]] * 4, gamma=1.0).subgoal_BT
    array([[ 7. ],
           [-7.4],
           [ 4. ],
           [ 8. ]])
    """
    gamma = checks.fraction("gamma", gamma)
    lam_low, lam_high = checks.fraction("lam_low", lam_low), checks.fraction("lam_high", lam_high)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    d = checks.decisions(e, switches_BT, U_BT, V_high_BT, V_low_BT)
    values = _sibling_values(e, d, group_B, state_BT, subgoal_BT, before_BT, gamma, averaged_over)
    if isinstance(lam_boundary, str) and lam_boundary == "adaptive":
        kappa_BT = values.lam_boundary_BT
    else:
        kappa_BT = np.broadcast_to(checks.fractions("lam_boundary", lam_boundary, len(e.mask_BT)), e.mask_BT.shape)
    heard = replace(d, U_BT=values.U_BT, V_high_BT=values.V_high_BT, V_low_BT=values.V_low_BT)
    return hae_of(e, heard, gamma, lam_low, lam_high, kappa_BT)


def sibling_values(
    rewards_BT: ArrayLike,
    switches_BT: ArrayLike,
    lengths_B: ArrayLike,
    terminated_B: ArrayLike,
    U_BT: ArrayLike,
    V_high_BT: ArrayLike,
    V_low_BT: ArrayLike,
    U_final_B: ArrayLike | None,
    group_B: ArrayLike,
    state_BT: ArrayLike,
    subgoal_BT: ArrayLike,
    before_BT: ArrayLike | None = None,
    *,
    gamma: float = 0.95,
    averaged_over: int = 1,
) -> SiblingValues:
    """Critic and siblings, each weighed by how much it can be trusted.

    Let n other episodes of the task have passed the place of a turn, and let M be the mean of their discounted
    returns from there on. Then

        V' = w M + (1 - w) V,    w = n / (n + σ²/τ²)

    has the least mean square error of all such mixtures, if a return from a place varies by σ² and the critic's
    error there has mean square τ². Both are estimated from the places of all other tasks (`moments_of_others`).
    The place of a turn is

        for U       its state and the subgoal before it,
        for V_high  its state, at turns that write a subgoal (the old one does not count: it is being replaced),
        for V_low   its state and its own subgoal,

    and a sibling speaks with the return from its first visit on. Nothing of an episode's own future enters its own
    values, so as baselines they are as admissible as the critic; as bootstraps they have (1 - w) times its bias,
    unless n tells of something that the place does not (docs/credit.md).

    For κ the episode's own return is one more sample. Where V' has the mean square error m, and an update averages
    over N returns that share that error,

        κ = N m / (N m + σ²),    m = w² σ²/n + (1 - w)² τ²

    with σ² and τ² of V_high at boundaries after turn 0 (w has those of all). Were they the same, critic, siblings and
    own return would count 1/τ² : n/σ² : N/σ², and κ be N τ² / (σ² + (n + N) τ²). If no episodes of other tasks met
    there: 1 minus the explained variance, as in `adaptive_lam_boundary`.

    Args:
        rewards_BT, switches_BT, lengths_B, terminated_B, U_BT, V_high_BT, V_low_BT, U_final_B: as in `hae`.
            A return that was cut goes on with U_final, so its error enters the siblings' mean.
        group_B: an integer per episode, the same for episodes of one task. A group of one has no siblings.
        state_BT: an integer per turn: all that the value depends on, but for the subgoal. -1: like no other.
        subgoal_BT: an integer per turn: the subgoal in force after the turn's decision. -1: like no other.
        before_BT: likewise the subgoal before the turn's decision. None: that of the turn before; to be given where a
            subgoal may fail to come into force, as one in a reply that cannot be read does.
        gamma: discount γ per turn, 0 to 1.
        averaged_over: N, the returns of an update that share one error of the critic.

    Two tasks of two episodes of one turn. In the second the returns 4 and 8 have σ² = 8, and the critic, which
    says 0, misses by τ² = (16 + 64)/2 - 8 = 32; so in the first w = 32/(32 + 8) = .8 and the critic's 5 becomes
    .8·0 + .2·5 and .8·8 + .2·5. There the returns 8 and 0 vary more than the critic misses them: w = 0 in the second.

    >>> sibling_values([[8], [0], [4], [8]], np.ones((4, 1)), [1, 1, 1, 1], np.ones(4), np.zeros((4, 1)),
    ...     [[5], [5], [0], [0]], np.zeros((4, 1)), None, [3, 3, 4, 4], [[1]] * 4, [[1]] * 4, gamma=1.0).V_high_BT
    array([[1. ],
           [7.4],
           [0. ],
           [0. ]])
    """
    gamma = checks.fraction("gamma", gamma)
    e = checks.episodes(rewards_BT, lengths_B, terminated_B, U_final_B)
    d = checks.decisions(e, switches_BT, U_BT, V_high_BT, V_low_BT)
    return _sibling_values(e, d, group_B, state_BT, subgoal_BT, before_BT, gamma, averaged_over)


def _sibling_values(
    e: Episodes,
    d: Decisions,
    group_B: ArrayLike,
    state_BT: ArrayLike,
    subgoal_BT: ArrayLike,
    before_BT: ArrayLike | None,
    gamma: float,
    averaged_over: int,
) -> SiblingValues:
    averaged_over = checks.positive("averaged_over", averaged_over)
    index_B = checks.groups(group_B, e.mask_BT.shape[:1], pairs_for=None)
    state_BT = checks.ids("state_BT", state_BT, e.mask_BT)
    subgoal_BT = checks.ids("subgoal_BT", subgoal_BT, e.mask_BT)
    if before_BT is None:
        before_BT = np.concatenate([np.full_like(subgoal_BT[:, :1], -1), subgoal_BT[:, :-1]], axis=1)
    before_BT = np.where(d.choice_BT, checks.ids("before_BT", before_BT, e.mask_BT), -1)
    return_BT = return_to_go(e, gamma)
    high_BT = places(index_B, np.where(d.boundary_BT, state_BT, -1))
    later_BT = d.boundary_BT & d.choice_BT

    U_BT, weight_U_BT, _ = _blended(d.U_BT, places(index_B, state_BT, before_BT), return_BT, index_B)
    V_high_BT, weight_high_BT, count_BT = _blended(d.V_high_BT, high_BT, return_BT, index_B)
    V_low_BT, weight_low_BT, _ = _blended(d.V_low_BT, places(index_B, state_BT, subgoal_BT), return_BT, index_B)
    arguments = return_BT, d.V_high_BT, later_BT, index_B, high_BT, count_BT, weight_high_BT
    kappa_BT = own_share(*arguments, averaged_over)
    return SiblingValues(
        U_BT=U_BT,
        V_high_BT=V_high_BT,
        V_low_BT=V_low_BT,
        weight_U_BT=weight_U_BT,
        weight_high_BT=weight_high_BT,
        weight_low_BT=weight_low_BT,
        lam_boundary_BT=np.where(later_BT, kappa_BT, 0.0),
    )


def _blended(
    V_BT: FloatArray, place_BT: IntArray, return_BT: FloatArray, index_B: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """V', w and n."""
    others = siblings(place_BT, return_BT)
    moments = moments_of_others(place_BT, return_BT, V_BT, index_B)
    trust_BT = others.count_BT * moments.error_B[:, None]
    total_BT = trust_BT + moments.noise_B[:, None]
    weight_BT = trust_BT / np.where(total_BT > 0.0, total_BT, 1.0)
    # Where the weight is 0 not even rounding is to be added to the critic.
    blend_BT = np.where(weight_BT > 0.0, weight_BT * others.mean_BT + (1.0 - weight_BT) * V_BT, V_BT)
    return blend_BT, weight_BT, others.count_BT
