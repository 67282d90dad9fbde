"""Small finite-horizon worlds and agents with subgoals, of which everything can be computed exactly.

Suffixes of this room: `_T` turns, `_S` states, `_O` subgoals, `_A` actions, `_Q` KEEP and SWITCH, `_H` kinds of
decision, `_D` policy parameters, `_N` episodes, `_M` continuations of them, `_K` pairs of them, `_L` tokens.
A table over (state, subgoal) is read with the subgoal of the *last* turn where it is about the switch decision
(U, the switch probability) and with the subgoal *in force* where it is about the action (V_low).
"""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

Sharing = Literal["separate", "shared", "coupled"]
"""Whether the three heads have parameters of their own, one common vector, or one with opposed features."""

STATES, ACTIONS, SUBGOALS, SHARED_SIZE = 6, 3, 3, 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class World:
    """A Markov decision process that ends on entering a state of `ends_S`, or after `horizon` turns.

    The last state counts as terminated too: a turn limit that is part of the task is an end of the task.
    """

    next_SAS: FloatArray  # probability of the next state
    reward_SAS: FloatArray  # mean reward of a transition
    noise: float  # standard deviation of each reward around its mean
    start_S: FloatArray
    ends_S: BoolArray
    horizon: int
    gamma: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """Logits of the three decisions as functions of one parameter vector: bias + features · theta."""

    switch_SOD: FloatArray
    subgoal_SOD: FloatArray  # [state, new subgoal, parameter]
    action_SOAD: FloatArray
    switch_bias_SO: FloatArray
    subgoal_bias_SO: FloatArray
    action_bias_SOA: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """Probabilities of the three decisions, and the gradient of the logarithm of each (its score)."""

    switch_SO: FloatArray  # probability of SWITCH; turn 0 switches whatever it says
    subgoal_SO: FloatArray
    action_SOA: FloatArray
    switch_score_SOQD: FloatArray  # Q: 0 = KEEP, 1 = SWITCH
    subgoal_score_SOD: FloatArray
    action_score_SOAD: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tables:
    """What critics say, exact or not. Row `horizon` is the value after the last turn: 0."""

    U_TSO: FloatArray  # before the switch decision; [t, state, subgoal of the last turn]
    V_high_TS: FloatArray  # given SWITCH, before the subgoal
    V_low_TSO: FloatArray  # given the subgoal, before the action
    V_state_TS: FloatArray  # before the switch decision, blind to the subgoal


def random_world(seed: int) -> World:
    """Six states of which the last is the goal, three actions, twelve turns; entering the goal is worth 1 more."""
    rng = np.random.default_rng(seed)
    goal, others = STATES - 1, STATES - 1
    moves_SAS = rng.dirichlet(0.4 * np.ones(others), size=(STATES, ACTIONS))
    to_goal_SA = rng.uniform(0, 0.12, (STATES, ACTIONS))
    reward_SA = 0.3 * rng.normal(size=(STATES, ACTIONS))
    next_SAS = np.concatenate([moves_SAS * (1 - to_goal_SA[..., None]), to_goal_SA[..., None]], axis=2)
    next_SAS[goal] = np.eye(STATES)[goal]
    reward_SAS = np.repeat(reward_SA[..., None], STATES, axis=2)
    reward_SAS[..., goal] += 1.0
    reward_SAS[goal] = 0.0
    ends_S = np.arange(STATES) == goal
    return World(
        next_SAS=next_SAS,
        reward_SAS=reward_SAS,
        noise=0.3,
        start_S=np.where(ends_S, 0.0, 1 / others),
        ends_S=ends_S,
        horizon=12,
        gamma=0.95,
    )


def random_task(seed: int) -> World:
    """The same sizes, but as tasks for language agents are: each action leads to one state, and only success pays."""
    rng = np.random.default_rng(seed)
    goal, others = STATES - 1, STATES - 1
    to_SA = rng.integers(others, size=(STATES, ACTIONS))
    to_SA[rng.integers(others), rng.integers(ACTIONS)] = goal
    to_SA[goal] = goal
    reward_SAS = np.zeros((STATES, ACTIONS, STATES))
    reward_SAS[:goal, :, goal] = 1.0
    ends_S = np.arange(STATES) == goal
    return World(
        next_SAS=np.eye(STATES)[to_SA],
        reward_SAS=reward_SAS,
        noise=0.0,
        start_S=np.where(ends_S, 0.0, 1 / others),
        ends_S=ends_S,
        horizon=12,
        gamma=0.95,
    )


