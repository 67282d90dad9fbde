"""An expert shopper. It reads the pages and the commands offered, as any player could, and never the catalogue.

It knows two things: what the instruction asks for (`wish`) and what it has been shown (`notebook`). It is told of the
commands really given, so it can go on from another's mistakes. It opens the products that look best, one after
another, until one has all that is asked for; if none has, it buys the one that has most of it.

Its subgoals have five forms, each served by a few actions:

    search for men's pants
    look further           on the next page of results
    check B09FZ1K3C8       open it; read its features and description where its title leaves something open
    choose options
    buy B09FZ1K3C8         go back to it first, where another was looked at last
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from hiper.envs.webshop.notebook import Notebook, Product
from hiper.envs.webshop.wish import evidence, overlap, read_wish
from hiper.records import Decision

_PAGES: Final = ("features", "description")  # what is worth reading of a product
_PATIENCE: Final = 12  # pieces of advice taken after which the best product seen so far is bought
_LAST_PAGE: Final = 3  # of results
_ENOUGH: Final = 0.85  # share of what is asked for that must be found to look at no others
_UNREAD: Final = 0.5  # what an attribute counts that pages not read yet may tell
_USUAL_GAP: Final = 40.0  # dollars: whoever names a highest price has one not far below in mind
_RANK_COST: Final = 0.45  # promise lost with every rank in the results
_NEAR: Final = 2.0  # promise of a price that the instruction leads to expect
_BOLDNESS: Final = 0.2  # share of the attributes that varied searches leave out
_LUCK: Final = 1.0  # how far they depart from the best order


@dataclass(frozen=True, slots=True)
class Step:
    """Advice for one turn: `Step(Decision.SWITCH, "choose options", "click[black]")`."""

    decision: Decision
    subgoal: str
    action: str


class Move(NamedTuple):
    """An action, and the subgoal it serves."""

    subgoal: str
    action: str


class Expert:
    """Plays one episode after another: `reset`, then `advise` and `observe` in turn.

    It opens the most promising product first. A varied one draws the order at random, near that one, and leaves some
    attributes out of its query; equal seeds give equal orders.
    """

    def __init__(self, seed: int | None = None, varied: bool = False) -> None:
        """seed: of varied searches."""
        self._random = random.Random(seed)
        self._varied = varied

    def reset(self, observation: str, admissible: Sequence[str], seed: int | None = None) -> None:
        """A new episode begins with this page and these commands. seed: starts the varied searches anew."""
        if seed is not None:
            self._random.seed(seed)
        self._notes = Notebook(observation, admissible)
        self._wish = read_wish(self._notes.instruction)
        self._query = self._first_query()
        self._followed = 0
        self._luck: dict[str, float] = {}
        self._in_force: str | None = None
        self._advice: Step | None = None

    def observe(self, command: str, observation: str, admissible: Sequence[str]) -> None:
        """What was done (by whomever), and the page and commands that followed."""
        if self._advice is not None:
            self._followed += command == self._advice.action
            self._in_force = self._advice.subgoal
            self._advice = None
        self._notes.note(command, observation, admissible)

    def advise(self) -> Step:
        """What to do now. The decision is relative to the subgoal advised before the last `observe`."""
        if self._advice is None:
            move = self._choose()
            keep = move.subgoal == self._in_force
            self._advice = Step(Decision.KEEP if keep else Decision.SWITCH, move.subgoal, move.action)
        return self._advice

    def _first_query(self) -> str:
        """All that is asked for but the price, some of the attributes only in varied searches.

        Option values come twice: they are what tells a product from the next.
        """
        wish = self._wish
        text = wish.text
        if self._varied:
            kept = [one for one in wish.attributes if self._random.random() > _BOLDNESS]
            text = " ".join([wish.what, *kept])
        return one_line(" ".join([text, *wish.options.values(), *wish.options.values()]))

    # What to do

    def _choose(self) -> Move:
        """The next move: search, until something is found; then what to do with it."""
        notes = self._notes
        if self._query.lower() not in notes.results:
            return self._search_for(self._query)
        if not notes.products:
            return self._search_for(self._wish.what)
        return self._among_products()

    def _among_products(self) -> Move:
        """The next move: buy what is good enough, else look at what may be, else buy the best there was."""
        notes = self._notes
        opened = [one for one in notes.products.values() if one.options is not None]
        if notes.page in ("item", "text") and self._is_worth_reading(notes.here):
            return Move(f"check {notes.here.asin}", self._reading(notes.here))
        good = [one for one in opened if self._is_good(one)]
        best = max(good or opened, key=self._merit, default=None)
        if not good and self._followed < _PATIENCE:
            unopened = [one for one in notes.products.values() if one.options is None and self._fits_price(one) > 0]
            candidate = max(unopened, key=self._promise, default=None)
            if candidate is not None:
                return Move(f"check {candidate.asin}", self._to(candidate))
            page = notes.results[self._query.lower()]
            is_more = page < _LAST_PAGE and self._query not in notes.exhausted
            if is_more and (best is None or self._lacks_option(best)):
                return Move("look further", self._to_results(self._query, page + 1))
        if best is None:
            best = min(notes.products.values(), key=lambda one: one.rank)
        return self._buy(best)

    def _search_for(self, query: str) -> Move:
        """Toward the results of a query; it is given again where it has found nothing."""
        action = f"search[{query}]" if self._notes.page == "search" else "click[back to search]"
        return Move(f"search for {self._wish.what}", action)

    def _buy(self, product: Product) -> Move:
        """Toward owning it with the options asked for."""
        notes = self._notes
        if notes.asin != product.key or notes.page != "item":
            return Move(f"buy {product.asin}", self._to(product))
        for name, value in self._selection(product).items():
            if notes.chosen.get(name) != value:
                return Move("choose options", f"click[{value}]")
        return Move(f"buy {product.asin}", "click[buy now]")

    # What a product is worth

    def _fits_price(self, product: Product) -> float:
        """How likely it costs no more than was said: certain, unless it has a range of prices."""
        low, high = min(product.prices), max(product.prices)
        if high <= self._wish.highest:
            return 1.0
        return (self._wish.highest - low) / (high - low) if low < self._wish.highest else 0.0

    def _lacks_option(self, product: Product) -> bool:
        """Some option value asked for is not offered."""
        offered = {value for values in (product.options or {}).values() for value in values}
        return not offered.issuperset(self._wish.options.values())

    def _found(self, product: Product) -> float:
        """The share of the attributes that its texts say; 0 where the price does not fit."""
        if self._fits_price(product) == 0:
            return 0.0
        said = [evidence(attribute, product.texts) for attribute in self._wish.attributes]
        return sum(said) / len(said) if said else 1.0

    def _may_be(self, product: Product) -> bool:
        """Nothing seen of it speaks against it."""
        return product.options is not None and not self._lacks_option(product) and self._fits_price(product) > 0

    def _is_good(self, product: Product) -> bool:
        """Worth buying at once."""
        return self._may_be(product) and self._found(product) >= _ENOUGH

    def _is_worth_reading(self, product: Product) -> bool:
        """It may be the one, its texts so far leave something open, and there is more to read."""
        return self._may_be(product) and not self._is_good(product) and any(page not in product.read for page in _PAGES)

    def _merit(self, product: Product) -> float:
        """What an opened product has of all that is asked for, in things; ties go to the better rank."""
        offered = {value for values in (product.options or {}).values() for value in values}
        options = sum(value in offered for value in self._wish.options.values())
        attributes = self._found(product) * len(self._wish.attributes)
        kind = overlap(self._wish.what, " ".join(product.texts))
        return options + attributes + self._fits_price(product) + kind - 0.01 * product.rank

    def _promise(self, product: Product) -> float:
        """How good a product looks in the results."""
        wish = self._wish
        said = [overlap(attribute, product.title) for attribute in wish.attributes] or [0.0]
        is_near = min(product.prices) >= wish.highest - _USUAL_GAP
        promise = sum(said) / len(said) + overlap(wish.what, product.title) + _NEAR * is_near
        promise -= _RANK_COST * (product.rank % 10)
        if self._varied:
            promise += self._luck.setdefault(product.asin, _LUCK * self._random.random())
        return promise

    def _selection(self, product: Product) -> dict[str, str]:
        """What to choose: what was asked for, or else what comes nearest to it."""
        chosen = {}
        options = product.options or {}
        for name, wanted in self._wish.options.items():
            homes = [other for other in (name, *options) if wanted in options.get(other, ())]
            if homes:
                chosen[homes[0]] = wanted
            elif name in options:
                chosen[name] = max(options[name], key=lambda value: overlap(wanted, value))
        for name, values in options.items() if not self._wish.options else ():
            said = [value for value in values if overlap(value, self._wish.text) == 1]
            if said:
                chosen[name] = max(said, key=len)
        return chosen

    # How to get there

    def _reading(self, product: Product) -> str:
        """The next action to read on in it."""
        if self._notes.page == "text":
            return "click[< prev]"
        return f"click[{next(page for page in _PAGES if page not in product.read)}]"

    def _to(self, product: Product) -> str:
        """The next action toward its page."""
        notes = self._notes
        if notes.asin == product.key and notes.page == "text":
            return "click[< prev]"
        if notes.page == "results" and product.key in notes.clicks:
            return f"click[{product.asin}]"
        return self._to_results(product.query, product.page)

    def _to_results(self, query: str, number: int) -> str:
        """The next action toward a page of the results of a query."""
        notes = self._notes
        if notes.page == "search" or notes.query != query:
            return self._search_for(query).action
        if notes.page != "results":
            return "click[< prev]"
        return "click[next >]" if notes.number < number else "click[< prev]"


def one_line(query: str) -> str:
    """One line without the brackets that an action is written with."""
    return " ".join(query.replace("[", " ").replace("]", " ").split())
