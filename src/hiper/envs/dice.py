"""Random draws for what is generated: the same text always gives the same games and goods, in any version of Python."""

from __future__ import annotations

import random
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Dice:
    """Random draws that depend on a text and on nothing else."""

    def __init__(self, text: str) -> None:
        """text: the seed."""
        # Only `random()` itself is promised to give the same numbers in later versions of Python.
        self._next = random.Random(text).random

    def chance(self, probability: float) -> bool:
        """True with that probability."""
        return self._next() < probability

    def below(self, count: int) -> int:
        """0, 1, ... or count - 1, all equally likely."""
        return int(self._next() * count)

    def one(self, things: Sequence[T]) -> T:
        """One of the things, all equally likely."""
        return things[self.below(len(things))]

    def weighted(self, weights: Mapping[K, float]) -> K:
        """A key, with odds as its weight. At least one weight must be positive."""
        left = self._next() * sum(weights.values())
        last = None
        for key, weight in weights.items():
            if weight > 0:
                last = key
                left -= weight
                if left < 0:
                    return key
        if last is None:
            raise ValueError("no weight is positive")
        return last  # reached only through rounding

    def number(self, histogram: Sequence[int]) -> int:
        """A position in the histogram, with odds as the count there."""
        return self.weighted(dict(enumerate(histogram)))

    def shuffled(self, things: Sequence[T]) -> list[T]:
        """The things in random order."""
        order = sorted((self._next(), i) for i in range(len(things)))
        return [things[i] for _, i in order]
