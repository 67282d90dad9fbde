"""Bad input: one clear line that says what to do, a non-zero exit code, and nothing lost."""

import lzma
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.envs.official_files import game_file, write_pack, write_tree
from tests.runs.tiny import carry_out, config_file, tiny_model

Refused = Callable[..., str]
GAMES = {f"{split}/task/trial_{i}": game_file() for split in ("train", "valid_seen", "valid_unseen") for i in range(2)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(config_file(tmp_path))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the tiny model, to be damaged."""
    return Path(shutil.copytree(tiny_model(), tmp_path / "model"))


# Configuration


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.stepz=1", "unknown key 'train.stepz'; did you mean 'train.steps'?"),
        ("env.max_turns=0", "env.max_turns: Input should be greater than or equal to 1 (got 0)"),
        ("train.max_turns=-1", "train.max_turns: Input should be greater than or equal to 0 (got -1)"),
        ("sampling.max_reply=0", "sampling.max_reply: Input should be greater than or equal to 1 (got 0)"),
        ("env.name=alfwold", "unknown environment 'alfwold'; known: alfworld, "),
        ("env.data=/no/such/data", "no such file or folder: /no/such/data"),
        ("env.train_split=trian", "valid_seen, valid_unseen; did you mean 'train'?"),
        ("eval.splits=['test']", "unknown split 'test'; known: train, valid_seen, valid_unseen"),
        ("env.options.sise=small", "got an unexpected keyword argument 'sise'"),
        ("model.path=/no/such/model", "/no/such/model: no such model or run folder"),
        (
            "sampling.max_reply=3",
            "even '<switch>SWITCH</switch><subgoal>find mug</subgoal><action>go to desk 1</action>' is",
        ),
        ("model.device=abacus", "model.device 'abacus' cannot be used"),
    ],
)
def test_settings(override: str, said: str, config: str, tmp_path: Path, refused: Refused) -> None:
    out = ["--out", str(tmp_path / "run"), "env.name=alfworld"]
    assert said in refused("train", config, *out, override)
    assert not list(tmp_path.rglob("metrics.jsonl"))


def test_no_configuration(tmp_path: Path, refused: Refused) -> None:
    assert refused("train", str(tmp_path / "no.toml")) == f"{tmp_path}/no.toml: no such configuration file"
    assert "not a TOML file" in refused("sft", str(tmp_path))


def test_an_unknown_preset(config: str, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiper.runs.setup.TOKENIZER_EPISODES", 4)
    said = refused("train", config, "--out", str(tmp_path / "run"), "model.path=", "model.preset=tiny-9m")
    assert said.startswith("unknown preset 'tiny-9m'; known: tiny-0.1m, tiny-0.4m, ")


def test_a_run_folder_that_is_a_file(config: str, refused: Refused) -> None:
    assert "Not a directory" in refused("train", config, "--out", config)


# Data


@pytest.mark.parametrize("command", [["data"], ["eval", "expert", "--data"], ["play", "--data"]], ids=lambda c: c[0])
class TestData:
    def test_missing(self, command: list[str], tmp_path: Path, refused: Refused) -> None:
        assert refused(*command, str(tmp_path / "none")) == f"no such file or folder: {tmp_path}/none"
        assert f"no games in {tmp_path}" in refused(*command, str(tmp_path))

    def test_half_a_pack(self, command: list[str], tmp_path: Path, refused: Refused) -> None:
        pack = write_pack(tmp_path / "games.jsonl.xz", GAMES)
        pack.write_bytes(pack.read_bytes()[:-200])
        assert f"{pack} is damaged or only half downloaded" in refused(*command, str(pack))

    def test_half_a_line(self, command: list[str], tmp_path: Path, refused: Refused) -> None:
        pack = write_pack(tmp_path / "games.jsonl.xz", GAMES)
        pack.write_bytes(lzma.compress(lzma.decompress(pack.read_bytes())[:-500]))
        assert f"{pack} is damaged or only half downloaded" in refused(*command, str(pack))

    def test_half_a_tree(self, command: list[str], tmp_path: Path, refused: Refused) -> None:
        tree = write_tree(tmp_path, GAMES)
        file = tree / "valid_unseen" / "task" / "trial_1" / "game.tw-pddl"
        file.write_text(file.read_text(encoding="utf-8")[:1000], encoding="utf-8")
        assert f"{file} is damaged" in refused(*command, str(tree))
        shutil.rmtree(tree / "valid_unseen")
        assert f"split 'valid_unseen' of {tree} has no games" in refused(*command, str(tree))


def test_webshop_files_that_are_missing(tmp_path: Path, refused: Refused) -> None:
    for command in (["data", "webshop"], ["eval", "expert", "--env", "webshop", "--data"]):
        assert refused(*command, str(tmp_path / "none")).startswith(
            f"{tmp_path}/none is no folder; give the folder that"
        )
        assert f"no items_shuffle*.json and no items_ins_v2*.json in {tmp_path}" in refused(*command, str(tmp_path))
    (tmp_path / "items_shuffle.json").touch()
    said = refused("data", "webshop", str(tmp_path))
    assert said == f"{tmp_path} lacks items_ins_v2*.json (nor has it items_human_ins.json, which may be missing)"
    (tmp_path / "items_ins_v2.json").write_text("{}")
    assert f"{tmp_path}/items_shuffle.json must hold a JSON list" in refused("data", "webshop", str(tmp_path))
    assert "unknown environment 'webshp'" in refused("data", "webshp", str(tmp_path))


@pytest.mark.parametrize("command", [["eval", "expert"], ["play"], ["play", "expert", "--watch"]], ids=" ".join)
def test_unknown_split(command: list[str], refused: Refused) -> None:
    assert refused(*command, "--split", "valid_unsen").endswith("did you mean 'valid_unseen'?")


@pytest.mark.parametrize("command", [["play"], ["play", "expert", "--watch"]], ids=" ".join)
def test_unknown_game(command: list[str], tmp_path: Path, refused: Refused) -> None:
    assert "unknown game 'nosuch'; a name says number" in refused(*command, "--game", "nosuch")
    tree = write_tree(tmp_path, GAMES)
    said = refused(*command, "--data", str(tree), "--split", "train", "--game", "train/task/trial_3")
    assert said.startswith("unknown game 'train/task/trial_3' in split train; did you mean 'train/task/trial_")


# Models


def test_unknown_model(tmp_path: Path, refused: Refused) -> None:
    hub = " (a hub name is ORGANISATION/NAME)"
    assert refused("eval", str(tmp_path / "none")) == f"{tmp_path}/none: no such model or run folder{hub}"
    assert refused("play", "nosuch", "--watch") == f"nosuch: no such model or run folder{hub}"
    assert refused("eval", "src/nosuch") == f"src/nosuch: no such model or run folder{hub}"  # a folder, not a hub name
    assert refused("eval", str(tmp_path)) == f"{tmp_path}: neither a run nor a model lies there (no config.json)"
    assert refused("eval", "nobody/nothing").startswith("nobody/nothing: no tokenizer could be loaded")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tokenizer.json", "tokenizer"),
        ("config.json", "neither a run nor a model lies there"),
        ("model.safetensors", "no causal language model could be loaded"),
    ],
)
def test_a_model_folder_that_lacks_a_file(name: str, said: str, model: Path, refused: Refused) -> None:
    (model / name).unlink()
    if name == "tokenizer.json":
        (model / "tokenizer_config.json").unlink()
    found = refused("eval", str(model), "--env", "few")
    assert found.startswith(f"{model}: ")
    assert said in found


@pytest.mark.parametrize("name", ["model.safetensors", "value_heads.safetensors", "config.json", "tokenizer.json"])
def test_a_model_folder_with_half_a_file(name: str, model: Path, refused: Refused) -> None:
    (model / name).write_bytes((model / name).read_bytes()[:100])
    assert refused("eval", str(model), "--env", "few").startswith(str(model))


def test_a_corrupt_checkpoint(tmp_path: Path, refused: Refused) -> None:
    run = tmp_path / "run"
    carry_out(run, "sft.steps=1", only_imitation=True)
    file = run / "checkpoints" / "sft-000001" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    for command in (["eval", str(run)], ["eval", str(file.parent)], ["play", "--watch", str(run)]):
        assert f"{file.parent}: model.safetensors is corrupt (its hash differs)" in refused(*command, "--env", "few")


def test_a_prompt_longer_than_the_context(config: str, tmp_path: Path, model: Path, refused: Refused) -> None:
    text = (model / "config.json").read_text(encoding="utf-8")
    small = text.replace('"max_position_embeddings": 1024', '"max_position_embeddings": 20')
    (model / "config.json").write_text(small, encoding="utf-8")
    said = refused("eval", str(model), "--env", "few")
    assert said.startswith("'generated/valid_seen/")
    assert said.endswith("the first prompt is longer than the model's context")
    train = ("train", config, "--out", str(tmp_path / "run"), f"model.path={model}")
    assert refused(*train) == "no reply of any demonstration fits into the model's context of 20 tokens"
    assert refused(*train, "sft.steps=0").endswith("the first prompt is longer than the model's context")


def test_a_drill_is_no_demonstration(config: str, tmp_path: Path, model: Path, refused: Refused) -> None:
    text = (model / "config.json").read_text(encoding="utf-8")
    small = text.replace('"max_position_embeddings": 1024', '"max_position_embeddings": 40')
    (model / "config.json").write_text(small, encoding="utf-8")
    train = ("train", config, "--out", str(tmp_path / "run"), f"model.path={model}", "sft.drills=40")
    assert refused(*train) == "no reply of any demonstration fits into the model's context of 40 tokens"


def test_an_interface_that_the_model_was_not_made_for_is_no_error(refused: Refused) -> None:
    assert "agent.interface" in refused("eval", "expert", "agent.interface=chat")
    assert "seed is that of training and has no part here: give --seed" in refused("eval", "expert", "seed=3")
    assert "override 'steps': expected key=value" in refused("eval", "expert", "steps")


# Servers


def test_a_server_that_is_not_there(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hiper.models.openai.RETRY_WAITS", (0.0,))
    server = ("eval", "openai:any", "--env", "few", "--base-url")
    said = refused(*server, "http://127.0.0.1:9/v1")
    assert said.startswith("http://127.0.0.1:9/v1/chat/completions: cannot be reached (")
    assert said.endswith("is the server running?")
    assert "expected something like http://localhost:8000/v1" in refused(*server, "localhost:8000")


# Results


@pytest.mark.parametrize("option", ["--json", "--save"])
def test_a_result_that_cannot_be_written_is_known_before_the_work(option: str, config: str, refused: Refused) -> None:
    for target in (f"{config}/result.jsonl", str(Path(config).parent)):
        assert refused("eval", "nosuch", option, target) == f"{target}: cannot be written to"


def test_reports_on_what_is_no_run(tmp_path: Path, refused: Refused) -> None:
    assert f"{tmp_path}/none: no such folder" in refused("report", str(tmp_path / "none"))
    assert "not the folder of a run" in refused("report", str(tmp_path))
