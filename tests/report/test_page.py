"""The page: it shows what the files say, all of it escaped, and needs nothing but itself."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiper.records import (
    EVALS_FILE,
    METRICS_FILE,
    REPORT_FILE,
    TRAJECTORY_FOLDER,
    Decision,
    Ending,
    Invalid,
    Trajectory,
    Turn,
    read_trajectories,
    write_trajectories,
)
from hiper.report import read_run, write_report
from hiper.report.page import render
from tests.report.synthetic import write_rows, write_run
from tests.report.well_formed import parse, words


def load(path: Path) -> list[Any]:
    """The rows of a file, read without the project."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "household-7", steps=25)


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return render(read_run(folder))


def turn(index: int = 0, **more: Any) -> Turn:
    plain = Turn(
        index=index,
        observation="A room.",
        context="",
        fresh_context=True,
        reply="<action>look</action>",
        decision=Decision.KEEP,
        subgoal="",
        action="look",
    )
    return replace(plain, **more)


def page_of(tmp_path: Path, *turns: Turn, task: str = "any") -> str:
    played = Trajectory(
        game="g", task_type=task, seed=0, turns=turns, ending=Ending.FAILED, final_observation="The end."
    )
    write_trajectories(tmp_path / TRAJECTORY_FOLDER / "step-000001.jsonl.zst", [played])
    return render(read_run(tmp_path))


def test_the_page_is_written_beside_the_run_or_where_asked(folder: Path, tmp_path: Path, page: str) -> None:
    assert write_report(folder) == folder / REPORT_FILE
    elsewhere = tmp_path / "deep" / "page.html"
    assert write_report(str(folder), str(elsewhere)) == elsewhere
    assert elsewhere.read_text(encoding="utf-8") == page
    assert not list(elsewhere.parent.glob("*.partial"))


def test_the_page_is_well_formed(page: str) -> None:
    reader = parse(page)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [tag for tag, _ in reader.tags].count("h1") == 1
    assert '<html lang="en">' in page


