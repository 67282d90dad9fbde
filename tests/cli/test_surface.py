"""What can be typed. A new command or option is a decision: it is made here too."""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from hiper import __version__
from hiper.cli import main
from hiper.cli.main import build_parser
from hiper.runs.config import make_config

SURFACE = {
    "demo": "--json --out --seed overrides",
    "data": "--json env path",
    "sft": "--dry-run --json --out config overrides",
    "train": "--dry-run --json --out config overrides",
    "eval": "--base-url --capacity --compat --data --env --episodes --json --max-turns --save --seed --split"
    " --temperature --tries model overrides",
    "play": "--data --env --game --max-turns --seed --split --temperature --watch model overrides",
    "serve": "--compat --data --episode --game --goal --port --replay --split env overrides",
    "report": "--out folder",
    "compare": "--arm --dry-run --jobs --json --out --task config overrides",
    "verify": "--json --quick --seed",
    "bench": "--json --rounds config overrides",
    "doctor": "--json",
}
HEAVY = ("torch", "transformers", "numpy", "pydantic", "gymnasium", "hiper.runs", "hiper.envs")


def commands() -> dict[str, argparse.ArgumentParser]:
    (action,) = [one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(action.choices)


def test_the_surface_is_this_one() -> None:
    found = {
        name: " ".join(sorted(max(one.option_strings, key=len, default=one.dest) for one in parser._actions[1:]))
        for name, parser in commands().items()
    }
    assert found == SURFACE


@pytest.mark.parametrize("name", SURFACE)
def test_each_command_has_help_that_says_something(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: hiper {name}")
    for action in commands()[name]._actions:
        assert action.help, f"hiper {name}: {action.dest} has no help"
        assert action.option_strings == [] or action.option_strings[-1] in said


def test_help_lists_the_commands_and_loads_nothing_heavy() -> None:
    code = f"""
import sys
from hiper.cli import main
try:
    main(["--help"])
except SystemExit as ended:
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    sys.exit(f"loaded: {{loaded}}" if loaded or ended.code else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(f"\n    {name} " in done.stdout for name in SURFACE)
    assert "two ways to start" in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"hiper {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["train"], "the following arguments are required: config"),
        (["train", "a.toml", "--steps", "3"], "unrecognized arguments: --steps 3"),
        (["train", "a.toml", "--out", "x", "steps"], "unrecognized arguments: steps"),
        (
            ["eval", "expert", "--episodes", "-1"],
            "argument --episodes: expected a whole number of at least 0, got '-1'",
        ),
        (["eval", "expert", "--seed", "x"], "argument --seed: expected a whole number of at least 0, got 'x'"),
        (
            ["eval", "expert", "--temperature", "-1"],
            "argument --temperature: expected a number of at least 0, got '-1'",
        ),
        (["serve"], "the following arguments are required: env"),
        (["serve", "alfworld"], "argument env: invalid choice: 'alfworld'"),
        (["serve", "webshop", "--port", "65536"], "argument --port: expected a port, 0 to 65535, got '65536'"),
        (["serve", "webshop", "--goal", "1", "--game", "x/1"], "argument --game: not allowed with argument --goal"),
        (["serve", "webshop", "--host", "0.0.0.0"], "unrecognized arguments: --host 0.0.0.0"),
        (["play", "--temperature", "nan"], "argument --temperature: expected a number of at least 0, got 'nan'"),
    ],
)
def test_what_cannot_be_understood(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_settings_may_stand_among_the_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "empty.toml"
    file.touch()
    assert main(["train", str(file), "seed=8", "--out", "b", "train.steps=7", "--dry-run"]) == 0
    config = make_config(tomllib.loads(capsys.readouterr().out))
    assert config == make_config({"seed": 8, "train": {"steps": 7}})
