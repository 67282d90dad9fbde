"""Policies and samplers. The only room that imports transformers."""

from hiper.models.policy import HEADS, Policy, describe, pack
from hiper.models.sampler import TorchSampler
from hiper.models.tiny import PRESETS, preset, train_tokenizer
from hiper.models.tokens import ModelError, Tokenizer

__all__ = [
    "HEADS",
    "PRESETS",
    "ModelError",
    "Policy",
    "Tokenizer",
    "TorchSampler",
    "describe",
    "pack",
    "preset",
    "train_tokenizer",
]
