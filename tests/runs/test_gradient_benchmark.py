"""The benchmark of gradients: its figures find what was put into made-up ones, and it runs on a run."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.exact import Resumed, Start, played_on
from benchmarks.gradient import ESTIMATORS, EXACT, TRUTH, Floats, compared, main
from hiper.batch import documents
from hiper.rollout import Limits, Task, play
from hiper.runs.checkpoint import checkpoints, load_policy
from hiper.runs.config import load_config
from hiper.runs.estimate import table_of
from hiper.runs.setup import build_interface, build_layout, build_sampler
from hiper.runs.train import collect
from hiper.runs.world import World
from tests.runs.tiny import carry_out

ROUNDS, WEIGHTS = 400, 60


def noise_of(spread: float, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0, spread, (ROUNDS, WEIGHTS))


def figures_of(gradients: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    return compared({name: (some, some) for name, some in gradients.items()})


def noisy(mean: Floats, spread: float, seed: int) -> Floats:
    return mean + noise_of(spread, seed)


def test_figures_find_noise_and_bias() -> None:
    truth, aside = np.eye(WEIGHTS)[0], np.eye(WEIGHTS)[1]
    figures = figures_of(
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
    figures = figures_of({"other": aside + shared, TRUTH: truth + shared})
    assert abs(figures["other"]["direction"]) < 0.2  # the plain cosine of the two is .98


def test_noise_of_the_values_is_left_out() -> None:
    truth, shared = np.eye(WEIGHTS)[0], noise_of(0.3, 1)
    gradient = truth + shared + noise_of(1.0, 2), truth + shared + noise_of(1.0, 3)
    found = compared({"exact": gradient, TRUTH: (truth + noise_of(0.3, 4),) * 2})["exact"]
    assert found["noise"] == pytest.approx(0.3**2 * WEIGHTS, rel=0.15)
    assert found["of_one"] == pytest.approx(1 / np.sqrt(1 + 0.3**2 * WEIGHTS), rel=0.06)


def test_errors_are_those_of_leaving_out_one_round_after_the_other() -> None:
    made = {"first": noisy(np.ones(WEIGHTS), 1.0, 1)[:7], TRUTH: noisy(np.ones(WEIGHTS), 1.0, 2)[:7]}
    without = [
        figures_of({name: np.delete(some, left, axis=0) for name, some in made.items()})["first"]["of_one"]
        for left in range(7)
    ]
    wanted = 2 * np.sqrt(6 / 7 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert figures_of(made)["first"]["of_one_se2"] == pytest.approx(wanted)


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
    assert main([str(tmp_path / "run"), *few_rounds, "--only", "GRPO", "--exact", "1", "--json", "-"]) == 0
    assert list(json.loads(capsys.readouterr().out)["estimators"]) == ["GRPO", *EXACT]


@pytest.mark.parametrize(("layout", "heads"), [("transcript", {0, 1, 2}), ("window", {0, 1})])
def test_what_is_played_on_goes_on_from_there(tmp_path: Path, layout: str, heads: set[int]) -> None:
    """Greedily: then each episode that is played on from any point is the one that was played."""
    carry_out(tmp_path / "run", f"agent.layout={layout}", only_imitation=True)
    config = load_config(tmp_path / "run" / "config.toml", ["train.episodes=6", "credit.estimator=hae"])
    policy = load_policy(checkpoints(tmp_path / "run" / "checkpoints", "sft")[-1])
    sampler = build_sampler(config, policy, temperature=0.0)
    world = World(config.env)
    played = collect(config, world, sampler, 0)
    rows = documents(played)
    assert {*np.concatenate([row.head_P for row in rows])} == heads
    first, second = played_on(config, world, sampler, played, rows, plays=1)
    rewards_BT = table_of(played, config.credit).rewards_BT
    assert rewards_BT.any()
    to_go_BT = rewards_BT[:, ::-1].cumsum(axis=1)[:, ::-1]
    for values in (first, second):
        for known_BT in (values.U_BT, values.V_high_BT, values.V_low_BT):
            is_read = ~np.isnan(known_BT)
            assert is_read.any()
            np.testing.assert_array_equal(known_BT[is_read], to_go_BT[is_read])
    np.testing.assert_array_equal(first.U_final_B[~np.isnan(first.U_final_B)], 0.0)


def test_what_had_been_said_stays_said_and_the_rest_is_drawn_anew(tmp_path: Path) -> None:
    carry_out(tmp_path / "run", only_imitation=True)
    config = load_config(tmp_path / "run" / "config.toml", ["train.episodes=6"])
    policy = load_policy(checkpoints(tmp_path / "run" / "checkpoints", "sft")[-1])
    sampler = build_sampler(config, policy, temperature=1.5)
    world = World(config.env)
    one = max(collect(config, world, sampler, 0), key=lambda one: len(one.turns))
    said = one.turns[1].reply_ids[:2]
    tasks = [Task(seed=one.seed, replica=1 + n) for n in range(12)]
    starts = {task.sampling_seed: Start(turns=one.turns[:1], said=said) for task in tasks}
    sampler.reset()
    found = play(
        lambda: world.make(config.env.train_split),
        Resumed(sampler=sampler, starts=starts),
        build_interface(config.agent),
        build_layout(config.agent),
        tasks,
        limits=Limits(turns=3),
    )
    assert {each.turns[0].reply for each in found} == {one.turns[0].reply}
    replies = [each.turns[1].reply_ids for each in found]
    assert {ids[:2] for ids in replies} == {said}
    assert len(set(replies)) > 6
    assert max(map(len, replies)) <= config.sampling.max_reply
    assert len({each.turns[2].reply for each in found if len(each.turns) > 2}) > 1


def test_a_folder_without_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.toml").write_text("", encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "no checkpoint there" in capsys.readouterr().err
