"""Tiny random models: built in milliseconds, their next-token distributions far from flat."""

from functools import cache

import torch

from hiper.models import Policy, Tokenizer, preset, train_tokenizer

TAGS = ("<switch>KEEP</switch>", "<switch>SWITCH</switch>", "<subgoal>", "</subgoal>", "<action>", "</action>")
TEXTS = [
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, a shelf 2 and a drawer 3.\n",
    "<switch>SWITCH</switch><subgoal>find a mug</subgoal><action>go to desk 1</action>",
    "\nYou arrive at desk 1. On the desk 1, you see a mug 2, a pen 3 and a book 1.\n",
    "<switch>KEEP</switch><action>take mug 2 from desk 1</action>",
    "\nYou pick up the mug 2 from the desk 1.\nYour task is to: put a mug in shelf.\n",
] * 10

# One of each manner: grouped heads; as many key heads as query heads; learned positions, fused projections, dropout
# in its default settings; parallel blocks and partly rotated heads; experts; values of another size than keys.
CONFIGS: dict[str, dict[str, object]] = {
    "qwen2": {"num_key_value_heads": 2},
    "llama": {"num_key_value_heads": 4},
    "gpt2": {},
    "gpt_neox": {"hidden_act": "gelu"},
    "mistral": {"num_key_value_heads": 2, "sliding_window": None},
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 2, "sliding_window": None},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "first_k_dense_replace": 2,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 4,
        "v_head_dim": 12,
    },
}


@cache
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS, size=320, tags=TAGS)


def config(kind: str = "qwen2", *, context: int = 512, **more: object) -> dict[str, object]:
    """The smallest preset with two layers, a sharper start and, for other kinds, what these need."""
    base = preset("tiny-0.4m", vocabulary=len(tokenizer()), context=context, end_id=tokenizer().eos_id or 0)
    base |= {"model_type": kind, "num_hidden_layers": 2, "hidden_size": 48, "intermediate_size": 96}
    return {**base, "initializer_range": 0.25, **CONFIGS.get(kind, {}), **more}


def tiny(kind: str = "qwen2", *, seed: int = 0, context: int = 512, **more: object) -> Policy:
    """A policy whose value heads say something too (fresh ones say 0)."""
    policy = Policy.build(config(kind, context=context, **more), tokenizer(), seed=seed)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        policy.heads.out.normal_(generator=noise)
        policy.heads.bias.normal_(generator=noise)
        policy.heads.turn.normal_(0, 0.3, generator=noise)
    return policy


def random_documents(lengths: list[int], seed: int = 0) -> list[tuple[int, ...]]:
    noise = torch.Generator().manual_seed(seed)
    return [tuple(torch.randint(1, len(tokenizer()), (n,), generator=noise).tolist()) for n in lengths]
