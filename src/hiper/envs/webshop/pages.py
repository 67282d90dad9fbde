"""What a visitor reads: the visible text of a page, piece by piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from hiper.envs.webshop.catalogue import Stock
from hiper.envs.webshop.session import Page, State

SEPARATOR: Final = " [SEP] "
_ESCAPED: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "'": "\\u0027"})
# The page after a purchase, in the spelling of the original.
_TARGET: Final = ("asin", "options", "attrs", "price upper", "instuction text", "category", "product category", "query")


def text(catalogue: Stock, state: State, instruction: str, score: float, official: bool) -> str:
    """The text of a page. score: of the purchase, for the page after it.

    With `official` to the letter what the original shows. Else the page of a product also says what is chosen,
    a piece `Chosen <option>: <value>` each before `Buy Now`, and `Next >` stands only where there is more.
    """
    return SEPARATOR.join(
        piece.strip() for piece in _pieces(catalogue, state, instruction, score, official) if _is_visible(piece)
    )


def _is_visible(piece: str) -> bool:
    """Whether a piece counts: not where it is empty, nor where it is white space with a line break in it."""
    return bool(piece) and not (piece.isspace() and "\n" in piece)


def _pieces(catalogue: Stock, state: State, instruction: str, score: float, official: bool) -> list[str]:
    """All pieces of a page, as they are written there."""
    if state.page is Page.START:
        return ["WebShop", "Instruction:", instruction, "Search"]
    if state.page is Page.DONE:
        return _done(catalogue, state, score)
    pieces = ["Instruction:", instruction, "Back to Search"]
    if state.page is Page.RESULTS:
        return pieces + _results(catalogue, state, official)
    return [*pieces, "< Prev", *_about_product(catalogue, state, official)]


def _results(catalogue: Stock, state: State, official: bool) -> list[str]:
    """A page of search results."""
    pieces = [f"Page {state.number} (Total results: {len(state.found)})"]
    pieces += ["< Prev"] if state.number > 1 else []
    pieces += ["Next >"] if official or state.has_more() else []
    for number in state.shown():
        product = catalogue.product(number)
        pieces += [product.asin, product.title, product.price_tag]
    return pieces


def _about_product(catalogue: Stock, state: State, official: bool) -> list[str]:
    """The page of a product, or one below it."""
    product = catalogue.product(state.product)
    match state.page:
        case Page.DESCRIPTION:
            return [product.description]
        case Page.FEATURES:
            return [bullet or " " for bullet in product.bullets]  # an empty one leaves an empty piece
        case Page.REVIEWS:
            return []  # the data has none
    pieces = [piece for name, values in product.options.items() for piece in (name, *values)]
    pieces += [product.title, f"Price: {product.price_tag}", "Rating: N.A.", "Description", "Features", "Reviews"]
    if not official:
        pieces += [f"Chosen {name}: {value}" for name, value in state.options.items()]
    return [*pieces, "Buy Now"]


def _done(catalogue: Stock, state: State, score: float) -> list[str]:
    """The page after a purchase."""
    return [
        *("Thank you for shopping with us!", "Your code:", "None", "(Paste it in your MTurk interface.)"),
        *("Purchased", "asin", catalogue.asin(state.product), "options", _json(state.options)),
        *("attrs", "None", "category", "None", "query", "None", "product category", "None"),
        *("Target", *_TARGET, "Goal", "None", "Reward", "Your score (min 0.0, max 1.0)", str(score)),
        *("Reward Details", "None"),
    ]


def _json(options: Mapping[str, str]) -> str:
    """The options as they stand in a page's source, keys sorted."""
    return json.dumps(dict(options), sort_keys=True).translate(_ESCAPED)
