"""`hiper COMMAND`: arguments, and the one place where errors become one clear line and an exit code."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hiper import __version__
from hiper.cli import commands

EXAMPLES = """\
two ways to start:
  hiper demo                                        train a small agent from scratch, nothing to download
  hiper train configs/alfworld_tiny.toml env.data=PATH --out runs/mine      the official games

then:
  hiper report runs/mine                            one page with curves, tables and episodes
  hiper eval runs/mine --data PATH                  both official splits, with intervals
  hiper play runs/mine --watch                      see it act
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; `--help` says the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help)\n")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = _Parser(
        prog="hiper",
        description="Train language-model agents that plan and act, with credit for every decision.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hiper {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_demo, _data, _train, _eval, _play, _serve, _report, _compare, _verify, _bench, _doctor):
        add(subparsers)
    return parser


def _demo(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("demo", help="train a small agent on generated household games, in minutes")
    p.description = (
        "Builds a tiny language model, lets it imitate expert games, trains it with HiPER on generated games, and "
        "prints success on held-out games before and after. Nothing is downloaded."
    )
    p.add_argument("--out", default="runs/demo", help="run folder (default: %(default)s); taken up again if it exists")
    p.add_argument("--seed", type=_count, default=0, help="everything random derives from it (default: %(default)s)")
    p.add_argument("--json", metavar="FILE", help="write the evaluations there; - for standard output")
    p.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings to change, e.g. train.steps=20"
    )
    p.set_defaults(run=commands.demo)


