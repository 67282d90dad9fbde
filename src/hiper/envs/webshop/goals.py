"""The goals of a catalogue: what there is to buy, in which order, and which of it is held out.

A goal is known by its number, in the order of the catalogue, or by its name, `<ASIN>/<k>`: the k-th
combination of that product's options (or the k-th instruction that a person wrote for it).

Prices that are a range and the bounds on the price are drawn by `seed`, with the random numbers that the
original draws, so that the same seed gives the same goals in the same order.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args, overload
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from hiper.envs.about import Tell, silent
from hiper.envs.errors import DataError, UnknownName, nearest
from hiper.envs.webshop import cache
from hiper.envs.webshop.catalogue import Catalogue, Stock
from hiper.envs.webshop.product import HumanGoal, Product
from hiper.envs.webshop.renumber import Names, RenumberedShop
from hiper.envs.webshop.reward import Goal, attribute_met, option_met

Compat = Literal["verl-agent", "princeton"]
NO_BOUND: Final = 1_000_000.0  # dollars
_BOUNDS: Final = range(10, 1000, 10)
_PRINCETON_SHUFFLE: Final = 233
_PARTS: Final = {"test": (0, 1), "validation": (2,), "train": tuple(range(3, 10)), "all": tuple(range(10))}  # tenths
# Places in the shuffled list; None: to its end.
_PLACES: Final[dict[Compat, dict[str, tuple[int, int | None]]]] = {
    "verl-agent": {"test": (0, 500), "train": (500, None), "all": (0, None)},
    "princeton": {"test": (0, 500), "validation": (500, 1500), "train": (1500, None), "all": (0, None)},
}
_TOLD: Final = 1000  # products between two words on how far it is
_BUILDERS: Final = ("goals.py", "reward.py")


class GoalSet:
    """All goals of a catalogue, made when asked for. Read-only.

    order: goal numbers in the shuffled order. reachable: whether a goal can score 1 with its own product and
    options, by number. prices: what each product costs, in dollars.
    """

    def __init__(self, catalogue: Catalogue, seed: int, human: bool, shuffle_seed: int, tell: Tell = silent) -> None:
        """Built at the first use and kept on disk. Raises DataError where there are no goals."""
        self.catalogue, self.human = catalogue, human
        self.names_to_draw: dict[Compat | None, Names] = {}
        key = f"{catalogue.sha256}/{seed}/{human}/{shuffle_seed}/{cache.code_hash(_BUILDERS)}"
        name = f"goals-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        home = cache.built(name, lambda part: _build(catalogue, part, seed, human, shuffle_seed, tell))
        self.order: NDArray[np.int64] = cache.load_array(home, "order")
        self._places: NDArray[np.int64] = cache.load_array(home, "places")
        self.reachable: NDArray[np.bool_] = cache.load_array(home, "reachable")
        self.prices: NDArray[np.float64] = cache.load_array(home, "prices")
        self._owners: NDArray[np.int64] = cache.load_array(home, "owners")
        self._firsts: NDArray[np.int64] = cache.load_array(home, "firsts")
        self._bounds: NDArray[np.float64] = cache.load_array(home, "bounds")
        self._parts = {split: cache.load_array(home, split) for split in _PARTS}

    def __len__(self) -> int:
        """Number of goals."""
        return len(self.order)

    def goal(self, number: int, stock: Stock | None = None) -> Goal:
        """The goal of that number, as its product is called in `stock`; None: in the catalogue."""
        owner, k = self._origin(number)
        product = (stock or self.catalogue).product(int(self._owners[owner]))
        bound = float(self._bounds[number if self.human else owner])
        make = _human_goal if self.human else _synthetic_goal
        return make(product, k, name=self.name(number), bound=bound, reachable=bool(self.reachable[number]))

    def name(self, number: int) -> str:
        """The name of a goal."""
        owner, k = self._origin(number)
        return f"{self.catalogue.asin(int(self._owners[owner]))}/{k}"

    def number(self, name: str) -> int:
        """The number of a goal. Raises UnknownName where there is none of that name."""
        asin, _, k = name.rpartition("/")
        if not asin or not k.isdecimal():
            raise UnknownName(f"a goal is called <ASIN>/<number>, not {name!r}")
        product = self.catalogue.number_of(asin)
        owner = int(np.searchsorted(self._owners, product))
        if owner == len(self._owners) or self._owners[owner] != product:
            raise UnknownName(f"no goal {name!r}: nobody asks for product {asin}")
        first, stop = self._firsts[owner : owner + 2].tolist()
        if int(k) >= stop - first:
            raise UnknownName(f"no goal {name!r}: those of {asin} are numbered 0 to {stop - first - 1}")
        return int(first + int(k))

    def _origin(self, number: int) -> tuple[int, int]:
        """Whose goal it is, a place in the list of owners, and the how manieth of that product."""
        owner = int(np.searchsorted(self._firsts, number, side="right")) - 1
        return owner, number - int(self._firsts[owner])

    def owner(self, number: int) -> int:
        """The number of the product that a goal is about."""
        return int(self._owners[self._origin(number)[0]])

    def split(self, split: str, compat: Compat | None) -> NDArray[np.int64]:
        """Goal numbers of a split, in order. Raises UnknownName where there is no such split.

        With `compat` those at the places in the order that the original gives the split. Else those of the
        products that belong to the split, unreachable ones left out.
        """
        known = _PARTS if compat is None else _PLACES[compat]
        if split not in known:
            raise UnknownName(f"unknown split {split!r}; known: {', '.join(known)}{nearest(split, known)}")
        if compat is None:
            return self._parts[split]
        start, stop = _PLACES[compat][split]
        return self.order[start:stop]

    def holds(self, split: str, compat: Compat | None, number: int) -> bool:
        """Whether a goal is in a split."""
        if compat is None:
            product = self._owners[self._origin(number)[0]]
            return bool(self.reachable[number]) and _part(self.catalogue.titles[product]) in _PARTS[split]
        start, stop = _PLACES[compat][split]
        return start <= int(self._places[number]) < (len(self) if stop is None else stop)


class Goals:
    """The goals of one split. What `env.games` is: a game here is a goal."""

    def __init__(self, goals: GoalSet, split: str, compat: Compat | None) -> None:
        """Raises UnknownName where there is no such split, DataError where it is empty."""
        self.all, self.split, self.compat = goals, split, compat
        self.numbers = goals.split(split, compat)
        if not len(self.numbers):
            raise DataError(f"split {split!r} of {goals.catalogue.version} has no goals: the catalogue is too small")

    def __len__(self) -> int:
        """Number of goals."""
        return len(self.numbers)

    def names(self) -> Sequence[str]:
        """The name of every goal, in order; each is made when looked at."""
        return _Names(self)

    def at(self, index: int) -> Goal:
        """The goal at a place in the order of the split. Raises UnknownName where there is none."""
        if not 0 <= index < len(self):
            raise UnknownName(f"no goal {index}: split {self.split!r} has goals 0 to {len(self) - 1}")
        return self.all.goal(int(self.numbers[index]))

    def game(self, name: str) -> Goal:
        """The goal of that name. Raises UnknownName where the split has none."""
        return self.all.goal(self._number(name))

    def renumbered(self, name: str, shop: RenumberedShop) -> Goal:
        """The goal of that name as it is called in `shop`, which from now on knows what is asked for."""
        number = self._number(name)
        shop.ask_for(self.all.owner(number))
        return self.all.goal(number, shop)

    def names_to_draw(self) -> Names:
        """What renumbered shops draw from: the products of the split `train`. Made once for all environments."""
        if self.compat not in self.all.names_to_draw:
            owners = {self.all.owner(number) for number in self.all.split("train", self.compat).tolist()}
            products = [self.all.catalogue.product(owner) for owner in sorted(owners)]
            self.all.names_to_draw[self.compat] = Names(products)
        return self.all.names_to_draw[self.compat]

    def place(self, name: str) -> int:
        """Where the goal of that name stands in the order of the split: `at(place(name))` is `game(name)`.

        Raises UnknownName where the split has none.
        """
        return int(np.flatnonzero(self.numbers == self._number(name))[0])

    def _number(self, name: str) -> int:
        """The number of a goal of this split."""
        number = self.all.number(name)
        if not self.all.holds(self.split, self.compat, number):
            why = "" if self.compat or self.all.reachable[number] else ": it cannot be reached and is left out"
            raise UnknownName(f"no goal {name!r} in split {self.split!r}{why}")
        return number


class _Names(Sequence[str]):
    """Names of the goals of a split."""

    def __init__(self, goals: Goals) -> None:
        self._goals = goals

    def __len__(self) -> int:
        return len(self._goals)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        goals = self._goals
        if isinstance(place, slice):
            return [goals.all.name(number) for number in goals.numbers[place].tolist()]
        return goals.all.name(int(goals.numbers[place]))


# Goals in use, so that many environments share them; forgotten when the last user is gone.
_open: WeakValueDictionary[tuple[str, int, bool, int], GoalSet] = WeakValueDictionary()


def open_goals(
    catalogue: Catalogue,
    split: str,
    *,
    seed: int = 0,
    human: bool = False,
    compat: Compat | None = None,
    tell: Tell = silent,
) -> Goals:
    """The goals of a split of a catalogue. human: those written by people instead of the synthetic ones. tell: hears
    how far they are, where they have to be built."""
    if compat is not None and compat not in get_args(Compat):
        raise ValueError(f"compat must be None or one of {', '.join(get_args(Compat))}, not {compat!r}")
    shuffle_seed = _PRINCETON_SHUFFLE if compat == "princeton" else seed
    key = (catalogue.sha256, seed, human, shuffle_seed)
    goals = _open.get(key)
    if goals is None:
        goals = _open[key] = GoalSet(catalogue, seed, human, shuffle_seed, tell)
    return Goals(goals, split, compat)


def _build(catalogue: Catalogue, folder: Path, seed: int, human: bool, shuffle_seed: int, tell: Tell) -> None:
    """Writes everything that `GoalSet` opens."""
    counts = catalogue.human if human else catalogue.combinations
    owners = np.flatnonzero(counts > 0 if human else counts >= 0)
    firsts = np.concatenate([[0], np.cumsum(counts[owners])])
    total = int(firsts[-1])
    if not total:
        kind = "instruction written by a person" if human else "instruction"
        raise DataError(f"{catalogue.version} has no goals: no product has an {kind}")
    draw = random.Random(seed)
    prices = np.array([_price(low, high, draw) for low, high in catalogue.prices.tolist()])
    drawn_for = np.repeat(owners, counts[owners]) if human else owners
    order = list(range(total))
    random.Random(shuffle_seed).shuffle(order)
    shuffled = np.array(order)
    reachable = np.concatenate(list(_all_reachable(catalogue, owners.tolist(), human, tell)))
    arrays: dict[str, NDArray[np.generic]] = {
        "owners": owners,
        "firsts": firsts,
        "prices": prices,
        "bounds": np.array([_bound(price, draw) for price in prices[drawn_for].tolist()]),
        "order": shuffled,
        "places": np.argsort(shuffled),
        "reachable": reachable,
    }
    part = np.repeat(_part(catalogue.titles[owners]), counts[owners])
    for split, parts in _PARTS.items():
        arrays[split] = shuffled[(np.isin(part, parts) & reachable)[shuffled]]
    for name, values in arrays.items():
        cache.save_array(folder, name, values)


def _part(titles: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Which tenth of the catalogue a product belongs to; products of one title to the same."""
    return titles % np.uint64(10)