def small_world(seed: int, horizon: int = 3) -> World:
    """Two states, a goal and two actions: every episode of it can be written down."""
    rng = np.random.default_rng(seed)
    next_SAS = rng.dirichlet(np.ones(3), size=(3, 2))
    next_SAS[2] = [0.0, 0.0, 1.0]
    reward_SAS = rng.normal(size=(3, 2, 3))
    reward_SAS[2] = 0.0
    return World(
        next_SAS=next_SAS,
        reward_SAS=reward_SAS,
        noise=0.0,
        start_S=np.array([0.6, 0.4, 0.0]),
        ends_S=np.array([False, False, True]),
        horizon=horizon,
        gamma=0.9,
    )


def random_features(
    seed: int,
    sharing: Sharing,
    *,
    sizes: tuple[int, int, int] = (STATES, SUBGOALS, ACTIONS),
    switch_bias: float = -2.0,
) -> tuple[Features, FloatArray]:
    """Features of an agent and its parameters."""
    rng = np.random.default_rng(seed + 10000)
    s, o, a = sizes
    shapes = ((s, o), (s, o), (s, o, a))
    if sharing == "separate":
        theta_D = rng.normal(size=2 * s * o + s * o * a)
        blocks = np.eye(theta_D.size)
        switch, subgoal, action = (
            block.reshape(*shape, theta_D.size)
            for block, shape in zip(np.split(blocks, [s * o, 2 * s * o]), shapes, strict=True)
        )
    elif sharing == "shared":
        switch, subgoal, action = (rng.normal(size=(*shape, SHARED_SIZE)) for shape in shapes)
        theta_D = 0.5 * rng.normal(size=SHARED_SIZE)
    else:
        subgoal = rng.normal(size=(s, o, SHARED_SIZE))
        switch, leaning_A = -subgoal, np.linspace(1.0, -1.0, a)
        own = 0.3 * rng.normal(size=(s, o, a, SHARED_SIZE))
        action = subgoal[:, :, None, :] * leaning_A[:, None] + own
        theta_D = 0.5 * rng.normal(size=SHARED_SIZE)
    features = Features(
        switch_SOD=switch,
        subgoal_SOD=subgoal,
        action_SOAD=action,
        switch_bias_SO=np.full((s, o), switch_bias),
        subgoal_bias_SO=np.zeros((s, o)),
        action_bias_SOA=np.zeros((s, o, a)),
    )
    return features, theta_D


def make_policy(features: Features, theta_D: FloatArray) -> Policy:
    """Probabilities and scores at theta."""
    switch_SO = (1 + np.tanh((features.switch_bias_SO + features.switch_SOD @ theta_D) / 2)) / 2
    subgoal_SO = _softmax(features.subgoal_bias_SO + features.subgoal_SOD @ theta_D)
    action_SOA = _softmax(features.action_bias_SOA + features.action_SOAD @ theta_D)
    keep_or_switch_Q1 = np.array([[0.0], [1.0]])
    return Policy(
        switch_SO=switch_SO,
        subgoal_SO=subgoal_SO,
        action_SOA=action_SOA,
        switch_score_SOQD=(keep_or_switch_Q1 - switch_SO[..., None, None]) * features.switch_SOD[:, :, None, :],
        subgoal_score_SOD=features.subgoal_SOD - _mean(subgoal_SO, features.subgoal_SOD),
        action_score_SOAD=features.action_SOAD - _mean(action_SOA, features.action_SOAD),
    )


def switch_probability(world: World, policy: Policy) -> FloatArray:
    """[T, S, O]; 1 at turn 0, where there is no subgoal to keep."""
    switch_TSO = np.repeat(policy.switch_SO[None], world.horizon, axis=0)
    switch_TSO[0] = 1.0
    return switch_TSO


