"""Words, stems and rankings against plain versions of themselves."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.envs.webshop import index as index_module
from hiper.envs.webshop.analyzer import _ASCII_WORD, _UNICODE_WORD, MAX_TOKEN, STOP_WORDS, terms, tokens
from hiper.envs.webshop.index import Index, IndexBuilder, coded_length
from hiper.envs.webshop.porter import stem
from tests.envs.webshop_data import own_cache, small

__all__ = ["own_cache"]

words = st.sampled_from(["mug", "red", "blue", "steel", "tea", "green", "cup", "cups", "for", "the", "9", "wide's"])
texts = st.lists(words, max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("word", "expected"),
    # Worked out by hand from the steps of the paper.
    [
        ("caresses", "caress"),
        ("ponies", "poni"),
        ("feed", "feed"),
        ("agreed", "agre"),
        ("plastered", "plaster"),
        ("bled", "bled"),
        ("hopping", "hop"),
        ("falling", "fall"),
        ("filing", "file"),
        ("happy", "happi"),
        ("sky", "sky"),
        ("relational", "relat"),
        ("digitizer", "digit"),
        ("triplicate", "triplic"),
        ("goodness", "good"),
        ("revival", "reviv"),
        ("adoption", "adopt"),
        ("probate", "probat"),
        ("rate", "rate"),
        ("controll", "control"),
        # The later changes: two letters stay, bli, logi.
        ("us", "us"),
        ("possibly", "possibl"),
        ("technology", "technolog"),
    ],
)
def test_stems(word: str, expected: str) -> None:
    assert stem(word) == expected


def test_tokens() -> None:
    assert tokens("don't_stop:now,3.5/4,000") == ["don't_stop:now", "3.5", "4,000"]
    assert tokens("★5Stars™") == ["★", "5Stars", "™"]
    assert tokens("👍🏽") == ["👍🏽"]
    assert tokens("🇩🇪🇫🇷") == ["🇩🇪", "🇫🇷"]
    assert tokens("漢字かな") == ["漢", "字", "か", "な"]
    assert tokens("カタカナ") == ["カタカナ"]
    assert tokens("¼") == []


def test_terms() -> None:
    assert terms("The Women's running-shoes, and SOCKS!") == ["women", "run", "shoe", "sock"]
    assert terms("") == []
    assert not STOP_WORDS & set(terms(" ".join(STOP_WORDS)))


def test_a_long_token_is_cut() -> None:
    assert [len(token) for token in tokens("x" * (2 * MAX_TOKEN + 3))] == [MAX_TOKEN, MAX_TOKEN, 3]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_quick_pattern_for_ascii_finds_the_same(text: str) -> None:
    assert _ASCII_WORD.findall(text) == _UNICODE_WORD.findall(text)


@given(st.text())
def test_no_token_reaches_across_white_space(text: str) -> None:
    together = [match for match in _UNICODE_WORD.findall(text) if len(match) <= MAX_TOKEN]
    apart = [token for word in text.split() for token in tokens(word)]
    assert together == apart


@given(st.integers(0, 10**6))
def test_a_length_is_remembered_in_a_byte(length: int) -> None:
    coded = coded_length(length)
    assert coded <= length < max(coded + 1, coded * 1.125)
    assert coded_length(coded) == coded


def plain_search(documents: Sequence[str], query: str) -> list[tuple[int, np.float32]]:
    """All documents that have a term of the query, best first, one posting at a time."""
    f = np.float32
    counted = [Counter(terms(document)) for document in documents]
    filled = sum(bool(counts) for counts in counted)
    average = f(sum(counts.total() for counts in counted) / max(1, filled))
    scores: dict[int, float] = {}
    for term, boost in Counter(terms(query)).items():
        having = [number for number, counts in enumerate(counted) if term in counts]
        weight = f(boost) * f(math.log(1 + (filled - len(having) + 0.5) / (len(having) + 0.5)))
        for number in having:
            length = f(coded_length(counted[number].total()))
            c = f(1) / (f(0.9) * ((f(1) - f(0.4)) + f(0.4) * length / average))
            scores[number] = scores.get(number, 0.0) + float(weight - weight / (f(1) + f(counted[number][term]) * c))
    return sorted(((number, f(score)) for number, score in scores.items()), key=lambda pair: (-pair[1], pair[0]))


@settings(max_examples=60)
@given(st.lists(texts, min_size=1, max_size=40), texts, st.integers(1, 5), st.sampled_from([0, 10**9]))
def test_the_best_are_those_of_plain_counting(documents: list[str], query: str, most: int, patience: int) -> None:
    builder = IndexBuilder()
    for document in documents:
        builder.add(document)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as name:
        folder = Path(name)
        patch.setattr(index_module, "_WORTH_A_LOOK", patience)
        builder.write(folder, np.arange(len(documents), dtype=np.int32))
        found, scores = Index(folder, len(documents)).scored(query, most)
    expected = plain_search(documents, query)[:most]
    assert list(zip(found.tolist(), scores.tolist(), strict=True)) == [(n, float(score)) for n, score in expected]


@pytest.mark.parametrize("patience", [0, 10**9])
def test_long_queries_over_a_catalogue(patience: int, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = small()
    monkeypatch.setattr(index_module, "_WORTH_A_LOOK", patience)
    by_number = [catalogue.product(int(product)).searched_text() for product in catalogue.by_asin]
    for query in by_number[::15]:
        found, scores = catalogue.index.scored(query, 10)
        assert list(zip(found.tolist(), scores.tolist(), strict=True)) == [
            (number, float(score)) for number, score in plain_search(by_number, query)[:10]
        ]


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(0, 3), st.sampled_from([4, 100, 8192]))
def test_the_value_of_a_rank(seed: int, rank: int, digits: int, sample: int) -> None:
    values = np.random.default_rng(seed).random(rank + seed % 500).round(digits)  # with many ties
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "_SAMPLE", sample)
        assert index_module._best(values, rank) == sorted(values, reverse=True)[rank - 1]


def test_documents_may_be_added_in_any_order(tmp_path: Path) -> None:
    builder = IndexBuilder()
    for document in ("red mug", "blue mug", "red cup"):
        builder.add(document)
    builder.write(tmp_path, np.array([2, 0, 1], dtype=np.int32))
    assert Index(tmp_path, 3).search("red").tolist() == [1, 2]
