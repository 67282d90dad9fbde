"""Traces played by the official engine, replayed letter by letter."""

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hiper.envs.alfworld.data import SPLITS, OfficialGames, open_games
from hiper.envs.alfworld.engine import Engine
from hiper.envs.alfworld.env import AlfworldEnv
from tests.envs.official_data import official_data


@cache
def games(split: str) -> OfficialGames:
    return open_games(official_data(), split)


def traces(file: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def trace_files() -> list[Path]:
    found = sorted((official_data() / "golden").glob("*.jsonl.gz"))
    if not found:
        pytest.skip(f"no golden traces (*.jsonl.gz) in {official_data() / 'golden'}")
    return found


def test_the_engine_replays_every_trace_to_the_letter() -> None:
    states = 0
    for file in trace_files():
        for trace in traces(file):
            engine = Engine(games(trace["split"]).game(trace["game"]))
            for step in trace["steps"]:
                command = step["command"]
                observation = engine.reset() if command is None else engine.step(command)
                where = (file.name, trace["game"], command)
                assert (where, observation) == (where, step["observation"])
                assert (where, list(engine.admissible())) == (where, step["admissible_commands"])
                assert (where, engine.won) == (where, step["won"])
                states += 1
    assert states > 0


def test_the_environment_ends_where_the_traces_do() -> None:
    ended = 0
    for file in trace_files():
        for trace in traces(file):
            if trace["max_steps"] is None:  # played on after a win, with the raw engine
                continue
            env = AlfworldEnv(games(trace["split"]), max_steps=trace["max_steps"])
            observation, info = env.reset(options={"game": trace["game"]})
            over = False
            for step in trace["steps"]:
                if step["command"] is not None:
                    observation, reward, terminated, truncated, info = env.step(step["command"])
                    over = terminated or truncated
                    assert reward == float(step["won"])
                    assert terminated == step["won"]
                assert (observation, info["won"], over) == (step["observation"], step["won"], step["done"])
                assert info["admissible_commands"] == step["admissible_commands"]
            assert info["task_type"] == trace["task_type"]
            ended += over
    assert ended > 0


@pytest.mark.parametrize("split", SPLITS)
def test_every_walkthrough_wins_exactly_at_its_last_command(split: str) -> None:
    for name in games(split).names():
        game = games(split).game(name)
        engine = Engine(game)
        for command in game.walkthrough:
            assert not engine.won, name
            assert command in engine.admissible(), (name, command)
            engine.step(command)
        assert engine.won, name


def test_sizes_of_the_splits() -> None:
    assert [len(games(split)) for split in SPLITS] == [3553, 200, 140, 134]
