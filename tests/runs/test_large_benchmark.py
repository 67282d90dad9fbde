"""The benchmark of large models plays and learns what the configuration says, here with a small one."""

import json

import pytest

from benchmarks import large


def test_small_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(large, "VOCABULARY", 2000)
    monkeypatch.setattr("hiper.runs.setup.TOKENIZER_EPISODES", 20)
    settings = ["model.device=cpu", "train.episodes=2", "train.minibatches=1", "env.max_turns=1"]
    assert large.main(["--shape", "test", "--dtype", "mixed", "--dtype", "float32", "--json", "-", *settings]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["dtype"] for row in rows] == ["mixed", "float32"]
    for row in rows:
        assert row["parameters"] > 2000 * 64
        assert row["train"]["step_turns"] == 2
        assert row["train"]["sampled_tokens_per_s"] > 0
        assert row["train"]["trained_tokens_per_s"] > 0
