"""What docs/training.md shows: replies that can be read, settings and columns that there are."""

import inspect
import json
import re
from pathlib import Path

import pytest

from hiper.agents import interface
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.runs.config import keys

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
QUOTED = sorted(set(re.findall(r"`([^`\n]+)`", PAGE)))
REPLIES = re.findall(r"^<switch>.*$", PAGE, flags=re.MULTILINE)
SETTINGS = sorted(
    {
        one.partition("=")[0].strip()
        for one in QUOTED
        if re.match(r"(env|model|agent|sft|credit|train|eval|guards)\.\w", one)
    }
)
COLUMNS = sorted({one for one in QUOTED if re.fullmatch(r"(rollout|learn)/[\w/]+", one)})
OPTIONS = re.findall(
    r"`(\w+)`",
    "".join(
        re.findall(
            r"^\| (`\w+`(?:, `\w+`)*) \| (?!every|versions|a row)",
            PAGE.partition("## The stages")[0],
            flags=re.MULTILINE,
        )
    ),
)


def test_replies_can_be_read() -> None:
    subgoal = ""
    assert len(REPLIES) == 2
    for text in REPLIES:
        reply = interface("plan_execute").parse(text, subgoal=subgoal, cut=False)
        assert reply.invalid is None
        subgoal = reply.subgoal
    assert subgoal == "find a mug"


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_exist(name: str) -> None:
    assert name.rstrip(".") in {*keys(), "env.options"}


def test_options_exist() -> None:
    assert set(OPTIONS) == {"size", "room", "chain", "shortest", "pay_stages"}
    assert set(OPTIONS) <= set(inspect.signature(AlfworldEnv).parameters)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_exist(name: str) -> None:
    metrics = (ROOT / "results" / "demo" / "seed0" / "metrics.jsonl").read_text(encoding="utf-8")
    assert name in json.loads(metrics.splitlines()[-1])