def test_the_page_needs_nothing_else(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert "url(" not in page
    for tag, attributes in parse(page).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed"}
        assert not {"src", "href"} & attributes.keys()


def test_the_verdict_is_that_of_the_files(folder: Path, page: str) -> None:
    rows = [row for row in load(folder / EVALS_FILE) if row["split"] == "valid_unseen"]
    shown = words(page)
    assert "Success on held-out tasks (alfworld valid_unseen)" in shown
    for label, row in (("before: imitation, step 100", rows[0]), ("after: training, step 25", rows[-1])):
        low, high = row["success_ci95"]
        expected = f"{label} {100 * row['success']:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of 134 episodes"
        assert expected in shown
    assert f"change, points +{100 * (rows[-1]['success'] - rows[0]['success']):.1f}" in shown


def test_the_table_has_every_task_type_of_every_split(folder: Path, page: str) -> None:
    shown = words(page)
    rows = load(folder / EVALS_FILE)
    for row in (*rows[:2], *rows[-2:]):
        for name, part in row["by_task"].items():
            low, high = part["success_ci95"]
            assert name.replace("_", " ") in shown
            assert f"{100 * part['success']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]" in shown


def test_charts_hold_the_numbers_of_the_metrics(folder: Path, page: str) -> None:
    rows = [row for row in load(folder / METRICS_FILE) if row["stage"] == "train"]
    charts = [
        (attributes["data-hover"], json.loads(attributes["data-hover"]))
        for tag, attributes in parse(page).tags
        if tag == "figure"
    ]
    series = {one["name"]: one for _, chart in charts for one in chart["series"]}
    pairs = {
        "Entropy": "learn/entropy",
        "KL": "learn/kl",
        "V_high": "learn/explained_variance/high",
        "training episodes": "rollout/success",
        "playing": "time/rollout_s",
        "Segment length": "rollout/segment_turns",
        "subgoal": "credit/subgoal_mean",
    }
    for name, key in pairs.items():
        assert series[name]["x"] == [row["step"] for row in rows]
        np.testing.assert_allclose(series[name]["y"], [row[key] for row in rows], rtol=1e-4)
    evaluated = [row for row in load(folder / EVALS_FILE) if row["split"] == "valid_unseen"]
    assert series["alfworld valid_unseen"]["x"] == [0, 5, 10, 15, 20, 25]
    np.testing.assert_allclose(
        series["alfworld valid_unseen"]["y"],
        [row["success"] for row in evaluated],
        rtol=1e-4,
    )


def test_invalid_replies_are_broken_down_by_reason(folder: Path, page: str) -> None:
    row = next(row for row in load(folder / METRICS_FILE) if row["stage"] == "train")
    hovers = [json.loads(attributes["data-hover"]) for tag, attributes in parse(page).tags if tag == "figure"]
    (chart,) = [one for one in hovers if "no switch tag" in {series["name"] for series in one["series"]}]
    total = sum(series["y"][0] for series in chart["series"])
    assert total == pytest.approx(1 - row["rollout/valid_rate"], abs=1e-4)


def test_episodes_are_drawn_turn_by_turn_with_their_credit(folder: Path) -> None:
    path = folder / TRAJECTORY_FOLDER / "step-000025.jsonl.zst"
    played = next(iter(read_trajectories(path)))
    credit = load(path.with_name("step-000025.credit.jsonl"))[0]
    run = read_run(folder)
    chosen = [one for one in run.episodes if (one.source, one.index) == ("step-000025", 0)]
    shown = words(render(replace(run, episodes=tuple(chosen))))
    first = played.turns[0]
    assert f"subgoal {first.subgoal} V_high {credit['V_high'][0]:.2f}" in shown
    for turn, advantage, value in zip(played.turns, credit["action"], credit["V_low"], strict=True):
        written = "0.00" if abs(advantage) < 0.005 else f"{advantage:+.2f}".replace("-", "−")
        assert f"action {turn.action or '–'} V_low {value:.2f} {written}".replace(" -", " −") in shown
        assert " ".join(turn.observation.split()) in shown


def test_small_advantages_keep_the_decimals_that_tell_them_apart(folder: Path) -> None:
    run = read_run(folder)
    one = run.episodes[0]
    assert one.credit is not None
    turns = len(one.trajectory.turns)
    credit = replace(one.credit, switch=(0.0,) * turns, subgoal=(0.0,) * turns, action=(0.0012,) * turns)
    shown = words(render(replace(run, episodes=(replace(one, credit=credit),))))
    assert "advantage bars reach ±0.0012" in shown
    assert "+0.0012" in shown


def test_what_imitation_ended_with_is_where_training_starts(folder: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / EVALS_FILE, load(folder / EVALS_FILE)[:2])
    write_rows(tmp_path / METRICS_FILE, load(folder / METRICS_FILE)[100:])
    hovers = re.findall(r'data-hover="([^"]*)"', render(read_run(tmp_path)))
    success = json.loads(unescape(hovers[0]))["series"]
    assert [(one["name"], one["x"][0]) for one in success[1:]] == [
        ("alfworld valid_unseen", 0),
        ("alfworld valid_seen", 0),
    ]


def test_segments_carry_their_subgoal_and_turns(tmp_path: Path) -> None:
    switch = {"decision": Decision.SWITCH, "reply": "r"}
    shown = words(
        page_of(
            tmp_path,
            turn(0, subgoal="find mug", **switch),
            turn(1, subgoal="find mug"),
            turn(2, subgoal="clean mug", **switch),
        )
    )
    assert "1 find mug turns 0–1" in shown
    assert "2 clean mug turn 2" in shown
    assert "3 turns · 2 segments · reward 0" in shown


def test_invalid_replies_are_marked_in_words_with_what_was_written(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        turn(0, invalid=Invalid.NO_ACTION_TAG, action="", reply="I would rather not"),
        turn(1, invalid=Invalid.NOT_ADMISSIBLE, action="fly home"),
        turn(2, is_mistake=True, reward=-1.0),
    )
    shown = words(page)
    assert "invalid reply: no action block; the environment was sent nothing" in shown
    assert '<pre class="written always">I would rather not</pre>' in page
    assert "invalid reply: an action that is not possible now action fly home" in shown
    assert "deliberate mistake of the demonstrator, never imitated" in shown
    assert "reward −1.00" in shown
    assert "2 invalid" in shown


def test_text_of_models_and_environments_is_escaped(tmp_path: Path) -> None:
    nasty = "</pre><script>alert('x')</script><img src=x onerror=alert(1)>\x1b[2J\ud800"
    folder = tmp_path / "<b>name"
    folder.mkdir()
    (folder / "config.toml").write_text("# </pre><script>alert(2)</script>\n", encoding="utf-8")
    (folder / "environment.json").write_text(json.dumps({"<i>": {"a": "<script>"}}), encoding="utf-8")
    evals = [{"success": 0.5, "split": "<script>", "env": "<u>", "by_task": {"<s>": {"success": 1.0}}}] * 2
    write_rows(folder / EVALS_FILE, [*evals])
    write_rows(folder / METRICS_FILE, [{"step": 1, "rollout/success/<script>": 1.0, "rollout/invalid/<p>": 1}])
    safe = nasty.removesuffix("\ud800")
    everywhere = turn(0, observation=safe, reply=safe, subgoal=safe, action=safe, decision=Decision.SWITCH)
    page = page_of(folder, everywhere, task='"><script>')
    reader = parse(page)
    tags = [tag for tag, _ in reader.tags]
    assert tags.count("script") == 1
    assert not {"img", "u", "s"} & set(tags)
    assert "alert(" not in "".join(reader.scripts)
    assert not any(name.startswith("on") for _, attributes in reader.tags for name in attributes)
    assert "\x1b" not in page
    assert "alert('x')" in "".join(reader.text)


def test_half_of_a_surrogate_pair_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"name": "\\ud83d"}', encoding="utf-8")
    assert "\ufffd" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_killed_run_shows_what_there_is_and_says_what_is_missing(folder: Path, tmp_path: Path) -> None:
    lines = (folder / METRICS_FILE).read_text(encoding="utf-8").splitlines()[100:103]
    (tmp_path / METRICS_FILE).write_text("\n".join(lines) + '\n{"step": 4, "wal', encoding="utf-8")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    shown = words(page)
    success = [json.loads(line)["rollout/success"] for line in lines]
    assert f"first step {100 * success[0]:.1f} % mean last step {100 * success[-1]:.1f} % mean" in shown
    assert "no evaluation on held-out tasks was recorded" in shown
    assert "No evals.jsonl" in shown
    assert "steps of training 3" in shown
    assert 'id="results"' not in page
    assert 'id="episodes"' not in page


