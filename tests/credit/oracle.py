"""The estimators a second time, as their definitions: explicit sums over turns and segments, no recursion.

Slow on purpose, O(T²) per episode and more. It takes lists and shares no code with `hiper.credit`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tests.credit.batches import Batch

Row = Sequence[float]


class Lambdas(NamedTuple):
    gamma: float = 0.9
    low: float = 0.8
    high: float = 0.7
    boundary: float = 0.0


class Segment(NamedTuple):
    start: int
    stop: int


def segments(switches: Sequence[bool], length: int) -> list[Segment]:
    starts = [0, *(t for t in range(1, length) if switches[t])]
    return [Segment(a, b) for a, b in zip(starts, [*starts[1:], length], strict=True)]


def reward_to(rewards: Row, start: int, stop: int, gamma: float) -> float:
    return sum(gamma ** (t - start) * rewards[t] for t in range(start, stop))


def gae_episode(rewards: Row, values: Row, final: float, gamma: float, lam: float) -> list[float]:
    """Sum over j >= t of (γλ)^(j-t) δ_j; `final` is what follows the last turn."""
    length = len(rewards)
    v = [*values[:length], final]
    surprise = [rewards[t] + gamma * v[t + 1] - v[t] for t in range(length)]
    return [sum((gamma * lam) ** (j - t) * surprise[j] for j in range(t, length)) for t in range(length)]


def high_advantages(
    rewards: Row, V_high: Row, final: float, parts: list[Segment], gamma: float, lam: float
) -> list[float]:
    """One number a segment: sum over later segments j of γ^(turns between) λ^(segments between) Δ_j."""
    values = [*(V_high[p.start] for p in parts), final]
    surprise = [
        reward_to(rewards, p.start, p.stop, gamma) + gamma ** (p.stop - p.start) * values[k + 1] - values[k]
        for k, p in enumerate(parts)
    ]
    return [
        sum(gamma ** (parts[j].start - p.start) * lam ** (j - k) * surprise[j] for j in range(k, len(parts)))
        for k, p in enumerate(parts)
    ]


def low_advantage(t: int, stop: int, rewards: Row, V_low: Row, V_next: float, A_next: float, lams: Lambdas) -> float:
    """Surprises up to the end of the segment [.., stop), then κ of the next segment's advantage."""
    after = [*V_low[t + 1 : stop], V_next]
    surprise = [rewards[t + i] + lams.gamma * after[i] - V_low[t + i] for i in range(stop - t)]
    decay = lams.gamma * lams.low
    inside = sum(decay**i * surprise[i] for i in range(stop - t))
    return float(inside + decay ** (stop - t) * lams.boundary * A_next)


def hae_episode(
    rewards: Row, switches: Sequence[bool], U: Row, V_high: Row, V_low: Row, final: float, lams: Lambdas
) -> dict[str, list[float]]:
    length, gamma = len(rewards), lams.gamma
    parts = segments(switches, length)
    V_next = [*(V_high[p.start] for p in parts[1:]), final]
    A_high = [*high_advantages(rewards, V_high, final, parts, gamma, lams.high), 0.0]
    kappa_high = lams.boundary * lams.high
    A_across = [*high_advantages(rewards, V_high, final, parts, gamma, kappa_high), 0.0]
    out: dict[str, list[float]] = {"switch": [], "subgoal": [], "action": [], "return_U": []}
    for k, part in enumerate(parts):
        for t in range(part.start, part.stop):
            ahead = V_next[k] + kappa_high * A_across[k + 1]
            S = reward_to(rewards, t, part.stop, gamma) + gamma ** (part.stop - t) * ahead
            out["return_U"].append(S)
            out["switch"].append(S - U[t] if t else 0.0)
            out["subgoal"].append(A_high[k] if t == part.start else 0.0)
            out["action"].append(low_advantage(t, part.stop, rewards, V_low, V_next[k], A_high[k + 1], lams))
    return out


def padded(rows: list[list[float]], turns: int) -> np.ndarray:
    return np.array([[*row, *[0.0] * (turns - len(row))] for row in rows])


def hae_batch(batch: Batch, lams: Lambdas) -> dict[str, np.ndarray]:
    rows = []
    for b, length in enumerate(batch.lengths_B):
        series = (batch.rewards_BT, batch.switches_BT, batch.U_BT, batch.V_high_BT, batch.V_low_BT)
        final = 0.0 if batch.terminated_B[b] else float(batch.U_final_B[b])
        rows.append(hae_episode(*(x[b, :length].tolist() for x in series), final, lams))
    return {key: padded([row[key] for row in rows], batch.rewards_BT.shape[1]) for key in rows[0]}


def gae_batch(batch: Batch, gamma: float, lam: float) -> np.ndarray:
    rows = []
    for b, length in enumerate(batch.lengths_B):
        final = 0.0 if batch.terminated_B[b] else float(batch.U_final_B[b])
        rewards, values = batch.rewards_BT[b, :length].tolist(), batch.U_BT[b, :length].tolist()
        rows.append(gae_episode(rewards, values, final, gamma, lam))
    return padded(rows, batch.rewards_BT.shape[1])
