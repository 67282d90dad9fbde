"""Gymnasium environments of text: ALFWorld, WebShop and any that is registered."""

from hiper.envs.about import About, Survey, Tell
from hiper.envs.check import CheckFailed, check_env
from hiper.envs.errors import DataError, DataNotFound, EnvError, MissingExtra, UnknownName
from hiper.envs.registry import about, make, make_vec, names, register
from hiper.envs.vector import TextVectorEnv

__all__ = [
    "About",
    "CheckFailed",
    "DataError",
    "DataNotFound",
    "EnvError",
    "MissingExtra",
    "Survey",
    "Tell",
    "TextVectorEnv",
    "UnknownName",
    "about",
    "check_env",
    "make",
    "make_vec",
    "names",
    "register",
]
