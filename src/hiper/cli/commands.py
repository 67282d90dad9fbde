"""The commands. Each imports what it needs when it runs; people read standard error, programs standard output."""

import argparse
import json
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from hiper.cli.show import Screen, shown, timed

if TYPE_CHECKING:
    from hiper.report import Written
    from hiper.runs.config import Config
    from hiper.runs.look import Where

PLAY_HELP = "Type an action. Empty line: the list of what can be done. q: leave."


def demo(arguments: argparse.Namespace) -> int:
    """`hiper demo`: train a small agent on generated games."""
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
    from hiper.report import read_run, result_table, write_report
    from hiper.runs.run import Stopped, start

    screen = Screen(head=f"run folder: {out}")
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
    screen.console.print(result_table(evals))
    screen.say(f"report: {page}")
    _emit(json_file, {"run": str(out), "evaluations": evals})
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """`hiper eval`."""
    from hiper.report import result_table
    from hiper.runs.look import evaluate_agent

    screen = Screen()
    rows = evaluate_agent(
        arguments.model,
        _where(arguments),
        splits=arguments.split or (),
        episodes=arguments.episodes,
        tries=arguments.tries,
        temperature=arguments.temperature,
        seed=arguments.seed,
        base_url=arguments.base_url,
        capacity=arguments.capacity,
        all_views=arguments.compat,
        save=None if arguments.save is None else Path(arguments.save),
        on_split=lambda split, total: screen.begin(split, 0, total),
        on_done=lambda episode: screen.tick(),
    )
    screen.close()
    screen.console.print(result_table(rows))
    for row in rows if arguments.tries > 1 else ():
        ever, always = (100 * float(str(row[name])) for name in ("won_ever", "won_always"))
        screen.console.print(
            f"{row['split']}: in {arguments.tries} tries {ever:.1f}% of the games were won at least once, "
            f"{always:.1f}% always. RL chooses among what is tried now: it has {ever - always:.1f}% of the games to "
            "learn from."
        )
    _emit(arguments.json, rows[0] if len(rows) == 1 else rows)
    return 0


def play(arguments: argparse.Namespace) -> int:
    """`hiper play`."""
    return _watch(arguments) if arguments.watch or arguments.model else _play_yourself(arguments)


