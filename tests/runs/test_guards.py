"""Guards: each sees its own trouble and no other, healthy runs set off none, and trouble is said once."""

from pathlib import Path
from typing import Any

import pytest

from hiper.cli import main
from hiper.records import read_jsonl
from hiper.report import write_report
from hiper.runs import run
from hiper.runs.config import ConfigError, make_config
from hiper.runs.guards import GUARDS, WINDOW, is_new, troubles
from hiper.runs.run import GuardStop
from tests.runs.tiny import Row, carry_out, config_file, metrics, saved

ROOT = Path(__file__).resolve().parents[2]
RECORDED = sorted((ROOT / "results").glob("*/metrics.jsonl"))
HEALTHY: Row = {
    "rollout/success": 0.6,
    "rollout/turns": 12.0,
    "rollout/segment_turns": 4.0,
    "rollout/valid_rate": 0.7,
    "rollout/reply_tokens": 8.5,
    "rollout/invalid/cut_by_limit": 0.02,
    "rollout/ending/turn_limit": 0.2,
    "rollout/ending/failed": 0.3,
    "learn/entropy": 0.1,
    "learn/kl": 0.003,
    "learn/kl_reference": 0.1,
    "learn/explained_variance/U": 0.4,
    "learn/explained_variance/high": 0.3,
    "learn/explained_variance/low": None,  # a head that is not trained
    "learn/logprob_gap_mean": 1e-7,
}
TROUBLE: dict[str, Row] = {
    "switches_gone": {"rollout/segment_turns": 11.5},  # 12 / 11.5 = 1.04 segments, 3 before
    "switches_everywhere": {"rollout/segment_turns": 1.2},
    "entropy_collapse": {"learn/entropy": 0.009},
    "entropy_runaway": {"learn/entropy": 0.4},
    "reply_length": {"rollout/reply_tokens": 18.0},
    "replies_cut": {"rollout/invalid/cut_by_limit": 0.2},
    "stalling": {"rollout/ending/turn_limit": 0.32, "rollout/ending/failed": 0.15},
    "getting_worse": {"rollout/success": 0.44},
    "invalid_replies": {"rollout/valid_rate": 0.5},
    "kl_step": {"learn/kl": 0.06},
    "kl_start": {"learn/kl_reference": 1.2},
    "critic": {"learn/explained_variance/high": -0.1},
    "logprob_gap": {"learn/logprob_gap_mean": 2e-3},
}
NEARLY: dict[str, Row] = {
    "switches_gone": {"rollout/segment_turns": 9.0},
    "switches_everywhere": {"rollout/segment_turns": 1.4},
    "entropy_collapse": {"learn/entropy": 0.011},
    "entropy_runaway": {"learn/entropy": 0.29},
    "reply_length": {"rollout/reply_tokens": 16.0},
    "replies_cut": {"rollout/invalid/cut_by_limit": 0.15},
    "stalling": {"rollout/ending/turn_limit": 0.29, "rollout/ending/failed": 0.15},
    "getting_worse": {"rollout/success": 0.46},
    "invalid_replies": {"rollout/valid_rate": 0.55},
    "kl_step": {"learn/kl": 0.04},
    "kl_start": {"learn/kl_reference": 0.9},
    "critic": {"learn/explained_variance/high": 0.0},
    "logprob_gap": {"learn/logprob_gap_mean": 9e-4},
}


def rows_of(change: Row, steps: int = 3 * WINDOW) -> list[Row]:
    """Healthy steps, then `WINDOW` with the change."""
    return [HEALTHY] * (steps - WINDOW) + [HEALTHY | change] * WINDOW


def test_every_guard_is_tested() -> None:
    assert set(TROUBLE) == set(NEARLY) == set(GUARDS)


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_sees_its_own_trouble(name: str) -> None:
    found = troubles(rows_of(TROUBLE[name]))
    assert list(found) == [name]
    assert found[name].endswith(f"; {GUARDS[name].remedy}")
    assert "\n" not in found[name]


