"""Many text environments in one process, as a `gymnasium.vector.VectorEnv`.

What an environment plays depends on its index and the seed alone, not on how many run beside it, nor on how
the indices are spread over processes. Observations and actions are tuples of str; infos are Gymnasium's
vector infos: for every key an array with an entry per environment, and under `_key` the mask of those that
gave one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

Infos = dict[str, Any]  # Gymnasium's own type of `infos`
Step = tuple[tuple[str, ...], NDArray[Any], NDArray[Any], NDArray[Any], Infos]


class TextVectorEnv(VectorEnv[tuple[str, ...], Sequence[str], NDArray[Any]]):
    """Steps its environments one after another. `metadata["autoreset_mode"]` says what follows an ending:

    - NEXT_STEP (the default): the next step resets the environment, ignoring its action, with reward 0.
    - SAME_STEP: it is reset at once; the last observation and info are in `final_obs` and `final_info`.
    - DISABLED: stepping it is an error; `reset(options={"reset_mask": mask})` starts it again.
    """

    def __init__(
        self,
        makers: Sequence[Callable[[], gymnasium.Env[str, str]]],
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        first_index: int = 0,
    ) -> None:
        """makers: one callable per environment. first_index: index of the first one, where a larger set is
        spread over several of these. Raises ValueError where there are none, or their spaces differ."""
        if not makers:
            raise ValueError("num_envs must be at least 1")
        self.envs = [make() for make in makers]
        self.num_envs = len(self.envs)
        self.first_index = first_index
        first = self.envs[0]
        if any(
            e.observation_space != first.observation_space or e.action_space != first.action_space for e in self.envs
        ):
            raise ValueError("all environments of a vector must have equal spaces")
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {**first.metadata, "autoreset_mode": self._mode}
        self.render_mode = first.render_mode
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, self.num_envs)
        self.action_space = batch_space(first.action_space, self.num_envs)
        self._observations = [""] * self.num_envs
        self._over = np.zeros(self.num_envs, dtype=np.bool_)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[tuple[str, ...], Infos]:
        """Resets all environments, or those of `options["reset_mask"]` (bool array, one per environment).

        seed: an int, to which each environment adds its index as in Gymnasium's own vectors, or a seed each. options:
        any other option is passed on; where it is a list, tuple or array, item i goes to environment i. Raises
        ValueError on a wrong length.
        """
        given = dict(options or {})
        mask = np.asarray(given.pop("reset_mask", np.ones(self.num_envs, dtype=np.bool_)), dtype=np.bool_)
        seeds = self._seeds(seed)
        given = {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in given.items()}
        for name, values in (("reset_mask", mask), ("seed", seeds), *given.items()):
            if isinstance(values, list | tuple | np.ndarray) and len(values) != self.num_envs:
                raise ValueError(f"{name} has {len(values)} entries for {self.num_envs} environments")
        found: list[Infos | None] = [None] * self.num_envs
        for i in np.flatnonzero(mask).tolist():
            own = {key: v[i] if isinstance(v, list | tuple) else v for key, v in given.items()}
            self._observations[i], found[i] = self.envs[i].reset(seed=seeds[i], options=own)
            self._over[i] = False
        return tuple(self._observations), _gather(found)

    def step(self, actions: Sequence[str]) -> Step:
        """Steps every environment. Arrays have a float or bool per environment."""
        if len(actions) != self.num_envs:
            raise ValueError(f"{len(actions)} actions for {self.num_envs} environments")
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminated = np.zeros(self.num_envs, dtype=np.bool_)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        found: list[Infos | None] = []
        for i, (env, action, was_over) in enumerate(zip(self.envs, actions, self._over.tolist(), strict=True)):
            if was_over and self._mode is AutoresetMode.NEXT_STEP:
                self._observations[i], info = env.reset()
            else:
                self._observations[i], rewards[i], terminated[i], truncated[i], info = env.step(action)
                if self._mode is AutoresetMode.SAME_STEP and (terminated[i] or truncated[i]):
                    info = self._restart(i, info)
            found.append(info)
        self._over = terminated | truncated
        return tuple(self._observations), rewards, terminated, truncated, _gather(found)

    def render(self) -> tuple[Any, ...] | None:
        """What each environment renders."""
        return tuple(env.render() for env in self.envs)

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The method (called) or attribute `name` of every environment."""
        found = [env.get_wrapper_attr(name) for env in self.envs]
        return tuple(value(*args, **kwargs) if callable(value) else value for value in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """The attribute `name` of every environment."""
        return self.call(name)

    def close_extras(self, **kwargs: Any) -> None:
        """Closes every environment."""
        for env in self.envs:
            env.close()

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """A seed for each environment."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            return [int(seed) + self.first_index + i for i in range(self.num_envs)]
        return list(seed)

    def _restart(self, i: int, info: Infos) -> Infos:
        """Resets environment i at its end; the new episode's info, with what was last seen of the old."""
        last = {"final_obs": self._observations[i], "final_info": info}
        self._observations[i], fresh = self.envs[i].reset()
        return {**fresh, **last}


def _gather(infos: Sequence[Infos | None]) -> Infos:
    """Vector infos of the infos of all environments, None for those that have none now."""
    gathered: Infos = {}
    for key in dict.fromkeys(key for info in infos if info is not None for key in info):
        has = [info is not None and key in info for info in infos]
        values = [info[key] if info is not None and key in info else None for info in infos]
        gathered[key] = _column(values)
        gathered[f"_{key}"] = np.array(has, dtype=np.bool_)
    return gathered


def _column(values: Sequence[Any]) -> Any:
    """An array with a value per environment, None where there is none. Dicts are gathered in turn."""
    sample = next((value for value in values if value is not None), None)
    if isinstance(sample, dict):
        return _gather(values)
    if isinstance(sample, bool | int | float | np.number | np.ndarray):
        blank = np.zeros_like(sample)
        return np.array([blank if value is None else value for value in values])
    column = np.empty(len(values), dtype=object)
    column[:] = [None] * len(values)
    for i, value in enumerate(values):
        column[i] = value
    return column
