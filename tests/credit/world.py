"""A world so small that all its values are known: where an estimator's bias and noise can be looked at.

S states, N subgoals, A actions; each of H turns asks for KEEP or SWITCH, perhaps a subgoal, and an action, drawn
from tables of probabilities. A task is a start state. After H turns the episode is over (terminated), so a value
depends on the turn, and the id of a state holds it. Everything is drawn once from a seed.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hiper.credit import HAECredit

H, S, N, A = 4, 3, 2, 2  # turns, states, subgoals, actions
GAMMA = 0.9


@dataclass(frozen=True)
class World:
    move: np.ndarray  # [S, A, S] probability of the next state
    reward: np.ndarray  # [S, A]
    switch: np.ndarray  # [S, N] probability of SWITCH, given state and old subgoal
    subgoal: np.ndarray  # [S, N] probability of the new subgoal
    action: np.ndarray  # [S, N, A]


@dataclass(frozen=True)
class Values:
    """By turn (0 to H - 1), state and, but for V_high, subgoal: the old one for U, the one in force for V_low."""

    U: np.ndarray
    V_high: np.ndarray
    V_low: np.ndarray


@dataclass(frozen=True)
class Played:
    """What happened, [B, H] each: B episodes, `group` by `group` of one task."""

    state: np.ndarray
    before: np.ndarray  # the subgoal that was in force, -1 at turn 0
    switch: np.ndarray
    subgoal: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    group: np.ndarray  # [B]

    def values(self, table: Values) -> dict[str, np.ndarray]:
        t = np.arange(H)
        U = np.where(self.before >= 0, table.U[t, self.state, self.before], np.nan)
        V_high = np.where(self.switch, table.V_high[t, self.state], np.nan)
        return {"U_BT": U, "V_high_BT": V_high, "V_low_BT": table.V_low[t, self.state, self.subgoal]}

    def arguments(self, table: Values) -> dict[str, np.ndarray | None]:
        """Those of `hae`."""
        episodes = len(self.group)
        return {
            "rewards_BT": self.reward,
            "switches_BT": self.switch,
            "lengths_B": np.full(episodes, H),
            "terminated_B": np.ones(episodes, bool),
            "U_final_B": None,
            **self.values(table),
        }

    def who(self) -> dict[str, np.ndarray]:
        """What `sibling_hae` takes beyond that."""
        return {"group_B": self.group, "state_BT": np.arange(H) * S + self.state, "subgoal_BT": self.subgoal}


def make_world(seed: int) -> World:
    rng = np.random.default_rng(seed)
    return World(
        move=rng.dirichlet(np.ones(S), size=(S, A)),
        reward=rng.normal(size=(S, A)),
        switch=rng.uniform(0.3, 0.7, size=(S, N)),
        subgoal=rng.dirichlet(3 * np.ones(N), size=S),
        action=rng.dirichlet(3 * np.ones(A), size=(S, N)),
    )


def values(world: World) -> Values:
    U, V_high, V_low = np.zeros((H + 1, S, N)), np.zeros((H, S)), np.zeros((H, S, N))
    for t in reversed(range(H)):
        V_low[t] = (world.action * after(world, U[t + 1])).sum(axis=2)
        V_high[t] = (world.subgoal * V_low[t]).sum(axis=1)
        U[t] = world.switch * V_high[t][:, None] + (1 - world.switch) * V_low[t]
    return Values(U=U[:H], V_high=V_high, V_low=V_low)


def after(world: World, U_next: np.ndarray) -> np.ndarray:
    """[S, N, A]: reward and discounted value of what follows."""
    return world.reward[:, None, :] + GAMMA * np.einsum("sax,xo->soa", world.move, U_next)


def wrong(table: Values, size: float, seed: int) -> Values:
    """A critic that is off everywhere, by a table of errors."""
    rng = np.random.default_rng(seed)
    return Values(*(x + size * rng.normal(size=x.shape) for x in (table.U, table.V_high, table.V_low)))


def play(world: World, groups: int, size: int, seed: int) -> Played:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    state, old = np.repeat(rng.integers(S, size=groups), size), np.full(groups * size, -1)
    turns = []
    for _ in range(H):
        switch = (old < 0) | (rng.random(len(state)) < world.switch[state, old])
        subgoal = np.where(switch, draw(world.subgoal[state], rng), old)
        action = draw(world.action[state, subgoal], rng)
        turns.append((state, old, switch, subgoal, action, world.reward[state, action]))
        state, old = draw(world.move[state, action], rng), subgoal
    return Played(*(np.stack(column, axis=1) for column in zip(*turns, strict=True)), group=group)


def draw(probability: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((len(probability), 1)) > np.cumsum(probability, axis=1)[:, :-1]).sum(axis=1)


def gradient(world: World, table: Values) -> np.ndarray:
    """Expected sum over turns of score times advantage, by the logits of switch [S, N], subgoal [S, N], action.

    The advantages are differences of the values in `table`; with those of the world it is the true gradient.
    """
    switch, subgoal, action = np.zeros((S, N)), np.zeros((S, N)), np.zeros((S, N, A))
    U_after = np.concatenate([table.U[1:], np.zeros((1, S, N))])
    boundary, acting = np.full(S, 1 / S), np.full(S, 1 / S)[:, None] * world.subgoal
    for t in range(H):
        gain = table.V_low[t] - table.V_high[t][:, None]
        subgoal += boundary[:, None] * world.subgoal * gain
        action += acting[:, :, None] * world.action * (after(world, U_after[t]) - table.V_low[t][:, :, None])
        if t + 1 < H:
            seen = np.einsum("so,soa,sax->xo", acting, world.action, world.move)
            both = table.V_high[t + 1][:, None] - table.V_low[t + 1]
            switch += seen * world.switch * (1 - world.switch) * both
            boundary = (seen * world.switch).sum(axis=1)
            acting = seen * (1 - world.switch) + boundary[:, None] * world.subgoal
    return np.concatenate([switch.ravel(), subgoal.ravel(), action.ravel()])


def gradients(world: World, p: Played, switch: np.ndarray, subgoal: np.ndarray, action: np.ndarray) -> np.ndarray:
    """[B, parameters]: each episode's sum of score times advantage. The score of softmax: one-hot - probability."""
    out = [np.zeros((len(p.group), n)) for n in (S * N, S * N, S * N * A)]
    rows = np.arange(len(p.group))
    for t in range(H):
        s, o = p.state[:, t], p.subgoal[:, t]
        if t:
            old = p.before[:, t]
            out[0][rows, s * N + old] += (p.switch[:, t] - world.switch[s, old]) * switch[:, t]
        for k in range(N):
            score = (o == k) - world.subgoal[s, k]
            out[1][rows, s * N + k] += p.switch[:, t] * score * subgoal[:, t]
        for k in range(A):
            score = (p.action[:, t] == k) - world.action[s, o, k]
            out[2][rows, (s * N + o) * A + k] += score * action[:, t]
    return np.concatenate(out, axis=1)


class Judgement(NamedTuple):
    """An estimator's gradient against the truth.

    T:     |mean - truth|² over its squared standard error: about 1 if there is no bias.
    bias2: |mean - truth|², what noise puts there taken off.
    noise: variance of the gradient of one group.
    """

    T: float
    bias2: float
    noise: float


def by_group(p: Played, x_B: np.ndarray) -> np.ndarray:
    """Means over groups: they are independent, and the episodes of a group need not be."""
    return x_B.reshape(len(np.unique(p.group)), -1, *x_B.shape[1:]).mean(axis=1)


def judge(world: World, p: Played, credit: HAECredit, truth: np.ndarray) -> Judgement:
    g = by_group(p, gradients(world, p, credit.switch_BT, credit.subgoal_BT, credit.action_BT))
    missed = float(((g.mean(axis=0) - truth) ** 2).sum())
    noise = float(g.var(axis=0, ddof=1).sum())
    return Judgement(T=missed / (noise / len(g)), bias2=missed - noise / len(g), noise=noise)
