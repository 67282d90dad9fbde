"""The benchmark compares like with like, and its JSON can be read."""

import json
from pathlib import Path

import pytest

import hiper.credit
from benchmarks import credit


def test_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "credit.json"
    assert credit.main(["--episodes", "6", "--turns", "9", "--repeats", "1", "--json", str(file)]) == 0
    result = json.loads(file.read_text("utf-8"))
    assert result["largest_difference"] < 1e-12
    assert result["vectorised_s"] > 0
    functions = {name for name in hiper.credit.__all__ if name.islower()}
    assert result["others_s"].keys() | {"hae", "sibling_values"} == functions  # the last is part of sibling_hae
    assert "vectorised" in capsys.readouterr().out


def test_json_alone_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert credit.main(["--episodes", "2", "--turns", "3", "--repeats", "1", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2
