"""Training with each of its settings, and what happens when something in the middle of it goes wrong."""

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import hiper
from hiper.batch import gather_values
from hiper.cli import main
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.models import ModelError, TorchSampler
from hiper.records import read_jsonl, read_trajectories
from hiper.runs import setup
from hiper.runs.config import ConfigError
from hiper.runs.estimate import CreditError
from hiper.runs.run import Run
from hiper.runs.setup import build_policy
from hiper.runs.train import DivergedRound, GapError, deal
from hiper.runs.world import World
from tests.batch.hand import random_episode
from tests.runs.tiny import Row, carry_out, config_file, contents, few, metrics, saved, tiny, tiny_model

SHORT = ("sft.steps=1", "train.steps=2", "train.critic_warmup=0", "train.episodes=4", "train.max_turns=4")


def trained(out: Path, *overrides: str) -> tuple[Run, list[Row]]:
    """A short run and its rows of training, every number of which is finite."""
    run = carry_out(out, *SHORT, *overrides)
    rows = metrics(out, "train")
    assert len(rows) == 2
    for row in rows:
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, int | float))
        assert row["learn/grad_norm"] > 0
        assert row["learn/logprob_gap_max"] < 1e-4
        assert row["learn/skipped"] == 0
    start, end = ((out / "checkpoints" / name / "model.safetensors").read_bytes() for name in saved(out))
    assert start != end
    return run, rows


def credit(out: Path, column: str) -> list[list[float | None]]:
    """That column of the last sampled episodes."""
    return [row[column] for row in read_jsonl(out / "trajectories" / "step-000002.credit.jsonl")]  # type: ignore[misc]


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_hae_trains_in_both_layouts(layout: str, tmp_path: Path) -> None:
    _, rows = trained(tmp_path, f"agent.layout={layout}")
    assert rows[-1]["credit/subgoal_std"] > 0
    episodes = list(read_trajectories(tmp_path / "trajectories" / "step-000002.jsonl.zst"))
    assert all(turn.fresh_context == (layout == "window" or turn.index == 0) for e in episodes for turn in e.turns)
    assert all(values[0] == 0.0 for values in credit(tmp_path, "switch"))  # at turn 0 there is nothing to decide
    assert credit(tmp_path, "subgoal") != credit(tmp_path, "action")


def test_gae_gives_the_whole_reply_one_advantage(tmp_path: Path) -> None:
    _, rows = trained(tmp_path, "credit.estimator=gae")
    assert credit(tmp_path, "switch") == credit(tmp_path, "subgoal") == credit(tmp_path, "action")
    assert rows[-1]["learn/explained_variance/high"] is rows[-1]["learn/explained_variance/low"] is None
    assert rows[-1]["learn/explained_variance/U"] != 0.0


@pytest.mark.parametrize(("interface", "layout"), [("react", "transcript"), ("act", "window")])
def test_flat_interfaces_train(interface: str, layout: str, tmp_path: Path) -> None:
    _, rows = trained(tmp_path, f"agent.interface={interface}", f"agent.layout={layout}", "credit.estimator=gae")
    assert rows[-1]["rollout/switches"] == 0


