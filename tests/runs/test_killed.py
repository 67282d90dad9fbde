"""A run that is killed, at whatever moment, ends as one that was not: same weights, same optimiser, same rows."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.nursery import Child, Nursery
from tests.runs.tiny import config_file, contents, evals, metrics, saved

# Calls at which the process is killed, in the order in which a run comes by; and the nth of them since it started.
PLACES = [
    ("hiper.runs.run:build_policy", 1),  # before there is anything at all
    ("hiper.runs.imitate:imitation_step", 2),  # in imitation, before its first checkpoint
    ("hiper.runs.checkpoint:save_file", 1),  # a checkpoint is half written: weights, no optimiser
    ("hiper.runs.checkpoint:_hashes", 1),  # all but the hashes
    ("hiper.runs.checkpoint:_sync", 4),  # complete, but not under its name
    ("hiper.runs.folder:prune", 1),  # saved; the old ones are still there
    ("hiper.runs.run:evaluate", 1),  # imitation is over, its evaluations are not
    ("hiper.runs.run:evaluate", 2),  # the first is
    ("hiper.runs.train:score", 1),  # in the first step of training
    ("hiper.runs.train:update", 2),
    ("hiper.runs.folder:append_jsonl", 2),  # learnt, but not yet written down
    ("hiper.runs.folder:write_trajectories", 1),
    ("hiper.runs.checkpoint:save_file", 1),
    ("hiper.runs.run:evaluate", 1),  # saved; the evaluations in the middle of training are still to come
    ("hiper.runs.checkpoint:_sync", 1),
    ("hiper.runs.run:evaluate", 2),  # the last evaluation of all
]
EVALUATED = ("eval.splits=['valid_seen', 'valid_unseen']", "eval.every=2", "eval.episodes=3", "env.max_turns=4")


def train(nursery: Nursery, out: str, halt: str = "", nth: int = 1) -> Child:
    return nursery.start("train", "tiny.toml", "--out", out, halt=halt, nth=nth)


@pytest.fixture(scope="module")
def unkilled(nursery: Nursery) -> Iterator[Path]:
    """A run from beginning to end."""
    config_file(nursery.folder, *EVALUATED)
    child = train(nursery, "unkilled")
    assert child.wait() == 0, child.said()
    return nursery.folder / "unkilled"


def assert_same(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    assert len(metrics(one)) == 6
    assert evals(one) == evals(other)
    assert len(evals(one)) == 6
    assert saved(one) == saved(other) == ["sft-000002", "sft-000003", "step-000002", "step-000003"]
    for name in saved(one):
        assert contents(one / "checkpoints" / name) == contents(other / "checkpoints" / name), name


def test_killed_at_every_kind_of_moment(nursery: Nursery, unkilled: Path) -> None:
    for halt, nth in PLACES:
        child = train(nursery, "killed", halt, nth)
        child.wait_for_halt()
        assert child.kill() == -signal.SIGKILL
    assert train(nursery, "killed").wait() == 0
    assert_same(nursery.folder / "killed", unkilled)


def test_killed_at_random_moments(nursery: Nursery, unkilled: Path) -> None:
    chance = random.Random(0)
    kills = 0
    for _ in range(3):
        child = train(nursery, "random")
        time.sleep(chance.uniform(0.2, 2.0))
        kills += child.kill() == -signal.SIGKILL
    assert kills
    assert train(nursery, "random").wait() == 0
    assert_same(nursery.folder / "random", unkilled)


@pytest.mark.parametrize("stage", ["imitate", "train"])
def test_asked_to_stop_it_finishes_the_step_and_saves(nursery: Nursery, unkilled: Path, stage: str) -> None:
    child = train(nursery, stage, f"hiper.runs.run:{'imitation' if stage == 'imitate' else 'train'}_round")
    child.wait_for_halt()
    child.send(signal.SIGINT)
    child.go_on()
    assert child.wait() == 130
    prefix = "sft" if stage == "imitate" else "step"
    checkpoint = f"{prefix}-000001"
    assert checkpoint in saved(nursery.folder / stage)
    assert f"stopped after {prefix.replace('step', 'train')} step 1; saved in" in child.said()
    assert "the same command goes on from there" in child.said().splitlines()[-1]
    assert train(nursery, stage).wait() == 0
    assert_same(nursery.folder / stage, unkilled)


def test_asked_twice_it_breaks_off_at_once(nursery: Nursery, unkilled: Path) -> None:
    child = train(nursery, "twice", "hiper.runs.run:train_round", 2)
    child.wait_for_halt()
    child.send(signal.SIGTERM)
    time.sleep(0.05)
    child.send(signal.SIGINT)
    assert child.wait() == 130
    assert child.said().splitlines()[-1] == "hiper: interrupted"
    assert "step-000001" not in saved(nursery.folder / "twice")
    assert train(nursery, "twice").wait() == 0
    assert_same(nursery.folder / "twice", unkilled)
