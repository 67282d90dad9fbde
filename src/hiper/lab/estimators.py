"""The estimators of `hiper.credit` at work: from episodes and tables to the gradient of each episode."""

from dataclasses import dataclass

import numpy as np

from hiper.credit import (
    HAECredit,
    adaptive_lam_boundary,
    fixed_hae,
    gae,
    hae,
    hae_eb,
    option_gae,
    sibling_hae,
    token_gae,
)
from hiper.lab.expectation import Lambdas
from hiper.lab.mdp import BoolArray, FloatArray, IntArray, Policy, Tables, World
from hiper.lab.sampling import Episodes, read


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spread:
    """Mean and scatter of a gradient estimator over episodes, by head (switch, subgoal, action) and as a whole."""

    mean_HD: FloatArray
    trace_H: FloatArray  # trace of the covariance of each head's part
    trace: float  # of the whole gradient
    null: float  # variance of T if the estimator is unbiased
    count: int

    @property
    def mean_D(self) -> FloatArray:
        return np.asarray(self.mean_HD.sum(axis=0), np.float64)

    @property
    def crossed(self) -> float:
        """Share of the whole trace that is covariance between heads."""
        return 1 - float(self.trace_H.sum()) / self.trace

    def T(self, truth_D: FloatArray) -> float:
        """N |mean - truth|² / trace: its expectation is 1 if the estimator is unbiased, its variance `null`."""
        return self.count * float(((self.mean_D - truth_D) ** 2).sum()) / self.trace


def scores(world: World, policy: Policy, e: Episodes) -> FloatArray:
    """[3, N, T, D]: discounted score of each decision; 0 where none was made."""
    turn_T = np.arange(e.state_NT.shape[1])
    discount_NT = world.gamma**turn_T * e.mask_NT
    boundary_NT = e.switch_NT | (turn_T == 0)
    switch = policy.switch_score_SOQD[e.state_NT, e.last_subgoal_NT, e.switch_NT.astype(np.int64)]
    subgoal = policy.subgoal_score_SOD[e.state_NT, e.subgoal_NT]
    action = policy.action_score_SOAD[e.state_NT, e.subgoal_NT, e.action_NT]
    scores_HNTD = np.stack([switch, subgoal, action])
    scores_HNTD *= np.stack([discount_NT * (turn_T > 0), discount_NT * boundary_NT, discount_NT])[..., None]
    return scores_HNTD


def gradients(scores_HNTD: FloatArray, advantage_HNT: FloatArray) -> FloatArray:
    """[3, N, D]: what each episode contributes: the sum over its turns of score times advantage."""
    return np.asarray(np.einsum("hnt,hntd->hnd", advantage_HNT, scores_HNTD, optimize=True), np.float64)


def spread(scores_HNTD: FloatArray, advantage_HNT: FloatArray, weight_N: FloatArray) -> Spread:
    """Statistics of the gradients of independent episodes."""
    return spread_of(gradients(scores_HNTD, advantage_HNT), weight_N)


def spread_of(gradient_HND: FloatArray, weight_N: FloatArray) -> Spread:
    """Statistics of independent gradients."""
    mean_HD = np.einsum("n,hnd->hd", weight_N, gradient_HND)
    around_HND = gradient_HND - mean_HD[:, None]
    whole_ND = around_HND.sum(axis=0)
    covariance_DD = whole_ND.T @ (weight_N[:, None] * whole_ND)
    trace = float(np.trace(covariance_DD))
    return Spread(
        mean_HD=mean_HD,
        trace_H=np.einsum("hnd,hnd->hn", around_HND, around_HND) @ weight_N,
        trace=trace,
        # T is a sum of squares of independent normal numbers, weighted by the eigenvalues of the covariance.
        null=2 * float((covariance_DD**2).sum()) / trace**2 if trace > 0 else 0.0,
        count=len(weight_N),
    )


def gae_advantage(tables: Tables, e: Episodes, gamma: float, lam: float, *, blind: bool = False) -> FloatArray:
    """[3, N, T]: `gae`, the same advantage for all three decisions; `blind` to the subgoal if wanted."""
    r = read(tables, e)
    values_NT = r.V_state_NT if blind else r.U_NT
    credit = gae(e.reward_NT, e.length_N, e.terminated_N, values_NT, r.U_final_N, gamma=gamma, lam=lam)
    return for_all(credit.advantage_BT)


