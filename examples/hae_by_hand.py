"""HAE by hand: an agent that plans, learning on one page, with nothing but numpy and `hiper.credit`.

A corridor: the key lies at the left end, the door at the right, and only who holds the key can open it. The
*planner* sees cell and key, and decides at each turn whether to KEEP or SWITCH its subgoal, one of two words
that mean nothing yet. The *executor* sees cell and subgoal, not the key, and steps left or right. So the
words must come to mean something, and be changed at the right moment. The only reward is 1 at the open door.

Suffixes: B episodes, T turns. Run it: python examples/hae_by_hand.py
"""

import numpy as np
from numpy.typing import NDArray

from hiper.credit import hae

CELLS, KEY, DOOR, START = 7, 0, 6, 3
EPISODES, TURNS, UPDATES = 64, 40, 80
GAMMA, LAM, LR_POLICY, LR_VALUE = 0.95, 0.95, 4.0, 0.3
Floats = NDArray[np.float64]
Index = tuple[NDArray[np.int64], ...]


def choose(logits: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """One draw a row from softmax(logits), by the Gumbel trick."""
    drawn: NDArray[np.int64] = np.argmax(logits + rng.gumbel(size=logits.shape), axis=-1)
    return drawn


def play(policy: dict[str, Floats], rng: np.random.Generator) -> dict[str, NDArray[np.int64]]:
    """A batch of episodes side by side. Rows go on after their end; `length` says where that was."""
    cell, key = np.full(EPISODES, START), np.zeros(EPISODES, np.int64)
    subgoal, length, opened = key.copy(), np.full(EPISODES, TURNS), np.zeros(EPISODES, np.int64)
    turns = []
    for t in range(TURNS):
        before = {"cell": cell, "key": key, "old": subgoal}
        # The three decisions, in the order in which a reply would write them.
        switch = choose(policy["switch"][cell, key, subgoal], rng) if t else np.ones_like(key)
        subgoal = np.where(switch, choose(policy["subgoal"][cell, key], rng), subgoal)
        action = choose(policy["action"][cell, subgoal], rng)
        turns.append({**before, "switch": switch, "subgoal": subgoal, "action": action})
        cell = np.clip(cell + 2 * action - 1, 0, CELLS - 1)
        key = key | (cell == KEY)
        at_door = (cell == DOOR) & (key == 1) & (opened == 0)
        opened, length = opened | at_door, np.where(at_door, t + 1, length)
    rows = {name: np.stack([turn[name] for turn in turns], axis=1) for name in turns[0]}
    return rows | {"length": length, "opened": opened, "cell_T": cell, "key_T": key, "subgoal_T": subgoal}


def climb(logits: Floats, where: Index, taken: NDArray[np.int64], advantage: Floats) -> None:
    """One policy-gradient step: ∇ log softmax is one-hot minus probability. PPO's first step is the same."""
    p = np.exp(logits[where] - logits[where].max(axis=-1, keepdims=True))
    score = np.eye(logits.shape[-1])[taken] - p / p.sum(axis=-1, keepdims=True)
    step = np.zeros_like(logits)
    np.add.at(step, where, advantage[..., None] * score)
    logits += LR_POLICY * step / EPISODES


def fit(table: Floats, where: Index, target: Floats, read: NDArray[np.bool_]) -> None:
    """Move each visited entry towards the mean of its targets."""
    total, count = np.zeros_like(table), np.zeros_like(table)
    places = tuple(index[read] for index in where)
    np.add.at(total, places, target[read] - table[where][read])
    np.add.at(count, places, 1.0)
    table += LR_VALUE * total / np.maximum(count, 1.0)


def main(seed: int = 0) -> list[float]:
    """Success rate of each update's episodes, under the policy as it was then."""
    rng = np.random.default_rng(seed)
    shapes = {"switch": (CELLS, 2, 2, 2), "subgoal": (CELLS, 2, 2), "action": (CELLS, 2, 2)}
    policy = {decision: np.zeros(shape) for decision, shape in shapes.items()}
    U, V_high, V_low = np.zeros((CELLS, 2, 2)), np.zeros((CELLS, 2)), np.zeros((CELLS, 2, 2))
    success = []
    for update in range(UPDATES):
        e = play(policy, rng)
        rewards_BT = np.zeros((EPISODES, TURNS))
        rewards_BT[np.arange(EPISODES), e["length"] - 1] = e["opened"]

        before, planned = (e["cell"], e["key"], e["old"]), (e["cell"], e["key"])
        acting, seen = (e["cell"], e["key"], e["subgoal"]), (e["cell"], e["subgoal"])
        after = U[e["cell_T"], e["key_T"], e["subgoal_T"]]  # who ran out of turns might still have won
        values, lams = (U[before], V_high[planned], V_low[acting], after), {"lam_low": LAM, "lam_high": LAM}
        credit = hae(rewards_BT, e["switch"], e["length"], e["opened"], *values, gamma=GAMMA, **lams)

        # Each decision climbs by its own credit. Where none was taken the credit is 0, so no mask is needed.
        climb(policy["switch"], before, e["switch"], credit.switch_BT)
        climb(policy["subgoal"], planned, e["subgoal"], credit.subgoal_BT)
        climb(policy["action"], seen, e["action"], credit.action_BT)
        fit(U, before, credit.return_U_BT, credit.mask_BT)
        fit(V_high, planned, credit.return_high_BT, credit.mask_high_BT)
        fit(V_low, acting, credit.return_low_BT, credit.mask_BT)

        success.append(float(e["opened"].mean()))
        if update % 10 == 0 or update == UPDATES - 1:
            turns, segments = e["length"].mean(), credit.mask_high_BT.sum() / EPISODES
            print(f"update {update:3d}  success {success[-1]:.2f}  turns {turns:4.1f}  segments {segments:4.1f}")
    return success


if __name__ == "__main__":
    main()
