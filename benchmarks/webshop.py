"""How fast WebShop runs here, how much memory it takes, and how it bears a catalogue of a million products.

    python -m benchmarks.webshop [--data PATH] [--json FILE]
    python -m benchmarks.webshop --products 1180000 [--folder FOLDER] [--json FILE]

The first plays random episodes of a catalogue (without PATH the generated one) here and in a slow twin that works
as the original does (`webshop_twin.py`): same goals, same actions, same run. Both must show the same texts and
commands and pay the same rewards; where they do not, the program fails. The second makes up a catalogue of
that size, with as many words, options and goals a product as the official one, builds it and searches in it.

Times are CPU seconds, which a busy machine does not spoil, but for builds and starts, which are wall seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.webshop_twin import Seen, Twin, commands
from hiper.envs.webshop import WebshopEnv, cache, open_catalogue, open_goals
from hiper.envs.webshop.catalogue import generated_files
from hiper.envs.webshop.nouns import rule_nouns
from hiper.envs.webshop.official import find

ROOT: Final = Path(__file__).resolve().parents[1]
ENVIRONMENTS: Final = 256
LONGEST: Final = 15  # actions of an episode
Figures = dict[str, float]

# Random episodes, played and timed


def play(data: Path, episodes: int, seed: int) -> Figures:
    """Plays the same random episodes in both engines; seconds a step. Raises SystemExit where they differ."""
    env = WebshopEnv(data=data, split="all", compat="verl-agent", max_steps=LONGEST)
    prices, number_of = env.games.all.prices, env.catalogue.number_of
    twin = Twin(data, lambda asin: float(prices[number_of(asin)]), rule_nouns)
    rng = random.Random(seed)
    env_s = twin_s = 0.0
    steps = searches = 0
    for _ in range(episodes):
        _, info = env.reset(options={"goal": rng.randrange(len(env.games))})
        twin.reset(env.goal)
        over = False
        while not over:
            action = choose(env, info["admissible_commands"], steps, rng)
            start = time.process_time()
            observation, reward, terminated, truncated, info = env.step(action)
            middle = time.process_time()
            seen = twin.step(action)
            twin_s += time.process_time() - middle
            env_s += middle - start
            steps += 1
            searches += action.startswith("search")
            over = terminated or truncated
            if not is_same(seen, observation, reward, terminated, info):
                raise SystemExit(f"the two engines differ after {action!r}")
    return {"steps": steps, "searches": searches, "env_step_s": env_s / steps, "twin_step_s": twin_s / steps}


def choose(env: WebshopEnv, offered: list[str], number: int, rng: random.Random) -> str:
    """A command that is offered, or a search. No query comes twice: it ends in a number."""
    is_start = offered[0].startswith("search")
    if is_start or rng.random() < 0.1:
        words = rng.choice([env.goal.text, env.goal.product.query, env.goal.product.title])
        return f"search[{words} {number}]"
    return rng.choice(offered)


def is_same(seen: Seen, observation: str, reward: float, over: bool, info: dict[str, Any]) -> bool:
    """Whether both show the same."""
    told = (observation, over, round(reward, 9))
    offers = over or commands(seen) == info["admissible_commands"]
    return offers and told == (seen.observation, seen.done, round(seen.reward, 9))


# Memory and start


_START: Final = """
import time
start = time.time()
import hiper
hiper.make("webshop", data={data!r}, split="all").reset(seed=0)
print(time.time() - start)
"""


def first_observation(data: Path | None) -> float:
    """Wall seconds from the start of Python to the first observation, the catalogue being in the cache."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", _START.format(data=data and str(data))], check=True, capture_output=True)
    return time.perf_counter() - start


def memory(data: Path, turns: int = 20) -> Figures:
    """MB of a process with many environments in the midst of play, and of that process before."""
    return apart("--memory", str(data), "--turns", str(turns))


def apart(*arguments: str) -> Figures:
    """What this program measures in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.webshop", *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    figures: Figures = json.loads(out)
    return figures


def resident() -> float:
    """MB of this process."""
    return float(import_module("psutil").Process().memory_info().rss) / 1e6


def play_many(data: Path, turns: int) -> Figures:
    """What `memory` runs."""
    before = resident()
    envs = [WebshopEnv(data=data, split="all", max_steps=turns + 1) for _ in range(ENVIRONMENTS)]
    rng = random.Random(0)
    over = [True] * ENVIRONMENTS
    offered: list[list[str]] = [[] for _ in envs]
    for turn in range(turns):
        for i, env in enumerate(envs):
            if over[i]:
                offered[i] = env.reset(seed=i + ENVIRONMENTS * turn)[1]["admissible_commands"]
            *_, terminated, _, info = env.step(choose(env, offered[i], turn, rng))
            over[i], offered[i] = terminated, info["admissible_commands"]
    return {"environments": ENVIRONMENTS, "before_mb": before, "all_mb": resident()}


# A million products


_SYLLABLES: Final = [consonant + vowel for consonant in "bdfghklmnprstvz" for vowel in "aeiou"]
_COLOURS: Final = ("red", "blue", "green", "black", "white", "navy", "ivory", "teal")


def word(number: int) -> str:
    """A word that no other number has."""
    letters = ""
    number += len(_SYLLABLES)  # two syllables at least
    while number:
        number, last = divmod(number, len(_SYLLABLES))
        letters += _SYLLABLES[last]
    return letters


def rows(count: int, seed: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Made-up products with their entries in the attribute file. Word frequencies fall as in English (Zipf)."""
    rng = np.random.default_rng(seed)
    chooser = random.Random(seed)
    vocabulary = 400_000
    words = [word(number) for number in range(vocabulary)]
    for number in range(count):
        length = min(1500, max(25, int(rng.lognormal(4.55, 0.6))))
        places = np.minimum((vocabulary + 1.0) ** rng.random(length) - 1, vocabulary - 1).astype(np.int64)
        text = [words[place] for place in places.tolist()]
        title, bullet, rest = " ".join(text[:14]), " ".join(text[14:25]), " ".join(text[25:])
        asked: dict[str, Any] = {"attributes": text[:4]}
        if chooser.random() < 0.415:
            asked |= {"instruction": f"Find me {text[0]} {text[1]}", "instruction_attributes": text[:3]}
        options = {}
        if chooser.random() < 0.42:
            colours = chooser.sample(_COLOURS, chooser.randint(1, 6))
            options = {"Color": colours, "Size": [str(size) for size in range(chooser.randint(1, 19))]}
        item = {
            "asin": f"B{number:09d}",
            "name": title,
            "full_description": rest,
            "small_description": [bullet, *(" ".join(words[p] for p in rng.integers(0, 9000, 20)) for _ in range(4))],
            "pricing": f"${chooser.uniform(3, 300):.2f}",
            "category": chooser.choice(["beauty", "electronics", "fashion", "garden", "grocery"]),
            "query": " ".join(text[:2]),
            "product_category": f"{text[0]} › {text[1]} › {text[2]}",
            "customization_options": {name: [{"value": v} for v in values] for name, values in options.items()},
        }
        yield item, asked


