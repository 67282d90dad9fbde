"""How fast ALFWorld runs here, beside the official engine: same machine, same games, same commands, same run.

    python benchmarks/alfworld.py --data PATH [--official-python PYTHON] [--games 6] [--json FILE]

PYTHON is one that has `alfworld==0.4.2` installed; left out, the present one is tried. Without either, only
our side is timed. Times are CPU seconds, which a busy machine does not spoil. Both sides must give the same
texts, command lists and successes; where they do not, the program fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

# Nothing of hiper is imported up here: the official side runs this file under a Python that may lack it.

OFFICIAL_FLAG = "--official-side"
COMMANDS = 50  # per game
INADMISSIBLE = 0.1  # share of commands that do nothing


class Played(NamedTuple):
    """What a side did. Times are CPU seconds; `shown` is a hash of all that was shown."""

    resets: int
    reset_s: float
    steps: int
    step_s: float
    shown: str


class Clock:
    """Adds up the CPU seconds spent in `with` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.process_time() - self._start


class Record:
    """A hash of everything that a side showed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, text: str, commands: Sequence[str], won: bool) -> None:
        """One state."""
        self._hash.update(json.dumps([text, list(commands), bool(won)]).encode())

    def digest(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


# The official side


def official_side(games: Sequence[tuple[str, list[str]]]) -> Played:
    """Plays (game file, commands) as alfworld does, through textworld.gym; a reset includes loading."""
    textworld = import_module("textworld")
    gym = import_module("textworld.gym")
    alfworld = import_module("alfworld.agents.environment.alfred_tw_env")
    infos = textworld.EnvInfos(won=True, admissible_commands=True, extras=["gamefile"])
    wrappers = [alfworld.AlfredDemangler(shuffle=False), alfworld.AlfredInfos]
    record, resets, steps = Record(), Clock(), Clock()
    for file, commands in games:
        limit = len(commands) + 1
        env = gym.make(gym.register_games([file], infos, max_episode_steps=limit, wrappers=wrappers))
        with resets:
            text, info = env.reset()
        record.add(text, info["admissible_commands"], info["won"])
        for command in commands:
            with steps:
                text, _, _, info = env.step(command)
            record.add(text, info["admissible_commands"], info["won"])
    count = sum(len(commands) for _, commands in games)
    return Played(len(games), resets.seconds, count, steps.seconds, record.digest())


def official(games: Sequence[tuple[str, list[str]]], python: str | None) -> Played | None:
    """The official side, under `python` or here; None where alfworld is not installed."""
    if python is None:
        return official_side(games) if find_spec("alfworld") else None
    command = [python, __file__, OFFICIAL_FLAG]
    run = subprocess.run(command, input=json.dumps(games), stdout=subprocess.PIPE, text=True, check=True)
    return Played(*json.loads(run.stdout.splitlines()[-1]))


# Our side


class Script(NamedTuple):
    """A game, and commands for it that do not win."""

    split: str
    game: str
    commands: list[str]


def choose(data: Path, count: int, seed: int) -> list[Script]:
    """Random games of all splits in turn, with random commands."""
    from hiper.envs.alfworld import SPLITS, Engine, open_games

    rng = random.Random(seed)
    scripts = []
    for split in (SPLITS[i % len(SPLITS)] for i in range(count)):
        games = open_games(data, split)
        name = rng.choice(games.names())
        engine = Engine(games.game(name))
        commands: list[str] = []
        while len(commands) < COMMANDS:
            command = "dance" if rng.random() < INADMISSIBLE else rng.choice(engine.admissible())
            before = engine.copy()
            engine.step(command)
            if engine.won:
                engine = before
            else:
                commands.append(command)
        scripts.append(Script(split, name, commands))
    return scripts


def our_record(data: Path, scripts: Sequence[Script]) -> str:
    """Hash of all that our engine shows."""
    from hiper.envs.alfworld import Engine, open_games

    record = Record()
    for split, name, commands in scripts:
        engine = Engine(open_games(data, split).game(name))
        record.add(engine.reset(), engine.admissible(), engine.won)
        for command in commands:
            record.add(engine.step(command), engine.admissible(), engine.won)
    return record.digest()


def ours(data: Path, scripts: Sequence[Script], repeats: int) -> tuple[Played, Played]:
    """Our side: when a game is played for the first time, and for the second, as in a group of episodes."""
    from hiper.envs.alfworld import Engine, open_games
    from hiper.envs.alfworld.world import World

    games = [open_games(data, script.split).game(script.game) for script in scripts]
    shown = our_record(data, scripts)
    resets, steps = (Clock(), Clock()), (Clock(), Clock())
    for _ in range(repeats):
        with resets[0]:
            engines = [Engine(World(game)) for game in games]  # a new world knows nothing yet
        for again in (False, True):
            if again:
                with resets[1]:
                    for engine in engines:
                        engine.reset()
            with steps[again]:
                for engine, script in zip(engines, scripts, strict=True):
                    for command in script.commands:
                        engine.step(command)
                        engine.admissible()
    played, stepped = repeats * len(scripts), repeats * sum(len(script.commands) for script in scripts)
    first, second = (
        Played(played, reset.seconds, stepped, step.seconds, shown) for reset, step in zip(resets, steps, strict=True)
    )
    return first, second


def environment(data: Path, steps: int = 20_000) -> float:
    """CPU seconds per step of one Gymnasium environment, info included, resets left out."""
    import hiper

    env = hiper.make("alfworld", data=data, split="valid_unseen")
    rng, clock = random.Random(0), Clock()
    _, info = env.reset(seed=0)
    for _ in range(steps):
        command = rng.choice(info["admissible_commands"])
        with clock:
            *_, terminated, truncated, info = env.step(command)
        if terminated or truncated:
            _, info = env.reset()
    return clock.seconds / steps


def vector(data: Path, num_envs: int, turns: int = 100) -> float:
    """CPU seconds per environment step of a vector of environments, infos and resets included."""
    import hiper

    envs = hiper.make_vec("alfworld", num_envs=num_envs, data=data, split="train")
    rng, clock = random.Random(0), Clock()
    _, infos = envs.reset(seed=0)
    for _ in range(turns):
        commands = [rng.choice(listed) for listed in infos["admissible_commands"]]
        with clock:
            *_, infos = envs.step(commands)
    return clock.seconds / (turns * num_envs)


def loading(data: Path) -> dict[str, float]:
    """CPU seconds to have the training games ready from the cache, and to build them; MB of all built."""
    psutil = import_module("psutil")
    from hiper.envs.alfworld import SPLITS, OfficialGames

    for split in SPLITS:
        OfficialGames(data, split)  # compiles them where that was never done
    ready, build = Clock(), Clock()
    before = psutil.Process().memory_info().rss
    with ready:
        train = OfficialGames(data, "train")
    with build:
        kept = [train.game(name) for name in train.names()]
    for split in SPLITS[1:]:
        source = OfficialGames(data, split)
        kept += [source.game(name) for name in source.names()]
    return {
        "train_games": len(train),
        "ready_s": ready.seconds,
        "build_all_train_s": build.seconds,
        "games_resident": len(kept),
        "resident_mb": (psutil.Process().memory_info().rss - before) / 1e6,
    }


# The report


def measure(data: Path, python: str | None, count: int, seed: int) -> dict[str, Any]:
    """All figures, in seconds and MB."""
    from hiper.envs.alfworld import open_games

    loaded = loading(data)  # first: what follows leaves memory behind
    scripts = choose(data, count, seed)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, (split, name, commands) in enumerate(scripts):
            file = Path(folder) / f"{i}.tw-pddl"
            file.write_text(json.dumps(open_games(data, split).files.official_json(name)), encoding="utf-8")
            files.append((str(file), commands))
        reference = official(files, python)
    first, second = ours(data, scripts, repeats=max(1, 300 // count))
    if reference is not None and reference.shown != first.shown:
        raise SystemExit("the two engines differ: what they showed is not the same")
    sides = {"official": reference, "ours, first time": first, "ours, again": second}
    return {
        "games": [script.game for script in scripts],
        "engines": {side: per_call(played) for side, played in sides.items() if played is not None},
        "environment_step_s": environment(data),
        "vector_step_s": {str(number): vector(data, number) for number in (128, 512)},
        "loading": loaded,
    }


def per_call(played: Played) -> dict[str, float]:
    """Seconds per reset and per step, and of how many of each."""
    reset_s, step_s = played.reset_s / played.resets, played.step_s / played.steps
    return {"reset_s": reset_s, "step_s": step_s, "resets": played.resets, "steps": played.steps}


def table(result: dict[str, Any]) -> str:
    """The figures for people."""
    reference = result["engines"].get("official")
    lines = [f"{'':<20}{'reset':>15}{'step':>15}{'steps/s':>12}{'times faster':>15}"]
    for side, figures in result["engines"].items():
        ratio = f"{reference['step_s'] / figures['step_s']:,.0f}" if reference else "-"
        reset, step = f"{figures['reset_s'] * 1e6:,.1f} us", figures["step_s"]
        lines.append(f"{side:<20}{reset:>15}{step * 1e6:>12,.1f} us{1 / step:>12,.0f}{ratio:>15}")
    step = result["environment_step_s"]
    lines.append(f"{'Gymnasium env':<35}{step * 1e6:>12,.1f} us{1 / step:>12,.0f}")
    for number, step in result["vector_step_s"].items():
        lines.append(f"{f'vector of {number}':<35}{step * 1e6:>12,.1f} us{1 / step:>12,.0f}")
    loaded = result["loading"]
    lines.append("A step includes the admissible commands; an official reset includes loading the game.")
    lines.append(f"{loaded['train_games']:,} training games ready from the cache in {loaded['ready_s']:.3f} s.")
    lines.append(f"{loaded['games_resident']:,} games built and kept: {loaded['resident_mb']:.0f} MB.")
    return "\n".join(lines)


def main() -> None:
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="official games: the tree or the pack")
    parser.add_argument("--official-python", metavar="PYTHON", help="a Python that has alfworld==0.4.2")
    parser.add_argument("--games", type=int, default=6, help="games played by both sides (default 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="also write the figures there; - for the figures only")
    arguments = parser.parse_args()
    result = measure(arguments.data, arguments.official_python, arguments.games, arguments.seed)
    if arguments.json != "-":
        print(table(result))
    if arguments.json:
        text = json.dumps(result, indent=2)
        print(text) if arguments.json == "-" else Path(arguments.json).write_text(f"{text}\n")


if __name__ == "__main__":
    # Python puts this folder first on the path, where this very file would hide the package `alfworld`.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    if OFFICIAL_FLAG in sys.argv:
        print(json.dumps(official_side(json.load(sys.stdin))))
    else:
        main()
