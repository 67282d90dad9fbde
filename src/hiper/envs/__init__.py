"""Gymnasium environments of text: ALFWorld, WebShop and any that is registered."""

from hiper.envs.check import CheckFailed, check_env
from hiper.envs.errors import DataError, DataNotFound, EnvError, MissingExtra, UnknownName
from hiper.envs.registry import make, make_vec, names, register
from hiper.envs.vector import TextVectorEnv

__all__ = [
    "CheckFailed",
    "DataError",
    "DataNotFound",
    "EnvError",
    "MissingExtra",
    "TextVectorEnv",
    "UnknownName",
    "check_env",
    "make",
    "make_vec",
    "names",
    "register",
]
