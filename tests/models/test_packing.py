"""Packed rows: many documents in one forward pass are read as if each were alone."""

import math
from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hiper.models import ModelError, Policy, pack
from hiper.models.attention import Chunk, Documents, SlotCache, Slots
from tests.models.small import CONFIGS, config, random_documents, tiny, tokenizer

LENGTHS = [5, 1, 17, 9, 2]


def packed(policy: Policy, documents: list[tuple[int, ...]]) -> Tensor:
    return policy.hidden(*pack(documents, policy.device))


def plain(policy: Policy) -> torch.nn.Module:
    """The language model as transformers runs it, with its own attention and nothing of ours."""
    lm = deepcopy(policy.lm)
    lm.set_attn_implementation("eager")
    return lm


def gradients(policy: Policy, loss: Tensor) -> Iterator[tuple[str, Tensor]]:
    policy.zero_grad(set_to_none=True)
    loss.backward()
    for name, parameter in policy.lm.named_parameters():
        yield name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()


def weighted(states: Tensor) -> Tensor:
    """Some number that depends on every state differently."""
    weight = torch.randn(states.shape, generator=torch.Generator().manual_seed(7))
    return (states * weight).sum()


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_are_those_of_the_plain_model_for_each_document_alone(kind: str) -> None:
    policy, documents = tiny(kind), random_documents(LENGTHS)
    lm = plain(policy)
    with torch.no_grad():
        ours = policy.logits(packed(policy, documents)).split(LENGTHS)
        for document, scores in zip(documents, ours, strict=True):
            alone = lm(input_ids=torch.tensor([document])).logits[0, :, : len(tokenizer())]
            torch.testing.assert_close(scores, alone, rtol=1e-5, atol=2e-5)


@settings(max_examples=15)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_states_of_a_document_do_not_depend_on_its_neighbours(lengths: list[int], seed: int) -> None:
    policy, documents = tiny(), random_documents(lengths, seed)
    with torch.no_grad():
        together = packed(policy, documents).split(lengths)
        for document, states in zip(documents, together, strict=True):
            torch.testing.assert_close(states, packed(policy, [document]), rtol=1e-5, atol=1e-5)


def test_gradient_of_a_packed_row_is_the_sum_of_its_documents() -> None:
    policy, documents = tiny(), random_documents(LENGTHS)
    weight = torch.randn(sum(LENGTHS), 48, generator=torch.Generator().manual_seed(1)).split(LENGTHS)
    together = dict(gradients(policy, (packed(policy, documents) * torch.cat(weight)).sum()))
    alone = [
        dict(gradients(policy, (packed(policy, [document]) * w).sum()))
        for document, w in zip(documents, weight, strict=True)
    ]
    for name, gradient in together.items():
        total = torch.stack([one[name] for one in alone]).sum(0)
        assert (gradient - total).abs().max() <= 1e-5 * total.abs().max() + 1e-7, name


