"""A shopper whose every step is copied from what stands before it, so that a very small model can do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hiper.envs.webshop.expert import Expert, Move, one_line
from hiper.envs.webshop.notebook import Product

_CHANCES: Final = (0.5, 0.3, 0.2)  # of the first results, where one is drawn
_TRIES: Final = 4  # products drawn in an episode


class QuickExpert(Expert):
    """Searches for what was said, word for word, opens the first result and asks it for every option.

    It does not look first whether an option is offered: it clicks what was asked for. Where nothing comes of it, it
    searches once more, for the kind of thing and, three times over, for the options, and buys the first result of that.
    It reads neither prices nor texts, and never a second result. It wins less often than the other searches, in fewer
    turns, and no step of it needs a comparison: the value to click stands in the instruction, the product on top of the
    results.
    """

    def reset(self, observation: str, admissible: Sequence[str], seed: int | None = None) -> None:
        """A new episode begins with this page and these commands. The seed decides nothing."""
        self._refused: dict[str, set[str]] = {}  # options asked for in vain, by product
        super().reset(observation, admissible, seed)

    def observe(self, command: str, observation: str, admissible: Sequence[str]) -> None:
        """What was done (by whomever), and the page and commands that followed."""
        super().observe(command, observation, admissible)
        notes = self._notes
        if notes.page != "item":
            return
        for value in self._wish.options.values():
            if command.lower() == f"click[{value}]" and value not in notes.chosen.values():
                self._refused.setdefault(notes.asin, set()).add(value)
                self._go_on()

    def _go_on(self) -> None:
        """What to do about an option that is not to be had here: search once more, never more than that."""
        self._query = self._second_query()

    def _first_query(self) -> str:
        """All that was said, and the option values once more: they are what tells a product from the next."""
        values = self._wish.options.values()
        return one_line(", ".join([self._wish.said, *values]))

    def _second_query(self) -> str:
        """What was said up to the first "with" or "for", and the option values three times."""
        values = self._wish.options.values()
        return one_line(", ".join([self._wish.front, *values, *values, *values]))

    def _search_for(self, query: str) -> Move:
        """Toward the results. The subgoal does not say of what: where that begins and ends is not easily copied."""
        return super()._search_for(query)._replace(subgoal="search")

    def _among_products(self) -> Move:
        """The next move: the next option of the product on top, or its purchase."""
        notes, product = self._notes, self._on_top()
        if notes.asin != product.key or notes.page != "item":
            return Move(f"check {product.asin}", self._to(product))
        done = {*notes.chosen.values(), *self._refused.get(product.key, ())}
        left = [value for value in self._wish.options.values() if value not in done]
        return Move("choose options", f"click[{left[0]}]") if left else Move(f"buy {product.asin}", "click[buy now]")

    def _on_top(self) -> Product:
        """The first result of the query in force or, where it found nothing, of any."""
        products = self._notes.products
        first = self._notes.found.get((self._query.lower(), 0))
        return products[first] if first else min(products.values(), key=lambda one: one.rank)


class TryingExpert(QuickExpert):
    """The same steps, with everything that may be decided either way left to chance.

    Which of the two queries comes first, which of the first three results is opened (the upper ones more often), and
    what follows where an option is not to be had: buy all the same, open another result, or give the other query.
    Whoever imitates it can do all of that; what pays is left to be found out.
    """

    def reset(self, observation: str, admissible: Sequence[str], seed: int | None = None) -> None:
        """A new episode begins with this page and these commands. seed: of what is left to chance."""
        super().reset(observation, admissible, seed)
        self._queries = [self._first_query(), self._second_query()]
        self._random.shuffle(self._queries)
        self._query = self._queries[0]
        self._tried: list[str] = []  # products drawn, the last of them now
        self._draws = True  # another is to be drawn

    def _go_on(self) -> None:
        """What to do about an option that is not to be had here."""
        way = self._random.choice(["buy", "open", "search"])
        if way == "buy" or len(self._tried) >= _TRIES:
            return
        if way == "search":
            self._queries.reverse()
            self._query = self._queries[0]
        self._draws = True

    def _among_products(self) -> Move:
        """The next move: another result, the next option of the product drawn last, or its purchase."""
        notes = self._notes
        if self._draws:
            if notes.page != "results" or notes.query != self._query.lower():
                return Move("look further", self._to_results(self._query, 1))
            self._tried.append(self._drawn())
            self._draws = False
        return super()._among_products()

    def _drawn(self) -> str:
        """One of the first results that was not drawn yet; the first one where all were."""
        first = [self._notes.found.get((self._query.lower(), rank)) for rank in range(len(_CHANCES))]
        chances = {key: chance for key, chance in zip(first, _CHANCES, strict=True) if key and key not in self._tried}
        if not chances:
            return super()._on_top().key
        return self._random.choices(list(chances), list(chances.values()))[0]

    def _on_top(self) -> Product:
        """The product drawn last."""
        return self._notes.products[self._tried[-1]]
