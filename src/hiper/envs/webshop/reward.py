"""The score of a purchase, between 0 and 1: WebShop's formula.

    score = type * (attributes met + options met + price met) / (attributes + options + 1)

Everything the goal asks for is compared as text, and leniently: '9' passes for '9 wide', 'dark green' for
'dark grey'. The type factor is 1 for the same kind of product, else 0.5, 0.1 or 0 by how much the nouns of
the two titles have in common.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from rapidfuzz import fuzz

from hiper.envs.webshop.product import Product

Nouns = Callable[[str], list[str]]  # the nouns of a title, lower-case, in order, with repetitions
_ALIKE: Final = 85  # of 100; more than this is a match
# The colour words of WebShop, in its order: the first that occurs in a value stands for the whole value.
_COLOURS_TEXT: Final = """
alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy
camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral
cranberry cream crystal dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass
gray green grey heather indigo ivory ivy khaki lavender lemon leopard light lilac lime magenta maroon
mauve merlot midnight mint mocha multicolor mushroom mustard natural navy nude olive orange peach pewter
pink plum purple rainbow red rose royal rust sand sapphire seashell silver skull slate steel stone
stonewash sunflower tan taupe teal tiger turquoise violet walnut wheat white wine yellow
"""
COLOURS: Final = tuple(_COLOURS_TEXT.split())
_NO_WORD: Final = re.compile(r"\W")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is to be bought.

    options: (name, value) pairs; the name is empty where only the value is asked for, as in instructions
    written by people. price_upper: dollars. reachable: whether the product itself can score 1.
    """

    name: str
    product: Product
    text: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    price_upper: float
    reachable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score and where it comes from. `options` is None where the goal asks for none.

    type: the factor. attributes, options: share met. title: share of the goal title's nouns found.
    """

    total: float
    type: float
    attributes: float
    options: float | None
    price: bool
    title: float
    same_query: bool
    same_category: bool


def score(goal: Goal, product: Product, chosen: Mapping[str, str], price: float, nouns: Nouns) -> Score:
    """The score for buying a product with the chosen options (value by name) at a price in dollars."""
    attributes = sum(attribute_met(wanted, product) for wanted in goal.attributes)
    options = sum(option_met(name, value, chosen.values()) for name, value in goal.options)
    affordable = price <= goal.price_upper
    same_query = product.query == goal.product.query
    same_category = _same_category(product.product_category, goal.product.product_category)
    title = title_overlap(nouns(goal.product.title), nouns(product.title))
    factor = type_factor(title, same_query or same_category)
    met = attributes + options + affordable
    return Score(
        total=met / (len(goal.attributes) + len(goal.options) + 1) * factor,
        type=factor,
        attributes=attributes / len(goal.attributes),
        options=options / len(goal.options) if goal.options else None,
        price=affordable,
        title=title,
        same_query=same_query,
        same_category=same_category,
    )


def attribute_met(wanted: str, product: Product) -> bool:
    """Whether a product has an attribute: in its list, or literally in its texts."""
    return (
        any(_alike(wanted, attribute) for attribute in product.attributes)
        or wanted in product.title.lower()
        or wanted in " ".join(product.bullets).lower()
        or wanted in product.description.lower()
    )


def option_met(name: str, value: str, chosen: Collection[str]) -> bool:
    """Whether one of the chosen values passes for the wanted one.

    Of a chosen value only its colour counts, if it has one. A wanted value counts as it is, together with the
    name of its option, unless it is a colour and nothing else.
    """
    if not name:
        wanted = colour_of(value)
    else:
        wanted = next((colour for colour in COLOURS if colour in (name, value)), f"{name} {value}")
    return any(_alike(wanted, colour_of(bought)) for bought in chosen)


@lru_cache(maxsize=1 << 14)
def colour_of(value: str) -> str:
    """The first of the colour words that the value contains, else the value itself."""
    return next((colour for colour in COLOURS if colour in value), value)


def title_overlap(wanted: Collection[str], bought: Collection[str]) -> float:
    """Distinct nouns in common, over all nouns wanted, repetitions counted; 0.2 where none is wanted."""
    return len(set(wanted) & set(bought)) / len(wanted) if wanted else 0.2


def type_factor(title: float, same_kind: bool) -> float:
    """The factor of the whole score: 1, 0.5, 0.1 or 0."""
    if title == 0:
        return 0.0
    if title < 0.1:
        return 0.1
    return 1.0 if same_kind or title > 0.2 else 0.5


def _same_category(one: str, other: str) -> bool:
    """Whether two categories, written 'A › B › C', have two parts in common."""
    return len(_parts(one) & _parts(other)) >= 2


def _parts(category: str) -> set[str]:
    return {part.strip() for part in category.split("›")}


def _alike(one: str, other: str) -> bool:
    """Whether two texts have nearly the same words, or one has all words of the other."""
    a, b = _plain(one), _plain(other)
    return bool(a and b) and (a == b or fuzz.token_set_ratio(a, b) > _ALIKE)


@lru_cache(maxsize=1 << 14)
def _plain(text: str) -> str:
    """Lower-case ASCII words."""
    return _NO_WORD.sub(" ", text.encode("ascii", "ignore").decode()).lower().strip()
