"""What the generated shop sells: families of products that are easily taken for one another.

Kinds, brands, colours and all other words are our own (`words/`); how many options and attributes a product has and
what it costs follow the statistics of the official catalogue, which stand in the same files as quantiles and counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from hiper.envs.dice import Dice

Place = str  # of an attribute in an instruction: "front" of the noun, or behind "with" or "for"; "more": in none

PLACES: Final = {"front": 47, "with": 37, "for": 16}  # odds
_CATEGORIES: Final = ("beauty", "electronics", "garden", "fashion", "grocery")
_LEVELS: Final = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)  # where the numbers of a list of quantiles stand
_FAMILY_SIZES: Final = {1: 30, 2: 25, 3: 20, 4: 12, 5: 8, 6: 5}
_ENDINGS: Final = {99: 50, 0: 12, 95: 8, 98: 3, 49: 3, 50: 3, None: 21}  # cents of a price; None: any
_COLOURING: Final = {"plain": 33, "shaded": 34, "two-tone": 9, "coded": 19, "glued": 5}
_PLAIN_IF_WANTED: Final = 0.75  # odds of no options where the product is asked for, over the odds elsewhere


# Word lists


class Attribute(NamedTuple):
    """What can be asked for: `Attribute("easy use", "easy to use", "front")`. `text` is how a product says it."""

    name: str
    text: str
    place: Place


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is sold under one query of one category."""

    words: Mapping[str, Any]  # the file of the category
    query: str
    path: str
    nouns: tuple[str, ...]
    size: str
    price: str
    attributes: Mapping[Place, tuple[Attribute, ...]]


def _attributes(words: Mapping[str, Any], place: Place) -> tuple[Attribute, ...]:
    """The attributes of a table, written `name` or `name=text`."""
    pairs = (entry.partition("=") for entry in words.get(place, ()))
    return tuple(Attribute(name, text or name, place) for name, _, text in pairs)


def _words(name: str) -> dict[str, Any]:
    """A file of word lists."""
    return tomllib.loads((files(__package__) / "words" / f"{name}.toml").read_text(encoding="utf-8"))


@cache
def shared_words() -> dict[str, Any]:
    """The word lists that all categories share."""
    return _words("common")


@cache
def _categories() -> tuple[dict[int, float], tuple[tuple[_Kind, ...], ...]]:
    """The odds of each category, and its kinds."""
    tables = [_words(name) for name in _CATEGORIES]
    odds = {i: float(table["share"]) for i, table in enumerate(tables)}
    return odds, tuple(tuple(_kind(table, row) for row in table["kinds"]) for table in tables)


def _kind(table: dict[str, Any], row: dict[str, Any]) -> _Kind:
    """One kind. Attributes of its own come up four times as often as those of the whole category."""
    return _Kind(
        words=table,
        query=row["query"],
        path=f"{table['root']} › {row['path']}",
        nouns=tuple(row["nouns"]),
        size=row["size"],
        price=row.get("price", ""),
        attributes={place: _attributes(row, place) * 4 + _attributes(table, place) for place in (*PLACES, "more")},
    )


# Families


@dataclass(frozen=True, slots=True)
class Draft:
    """What a product is. `wanted`: the attributes that its instruction asks for; () where there is none."""

    kind: _Kind
    brand: str
    style: str
    noun: str
    wanted: tuple[Attribute, ...]
    more: tuple[Attribute, ...]
    options: Mapping[str, tuple[str, ...]]
    price: float


def look_alikes(dice: Dice) -> Iterator[Draft]:
    """Products that are easily taken for one another."""
    odds, kinds = _categories()
    draft = _first(dice.one(kinds[dice.weighted(odds)]), dice)
    for _ in range(dice.weighted(_FAMILY_SIZES)):
        yield draft
        draft = _look_alike(draft, dice)


def _first(kind: _Kind, dice: Dice) -> Draft:
    """The first of a family."""
    words = kind.words
    wanted: tuple[Attribute, ...] = ()
    if dice.chance(words["goal_share"]):
        wanted = _drawn(kind, _histogram(words["goal_attributes"], dice), PLACES, (), dice)
        more = _drawn(kind, _histogram(words["more_attributes"], dice), {"more": 1}, wanted, dice)
    else:
        more = _drawn(kind, _histogram(words["attributes_without_goal"], dice), {"more": 1, **PLACES}, (), dice)
    odds = words["options"]
    if wanted:
        odds = {**odds, "": _PLAIN_IF_WANTED * odds[""]}
    level = dice.below(1_000_000) / 1_000_000
    if kind.price:
        level = level / 2 + (0.5 if kind.price == "high" else 0.0)
    return Draft(
        kind=kind,
        brand=_brand(dice),
        style=dice.one(words["styles"]),
        noun=dice.one(kind.nouns),
        wanted=wanted,
        more=more,
        options={name: _values(kind, name, dice) for name in dice.weighted(odds).split("+") if name},
        price=_price(quantile(words["price"], level), dice),
    )


