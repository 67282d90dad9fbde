"""Synthetic run folders: seeded numbers of the right shape, written through the same records as real runs."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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
    append_jsonl,
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
PLACES = (
    "desk 1",
    "shelf 2",
    "drawer 3",
    "countertop 1",
    "fridge 1",
    "sinkbasin 1",
    "cabinet 4",
    "sidetable 2",
)
THINGS = ("mug 1", "apple 2", "book 1", "plate 3", "pan 1", "cd 2", "pencil 1")
REASONS = ("no_switch_tag", "no_action_tag", "text_after_action", "cut_by_limit", "not_admissible", "empty_subgoal",
           "keep_changed_subgoal")  # fmt: skip

Row = dict[str, object]


def wilson(successes: int, episodes: int) -> list[float]:
    """The 95 % score interval of a share."""
    z, p = 1.96, successes / episodes
    middle = (p + z * z / (2 * episodes)) / (1 + z * z / episodes)
    half = z / (1 + z * z / episodes) * math.sqrt(p * (1 - p) / episodes + z * z / (4 * episodes**2))
    return [max(0.0, middle - half), min(1.0, middle + half)]


def eval_row(
    rng: np.random.Generator, *, step: int, stage: str, split: str, skill: float, games: int = 134
) -> Row:
    """One evaluation, its successes drawn task by task."""
    shares = rng.multinomial(games, [0.13, 0.18, 0.23, 0.16, 0.17, 0.13])
    by_task, total = {}, 0
    for place, (task, episodes) in enumerate(zip(TASKS, shares, strict=True)):
        won = int(rng.binomial(episodes, np.clip(skill + 0.12 - 0.05 * place, 0.02, 0.99)))
        total += won
        by_task[task] = {
            "success": won / episodes,
            "success_ci95": wilson(won, episodes),
            "episodes": int(episodes),
        }
    return {"step": step, "stage": stage, "env": "alfworld", "split": split, "success": total / games,
            "success_ci95": wilson(total, games), "episodes": games, "by_task": by_task, "seeds": [0],
            "invalid_rate": float(0.08 * (1 - skill)), "turns_mean": float(40 - 24 * skill), "greedy": True,
            "env_version": "hiper.alfworld/1", "data_sha256": "0" * 64}  # fmt: skip


def metrics_row(rng: np.random.Generator, step: int, steps: int) -> Row:
    """One training step of a run that learns, with noise."""
    noise = lambda scale: float(rng.normal(0, scale))  # noqa: E731
    done = 1 - math.exp(-3 * step / steps)
    success = float(np.clip(0.35 + 0.5 * done + noise(0.06), 0, 1))
    valid = float(np.clip(0.9 + 0.095 * done + noise(0.006), 0, 1))
    blame = rng.dirichlet(np.linspace(3, 0.4, len(REASONS))) * (1 - valid)
    row: Row = {
        "step": step, "wall_s": 42.0 * step, "total/episodes": 128 * step, "total/turns": 3_400 * step,
        "total/tokens": 412_000 * step, "rollout/success": success, "rollout/return": 10 * success,
        "rollout/score": success, "rollout/turns": 34 - 15 * done + noise(1.2), "rollout/switches": 6 - 2 * done + noise(0.4),
        "rollout/segment_turns": 4.2 + 0.8 * done + noise(0.2), "rollout/valid_rate": valid, "rollout/episodes": 128,
        "rollout/reply_tokens": 21 + noise(0.8), "learn/policy_loss": -0.01 + noise(0.006),
        "learn/value_loss": 0.3 - 0.2 * done + abs(noise(0.03)), "learn/entropy": 0.6 - 0.35 * done + noise(0.02),
        "learn/kl": 0.004 + abs(noise(0.002)), "learn/clip_fraction": 0.05 + abs(noise(0.02)),
        "learn/grad_norm": 0.8 + abs(noise(0.3)), "learn/lr": 1e-5 * min(1, step / 10), "learn/skipped": 0,
        "learn/explained_variance/U": 0.8 * done - 0.2 + noise(0.06),
        "learn/explained_variance/high": 0.75 * done - 0.3 + noise(0.08),
        "learn/explained_variance/low": 0.85 * done - 0.1 + noise(0.05) if step > 2 else -3.0,
        "learn/logprob_gap_mean": 0.0016 + abs(noise(0.0004)), "learn/logprob_gap_max": 0.09 + abs(noise(0.05)),
        "speed/sampled_tokens_s": 11_000 + noise(500), "speed/trained_tokens_s": 24_000 + noise(800),
        "speed/turns_s": 96 + noise(5), "time/rollout_s": 27 - 8 * done + abs(noise(1)), "time/values_s": 3.2 + noise(0.1),
        "time/learn_s": 10 + noise(0.6), "time/checkpoint_s": 2.0 if step % 10 == 0 else 0.0,
        "time/eval_s": 30.0 if step % 20 == 0 else 0.0,
    }  # fmt: skip
    row |= {f"credit/{kind}_{what}": abs(noise(0.2)) + 0.3 * (what == "std")
            for kind in ("switch", "subgoal", "action") for what in ("mean", "std")}  # fmt: skip
    row |= {f"rollout/invalid/{name}": float(share) for name, share in zip(REASONS, blame, strict=True)}
    row |= {"rollout/ending/succeeded": success, "rollout/ending/turn_limit": 0.9 * (1 - success),
            "rollout/ending/token_limit": 0.1 * (1 - success)}  # fmt: skip
    row |= {f"rollout/success/{task}": float(np.clip(success + noise(0.1), 0, 1)) for task in TASKS}
    return row


def imitation_row(rng: np.random.Generator, step: int) -> Row:
    """One step of imitation."""
    loss = 0.2 + 2.0 * math.exp(-step / 40) + float(rng.normal(0, 0.05))
    return {"step": step, "wall_s": 1.5 * step, "learn/loss": loss, "learn/lr": 1e-4, "learn/grad_norm": 1.1,
            "speed/trained_tokens_s": 21_000.0, "total/episodes": 16 * step, "total/tokens": 30_000 * step}  # fmt: skip


def reply_text(decision: Decision, subgoal: str, action: str) -> str:
    """A reply as the model writes it."""
    block = f"<subgoal>{subgoal}</subgoal>" if decision is Decision.SWITCH else ""
    return f"<switch>{decision}</switch>{block}<action>{action}</action>"


def episode(rng: np.random.Generator, *, task: str, wins: bool, invalid_rate: float = 0.07) -> Trajectory:
    """One played game; the words fit the task, the numbers are drawn."""
    thing, goal = rng.choice(THINGS), rng.choice(PLACES)
    length = int(rng.integers(7, 20)) if wins else 50
    plans = [f"find {thing}", f"take {thing}", f"bring {thing} to {goal}", f"put {thing} in {goal}"]
    turns: list[Turn] = []
    subgoal, seen = "", f"You are in the middle of a room. Looking quickly around you, you see a {', a '.join(PLACES)}.\n\nYour task is to: put a {thing.split()[0]} in {goal.split()[0]}."  # fmt: skip
    for index in range(length):
        place = rng.choice(PLACES)
        switch = index == 0 or rng.random() < 0.22
        decision = Decision.SWITCH if switch else Decision.KEEP
        plan = plans[min(len(plans) - 1, int(len(plans) * index / length))] if wins else rng.choice(plans)
        action = f"take {thing} from {place}" if rng.random() < 0.2 else f"go to {place}"
        broken = index > 0 and rng.random() < invalid_rate
        reason = Invalid(str(rng.choice(REASONS))) if broken else None
        malformed = reason not in (None, Invalid.NOT_ADMISSIBLE)
        text = reply_text(decision, plan, action)
        subgoal = plan if switch and not malformed else subgoal
        turns.append(Turn(
            index=index, observation=seen, context=seen, fresh_context=index == 0,
            reply=text[: int(rng.integers(8, len(text)))] if malformed else text,
            decision=Decision.KEEP if malformed else decision, subgoal=subgoal, action="" if malformed else action,
            invalid=reason, reward=1.0 if wins and index == length - 1 else 0.0,
        ))  # fmt: skip
        others = ", a ".join(rng.choice(THINGS, 3, replace=False))
        seen = "Nothing happens." if broken else f"You arrive at {place}. On the {place}, you see a {others}."
    ending = Ending.SUCCEEDED if wins else Ending.TURN_LIMIT
    return Trajectory(game=f"valid_unseen/{task}-Mug-None-Desk-308/trial_T20190908_0001", task_type=task, seed=int(rng.integers(1e6)),
                      turns=tuple(turns), ending=ending, final_observation=seen, score=float(wins))  # fmt: skip


def credit_row(rng: np.random.Generator, index: int, played: Trajectory) -> Row:
    """Values that drift towards the outcome and advantages around their changes."""
    length = len(played.turns)
    level = np.linspace(0.4, 0.95 if played.succeeded else 0.05, length) + rng.normal(0, 0.05, length)
    opens = {piece.start for piece in segments(played.turns)}
    draw = lambda scale: [float(value) for value in rng.normal(0, scale, length)]  # noqa: E731
    return {
        "index": index, "U": [float(v) for v in level], "V_low": [float(v) for v in level + rng.normal(0, 0.04, length)],
        "V_high": [float(level[t] + 0.03) if t in opens else None for t in range(length)],
        "switch": [0.0, *draw(0.08)[1:]], "action": draw(0.12),
        "subgoal": [float(rng.normal(0.05, 0.2)) if t in opens else 0.0 for t in range(length)],
    }  # fmt: skip


def write_sampled(
    folder: Path, rng: np.random.Generator, *, step: int, skill: float, episodes: int = 12
) -> None:
    """A trajectory file and its credit."""
    played = [
        episode(rng, task=TASKS[i % len(TASKS)], wins=bool(rng.random() < skill)) for i in range(episodes)
    ]
    write_trajectories(folder / TRAJECTORY_FOLDER / f"step-{step:06d}.jsonl.zst", played)
    for index, one in enumerate(played):
        append_jsonl(
            folder / TRAJECTORY_FOLDER / f"step-{step:06d}.credit.jsonl", credit_row(rng, index, one)
        )


def write_run(folder: Path, *, steps: int = 30, seed: int = 0, episodes: int = 12) -> Path:
    """A whole run: imitation, training, evaluations of two splits, sampled episodes with credit."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(
        'name = "household"\n\n[credit]\nname = "hae"\ngamma = 0.95\n', encoding="utf-8"
    )
    environment = {
        "hiper": "0.1.0",
        "versions": {"numpy": np.__version__},
        "command": ["hiper", "train"],
        "git": "a1b2c3d",
    }
    (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment), encoding="utf-8")
    rows = [imitation_row(rng, step) for step in range(1, 101)] + [
        metrics_row(rng, step, steps) for step in range(1, steps + 1)
    ]
    for row in rows:
        with (folder / METRICS_FILE).open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
    moments = [
        (100, "sft", 0.4),
        *((s, "train", 0.4 + 0.45 * s / steps) for s in np.linspace(0, steps, 6).astype(int)[1:]),
    ]
    for step, stage, skill in moments:
        for split, bonus in (("valid_seen", 0.03), ("valid_unseen", 0.0)):
            append_jsonl(
                folder / EVALS_FILE,
                eval_row(rng, step=int(step), stage=stage, split=split, skill=skill + bonus),
            )
    for step, skill in ((max(1, steps // 3), 0.4), (steps, 0.8)):
        write_sampled(folder, rng, step=step, skill=skill, episodes=episodes)
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a synthetic run and returns its folder."""

    def make(**settings: int) -> Path:
        return write_run(tmp_path / "household-7", **settings)

    return make
