"""Checks that a text environment keeps the contract that the rest of hiper relies on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text
from gymnasium.utils.env_checker import data_equivalence

from hiper.envs.errors import EnvError

TextEnv = gymnasium.Env[str, str]
_STEPS = 200  # an episode is followed no further than this


class CheckFailed(EnvError, AssertionError):
    """An environment breaks the contract. `faults` lists everything found."""

    def __init__(self, faults: list[str]) -> None:
        """faults: one sentence each."""
        super().__init__("the environment breaks the contract:\n" + "\n".join(f"- {f}" for f in faults))
        self.faults = faults


def check_env(env: TextEnv, seed: int = 0) -> None:
    """Plays a few episodes of `env`; raises CheckFailed with all faults found. The environment is left reset.

    The contract: spaces are `gymnasium.spaces.Text` and hold every observation and admissible command;
    `info` has `admissible_commands`, a list of str; an ending is terminated or truncated, never both; equal
    seeds and actions give equal episodes, also after further resets without a seed; after an ending `step`
    raises ResetNeeded; an action that is no str raises TypeError or ValueError. Where it has a method
    `admits(action)`, which says whether an action is possible now, that is True of the commands in the list.
    """
    faults = list(_space_faults(env))
    if not faults:
        try:
            faults = list(dict.fromkeys(_play_faults(env, seed)))
        except Exception as error:  # what an environment of somebody's raises may be anything
            raise CheckFailed([f"reset or step raised {type(error).__name__}: {error}"]) from error
    if faults:
        raise CheckFailed(faults)
    env.reset(seed=seed)


def _space_faults(env: TextEnv) -> Iterator[str]:
    """What is wrong with the spaces."""
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, Text):
            yield f"{name} must be a gymnasium.spaces.Text, not {type(space).__name__}"


def _play_faults(env: TextEnv, seed: int) -> Iterator[str]:
    """What is wrong with how it plays."""
    first = _Episode(env, seed)
    yield from first.faults
    if first.is_over and not _raises(env, "look", ResetNeeded):
        yield "step after the end of an episode must raise gymnasium.error.ResetNeeded"
    if first.faults:
        return
    if not data_equivalence(first.seen, _Episode(env, seed).seen):
        yield f"two episodes with seed {seed} and the same actions differ"
    if not data_equivalence(_second_start(env, seed), _second_start(env, seed)):
        yield f"the episode after that of seed {seed}, reset without a seed, is not the same each time"
    env.reset(seed=seed)
    if not _raises(env, 7, (TypeError, ValueError)):
        yield "step(7) must raise TypeError or ValueError: an action is a str"


class _Episode:
    """One episode played with the admissible commands in turn.

    seen: all that reset and step returned. faults: what was wrong with it; the first one ends the episode.
    """

    def __init__(self, env: TextEnv, seed: int) -> None:
        """Plays it."""
        self.seen: list[Any] = [env.reset(seed=seed)]
        self.faults: list[str] = _reset_faults(env, self.seen[0])
        self.is_over = False
        while not (self.faults or self.is_over or len(self.seen) > _STEPS):
            commands = self.seen[-1][-1]["admissible_commands"]
            action = commands[len(self.seen) % len(commands)] if commands else "look"
            if not env.action_space.contains(action):
                self.faults.append(f"the admissible command {action!r} is not in action_space")
            if commands and not _admits(env, action):
                self.faults.append(f"admits({action!r}) must be True: it is an admissible command")
            answer = env.step(action)
            self.seen.append(answer)
            self.faults += _step_faults(env, answer)
            self.is_over = not self.faults and (answer[2] or answer[3])


def _admits(env: TextEnv, action: str) -> bool:
    """What the environment says of an action, if it judges them itself."""
    return not env.has_wrapper_attr("admits") or env.get_wrapper_attr("admits")(action) is True


def _second_start(env: TextEnv, seed: int) -> object:
    """What the second reset returns, without a seed, after a first with one."""
    env.reset(seed=seed)
    return env.reset()


def _raises(env: TextEnv, action: Any, kinds: type[Exception] | tuple[type[Exception], ...]) -> bool:
    """Whether a step with this action raises an error of these kinds."""
    try:
        env.step(action)
    except kinds:
        return True
    return False


def _reset_faults(env: TextEnv, answer: object) -> list[str]:
    """What is wrong with the answer of reset."""
    if not (isinstance(answer, tuple) and len(answer) == 2):
        return ["reset must return (observation, info)"]
    return _faults_of(env, "reset", *answer)


def _step_faults(env: TextEnv, answer: object) -> list[str]:
    """What is wrong with the answer of step."""
    if not (isinstance(answer, tuple) and len(answer) == 5):
        return ["step must return (observation, reward, terminated, truncated, info)"]
    observation, reward, terminated, truncated, info = answer
    faults = _faults_of(env, "step", observation, info)
    if not isinstance(reward, float | int):
        faults.append(f"the reward must be a float, not {type(reward).__name__}")
    if not (isinstance(terminated, bool) and isinstance(truncated, bool)):
        faults.append("terminated and truncated must be bool")
    elif terminated and truncated:
        faults.append("terminated and truncated are both set: an ending is one or the other")
    return faults


def _faults_of(env: TextEnv, where: str, observation: object, info: object) -> list[str]:
    """What is wrong with an observation and its info."""
    faults = []
    if not env.observation_space.contains(observation):
        faults.append(f"an observation of {where} is not in observation_space: {str(observation)[:60]!r}")
    commands = info.get("admissible_commands") if isinstance(info, dict) else None
    if not isinstance(commands, list) or not all(isinstance(command, str) for command in commands):
        faults.append(f"the info of {where} must have 'admissible_commands', a list of str")
    return faults
