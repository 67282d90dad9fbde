"""From text to index terms, as Lucene 8's English analyzer does it.

Word tokens of Unicode's UAX #29 (emoji and pictographs are tokens too), a trailing 's dropped, lower case,
stop words left out, the rest stemmed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import regex

from hiper.envs.webshop.porter import stem

MAX_TOKEN: Final = 255  # characters; a longer token is cut into pieces of this length
_REMEMBERED: Final = 200_000  # words; most texts are made of few
_STOP_WORDS_TEXT: Final = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these
they this to was will with
"""
STOP_WORDS: Final = frozenset(_STOP_WORDS_TEXT.split())
# Extended_Pictographic of Emoji 12. Later versions of the property leave ★, ☞ and others out.
_PICTOGRAPHS: Final = (
    "©®‼⁉™ℹ↔-↙↩↪⌚⌛⌨⎈⏏⏩-⏳⏸-⏺Ⓜ▪▫▶◀◻-◾"
    "☀-★☇-☒☔-⚅⚐-✅✈-✒✔✖✝✡✨✳✴❄❇❌❎❓-❕❗❣-❧"
    "➕-➗➡➰➿⤴⤵⬅-⬇⬛⬜⭐⭕〰〽㊗㊙"
    "\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171\U0001f17e\U0001f17f\U0001f18e"
    "\U0001f191-\U0001f19a\U0001f1ad-\U0001f1e5\U0001f201-\U0001f20f\U0001f21a\U0001f22f\U0001f232-\U0001f23a"
    "\U0001f23c-\U0001f23f\U0001f249-\U0001f3fa\U0001f400-\U0001f53d\U0001f546-\U0001f64f\U0001f680-\U0001f6ff"
    "\U0001f774-\U0001f77f\U0001f7d5-\U0001f7ff\U0001f80c-\U0001f80f\U0001f848-\U0001f84f\U0001f85a-\U0001f85f"
    "\U0001f888-\U0001f88f\U0001f8ae-\U0001f8ff\U0001f90c-\U0001f93a\U0001f93c-\U0001f945\U0001f947-\U0001fffd"
)


def _word_pattern() -> regex.Pattern[str]:
    """The tokens of one stretch of text without white space."""
    tail = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"  # marks that go with the character before them

    def one(inside: str) -> str:
        return f"(?:[{inside}]{tail})"

    letter = one(r"\p{WB=ALetter}\p{WB=Hebrew_Letter}")
    digit = one(r"\p{WB=Numeric}")
    in_word = one(r"\p{WB=MidLetter}\p{WB=MidNumLet}\p{WB=Single_Quote}")
    in_number = one(r"\p{WB=MidNum}\p{WB=MidNumLet}\p{WB=Single_Quote}")
    katakana = one(r"\p{WB=Katakana}")
    glue = one(r"\p{WB=ExtendNumLet}")
    words = f"(?:{letter}+(?:{in_word}{letter}+)*|{digit}+(?:{in_number}{digit}+)*)+"
    core = f"(?:{words}|{katakana}+)"
    picture = rf"[{_PICTOGRAPHS}][\U0001f3fb-\U0001f3ff]?{tail}"
    return regex.compile(
        rf"{glue}*{core}(?:{glue}+{core})*{glue}*"
        r"|[0-9#*]\ufe0f?\u20e3"  # keycaps
        r"|[\U0001f1e6-\U0001f1ff]{2}"  # flags
        rf"|{picture}(?:(?<=\u200d){picture})*"
        rf"|[\p{{Script=Han}}\p{{Script=Hiragana}}]{tail}"
    )


_UNICODE_WORD: Final = _word_pattern()
_ASCII_CORE: Final = r"(?:[A-Za-z]+(?:[:.'][A-Za-z]+)*|[0-9]+(?:[,;.'][0-9]+)*)+"
_ASCII_WORD: Final = re.compile(rf"_*{_ASCII_CORE}(?:_+{_ASCII_CORE})*_*")  # what the other finds in ASCII
_POSSESSIVE: Final = ("'s", "’s", "＇s", "'S", "’S", "＇S")


def terms(text: str) -> list[str]:
    """The index terms of a text, in order, with repetitions."""
    found: list[str] = []
    for word in text.split():  # no token reaches across white space
        found += _analyzed(word)
    return found


def tokens(word: str) -> list[str]:
    """The tokens of a stretch of text without white space, as they are written there."""
    pattern = _ASCII_WORD if word.isascii() else _UNICODE_WORD
    found = []
    match = pattern.search(word)
    while match:
        token = match.group()[:MAX_TOKEN]
        found.append(token)
        match = pattern.search(word, match.start() + len(token))
    return found


@lru_cache(maxsize=_REMEMBERED)
def _analyzed(word: str) -> tuple[str, ...]:
    """The index terms of a stretch of text without white space."""
    found = []
    for token in tokens(word):
        plain = (token[:-2] if token.endswith(_POSSESSIVE) else token).lower()
        if plain not in STOP_WORDS:
            found.append(stem(plain))
    return tuple(found)
