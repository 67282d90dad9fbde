"""Environments by name: the built-in ones, those registered by hand, and those of installed packages.

A package offers an environment through the entry-point group `hiper.envs`, for example in its pyproject.toml:

    [project.entry-points."hiper.envs"]
    mygame = "mypackage.env:MyGame"

The entry point is called with the keyword arguments of `make` and returns a `gymnasium.Env` whose
observations and actions are strings. `hiper.check_env` says whether it keeps the contract. Its splits it
tells by an attribute `about` (see `About`), without which they are called train and test.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final, cast

from gymnasium.vector import AutoresetMode

from hiper.envs.about import About
from hiper.envs.check import TextEnv
from hiper.envs.errors import EnvError, UnknownName, nearest
from hiper.envs.vector import TextVectorEnv

EntryPoint = str | Callable[..., TextEnv]

GROUP: Final = "hiper.envs"
_BUILT_IN: Final[dict[str, EntryPoint]] = {
    "alfworld": "hiper.envs.alfworld.env:AlfworldEnv",
    "webshop": "hiper.envs.webshop.env:WebshopEnv",
}
_registered: dict[str, EntryPoint] = {}
_told: dict[str, About] = {}  # what was said of registered environments


def register(name: str, entry_point: EntryPoint, about: About | None = None) -> None:
    """Makes an environment known as `name` in this process. entry_point: a callable, or
    `package.module:name`. about: its splits, where it does not tell them itself.

    A name registered before is replaced; a built-in name is an error (ValueError).
    """
    if name in _BUILT_IN:
        raise ValueError(f"{name!r} is built in; register your environment under another name")
    if isinstance(entry_point, str) and entry_point.count(":") != 1:
        raise ValueError(f"an entry point reads 'package.module:name', not {entry_point!r}")
    _registered[name] = entry_point
    _told.pop(name, None)
    if about is not None:
        _told[name] = about


def names() -> list[str]:
    """All known names, sorted."""
    return sorted({*_BUILT_IN, *_registered, *(found.name for found in entry_points(group=GROUP))})


def make(name: str, **kwargs: Any) -> TextEnv:
    """The environment called `name`, made with `kwargs`. Raises UnknownName, offering the nearest name."""
    return _factory(name)(**kwargs)


def make_vec(
    name: str,
    num_envs: int,
    *,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    first_index: int = 0,
    **kwargs: Any,
) -> TextVectorEnv:
    """`num_envs` environments called `name`, each made with `kwargs`, in this process, as one vector
    environment.

    What environment i plays depends on the seed of the reset and on i alone. first_index: of the first one
    here, where a larger set is spread over several processes. See `TextVectorEnv` for autoreset_mode.
    """
    factory = _factory(name)
    return TextVectorEnv([lambda: factory(**kwargs)] * num_envs, autoreset_mode, first_index)


def about(name: str) -> About:
    """What the environment called `name` says of itself, or was said of it when it was registered.

    Raises UnknownName, offering the nearest name, and EnvError where its `about` is something else.
    """
    factory = _factory(name)
    found = _told.get(name) or getattr(factory, "about", About())
    if not isinstance(found, About):
        raise EnvError(f"the attribute `about` of environment {name!r} must be an About, not {type(found).__name__}")
    return found


def _factory(name: str) -> Callable[..., TextEnv]:
    """What makes the environments of that name."""
    entry_point = _BUILT_IN.get(name) or _registered.get(name)
    if entry_point is None:
        for found in entry_points(group=GROUP):
            if found.name == name:
                return cast("Callable[..., TextEnv]", found.load())
        known = names()
        raise UnknownName(f"unknown environment {name!r}; known: {', '.join(known)}{nearest(name, known)}")
    return _load(entry_point) if isinstance(entry_point, str) else entry_point


def _load(entry_point: str) -> Callable[..., TextEnv]:
    """The object that `package.module:name` names."""
    module, _, attribute = entry_point.partition(":")
    try:
        return cast("Callable[..., TextEnv]", getattr(import_module(module), attribute))
    except AttributeError:
        raise EnvError(f"module {module} has no {attribute!r}") from None
