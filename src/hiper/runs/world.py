"""What a configuration plays in: environments by split, their tasks, and the seeds of everything random."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from hiper.envs import EnvError, make
from hiper.rollout import Task
from hiper.runs.config import ConfigError, EnvConfig


def derive_seed(*parts: object) -> int:
    """A 63-bit seed that depends on all parts and on nothing else."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class World:
    """Makes environments of any split. One of each split is kept open, so that its data stays loaded and is shared."""

    def __init__(self, config: EnvConfig) -> None:
        self.config = config
        self._kept: dict[str, gymnasium.Env[str, str]] = {}

    def make(self, split: str, *, renumber: bool = False, **more: Any) -> gymnasium.Env[str, str]:
        """A new environment of a split; the data is shared with all others of it.

        renumber: under other names in every episode. An environment without such a setting is not asked for it.
        """
        self._keep(split)
        return self._make(split, **({"renumber": True} if renumber else {}), **more)

    def names(self, split: str) -> Sequence[str]:
        """Names of all games of a split, made when looked at; empty where the environment does not list them."""
        games = getattr(self._keep(split).unwrapped, "games", None)
        names: Sequence[str] = () if games is None else games.names()
        return names

    def identity(self, split: str) -> dict[str, str]:
        """Version and data hash, for reports."""
        env = self._keep(split).unwrapped
        return {
            "env_version": str(getattr(env, "version", "unknown")),
            "data_sha256": str(getattr(env, "data_sha256", "unknown")),
        }

    def all_tasks(self, split: str, *, limit: int, seed: int, tries: int = 1) -> list[Task]:
        """Every game of a split, or `limit` of them chosen by the seed, each `tries` times."""
        names = list(self.names(split))
        if limit and names and limit < len(names):
            rng = np.random.default_rng(derive_seed(seed, "subset", split))
            names = [names[i] for i in sorted(rng.choice(len(names), size=limit, replace=False))]
        if names:
            once = [Task(seed=derive_seed(seed, split, name), options={"game": name}) for name in names]
        else:
            once = [Task(seed=derive_seed(seed, split, i)) for i in range(limit or 100)]
        return [replace(task, replica=replica) for task in once for replica in range(tries)]

    def training_tasks(self, split: str, *, step: int, count: int, group: int, seed: int, stage: str) -> list[Task]:
        """The tasks of a step: games in passes over the whole split, each pass in an order of its own.

        Episodes of a group have one seed: the same game, under the same names where it is renumbered.
        """
        names = self.names(split)
        tasks = []
        for place in range(step * count, (step + 1) * count):
            game, replica = divmod(place, group)
            options = {}
            if names:
                turn, index = divmod(game, len(names))
                options = {"game": names[self._order(split, seed, stage, turn)[index]]}
            tasks.append(Task(seed=derive_seed(seed, stage, game), options=options, replica=replica))
        return tasks

    @cached_property
    def generated(self) -> "World":
        """The same environment with what it generates, whatever data the configuration names."""
        return World(self.config.model_copy(update={"data": ""})) if self.config.data else self

    def close(self) -> None:
        for env in self._kept.values():
            env.close()
        self._kept.clear()
        generated = self.__dict__.pop("generated", self)
        if generated is not self:
            generated.close()

    def _order(self, split: str, seed: int, stage: str, turn: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        key = (split, seed, stage, turn)
        if getattr(self, "_order_key", None) != key:
            rng = np.random.default_rng(derive_seed("order", *key))
            self._order_key, self._order_now = key, rng.permutation(len(self.names(split)))
        return self._order_now

    def _keep(self, split: str) -> gymnasium.Env[str, str]:
        if split not in self._kept:
            self._kept[split] = self._make(split)
        return self._kept[split]

    def _make(self, split: str, **more: Any) -> gymnasium.Env[str, str]:
        c = self.config
        try:
            return make(c.name, data=c.data or None, split=split, max_steps=c.max_turns, **c.options, **more)
        except EnvError:
            raise
        except (TypeError, ValueError, ImportError) as error:
            raise ConfigError(f"environment {c.name!r} (see env.name, env.options) cannot be made: {error}") from error
