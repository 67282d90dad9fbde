import json
from pathlib import Path

import pytest

from hiper.cli import main
from hiper.runs.bench import bench
from tests.runs.tiny import config_file, tiny


def test_each_stage_is_timed_and_the_whole_run_estimated() -> None:
    said: list[str] = []
    row = bench(tiny("sft.steps=7", "train.steps=9", "train.kl_coef=0.1"), 2, said.append)
    assert said == ["imitation: 3 steps", "HiPER: 3 steps"]
    for stage, steps in (("sft", 7), ("train", 9)):
        figures = row[stage]
        assert isinstance(figures, dict)
        assert figures["steps"] == steps
        assert figures["whole_s"] == pytest.approx(steps * figures["step_s"])
        assert figures["step_s"] > 0
        assert figures["trained_tokens_per_s"] > 0
    train = row["train"]
    assert isinstance(train, dict)
    parts = sum(train[f"{name}_s"] for name in ("rollout", "values", "learn"))
    assert parts == pytest.approx(train["step_s"], rel=0.5)


def test_under_a_budget_of_turns_the_steps_are_what_it_comes_to() -> None:
    row = bench(tiny("sft.steps=0", "train.steps=0", "train.turns=500"), 1, str)
    train = row["train"]
    assert "sft" not in row
    assert isinstance(train, dict)
    assert train["steps"] == round(500 / train["step_turns"])


def test_the_command_saves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = config_file(tmp_path)
    assert main(["bench", str(file), "--rounds", "1", "sft.steps=0", "--json", "-"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["rounds"] == 1
    assert "a step" in printed.err
    assert list(tmp_path.iterdir()) == [file]


def test_no_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "some.toml", "--rounds", "0"])
    assert "at least 1" in capsys.readouterr().err


def test_the_drill_is_left_out() -> None:
    row = bench(tiny("sft.steps=7", "sft.drill=4", "train.steps=0"), 1, str)
    figures = row["sft"]
    assert isinstance(figures, dict)
    assert figures["steps"] == 3
    assert figures["step_turns"] > 0  # an expert was seen
