"""Whole runs in about a second: a very small language model, small generated games, a few short steps."""

import atexit
import json
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

import hiper
from hiper.agents import INTERFACES
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.envs.alfworld.generate import GeneratedGames
from hiper.learn import Optimizer, OptimSettings, imitation_step
from hiper.models import Policy, Tokenizer
from hiper.records import CHECKPOINT_FOLDER, EVALS_FILE, METRICS_FILE, Decision, Trajectory, read_jsonl
from hiper.runs import setup
from hiper.runs.config import Config, make_config
from hiper.runs.imitate import to_demonstrations
from hiper.runs.run import Run, start
from hiper.runs.world import World

Row = dict[str, Any]
TIMES = ("wall_s", "time/", "speed/")  # what differs between two equal runs


@cache
def tiny_model() -> Path:
    """A model folder: 100,000 parameters that have seen a few games and reply now well, now badly."""
    folder = Path(tempfile.mkdtemp(prefix="hiper-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    plain = settings() | {"model": {"vocabulary": 512}}
    config = make_config(plain, ["env.max_turns=6"])
    setup.set_up_torch(1)
    world = World(config.env)
    rng = np.random.default_rng(0)
    episodes = [_restless(episode, rng) for episode in setup.demonstrate(config, world, step=0, count=48)]
    policy = _blank(_tokenizer(config, world))
    batch = to_demonstrations(episodes, policy.tokenizer, observation_weight=0.1)
    optimizer = Optimizer(policy, OptimSettings(kind="muon", lr=2e-2))
    for step in range(40):
        optimizer.set_scale(1 - step / 50)
        chosen = [batch[i] for i in rng.choice(len(batch), 8, replace=False)]
        imitation_step(policy, optimizer, chosen, budget=8192, max_grad_norm=1.0)
    policy.save(folder)
    return folder


def _restless(episode: Trajectory, rng: np.random.Generator) -> Trajectory:
    """The expert, but for a SWITCH (to the subgoal it has) at every third turn: there are to be many segments."""
    plan = INTERFACES["plan_execute"]
    turns = tuple(
        replace(turn, reply=plan.format(Decision.SWITCH, turn.subgoal, turn.action)) if rng.random() < 1 / 3 else turn
        for turn in episode.turns
    )
    return replace(episode, turns=turns)


def _tokenizer(config: Config, world: World) -> Tokenizer:
    before = setup.TOKENIZER_EPISODES
    setup.TOKENIZER_EPISODES = 60
    try:
        return setup.build_tokenizer(config, world)
    finally:
        setup.TOKENIZER_EPISODES = before


def _blank(tokenizer: Tokenizer) -> Policy:
    shape = {
        "model_type": "qwen2",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 512,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_id,
        "pad_token_id": tokenizer.eos_id,
    }
    return Policy.build(shape, tokenizer, seed=0)


@cache
def _games(split: str) -> GeneratedGames:
    return GeneratedGames(split, size="small", n=50 if split == "train" else 6)


def few(data: None = None, split: str = "valid_unseen", **more: Any) -> AlfworldEnv:
    """Six games to evaluate on, not hundreds."""
    return AlfworldEnv(data=_games(split), split=split, **more)


hiper.register("few", few, AlfworldEnv.about)


def settings() -> dict[str, Any]:
    """The settings of a tiny run, as plain data, but for the model."""
    return {
        "seed": 3,
        "threads": 1,
        "checkpoint_every": 2,
        "trajectories_every": 2,
        "trajectories": 2,
        "env": {"name": "few", "max_turns": 8},
        "agent": {"header": "none"},
        "sampling": {"capacity": 8, "max_reply": 24},
        "sft": {"steps": 3, "episodes": 4, "search": "best", "optim": {"kind": "muon", "lr": 5e-3, "warmup": 1}},
        "credit": {"invalid_penalty": 0.1},
        "train": {"steps": 3, "episodes": 6, "max_turns": 6, "minibatches": 2, "critic_warmup": 1, "value_passes": 1},
        "eval": {"splits": []},
    }


def tiny(*overrides: str) -> Config:
    return make_config(settings() | {"model": {"path": str(tiny_model())}}, overrides)


def config_file(folder: Path, *overrides: str) -> Path:
    """The same as a TOML file."""
    file = folder / "tiny.toml"
    file.write_text(tomli_w.dumps(tiny(*overrides).model_dump()), encoding="utf-8")
    return file


class Quiet:
    """A watcher that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.rows: list[Row] = []

    def stage(self, name: str, done: int, total: int) -> None:
        self.said.append(f"{name} {done}/{total}")

    def step(self, stage: str, step: int, total: int, row: Row) -> None:
        self.rows.append(row)

    def evaluation(self, row: Row) -> None:
        self.rows.append(row)

    def say(self, text: str) -> None:
        self.said.append(text)


def carry_out(out: Path, *overrides: str, only_imitation: bool = False) -> Run:
    """A tiny run in this process."""
    return start(tiny(*overrides), out, Quiet(), only_imitation=only_imitation)


def metrics(out: Path, stage: str | None = None) -> list[Row]:
    """The rows of metrics.jsonl, of one stage or all, without what a clock decides."""
    rows = [row for row in read_jsonl(out / METRICS_FILE) if stage in (None, row["stage"])]
    return [{key: value for key, value in row.items() if not key.startswith(TIMES)} for row in rows]


def evals(out: Path) -> list[Row]:
    return [{k: v for k, v in row.items() if k != "time_s"} for row in read_jsonl(out / EVALS_FILE)]


def saved(out: Path) -> list[str]:
    """Names in the folder of checkpoints."""
    return sorted(path.name for path in (out / CHECKPOINT_FOLDER).iterdir())


def contents(checkpoint: Path) -> dict[str, Any]:
    """A checkpoint's files, byte for byte; of its state, what no clock decides."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in sorted(checkpoint.iterdir())}
    del found["sha256.json"]
    state = json.loads(found.pop("state.json"))
    return {**found, "state": {key: value for key, value in state.items() if not key.startswith(TIMES)}}
