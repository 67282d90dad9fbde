"""Synthetic run folders: seeded numbers of the right shape, written through the same records as real runs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hiper.records import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EVALS_FILE,
    METRICS_FILE,
    TRAJECTORY_FOLDER,
    Decision,
    Ending,
    Invalid,
    Trajectory,
    Turn,
    segments,
    write_trajectories,
)

TASKS = (
    "look_at_obj_in_light",
    "pick_and_place_simple",
    "pick_clean_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_two_obj_and_place",
)
GAMES = 134
PLACES = ("desk 1", "shelf 2", "drawer 3", "countertop 1", "fridge 1", "sinkbasin 1", "cabinet 4")
THINGS = ("mug 1", "apple 2", "book 1", "plate 3", "pan 1", "cd 2", "pencil 1")
REASONS = (
    Invalid.NO_SWITCH_TAG,
    Invalid.NO_ACTION_TAG,
    Invalid.TEXT_AFTER_ACTION,
    Invalid.CUT_BY_LIMIT,
    Invalid.NOT_ADMISSIBLE,
    Invalid.EMPTY_SUBGOAL,
    Invalid.KEEP_CHANGED_SUBGOAL,
)

Row = dict[str, object]
Rng = np.random.Generator


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def score_interval(successes: int, episodes: int) -> list[float]:
    """The 95 % score interval of a share."""
    z, p = 1.96, successes / episodes
    middle = (p + z * z / (2 * episodes)) / (1 + z * z / episodes)
    half = z / (1 + z * z / episodes) * math.sqrt(p * (1 - p) / episodes + z * z / (4 * episodes**2))
    return [max(0.0, middle - half), min(1.0, middle + half)]


def success(won: int, episodes: int) -> Row:
    return {"success": won / episodes, "success_ci95": score_interval(won, episodes), "episodes": episodes}


def eval_row(rng: Rng, *, step: int, stage: str, split: str, skill: float) -> Row:
    """One evaluation of the same games, its successes drawn task by task."""
    sizes = dict(zip(TASKS, (18, 24, 31, 21, 23, 17), strict=True))
    chances = {task: np.clip(skill + 0.12 - 0.05 * place, 0.02, 0.99) for place, task in enumerate(TASKS)}
    won = {task: int(rng.binomial(sizes[task], chances[task])) for task in TASKS}
    return {
        "step": step,
        "stage": stage,
        "greedy": True,
        "env": "alfworld",
        "split": split,
        **success(sum(won.values()), GAMES),
        "by_task": {task: success(won[task], sizes[task]) for task in TASKS},
        "seeds": [0],
        "invalid_rate": 0.08 * (1 - skill),
        "turns_mean": 40 - 24 * skill,
    }


def metrics_row(rng: Rng, step: int, steps: int) -> Row:
    """One training step of a run that learns, with noise."""

    def near(value: float, scale: float) -> float:
        return value + float(rng.normal(0, scale))

    def above(value: float, scale: float) -> float:
        return value + abs(float(rng.normal(0, scale)))

    done = 1 - math.exp(-3 * step / steps)
    won = min(1.0, max(0.0, near(0.35 + 0.5 * done, 0.06)))
    valid = min(1.0, near(0.9 + 0.095 * done, 0.006))
    blame = rng.dirichlet(np.linspace(3, 0.4, len(REASONS))) * (1 - valid)
    return {
        "stage": "train",
        "step": step,
        "wall_s": 42.0 * step,
        "total/episodes": 128 * step,
        "total/turns": 3_400 * step,
        "total/tokens": 412_000 * step,
        "rollout/success": won,
        "rollout/return": won,
        "rollout/score": won,
        "rollout/turns": near(34 - 15 * done, 1.2),
        "rollout/switches": near(6 - 2 * done, 0.4),
        "rollout/segment_turns": near(4.2 + 0.8 * done, 0.2),
        "rollout/valid_rate": valid,
        "rollout/episodes": 128,
        "rollout/reply_tokens": near(21, 0.8),
        "rollout/ending/succeeded": won,
        "rollout/ending/failed": 0.0,
        "rollout/ending/turn_limit": 0.9 * (1 - won),
        "rollout/ending/token_limit": 0.1 * (1 - won),
        "learn/policy_loss": near(-0.01, 0.006),
        "learn/value_loss": above(0.3 - 0.2 * done, 0.03),
        "learn/entropy": near(0.6 - 0.35 * done, 0.02),
        "learn/kl": above(0.004, 0.002),
        "learn/clip_fraction": above(0.05, 0.02),
        "learn/grad_norm": above(0.8, 0.3),
        "learn/lr": 1e-5 * min(1, step / 10),
        "learn/skipped": 0,
        "learn/explained_variance/U": near(0.8 * done - 0.2, 0.06),
        "learn/explained_variance/high": near(0.75 * done - 0.3, 0.08),
        "learn/explained_variance/low": near(0.85 * done - 0.1, 0.05) if step > 2 else -3.0,
        "learn/logprob_gap_mean": above(0.0016, 0.0004),
        "learn/logprob_gap_max": above(0.09, 0.05),
        "speed/sampled_tokens_s": near(11_000, 500),
        "speed/trained_tokens_s": near(24_000, 800),
        "speed/turns_s": near(96, 5),
        "time/rollout_s": above(27 - 8 * done, 1),
        "time/values_s": near(3.2, 0.1),
        "time/credit_s": near(0.1, 0.01),
        "time/learn_s": near(10, 0.6),
        "time/between_s": 30.0 if step % 20 == 1 else 2.0 if step % 10 == 1 else 0.0,
        **{f"credit/{kind}_std": above(0.4, 0.05) for kind in ("switch", "subgoal", "action")},
        **{f"credit/{kind}_mean": near(0.0, 0.05) for kind in ("switch", "subgoal", "action")},
        **{f"rollout/invalid/{reason}": float(part) for reason, part in zip(REASONS, blame, strict=True)},
        **{f"rollout/success/{task}": min(1.0, max(0.0, near(won, 0.1))) for task in TASKS},
    }


def imitation_row(rng: Rng, step: int) -> Row:
    """One step of imitation."""
    return {
        "stage": "sft",
        "step": step,
        "wall_s": 1.5 * step,
        "learn/loss": 0.2 + 2.0 * math.exp(-step / 40) + float(rng.normal(0, 0.05)),
        "learn/lr": 1e-4,
        "learn/grad_norm": 1.1,
        "speed/trained_tokens_s": 21_000.0,
        "total/episodes": 16 * step,
        "total/tokens": 30_000 * step,
    }


def reply_text(decision: Decision, subgoal: str, action: str) -> str:
    """A reply as the model writes it."""
    block = f"<subgoal>{subgoal}</subgoal>" if decision is Decision.SWITCH else ""
    return f"<switch>{decision}</switch>{block}<action>{action}</action>"


def episode(rng: Rng, *, task: str, wins: bool, invalid_rate: float = 0.07) -> Trajectory:
    """One played game; the words fit a household, the choices are drawn."""
    thing, goal = str(rng.choice(THINGS)), str(rng.choice(PLACES))
    plans = [f"find {thing}", f"take {thing}", f"bring {thing} to {goal}", f"put {thing} in {goal}"]
    length = int(rng.integers(7, 20)) if wins else 50
    seen = f"You are in the middle of a room. You see a {', a '.join(PLACES)}.\n\nYour task is to: {plans[-1]}."
    turns: list[Turn] = []
    for index in range(length):
        plan = plans[index * len(plans) // length] if wins else str(rng.choice(plans))
        turns.append(_turn(rng, index, seen, plan, turns[-1].subgoal if turns else "", invalid_rate))
        place, others = str(rng.choice(PLACES)), ", a ".join(rng.choice(THINGS, 3, replace=False))
        invalid = turns[-1].invalid is not None
        seen = "Nothing happens." if invalid else f"You arrive at {place}. On the {place}, you see a {others}."
    turns[-1] = _turn(rng, length - 1, turns[-1].observation, plans[-1], turns[-1].subgoal, 0.0, float(wins))
    return Trajectory(
        game=f"valid_unseen/{task}-Mug-None-Desk-308/trial_T20190908_0001",
        task_type=task,
        seed=int(rng.integers(1_000_000)),
        turns=tuple(turns),
        ending=Ending.SUCCEEDED if wins else Ending.TURN_LIMIT,
        final_observation=seen,
        score=float(wins),
    )


def _turn(rng: Rng, index: int, seen: str, plan: str, subgoal: str, invalid_rate: float, reward: float = 0.0) -> Turn:
    decision = Decision.SWITCH if index == 0 or rng.random() < 0.22 else Decision.KEEP
    action = f"go to {rng.choice(PLACES)}" if rng.random() < 0.7 else f"take {rng.choice(THINGS)}"
    text = reply_text(decision, plan, action)
    is_invalid = index > 0 and rng.random() < invalid_rate
    reason = Invalid(str(rng.choice(REASONS))) if is_invalid else None
    malformed = reason not in (None, Invalid.NOT_ADMISSIBLE)
    return Turn(
        index=index,
        observation=seen,
        context=seen,
        fresh_context=index == 0,
        reply=text[: int(rng.integers(8, len(text)))] if malformed else text,
        decision=Decision.KEEP if malformed else decision,
        subgoal=plan if decision is Decision.SWITCH and not malformed else subgoal,
        action="" if malformed else action,
        invalid=reason,
        reward=reward,
    )


def credit_row(rng: Rng, index: int, played: Trajectory) -> Row:
    """Values that drift towards the outcome, and advantages drawn around zero."""
    length = len(played.turns)
    level = np.linspace(0.4, 0.95 if played.succeeded else 0.05, length) + rng.normal(0, 0.05, length)
    opens = {piece.start for piece in segments(played.turns)}
    return {
        "index": index,
        "U": level.tolist(),
        "V_low": (level + rng.normal(0, 0.04, length)).tolist(),
        "V_high": [float(level[t] + 0.03) if t in opens else None for t in range(length)],
        "switch": [0.0, *rng.normal(0, 0.08, length - 1).tolist()],
        "subgoal": [float(rng.normal(0.05, 0.2)) if t in opens else 0.0 for t in range(length)],
        "action": rng.normal(0, 0.12, length).tolist(),
    }


def write_sampled(folder: Path, rng: Rng, name: str, *, skill: float, count: int, credited: bool = True) -> None:
    """A file of episodes and, beside it, their credit."""
    played = [episode(rng, task=TASKS[i % len(TASKS)], wins=bool(rng.random() < skill)) for i in range(count)]
    write_trajectories(folder / TRAJECTORY_FOLDER / f"{name}.jsonl.zst", played)
    if credited:
        rows = [credit_row(rng, index, one) for index, one in enumerate(played)]
        write_rows(folder / TRAJECTORY_FOLDER / f"{name}.credit.jsonl", rows)


def write_run(folder: Path, *, steps: int = 30, seed: int = 0, count: int = 6) -> Path:
    """A whole run: imitation, training, evaluations of two splits, sampled episodes with credit."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    settings = 'name = "household"\n\n[credit]\nname = "hae"\ngamma = 0.95\n'
    (folder / CONFIG_FILE).write_text(settings, encoding="utf-8")
    environment = {
        "packages": {"numpy": np.__version__},
        "command": ["hiper", "train"],
        "git_commit": "a1b2c3d",
    }
    (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment), encoding="utf-8")
    imitation = [imitation_row(rng, step) for step in range(1, 101)]
    training = [metrics_row(rng, step, steps) for step in range(1, steps + 1)]
    write_rows(folder / METRICS_FILE, imitation + training)
    places = [steps * k // 5 for k in range(1, 6)]
    moments = [(100, "sft", 0.4), *((step, "train", 0.4 + 0.45 * step / steps) for step in places)]
    evals = [
        eval_row(rng, step=step, stage=stage, split=split, skill=skill + bonus)
        for step, stage, skill in moments
        for split, bonus in (("valid_seen", 0.03), ("valid_unseen", 0.0))
    ]
    write_rows(folder / EVALS_FILE, evals)
    write_sampled(folder, rng, f"step-{1:06d}", skill=0.4, count=count)
    write_sampled(folder, rng, f"step-{steps:06d}", skill=0.8, count=count)
    write_sampled(folder, rng, "eval-train-valid_unseen", skill=0.8, count=count, credited=False)
    return folder
