"""The policy: a causal language model that transformers loads, with three small value heads on its trunk.

Shapes: N packed tokens, M chosen positions, V vocabulary, E width of the trunk.
"""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Final, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from hiper.models.attention import ATTENTION, Documents, Packing
from hiper.models.tokens import ModelError, Tokenizer, first_line

logging.disable_progress_bar()  # its own bars for every load and save would drown ours
HEADS = ("U", "V_high", "V_low")
HEADS_FILE = "value_heads.safetensors"
_PERIODS: Final = (4.0, 16.0, 64.0)  # turns a radian, in which the value heads are told the turn


class ValueHeads(nn.Module):
    """U, V_high and V_low: one hidden layer each. The last layer starts at 0, so that all values start at 0.

    Beside the trunk's state they are told the turn. Where the limit ends an episode, what is to come depends on how
    much is left (Pardo et al., "Time Limits in Reinforcement Learning", 2018), and a trunk that reads text counts turns
    badly.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, len(HEADS) * width)
        self.turn = nn.Parameter(torch.zeros(2 * len(_PERIODS), len(HEADS) * width))
        self.out = nn.Parameter(torch.zeros(len(HEADS), width))
        self.bias = nn.Parameter(torch.zeros(len(HEADS)))

    def forward(self, hidden_ME: Tensor, head_M: Tensor, turn_M: Tensor) -> Tensor:
        """Value at each position by the head that is asked for (index into HEADS), in the heads' precision. (M,)"""
        angle_MP = turn_M[:, None] / torch.tensor(_PERIODS, dtype=self.out.dtype, device=turn_M.device)
        clock_MC = torch.cat([angle_MP.sin(), angle_MP.cos()], dim=1)
        inner_MW = self.hidden(hidden_ME.to(self.out.dtype)) + clock_MC @ self.turn
        inner_MHE: Tensor = torch.tanh(inner_MW).unflatten(-1, (len(HEADS), -1))
        chosen = inner_MHE[torch.arange(len(head_M), device=head_M.device), head_M]
        return (chosen * self.out[head_M]).sum(-1) + self.bias[head_M]