def _data(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("data", help="check official data, count its games and prepare the cache")
    p.description = (
        "Checks the data of an environment, says what it holds and what is missing, and builds what is kept of it. "
        "The official ALFWorld tree or pack, or the folder of WebShop's files, of any size."
    )
    p.usage = "hiper data [-h] [--json FILE] [ENVIRONMENT] [PATH]"
    p.add_argument("env", nargs="?", metavar="ENVIRONMENT", help="alfworld (may be left out), webshop, ...")
    p.add_argument("path", nargs="?", metavar="PATH", help="official data; without it, describes what is generated")
    p.add_argument("--json", metavar="FILE", help="write the result there; - for standard output")
    p.set_defaults(run=commands.data)


def _train(sub: "argparse._SubParsersAction[_Parser]") -> None:
    for name, text in (
        ("sft", "imitate the expert (the first stage of a run)"),
        ("train", "carry out a run: imitation if configured, then HiPER, then evaluation"),
    ):
        p = sub.add_parser(name, help=text)
        p.description = (
            text[0].upper() + text[1:] + ". A run that was stopped or killed is taken up again by the same command. "
            "--dry-run prints every setting with its meaning."
        )
        p.add_argument("config", help="TOML file")
        p.add_argument(
            "overrides", nargs="*", default=[], metavar="key=value", help="settings to change, e.g. train.steps=200"
        )
        p.add_argument("--out", help="run folder (default: runs/NAME-OF-CONFIG-seed)")
        p.add_argument("--dry-run", action="store_true", help="print the resolved configuration and stop")
        p.add_argument("--json", metavar="FILE", help="write the evaluations there; - for standard output")
        p.set_defaults(run=commands.train, only_imitation=name == "sft")


def _eval(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("eval", help="play every game of a split; success by task type with 95 %% intervals")
    p.description = (
        "Plays each game of a split once, greedily unless told otherwise, and prints success by task type. A run is "
        "played in its own environment with its own settings, e.g. `hiper eval runs/mine --data PATH`; the scripted "
        "expert and a server's model likewise: `hiper eval expert`, `hiper eval openai:NAME --base-url URL`. "
        "`hiper data` lists the splits."
    )
    p.add_argument(
        "model",
        help="run or model folder, hub name (ORGANISATION/NAME), 'expert', 'random', or 'openai:NAME' with --base-url",
    )
    p.add_argument("--env", help="environment (default: the run's, else alfworld)")
    p.add_argument("--data", help='official data, "" for generated games (default: as in the run, else generated)')
    p.add_argument("--split", action="append", help="may be given several times (default: those of the environment)")
    p.add_argument("--episodes", type=_count, default=0, help="at most so many games of each split; 0: all (default)")
    p.add_argument(
        "--tries",
        type=_positive,
        default=1,
        help="play each game so often (with a --temperature): is there anything for RL to choose from?",
    )
    p.add_argument(
        "--compat",
        action="store_true",
        help="also in the environment's other views, e.g. WebShop's as verl-agent has it",
    )
    p.add_argument("--max-turns", type=int, help="turn limit (default: the run's, else 50)")
    p.add_argument("--temperature", type=_temperature, default=0.0, help="0 is greedy (default: %(default)s)")
    p.add_argument(
        "--seed", type=_count, default=0, help="of sampling and of the choice of games (default: %(default)s)"
    )
    p.add_argument("--base-url", default="http://localhost:8000/v1", help="of an OpenAI-compatible server")
    p.add_argument("--capacity", type=int, help="episodes at once (default: a run's own, else 128; servers: 16)")
    p.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="settings, e.g. agent.layout=window")
    p.add_argument("--save", metavar="FILE", help="write the episodes there (.jsonl or .jsonl.zst)")
    p.add_argument("--json", metavar="FILE", help="write the result there; - for standard output")
    p.set_defaults(run=commands.evaluate)


def _play(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("play", help="play a game yourself, or watch an agent")
    p.description = (
        "Without a model you play: type a command, see what happens. With one you watch it, turn by turn, with its "
        "subgoals: `hiper play runs/mine`, `hiper play expert`."
    )
    p.add_argument("model", nargs="?", default="", help="watch this one play: run or model folder, 'expert', 'random'")
    p.add_argument("--watch", action="store_true", help="watch; without a model, the expert")
    p.add_argument("--env", help="environment (default: the run's, else alfworld)")
    p.add_argument("--data", help='official data, "" for generated games (default: as in the run, else generated)')
    p.add_argument("--split", help="default: the last that the environment evaluates on")
    p.add_argument("--game", help="name of the game (default: one chosen by the seed)")
    p.add_argument("--seed", type=_count, default=0, help="of the game and of sampling (default: %(default)s)")
    p.add_argument("--temperature", type=_temperature, default=0.0, help="0 is greedy (default: %(default)s)")
    p.add_argument("--max-turns", type=int, help="turn limit (default: the run's, else 50)")
    p.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="settings, e.g. env.options.chain=2")
    p.set_defaults(run=commands.play)


def _serve(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("serve", help="shop yourself in a browser, or look at recorded episodes there")
    p.description = (
        "The shop of an environment as a web site for this machine: what you see and are paid is what an agent would "
        "be. With --replay, the episodes that `hiper eval ... --save FILE` or a run wrote are played again, turn by "
        "turn, with subgoals and decisions beside each page. Prints its address; Ctrl-C ends it."
    )
    p.epilog = (
        "To look at episodes: `hiper eval expert --env webshop --split test --save FILE.jsonl.zst`, then "
        "`hiper serve webshop --replay FILE.jsonl.zst`."
    )
    p.add_argument("env", choices=["webshop"], help="environment; webshop has a site")
    p.add_argument("--data", help='official data, "" for generated goods (default: as in the run, else generated)')
    p.add_argument("--split", default="test", help="goals to offer (default: %(default)s)")
    p.add_argument("--compat", choices=["verl-agent", "princeton"], help="keep this program's goals and quirks")
    first = p.add_mutually_exclusive_group()
    first.add_argument("--goal", type=_count, help="begin with the goal at this place of the split (default: 0)")
    first.add_argument("--game", metavar="NAME", help="begin with the goal of this name, e.g. B08ZRR3DZT/3")
    p.add_argument("--replay", metavar="FILE", help="recorded episodes to look at (.jsonl or .jsonl.zst)")
    p.add_argument("--episode", type=_count, help="begin with this one of them, from 0 (default: their list)")
    p.add_argument("--port", type=_port, default=8080, help="0 takes any that is free (default: %(default)s)")
    p.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="settings of the environment, e.g. env.options.human_goals=true",
    )
    p.set_defaults(run=commands.serve)


def _report(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("report", help="make one self-contained page from the folder of a run or a comparison")
    p.description = (
        "Curves, tables and episodes of a run, or table, picture and curves of a comparison, as one page that needs "
        "nothing else. A run that is still at work can be looked at, too."
    )
    p.add_argument("folder", help="folder of a run or a comparison")
    p.add_argument("--out", help="file to write (default: report.html, or compare.html, in that folder)")
    p.set_defaults(run=commands.report)


def _compare(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("compare", help="compare estimators and agents: arms x tasks x seeds under one budget of turns")
    p.description = (
        "Carries out one run for every arm, task and seed of a file, from shared imitations, on all cores, and ends in "
        "a table, a picture and a page. A comparison that was stopped or killed is taken up again by the same command."
    )
    p.add_argument("config", help="TOML file with [base], [arena], [[arena.task]] and [[arena.arm]]")
    p.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="settings of the base, or arena.KEY=VALUE; arms go over them",
    )
    p.add_argument("--out", help="folder of the comparison (default: runs/NAME-OF-CONFIG)")
    p.add_argument(
        "--task", action="append", default=[], metavar="NAME", help="only this task now (may be given several times)"
    )
    p.add_argument("--arm", action="append", default=[], metavar="NAME", help="only this arm now; the rest later")
    p.add_argument("--jobs", type=_count, default=0, help="runs at once; 0: as many as there are cores (default)")
    p.add_argument("--dry-run", action="store_true", help="list the runs, what is done of them, and stop")
    p.add_argument("--json", metavar="FILE", help="write what was measured there; - for standard output")
    p.set_defaults(run=commands.compare)


def _verify(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("verify", help="test what is claimed of the credit estimators in small worlds, exactly")
    p.description = (
        "Builds random worlds that are small enough for exact answers, measures bias and variance of the estimators "
        "of hiper.credit there, and ends with a table: claim, verdict, numbers (means, in brackets the range over "
        "worlds). Exits with 1 if something that must hold exactly does not."
    )
    p.add_argument("--quick", action="store_true", help="fewer worlds and episodes, no training: about a minute")
    p.add_argument("--seed", type=_count, default=0, help="of the worlds and episodes (default: %(default)s)")
    p.add_argument("--json", metavar="FILE", help="write claims, checks and all numbers there; - for standard output")
    p.set_defaults(run=commands.verify)


def _bench(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("bench", help="time a few steps of a run on this machine, and say how long all of it would take")
    p.description = (
        "Carries out a few steps of each stage of a configuration, saves nothing, and says what a step takes, where "
        "its time goes and what the whole run comes to (without evaluations). A model that has learnt nothing plays "
        "other episodes than it will later; model.path=FOLDER times one that has."
    )
    p.add_argument("config", help="TOML file")
    p.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="settings to change, e.g. train.episodes=64"
    )
    p.add_argument(
        "--rounds", type=_positive, default=3, help="steps of each stage, after one that is not counted (%(default)s)"
    )
    p.add_argument("--json", metavar="FILE", help="write the figures there; - for standard output")
    p.set_defaults(run=commands.bench)


def _doctor(sub: "argparse._SubParsersAction[_Parser]") -> None:
    p = sub.add_parser("doctor", help="say what is installed, what is missing, and what this machine can do")
    p.description = (
        "Says what is installed, what is missing, and what this machine can do. Exits with 1 where this folder cannot "
        "be written to."
    )
    p.add_argument("--json", metavar="FILE", help="write the result there; - for standard output")
    p.set_defaults(run=commands.doctor)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if _count(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port, 0 to 65535, got {text!r}")
    return int(text)


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")
    return value


def _check_writable(target: str | None) -> None:
    """Known before the work is done, not after: whether the result can be written there."""
    if target in (None, "", "-"):
        return
    file = Path(str(target))
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if file.is_dir() or not folder.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise OSError(errno.EACCES, "cannot be written to", str(target))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code. Known errors end in one line on standard error."""
    arguments = _parse(argv)
    try:
        _check_writable(getattr(arguments, "json", None))
        _check_writable(getattr(arguments, "save", None))
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("hiper: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        full = "; free some space and give the same command again" if error.errno == errno.ENOSPC else ""
        print(f"hiper: {where}{error.strerror or error}{full}", file=sys.stderr)
        return 1
    except (ValueError, RuntimeError, LookupError, ImportError) as error:
        if not type(error).__module__.startswith("hiper"):
            raise
        print(f"hiper: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments. `key=value` settings may stand anywhere among the options, which argparse alone does not allow."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    strange = [one for one in rest if one.startswith("-") or "=" not in one or not hasattr(arguments, "overrides")]
    if strange:
        parser.error(f"unrecognized arguments: {' '.join(strange)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    if arguments.command == "play" and "=" in arguments.model and not Path(arguments.model).exists():  # no model named
        arguments.overrides.insert(0, arguments.model)
        arguments.model = ""
    return arguments
