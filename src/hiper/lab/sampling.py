"""Episodes of a small world: drawn at random, or every one there is with its probability."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from hiper.lab.mdp import BoolArray, FloatArray, IntArray, Policy, Tables, World, switch_probability


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Episodes:
    """N episodes, padded with state 0. Their weights sum to 1: equal when drawn, probabilities when enumerated."""

    state_NT: IntArray
    last_subgoal_NT: IntArray
    switch_NT: BoolArray
    subgoal_NT: IntArray
    action_NT: IntArray
    reward_NT: FloatArray
    length_N: IntArray
    final_state_N: IntArray
    terminated_N: BoolArray
    weight_N: FloatArray

    @property
    def mask_NT(self) -> BoolArray:
        mask_NT: BoolArray = np.arange(self.state_NT.shape[1]) < self.length_N[:, None]
        return mask_NT

    @property
    def final_subgoal_N(self) -> IntArray:
        return self.subgoal_NT[np.arange(len(self.length_N)), self.length_N - 1]

    def take(self, rows_N: IntArray) -> "Episodes":
        """These rows, in this order; weights go with them."""
        return Episodes(**{field.name: getattr(self, field.name)[rows_N] for field in fields(self)})

    def beside(self, other: "Episodes") -> "Episodes":
        """Both, one after the other."""
        names = [field.name for field in fields(self)]
        return Episodes(**{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """The tables as the credit functions want them: one number a turn, and one after the last turn."""

    U_NT: FloatArray
    V_high_NT: FloatArray
    V_low_NT: FloatArray
    V_state_NT: FloatArray
    U_final_N: FloatArray


def read(tables: Tables, e: Episodes) -> Read:
    """Values along the episodes."""
    turn_T = np.arange(e.state_NT.shape[1])
    return Read(
        U_NT=tables.U_TSO[turn_T, e.state_NT, e.last_subgoal_NT],
        V_high_NT=tables.V_high_TS[turn_T, e.state_NT],
        V_low_NT=tables.V_low_TSO[turn_T, e.state_NT, e.subgoal_NT],
        V_state_NT=tables.V_state_TS[turn_T, e.state_NT],
        U_final_N=tables.U_TSO[e.length_N, e.final_state_N, e.final_subgoal_N],
    )


# What happens next to each present row (state, last subgoal): row, switch, subgoal, action, next state, probability.
Step = tuple[IntArray, IntArray, IntArray, IntArray, IntArray, FloatArray]
Chooser = Callable[[int, IntArray, IntArray], Step]


def draw(
    world: World, policy: Policy, count: int, seed: int, *, cut: int | None = None, starts_N: IntArray | None = None
) -> Episodes:
    """`count` independent episodes; with `cut`, those still running after so many turns are truncated.

    `starts_N` gives the first states instead of drawing them.
    """
    rng = np.random.default_rng(seed)
    if starts_N is None:
        starts_N = rng.choice(len(world.start_S), size=count, p=world.start_S)
    switch_TSO = switch_probability(world, policy)

    def choose(t: int, state_N: IntArray, last_N: IntArray) -> Step:
        switch_N = (rng.random(len(state_N)) < switch_TSO[t, state_N, last_N]).astype(np.int64)
        subgoal_N = np.where(switch_N > 0, _pick(rng, policy.subgoal_SO[state_N]), last_N)
        action_N = _pick(rng, policy.action_SOA[state_N, subgoal_N])
        next_N = _pick(rng, world.next_SAS[state_N, action_N])
        return np.arange(len(state_N)), switch_N, subgoal_N, action_N, next_N, np.ones(len(state_N))

    e = _play(world, starts_N, np.full(count, 1 / count), choose, world.horizon if cut is None else cut)
    return replace(e, reward_NT=e.reward_NT + world.noise * rng.normal(size=e.reward_NT.shape) * e.mask_NT)


def enumerate_all(world: World, policy: Policy, *, cut: int | None = None) -> Episodes:
    """Every episode of positive probability. Reward noise is left out: it has mean 0 and is independent."""
    switch_TSO = switch_probability(world, policy)

    def choose(t: int, state_N: IntArray, last_N: IntArray) -> Step:
        beta_N = switch_TSO[t, state_N, last_N]
        # Column 0 is KEEP; the others are SWITCH to a subgoal.
        branch_NB = np.concatenate([1 - beta_N[:, None], beta_N[:, None] * policy.subgoal_SO[state_N]], axis=1)
        subgoals = policy.subgoal_SO.shape[1]
        after_NB = np.concatenate([last_N[:, None], np.tile(np.arange(subgoals), (len(state_N), 1))], axis=1)
        action_NBA = policy.action_SOA[state_N[:, None], after_NB]
        p_NBAS = (branch_NB[..., None] * action_NBA)[..., None] * world.next_SAS[state_N][:, None]
        row_M, branch_M, action_M, next_M = np.nonzero(p_NBAS)
        probability_M = p_NBAS[row_M, branch_M, action_M, next_M]
        return row_M, (branch_M > 0).astype(np.int64), after_NB[row_M, branch_M], action_M, next_M, probability_M

    starts = np.flatnonzero(world.start_S)
    return _play(world, starts, world.start_S[starts], choose, world.horizon if cut is None else cut)


def _play(world: World, starts_N: IntArray, weight_N: FloatArray, choose: Chooser, turns: int) -> Episodes:
    """Turn by turn; a chooser may split a row into several, which stay together. Rows that have ended stand still."""
    state_N, last_N = starts_N, np.zeros_like(starts_N)
    # Of each turn: state, last subgoal, switch, subgoal, action, next state.
    past_6NT = np.zeros((6, len(starts_N), turns), np.int64)
    length_N = np.zeros_like(starts_N)
    for t in range(turns):
        ended_N = world.ends_S[state_N]
        live, done = np.flatnonzero(~ended_N), np.flatnonzero(ended_N)
        row_M, *chosen, probability_M = choose(t, state_N[live], last_N[live])
        rows = np.concatenate([live[row_M], done])
        order = np.argsort(rows, kind="stable")
        rows, fresh_N = rows[order], order < len(row_M)
        split = order[fresh_N]  # of the chooser's rows, those that are now the fresh ones, in their order

        past_6NT, state_N, weight_N = past_6NT[:, rows], state_N[rows], weight_N[rows]
        past_6NT[:, fresh_N, t] = [state_N[fresh_N], last_N[rows][fresh_N], *(values_M[split] for values_M in chosen)]
        weight_N[fresh_N] *= probability_M[split]
        length_N = length_N[rows] + fresh_N
        last_N = past_6NT[3, :, t]
        state_N = np.where(fresh_N, past_6NT[5, :, t], state_N)
    state_NT, last_NT, switch_NT, subgoal_NT, action_NT, next_NT = past_6NT
    played_NT = np.arange(turns) < length_N[:, None]
    return Episodes(
        state_NT=state_NT,
        last_subgoal_NT=last_NT,
        switch_NT=switch_NT > 0,
        subgoal_NT=subgoal_NT,
        action_NT=action_NT,
        reward_NT=np.where(played_NT, world.reward_SAS[state_NT, action_NT, next_NT], 0.0),
        length_N=length_N,
        final_state_N=state_N,
        terminated_N=world.ends_S[state_N] | (turns == world.horizon),
        weight_N=weight_N,
    )


def _pick(rng: np.random.Generator, p_NK: FloatArray) -> IntArray:
    """One index for each row of probabilities."""
    above_NK = rng.random(len(p_NK))[:, None] >= np.cumsum(p_NK, axis=1)
    return np.asarray(np.minimum(above_NK.sum(axis=1), p_NK.shape[1] - 1), np.int64)
