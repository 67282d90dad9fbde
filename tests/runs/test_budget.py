"""A budget of turns ends a run, and its schedule follows the turns."""

from pathlib import Path

import pytest

from hiper.runs.checkpoint import Progress
from hiper.runs.config import TrainConfig
from hiper.runs.train import _scale, is_over
from tests.runs.tiny import carry_out, metrics, saved


def at(step: int, turns: int) -> Progress:
    return Progress(stage="train", step=step, turns=turns)


def test_the_budget_takes_the_place_of_steps() -> None:
    t = TrainConfig(steps=3, turns=100)
    assert not is_over(t, at(5, 99))
    assert is_over(t, at(1, 100))
    assert is_over(TrainConfig(steps=3), at(3, 0))


def test_the_schedule_follows_the_turns() -> None:
    by_steps, by_turns = TrainConfig(steps=50, critic_warmup=2), TrainConfig(steps=1, turns=5000, critic_warmup=2)
    for step in range(50):
        assert _scale(by_turns, at(step, 100 * step)) == pytest.approx(_scale(by_steps, at(step, 0)))
    slow, quick = _scale(by_turns, at(20, 1000)), _scale(by_turns, at(20, 4000))
    assert slow > quick


def test_a_run_ends_with_its_budget_and_is_taken_up_again(tmp_path: Path) -> None:
    settings = ("train.turns=60", "train.steps=1", "eval.every=1")
    done = carry_out(tmp_path / "run", *settings)
    rows = metrics(tmp_path / "run", "train")
    assert rows[-2]["total/turns"] < 60 <= rows[-1]["total/turns"]
    assert saved(tmp_path / "run")[-1] == f"step-{len(rows):06d}"
    assert "train 0/60" in done.watcher.said  # type: ignore[attr-defined]
    carry_out(tmp_path / "run", *settings)
    assert metrics(tmp_path / "run", "train") == rows