def write_catalogue(folder: Path, count: int, seed: int) -> None:
    """Writes the files of a made-up catalogue, one row after another."""
    with (folder / "items_shuffle.json").open("w") as items, (folder / "items_ins_v2.json").open("w") as about:
        for number, (item, asked) in enumerate(rows(count, seed)):
            items.write(f"{',' if number else '['}{json.dumps(item)}\n")
            about.write(f"{',' if number else '{'}{json.dumps(item['asin'])}: {json.dumps(asked)}\n")
        items.write("]")
        about.write("}")


def scale(folder: Path, count: int, queries: int, seed: int) -> Figures:
    """Builds a catalogue of `count` products, then serves it from another process."""
    start = time.perf_counter()
    write_catalogue(folder, count, seed)
    written = time.perf_counter()
    catalogue = open_catalogue(folder)
    built = time.perf_counter()
    goals = len(open_goals(catalogue, "all"))
    end = time.perf_counter()
    files = sum(path.stat().st_size for path in folder.glob("*.json"))
    kept = sum(path.stat().st_size for path in cache.folder().rglob("*") if path.is_file())
    served = apart("--serve", str(folder), "--queries", str(queries))
    return {
        "products": count,
        "goals": goals,
        "files_gb": files / 1e9,
        "cache_gb": kept / 1e9,
        "write_s": written - start,
        "build_s": built - written,
        "goals_s": end - built,
        "build_peak_gb": peak_gb(),
        **served,
    }


def peak_gb() -> float:
    """GB that this process held at most."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def serve(folder: Path, queries: int) -> Figures:
    """Searches and plays in a catalogue that is in the cache: milliseconds a query, and what it takes."""
    start = time.perf_counter()
    env = WebshopEnv(data=folder, split="all", max_steps=10**9)
    env.reset(seed=0)
    ready = time.perf_counter() - start
    rng = random.Random(1)
    times: dict[str, list[float]] = {"title": [], "words": [], "instruction": []}
    for number in range(queries):
        env.reset(seed=number)
        words = env.goal.product.title.split()
        asked = {"title": words, "words": rng.sample(words, 4), "instruction": env.goal.text.split()}
        for kind, query in asked.items():
            begin = time.process_time()
            env.step(f"search[{' '.join(query)}]")
            times[kind].append(1e3 * (time.process_time() - begin))
    found: Figures = {"first_observation_s": ready}
    for kind, taken in times.items():
        found[f"{kind}_median_ms"] = statistics.median(taken)
        found[f"{kind}_95_percent_ms"] = statistics.quantiles(taken, n=20)[-1]
    return {**found, "resident_gb": resident() / 1e3}


# The report


def measure(data: Path | None, episodes: int, seed: int) -> Figures:
    """All figures of a catalogue, in seconds and MB."""
    folder = find(generated_files(0, 3000) if data is None else data).items.parent
    played = play(folder, episodes, seed)
    return {**played, **memory(folder), "first_observation_s": first_observation(data)}


def table(figures: Figures) -> str:
    """The figures for people."""
    lines = [f"{name:<28}{value:>16,.4g}" for name, value in figures.items()]
    if "twin_step_s" in figures:
        ratio = figures["twin_step_s"] / figures["env_step_s"]
        lines.append(f"{1 / figures['env_step_s']:,.0f} steps a second, {ratio:,.0f} times as many as the slow twin")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Reads the arguments, measures, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the official files; without it the generated catalogue")
    parser.add_argument("--episodes", type=int, default=200, help="episodes played by both engines (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--products", type=int, help="make up a catalogue of that size instead")
    parser.add_argument("--folder", type=Path, help="where that catalogue and its cache go; default: a temporary one")
    parser.add_argument("--queries", type=int, default=300, help="of each kind, in that catalogue (default 300)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there; - for the figures only")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=20, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.memory:
        print(json.dumps(play_many(given.memory, given.turns)))
        return 0
    if given.serve:
        print(json.dumps(serve(given.serve, given.queries)))
        return 0
    if given.products:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            os.environ["HIPER_CACHE"] = folder
            files = Path(folder) / "files"
            files.mkdir()
            figures = scale(files, given.products, given.queries, given.seed)
    else:
        figures = measure(given.data, given.episodes, given.seed)
    if given.json != "-":
        print(table(figures))
    if given.json:
        text = json.dumps(figures, indent=2)
        print(text) if given.json == "-" else Path(given.json).write_text(f"{text}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
