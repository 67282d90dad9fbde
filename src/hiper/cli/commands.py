"""The commands. Each imports what it needs when it runs, prints for people on standard error and results on output."""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiper.cli.show import Screen

if TYPE_CHECKING:
    from hiper.runs.config import Config

Row = dict[str, object]


def demo(arguments: argparse.Namespace) -> int:
    """Train a small agent on generated games."""
    from hiper.runs.config import make_config

    data = tomllib.loads((files("hiper.runs") / "recipes" / "demo.toml").read_text(encoding="utf-8"))
    config = make_config(data, [f"seed={arguments.seed}", *arguments.overrides])
    return _carry_out(config, Path(arguments.out), arguments.json, only_imitation=False)


def train(arguments: argparse.Namespace) -> int:
    """`hiper train` and `hiper sft`."""
    from hiper.runs.config import described, load_config

    config = load_config(Path(arguments.config), arguments.overrides)
    if arguments.dry_run:
        print(described(config), end="")
        return 0
    out = Path(arguments.out or f"runs/{Path(arguments.config).stem}-{config.seed}")
    return _carry_out(config, out, arguments.json, only_imitation=arguments.only_imitation)


def _carry_out(config: "Config", out: Path, json_file: str | None, *, only_imitation: bool) -> int:
    from rich.console import Console

    from hiper.report import read_run, result_table, write_report
    from hiper.runs.run import Stopped, start

    screen = Screen()
    screen.say(f"run folder: {out}")
    _quiet_libraries()
    try:
        start(config, out, screen, only_imitation=only_imitation)
    except Stopped as stopped:
        screen.close()
        screen.say(f"{stopped}; the same command goes on from there")
        return 130
    finally:
        screen.close()
    page = write_report(out)
    evals = [dict(row) for row in read_run(out).evals]
    Console(stderr=True).print(result_table(evals))
    screen.say(f"report: {page}")
    _emit(json_file, {"run": str(out), "evaluations": evals})
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """`hiper eval`."""
    from hiper.records import write_trajectories
    from hiper.runs.agent import open_agent
    from hiper.runs.config import make_config

    _quiet_libraries()
    screen = Screen()
    base, sampler, is_expert = open_agent(
        arguments.model,
        overrides=arguments.set,
        temperature=arguments.temperature,
        base_url=arguments.base_url,
        capacity=arguments.capacity,
    )
    changes = base.model_dump()
    changes["env"] |= {"name": arguments.env, "data": arguments.data}
    if arguments.max_turns is not None:
        changes["env"]["max_turns"] = arguments.max_turns
    config = make_config(changes, arguments.set)
    rows, episodes = _evaluate_splits(arguments, config, sampler, screen, is_expert=is_expert)
    if arguments.save:
        write_trajectories(Path(arguments.save), episodes)
    _emit(arguments.json, rows[0] if len(rows) == 1 else rows)
    return 0


def _evaluate_splits(
    arguments: argparse.Namespace, config: "Config", sampler: Any, screen: Screen, *, is_expert: bool
) -> tuple[list[Row], list[Any]]:
    from rich.console import Console

    from hiper.report import result_table
    from hiper.runs.evaluate import evaluate as play_split
    from hiper.runs.world import World

    world = World(config.env)
    rows: list[Row] = []
    kept: list[Any] = []
    for split in arguments.split or ["valid_seen", "valid_unseen"]:
        total = len(world.all_tasks(split, limit=arguments.episodes, seed=arguments.seed))
        screen.stage(split, 0, total)
        count = 0

        def tick(one: Any, split: str = split, total: int = total) -> None:
            nonlocal count
            count += 1
            del one
            if screen.is_live:
                screen.step(split, count, total, {})

        row, episodes = play_split(
            config, world, sampler, split,
            seed=arguments.seed, limit=arguments.episodes, expert=is_expert, on_done=tick,
        )  # fmt: skip
        screen.close()
        rows.append({"model": arguments.model, "temperature": arguments.temperature, **row})
        kept += episodes
    Console(stderr=True).print(result_table(rows))
    return rows, kept


def play(arguments: argparse.Namespace) -> int:
    """`hiper play`."""
    from hiper.cli.play import play_yourself, watch

    _quiet_libraries()
    return watch(arguments) if arguments.watch else play_yourself(arguments)


def report(arguments: argparse.Namespace) -> int:
    """`hiper report`."""
    from hiper.report import write_report

    page = write_report(Path(arguments.folder), None if arguments.out is None else Path(arguments.out))
    print(page)
    return 0


def data(arguments: argparse.Namespace) -> int:
    """`hiper data`."""
    import hiper

    result: Row = {"path": arguments.path, "splits": {}}
    splits: dict[str, object] = {}
    for split in ("train", "valid_seen", "valid_unseen"):
        env = hiper.make("alfworld", data=arguments.path, split=split)
        games = env.unwrapped.games  # type: ignore[attr-defined]
        splits[split] = {"games": len(games), "data_sha256": games.sha256, "version": env.unwrapped.version}  # type: ignore[attr-defined]
        print(f"{split:13s} {len(games):6d} games   {games.version}   sha256 {games.sha256[:16]}", file=sys.stderr)
        env.close()
    result["splits"] = splits
    _emit(arguments.json, result)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """`hiper doctor`."""
    import torch

    rows: dict[str, object] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "disk_free_gb": round(shutil.disk_usage(".").free / 1e9, 1),
        "writable": os.access(".", os.W_OK),
    }
    for package, use in (("vllm", "fast sampling"), ("alfworld", "the official engine"), ("peft", "LoRA")):
        rows[package] = "installed" if importlib.util.find_spec(package) else f"not installed (optional: {use})"
    rows["HIPER_ALFWORLD_DATA"] = os.environ.get("HIPER_ALFWORLD_DATA") or "not set (only tests read it)"
    for name, value in rows.items():
        print(f"{name:20s} {value}", file=sys.stderr)
    _emit(arguments.json, rows)
    return 0 if rows["writable"] else 1


def _emit(target: str | None, result: object) -> None:
    """Write JSON to a file, or to standard output for "-"."""
    if target == "-":
        print(json.dumps(result))
    elif target:
        Path(target).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _quiet_libraries() -> None:
    """transformers reports loading and saving with bars of its own; ours are enough."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
