"""What the templates draw: a scene of the shop in words and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hiper.envs.webshop.goals import NO_BOUND
from hiper.envs.webshop.pages import SEPARATOR
from hiper.envs.webshop.product import Product
from hiper.envs.webshop.reward import Goal, attribute_met, option_met
from hiper.envs.webshop.session import (
    BACK_TO_SEARCH,
    BELOW_ITEM,
    BUY,
    NEXT,
    PER_PAGE,
    PREVIOUS,
    Page,
    parse_action,
)
from hiper.envs.webshop.site.shop import Scene, Shop

_TABS: Final = {name: name.capitalize() for name in BELOW_ITEM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """Something to click. number: its place among the commands offered, None where it is not offered now.

    chosen: the value is the chosen one. done: it is what was clicked next, in a replay.
    """

    label: str
    number: int | None
    chosen: bool = False
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A product found. rank: from 1."""

    rank: int
    asin: str
    title: str
    price: str
    open: Button


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An option of a product with its values; chosen: "" before the choice."""

    name: str
    chosen: str
    values: tuple[Button, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Something that was asked for, and whether the purchase has it."""

    kind: str
    text: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The purchase beside what was wanted. met, asked: the points in the formula. factor: of the kind of product."""

    total: float
    met: int
    asked: int
    factor: float
    because: str
    wishes: tuple[Wish, ...]
    wanted: Product
    wanted_options: tuple[tuple[str, str], ...]
    bound: str
    bought: Product
    bought_options: Mapping[str, str]
    price: str
    same: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A page of the shop. query: what stands in the search field. searched: whether a search came next, in a replay.

    nowhere: the last action did nothing. pieces: the observation in its pieces.
    """

    page: str
    goal: Goal
    kind: str
    live: bool
    over: bool
    nowhere: bool
    steps: int
    query: str
    searched: bool
    back: Button
    previous: Button
    next: Button
    number: int
    total: int
    results: tuple[Result, ...]
    product: Product | None
    price: str
    choices: tuple[Choice, ...]
    tabs: tuple[Button, ...]
    buy: Button
    receipt: Receipt | None
    observation: str
    pieces: tuple[str, ...]
    commands: tuple[str, ...]
    actions: tuple[str, ...]


class _Buttons:
    """Makes the buttons of a page."""

    def __init__(self, scene: Scene, clicked: str) -> None:
        self._numbers = {} if scene.over else {command: place for place, command in enumerate(scene.commands)}
        self._clicked = clicked

    def __call__(self, label: str, target: str, *, chosen: bool = False) -> Button:
        number = self._numbers.get(f"click[{target}]")
        return Button(label=label, number=number, chosen=chosen, done=target == self._clicked)


def view(shop: Shop, scene: Scene, *, next_action: str | None = None) -> View:
    """The page of a scene. next_action: what was done there, of a page that is shown and not played."""
    state = scene.state
    parsed = None if next_action is None else parse_action(next_action, shop.official)
    searched = parsed is not None and parsed[0] == "search"
    make = _Buttons(scene, parsed[1] if parsed is not None and not searched else "")
    product = shop.catalogue.product(state.product) if state.product >= 0 else None
    tabs = tuple(make(label, name, chosen=state.page is BELOW_ITEM[name]) for name, label in _TABS.items())
    return View(
        page=state.page.value,
        goal=scene.goal,
        kind=scene.goal.product.category,
        live=next_action is None and not scene.over,
        over=scene.over,
        nowhere=not scene.moved,
        steps=len(scene.actions),
        query=parsed[1] if parsed is not None and searched else "",
        searched=searched,
        back=make("Back to search", BACK_TO_SEARCH),
        previous=make("Previous" if state.page is Page.RESULTS else "Back", PREVIOUS),
        next=make("Next", NEXT),
        number=state.number,
        total=len(state.found),
        results=_results(shop, scene, make) if state.page is Page.RESULTS else (),
        product=product,
        price=money_tag(product) if product else "",
        choices=_choices(product, state.options, make) if product else (),
        tabs=tabs,
        buy=make("Buy now", BUY),
        receipt=_receipt(shop, scene) if scene.score else None,
        observation=scene.observation,
        pieces=tuple(scene.observation.split(SEPARATOR)),
        commands=scene.commands,
        actions=scene.actions,
    )


def _results(shop: Shop, scene: Scene, make: _Buttons) -> tuple[Result, ...]:
    """The products on a page of results."""
    first = PER_PAGE * (scene.state.number - 1) + 1
    rows = []
    for rank, number in enumerate(scene.state.shown(), start=first):
        product = shop.catalogue.product(number)
        rows.append(
            Result(
                rank=rank,
                asin=product.asin,
                title=product.title or "(no title)",
                price=money_tag(product),
                open=make(product.title or product.asin, product.asin.lower()),
            )
        )
    return tuple(rows)


def _choices(product: Product, chosen: Mapping[str, str], make: _Buttons) -> tuple[Choice, ...]:
    """The options of a product."""
    return tuple(
        Choice(
            name=name,
            chosen=chosen.get(name, ""),
            values=tuple(make(value, value, chosen=chosen.get(name) == value) for value in dict.fromkeys(values)),
        )
        for name, values in product.options.items()
    )


def _receipt(shop: Shop, scene: Scene) -> Receipt:
    """The purchase and its score."""
    goal, parts, chosen = scene.goal, scene.score, scene.state.options
    assert parts is not None
    bought = shop.catalogue.product(scene.state.product)
    wishes = [Wish(kind="attribute", text=text, met=attribute_met(text, bought)) for text in goal.attributes]
    for name, value in goal.options:
        met = option_met(name, value, chosen.values())
        wishes.append(Wish(kind=name or "option", text=value, met=met))
    bound = "any price" if goal.price_upper >= NO_BOUND else f"at most {dollars(goal.price_upper)}"
    wishes.append(Wish(kind="price", text=bound, met=parts.price))
    return Receipt(
        total=parts.total,
        met=sum(wish.met for wish in wishes),
        asked=len(wishes),
        factor=parts.type,
        because=_because(scene),
        wishes=tuple(wishes),
        wanted=goal.product,
        wanted_options=goal.options,
        bound=bound,
        bought=bought,
        bought_options=chosen,
        price=dollars(shop.price(scene.state.product)),
        same=bought.asin == goal.product.asin,
    )


def _because(scene: Scene) -> str:
    """Why the factor of the kind is what it is."""
    parts = scene.score
    assert parts is not None
    shared = f"{100 * parts.title:.0f} % of the nouns of the wanted title are in this one"
    if parts.type < 0.5:
        return f"another kind of product: {shared}"
    if parts.same_query:
        return "the same kind of product: found under the same query"
    if parts.same_category:
        return "the same kind of product: two common parts of the category"
    return f"{'the same kind of product' if parts.type == 1 else 'a product of another kind'}: {shared}"


def money_tag(product: Product) -> str:
    """The price of a product for people: `$12.50`, or both ends of a range."""
    return " to ".join(map(dollars, product.prices))


def dollars(amount: float) -> str:
    """`12.5 -> "$12.50"`."""
    return f"${amount:,.2f}"
