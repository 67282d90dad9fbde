"""hiper: train language-model agents that plan and act, with credit for every decision.

Public names are loaded on first use, so that `import hiper` stays cheap (no torch, no transformers).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hiper.envs import check_env, make, make_vec, register

__version__ = "0.1.0"
__all__ = ["__version__", "check_env", "make", "make_vec", "register"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("hiper.envs"), name)
    raise AttributeError(f"module 'hiper' has no attribute {name!r}")
