"""Figures of a set of episodes: the `rollout/*` columns of a training step, the table of an evaluation."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypedDict

from hiper.records import Decision, Ending, Invalid, Trajectory, segments

_Z_95 = 1.959963984540054  # the standard normal puts 95 % of its mass within this many deviations


def summary(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """The `rollout/*` columns.

    Means over episodes: success, return, score, turns, switches (SWITCH replies). Means over turns:
    valid_rate, reply_tokens, invalid/<reason>. Mean over segments: segment_turns. Shares of episodes:
    ending/<ending>.
    """
    if not trajectories:
        return {"rollout/episodes": 0.0}
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    n_segments = sum(len(segments(trajectory.turns)) for trajectory in trajectories)
    row = {
        "rollout/episodes": float(len(trajectories)),
        "rollout/success": _mean(trajectory.succeeded for trajectory in trajectories),
        "rollout/return": _mean(trajectory.reward for trajectory in trajectories),
        "rollout/score": _mean(trajectory.score for trajectory in trajectories),
        "rollout/turns": len(turns) / len(trajectories),
        "rollout/switches": sum(turn.decision is Decision.SWITCH for turn in turns) / len(trajectories),
        "rollout/segment_turns": len(turns) / max(n_segments, 1),
        "rollout/valid_rate": _mean(turn.invalid is None for turn in turns),
        "rollout/reply_tokens": _mean(len(turn.reply_ids) for turn in turns),
    }
    for task_type, group in _by_task(trajectories).items():
        row[f"rollout/success/{task_type}"] = _mean(trajectory.succeeded for trajectory in group)
    reasons = Counter(turn.invalid for turn in turns)
    row |= {f"rollout/invalid/{reason}": reasons[reason] / max(len(turns), 1) for reason in Invalid}
    endings = Counter(trajectory.ending for trajectory in trajectories)
    row |= {f"rollout/ending/{ending}": endings[ending] / len(trajectories) for ending in Ending}
    return row


class Success(TypedDict):
    """How often a set of episodes succeeded, with a 95 % interval."""

    success: float
    success_ci95: list[float]
    episodes: int


class SuccessTable(Success):
    """The same overall and for each type of task."""

    by_task: dict[str, Success]


class Tries(TypedDict):
    """How often games were won that were played several times."""

    tries: int
    won_ever: float
    won_always: float


def success_table(trajectories: Sequence[Trajectory], tries: int = 1) -> SuccessTable:
    """Success overall and by task type. Every episode counts, crashed ones as not succeeded.

    tries: episodes of each game. The intervals are over games: as if the tries of one could not differ.
    """
    groups = _by_task(trajectories)
    by_task = {name: _success(group, tries) for name, group in groups.items()}
    return {**_success(trajectories, tries), "by_task": by_task}


def of_tries(trajectories: Sequence[Trajectory]) -> Tries:
    """The share of games won in at least one of `tries` episodes (pass@k), and in all of them.

    What lies between is all that RL can move by choosing among what the agent already does.
    Games are told apart by name and seed. Raises ValueError where one was played more often than another.
    """
    won: dict[tuple[str, int], list[bool]] = {}
    for one in trajectories:
        won.setdefault((one.game, one.seed), []).append(one.succeeded)
    counts = {len(results) for results in won.values()}
    if len(counts) != 1:
        raise ValueError(f"expected every game as often as the others, got {sorted(counts)} episodes of one")
    return {
        "tries": counts.pop(),
        "won_ever": _mean(any(results) for results in won.values()),
        "won_always": _mean(all(results) for results in won.values()),
    }


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate: within [0, 1], and honest for few trials and rare events."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"expected 0 <= successes <= trials and trials > 0, got {successes} of {trials}")
    rate, z2 = successes / trials, _Z_95**2
    centre = (rate + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z_95 * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials**2)) / (1 + z2 / trials)
    # At the ends the bound is exact; rounding would leave it a hair off.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def _success(trajectories: Sequence[Trajectory], tries: int) -> Success:
    successes = sum(trajectory.succeeded for trajectory in trajectories)
    low, high = wilson(successes / tries, len(trajectories) / tries)
    return {
        "success": successes / len(trajectories),
        "success_ci95": [low, high],
        "episodes": len(trajectories),
    }


def _by_task(trajectories: Iterable[Trajectory]) -> dict[str, list[Trajectory]]:
    """Groups by task type, sorted by name; episodes of no type are in no group."""
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        if trajectory.task_type:
            groups.setdefault(trajectory.task_type, []).append(trajectory)
    return dict(sorted(groups.items()))


def _mean(numbers: Iterable[float]) -> float:
    values = list(numbers)
    return sum(values) / len(values) if values else 0.0
