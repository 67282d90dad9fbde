"""Policies and samplers. The only room that imports transformers."""

from hiper.models.policy import HEADS, Policy, describe, pack
from hiper.models.sampler import TorchSampler
from hiper.models.tiny import PRESETS, begin_copying, preset, train_tokenizer
from hiper.models.tokens import ModelError, Tokenizer

__all__ = [
    "HEADS",
    "PRESETS",
    "ModelError",
    "Policy",
    "Tokenizer",
    "TorchSampler",
    "begin_copying",
    "describe",
    "pack",
    "preset",
    "train_tokenizer",
]