def token_advantage(tables: Tables, e: Episodes, gamma: float, lam: float) -> FloatArray:
    """[3, N, T]: `token_gae`, one token for each decision that is made, with the value of what was known before it."""
    r = read(tables, e)
    turn_NT = np.where(e.mask_NT, np.arange(e.state_NT.shape[1]), -1)
    made_NT3 = np.stack([turn_NT > 0, e.mask_NT & (e.switch_NT | (turn_NT == 0)), e.mask_NT], axis=2)
    turn_NL, V_NL = (
        x_NT3.reshape(len(x_NT3), -1)
        for x_NT3 in (
            np.where(made_NT3, turn_NT[:, :, None], -1),
            np.stack([r.U_NT, r.V_high_NT, r.V_low_NT], axis=2),
        )
    )
    order_NL = np.argsort(turn_NL < 0, axis=1, kind="stable")  # the tokens that there are, without gaps
    turn_NL, V_NL = (np.take_along_axis(x_NL, order_NL, axis=1) for x_NL in (turn_NL, V_NL))
    credit = token_gae(e.reward_NT, e.length_N, e.terminated_N, turn_NL, V_NL, r.U_final_N, gamma=gamma, lam=lam)
    advantage_NL = np.zeros_like(V_NL)
    np.put_along_axis(advantage_NL, order_NL, credit.advantage_BL, axis=1)
    return np.moveaxis(advantage_NL.reshape(made_NT3.shape), 2, 0)


def fixed_advantage(tables: Tables, e: Episodes, gamma: float, lam: float, every: int) -> FloatArray:
    """[3, N, T]: `fixed_hae`, the same advantage for all three decisions."""
    r = read(tables, e)
    credit = fixed_hae(e.reward_NT, e.length_N, e.terminated_N, r.U_NT, r.U_final_N, every=every, gamma=gamma, lam=lam)
    return for_all(credit.advantage_BT)


def hae_advantage(
    tables: Tables, e: Episodes, gamma: float, lam: Lambdas, final_N: FloatArray | None = None
) -> FloatArray:
    """[3, N, T]: `hae`. `final_N` takes the place of U after the last turn."""
    *_, after_N = arrays = decisions(tables, e)
    credit = hae(
        *arrays[:-1],
        after_N if final_N is None else final_N,
        gamma=gamma,
        lam_low=lam.low,
        lam_high=lam.high,
        lam_boundary=lam.boundary,
    )
    return by_decision(credit)


def hae_eb_advantage(tables: Tables, e: Episodes, gamma: float, lam: float, *, from_values: bool) -> FloatArray:
    """[3, N, T]: `hae_eb`, its switch credit from what followed or from the tables."""
    return by_decision(hae_eb(*decisions(tables, e), gamma=gamma, lam=lam, switch_from_values=from_values))


def option_advantage(tables: Tables, e: Episodes, gamma: float, lam: float) -> FloatArray:
    """[3, N, T]: `option_gae`."""
    return by_decision(option_gae(*decisions(tables, e), gamma=gamma, lam=lam))


def sibling_advantage(
    tables: Tables,
    e: Episodes,
    group_N: IntArray,
    gamma: float,
    lam: float,
    boundary: float | str,
    averaged_over: int = 1,
) -> FloatArray:
    """[3, N, T]: `sibling_hae`. A place is a turn and a state: with few turns left a state is worth less."""
    credit = sibling_hae(
        *decisions(tables, e),
        group_N,
        places(e, tables),
        e.subgoal_NT,
        gamma=gamma,
        lam_low=lam,
        lam_high=lam,
        lam_boundary=boundary,
        averaged_over=averaged_over,
    )
    return by_decision(credit)


def adaptive_advantage(
    tables: Tables, e: Episodes, group_N: IntArray | None, gamma: float, lam: float, averaged_over: int = 1
) -> FloatArray:
    """[3, N, T]: `hae` with `adaptive_lam_boundary`, with groups or without."""
    rewards_NT, switches_NT, lengths_N, terminated_N, _, V_high_NT, _, after_N = decisions(tables, e)
    kappa_N = adaptive_lam_boundary(
        rewards_NT,
        switches_NT,
        lengths_N,
        terminated_N,
        V_high_NT,
        after_N,
        group_N,
        None if group_N is None else places(e, tables),
        gamma=gamma,
        averaged_over=averaged_over,
    )
    return by_decision(hae(*decisions(tables, e), gamma=gamma, lam_low=lam, lam_high=lam, lam_boundary=kappa_N))


def places(e: Episodes, tables: Tables) -> IntArray:
    """A number for each pair of turn and state."""
    return np.asarray(np.arange(e.state_NT.shape[1]) * tables.V_high_TS.shape[1] + e.state_NT, np.int64)


def decisions(
    tables: Tables, e: Episodes
) -> tuple[FloatArray, BoolArray, IntArray, BoolArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """The arguments that the hierarchical estimators share, in their order."""
    r = read(tables, e)
    return e.reward_NT, e.switch_NT, e.length_N, e.terminated_N, r.U_NT, r.V_high_NT, r.V_low_NT, r.U_final_N


def by_decision(credit: HAECredit) -> FloatArray:
    return np.stack([credit.switch_BT, credit.subgoal_BT, credit.action_BT])


def for_all(advantage_NT: FloatArray) -> FloatArray:
    """The same advantage for all three decisions."""
    return np.broadcast_to(advantage_NT, (3, *advantage_NT.shape))
