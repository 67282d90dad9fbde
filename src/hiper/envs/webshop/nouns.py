"""The nouns of a product title, which the score compares. Three ways to find them, and any of your own.

WebShop uses a statistical tagger, spaCy's `en_core_web_sm`; `spacy_nouns` does so too where it is installed.
`rule_nouns` needs nothing: titles are mostly nouns, and the rest is known from a list or by its ending.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Final

from hiper.envs.errors import MissingExtra

if TYPE_CHECKING:
    from hiper.envs.webshop.reward import Nouns

_MODEL: Final = "en_core_web_sm"
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_SMALL_WORDS: Final = """
a all also an and any are as at be both but by can comes do down each every extra few for from has have i if
in into is it its many may me more most much my no non not of off on one only or other our out over per so
some such than that the their them then there these they this those to too two under up use very was we when
which while who will with without you your
"""
_ADJECTIVES: Final = """
artificial best big cool cute dual easy empty fresh full good great hot indoor large lightweight natural new
nice old outdoor perfect plastic protective real sensitive sexy short small soft solid straight sturdy super
tall thermal warm wooden
"""
_MEASURES_AND_VERBS: Final = """
cm count fit ft hanging inch look made make ml own oz pack pc pcs print reduce remove see set stand through
used
"""
_NO_NOUN: Final = frozenset((_SMALL_WORDS + _ADJECTIVES + _MEASURES_AND_VERBS).split())
_ENDINGS: Final = ("ed", "est", "ful", "ly", "ous")


def rule_nouns(title: str) -> list[str]:
    """Every word of two letters or more that is not listed and does not end like an adjective or adverb."""
    words = _WORD.findall(title.lower())
    return [word for word in words if word not in _NO_NOUN and not (len(word) > 4 and word.endswith(_ENDINGS))]


def spacy_nouns() -> Nouns:
    """spaCy's nouns and proper nouns. Raises MissingExtra where it or its model is not installed."""
    try:
        spacy = import_module("spacy")
        tagger = spacy.load(_MODEL)
    except (ImportError, OSError):
        raise MissingExtra(
            "nouns='spacy' needs spaCy and its model: pip install 'hiper[spacy]', "
            f"then python -m spacy download {_MODEL}"
        ) from None
    return lambda title: [token.text.lower() for token in tagger(title) if token.pos_ in {"NOUN", "PROPN"}]
