"""What a shopper has seen: the page in front of it, and all products it came across. Made from text and commands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Page = Literal["search", "results", "item", "text"]

_SEPARATOR: Final = " [SEP] "
_RESULTS: Final = re.compile(r"Page (\d+) \(Total results: \d+\)")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")
_COMMAND: Final = re.compile(r"(search|click)\[(.+)\]", re.DOTALL)
_BUTTONS: Final = frozenset(
    ["search", "back to search", "< prev", "next >", "description", "features", "reviews", "attributes", "buy now"]
)


@dataclass(kw_only=True)
class Product:
    """What is known of a product. `asin` is written as the page shows it; `options` is None until its own page was
    seen; `read` has its other pages by name.

    It was found with `query` on page `page` of the results, at `rank` from 0. `prices`: one, or lowest and highest.
    """

    asin: str
    title: str
    prices: tuple[float, ...]
    query: str
    page: int
    rank: int
    options: dict[str, list[str]] | None = None
    read: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its ASIN as commands offer it, and the notebook files it."""
        return self.asin.lower()

    @property
    def texts(self) -> list[str]:
        """All that was read of it."""
        return [self.title, *self.read.values()]


class Notebook:
    """Keeps track of one episode: `note` what was done and what came of it."""

    def __init__(self, observation: str, admissible: Sequence[str]) -> None:
        """The first page and the commands it offers."""
        pieces = observation.split(_SEPARATOR)
        self.instruction = pieces[pieces.index("Instruction:") + 1] if "Instruction:" in pieces else observation
        self.products: dict[str, Product] = {}
        self.results: dict[str, int] = {}  # query -> last page of its results that was seen
        self.found: dict[tuple[str, int], str] = {}  # query, rank -> key of the product
        self.exhausted: set[str] = set()  # queries without further pages
        self.query = ""  # of the results seen last
        self.number = 0  # of their page
        self.asin = ""  # of the product whose page was seen last
        self.chosen: dict[str, str] = {}  # its options
        self._look("", observation, admissible)

    def note(self, command: str, observation: str, admissible: Sequence[str]) -> None:
        """A command was given, by whomever, and this page followed."""
        match = _COMMAND.match(command)
        verb, given = (match[1], match[2].lower()) if match else ("", "")
        clicked = given if verb == "click" and given in self.clicks else ""
        was_item = self.page == "item"
        if verb == "search":
            self.query = given
        if clicked in self.products:
            self.asin, self.chosen = clicked, {}
        elif clicked and was_item and clicked not in _BUTTONS:
            names = [name for name, values in (self.here.options or {}).items() if clicked in values]
            self.chosen.update(dict.fromkeys(names[-1:], clicked))
        self._look(clicked, observation, admissible)

    @property
    def here(self) -> Product:
        """The product whose page, or one of whose pages, is open."""
        return self.products[self.asin]

    def _look(self, clicked: str, observation: str, admissible: Sequence[str]) -> None:
        """Reads the page."""
        pieces = observation.split(_SEPARATOR)
        self.clicks = tuple(command[6:-1] for command in admissible if command.startswith("click["))
        head = next((i for i, piece in enumerate(pieces) if _RESULTS.fullmatch(piece)), None)
        self.page: Page
        if head is not None:
            self.page = "results"
            self._read_results(pieces[head:])
        elif "buy now" in self.clicks:
            self.page = "item"
            self._read_item(pieces)
        elif "< prev" in self.clicks:
            self.page = "text"
            if clicked in ("features", "description"):
                start = next((i for i, piece in enumerate(pieces) if piece.lower() == "< prev"), -1)
                self.here.read[clicked] = " ".join(pieces[start + 1 :])
        else:
            self.page = "search"

    def _read_results(self, pieces: Sequence[str]) -> None:
        """The products of a page of results: ASIN, title where there is one, price."""
        head = _RESULTS.fullmatch(pieces[0])
        assert head is not None
        self.number = int(head[1])
        self.results[self.query] = max(self.number, self.results.get(self.query, 0))
        asins = [click for click in self.clicks if click not in _BUTTONS]
        starts = [i for i, piece in enumerate(pieces) if piece.lower() in asins]
        if not starts or "next >" not in self.clicks:
            self.exhausted.add(self.query)
        for rank, (start, stop) in enumerate(zip(starts, [*starts, len(pieces)][1:], strict=True)):
            *title, price = pieces[start + 1 : stop]
            key = pieces[start].lower()
            self.found[self.query, 10 * (self.number - 1) + rank] = key
            if key not in self.products:
                self.products[key] = Product(
                    asin=pieces[start],
                    title=" ".join(title),
                    prices=tuple(float(number) for number in _NUMBER.findall(price)),
                    query=self.query,
                    page=self.number,
                    rank=10 * (self.number - 1) + rank,
                )

    def _read_item(self, pieces: Sequence[str]) -> None:
        """The options: each name is followed by its values, which can be clicked as long as none of them is chosen."""
        if self.here.options is not None:
            return
        values = {click for click in self.clicks if click not in _BUTTONS}
        options: dict[str, list[str]] = {}
        name = ""
        for piece in pieces:
            if piece.startswith("Price: "):
                break
            if piece.lower() in values:
                options.setdefault(name, []).append(piece.lower())
            else:
                name = piece.lower()
        self.here.options = options