def _price(low: float, high: float, draw: random.Random) -> float:
    """What a product costs: of a range, any price in it."""
    return low if math.isnan(high) else draw.uniform(low, high)


def _bound(price: float, draw: random.Random) -> float:
    """The most that a product of this price may cost: the larger of two of the next four tens."""
    first = bisect_right(_BOUNDS, price)
    tens = _BOUNDS[first : first + 4]
    return float(max(draw.sample(tens, 2))) if len(tens) >= 2 else NO_BOUND


def _price_text(bound: float) -> str:
    return f", and price lower than {bound:.2f} dollars" if bound < NO_BOUND else ""


def _synthetic_goal(product: Product, k: int, *, name: str, bound: float, reachable: bool) -> Goal:
    """The k-th combination of a product's options, names in alphabetical order, the last turning fastest."""
    assert product.instruction is not None
    chosen = {}
    for option in sorted(product.options, reverse=True):
        k, place = divmod(k, len(product.options[option]))
        chosen[option] = product.options[option][place]
    options = tuple(reversed(chosen.items()))
    asked = " with " + ", and ".join(f"{option}: {value}" for option, value in options) if options else ""
    return Goal(
        name=name,
        product=product,
        text=product.instruction + asked + _price_text(bound),
        attributes=product.wanted,
        options=options,
        price_upper=bound,
        reachable=reachable,
    )


