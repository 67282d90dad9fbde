"""What a run leaves behind, and what happens when some of it is damaged, in use, or of another run."""

import fcntl
import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hiper.cli import main
from hiper.models import ModelError
from hiper.records import read_jsonl, read_trajectories
from hiper.runs.checkpoint import CheckpointError, Progress, load_policy, resolve_model, trained_with
from hiper.runs.config import ConfigError, load_config, make_config
from hiper.runs.folder import RunFolder, _git_commit
from hiper.runs.setup import build_policy
from hiper.runs.worker import give_away
from hiper.runs.world import World
from tests.runs.tiny import carry_out, config_file, contents, metrics, saved, tiny

CHECKPOINT = {
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "optimizer.safetensors",
    "run_config.json",
    "sha256.json",
    "state.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "value_heads.safetensors",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is done."""
    out = tmp_path_factory.mktemp("finished") / "run"
    carry_out(out)
    return out


@pytest.fixture
def unfinished(finished: Path, tmp_path: Path) -> Path:
    """The same with its last step to do again."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "checkpoints" / "step-000003")
    return out


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *overrides: str) -> str:
    """What `hiper train` says when it goes no further: one line."""
    file = config_file(folder.parent)
    assert main(["train", str(file), "--out", str(folder), *overrides]) == 1
    first, *rest = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hiper: ")]
    assert not rest
    return first


def test_a_checkpoint_holds_safetensors_and_json_only(finished: Path) -> None:
    folder = finished / "checkpoints" / "step-000003"
    assert {file.suffix for file in folder.iterdir()} == {".json", ".safetensors"}
    assert make_config(trained_with(folder) or {}) == tiny()
    (bare := finished.parent / "bare").mkdir()
    assert trained_with(bare) is None
    (bare / "run_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"run_config\.json is damaged"):
        trained_with(bare)


def test_metrics_are_strict_json(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, tiny())
    with folder.locked():
        folder.log("train", {"step": 1, "learn/loss": math.nan, "learn/kl": -math.inf, "total/turns": 3.5})
    (line,) = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "stage": "train", "step": 1, "learn/loss": None, "learn/kl": None, "total/turns": 3.5,
    }  # fmt: skip


def test_the_commit_is_that_of_the_code_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = _git_commit()
    monkeypatch.chdir(tmp_path)
    assert _git_commit() == here
    installed = tmp_path / "site-packages" / "folder.py"  # in a checkout of something else, which does not hold it
    installed.parent.mkdir()
    installed.touch()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr("hiper.runs.folder.__file__", str(installed))
    assert _git_commit() is None


def test_sessions_of_which_nothing_is_left_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, tiny())
    places = [("sft", 0), ("sft", 40), ("train", 0), ("train", 30), ("train", 0), ("train", 20)]
    for number, (stage, step) in enumerate(places):
        folder.note_session({"data_sha256": str(number)}, Progress(stage=stage, step=step))
    told = json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))
    assert told["data_sha256"] == "0"
    assert [one["data_sha256"] for one in told["sessions"]] == ["0", "1", "4", "5"]
    folder.note_session({"data_sha256": "6"}, Progress(stage="sft", step=0))
    told = json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))
    assert [told["data_sha256"], *(one["data_sha256"] for one in told["sessions"])] == ["6", "6"]


def assert_same_end(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    last = Path("checkpoints") / "step-000003"
    assert contents(one / last) == contents(other / last)


def test_what_lies_in_a_run_folder(finished: Path) -> None:
    assert load_config(finished / "config.toml") == tiny()
    rows = read_jsonl(finished / "metrics.jsonl")
    assert [(row["stage"], row["step"]) for row in rows] == [(s, n) for s in ("sft", "train") for n in (1, 2, 3)]
    assert saved(finished) == ["sft-000002", "sft-000003", "step-000002", "step-000003"]
    for name in saved(finished):
        assert {path.name for path in (finished / "checkpoints" / name).iterdir()} == CHECKPOINT
    assert any((finished / "tensorboard").iterdir())
    environment = json.loads((finished / "environment.json").read_text(encoding="utf-8"))
    assert environment["env_version"].startswith("alfworld-0.4.2/native/generated-1")
    assert len(environment["data_sha256"]) == 64
    assert {"torch", "transformers", "hiper"} <= set(environment["packages"])
    assert {"git_commit", "command", "python", "cpus", "processor", "started"} <= set(environment)
    (session,) = environment["sessions"]
    assert session["since"] == ["sft", 0]
    assert {"code_sha256", "git_commit", "processor", "packages", "data_sha256", "started"} <= session.keys()
    assert not list(finished.rglob("*.partial"))


def test_sampled_episodes_lie_beside_their_credit(finished: Path) -> None:
    files = sorted(path.name for path in (finished / "trajectories").iterdir())
    steps = ["step-000001", "step-000002"]  # the first, and every second
    assert files == [f"{step}{end}" for step in steps for end in (".credit.jsonl", ".jsonl.zst")]
    for step in steps:
        episodes = list(read_trajectories(finished / "trajectories" / f"{step}.jsonl.zst"))
        credit = read_jsonl(finished / "trajectories" / f"{step}.credit.jsonl")
        assert len(episodes) == len(credit) == 2
        for index, (episode, row) in enumerate(zip(episodes, credit, strict=True)):
            assert row["index"] == index
            for column in ("switch", "subgoal", "action", "U", "V_high", "V_low"):
                assert len(row[column]) == len(episode.turns)  # type: ignore[arg-type]


def test_a_finished_run_is_left_alone(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    run = carry_out(out)
    assert "train 3/3" in run.watcher.said  # type: ignore[attr-defined]
    assert (out / "metrics.jsonl").read_bytes() == (finished / "metrics.jsonl").read_bytes()
    assert_same_end(out, finished)


def test_imitation_first_and_the_rest_later(finished: Path, tmp_path: Path) -> None:
    carry_out(tmp_path / "run", only_imitation=True)
    assert saved(tmp_path / "run") == ["sft-000002", "sft-000003"]
    carry_out(tmp_path / "run")
    assert_same_end(tmp_path / "run", finished)


def test_a_run_whose_weights_were_given_away_keeps_its_numbers(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    give_away(out)
    assert "holds a run that is over and keeps no weights" in refused(capsys, out)
    assert metrics(out) == metrics(finished)


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    for checkpoint in (out / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    assert "the checkpoints of this run are gone" in refused(capsys, out)
    assert metrics(out) == metrics(finished)
    with pytest.raises(ModelError, match="a run without a checkpoint"):
        resolve_model(str(out))


def test_the_model_that_training_began_with_must_be_there(tmp_path: Path) -> None:
    """The KL term is measured from it."""
    settings = ("train.kl_coef=0.1", "train.steps=2", "checkpoint_every=1")
    carry_out(tmp_path, *settings)
    for gone in ("sft-000003", "step-000002"):
        shutil.rmtree(tmp_path / "checkpoints" / gone)
    with pytest.raises(CheckpointError, match=r"sft-000003, the model that training began with, is gone"):
        carry_out(tmp_path, *settings)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("environment.json", b'{"env', "environment.json is damaged"),
        ("metrics.jsonl", b'{"step": 1}\n', "metrics.jsonl: a row without stage and step; remove that line to go on"),
        ("metrics.jsonl", b'{"stage": "sft"}\n\xff\xfe', "metrics.jsonl: not text from byte 17 on"),
    ],
)
def test_damaged_logs_are_named(
    name: str, damage: bytes, said: str, unfinished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (unfinished / name).write_bytes(damage)
    assert said in refused(capsys, unfinished)


def test_training_begins_from_a_run_as_it_stands(finished: Path, tmp_path: Path) -> None:
    """`model.path` takes a run folder, as `hiper eval` does."""
    config = tiny(f"model.path={finished}")
    world = World(config.env)
    begun = build_policy(config, world).state_dict()
    last = load_policy(finished / "checkpoints" / "step-000003").state_dict()
    assert all(torch.equal(begun[name], last[name]) for name in last)
    world.close()


def test_settings_of_a_run_that_this_version_does_not_know_are_named_with_their_file(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    file = out / "config.toml"
    file.write_text("of_old = 1\n" + file.read_text(encoding="utf-8"), encoding="utf-8")
    said = refused(capsys, out)
    assert f"{file}, which the run was begun with: unknown key 'of_old'" in said


def test_old_checkpoints_go(tmp_path: Path) -> None:
    carry_out(tmp_path / "run", "checkpoint_every=1", "keep=1", only_imitation=True)
    assert saved(tmp_path / "run") == ["sft-000003"]


@pytest.mark.parametrize("name", sorted(CHECKPOINT - {"sha256.json"}))
def test_a_damaged_file_is_named_and_nothing_is_lost(
    unfinished: Path, finished: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = unfinished / "checkpoints" / "step-000002" / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    before = {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    said = refused(capsys, unfinished)
    assert f"step-000002: {name} is corrupt (its hash differs); remove or move this checkpoint" in said
    assert before == {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["sha256.json", "model.safetensors"])
def test_a_missing_file_is_named(unfinished: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (unfinished / "checkpoints" / "step-000002" / name).unlink()
    assert f"step-000002: {name} is missing" in refused(capsys, unfinished)


def test_without_the_damaged_checkpoint_the_run_goes_on_from_the_one_before(unfinished: Path, finished: Path) -> None:
    shutil.rmtree(unfinished / "checkpoints" / "step-000002")
    run = carry_out(unfinished)
    assert any(text.endswith("sft-000003") for text in run.watcher.said)  # type: ignore[attr-defined]
    assert_same_end(unfinished, finished)


def test_samples_of_an_attempt_that_was_given_up_go_with_its_rows(unfinished: Path) -> None:
    samples = unfinished / "trajectories"
    shutil.copy(samples / "step-000001.jsonl.zst", samples / "diverged-000004.jsonl.zst")
    for step in (2, 1):  # training begins anew, with other settings
        shutil.rmtree(unfinished / "checkpoints" / f"step-{step:06d}", ignore_errors=True)
    carry_out(unfinished, "train.steps=1", "train.optim.lr=1e-4")
    assert sorted(file.name for file in samples.iterdir()) == [
        "diverged-000004.jsonl.zst", "step-000001.credit.jsonl", "step-000001.jsonl.zst",
    ]  # fmt: skip


def test_tensorboard_shows_each_step_once(unfinished: Path) -> None:
    shutil.rmtree(unfinished / "checkpoints" / "step-000002")
    carry_out(unfinished)
    events = EventAccumulator(str(unfinished / "tensorboard")).Reload()
    assert [one.step for one in events.Scalars("sft/learn/loss")] == [1, 2, 3]
    assert [one.step for one in events.Scalars("train/rollout/success")] == [1, 2, 3]


def test_a_torn_last_row_and_half_a_checkpoint_are_overlooked(unfinished: Path, finished: Path) -> None:
    with (unfinished / "metrics.jsonl").open("a", encoding="utf-8") as out:
        out.write('{"stage": "train", "st')
    (unfinished / "evals.jsonl").write_text('{"sta', encoding="utf-8")
    partial = unfinished / "checkpoints" / "step-000009.partial"
    shutil.copytree(finished / "checkpoints" / "step-000003", partial)
    (partial / "model.safetensors").write_bytes(b"half")
    carry_out(unfinished)
    assert_same_end(unfinished, finished)
    assert (unfinished / "evals.jsonl").read_bytes() == b""
    assert saved(unfinished) == saved(finished)


def test_a_damaged_row_in_the_middle_is_named(unfinished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = unfinished / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(["{oops\n", *lines]), encoding="utf-8")
    assert "metrics.jsonl, line 1: not JSON" in refused(capsys, unfinished)


def test_a_folder_in_use_is_refused_and_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    carry_out(out, only_imitation=True)
    before = (out / "config.toml").read_bytes()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another program is writing to this run" in refused(capsys, out, "train.steps=1")
    assert (out / "config.toml").read_bytes() == before


def test_settings_of_training_may_change_until_it_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    carry_out(out, only_imitation=True)
    for change in ("seed=4", "agent.layout=window", "sft.steps=4", "sampling.temperature=0.5", "env.max_turns=9"):
        said = refused(capsys, out, change)
        assert f"holds a run with other settings ({change.split('=')[0]}); choose another --out" in said
    changes = ("train.steps=2", "train.optim.lr=1e-3", "credit.gamma=0.9", "eval.temperature=1.0")
    carry_out(out, *changes)
    assert load_config(out / "config.toml") == tiny(*changes)
    with pytest.raises(ConfigError, match=r"\(credit.gamma, train.steps, train.optim.lr, eval.temperature\);"):
        carry_out(out)
    assert load_config(out / "config.toml") == tiny(*changes)