def test_an_evaluation_alone_has_a_result_and_no_change(folder: Path, tmp_path: Path) -> None:
    row = {**load(folder / EVALS_FILE)[-1], "stage": "eval"}
    write_rows(tmp_path / EVALS_FILE, [row])
    page = render(read_run(tmp_path))
    shown = words(page)
    assert f"evaluation {100 * row['success']:.1f} %" in shown
    assert "change" not in shown
    assert "Over training" not in shown
    assert "<figure" not in page


def test_numbers_that_are_none_are_no_charts(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {
            "step": step,
            "learn/kl": float("nan"),
            "learn/entropy": None,
            "rollout/turns": "many",
            "learn/grad_norm": 1.0,
        }
        for step in (1, 2)
    ]
    write_rows(tmp_path / METRICS_FILE, rows)
    shown = words(render(read_run(tmp_path)))
    assert "Gradient norm" in shown
    assert "Entropy" not in shown
    assert "KL" not in shown
    assert "nan" not in shown
    assert "No success rate was recorded" in shown


def test_flat_interfaces_show_actions_only(tmp_path: Path) -> None:
    reply = "<think>a & b</think><action>look</action>"
    shown = words(page_of(tmp_path, turn(0, reply=reply), turn(1, reply=reply)))
    assert "segments ·" not in shown
    assert "switch" not in shown.split("Episodes")[-1].lower()
    assert reply in shown


def test_crashed_episodes_without_a_turn_are_listed(tmp_path: Path) -> None:
    played = Trajectory(game="g", task_type="", seed=0, turns=(), ending=Ending.CRASHED, final_observation="")
    write_trajectories(tmp_path / TRAJECTORY_FOLDER / "step-000001.jsonl.zst", [played])
    assert "crashed step 1 · 0 turns" in words(render(read_run(tmp_path)))


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_lines_have_contrast(page: str, mode: str) -> None:
    light, dark = page.split("@media (prefers-color-scheme: dark)", maxsplit=1)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if mode == "light" else dark))
    assert len(colours) > 20
    pairs = [("ink", "page"), ("ink", "card"), ("soft", "page"), ("soft", "card"), ("page", "ink")]
    pairs += [("good", "good-back"), ("bad", "bad-back"), ("bad", "card")]
    pairs += [(text, f"b{band}") for band in range(4) for text in ("ink", "soft")]
    found = {f"{text} on {ground}": contrast(colours[text], colours[ground]) for text, ground in pairs}
    assert not {pair: ratio for pair, ratio in found.items() if ratio < 4.5}
    assert min(contrast(colours[f"h{hue}"], colours["card"]) for hue in range(6)) >= 3


def test_reports_need_no_torch() -> None:
    heavy = ("torch", "transformers", "matplotlib")
    code = f"import sys, hiper.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
