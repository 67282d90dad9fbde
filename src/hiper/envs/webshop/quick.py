"""A shopper whose every step is copied from what stands before it, so that a very small model can do the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hiper.envs.webshop.expert import Expert, Move, one_line
from hiper.envs.webshop.notebook import Product

_TRIES: Final = 3  # products that are tried; the last is bought as it is


class QuickExpert(Expert):
    """Searches for what was said, word for word, opens the results in their order and asks each for every option.

    It does not look first whether an option is offered: it clicks what was asked for. Where nothing comes of it, it
    goes on to the next result; the third such product it buys all the same. It reads neither prices nor texts. It wins
    less often than the other searches, in fewer turns, and no step of it needs a comparison: the value to click stands
    in the instruction, the next product below the last.
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

    def _first_query(self) -> str:
        """All that was said, and the option values once more: they are what tells a product from the next."""
        values = self._wish.options.values()
        return one_line(", ".join([self._wish.said, *values]))

    def _search_for(self, query: str) -> Move:
        """Toward the results. The subgoal does not say of what: where that begins and ends is not easily copied."""
        return super()._search_for(query)._replace(subgoal="search")

    def _among_products(self) -> Move:
        """The next move: the next option of the product at hand, the purchase, or the next product."""
        notes, product = self._notes, self._at_hand()
        if notes.asin != product.key or notes.page != "item":
            return Move(f"check {product.asin}", self._to(product))
        done = {*notes.chosen.values(), *self._refused.get(product.key, ())}
        left = [value for value in self._wish.options.values() if value not in done]
        return Move("choose options", f"click[{left[0]}]") if left else Move(f"buy {product.asin}", "click[buy now]")

    def _at_hand(self) -> Product:
        """The first result that has refused nothing, or the last that was tried."""
        products = self._notes.products
        fresh = [one for one in products.values() if one.key not in self._refused]
        if fresh and len(self._refused) < _TRIES:
            return min(fresh, key=lambda one: one.rank)
        return products[next(reversed(self._refused))]
