"""What an instruction asks for, and whether a text says so."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_OPENING: Final = re.compile(
    r"(?:please )?(?:(?:can you )?(?:find|show|get) me|(?:i am|i'm|im)? ?(?:looking|searching) (?:for|to buy)"
    r"|i(?: would|'d)? (?:need|want|like)(?: to (?:buy|find|get|have|purchase))?)\b(?: an?\b| some\b)?",
    re.IGNORECASE,
)
_PRICE: Final = re.compile(r",? and price lower than (\d+(?:\.\d+)?) dollars")
# " with color: black, and size: 9 wide" at the end: a name has few words, neither "with" nor "for" among them.
_OPTIONS: Final = re.compile(r" with ((?:(?! with | for )[a-z ]){2,30}: .*)$", re.IGNORECASE)
_WORD: Final = re.compile(r"[a-z0-9]+")
_SMALL_WORDS: Final = frozenset(
    ["a", "an", "and", "as", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "s", "the", "to", "with"]
)
_BEHIND: Final = re.compile(r" with | for ")  # before what is said of the thing
_NEAR: Final = 3  # words of an attribute stand no further apart where a text really says it
_SCATTERED: Final = 0.6  # what it counts when they do


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an instruction asks for.

    Worked example, "Find me machine wash, non slip men's boots with rubber sole with color: black, and price lower
    than 50.00 dollars": `Wish(what="non slip men's boots", attributes=("machine wash", "rubber sole"),
    options={"color": "black"}, highest=50.0, text="machine wash, non slip men's boots with rubber sole", said=
    "machine wash, non slip men's boots with rubber sole with color: black")`. Where an attribute directly before the
    product ends, nobody can tell from the words: it stays with it in `what`.
    """

    what: str
    attributes: tuple[str, ...]
    options: Mapping[str, str]
    highest: float
    text: str
    said: str
    """All but the opening and the price, word for word."""

    @property
    def front(self) -> str:
        """What was said up to the first "with" or "for"."""
        return _BEHIND.split(self.said)[0]


def read_wish(instruction: str) -> Wish:
    """The wish of an instruction. A person's own words are read too; the options in them stay in the text."""
    text = instruction.strip().rstrip(".")
    price = _PRICE.search(text)
    text = _PRICE.sub("", text)
    said = _OPENING.sub("", text, count=1).strip()
    tail = _OPTIONS.search(text)
    options = {}
    if tail:
        text = text[: tail.start()]
        pairs = (part.partition(": ") for part in tail[1].split(", and "))
        options = {name.strip().lower(): value.strip().lower() for name, _, value in pairs}
    text = _OPENING.sub("", text, count=1).strip().lower()
    front, *behind = _BEHIND.split(text)
    *before, what = front.split(", ")
    listed = [one.strip() for part in behind for one in part.split(",")]
    return Wish(
        what=what,
        attributes=tuple(one for one in [*before, _lead(what), *listed] if one),
        options=options,
        highest=float(price[1]) if price else float("inf"),
        text=text,
        said=said,
    )


def _lead(what: str) -> str:
    """The words of a product's name that may be an attribute: all before "men's" or the like, or else the first two."""
    said = what.split()
    owner = next((i for i, word in enumerate(said) if word.endswith("'s")), 2)
    return " ".join(said[:owner]) if len(said) > owner else ""


def evidence(phrase: str, texts: Sequence[str]) -> float:
    """How surely texts say a phrase: 1 where its words stand together, less where they stand apart, 0 else."""
    wanted = words(phrase)
    best = 0.0
    for text in texts:
        said = words(text)
        places = [[i for i, word in enumerate(said) if _alike(word, one)] for one in wanted]
        if all(places):
            near = any(all(any(abs(i - j) <= _NEAR for j in row) for row in places[1:]) for i in places[0])
            best = max(best, 1.0 if near else _SCATTERED)
    return best


def overlap(phrase: str, text: str) -> float:
    """The share of a phrase's words that a text has."""
    wanted, said = words(phrase), words(text)
    return sum(any(_alike(word, one) for word in said) for one in wanted) / max(1, len(wanted))


def words(text: str) -> list[str]:
    """The words of a text that carry meaning, in order."""
    return [word for word in _WORD.findall(text.lower()) if word not in _SMALL_WORDS]


def _alike(one: str, other: str) -> bool:
    """The same word, in the singular or the plural."""
    return one == other or one == other + "s" or one + "s" == other
