"""Porter's stemmer (M. F. Porter, 1980), with the three changes its author made later.

The changes: words of one or two letters are left alone, `bli` becomes `ble` (where the paper has `abli`), and
`logi` becomes `log`. Every character but a, e, i, o, u and y counts as a consonant, digits and signs too.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

_STEP_2: Final = {
    "ational": "ate",
    "tional": "tion",
    "enci": "ence",
    "anci": "ance",
    "izer": "ize",
    "bli": "ble",
    "alli": "al",
    "entli": "ent",
    "eli": "e",
    "ousli": "ous",
    "ization": "ize",
    "ation": "ate",
    "ator": "ate",
    "alism": "al",
    "iveness": "ive",
    "fulness": "ful",
    "ousness": "ous",
    "aliti": "al",
    "iviti": "ive",
    "biliti": "ble",
    "logi": "log",
}
_STEP_3: Final = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4: Final = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent"),
    *("ion", "ou", "ism", "ate", "iti", "ous", "ive", "ize"),
)


def stem(word: str) -> str:
    """The stem of a lower-case word."""
    if len(word) <= 2:
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _STEP_2)
    word = _replaced(word, _STEP_3)
    word = _shortened(word)
    return _tidied(word)


def _consonants(word: str) -> list[bool]:
    """For each letter whether it is a consonant. `y` is one at the start and after a vowel."""
    found: list[bool] = []
    for letter in word:
        found.append(letter not in "aeiou" and (letter != "y" or not found or not found[-1]))
    return found


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant: the m of the paper."""
    kinds = _consonants(word)
    return sum(b and not a for a, b in pairwise(kinds))


def _has_vowel(word: str) -> bool:
    return not all(_consonants(word))


def _ends_double(word: str) -> bool:
    """Whether it ends in two equal consonants."""
    return len(word) >= 2 and word[-1] == word[-2] and _consonants(word)[-1]


def _ends_short(word: str) -> bool:
    """Whether it ends consonant, vowel, consonant, the last not w, x or y."""
    return len(word) >= 3 and _consonants(word)[-3:] == [True, False, True] and word[-1] not in "wxy"


def _plural(word: str) -> str:
    """Step 1a."""
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    """Step 1b."""
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and _has_vowel(rest):
            return _mended(rest)
    return word


def _mended(word: str) -> str:
    """What is left when `ed` or `ing` is gone, made a word again."""
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if _ends_double(word) and word[-1] not in "lsz":
        return word[:-1]
    return word + "e" if _measure(word) == 1 and _ends_short(word) else word


def _replaced(word: str, endings: dict[str, str]) -> str:
    """Steps 2 and 3: the first ending that fits decides, whether or not its stem is long enough."""
    for ending, new in endings.items():
        if word.endswith(ending):
            rest = word[: -len(ending)]
            return rest + new if _measure(rest) > 0 else word
    return word


def _shortened(word: str) -> str:
    """Step 4."""
    for ending in _STEP_4:
        if word.endswith(ending):
            rest = word[: -len(ending)]
            keeps = ending == "ion" and rest[-1:] not in ("s", "t")
            return word if keeps or _measure(rest) <= 1 else rest
    return word


def _tidied(word: str) -> str:
    """Step 5."""
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _ends_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
