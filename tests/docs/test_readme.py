"""What the README says can be done: its commands parse, its Python runs, and the files that it names are there."""

import re
import shlex
from pathlib import Path

import pytest

from hiper.cli.main import EXAMPLES, _parse
from hiper.runs.config import make_config

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
SHELL = [line for language, text in BLOCKS if language in ("", "sh", "bash") for line in text.splitlines()]
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [line.strip() for line in [*SHELL, *EXAMPLES.splitlines()] if line.strip().startswith("hiper ")]
SETTINGS = sorted(set(re.findall(r"(?<![\w.])[a-z]+(?:\.[a-z_]+)+=[^\s`]+", README)))
LINKS = sorted({link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link})


def words(line: str) -> list[str]:
    """A command line's arguments. What stands after two spaces in the help's examples is a remark."""
    return shlex.split(re.split(r"\s{3,}", line.partition("  #")[0])[0], comments=True)[1:]


def test_there_is_something_to_check() -> None:
    assert len(COMMANDS) >= 12
    assert len(PYTHON) >= 2
    assert len(SETTINGS) >= 4
    assert len(LINKS) >= 6


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line: str) -> None:
    arguments = _parse(words(line))
    assert callable(arguments.run)
    if hasattr(arguments, "config"):
        assert (ROOT / arguments.config).is_file()
    make_config({}, [*getattr(arguments, "overrides", []), *getattr(arguments, "set", [])])


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_exist(setting: str) -> None:
    make_config({"train": {"group": 8}}, [setting])  # which some estimators ask for


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, flags=re.MULTILINE))
def test_targets_of_make_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("text", PYTHON, ids=range(len(PYTHON)))
def test_python_runs(text: str) -> None:
    exec(compile(text, "README.md", "exec"), {})


@pytest.mark.parametrize("link", LINKS)
def test_linked_files_exist(link: str) -> None:
    assert (ROOT / link.partition("#")[0]).exists()


def test_the_rooms_in_the_table_are_the_rooms_there_are() -> None:
    cells = re.findall(r"^\| (`.*?) \|", README, flags=re.MULTILINE)
    named = set(re.findall(r"`([a-z]+)`", " ".join(cells)))
    assert named == {file.parent.name for file in (ROOT / "src" / "hiper").glob("*/__init__.py")}