def _watch(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from hiper.report import render_turn
    from hiper.runs.look import watch

    episode = watch(
        arguments.model or "expert",
        _where(arguments),
        arguments.split,
        game=arguments.game,
        seed=arguments.seed,
        temperature=arguments.temperature,
    )
    console = Console()
    console.print(episode.game, style="bold", highlight=False, markup=False)
    for turn in episode.turns:
        console.print(render_turn(turn))
    console.print(episode.final_observation, highlight=False, markup=False)
    console.print(f"{episode.ending.value} after {len(episode.turns)} turns", style="bold", highlight=False)
    return 0


def _play_yourself(arguments: argparse.Namespace) -> int:
    from hiper.runs.look import open_game

    env = open_game(_where(arguments), arguments.split)
    options = {"game": arguments.game} if arguments.game else None
    observation, info = env.reset(seed=arguments.seed, options=options)
    print(f"{PLAY_HELP}\n\n{observation}\n")
    over = truncated = False
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
    lost = "Out of turns." if truncated else f"That was not all of it: score {info.get('task_score', 0.0):.2f}."
    print("You did it." if info.get("won") else lost)
    return 0


def _ask() -> str | None:
    """What the person types; None to leave."""
    try:
        line = input("> ").strip()
    except EOFError:
        return None
    return None if line == "q" else line


def serve(arguments: argparse.Namespace) -> int:
    """`hiper serve`. The address goes to standard output, so that a program that asked for any port can read it."""
    from hiper.runs.serve import Wanted, open_site

    site = open_site(
        Wanted(
            data=arguments.data,
            split=arguments.split,
            compat=arguments.compat,
            goal=arguments.goal,
            game=arguments.game,
            port=arguments.port,
            replay=None if arguments.replay is None else Path(arguments.replay),
            episode=arguments.episode,
            overrides=tuple(arguments.overrides),
        )
    )
    with site:
        print(site.address, flush=True)
        print(f"{site.app.name}; Ctrl-C ends it", file=sys.stderr)
        try:
            site.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return 0


def report(arguments: argparse.Namespace) -> int:
    """`hiper report`."""
    from hiper.report import is_comparison, write_comparison, write_report

    folder, out = Path(arguments.folder), None if arguments.out is None else Path(arguments.out)
    if not is_comparison(folder):
        print(write_report(folder, out))
        return 0
    written = write_comparison(folder, out)
    _show_comparison(Screen(), written)
    print(written.page)
    return 0


def compare(arguments: argparse.Namespace) -> int:
    """`hiper compare`."""

    from hiper.report import summary, write_comparison
    from hiper.runs.arena import choose, jobs_of, load_plan
    from hiper.runs.compare import check, state
    from hiper.runs.compare import compare as carry_out
    from hiper.runs.run import Stopped
    from hiper.runs.setup import cores

    out = Path(arguments.out or f"runs/{Path(arguments.config).stem}")
    plan = load_plan(Path(arguments.config), arguments.overrides, out)
    chosen = choose(plan, tasks=arguments.task, arms=arguments.arm)
    screen = Screen()
    part = "" if len(chosen) == len(plan.entries) else f"{len(chosen)} of "
    imitations = "1 imitation" if len(plan.starts) == 1 else f"{len(plan.starts)} imitations"
    screen.say(f"{part}{len(plan.entries)} runs and {imitations}, in {out}")
    if arguments.dry_run:
        jobs = list(jobs_of(plan, chosen))
        check(plan, jobs, out)
        for job in jobs:
            screen.say(f"{state(job):6s} {job.name}")
        return 0
    try:
        failed = carry_out(plan, out, arguments.jobs or cores(), screen, chosen)
    except Stopped as stopped:
        screen.close()
        screen.say(f"{stopped}; the same command goes on from there")
        return 130
    finally:
        screen.close()
    written = write_comparison(out)
    _show_comparison(screen, written)
    for name, reason in failed.items():
        screen.say(f"failed: {name}: {reason}")
    screen.say(f"page: {written.page}")
    _emit(arguments.json, {"comparison": str(out), "results": summary(written.measured), "failed": failed})
    return 1 if failed else 0


def _show_comparison(screen: Screen, written: "Written") -> None:
    from hiper.report import comparison_table

    screen.console.print(comparison_table(written.measured, written.waiting))
    for line in written.unequal:
        screen.say(f"runs that differ by more than their arms: {line}")


def data(arguments: argparse.Namespace) -> int:
    """`hiper data`."""
    from hiper.runs.look import describe_data, find_data

    env, path = find_data(arguments.env, arguments.path)
    screen = Screen()
    try:
        found = describe_data(env, path, screen.work)
    finally:
        screen.close()
    for name, value in found.facts.items():
        screen.say(f"{name.replace('_', ' '):28s} {shown(value)}")
    for split, row in found.splits.items():
        screen.say(f"{split:13s} {row['games']:6d} games   {row['env_version']}   sha256 {row['data_sha256']}")
    for sentence in found.absent:
        screen.say(sentence)
    splits = {split: dict(row) for split, row in found.splits.items()}
    _emit(arguments.json, {"env": env, "path": path, **found.facts, "absent": list(found.absent), "splits": splits})
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """`hiper verify`."""
    from hiper import lab

    screen = Screen()
    effort = lab.Effort.quick(arguments.seed) if arguments.quick else lab.Effort.thorough(arguments.seed)
    report = lab.verify(effort, screen.say)
    screen.say("\n" + report.as_text(width=screen.console.width if screen.is_live else 118))
    _emit(arguments.json, report.as_json())
    if report.failed:
        first = report.failed[0]
        screen.say(f"hiper: failed: {first.text}: {first.found:.3g}, expected at most {first.limit:.3g}")
    return 1 if report.failed else 0


def bench(arguments: argparse.Namespace) -> int:
    """`hiper bench`."""
    from hiper.runs.bench import bench as measure
    from hiper.runs.config import load_config

    screen = Screen()
    row = measure(load_config(Path(arguments.config), arguments.overrides), arguments.rounds, screen.say)
    screen.say("\n".join(timed(row)))
    _emit(arguments.json, row)
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """`hiper doctor`."""
    from hiper.runs.look import diagnose

    rows = diagnose()
    for name, value in rows.items():
        print(f"{name:20s} {value}", file=sys.stderr)
    _emit(arguments.json, rows)
    return 0 if rows["folder_is_writable"] else 1


def _where(arguments: argparse.Namespace) -> "Where":
    from hiper.runs.look import Where

    return Where(
        env=arguments.env, data=arguments.data, max_turns=arguments.max_turns, overrides=tuple(arguments.overrides)
    )


def _emit(target: str | None, result: object) -> None:
    """Write JSON to a file, or to standard output for "-"."""
    if target == "-":
        print(json.dumps(result))
    elif target:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
