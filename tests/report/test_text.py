"""Tables and turns for the terminal."""

import io

import numpy as np
import pytest
from rich.console import Console, RenderableType

from hiper.records import Decision, Invalid, Turn
from hiper.report import render_turn, result_table
from tests.report.synthetic import TASKS, eval_row


def show(what: RenderableType, width: int = 80, *, colour: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None).print(what)
    return out.getvalue()


def turn(**more: object) -> Turn:
    fields: dict[str, object] = {
        "index": 3,
        "observation": "You see a mug 1.",
        "context": "",
        "fresh_context": False,
        "reply": "r",
        "decision": Decision.SWITCH,
        "subgoal": "find mug",
        "action": "take mug 1",
    }
    return Turn(**{**fields, **more})  # type: ignore[arg-type]


def rows() -> list[dict[str, object]]:
    rng = np.random.default_rng(2)
    return [
        eval_row(rng, step=step, stage=stage, split=split, skill=skill)
        for step, stage, skill in ((50, "sft", 0.4), (20, "train", 0.8))
        for split in ("valid_unseen", "valid_seen")
    ]


def test_the_table_has_before_after_and_change_within_80_columns() -> None:
    evals = rows()
    text = show(result_table(evals))
    first = next(line for line in text.splitlines() if "valid_unseen" in line)
    before, after = (100 * float(row["success"]) for row in (evals[0], evals[2]))  # type: ignore[arg-type]
    assert "(n = 134)" in first
    assert f"{before:.1f} [" in first
    assert f"{after:.1f} [" in first
    assert f"+{after - before:.1f} [" in first
    assert len(text.splitlines()) == 2 + 2 * (1 + len(TASKS)) + 2  # head, rows, a blank line, the caption
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(text.count(f" {task.replace('_', ' ')} ") == 2 for task in TASKS)


def test_single_evaluations_have_a_result_only() -> None:
    text = show(result_table(rows()[:2]))
    assert "result, %" in text
    assert "change" not in text


def test_rows_as_the_command_line_prints_them_are_enough() -> None:
    text = show(result_table([{"success": 0.5, "episodes": 4, "env": "webshop", "split": "test", "by_task": {}}]))
    assert "webshop test (n = 4)" in text
    assert "50.0" in text


def test_no_evaluation_is_an_empty_table() -> None:
    assert show(result_table(rows()[:2])).count("\n") > show(result_table([])).count("\n")
    assert "95 % interval" not in show(result_table([]))


def test_a_turn_shows_what_was_seen_decided_and_earned() -> None:
    lines = show(render_turn(turn(reward=1.0))).splitlines()
    assert lines[0].strip() == "3  You see a mug 1."
    assert lines[1].strip() == "SWITCH find mug  > take mug 1"
    assert lines[2].strip() == "reward +1.00"


def test_invalid_turns_say_why() -> None:
    malformed = turn(invalid=Invalid.CUT_BY_LIMIT, action="", decision=Decision.KEEP, reply="<switch>KE")
    text = show(render_turn(malformed))
    assert "! invalid reply: the reply ran into the token limit" in text
    assert "<switch>KE" in text
    assert "> (nothing)" in text
    impossible = show(render_turn(turn(invalid=Invalid.NOT_ADMISSIBLE, reply="written")))
    assert "written" not in impossible
    assert "> take mug 1" in impossible


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "\x1b[31mred", "a\x07b\rc"])
def test_text_is_neither_markup_nor_control_codes(text: str) -> None:
    shown = show(
        render_turn(turn(observation=text, subgoal=text, action=text, invalid=Invalid.EMPTY_ACTION, reply=text))
    )
    assert not set(shown) & set("\x1b\x07\r")
    assert "[red]x[/red]" in shown or "[red]" not in text


def test_task_names_are_not_markup() -> None:
    by_task = {name: {"success": 1.0, "episodes": 1} for name in ("[bold]", "b")}
    assert "[bold]" in show(result_table([{"success": 1.0, "episodes": 2, "by_task": by_task}]))
