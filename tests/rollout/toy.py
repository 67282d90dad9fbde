"""A corridor to walk down, and a model that says what it is told to, in bytes for tokens."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
from gymnasium import spaces

from hiper.agents import INTERFACES, Prompt, Request, Sample
from hiper.records import Decision

PLAN = INTERFACES["plan_execute"]
ACT = INTERFACES["act"]
END = 256  # the id of the end token, which has no bytes


class Corridor(gymnasium.Env[str, str]):
    """Walk `length` steps (option "game": "corridor-<length>") to win; the pit behind the start loses.

    `crash_on(game, attempt, step)` says when the engine fails; step 0 is the reset. `log`: all it was sent.
    """

    observation_space = spaces.Text(200)
    action_space = spaces.Text(200)

    def __init__(self, crash_on: Callable[[str, int, int], bool] | None = None) -> None:
        self.crash_on = crash_on or (lambda game, attempt, step: False)
        self.attempts: dict[str, int] = {}
        self.log: list[str] = []
        self.is_closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        assert not self.is_closed
        self.game = (options or {"game": "corridor-2"})["game"]
        self.length = int(self.game.split("-")[1])
        self.attempts[self.game] = self.attempts.get(self.game, 0) + 1
        self.place, self.steps, self.seed = 0, 0, seed
        self._maybe_crash()
        return f"A corridor of {self.length}. Your task is to: walk to its end.", self._info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        assert not self.is_closed
        self.steps += 1
        self.log.append(action)
        self._maybe_crash()
        move = {"forward": 1, "back": -1}.get(action, 0)
        self.place += move
        done = self.place in (self.length, -1)
        observation = f"Place {self.place}." if move or action == "wait" else "Nothing happens."
        return observation, float(self.place == self.length), done, self.steps >= 12, self._info()

    def close(self) -> None:
        self.is_closed = True

    def _maybe_crash(self) -> None:
        if self.crash_on(self.game, self.attempts[self.game], self.steps):
            raise OSError("the engine is gone")

    def _info(self) -> dict[str, Any]:
        return {
            "admissible_commands": ["forward", "back", "wait"],
            "won": self.place == self.length,
            "task_type": "even" if self.length % 2 == 0 else "odd",
            "game": self.game,
            "expert_decision": "KEEP" if self.place else "SWITCH",
            "expert_subgoal": "reach the end",
            "expert_action": "forward",
        }


class Puppet:
    """Replies with what `say(request)` gives; answers a random share of what is pending, in random order."""

    def __init__(self, say: Callable[[Request], str], *, capacity: int = 4, shuffle: int | None = None) -> None:
        self.say = say
        self.capacity = capacity
        self.pending: list[Request] = []
        self.requests: list[Request] = []
        self.closed: list[int] = []
        self.window: int | None = None  # tokens that a context may hold
        self._lengths: dict[int, int] = {}
        self._rng = None if shuffle is None else random.Random(shuffle)

    def submit(self, request: Request) -> None:
        assert 0 <= request.slot < self.capacity
        assert all(request.slot != other.slot for other in self.pending)
        self.pending.append(request)
        self.requests.append(request)

    def poll(self) -> list[Sample]:
        count = len(self.pending)
        if self._rng is not None and count:
            self._rng.shuffle(self.pending)
            count = self._rng.randint(1, count)
        answered, self.pending = self.pending[:count], self.pending[count:]
        return [self._sample(request) for request in answered]

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return tuple(prompt.text.encode())

    def close(self, slot: int) -> None:
        self.closed.append(slot)

    def _sample(self, request: Request) -> Sample:
        context = self.context_ids(request.prompt)
        length = (0 if request.prompt.fresh else self._lengths[request.slot]) + len(context)
        data = self.say(request).encode()
        room = len(data) if self.window is None else max(0, self.window - length)
        reply, overflow = data[:room], room < len(data)
        ids = (*reply,) if overflow else (*reply, END)
        self._lengths[request.slot] = length + len(ids)
        return Sample(
            slot=request.slot,
            text=reply.decode(errors="replace"),
            context_ids=context,
            reply_ids=ids,
            reply_logprobs=tuple(-0.5 for _ in ids),
            reply_bytes=tuple(bytes([i]) if i < END else b"" for i in ids),
            cut=False,
            overflow=overflow,
        )


def walk(request: Request) -> str:
    """Straight to the end, under one subgoal."""
    decision = Decision.SWITCH if request.turn == 0 else Decision.KEEP
    return PLAN.format(decision, "reach the end", "forward")


def wander(request: Request) -> str:
    """Noise of (seed, turn) alone: steps in all directions, new subgoals, and now and then a broken reply."""
    rng = random.Random(f"{request.seed}/{request.turn}")
    decision = Decision.SWITCH if request.turn == 0 or rng.random() < 0.3 else Decision.KEEP
    text = PLAN.format(decision, f"goal {rng.randint(1, 3)}", rng.choice(["forward", "forward", "back", "dance"]))
    return text if rng.random() < 0.8 else text[: rng.randint(0, len(text))]


def say_in_turn(*replies: str) -> Callable[[Request], str]:
    """One reply after another, the last for ever."""
    return lambda request: replies[min(request.turn, len(replies) - 1)]


def info_only(env: Corridor, keys: Mapping[str, object]) -> Corridor:
    """The same corridor with another `info`."""
    env._info = lambda: dict(keys)  # type: ignore[method-assign]
    return env
