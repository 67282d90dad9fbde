"""The shop behind the site: goals, and what a visitor sees after some actions.

There is one implementation of the rules, the environment. A page of the site is a goal and the actions taken so
far, played in a real `WebshopEnv`; the site only draws what comes out. So pages never change once they are there,
and reloading, the back button and any number of visitors need nothing of their own.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from hiper.envs.errors import EnvError
from hiper.envs.webshop.env import WebshopEnv
from hiper.envs.webshop.reward import Goal, Score
from hiper.envs.webshop.session import State

KEPT: Final = 4096  # pages remembered; the least recently asked for is forgotten first


class SiteError(EnvError, RuntimeError):
    """The site cannot be served, or not what was asked for; one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What there is after some actions.

    observation, commands: what an agent would be shown and offered. reward: of the last action. moved: whether
    it did anything. over: bought, or out of steps. score: where the score comes from, None before the purchase.
    """

    goal: Goal
    state: State
    observation: str
    commands: tuple[str, ...]
    actions: tuple[str, ...]
    reward: float
    moved: bool
    over: bool
    score: Score | None


class Shop:
    """A catalogue with the goals of a split. Safe to use from several threads."""

    def __init__(self, env: WebshopEnv) -> None:
        """env: played by nobody else from now on."""
        self._env = env
        self._lock = Lock()
        self.catalogue, self.goals = env.catalogue, env.games
        self.official = env.compat is not None
        self.max_steps = env.max_steps

    @property
    def name(self) -> str:
        """Split and catalogue, for people."""
        quirks = f", as {self.goals.compat}" if self.goals.compat else ""
        return f"split {self.goals.split} of {self.catalogue.version}{quirks}"

    def price(self, product: int) -> float:
        """What a product costs, in dollars; of a price range, what was drawn from it."""
        return float(self.goals.all.prices[product])

    def scene(self, game: str, actions: Sequence[str], seed: int = 0) -> Scene:
        """What there is after these actions. Those after the end are left out.

        Raises UnknownName where the split has no such goal.
        """
        return self.scenes(game, actions, seed)[-1]

    def scenes(self, game: str, actions: Sequence[str], seed: int = 0) -> list[Scene]:
        """What there is at first and after each of the actions, as far as they go before the end.

        seed: of the environment; it draws what the query `<r>` finds. Raises UnknownName as `scene` does.
        """
        env = self._env
        with self._lock:
            observation, info = env.reset(seed=seed, options={"game": game})
            reward, moved, over = 0.0, True, False
            found = []
            for number in range(len(actions) + 1):
                parts = info.get("score_parts")
                scene = Scene(
                    goal=env.goal,
                    state=env.state,
                    observation=observation,
                    commands=tuple(info["admissible_commands"]),
                    actions=tuple(actions[:number]),
                    reward=reward,
                    moved=moved,
                    over=over,
                    score=None if parts is None else Score(**parts),
                )
                found.append(scene)
                if over or number == len(actions):
                    break
                before = env.state
                observation, reward, terminated, truncated, info = env.step(actions[number])
                moved, over = env.state is not before, terminated or truncated
            return found


class Visits:
    """Which goal and actions a page's address stands for. Holds so many, the latest. Safe to use from several threads.

    The address of a page is made of what led there, so the same actions have the same address, and going back to
    choose differently gives another one.
    """

    def __init__(self, kept: int = KEPT) -> None:
        """kept: how many are remembered."""
        self._kept = kept
        self._known: OrderedDict[str, tuple[str, tuple[str, ...]]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """How many are remembered now."""
        return len(self._known)

    def add(self, game: str, actions: tuple[str, ...]) -> str:
        """The address of what is there after these actions."""
        digest = hashlib.blake2b(game.encode(), digest_size=12)
        for action in actions:
            content = action.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(4, "big") + content)
        key = digest.hexdigest()
        with self._lock:
            self._known[key] = (game, actions)
            self._known.move_to_end(key)
            while len(self._known) > self._kept:
                self._known.popitem(last=False)
        return key

    def find(self, key: str) -> tuple[str, tuple[str, ...]] | None:
        """Goal and actions of that address; None where it is not known, or no longer."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)