def exact_tables(world: World, policy: Policy) -> Tables:
    """Values by dynamic programming, from the last turn to the first.

    V_state is the mean of U over the subgoals with which the agent arrives in a state: the best fit of a critic
    that does not see the subgoal.
    """
    horizon, (states, subgoals) = world.horizon, policy.subgoal_SO.shape
    U_TSO, V_low_TSO = np.zeros((2, horizon + 1, states, subgoals))
    V_high_TS = np.zeros((horizon + 1, states))
    switch_TSO = switch_probability(world, policy)
    reward_SA = (world.next_SAS * world.reward_SAS).sum(axis=2)
    for t in reversed(range(horizon)):
        Q_SOA = reward_SA[:, None, :] + world.gamma * np.einsum("sax,xo->soa", world.next_SAS, U_TSO[t + 1])
        V_low_TSO[t] = (policy.action_SOA * Q_SOA).sum(axis=2)
        V_high_TS[t] = (policy.subgoal_SO * V_low_TSO[t]).sum(axis=1)
        U_TSO[t] = switch_TSO[t] * V_high_TS[t][:, None] + (1 - switch_TSO[t]) * V_low_TSO[t]
    visits_TSO, _ = visits(world, policy)
    arrivals_TS = visits_TSO.sum(axis=2)
    V_state_TS = np.zeros_like(V_high_TS)
    seen = arrivals_TS > 0
    V_state_TS[:-1][seen] = (visits_TSO * U_TSO[:-1]).sum(axis=2)[seen] / arrivals_TS[seen]
    return Tables(U_TSO=U_TSO, V_high_TS=V_high_TS, V_low_TSO=V_low_TSO, V_state_TS=V_state_TS)


def visits(world: World, policy: Policy) -> tuple[FloatArray, FloatArray]:
    """Probability that turn t is played in a state, with the subgoal of the last turn; and with the one in force.

    At turn 0 there is no last subgoal; subgoal 0 stands in its place and nothing depends on it.
    """
    states, subgoals = policy.subgoal_SO.shape
    arrive_TSO, act_TSO = np.zeros((2, world.horizon, states, subgoals))
    arrive_TSO[0, :, 0] = world.start_S
    for t, switch_SO in enumerate(switch_probability(world, policy)):
        if t > 0:
            flow_SOA = act_TSO[t - 1][..., None] * policy.action_SOA
            arrive_TSO[t] = np.einsum("soa,sax->xo", flow_SOA, world.next_SAS) * ~world.ends_S[:, None]
        switching_S = (arrive_TSO[t] * switch_SO).sum(axis=1)
        act_TSO[t] = arrive_TSO[t] * (1 - switch_SO) + switching_S[:, None] * policy.subgoal_SO
    return arrive_TSO, act_TSO


def expected_return(world: World, policy: Policy) -> float:
    """J: the mean discounted return of an episode."""
    return float(world.start_S @ exact_tables(world, policy).V_high_TS[0])


def perturbed(tables: Tables, seed: int, size: float = 0.5) -> Tables:
    """The tables with errors that are constant in time; their spread is `size` times that of V_low."""
    rng = np.random.default_rng(seed + 77000)
    scale = size * tables.V_low_TSO[:-1, :-1].std()

    def error() -> FloatArray:
        # Drawn for every turn, used for the first: errors do not depend on time, and published seeds stay valid.
        drawn_SO: FloatArray = scale * rng.normal(size=tables.U_TSO.shape)[0]
        drawn_SO[-1] = 0.0
        return drawn_SO

    def add(table: FloatArray, error_of: FloatArray) -> FloatArray:
        return np.concatenate([table[:-1] + error_of, table[-1:]])

    return Tables(
        U_TSO=add(tables.U_TSO, error()),
        V_low_TSO=add(tables.V_low_TSO, error()),
        V_high_TS=add(tables.V_high_TS, error()[:, 0]),
        V_state_TS=add(tables.V_state_TS, error()[:, 0]),
    )


def untrained(tables: Tables) -> Tables:
    """What a critic says before it has learned anything: 0."""
    return Tables(**{field.name: np.zeros_like(getattr(tables, field.name)) for field in fields(tables)})


def _softmax(logits: FloatArray) -> FloatArray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True), np.float64)


def _mean(probability: FloatArray, features: FloatArray) -> FloatArray:
    """The mean feature under the policy, kept as an axis of length 1."""
    return np.asarray((probability[..., None] * features).sum(axis=-2, keepdims=True), np.float64)
