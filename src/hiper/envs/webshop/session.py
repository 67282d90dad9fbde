"""One visit to the shop: where the visitor is, what can be clicked there, and where an action leads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

import numpy as np

from hiper.envs.webshop.catalogue import Stock
from hiper.envs.webshop.index import Numbers

PER_PAGE: Final = 10
BACK_TO_SEARCH: Final = "back to search"
PREVIOUS: Final = "< prev"
NEXT: Final = "next >"
BUY: Final = "buy now"
SEARCH: Final = "search"
_ACTION: Final = re.compile(r"([^\[]+)\[(.+)\]", re.DOTALL)
_OFFICIAL_ACTION: Final = re.compile(r"(.+)\[(.+)\]")


class Page(Enum):
    """The pages of the shop. The value of those below a product is the name of the button that leads there."""

    START = "start"
    RESULTS = "results"
    ITEM = "item"
    DESCRIPTION = "description"
    FEATURES = "features"
    REVIEWS = "reviews"
    DONE = "done"


BELOW_ITEM: Final = {page.value: page for page in (Page.DESCRIPTION, Page.FEATURES, Page.REVIEWS)}
_NOTHING: Final = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """Where a visitor is.

    found: products of the last search, best first. number: the page of results, from 1. product: the one that
    is looked at. options: chosen values by option name.
    """

    page: Page = Page.START
    found: Numbers = field(default_factory=lambda: _NOTHING)
    number: int = 1
    product: int = -1
    options: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> list[int]:
        """The products on this page of results."""
        first = PER_PAGE * (self.number - 1)
        return [int(number) for number in self.found[first : first + PER_PAGE]]

    def has_more(self) -> bool:
        """Whether there are results behind this page."""
        return PER_PAGE * self.number < len(self.found)


def parse_action(action: str, official: bool) -> tuple[str, str] | None:
    """`("click", "buy now")` of `click[Buy Now]`; None of anything that is no action.

    Read up to the last `]`; what follows is ignored. The name ends at the first `[`, with `official` at the
    last, so that nothing with a bracket in it can be said.
    """
    match = (_OFFICIAL_ACTION if official else _ACTION).match(action)
    return (match[1], match[2].lower()) if match and match[1] in {"search", "click"} else None


def clickables(catalogue: Stock, state: State, official: bool) -> list[str]:
    """What can be clicked: buttons first, then products or option values, all lower-case.

    With `official` also what does nothing: `search`, the value that is already chosen, and `next >` on the last
    page of results, which leads to an empty one.
    """
    match state.page:
        case Page.START:
            return [SEARCH] if official else []
        case Page.RESULTS:
            found = [BACK_TO_SEARCH]
            found += [PREVIOUS] if state.number > 1 else []
            found += [NEXT] if official or state.has_more() else []
            return found + [catalogue.asin(number).lower() for number in state.shown()]
        case Page.ITEM:
            found = [BACK_TO_SEARCH, PREVIOUS, *BELOW_ITEM, BUY]
            options = catalogue.product(state.product).options
            values = dict.fromkeys(value for values in options.values() for value in values)
            if not official:
                done = {"", *found, *state.options.values()}
                values = {value: None for value in values if value not in done}
            return list(dict.fromkeys([*found, *values]))
        case Page.DONE:
            return []
        case _:
            return [BACK_TO_SEARCH, PREVIOUS]


def search(catalogue: Stock, keywords: str, rng: np.random.Generator) -> State:
    """The first page of results. Possible on every page; what was chosen is forgotten."""
    return State(page=Page.RESULTS, found=catalogue.search(keywords, rng))


def click(catalogue: Stock, state: State, target: str) -> State:
    """The state after clicking one of the `clickables`."""
    if target == BACK_TO_SEARCH:
        return State()
    match state.page:
        case Page.RESULTS:
            return _click_result(catalogue, state, target)
        case Page.ITEM:
            return _click_item(catalogue, state, target)
        case Page.START | Page.DONE:
            return state  # `search` is a button for people: its text field is empty
        case _:
            return replace(state, page=Page.ITEM)  # back from what is below a product


def _click_result(catalogue: Stock, state: State, target: str) -> State:
    """A click on a page of results. Turning pages and opening a product forget the options."""
    if target in {NEXT, PREVIOUS}:
        return replace(state, number=state.number + (1 if target == NEXT else -1))
    product = next(number for number in state.shown() if catalogue.asin(number).lower() == target)
    return replace(state, page=Page.ITEM, product=product)


def _click_item(catalogue: Stock, state: State, target: str) -> State:
    """A click on the page of a product."""
    if target == PREVIOUS:
        return replace(state, page=Page.RESULTS, product=-1, options={})
    if target == BUY:
        return replace(state, page=Page.DONE)
    if target in BELOW_ITEM:
        return replace(state, page=BELOW_ITEM[target])
    owner = _owner(catalogue.product(state.product).options, target)
    return replace(state, options={**state.options, owner: target})


def _owner(options: Mapping[str, Iterable[str]], value: str) -> str:
    """The option that a value is of; of several the last."""
    return [name for name, values in options.items() if value in values][-1]
