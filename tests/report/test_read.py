"""Reading run folders: whole, killed, damaged, old, and such as are none."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hiper.records import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    EVALS_FILE,
    METRICS_FILE,
    TRAJECTORY_FOLDER,
    write_trajectories,
)
from hiper.report import ReportError, read_run
from hiper.report.read import number
from tests.report.synthetic import (
    TASKS,
    credit_row,
    episode,
    eval_row,
    metrics_row,
    write_rows,
    write_run,
    write_sampled,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_a_whole_run_is_read(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "mine", steps=10))
    assert run.name == "mine"
    assert run.stages == ("sft", "train")
    assert (len(run.imitation), len(run.training), len(run.evals)) == (100, 10, 12)
    assert "gamma = 0.95" in run.config
    assert run.environment["git_commit"] == "a1b2c3d"
    assert run.missing == run.problems == ()
    assert (len(run.episodes), run.recorded, run.files_read, run.files) == (18, 18, 3, 3)
    assert [episode.credit is not None for episode in run.episodes] == [True] * 12 + [False] * 6
    assert {episode.step for episode in run.episodes} == {1, 10, None}


@pytest.mark.parametrize("part", [CONFIG_FILE, METRICS_FILE, EVALS_FILE, ENVIRONMENT_FILE, TRAJECTORY_FOLDER])
def test_a_missing_part_is_said(tmp_path: Path, part: str) -> None:
    folder = write_run(tmp_path / "run", steps=2)
    (folder / part).rename(tmp_path / "away")
    run = read_run(folder)
    assert len(run.missing) == 1
    assert part in run.missing[0]


def test_an_evaluation_only(tmp_path: Path) -> None:
    write_rows(tmp_path / EVALS_FILE, [eval_row(rng(), step=0, stage="eval", split="test", skill=0.5)])
    run = read_run(tmp_path)
    assert run.stages == ("eval",)
    assert len(run.missing) == 4


def test_no_run_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ReportError, match=r"not the folder of a run; expected at least one of config\.toml"):
        read_run(tmp_path)
    with pytest.raises(ReportError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(ReportError, match="no such folder"):
        read_run(tmp_path / "photo.jpg")


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    write_rows(tmp_path / METRICS_FILE, [metrics_row(rng(), 1, 5)])
    with (tmp_path / METRICS_FILE).open("a") as out:
        out.write('{"step": 2, "roll')
    run = read_run(tmp_path)
    assert len(run.training) == 1
    assert run.problems == ()


def test_a_broken_line_inside_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    lines = [json.dumps(metrics_row(rng(), step, 5)) for step in (1, 2, 3)]
    lines.insert(1, '{"step": 9, "ro{"step":')
    (tmp_path / METRICS_FILE).write_text("\n".join(lines) + "\n")
    run = read_run(tmp_path)
    assert [row["step"] for row in run.training] == [1, 2, 3]
    assert len(run.problems) == 1
    assert "line 2" in run.problems[0]


def test_a_step_that_was_played_again_counts_once(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"stage": "train", "step": step, "x": x} for x, step in enumerate((1, 2, 3, 2))]
    write_rows(tmp_path / METRICS_FILE, rows)
    assert [(row["step"], row["x"]) for row in read_run(tmp_path).training] == [(1, 0), (2, 3), (3, 2)]


def test_rows_without_a_stage_are_told_apart_by_their_columns(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"step": 1, "learn/loss": 1.0},
        {"step": 1, "learn/policy_loss": 0.1},
        {"note": "no step"},
    ]
    write_rows(tmp_path / METRICS_FILE, rows)
    run = read_run(tmp_path)
    assert (len(run.imitation), len(run.training)) == (1, 1)


def test_credit_that_does_not_fit_is_left_out_and_said(tmp_path: Path) -> None:
    played = [episode(rng(), task=TASKS[0], wins=True) for _ in range(2)]
    good, bad = (credit_row(rng(), index, one) for index, one in enumerate(played))
    bad["U"] = [0.0]
    write_trajectories(tmp_path / TRAJECTORY_FOLDER / "step-000003.jsonl", played)
    write_rows(tmp_path / TRAJECTORY_FOLDER / "step-000003.credit.jsonl", [good, bad])
    run = read_run(tmp_path)
    assert [one.credit is not None for one in run.episodes] == [True, False]
    assert run.problems == ("step-000003: the credit of episode 1 does not fit its turns.",)
    assert run.episodes[0].credit is not None
    assert tuple(good["U"]) == run.episodes[0].credit.U  # type: ignore[arg-type]


def test_trajectories_of_another_schema_are_a_problem_not_an_end(tmp_path: Path) -> None:
    write_rows(tmp_path / TRAJECTORY_FOLDER / "step-000001.jsonl", [{"schema": "other/9"}])
    (tmp_path / ENVIRONMENT_FILE).write_text("{not json")
    run = read_run(tmp_path)
    assert run.episodes == ()
    assert any("other/9" in problem for problem in run.problems)
    assert any("environment.json is not JSON" in problem for problem in run.problems)


def test_episodes_are_spread_over_steps_tasks_and_outcomes(tmp_path: Path) -> None:
    for step in range(1, 10):
        write_sampled(tmp_path, rng(), f"step-{step:06d}", skill=0.5, count=12)
    for split in ("valid_seen", "valid_unseen"):
        write_sampled(tmp_path, rng(), f"eval-train-{split}", skill=0.5, count=12, credited=False)
    run = read_run(tmp_path, episodes=20)
    sources = [one.source for one in run.episodes]
    assert len(sources) == 20
    assert list(dict.fromkeys(sources)) == [
        "step-000001",
        "step-000005",
        "step-000009",
        "eval-train-valid_seen",
        "eval-train-valid_unseen",
    ]
    assert {sources.count(source) for source in sources} == {4}
    assert (run.files_read, run.files, run.recorded) == (5, 11, 60)
    first = [one.trajectory.task_type for one in run.episodes[:4]]
    assert len(set(first)) == 4


@pytest.mark.parametrize("value", [None, "3", True, [1]])
def test_what_is_no_number_is_nan(value: object) -> None:
    assert math.isnan(number({"x": value}, "x"))
    assert math.isnan(number({}, "x"))
