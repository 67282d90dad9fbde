"""`hiper play`: a game in the terminal, played by a person or watched."""

import argparse
import sys

from rich.console import Console

from hiper.report import render_turn
from hiper.rollout import Limits, Task
from hiper.rollout import play as play_tasks
from hiper.runs.agent import open_agent
from hiper.runs.config import Config, make_config
from hiper.runs.setup import build_interface, build_layout
from hiper.runs.world import World

HELP = "Type an action. Empty line: the list of what can be done. q: leave."


def _config(arguments: argparse.Namespace, base: Config) -> Config:
    changes = base.model_dump()
    changes["env"] |= {"name": arguments.env, "data": arguments.data}
    if arguments.max_turns is not None:
        changes["env"]["max_turns"] = arguments.max_turns
    return make_config(changes, arguments.set)


def watch(arguments: argparse.Namespace) -> int:
    """Show an agent playing one game, turn by turn."""
    base, sampler, is_expert = open_agent(
        arguments.model or "expert", overrides=arguments.set, temperature=arguments.temperature
    )
    config = _config(arguments, base)
    world = World(config.env)
    options = {"game": arguments.game} if arguments.game else None
    more = {"expert": True} if is_expert else {}
    episode = play_tasks(
        lambda: world.make(arguments.split, **more),
        sampler,
        build_interface(config.agent),
        build_layout(config.agent),
        [Task(seed=arguments.seed, options=options)],
        limits=Limits(turns=config.env.max_turns),
    )[0]
    console = Console()
    console.print(f"[bold]{episode.game}[/bold]", highlight=False)
    for turn in episode.turns:
        console.print(render_turn(turn))
    console.print(episode.final_observation, highlight=False, markup=False)
    console.print(f"[bold]{episode.ending.value}[/bold] after {len(episode.turns)} turns", highlight=False)
    return 0


def play_yourself(arguments: argparse.Namespace) -> int:
    """Let a person play one game."""
    config = _config(arguments, Config())
    env = World(config.env).make(arguments.split)
    options = {"game": arguments.game} if arguments.game else None
    observation, info = env.reset(seed=arguments.seed, options=options)
    print(f"{HELP}\n\n{observation}\n")
    over = False
    while not over:
        action = _ask()
        if action is None:
            return 0
        if not action:
            print("\n".join(info["admissible_commands"]) + "\n")
            continue
        observation, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        print(f"{observation}\n")
    print("You did it." if info.get("won") else "Out of turns.")
    return 0


def _ask() -> str | None:
    """What the person types; None to leave."""
    try:
        line = input("> ").strip()
    except EOFError:
        return None
    finally:
        sys.stdout.flush()
    return None if line == "q" else line
