"""Evaluation: who is asked, which games are played, and what is said of it."""

import json
from pathlib import Path

import pytest

from hiper.records import read_trajectories
from hiper.runs.config import ConfigError
from hiper.runs.look import Where, evaluate_agent, open_game, watch
from hiper.runs.world import World
from tests.runs.tiny import tiny, tiny_model

FIELDS = {
    "success",
    "success_ci95",
    "episodes",
    "by_task",
    "split",
    "seeds",
    "invalid_rate",
    "turns_mean",
    "env_version",
    "data_sha256",
}
FEW = Where(env="few", max_turns=6)


def test_the_expert_wins_generated_games() -> None:
    rows = evaluate_agent("expert", Where(), splits=["valid_unseen"], episodes=50)
    (row,) = rows
    assert row["episodes"] == 50
    assert float(str(row["success"])) >= 0.99
    assert row["crashed"] == 0
    assert float(str(row["invalid_rate"])) < 0.02  # what cannot be reached by going there it finds out by trying
    assert set(row) >= FIELDS
    assert json.loads(json.dumps(rows)) == rows


def test_every_game_of_each_split_is_played_once(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    done: list[str] = []
    rows = evaluate_agent(
        "random",
        Where(env="few", max_turns=2),
        save=tmp_path / "all.jsonl.zst",
        on_split=lambda split, total: told.append((split, total)),
        on_done=lambda episode: done.append(episode.game),
    )
    assert told == [("valid_seen", 6), ("valid_unseen", 6)]
    assert [(row["split"], row["episodes"], row["turns_mean"]) for row in rows] == [(*one, 2.0) for one in told]
    assert len(set(done)) == 12
    assert sorted(done) == sorted(episode.game for episode in read_trajectories(tmp_path / "all.jsonl.zst"))
    assert [row["data_sha256"] for row in rows] == [
        World(tiny().env).identity(split)["data_sha256"] for split in ("valid_seen", "valid_unseen")
    ]
    assert sum(part["episodes"] for part in rows[0]["by_task"].values()) == 6  # type: ignore[attr-defined]


def test_a_part_of_the_games_is_chosen_by_the_seed() -> None:
    chosen = []
    for seed in (0, 0, 1):
        games: list[str] = []
        where = Where(env="few", max_turns=1)
        evaluate_agent(
            "random", where, splits=["valid_seen"], episodes=3, seed=seed, on_done=lambda e, to=games: to.append(e.game)
        )
        chosen.append(sorted(games))
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(len(games) == 3 for games in chosen)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_a_model_does_depends_on_no_company(temperature: float, tmp_path: Path) -> None:
    episodes = []
    for capacity in (3, 64):
        file = tmp_path / f"{capacity}.jsonl"
        evaluate_agent(
            str(tiny_model()),
            Where(env="few", max_turns=6, overrides=("agent.header=none", "threads=1", "sampling.max_reply=24")),
            splits=["valid_seen", "valid_unseen"],
            temperature=temperature,
            capacity=capacity,
            save=file,
        )
        episodes.append(
            [(e.game, e.ending, [(t.reply, t.action, t.subgoal) for t in e.turns]) for e in read_trajectories(file)]
        )
    assert episodes[0] == episodes[1]
    assert len(episodes[0]) == 12


def test_several_tries_are_the_same_games_with_other_draws(tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    where = Where(env="few", max_turns=3, overrides=("agent.header=none", "threads=1", "sampling.max_reply=24"))
    once, again = (
        evaluate_agent(str(tiny_model()), where, splits=["valid_seen"], episodes=2, tries=n, temperature=1.0, save=file)
        for n in (1, 3)
    )
    assert "tries" not in once[0]
    assert (again[0]["tries"], again[0]["episodes"], again[0]["won_ever"]) == (3, 6, 0.0)
    played = list(read_trajectories(file))
    assert [one.game for one in played[::3]] == [one.game for one in played[2::3]]
    assert len({one.game for one in played}) == 2
    assert len({tuple(turn.reply for turn in one.turns) for one in played}) == 6
    with pytest.raises(ConfigError, match="3 tries at temperature 0 would all be the same"):
        evaluate_agent("expert", FEW, tries=3)


def test_watching_and_playing_one_game() -> None:
    episode = watch("expert", FEW, "valid_seen", game=None, seed=1, temperature=0.0)
    assert len(episode.turns) <= 6
    assert episode.game == watch("expert", FEW, "valid_seen", game=None, seed=1, temperature=0.0).game
    named = watch("expert", FEW, "valid_seen", game=episode.game, seed=2, temperature=0.0)
    assert named.game == episode.game
    observation, info = open_game(FEW, "valid_seen").reset(seed=1)
    assert info["game"] == episode.game
    assert observation == episode.turns[0].observation
