"""A shopper whose every step is copied from what stands before it, so that a very small model can do the same."""

from __future__ import annotations

from collections.abc import Sequence

from hiper.envs.webshop.expert import Expert, Move, one_line
from hiper.envs.webshop.notebook import Product


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
