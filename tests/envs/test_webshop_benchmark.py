"""The benchmark compares like with like, and bears a catalogue of its own making."""

import json
from pathlib import Path

import pytest

from benchmarks import webshop
from tests.envs.webshop_data import own_cache, small_folder

__all__ = ["own_cache"]


def test_both_engines_are_timed_on_the_same_steps() -> None:
    figures = webshop.play(small_folder(), episodes=4, seed=0)
    assert figures["steps"] > figures["searches"] > 0
    assert min(figures["env_step_s"], figures["twin_step_s"]) > 0


def test_a_difference_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.webshop_twin.Twin._score", lambda self, product: -1.0)
    with pytest.raises(SystemExit, match="the two engines differ after"):
        webshop.play(small_folder(), episodes=20, seed=0)


def test_a_made_up_catalogue(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIPER_CACHE", "set by the benchmark, and put back after this test")
    arguments = ["--products", "300", "--queries", "3", "--folder", str(tmp_path), "--json", "-"]
    assert webshop.main(arguments) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["products"] == 300
    assert figures["goals"] > 300
    assert figures["resident_gb"] > 0
