"""How fast is `hiper.credit.hae`? Against the same recursions in plain Python, turn by turn; then its relatives.

    python benchmarks/credit.py [--episodes 128] [--turns 50] [--repeats 20] [--json FILE]

Aim: `hae` on 128 episodes of up to 50 turns in less than 5 ms on one core. Exits with 1 where it is missed.

Both start from the same arrays and must give the same numbers to 1e-12, else there is nothing to compare. The
plain loop checks none of its arguments. Times are the best of the repeats, in seconds, on one core. The other
estimators get the same episodes, as tasks of eight with thirty states each and twenty tokens a turn.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiper import credit
from hiper.credit import hae

AIM_S, AIM_SHAPE = 0.005, (128, 50)
TOKENS = 20  # a turn, for the estimator that counts them
GAMMA, LAM_LOW, LAM_HIGH, LAM_BOUNDARY = 0.95, 0.9, 0.8, 0.5
Advantages = dict[str, list[list[float]]]
Batch = dict[str, Any]  # the array arguments of `hae`, by name


def random_batch(episodes: int, turns: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    shape = (episodes, turns)
    reals = {name: rng.normal(size=shape) for name in ("rewards_BT", "U_BT", "V_high_BT", "V_low_BT")}
    return reals | {
        "switches_BT": rng.random(shape) < 0.2,
        "lengths_B": rng.integers(1, turns + 1, episodes),
        "terminated_B": rng.random(episodes) < 0.5,
        "U_final_B": rng.normal(size=episodes),
    }


def plain_episode(
    r: list[float], q: list[bool], U: list[float], V_high: list[float], V_low: list[float], final: float
) -> tuple[list[float], list[float], list[float]]:
    """The recursions of `hae` for one episode, backwards, in lists."""
    length = len(r)
    switch, subgoal, action = [0.0] * length, [0.0] * length, [0.0] * length
    M_next = S_next = V_next = final
    tail = 0.0
    for t in reversed(range(length)):
        M, S = r[t] + GAMMA * M_next, r[t] + GAMMA * S_next
        action[t] = r[t] + GAMMA * V_next - V_low[t] + GAMMA * LAM_LOW * tail
        if t:
            switch[t] = S - U[t]
        if t == 0 or q[t]:
            subgoal[t] = M - V_high[t]
            M_next = V_high[t] + LAM_HIGH * subgoal[t]
            S_next = V_high[t] + LAM_BOUNDARY * LAM_HIGH * (S - V_high[t])
            V_next, tail = V_high[t], LAM_BOUNDARY * subgoal[t]
        else:
            M_next, S_next, V_next, tail = M, S, V_low[t], action[t]
    return switch, subgoal, action


def plain(batch: Batch) -> Advantages:
    lists = {name: array.tolist() for name, array in batch.items()}
    rows = []
    for b, n in enumerate(lists["lengths_B"]):
        final = 0.0 if lists["terminated_B"][b] else lists["U_final_B"][b]
        r, q, U = (lists[name][b][:n] for name in ("rewards_BT", "switches_BT", "U_BT"))
        V_high, V_low = (lists[name][b][:n] for name in ("V_high_BT", "V_low_BT"))
        rows.append(plain_episode(r, q, U, V_high, V_low, final))
    return {name: [row[i] for row in rows] for i, name in enumerate(("switch", "subgoal", "action"))}


def vectorised(batch: Batch) -> dict[str, NDArray[np.float64]]:
    credit = hae(**batch, gamma=GAMMA, lam_low=LAM_LOW, lam_high=LAM_HIGH, lam_boundary=LAM_BOUNDARY)
    return {"switch": credit.switch_BT, "subgoal": credit.subgoal_BT, "action": credit.action_BT}


def largest_difference(ours: dict[str, NDArray[np.float64]], theirs: Advantages) -> float:
    return max(
        float(np.abs(ours[name][b, : len(row)] - row).max())
        for name, rows in theirs.items()
        for b, row in enumerate(rows)
    )


def others(batch: Batch, seed: int) -> dict[str, Callable[[], object]]:
    """Every other estimator, ready to be called."""
    rng = np.random.default_rng(seed)
    shape = batch["rewards_BT"].shape
    group_B = np.arange(shape[0]) // 8
    group_B[group_B == group_B[-1]] = max(group_B[-1] - 1, 0)  # no group of one at the end
    state_BT, subgoal_BT = rng.integers(0, 30, shape), rng.integers(0, 4, shape)
    turn_BL = np.repeat(np.arange(shape[1]), TOKENS) * np.ones((shape[0], 1), np.int64)
    turn_BL = np.where(turn_BL < batch["lengths_B"][:, None], turn_BL, -1)
    V_BL = rng.normal(size=turn_BL.shape)
    b = batch
    seen = (b["rewards_BT"], b["lengths_B"])
    flat = (*seen, b["terminated_B"], b["U_BT"], b["U_final_B"])
    high = (b["rewards_BT"], b["switches_BT"], b["lengths_B"], b["terminated_B"], b["V_high_BT"], b["U_final_B"])
    who = {"group_B": group_B, "state_BT": state_BT, "subgoal_BT": subgoal_BT}
    return {
        "gae": lambda: credit.gae(*flat),
        "token_gae": lambda: credit.token_gae(*seen, b["terminated_B"], turn_BL, V_BL, b["U_final_B"]),
        "option_gae": lambda: credit.option_gae(**b),
        "hae_eb": lambda: credit.hae_eb(**b),
        "fixed_hae": lambda: credit.fixed_hae(*flat, every=5),
        "grpo": lambda: credit.grpo(*seen, group_B),
        "rloo": lambda: credit.rloo(*seen, group_B),
        "reinforce_pp": lambda: credit.reinforce_pp(*seen, group_B),
        "gigpo": lambda: credit.gigpo(*seen, group_B, state_BT),
        "adaptive_lam_boundary": lambda: credit.adaptive_lam_boundary(*high, group_B, state_BT),
        "sibling_hae": lambda: credit.sibling_hae(**b, **who),
    }


def best_time(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(episodes: int, turns: int, repeats: int, seed: int) -> dict[str, Any]:
    batch = random_batch(episodes, turns, seed)
    fast, slow = best_time(lambda: vectorised(batch), repeats), best_time(lambda: plain(batch), repeats)
    result = {
        "episodes": episodes,
        "turns": turns,
        "aim_s": AIM_S,
        "vectorised_s": fast,
        "aim_met": fast < AIM_S if (episodes, turns) == AIM_SHAPE else None,
        "plain_s": slow,
        "largest_difference": largest_difference(vectorised(batch), plain(batch)),
    }
    times = {name: best_time(work, repeats) for name, work in others(batch, seed).items()}
    return result | {"speedup": slow / fast, "others_s": times}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Time of hiper.credit.hae against plain Python loops.")
    parser.add_argument("--episodes", type=int, default=128)
    parser.add_argument("--turns", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the result there; - for standard output")
    args = parser.parse_args(argv)
    result = measure(args.episodes, args.turns, args.repeats, args.seed)
    if args.json == "-":
        print(json.dumps(result))
    else:
        if args.json:
            Path(args.json).write_text(json.dumps(result) + "\n", "utf-8")
        print(f"{args.episodes} episodes of up to {args.turns} turns, best of {args.repeats}")
        print(f"plain Python  {1e3 * result['plain_s']:8.3f} ms")
        print(f"vectorised    {1e3 * result['vectorised_s']:8.3f} ms   ({result['speedup']:.1f} times faster)")
        met = {True: "met", False: "MISSED", None: "not measured"}[result["aim_met"]]
        print(f"aim           {1e3 * AIM_S:8.3f} ms   for {AIM_SHAPE[0]} episodes of up to {AIM_SHAPE[1]} turns: {met}")
        print(f"largest difference {result['largest_difference']:.1e}")
        for name, seconds in result["others_s"].items():
            print(f"{name:22s}{1e3 * seconds:8.3f} ms")
    if result["largest_difference"] > 1e-12:
        print("the two do not agree", file=sys.stderr)
        return 1
    return 1 if result["aim_met"] is False else 0


if __name__ == "__main__":
    sys.exit(main())