class Policy(nn.Module):
    """Replies, scores its own tokens and estimates values. One trunk serves all three.

    The heads stay in float32 whatever the trunk's precision. There is no dropout: sampler and learner must agree.
    `mixed`: the trunk's parameters are float32, it computes in bfloat16 (autocast).
    """

    def __init__(self, lm: PreTrainedModel, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.lm = lm.eval()
        self.mixed = False
        self.tokenizer = tokenizer
        self.heads = ValueHeads(lm.config.get_text_config().hidden_size)

    @property
    def device(self) -> torch.device:
        return cast(torch.device, self.lm.device)

    @property
    def compute_dtype(self) -> torch.dtype:
        """What the trunk computes in."""
        return torch.bfloat16 if self.mixed else self.lm.dtype

    def in_precision(self, dtype: str) -> "Policy":
        """Give the trunk that precision: "float32", "bfloat16", or "mixed". The value heads stay as they are."""
        self.mixed = dtype == "mixed"
        nn.Module.to(self.lm, _parameter_dtype(dtype))
        return self

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    @property
    def max_length(self) -> int:
        """Longest context that the model can hold, tokens: no longer than its attention's window, if it has one."""
        config = self.lm.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        slides = "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"])
        return int(min(config.max_position_embeddings, window if window and slides else sys.maxsize))

    def hidden(self, ids_N: Tensor, position_N: Tensor, packing: Packing) -> Tensor:
        """Trunk states (N, E) of packed tokens."""
        trunk = self.lm.get_decoder()
        with self._autocast():
            out = trunk(input_ids=ids_N[None], position_ids=position_N[None], use_cache=False, packing=packing)
        return cast(Tensor, out.last_hidden_state[0])

    def logits(self, hidden_ME: Tensor) -> Tensor:
        """Scores (M, V), float32 or finer, of the token that follows each position.

        V is the tokenizer's size: embeddings are often padded beyond it, and a padding entry must never be sampled.
        """
        with self._autocast():
            scores = cast(Tensor, self.lm.get_output_embeddings()(hidden_ME))[..., : len(self.tokenizer)]
        return scores.to(torch.promote_types(scores.dtype, torch.float32))

    def values(self, hidden_ME: Tensor, head_M: Tensor, turn_M: Tensor) -> Tensor:
        """Values (M,), training units, by heads (index into HEADS) at turns counted from 0."""
        return cast(Tensor, self.heads(hidden_ME, head_M, turn_M))

    def save(self, folder: Path) -> None:
        """An ordinary transformers folder, plus the value heads: safetensors and JSON only."""
        folder.mkdir(parents=True, exist_ok=True)
        self.lm.save_pretrained(folder)
        self.tokenizer.fast.save_pretrained(folder)
        save_file({k: v.contiguous() for k, v in self.heads.state_dict().items()}, folder / HEADS_FILE)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu", dtype: str = "float32") -> "Policy":
        """From a folder or a hub name. Value heads are loaded where the folder has them, else they start at 0."""
        if isinstance(folder, Path) and not folder.is_dir():
            raise ModelError(f"{folder}: no such model folder")
        tokenizer = Tokenizer.load(folder)
        try:
            loaded: object = AutoModelForCausalLM.from_pretrained(
                folder, dtype=_parameter_dtype(dtype), attn_implementation=ATTENTION, output_loading_info=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: no causal language model could be loaded ({first_line(error)})") from error
        lm, info = cast(tuple[PreTrainedModel, dict[str, set[str]]], loaded)
        if info["missing_keys"]:  # transformers would go on with random numbers in their place
            raise ModelError(f"{folder}: the weights lack {', '.join(sorted(info['missing_keys'])[:3])}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            policy = cls._of(lm, tokenizer, str(folder), device=device).in_precision(dtype)
        heads = Path(folder) / HEADS_FILE
        if heads.is_file():
            try:
                fresh = {"turn": torch.zeros_like(policy.heads.turn)}  # older heads were not told the turn
                policy.heads.load_state_dict(fresh | load_file(heads, device=device))
            except (OSError, RuntimeError, SafetensorError) as error:
                raise ModelError(f"{heads}: no value heads for this model ({first_line(error)})") from error
        return policy

    @classmethod
    def build(cls, config: dict[str, object], tokenizer: Tokenizer, *, seed: int) -> "Policy":
        """A fresh model from a transformers configuration (as a dictionary with `model_type`)."""
        kind = str(config["model_type"])
        settings = {k: v for k, v in config.items() if k != "model_type"}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                built = AutoConfig.for_model(kind, **settings)
                lm = AutoModelForCausalLM.from_config(built, attn_implementation=ATTENTION)
            except (ValueError, KeyError) as error:
                raise ModelError(f"model_type {kind!r}: cannot be built ({first_line(error)})") from error
            return cls._of(lm, tokenizer, f"model_type {kind!r}", device="cpu")

    @classmethod
    def _of(cls, lm: PreTrainedModel, tokenizer: Tokenizer, name: str, *, device: str) -> "Policy":
        """With fresh value heads. Refuses models that cannot be used."""
        rows = cast(nn.Embedding, lm.get_input_embeddings()).weight.shape[0]
        if len(tokenizer) > rows:
            raise ModelError(f"{name}: the tokenizer has {len(tokenizer)} entries, the model's embedding only {rows}")
        policy = cls(lm, tokenizer).to(device)
        if not _is_packable(policy):
            raise ModelError(
                f"{name}: {lm.config.model_type} models cannot be used; packed rows need plain causal attention "
                "(transformers' attention interface) and scores that come straight from the output embedding"
            )
        return policy


def _parameter_dtype(dtype: str) -> torch.dtype:
    return torch.float32 if dtype == "mixed" else cast(torch.dtype, getattr(torch, dtype))


@torch.no_grad()
def _is_packable(policy: Policy) -> bool:
    """Whether two short documents packed give what the model itself, with its own attention, gives for each alone."""
    lm = policy.lm
    if not lm._supports_attention_backend:
        return False
    documents = [tuple(i % len(policy.tokenizer) for i in range(first, first + 8)) for first in (1, 5)]
    ids, position, packing = pack(documents, policy.device)
    ours = policy.logits(policy.hidden(ids, position, packing))
    lm.set_attn_implementation("eager")
    alone = [lm(input_ids=ids[a:b][None], use_cache=False).logits[0] for a, b in pairwise(packing.starts)]
    lm.set_attn_implementation(ATTENTION)
    theirs = torch.cat(alone)[:, : len(policy.tokenizer)].to(ours.dtype)
    tolerance = 1e-3 if lm.dtype in (torch.float32, torch.float64) else 0.1
    return bool((ours - theirs).abs().max() <= tolerance * theirs.abs().max())


def pack(documents: list[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor, Documents]:
    """Lay documents end to end: ids (N,), positions (N,), and the packing."""
    starts = [0]
    for document in documents:
        starts.append(starts[-1] + len(document))
    ids = torch.tensor([i for document in documents for i in document], dtype=torch.long, device=device)
    position = torch.cat([torch.arange(len(d)) for d in documents]).to(device) if documents else ids
    return ids, position, Documents(tuple(starts), device)


def describe(policy: Policy) -> str:
    """One line: parameters, architecture, vocabulary, context."""
    count = sum(p.numel() for p in policy.lm.parameters())
    kind = policy.lm.config.model_type
    return f"{count / 1e6:.2f}M parameters ({kind}), {len(policy.tokenizer)} tokens, context {policy.max_length}"
