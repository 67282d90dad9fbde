"""What imitation is fed with."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiper
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.records import METRICS_FILE, read_jsonl
from hiper.runs.imitate import drill
from hiper.runs.run import start
from hiper.runs.setup import demonstrate
from hiper.runs.world import World
from tests.runs.tiny import Quiet, few, tiny


@given(st.integers(0, 1000), st.integers(30, 5000))
def test_what_has_weight_in_a_drill_follows_a_pair_that_was_there_before(seed: int, vocabulary: int) -> None:
    (document,) = drill(seed, count=1, vocabulary=vocabulary)
    ids, weight = document.ids, document.weight
    first = next(i for i, w in enumerate(weight) if w)
    pairs = set(pairwise(ids[: first - 1]))
    assert all((ids[i - 1], ids[i]) in pairs for i in range(first, len(ids)) if weight[i])
    assert 0.3 < sum(weight) / len(ids) < 0.6
    assert all(0 <= one < vocabulary for one in ids)


def test_drills_differ_but_not_for_equal_seeds() -> None:
    one, same, other = (drill(seed, count=3, vocabulary=500) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert len({document.ids for document in one}) == 3


def test_a_drill_is_cut_to_the_context() -> None:
    assert max(len(document.ids) for document in drill(0, count=50, vocabulary=500, longest=64)) == 64


def test_the_first_steps_drill_and_show_no_expert(tmp_path: Path) -> None:
    start(tiny("sft.steps=3", "sft.drill=2", "train.steps=0"), tmp_path, Quiet())
    rows = [row for row in read_jsonl(tmp_path / METRICS_FILE) if row["stage"] == "sft"]
    assert [row["total/episodes"] for row in rows] == [0, 0, 4]
    assert all(0 < float(str(row["learn/loss"])) < 20 for row in rows)


@pytest.mark.parametrize(("share", "counts"), [(0.0, (0, 4)), (0.25, (1, 3)), (1.0, (4, 0))])
def test_a_share_of_the_demonstrations_is_of_generated_games(share: float, counts: tuple[int, int]) -> None:
    played = []

    class Told(AlfworldEnv):
        """Says which data it was made of."""

        def reset(self, **more: Any) -> Any:
            played.append(self.told)
            return super().reset(**more)

    def told(data: str | None = None, split: str = "train", **more: Any) -> AlfworldEnv:
        env = few(split=split, **more)
        env.__class__ = Told
        env.told = data  # type: ignore[attr-defined]
        return env

    hiper.register("told", told, AlfworldEnv.about)
    config = tiny("env.name=told", "env.data=official", f"sft.generated={share}")
    world = World(config.env)
    assert len(demonstrate(config, world, step=0, count=4)) == 4
    assert (played.count(None), played.count("official")) == counts
    world.close()


def test_without_data_everything_is_generated() -> None:
    world = World(tiny().env)
    assert world.generated is world
