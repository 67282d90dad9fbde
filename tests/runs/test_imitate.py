"""What imitation is fed with."""

import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiper
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.learn import Demonstration
from hiper.models import Policy
from hiper.records import METRICS_FILE, read_jsonl
from hiper.runs.config import Config
from hiper.runs.imitate import drill, reword, to_demonstrations
from hiper.runs.run import start
from hiper.runs.setup import build_policy, demonstrate
from hiper.runs.world import World
from tests.runs.tiny import Quiet, contents, few, tiny


@given(st.integers(0, 1000), st.integers(30, 5000))
def test_what_has_weight_in_a_drill_ends_four_tokens_that_were_there_before(seed: int, vocabulary: int) -> None:
    (document,) = drill(seed, count=1, vocabulary=vocabulary)
    ids, weight = document.ids, document.weight
    first = next(i for i, w in enumerate(weight) if w)
    fours = {ids[i : i + 4] for i in range(first - 6)}
    assert all(ids[i - 3 : i + 1] in fours for i in range(first, len(ids)) if weight[i])
    assert 0.15 < sum(weight) / len(ids) < 0.6
    assert all(0 <= one < vocabulary for one in ids)


def test_one_token_is_not_enough_to_know_the_next_in_a_drill() -> None:
    known = total = 0
    for document in drill(0, count=50, vocabulary=500):
        ids, weight = document.ids, document.weight
        first = next(i for i, w in enumerate(weight) if w)
        followed = Counter(pairwise(ids[:first]))
        for i in range(first, len(ids)):
            others = sum(n for (before, after), n in followed.items() if before == ids[i - 1] and after != ids[i])
            known += bool(weight[i]) and others == 0
            total += bool(weight[i])
    assert 0.1 < known / total < 0.6


def test_drills_differ_but_not_for_equal_seeds() -> None:
    one, same, other = (drill(seed, count=3, vocabulary=500) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert len({document.ids for document in one}) == 3


def test_a_drill_is_cut_to_the_context() -> None:
    assert max(len(document.ids) for document in drill(0, count=50, vocabulary=500, longest=64)) == 64


def shown(config: Config, count: int) -> tuple[Policy, list[Demonstration]]:
    """Demonstrations of the tiny model's own games."""
    world = World(config.env)
    policy = build_policy(config, world)
    episodes = demonstrate(config, world, step=0, count=count)
    world.close()
    return policy, to_demonstrations(episodes, policy.tokenizer, observation_weight=0.0)


def test_reworded_demonstrations_say_the_same_in_other_words() -> None:
    policy, batch = shown(tiny(), 8)
    added = policy.tokenizer.added_ids
    documents = Counter(token for one in batch for token in set(one.ids))
    rng = np.random.default_rng(0)
    changed = fallen_together = 0
    for _ in range(5):
        languages = []
        for old, new in zip(batch, reword(batch, policy.tokenizer, share=1.0, rng=rng), strict=True):
            assert new.weight == old.weight
            language = dict(zip(old.ids, new.ids, strict=True))
            assert all(language[a] == b for a, b in zip(old.ids, new.ids, strict=True)), "one word, one other word"
            assert all(a == b for a, b in language.items() if a in added or documents[a] > 2), "the format stays"
            own = {a: b for a, b in language.items() if a != b}
            changed += len(own)
            fallen_together += len(own) - len(set(own.values()))
            languages.append(own)
        assert all(one != two for one, two in pairwise(languages))
    assert changed > 250
    assert 0 < fallen_together < changed / 2


def test_a_share_of_the_demonstrations_is_reworded_equally_for_equal_seeds() -> None:
    policy, batch = shown(tiny(), 12)
    none, half, again = (
        reword(batch, policy.tokenizer, share=share, rng=np.random.default_rng(1)) for share in (0.0, 0.5, 0.5)
    )
    assert none == batch
    assert half == again
    assert 2 <= sum(old != new for old, new in zip(batch, half, strict=True)) <= 10


def test_the_first_steps_drill_and_show_no_expert(tmp_path: Path) -> None:
    start(tiny("sft.steps=3", "sft.drill=2", "train.steps=0"), tmp_path, Quiet())
    rows = [row for row in read_jsonl(tmp_path / METRICS_FILE) if row["stage"] == "sft"]
    assert [row["total/episodes"] for row in rows] == [0, 0, 4]
    assert all(0 < float(str(row["learn/loss"])) < 20 for row in rows)


def test_later_steps_go_on_drilling_beside_their_episodes(tmp_path: Path) -> None:
    tokens = []
    for drills in (0, 6):
        start(
            tiny("sft.steps=3", "sft.drill=1", f"sft.drills={drills}", "train.steps=0"), tmp_path / str(drills), Quiet()
        )
        rows = [row for row in read_jsonl(tmp_path / str(drills) / METRICS_FILE) if row["stage"] == "sft"]
        assert [row["total/episodes"] for row in rows] == [0, 4, 8]
        tokens.append([int(str(row["total/tokens"])) for row in rows])
    without, with_them = tokens
    more = [b - a for a, b in zip(without, with_them, strict=True)]
    assert more[0] == 0
    assert all(6 * 40 < after - before < 6 * 250 for before, after in pairwise(more))


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
    config = tiny("sft.generated=0.5")
    world = World(config.env)
    assert world.generated is world
    shown = [(one.game, one.seed) for one in demonstrate(config, world, step=0, count=8)]
    assert len(set(shown)) == 8  # no half of them twice
    assert shown == [(one.game, one.seed) for one in demonstrate(tiny(), world, step=0, count=8)]
    world.close()


def test_the_policy_takes_more_and_more_turns_itself() -> None:
    config = tiny("sft.steps=11", "sft.drill=1", "sft.own_turns=0.8")
    world = World(config.env)
    policy = build_policy(config, world)
    shares = []
    for step in (1, 6, 10):
        first, again = (demonstrate(config, world, step=step, count=8, learner=policy) for _ in range(2))
        assert first == again
        turns = [turn for episode in first for turn in episode.turns]
        shares.append(sum(turn.is_mistake for turn in turns) / len(turns))
    assert shares[0] == 0
    assert 0.2 < shares[1] < 0.6 < shares[2]
    world.close()


def test_imitation_of_shared_episodes_goes_on_after_a_stop_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    settings = ("sft.steps=4", "sft.own_turns=0.9", "train.steps=0", "checkpoint_every=2")
    start(tiny(*settings), tmp_path / "whole", Quiet())
    start(tiny(*settings), tmp_path / "parts", Quiet())
    shutil.rmtree(tmp_path / "parts" / "checkpoints" / "sft-000004")
    start(tiny(*settings), tmp_path / "parts", Quiet())
    whole, parts = (contents(tmp_path / name / "checkpoints" / "sft-000004") for name in ("whole", "parts"))
    assert whole == parts