def test_where_the_limit_ends_the_episode_nobody_stalls() -> None:
    for name in GUARDS:
        assert list(troubles(rows_of(TROUBLE[name]), limit_ends=True)) == ([] if name == "stalling" else [name])


@pytest.mark.parametrize("name", GUARDS)
def test_and_is_silent_just_before_it(name: str) -> None:
    assert not troubles(rows_of(NEARLY[name]))


@pytest.mark.parametrize("name", GUARDS)
def test_one_bad_step_is_not_yet_trouble(name: str) -> None:
    assert not troubles([*rows_of({}), HEALTHY | TROUBLE[name]])


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.parent.name)
def test_healthy_runs_are_left_in_peace(file: Path) -> None:
    rows = [row for row in read_jsonl(file) if row["stage"] == "train"]
    assert len(rows) > 3 * WINDOW
    for step in range(1, len(rows) + 1):
        assert not troubles(rows[:step]), f"step {step}"


def test_nothing_is_said_before_there_is_something_to_compare_with() -> None:
    bad: Row = {key: value for change in TROUBLE.values() for key, value in change.items()}
    assert not troubles([HEALTHY | bad] * WINDOW)
    assert not troubles([HEALTHY | TROUBLE["critic"]] * 2 * WINDOW)
    assert list(troubles([HEALTHY | TROUBLE["critic"]] * (2 * WINDOW + 1))) == ["critic"]


def test_what_was_not_measured_is_no_trouble() -> None:
    assert not troubles([{"step": step} for step in range(20)])
    assert not troubles([{**HEALTHY, "learn/kl": float("nan")}] * 20)


def test_trouble_is_new_until_it_was_gone_for_a_while() -> None:
    quiet: list[Any] = [{}] * WINDOW
    seen = {"guards": ["critic"]}
    assert is_new("critic", [])
    assert is_new("critic", quiet)
    assert not is_new("critic", [seen])
    assert not is_new("critic", [seen, *quiet[1:]])
    assert is_new("critic", [seen, *quiet])
    assert is_new("kl_step", [seen])


def test_settings() -> None:
    assert make_config({}).guards.stop == ()
    assert make_config({}, ["guards.stop=all"]).guards.stop == tuple(GUARDS)
    assert make_config({}, ["guards.stop=['critic']"]).guards.stop == ("critic",)
    with pytest.raises(ConfigError, match="unknown guard 'critics'; known: all, switches_gone, "):
        make_config({}, ["guards.stop=['critics']"])


@pytest.fixture
def alarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second step on, the critic is in trouble."""
    monkeypatch.setattr(run, "troubles", lambda rows, **_: {"critic": "it guesses; help it"} if len(rows) > 1 else {})


@pytest.mark.usefixtures("alarmed")
def test_a_warning_is_said_once_and_written_down(tmp_path: Path) -> None:
    done = carry_out(tmp_path / "run")
    said = [text for text in done.watcher.said if text.startswith("guard")]  # type: ignore[attr-defined]
    assert said == ["guard critic: it guesses; help it"]
    assert [row.get("guards") for row in metrics(tmp_path / "run", "train")] == [None, ["critic"], ["critic"]]
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "<li>critic: steps 2–3</li>" in page


@pytest.mark.usefixtures("alarmed")
def test_a_guard_that_may_stop_the_run_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    with pytest.raises(GuardStop, match=r"guard critic stopped the run after step 2, saved in .*: it guesses; help it"):
        carry_out(out, "guards.stop=['critic']")
    assert saved(out)[-1] == "step-000002"
    assert main(["train", str(config_file(tmp_path, "guards.stop=all")), "--out", str(out)]) == 1
    assert "hiper: guard critic stopped the run after step 2" in capsys.readouterr().err
    assert len(metrics(out, "train")) == 2
    carry_out(out)  # whoever knows better takes the guard away
    assert len(metrics(out, "train")) == 3
    other = tmp_path / "other"
    carry_out(other)
    assert metrics(out) == metrics(other)
