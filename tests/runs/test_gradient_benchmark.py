"""The benchmark of gradients: its figures find what was put into made-up ones, and it runs on a run."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gradient import ESTIMATORS, TRUTH, Floats, compared, main
from tests.runs.tiny import carry_out

ROUNDS, WEIGHTS = 400, 60


def noisy(mean: Floats, spread: float, seed: int) -> Floats:
    return mean + np.random.default_rng(seed).normal(0, spread, (ROUNDS, WEIGHTS))


def test_figures_find_noise_and_bias() -> None:
    truth, aside = np.eye(WEIGHTS)[0], np.eye(WEIGHTS)[1]
    figures = compared(
        {
            "right": noisy(truth, 0.3, 1),
            "louder": 5 * noisy(truth, 0.3, 1),
            "noisy": noisy(truth, 0.6, 2),
            "turned": noisy(truth + aside, 0.3, 3),
            TRUTH: noisy(truth, 0.3, 4),
        }
    )
    assert list(figures) == ["right", "louder", "noisy", "turned"]
    noise = 0.3**2 * WEIGHTS
    assert figures["right"]["noise"] == pytest.approx(noise, rel=0.15)
    assert figures["right"]["direction"] == pytest.approx(1, abs=0.06)
    assert figures["right"]["of_one"] == pytest.approx(1 / np.sqrt(1 + noise), rel=0.06)
    assert figures["louder"]["of_one"] == pytest.approx(figures["right"]["of_one"])
    assert figures["noisy"]["noise"] == pytest.approx(4 * noise, rel=0.15)
    assert figures["noisy"]["direction"] == pytest.approx(1, abs=0.06)
    assert figures["turned"]["direction"] == pytest.approx(np.sqrt(0.5), abs=0.06)
    # Twice the signal in another direction: one round points as well as that which is not turned.
    assert figures["noisy"]["to_first"] < -figures["noisy"]["to_first_se2"] < 0
    assert abs(figures["louder"]["to_first"]) < 1e-9


def test_noise_that_rounds_share_is_not_taken_for_agreement() -> None:
    shared = np.random.default_rng(0).normal(0, 1, (ROUNDS, WEIGHTS))
    truth, aside = np.eye(WEIGHTS)[0], np.eye(WEIGHTS)[1]
    figures = compared({"other": aside + shared, TRUTH: truth + shared})
    assert abs(figures["other"]["direction"]) < 0.2  # the plain cosine of the two is .98


def test_errors_are_those_of_leaving_out_one_round_after_the_other() -> None:
    made = {"first": noisy(np.ones(WEIGHTS), 1.0, 1)[:7], TRUTH: noisy(np.ones(WEIGHTS), 1.0, 2)[:7]}
    without = [
        compared({name: np.delete(some, left, axis=0) for name, some in made.items()})["first"]["of_one"]
        for left in range(7)
    ]
    wanted = 2 * np.sqrt(6 / 7 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert compared(made)["first"]["of_one_se2"] == pytest.approx(wanted)


def test_it_runs_on_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    carry_out(tmp_path / "run", only_imitation=True)
    capsys.readouterr()
    assert main([str(tmp_path / "run"), "train.episodes=8", "--critic", "1", "--rounds", "3", "--json", "-"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["estimators"].keys() == ESTIMATORS.keys() - {TRUTH}
    assert (found["rounds"], found["critic"], found["episodes"]) == (3, 1, 8)
    some = ["--only", "GRPO", "--only", "siblings"]
    few_rounds = ["train.episodes=8", "--critic", "1", "--rounds", "3"]
    assert main([str(tmp_path / "run"), *few_rounds, *some, "--json", "-"]) == 0
    few = json.loads(capsys.readouterr().out)["estimators"]
    assert list(few) == ["GRPO", "siblings"]
    assert few["GRPO"]["noise"] == pytest.approx(found["estimators"]["GRPO"]["noise"], nan_ok=True)


def test_a_folder_without_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "no checkpoint there" in capsys.readouterr().err