def test_a_document_sends_no_gradient_into_its_neighbours() -> None:
    policy, documents = tiny(), random_documents([4, 6, 3])
    ids, position, packing = pack(documents, policy.device)
    embedded = policy.lm.get_input_embeddings()(ids).detach().requires_grad_()
    out = policy.lm.get_decoder()(
        inputs_embeds=embedded[None], position_ids=position[None], use_cache=False, packing=packing
    )
    weighted(out.last_hidden_state[0, 4:10]).backward()
    assert embedded.grad is not None
    touched = embedded.grad.abs().sum(-1) > 0
    assert touched.tolist() == [False] * 4 + [True] * 6 + [False] * 3


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_padded_path_equals_loop_path(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU documents are padded to the longest; on the CPU that code must give the same states and gradients."""
    policy, documents = tiny(kind), random_documents(LENGTHS)
    states = packed(policy, documents)
    wanted = dict(gradients(policy, weighted(states)))

    def padded(self: Documents, q: Tensor, k: Tensor, v: Tensor, scale: float, layer: int) -> Tensor:
        return self._padded(q, k, v, scale)

    monkeypatch.setattr(Documents, "attend", padded)
    torch.testing.assert_close(packed(policy, documents), states, rtol=1e-5, atol=1e-5)
    for name, gradient in gradients(policy, weighted(packed(policy, documents))):
        assert (gradient - wanted[name]).abs().max() <= 1e-5 * wanted[name].abs().max() + 1e-7, name


def test_layout_of_a_packed_row() -> None:
    ids, position, packing = pack([(7, 8, 9), (4,), (5, 6)], torch.device("cpu"))
    assert ids.tolist() == [7, 8, 9, 4, 5, 6]
    assert position.tolist() == [0, 1, 2, 0, 0, 1]
    assert packing.starts == (0, 3, 4, 6)
    assert packing.length == 3


def test_there_is_no_dropout() -> None:
    """GPT-2 drops a tenth of its states while it trains, unless told not to; sampler and learner would disagree."""
    policy, documents = tiny("gpt2"), random_documents([8])
    assert torch.equal(packed(policy, documents), packed(policy, documents))


def test_heads_stay_fine_on_a_coarse_trunk() -> None:
    policy = tiny()
    policy.lm.to(torch.bfloat16)
    states = packed(policy, random_documents([6]))
    assert states.dtype is torch.bfloat16
    assert policy.values(states[:3], torch.tensor([0, 1, 2]), torch.arange(3)).dtype is torch.float32
    assert policy.logits(states).dtype is torch.float32


def test_double_precision_goes_all_the_way() -> None:
    policy = tiny("gpt_neox").double()
    states = packed(policy, random_documents([6]))
    assert policy.values(states[:3], torch.tensor([0, 1, 2]), torch.arange(3)).dtype is torch.float64
    assert policy.logits(states).dtype is torch.float64


REFUSED = {
    "no attention interface": {"model_type": "bloom", "num_attention_heads": 4},
    "no attention at all": {"model_type": "mamba"},
    "not even built": {"model_type": "gptj", "rotary_dim": 4},
    "scores scaled after the embedding": {"model_type": "cohere", "num_key_value_heads": 2},
    "capped attention scores": {"model_type": "gemma2", "num_key_value_heads": 2, "head_dim": 12},
    "attention sinks": {"model_type": "gpt_oss", "num_key_value_heads": 2, "head_dim": 12, "num_local_experts": 2},
    "no causal language model": {"model_type": "t5"},
    "no such architecture": {"model_type": "nonesuch"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_architectures_that_packing_would_change_are_refused(name: str) -> None:
    """Nothing would fail: sampler and learner would agree with each other, and both be wrong."""
    with pytest.raises(ModelError, match=r"model_type|attention uses"):
        Policy.build({**config(), **REFUSED[name]}, tokenizer(), seed=0)


def test_contexts_longer_than_a_sliding_window_are_refused() -> None:
    policy = tiny("mistral", sliding_window=12)
    assert policy.max_length == 12
    assert tiny("mistral", sliding_window=None).max_length == 512
    packed(policy, random_documents([12, 12]))
    with pytest.raises(ModelError, match="last 12 tokens"):
        packed(policy, random_documents([3, 13]))


def test_a_model_called_around_the_policy_says_so() -> None:
    with pytest.raises(RuntimeError, match="through hiper's Policy"):
        tiny().lm(input_ids=torch.tensor([[1, 2, 3]]))


@given(
    sizes=st.lists(st.tuples(st.integers(2, 9), st.integers(0, 12)), min_size=1, max_size=5),
    groups=st.sampled_from([1, 2, 4]),
)
def test_chunks_one_by_one_are_chunks_padded(sizes: list[tuple[int, int]], groups: int) -> None:
    """The way of the CPU against that of the GPU, whose mask is written out."""
    cache = SlotCache(slots=8, dtype=torch.float64, device=torch.device("cpu"))
    cache.reserve(24)
    noise = torch.Generator().manual_seed(len(sizes))
    for store in (cache.keys, cache.values):
        store.append(torch.randn(8, groups, 24, 3, dtype=torch.float64, generator=noise))
    chunks, owner, place = [], [5], [7]  # a single token comes first
    for slot, (size, past) in enumerate(sizes):
        chunks.append(Chunk(start=len(owner), stop=len(owner) + size, slot=slot, place=past))
        owner += [slot] * size
        place += range(past, past + size)
    slots = Slots(cache, torch.tensor(owner), torch.tensor(place), 1, tuple(chunks), 24)
    q = torch.randn(4, len(owner) - 1, 3, dtype=torch.float64, generator=noise)
    torch.testing.assert_close(slots._chunks(q, 0.5, 0), slots._padded(q, 0.5, 0))


@pytest.mark.parametrize("places", [[3], [0, 5, 2], [7, 1, 0, 6, 4, 2]])
@pytest.mark.parametrize("groups", [1, 2])
def test_single_tokens_slot_by_slot_are_those_of_a_padded_batch(
    places: list[int], groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    count, of_slot = len(places), [5, 1, 4, 0, 3, 2][: len(places)]
    cache = SlotCache(slots=6, dtype=torch.float32, device=torch.device("cpu"))
    cache.reserve(10)
    slot, place = torch.tensor(of_slot), torch.tensor(places)
    for store in (cache.keys, cache.values):
        store.append(torch.randn(6, groups, cache.places, 8))
    q = torch.randn(4, count, 8)
    seen = []
    for threshold in (-math.inf, math.inf):
        monkeypatch.setattr("hiper.models.attention._WORTH_A_LOOP", threshold)
        slots = Slots(cache, slot, place, count, (), max(places) + 1)
        seen.append(slots._singles(q, 0.5, 0))
    torch.testing.assert_close(*seen)