def _human_goal(product: Product, k: int, *, name: str, bound: float, reachable: bool) -> Goal:
    """The k-th instruction for a product that names any attributes."""
    given = _with_attributes(product)[k]
    return Goal(
        name=name,
        product=product,
        text=given.instruction.strip(".") + _price_text(bound),
        attributes=given.attributes,
        options=tuple(("", value) for value in given.options),
        price_upper=bound,
        reachable=reachable,
    )


def _with_attributes(product: Product) -> list[HumanGoal]:
    return [goal for goal in product.human_goals if goal.attributes]


def _all_reachable(catalogue: Catalogue, owners: Sequence[int], human: bool, tell: Tell) -> Iterator[NDArray[np.bool_]]:
    """`_reachable` of one product after another."""
    for done, owner in enumerate(owners, start=1):
        yield _reachable(catalogue.product(owner), human)
        if done % _TOLD == 0 or done == len(owners):
            tell("checking goals", done, len(owners))


def _reachable(product: Product, human: bool) -> NDArray[np.bool_]:
    """For each goal of a product whether buying that very product can score 1.

    Its price is below the bound, and its type is right. A synthetic goal is to be reached with the very options
    that it asks for, one written by a person with any of the product's options.
    """
    if human:
        return np.array(
            [
                all(attribute_met(wanted, product) for wanted in goal.attributes)
                and _can_choose(list(goal.options), product.options, {})
                for goal in _with_attributes(product)
            ]
        )
    size = math.prod(len(values) for values in product.options.values())
    if not all(attribute_met(wanted, product) for wanted in product.wanted):
        return np.zeros(size, dtype=np.bool_)
    names = sorted(product.options)
    if all(option_met(name, value, [value]) for name in names for value in product.options[name]):
        return np.ones(size, dtype=np.bool_)
    combinations = itertools.product(*(product.options[name] for name in names))
    return np.array(
        [
            all(option_met(name, value, values) for name, value in zip(names, values, strict=True))
            for values in combinations
        ]
    )


def _can_choose(wanted: list[str], options: Mapping[str, tuple[str, ...]], chosen: Mapping[str, str]) -> bool:
    """Whether options can be chosen, one value of each, so that every wanted value is met."""
    if not wanted:
        return True
    return any(
        option_met("", wanted[0], [value]) and _can_choose(wanted[1:], options, {**chosen, name: value})
        for name, values in options.items()
        for value in values
        if chosen.get(name, value) == value
    )
