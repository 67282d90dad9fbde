"""Fresh presets, and where they begin."""

import math
from typing import Any, cast

import pytest
import torch
from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

from hiper.models import PRESETS, Policy, begin_copying, preset
from tests.models.small import tokenizer


def fresh(name: str, *, copying: bool, seed: int = 1) -> Policy:
    policy = Policy.build(preset(name, vocabulary=len(tokenizer()), context=256, end_id=0), tokenizer(), seed=seed)
    if copying:
        begin_copying(policy, seed=seed)
    return policy


def attention_by_distance(policy: Policy, head: int, length: int = 60) -> torch.Tensor:
    """Where a head of the first layer looks from the last of `length` tokens, by its biases alone: (length,)."""
    lm = cast(Any, policy.lm)
    config, attention = lm.config, lm.model.layers[0].self_attn
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = config.hidden_size // heads
    q = attention.q_proj.bias.detach().view(1, heads, 1, size).expand(1, heads, length, size)
    k = attention.k_proj.bias.detach().view(1, groups, 1, size).expand(1, groups, length, size)
    q, k = apply_rotary_pos_emb(q, k, *lm.model.rotary_emb(q, torch.arange(length)[None]))
    scores = q[0, head, -1] @ k[0, head * groups // heads].T / math.sqrt(size)
    return torch.softmax(scores, 0).flip(0)


@pytest.mark.parametrize("name", PRESETS)
def test_two_heads_begin_by_looking_one_and_two_tokens_back(name: str) -> None:
    policy = fresh(name, copying=True)
    for head, distance in enumerate((1, 2)):
        assert attention_by_distance(policy, head)[distance] > 0.8


def test_the_others_and_a_plain_start_look_everywhere() -> None:
    plain = fresh("tiny-1m", copying=False)
    assert attention_by_distance(plain, 0).max() < 0.05
    torch.testing.assert_close(
        attention_by_distance(fresh("tiny-1m", copying=True), 3), attention_by_distance(plain, 3)
    )


def test_embeddings_begin_told_apart_and_equal_seeds_equal() -> None:
    weights = [fresh("tiny-1m", copying=True, seed=seed).lm.get_input_embeddings().weight for seed in (1, 1, 2)]
    norms = cast(torch.Tensor, weights[0]).detach().norm(dim=1)
    assert norms.mean() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(cast(torch.Tensor, weights[0]), cast(torch.Tensor, weights[1]))
    assert not torch.equal(cast(torch.Tensor, weights[0]), cast(torch.Tensor, weights[2]))