def _look_alike(draft: Draft, dice: Dice) -> Draft:
    """Nearly the same again: another attribute, option value or price, and often of another brand."""
    if dice.chance(0.4):
        draft = replace(draft, brand=_brand(dice))
    how = dice.weighted({"attribute": 4.0 * bool(draft.wanted), "option": 4.0 * bool(draft.options), "price": 1.0})
    if how == "option":
        name = dice.one(list(draft.options))
        return replace(draft, options={**draft.options, name: _changed_values(draft, name, dice)})
    if how == "attribute":
        out = dice.one(draft.wanted)
        rest = tuple(one for one in draft.wanted if one is not out)
        others = _drawn(draft.kind, 1, {out.place: 1}, (*draft.wanted, *draft.more), dice)
        return replace(draft, wanted=rest + others)
    step = (3 + dice.below(25)) * max(1.0, draft.price // 100)
    moved = draft.price + (step if draft.price < step + 1 or dice.chance(0.5) else -step)
    return replace(draft, price=round(moved, 2))


def _drawn(
    kind: _Kind, n: int, places: Mapping[Place, float], taken: Sequence[Attribute], dice: Dice
) -> tuple[Attribute, ...]:
    """`n` different attributes, none of which is among those taken."""
    names = {one.name for one in taken}
    found: list[Attribute] = []
    while len(found) < n:
        one = dice.one(kind.attributes[dice.weighted(places)])
        if one.name not in names:
            names.add(one.name)
            found.append(one)
    return tuple(found)


def _brand(dice: Dice) -> str:
    """A name that no brand is known to have."""
    shared = shared_words()
    name = dice.one(shared["brand_starts"]) + dice.one(shared["brand_ends"])
    return f"{name} {dice.one(shared['brand_tails'])}" if dice.chance(0.15) else name


def _price(dollars: float, dice: Dice) -> float:
    """A price of about so many dollars, with cents as shops like them."""
    cents = dice.weighted(_ENDINGS)
    return max(0.99, int(dollars) + (dice.below(100) if cents is None else cents) / 100)


def _histogram(counts: Mapping[str, float], dice: Dice) -> int:
    """A number, with odds as its count."""
    return int(dice.weighted(counts))


def quantile(table: Sequence[float], level: float) -> float:
    """The number at that level, 0 to 1, between the quantiles of a table."""
    upper = next(i for i in range(1, len(_LEVELS)) if level <= _LEVELS[i])
    low, high = _LEVELS[upper - 1], _LEVELS[upper]
    return table[upper - 1] + (table[upper] - table[upper - 1]) * (level - low) / (high - low)


def draw_number(table: Sequence[float], dice: Dice) -> int:
    """A whole number drawn from quantiles."""
    return int(quantile(table, dice.below(1_000_000) / 1_000_000) + 0.5)


# Option values


def _values(kind: _Kind, name: str, dice: Dice) -> tuple[str, ...]:
    """The values of one option."""
    n = draw_number(kind.words["values"][name], dice)
    if name == "Color":
        return _colours(n, dice)
    pool = _pool(kind, name)
    n = min(n, len(pool))
    if name != "Size":
        return tuple(dice.shuffled(pool)[:n])
    start = dice.below(len(pool) - n + 1)
    return tuple(pool[start : start + n])


def _pool(kind: _Kind, name: str) -> list[str]:
    """All values that an option other than the colour can have."""
    keys = {"Fit Type": "fit", "Pattern Name": "pattern", "Item Shape": "shape", "Number of Items": "item"}
    if name == "Size":
        sizes: list[str] = shared_words()["sizes"][kind.size]
        return sizes
    key = "flavour" if name.startswith("Flavor") else keys.get(name, name.lower())
    pool: list[str] = kind.words[f"{key}_values"]
    return pool


def _colours(n: int, dice: Dice) -> tuple[str, ...]:
    """Different colours, named the way one seller names them."""
    shared = shared_words()
    how = dice.weighted(_COLOURING)
    if how == "plain" and n > len(shared["plain_colours"]) // 2:
        how = "shaded"
    letter = dice.one("ABCDEFGHKMSTXZ")
    found: dict[str, None] = {}
    while len(found) < n:
        plain = dice.one(shared["plain_colours"])
        if how == "shaded":
            kind = dice.below(4)
            shaded = f"{dice.one(shared['shades'])} {plain}"
            plain = (plain, shaded, shaded, dice.one(shared["patterns"]))[kind]
        elif how == "two-tone":
            plain = f"{plain}/{dice.one(shared['plain_colours'])}"
        elif how == "coded":
            plain = f"{letter}{len(found) + 1}-{plain}"
        elif how == "glued":
            plain = f"{plain}{letter.lower()}{len(found) + 1}"
        found[plain] = None
    return tuple(found)


def _changed_values(draft: Draft, name: str, dice: Dice) -> tuple[str, ...]:
    """The values of an option with a third of them gone, and others in place of some."""
    old = draft.options[name]
    gone = {dice.one(old), *(value for value in old if dice.chance(0.33))}
    fresh = _colours(len(old), dice) if name == "Color" else dice.shuffled(_pool(draft.kind, name))
    others = [value for value in fresh if value not in old]
    kept = [value for value in old if value not in gone]
    return (*kept, *others[: max(2 - len(kept), dice.below(len(gone) + 1))]) or old
