"""The same shop under other names, in which shopping can be learnt but not the catalogue.

A thousand products are few: a model that learns in them knows by heart what belongs to which instruction, and stands
helpless before the products that were held out. So for one episode everything that an agent has to copy is drawn
anew: products exchange their ASINs, and most options get values of other products, or values made up in the likeness
of their own (`b16-black`: `pack83-inch`), of which there is no end. Titles, texts, attributes, prices and what a
search finds stay as they are. ASINs are exchanged and not made up: a tokenizer knows them whole.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

import numpy as np

from hiper.envs.webshop.catalogue import Catalogue
from hiper.envs.webshop.index import Numbers
from hiper.envs.webshop.product import Product
from hiper.envs.webshop.reward import COLOURS

_KEPT: Final = 0.3  # share of the options that keep their own values: real lists hang together, drawn ones do not
_MADE_UP: Final = 0.5  # share of those that get values made up
_RUN: Final = re.compile(r"[^\W\d_]+|\d+")  # of letters or of digits


class Names:
    """What names are drawn from: the option values of some products of a catalogue."""

    def __init__(self, products: Sequence[Product]) -> None:
        values: dict[str, dict[str, None]] = {}
        for product in products:
            for option, given in product.options.items():
                values.setdefault(option, {}).update(dict.fromkeys(given))
        self.values: Mapping[str, list[str]] = {option: list(given) for option, given in values.items()}
        runs = {run for known in self.values.values() for value in known for run in _RUN.findall(value)}
        # The score takes a colour word within a value for the whole value: made up, such values would be mistaken.
        self._words = sorted(run for run in runs if not run.isdigit() and not any(one in run for one in COLOURS))

    def make_up(self, values: Sequence[str], dice: random.Random) -> tuple[str, ...]:
        """As many in their likeness: other words, other digits, and between them what stands there.

        What several of them share they go on sharing: `b16-black, b16-red` may become `pack83-inch, pack83-wide`.
        """
        others: dict[str, str] = {}

        def another(run: re.Match[str]) -> str:
            if run[0] not in others:
                others[run[0]] = self._another(run[0], dice)
            return others[run[0]]

        return tuple(_RUN.sub(another, value) for value in values)

    def _another(self, run: str, dice: random.Random) -> str:
        if run.isdigit():
            return "".join(dice.choices("123456789", k=len(run)))
        return dice.choice(self._words) if self._words else run


class RenumberedShop:
    """A catalogue as it is called in one episode. Equal seeds give equal names."""

    def __init__(self, catalogue: Catalogue, names: Names, seed: int) -> None:
        self._catalogue, self._names, self._seed = catalogue, names, seed
        count, dice = len(catalogue), self._dice("asins", 0)
        self._step = next(step for step in iter(lambda: dice.randrange(1, count + 1), 0) if math.gcd(step, count) == 1)
        self._shift = dice.randrange(count)
        self._said: dict[str, str] = {}  # what is asked for now -> what it is called in the catalogue
        self.product = cache(self._product)

    def asin(self, number: int) -> str:
        """The ASIN of another product; every one is somebody's."""
        return self._catalogue.asin((self._step * number + self._shift) % len(self._catalogue))

    def search(self, keywords: str, rng: np.random.Generator) -> Numbers:
        """Finds what it would find if the values that were asked for were called by their own names."""
        for new, old in self._said.items():
            plain = old.replace("\\", r"\\")
            keywords = re.sub(rf"(?<!\w){re.escape(new)}(?!\w)", plain, keywords)
        return self._catalogue.search(keywords, rng)

    def ask_for(self, number: int) -> None:
        """Product `number` is what is wanted: searches for its new names will find it."""
        old, new = self._catalogue.product(number), self.product(number)
        pairs = [
            pair for option, values in old.options.items() for pair in zip(new.options[option], values, strict=True)
        ]
        self._said = dict(sorted((pair for pair in pairs if pair[0] != pair[1]), key=lambda pair: -len(pair[0])))

    def _product(self, number: int) -> Product:
        """The product of that number under its names of this episode."""
        product, dice = self._catalogue.product(number), self._dice("product", number)
        options = {option: self._drawn(option, values, dice) for option, values in product.options.items()}
        return replace(product, asin=self.asin(number), options=options)

    def _drawn(self, option: str, values: tuple[str, ...], dice: random.Random) -> tuple[str, ...]:
        """As many values of such an option, all different; its own where there are no others."""
        known, kind = self._names.values.get(option, []), dice.random()
        if kind < _KEPT or not known:
            return values
        if kind < _KEPT + _MADE_UP:
            made_up = self._names.make_up(values, dice)
            return made_up if len(set(made_up)) == len(values) else values
        return tuple(dice.sample(known, len(values))) if len(known) > len(values) else values

    def _dice(self, purpose: str, number: int) -> random.Random:
        return random.Random(f"{self._seed}/{purpose}/{number}")
