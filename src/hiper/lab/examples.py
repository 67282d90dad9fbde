"""Worlds small enough for a pencil, each against one claim. All numbers come from writing down every episode."""

from dataclasses import dataclass, replace

import numpy as np

from hiper.lab.mdp import Features, FloatArray, Policy, Tables, World, exact_tables, make_policy

NEVER, ALWAYS = -np.inf, np.inf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A world, an agent in it, and the tables its critics hold."""

    world: World
    policy: Policy
    tables: Tables


def rewarded_keeping_or_not() -> Example:
    """A: two turns; at the second, KEEP leads to +1 and SWITCH to -1, evenly. Nothing else is random that matters.

    The credit of the first action contains the noise of the next switch decision: with weight γ in `hae`, with
    weight γλ in `gae`. So its variance is higher by 1/λ² at any λ < 1.
    """
    world = _world(turns=2, moves={(0, 0): {1: 1.0}, (0, 1): {1: 1.0}}, rewards={(1, 0): 1.0, (1, 1): -1.0}, states=3)
    policy = _tabular(
        switch=np.zeros((3, 2)),
        subgoal=np.array([[0.0, NEVER], [NEVER, 0.0], [0.0, 0.0]]),
        action=_put(np.zeros((3, 2, 2)), {(1, 0): [0.0, NEVER], (1, 1): [NEVER, 0.0]}),
    )
    return Example(world=world, policy=policy, tables=exact_tables(world, policy))


def baseline_by_luck() -> Example:
    """B: one turn; subgoal 0 acts (+1 with probability .9, else 0), subgoal 1 always earns -.7.

    U = .1 happens to be the better baseline for the action under subgoal 0, V_low = .9 the worse.
    """
    world = _world(turns=1, moves={}, rewards={(0, 0): 1.0, (0, 2): -0.7}, states=2, actions=3)
    log_odds = np.log(9.0)
    policy = _tabular(
        switch=np.zeros((2, 2)),
        subgoal=np.zeros((2, 2)),
        action=_put(np.zeros((2, 2, 3)), {(0, 0): [log_odds, 0.0, NEVER], (0, 1): [NEVER, NEVER, 0.0]}),
    )
    return Example(world=world, policy=policy, tables=exact_tables(world, policy))


def chain_and_coin(turns: int = 5) -> Example:
    """C: a chain under one subgoal, and a coin for a reward after the last turn.

    The credit of the subgoal at turn 0 contains the coin with weight λ^(turns - 1) in `gae` and 1 in `hae`.
    """
    end = turns + 1
    moves = {(s, a): {s + 1: 1.0} for s in range(turns - 1) for a in (0, 1)}
    moves |= {(turns - 1, a): {turns: 0.5, end: 0.5} for a in (0, 1)}
    world = _world(turns=turns, moves=moves, rewards={}, states=turns + 2)
    world.ends_S[turns] = True
    world.reward_SAS[turns - 1, :, end] = 1.0
    policy = _tabular(
        switch=np.full((turns + 2, 2), NEVER), subgoal=np.zeros((turns + 2, 2)), action=np.zeros((turns + 2, 2, 2))
    )
    return Example(world=world, policy=policy, tables=exact_tables(world, policy))


def reinterpreted_subgoal(*, stale: bool) -> Example:
    """D: the executor has just learned to read its subgoal the other way round; V_high has not noticed if `stale`.

    Turn 0: action 0 leads to state 1, action 1 to state 2, where nothing happens. In state 1, action 0 earns +1
    and action 1 earns -1. One subgoal; a SWITCH before each turn.
    """
    world = _world(
        turns=2,
        moves={(0, 0): {1: 1.0}, (0, 1): {2: 1.0}},
        rewards={(1, 0): 1.0, (1, 1): -1.0},
        states=4,
    )

    def agent(logits: list[float]) -> Policy:
        return _tabular(
            switch=np.full((4, 1), ALWAYS),
            subgoal=np.zeros((4, 1)),
            action=_put(np.zeros((4, 1, 2)), {(1, 0): logits}),
        )

    before, now = agent([2.2, 0.0]), agent([0.0, 2.2])
    return Example(world=world, policy=now, tables=exact_tables(world, before if stale else now))


def opposed_levels() -> Example:
    """E: one turn, one shared parameter that helps the choice of subgoal (+.25) and hurts that of action (-.15).

    The true gradient is +.10. Divided by the spread of its own level, the hurt counts for more than the help.
    """
    world = _world(turns=1, moves={}, rewards={(0, 0): 0.5, (0, 1): 1.0, (0, 2): -0.5}, states=2, actions=4)
    subgoal, action = np.zeros((2, 2, 1)), np.zeros((2, 2, 4, 1))
    subgoal[0, 0], action[0, 0, 0], action[0, 1, 2] = 1.0, 1.2, 1.2
    bias = _put(np.zeros((2, 2, 4)), {(0, 0): [0.0, 0.0, NEVER, NEVER], (0, 1): [NEVER, NEVER, 0.0, 0.0]})
    features = Features(
        switch_SOD=np.zeros((2, 2, 1)),
        subgoal_SOD=subgoal,
        action_SOAD=action,
        switch_bias_SO=np.zeros((2, 2)),
        subgoal_bias_SO=np.zeros((2, 2)),
        action_bias_SOA=bias,
    )
    policy = make_policy(features, np.zeros(1))
    return Example(world=world, policy=policy, tables=exact_tables(world, policy))


def better_to_keep() -> Example:
    """H: at the second turn KEEP earns .2 and SWITCH nothing, evenly chosen."""
    example = rewarded_keeping_or_not()
    world = replace(example.world, reward_SAS=np.maximum(0.2 * example.world.reward_SAS, 0.0))
    return Example(world=world, policy=example.policy, tables=exact_tables(world, example.policy))


def _world(
    *,
    turns: int,
    moves: dict[tuple[int, int], dict[int, float]],
    rewards: dict[tuple[int, int], float],
    states: int,
    actions: int = 2,
) -> World:
    """No discount, no noise, start in state 0. Moves that are not given lead to the end, the last state."""
    next_SAS = np.zeros((states, actions, states))
    next_SAS[:, :, -1] = 1.0
    for (state, action), odds in moves.items():
        next_SAS[state, action] = 0.0
        next_SAS[state, action, list(odds)] = list(odds.values())
    reward_SAS = np.zeros_like(next_SAS)
    for (state, action), reward in rewards.items():
        reward_SAS[state, action] = reward
    first, last = np.eye(states)[0], np.eye(states)[-1]
    return World(
        next_SAS=next_SAS,
        reward_SAS=reward_SAS,
        noise=0.0,
        start_S=first,
        ends_S=last.astype(np.bool_),
        horizon=turns,
        gamma=1.0,
    )


def _tabular(*, switch: FloatArray, subgoal: FloatArray, action: FloatArray) -> Policy:
    """An agent whose parameters are its logits, in the order switch, subgoal, action."""
    sizes = np.cumsum([switch.size, subgoal.size, action.size])
    switch_part, subgoal_part, action_part = np.split(np.eye(sizes[-1]), sizes[:-1])
    features = Features(
        switch_SOD=switch_part.reshape(*switch.shape, -1),
        subgoal_SOD=subgoal_part.reshape(*subgoal.shape, -1),
        action_SOAD=action_part.reshape(*action.shape, -1),
        switch_bias_SO=switch,
        subgoal_bias_SO=subgoal,
        action_bias_SOA=action,
    )
    return make_policy(features, np.zeros(sizes[-1]))


def _put(logits: FloatArray, rows: dict[tuple[int, int], list[float]]) -> FloatArray:
    for (state, subgoal), row in rows.items():
        logits[state, subgoal] = row
    return logits
