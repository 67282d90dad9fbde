"""The model that did best on a split that nothing else is judged by: kept, used at the end, found again by its run."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from hiper.records import Trajectory
from hiper.runs import run
from hiper.runs.checkpoint import CheckpointError, Progress, load_best, load_policy, resolve_model
from hiper.runs.config import ConfigError
from hiper.runs.evaluate import evaluate
from tests.runs.tiny import Row, carry_out, contents, evals, saved, tiny

CHOOSE = ("eval.select=valid_seen", "eval.every=1", 'eval.splits=["valid_unseen"]', "checkpoint_every=1", "keep=9")


class Judge:
    """Real evaluations, but for the success that is told on the split that chooses; it remembers who was judged."""

    def __init__(self, successes: Sequence[float]) -> None:
        self.successes = list(successes)
        self.last: Any = None

    def __call__(self, *given: Any, **more: Any) -> tuple[Row, list[Trajectory]]:
        row, episodes = evaluate(*given, **more)
        self.last = given[2].policy
        return (row | {"success": self.successes.pop(0)} if given[3] == "valid_seen" else row), episodes


def break_off(_: run.Run, policy: Any, optimizer: Any, progress: Progress) -> None:
    """As if the program were killed after the first step of training."""
    del policy, optimizer
    if (progress.stage, progress.step) == ("train", 1):
        raise KeyboardInterrupt


def weights(policy: Any) -> list[torch.Tensor]:
    return [value.detach().clone() for value in policy.state_dict().values()]


@pytest.mark.parametrize(
    ("successes", "best"),
    [([0.2, 0.1, 0.5, 0.3], 2), ([0.2, 0.2, 0.2, 0.2], 0), ([0.1, 0.2, 0.3, 0.4], 3)],
    ids=["in between", "first of equals", "last"],
)
def test_the_best_model_is_kept_and_judged(
    successes: list[float], best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Judge(successes)
    monkeypatch.setattr(run, "evaluate", judge)
    out = tmp_path / "run"
    carry_out(out, *CHOOSE)
    assert not judge.successes
    kept = load_best(out / "checkpoints")
    assert kept is not None
    assert (kept.stage, kept.step) == ("train", best)
    assert resolve_model(str(out)) == out / "checkpoints" / "best"
    of_step = "sft-000003" if best == 0 else f"step-{best:06d}"
    same = zip(weights(judge.last), weights(load_policy(out / "checkpoints" / of_step)), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    rows = evals(out)
    assert [(row["stage"], row["step"], row["split"]) for row in rows] == [
        ("sft", 3, "valid_unseen"),
        *(("train", step, "valid_seen") for step in range(4)),
        ("train", 3, "valid_unseen"),
    ]
    assert rows[-1]["model_step"] == best


def test_a_run_that_was_broken_off_chooses_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    monkeypatch.setattr(run, "evaluate", Judge([0.2, 0.5, 0.4, 0.3]))
    carry_out(whole, *CHOOSE)
    monkeypatch.setattr(run, "evaluate", Judge([0.2, 0.5]))
    with monkeypatch.context() as patch:
        patch.setattr(run.Run, "_check_stop", break_off)
        with pytest.raises(KeyboardInterrupt):
            carry_out(broken, *CHOOSE)
    monkeypatch.setattr(run, "evaluate", Judge([0.4, 0.3]))
    carry_out(broken, *CHOOSE)
    assert saved(broken) == saved(whole)
    assert contents(broken / "checkpoints" / "best") == contents(whole / "checkpoints" / "best")
    assert [row | {"success": 0} for row in evals(broken)] == [row | {"success": 0} for row in evals(whole)]


def test_what_a_broken_off_attempt_chose_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until training has begun its settings may change: the next attempt chooses by another split, or not at all."""

    def at_once(*_: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(run, "train_round", at_once)
        with pytest.raises(KeyboardInterrupt):
            carry_out(out, *CHOOSE)
    assert "best" in saved(out)
    carry_out(out, "keep=9", "checkpoint_every=1", 'eval.splits=["valid_unseen"]')
    assert "best" not in saved(out)
    assert resolve_model(str(out)) == out / "checkpoints" / "step-000003"


def test_a_better_model_that_is_lost_does_not_keep_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checkpoint was damaged and taken away, and its step, done again elsewhere, comes out worse."""
    out = tmp_path / "run"
    monkeypatch.setattr(run, "evaluate", Judge([0.2, 0.4, 0.1, 0.5]))
    carry_out(out, *CHOOSE)
    shutil.rmtree(out / "checkpoints" / "step-000003")
    monkeypatch.setattr(run, "evaluate", Judge([0.3]))
    again = carry_out(out, *CHOOSE)
    kept = load_best(out / "checkpoints")
    assert kept is not None
    assert kept.step == evals(out)[-1]["model_step"] == 3
    said = again.watcher.said  # type: ignore[attr-defined]
    assert "the model that did best before is not there: that of step 2 takes its place" in said


def test_a_damaged_best_model_is_named(tmp_path: Path) -> None:
    out = tmp_path / "run"
    carry_out(out, *CHOOSE)
    (out / "checkpoints" / "best" / "state.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"best: state\.json is missing or damaged"):
        carry_out(out, *CHOOSE)


def test_without_training_nothing_is_chosen(tmp_path: Path) -> None:
    out = tmp_path / "run"
    carry_out(out, *CHOOSE, "train.steps=0")
    assert "best" not in saved(out)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("eval.every=0", r'eval\.select = "valid_seen": set eval\.every'),
        ('eval.splits=["valid_seen"]', r"is one of eval\.splits: what chooses the model cannot judge it, too"),
    ],
)
def test_what_cannot_choose_is_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny(*CHOOSE, override)
