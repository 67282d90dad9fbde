"""Building, saving and loading policies, and what is said of folders that hold none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hiper.models import HEADS, ModelError, Policy, describe, pack, preset, train_tokenizer
from hiper.models.policy import HEADS_FILE
from tests.models.small import CONFIGS, TEXTS, config, random_documents, tiny, tokenizer

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "model"
    tiny().save(folder)
    return folder


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    """A saved model to do damage to."""
    return Path(shutil.copytree(source, tmp_path / "model"))


def outputs(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        hidden = policy.hidden(*pack(random_documents([6, 3]), policy.device))
        return policy.logits(hidden), policy.values(hidden[:6], torch.tensor([0, 1, 2, 2, 1, 0]), torch.arange(6))


@pytest.mark.parametrize("kind", CONFIGS)
def test_saved_and_loaded_is_bitwise_the_same(kind: str, tmp_path: Path) -> None:
    policy = tiny(kind)
    policy.save(tmp_path / "model")
    again = Policy.load(tmp_path / "model")
    there, back = policy.state_dict(), again.state_dict()
    assert there.keys() == back.keys()
    assert all(torch.equal(there[name], back[name]) for name in there)
    assert all(torch.equal(a, b) for a, b in zip(outputs(policy), outputs(again), strict=True))
    assert describe(again) == describe(policy)


def test_a_saved_model_is_an_ordinary_folder(source: Path) -> None:
    """No word of ours in the model's own configuration; only safetensors and JSON."""
    assert {file.suffix for file in source.iterdir()} == {".safetensors", ".json"}
    settings = json.loads((source / "config.json").read_text("utf-8"))
    assert settings["model_type"] == "qwen2"
    assert "hiper" not in json.dumps(settings)


def test_loading_leaves_the_random_state_alone_and_ignores_it(source: Path, folder: Path) -> None:
    (folder / HEADS_FILE).unlink()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = Policy.load(folder)
    built = Policy.build(config(), tokenizer(), seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    for a, b in ((first, Policy.load(folder)), (built, Policy.build(config(), tokenizer(), seed=5))):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_fresh_value_heads_say_0(folder: Path) -> None:
    (folder / HEADS_FILE).unlink()
    assert outputs(Policy.load(folder))[1].tolist() == [0.0] * 6
    assert outputs(Policy.build(config(), tokenizer(), seed=0))[1].tolist() == [0.0] * 6


def test_each_value_is_read_by_the_head_that_is_asked() -> None:
    policy = tiny()
    states = torch.randn(4, 48, generator=torch.Generator().manual_seed(3))
    turns = torch.zeros(4)
    by_head = [policy.values(states, torch.full((4,), head), turns).detach() for head in range(len(HEADS))]
    mixed = policy.values(states, torch.tensor([2, 0, 1, 2]), turns).detach()
    torch.testing.assert_close(mixed, torch.stack([by_head[2][0], by_head[0][1], by_head[1][2], by_head[2][3]]))
    assert len({round(float(values[0]), 4) for values in by_head}) == 3


def test_values_are_told_the_turn() -> None:
    policy = tiny()
    states, head = torch.randn(48, generator=torch.Generator().manual_seed(3)).expand(60, 48), torch.zeros(60).long()
    values = policy.values(states, head, torch.arange(60)).detach()
    assert len({round(float(value), 6) for value in values}) == 60
    policy.heads.turn.data.zero_()
    assert len(set(policy.values(states, head, torch.arange(60)).tolist())) == 1


def test_heads_that_were_not_told_the_turn_are_read(folder: Path) -> None:
    """Of models that were saved before."""
    old = load_file(folder / HEADS_FILE)
    del old["turn"]
    save_file(old, folder / HEADS_FILE)
    policy = Policy.load(folder)
    assert not policy.heads.turn.any()
    assert torch.equal(policy.heads.out, old["out"])


def test_seeds_differ() -> None:
    one, other = (Policy.build(config(), tokenizer(), seed=seed) for seed in (0, 1))
    assert not torch.equal(outputs(one)[0], outputs(other)[0])


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere: no such model folder"):
        Policy.load(tmp_path / "nowhere")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tokenizer"):
        Policy.load(tmp_path)


def test_a_folder_without_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        Policy.load(folder)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="no causal language model could be loaded"):
        Policy.load(folder)


@pytest.mark.parametrize("file", [WEIGHTS, HEADS_FILE, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["garbage", "cut in half", "empty"])
def test_a_damaged_file(folder: Path, file: str, damage: str) -> None:
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(
        {"garbage": b"\xff" * 999, "cut in half": whole[: len(whole) // 2], "empty": b""}[damage]
    )
    with pytest.raises(ModelError, match="model"):
        Policy.load(folder)


def test_weights_that_are_not_all_there(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack model\.layers\.0\.mlp\.up_proj\.weight"):
        Policy.load(folder)


def test_weights_of_another_shape(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["model.layers.0.mlp.up_proj.weight"] = torch.zeros(3, 48)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="could be loaded"):
        Policy.load(folder)


def test_value_heads_of_another_model(folder: Path) -> None:
    save_file({"out": torch.zeros(3, 7)}, folder / HEADS_FILE)
    with pytest.raises(ModelError, match="no value heads for this model"):
        Policy.load(folder)


def test_a_tokenizer_larger_than_the_embedding(folder: Path) -> None:
    large = train_tokenizer(TEXTS, size=320, tags=[f"<tag{n}>" for n in range(50)])
    large.fast.save_pretrained(folder)
    with pytest.raises(ModelError, match="tokenizer has 370 entries"):
        Policy.load(folder)
    with pytest.raises(ModelError, match="tokenizer has 370 entries"):
        Policy.build(config(), large, seed=0)


def test_presets() -> None:
    with pytest.raises(ModelError, match="unknown preset 'small'; known: tiny"):
        preset("small", vocabulary=300, context=64, end_id=0)
    settings = preset("tiny-0.4m", vocabulary=301, context=64, end_id=0)
    assert settings["vocab_size"] == 304  # the next multiple of 16
    policy = Policy.build(settings, train_tokenizer(TEXTS, size=290), seed=0)
    millions = sum(p.numel() for p in policy.lm.parameters()) / 1e6
    assert describe(policy) == f"{millions:.2f}M parameters (qwen2), {len(policy.tokenizer)} tokens, context 64"
