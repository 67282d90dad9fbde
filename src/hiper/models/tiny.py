"""Tiny language models built on the spot: an ordinary Qwen2 configuration and a byte-level BPE tokenizer.

The tokenizer is trained on the environment's own text. Two things keep it kind to small models: what has to be copied
is never merged with its neighbours, so that it is the same tokens wherever it stands; and the rest may be merged across
spaces, so that template phrases (`You arrive at`) cost one token. What has to be copied is, with the cut "phrases", a
*name* (a word that is somewhere followed by a number, such as `countertop 2`). With "words" it is anything: nothing is
merged across spaces, a word keeps the space behind it (it begins an action as it stands within a sentence), and codes
of capitals and digits, such as ASINs, are one token each.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import cast

import torch
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as RawTokenizer
from torch import nn
from transformers import PreTrainedTokenizerFast

from hiper.models.policy import Policy
from hiper.models.tokens import OWN_MARK, ModelError, Tokenizer

END = "<|end|>"
_LOOKS_BACK = (1, 2)  # tokens back that the heads of a model that begins copying look first
_FAST = 6  # rotary frequencies that do it
_SHARPNESS = 5.0  # what each of them adds to the score at that distance
CUTS = ("phrases", "words")
_MARKS = r" ?\[[A-Z]+\] ?|, and |[,;:.!?] |[\[\]()|\"$]|\n"
_SPACE = r"(?: (?!\[[A-Z]+\]))?"  # behind a word, unless it belongs to the mark that follows
_WORD = rf"(?:\w*\d\w*|(?:(?!{_MARKS})\S)+){_SPACE}"
_CODE = re.compile(r"\b(?=[A-Z0-9]*\d)(?=[A-Z0-9]*[A-Z])[A-Z0-9]{8,}\b")
PRESETS: dict[str, dict[str, int]] = {
    "tiny-0.1m": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "heads": 2, "kv": 1},
    "tiny-0.4m": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4, "heads": 4, "kv": 2},
    "tiny-1m": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "heads": 4, "kv": 2},
    "tiny-2m": {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4, "heads": 6, "kv": 2},
    "tiny-4m": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "heads": 8, "kv": 2},
    "tiny-15m": {"hidden_size": 448, "intermediate_size": 1216, "num_hidden_layers": 8, "heads": 7, "kv": 7},
}


def preset(name: str, *, vocabulary: int, context: int, end_id: int) -> dict[str, object]:
    """The Qwen2 configuration of a preset."""
    if name not in PRESETS:
        raise ModelError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    shape = dict(PRESETS[name])
    heads, kv = shape.pop("heads"), shape.pop("kv")
    return {
        "model_type": "qwen2",
        **shape,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": -(-vocabulary // 16) * 16,
        "max_position_embeddings": context,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": end_id,
        "pad_token_id": end_id,
        "initializer_range": 0.02,
    }


def begin_copying(policy: Policy, *, seed: int) -> None:
    """Change a fresh preset so that copying from its context, which a small model finds late, is near from the start.

    Whoever copies looks for the token before this one earlier in the text, and takes what came after it (Olsson et al.
    2022, induction heads). The first half of that is put in by hand: two heads of the first layer begin by looking one
    and two tokens back. Their biases alone do it: with constant q and k, rotary positions (Su et al. 2021) make a score
    of the distance d alone, sum_f a cos((d - d0) theta_f), which the fast frequencies f keep narrow around d0. And
    embeddings begin with the spread that tells tokens apart, 1 / sqrt(width). All of it may be unlearnt.
    """
    lm = policy.lm
    config = lm.config
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    half = config.hidden_size // heads // 2
    theta = config.rope_parameters["rope_theta"] ** (-torch.arange(_FAST) / half)
    size = math.sqrt(_SHARPNESS * math.sqrt(2 * half))  # of q and k each
    attention = cast(nn.Module, lm.get_decoder()).get_submodule("layers.0.self_attn")
    q = attention.get_parameter("q_proj.bias").detach().view(heads, 2, half)  # rotary pairs: one half with the other
    k = attention.get_parameter("k_proj.bias").detach().view(groups, 2, half)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nn.init.normal_(cast(nn.Embedding, lm.get_input_embeddings()).weight, std=config.hidden_size**-0.5)
    for head, distance in enumerate(_LOOKS_BACK[:heads]):
        k[head * groups // heads, 0, :_FAST] = size
        q[head, 0, :_FAST] = size * torch.cos(distance * theta)
        q[head, 1, :_FAST] = -size * torch.sin(distance * theta)


def train_tokenizer(
    texts: Sequence[str], *, size: int = 1024, tags: Iterable[str] = (), cut: str = "phrases"
) -> Tokenizer:
    """Byte-level BPE of at most `size` entries. `tags` become single tokens, e.g. "<switch>KEEP</switch>"."""
    raw = RawTokenizer(models.BPE())
    splits = _at_names(texts) if cut == "phrases" else [Regex(f"{_MARKS}|{_WORD}")]
    whole = [*tags, *(_codes(texts)[: size // 2] if cut == "words" else ())]
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [*(pre_tokenizers.Split(pattern, "isolated") for pattern in splits), _byte_level()]
    )
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([END])
    raw.add_tokens([AddedToken(one, normalized=False) for one in whole])
    trainer = trainers.BpeTrainer(
        vocab_size=size - (len(whole) if cut == "words" else 0),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
        min_frequency=8,
    )
    raw.train_from_iterator(texts, trainer)
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=END, pad_token=END, **{OWN_MARK: 1}))


def _byte_level() -> pre_tokenizers.ByteLevel:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _at_names(texts: Sequence[str]) -> list[Regex]:
    names = sorted(_names(texts), key=lambda name: (-len(name), name))
    any_name = Regex(r" ?\b(?:" + "|".join(map(re.escape, names)) + r")\b")
    return [any_name, Regex(r" ?\d+")] if names else [Regex(r" ?\d+")]


def _names(texts: Sequence[str]) -> list[str]:
    """Words that are somewhere followed by a number, often enough not to be an accident."""
    counts = Counter(word for text in texts for word in re.findall(r"([a-z]+) \d+", text))
    return [word for word, count in counts.items() if count >= 3]


def _codes(texts: Sequence[str]) -> list[str]:
    """Words such as ASINs, the most frequent first."""
    counts = Counter(code for text in texts for code in _CODE.findall(text))
    return [code for code, _ in counts.most_common()]