@pytest.mark.parametrize(
    "overrides",
    [
        ("credit.normalise=per_level", "credit.lam_boundary=0.3", "train.epochs=2", "train.value_clip=0.2"),
        ("credit.normalise=none", "train.entropy_coef=0.01", "train.value_trunk_grad=0", "sampling.temperature=0.7"),
        ("train.optim.kind=muon", "train.dual_clip=0", "budget=64", "train.minibatches=9", "train.patience=1"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_other_settings_train(overrides: tuple[str, ...], tmp_path: Path) -> None:
    trained(tmp_path, *overrides)


def test_the_value_heads_can_be_trained_first(tmp_path: Path) -> None:
    carry_out(tmp_path, *SHORT, "train.critic_warmup=2")
    start, end = (contents(tmp_path / "checkpoints" / name) for name in saved(tmp_path))
    assert [row["learn/lr"] for row in metrics(tmp_path, "train")] == [0.0, 0.0]
    assert start["model.safetensors"] == end["model.safetensors"]
    assert start["value_heads.safetensors"] != end["value_heads.safetensors"]


def test_divergence_from_the_start_model_is_held_down(tmp_path: Path) -> None:
    options = ("train.steps=4", "train.optim.lr=0.002", "train.optim.warmup=0", "train.minibatches=1")
    kl = {}
    for coefficient in (1e-9, 3.0):
        carry_out(tmp_path / str(coefficient), *SHORT, *options, f"train.kl_coef={coefficient}")
        kl[coefficient] = [row["learn/kl_reference"] for row in metrics(tmp_path / str(coefficient), "train")]
    assert abs(kl[1e-9][0]) < 1e-6  # the first step begins at the start model
    assert 0 < kl[3.0][-1] < 0.7 * kl[1e-9][-1]


@pytest.mark.parametrize("renumber", ["true", "false"])
def test_episodes_of_a_group_are_one_world_played_anew(tmp_path: Path, renumber: str) -> None:
    trained(tmp_path, "train.group=2", "trajectories=4", f"train.renumber={renumber}")
    episodes = list(read_trajectories(tmp_path / "trajectories" / "step-000002.jsonl.zst"))
    pairs = list(zip(episodes[::2], episodes[1::2], strict=True))
    assert all(a.game == b.game and a.turns[0].state == b.turns[0].state for a, b in pairs)
    assert len({episode.game for episode in episodes}) == 2
    assert all([turn.reply for turn in a.turns] != [turn.reply for turn in b.turns] for a, b in pairs)


def test_shaping_is_off_by_default_and_in_a_column_of_its_own(tmp_path: Path) -> None:
    _, shaped = trained(tmp_path / "shaped", "credit.invalid_penalty=0.5")
    carry_out(tmp_path / "plain", *SHORT, "credit.invalid_penalty=0.0")
    plain = metrics(tmp_path / "plain", "train")
    assert [row["shaping/per_episode"] for row in plain] == [0.0, 0.0]
    invalid = (1 - shaped[0]["rollout/valid_rate"]) * shaped[0]["rollout/turns"]
    assert shaped[0]["shaping/per_episode"] == pytest.approx(-0.5 * invalid)
    assert shaped[0]["rollout/return"] == plain[0]["rollout/return"]  # what was earned is told without it


def test_training_plays_every_game_before_any_twice(tmp_path: Path) -> None:
    games = []
    carry_out(tmp_path, "sft.steps=0", "train.steps=2", "train.episodes=25", "train.max_turns=1", "trajectories=25")
    for step in (1, 2):
        episodes = read_trajectories(tmp_path / "trajectories" / f"step-00000{step}.jsonl.zst")
        games += [episode.game for episode in episodes]
    assert len(set(games)) == len(games) == 50  # as many as there are


def test_episodes_of_one_game_are_dealt_to_one_part() -> None:
    """Two episodes of a game share its luck: as parts of their own they would seem to be independent."""
    episodes = [random_episode(n, ids=9) for n in range(12)]
    grouped = [replace(one, game=f"game {n // 4}") for n, one in enumerate(episodes)]
    assert deal(grouped, parts=8) == [set(range(n, n + 4)) for n in (0, 4, 8)]
    assert deal(grouped, parts=2) == [set(range(8)), set(range(8, 12))]
    assert deal([replace(one, seed=n) for n, one in enumerate(episodes)], parts=4) == [
        set(range(n, n + 3)) for n in (0, 3, 6, 9)
    ]
    assert deal(grouped[:4], parts=8) == [{0, 1, 2, 3}]


def test_training_under_other_names(tmp_path: Path) -> None:
    """The games stay the same; the things in them have other numbers, which evaluation never has."""
    short = ("sft.steps=0", "train.steps=1", "train.max_turns=1", "trajectories=6")
    seen = {}
    for name, more in (("own", ()), ("other", ("train.renumber=true", 'eval.splits=["valid_unseen"]'))):
        carry_out(tmp_path / name, *short, *more)
        seen[name] = list(read_trajectories(tmp_path / name / "trajectories" / "step-000001.jsonl.zst"))
    assert [one.game for one in seen["own"]] == [one.game for one in seen["other"]]
    assert any(a.turns[0].context != b.turns[0].context for a, b in zip(seen["own"], seen["other"], strict=True))
    evaluated = read_trajectories(tmp_path / "other" / "trajectories" / "eval-train-valid_unseen.jsonl.zst")
    for episode in evaluated:
        env = few()
        assert episode.turns[0].observation == env.reset(options={"game": episode.game})[0]


# What goes wrong


def test_a_sampler_that_lies_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    honest = TorchSampler._extend

    def lie(self: TorchSampler, index: int, token: int, logprob: float) -> None:
        honest(self, index, token, logprob - 0.1)

    monkeypatch.setattr(TorchSampler, "_extend", lie)
    with pytest.raises(GapError):
        carry_out(tmp_path / "run")
    assert main(["train", str(config_file(tmp_path)), "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("hiper: sampled and recomputed log-probabilities differ by 0.1 nats on average (limit 0.02)")
    assert saved(tmp_path / "run") == ["sft-000002", "sft-000003"]
    carry_out(tmp_path / "run2", "train.max_logprob_gap=0.2", *SHORT)


def test_the_third_step_that_is_not_finite_stops_training_and_keeps_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiper.learn.learner.policy_loss", lambda logprob, *rest: logprob * math.nan)
    with pytest.raises(DivergedRound, match="not finite in three steps in a row"):
        carry_out(tmp_path, "train.critic_warmup=0", "checkpoint_every=1")
    first, second = (contents(tmp_path / "checkpoints" / name) for name in ("sft-000003", "step-000001"))
    assert metrics(tmp_path, "train")[0]["learn/skipped"] == 2
    assert first["model.safetensors"] == second["model.safetensors"]
    kept = list(read_trajectories(tmp_path / "trajectories" / "diverged-000002.jsonl.zst"))
    assert len(kept) == 6
    assert len(read_jsonl(tmp_path / "trajectories" / "diverged-000002.credit.jsonl")) == 6


def test_steps_that_are_not_finite_are_counted_across_interruptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hiper.learn.imitation.cross_entropy", lambda logits, *rest, **more: logits.sum(-1) * math.nan)
    monkeypatch.setattr("hiper.learn.learner.policy_loss", lambda logprob, *rest: logprob * math.nan)
    monkeypatch.setattr(Run, "_check_stop", break_off)
    for stage in ("sft.steps=9", "sft.steps=0"):
        options = (stage, "checkpoint_every=1", "train.critic_warmup=0", "train.minibatches=1", "train.steps=9")
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                carry_out(tmp_path / stage, *options)
        with pytest.raises(DivergedRound, match="not finite in three steps in a row"):
            carry_out(tmp_path / stage, *options)


def test_a_value_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(*given: Any) -> Any:
        values = gather_values(*given)
        return replace(values, U_BT=values.U_BT * math.nan)

    monkeypatch.setattr("hiper.runs.train.gather_values", gather)
    for estimator in ("gae", "hae", "option_gae"):
        with pytest.raises(CreditError, match=r"no credit can be given: U_BT\[0, [01]\] = nan"):
            carry_out(tmp_path / estimator, *SHORT, f"credit.estimator={estimator}")


def test_times_of_a_step_add_up(tmp_path: Path) -> None:
    evaluated = ('eval.splits=["valid_seen"]', "eval.every=1", "train.epochs=3", "train.kl_coef=.1")
    carry_out(tmp_path, *SHORT, *evaluated)
    rows = [row for row in read_jsonl(tmp_path / "metrics.jsonl") if row["stage"] == "train"]
    whole = [sum(float(str(v)) for key, v in row.items() if key.startswith("time/")) for row in rows]
    assert rows[-1]["wall_s"] == pytest.approx(sum(whole))
    (between,) = [row["time_s"] for row in read_jsonl(tmp_path / "evals.jsonl") if row["stage"] == "train"][:1]
    assert rows[1]["time/between_s"] > between  # type: ignore[operator]
    trained = float(str(rows[0]["speed/trained_tokens_s"])) * float(str(rows[0]["time/learn_s"]))
    assert trained == pytest.approx(3 * int(str(rows[0]["total/tokens"])))


def test_token_credit_is_of_the_decisions_that_were_made(tmp_path: Path) -> None:
    _, rows = trained(tmp_path, "credit.estimator=token_gae", "trajectories=99")
    later = [value for values in credit(tmp_path, "switch") for value in values[1:]]
    made = [value for value in later if value is not None]
    assert len(made) > 0
    assert rows[-1]["credit/switch_mean"] == pytest.approx(sum(made) / len(made), abs=1e-5)
    subgoals = [value for values in credit(tmp_path, "subgoal") for value in values]
    assert None in subgoals


def test_the_third_step_that_is_not_finite_stops_imitation_and_keeps_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiper.learn.imitation.cross_entropy", lambda logits, *rest, **more: logits.sum(-1) * math.nan)
    with pytest.raises(DivergedRound, match="not finite in three steps in a row"):
        carry_out(tmp_path, "sft.steps=5")
    assert [row["learn/skipped"] for row in metrics(tmp_path)] == [1.0, 1.0, 1.0]
    assert len(list(read_trajectories(tmp_path / "trajectories" / "diverged-sft-000003.jsonl.zst"))) == 4


class Flaky(AlfworldEnv):
    """Fails where `fails(game, attempt, steps)` says so; step 0 is the reset."""

    fails: ClassVar[Any]
    attempts: ClassVar[dict[str, int]]

    def reset(self, **more: Any) -> Any:
        self.game, self.count = more["options"]["game"], 0
        self.attempts[self.game] = self.attempts.get(self.game, 0) + 1
        self.maybe_fail()
        return super().reset(**more)

    def step(self, action: str) -> Any:
        self.count += 1
        self.maybe_fail()
        return super().step(action)

    def maybe_fail(self) -> None:
        if type(self).fails(self.game, self.attempts[self.game], self.count):
            raise RuntimeError("the engine fell over")


@pytest.fixture
def flaky(tmp_path: Path) -> Iterator[type[Flaky]]:
    class Mine(Flaky):
        attempts: ClassVar[dict[str, int]] = {}

    hiper.register("flaky", lambda data=None, split="train", **more: Mine(few(split=split).games, split, **more))
    return Mine


def test_an_environment_that_fails_in_the_middle_of_episodes(tmp_path: Path, flaky: type[Flaky]) -> None:
    flaky.fails = staticmethod(lambda game, attempt, steps: attempt == 1 and steps == 2)
    carry_out(tmp_path / "calm", *SHORT)
    carry_out(tmp_path / "flaky", *SHORT, "env.name=flaky", 'eval.splits=["valid_seen"]')
    first = read_jsonl(tmp_path / "flaky" / "evals.jsonl")[0]
    assert first["crashes"] > 0 == first["crashed"]  # none ended in it
    calm, shaken = metrics(tmp_path / "calm"), metrics(tmp_path / "flaky")
    assert sum(row.pop("rollout/crashes") for row in calm) == 0
    assert sum(row.pop("rollout/crashes") for row in shaken) >= 4
    for one, other in zip(calm, shaken, strict=True):  # each was played again, whole; rounding depends on company
        assert other == {key: pytest.approx(v, rel=1e-3, abs=1e-5) if key != "stage" else v for key, v in one.items()}


def test_a_game_that_always_fails_is_counted_and_the_others_train(tmp_path: Path, flaky: type[Flaky]) -> None:
    bad: dict[str, None] = {}

    def fails(game: str, attempt: int, steps: int) -> bool:
        if not bad:
            bad[game] = None
        return game in bad

    flaky.fails = staticmethod(fails)
    carry_out(tmp_path, "sft.steps=1", "train.steps=1", "train.episodes=50", "train.max_turns=2", "env.name=flaky")
    imitation, row = metrics(tmp_path)
    assert imitation["rollout/crashes"] == 4  # once, and three more times
    assert imitation["learn/skipped"] == 0.0
    assert (row["rollout/episodes"], row["rollout/ending/crashed"], row["rollout/crashes"]) == (50, 1 / 50, 4)
    assert row["total/episodes"] == 50  # a budget is spent on it, too


def test_an_environment_that_never_works_stops_the_run(
    tmp_path: Path, flaky: type[Flaky], capsys: pytest.CaptureFixture[str]
) -> None:
    for stage, steps in (("the expert was to play", 1), ("of step 1", 0)):
        flaky.fails = staticmethod(lambda *_: True)
        file = config_file(tmp_path, "env.name=flaky", f"sft.steps={steps}")
        assert main(["train", str(file), "--out", str(tmp_path / f"run{steps}")]) == 1
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("hiper: the environment 'flaky' failed in every episode")
        assert said.endswith(stage)


def test_a_split_that_is_not_there_is_known_before_anything_is_done(tmp_path: Path) -> None:
    for override in ("eval.splits=['valid_unsene']", "env.train_split=trian"):
        with pytest.raises(ValueError, match=r"unknown split .* did you mean"):
            carry_out(tmp_path, override)
        assert not (tmp_path / "metrics.jsonl").exists()
    carry_out(tmp_path, *SHORT)  # the same folder will do once that is put right


@pytest.mark.parametrize("option", ["sise=small", "size=huge", "chain=99"])
def test_options_that_the_environment_does_not_know(option: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"environment 'alfworld' \(see env.name, env.options\) cannot be made"):
        carry_out(tmp_path, "env.name=alfworld", f"env.options.{option}")


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one here")
    with pytest.raises(ConfigError, match=r"model\.device 'cuda'"):
        carry_out(tmp_path, "model.device=cuda")


def test_a_fresh_model_has_the_precision_in_which_it_is_taken_up_again() -> None:
    config = tiny("model.path=", "model.dtype=bfloat16")
    world = World(config.env)
    policy = build_policy(config, world)
    assert {weight.dtype for weight in policy.lm.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in policy.heads.parameters()} == {torch.float32}
    world.close()


def test_an_unknown_preset_is_named_before_a_tokenizer_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "build_tokenizer", None)
    config = tiny("model.path=", "model.preset=small")
    with pytest.raises(ModelError, match="unknown preset 'small'; known: tiny"):
        build_policy(config, World(config.env))


def test_value_heads_of_a_model_that_has_none_are_no_matter_of_chance(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model(), bare)
    (bare / "value_heads.safetensors").unlink()
    for chance in (1, 2):
        torch.manual_seed(chance)
        carry_out(tmp_path / str(chance), *SHORT, f"model.path={bare}")
    assert metrics(tmp_path / "1") == metrics(tmp_path / "2")
