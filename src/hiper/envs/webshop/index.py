"""Full-text search: BM25 with the arithmetic of Lucene 8, so that every ranking, ties included, is the same.

A document is known by its number; documents are numbered in the order in which ties are broken. A query is
the OR of its terms. One term t, of document frequency df and c times in the query, adds

    w - w / x,    w = c * ln(1 + (N - df + 0.5) / (df + 0.5)),    x = 1 + tf / (k1 * (1 - b + b * length / average))

with k1 = 0.9 and b = 0.4, everything in float32, and the sum in float64. The length is first rounded down to
one that fits in a byte (`coded_length`). x is kept for each posting; w depends on the query.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiper.envs.about import Tell, silent
from hiper.envs.webshop.analyzer import terms
from hiper.envs.webshop.cache import load_array, save_array

K1: Final = 0.9
B: Final = 0.4
_TF_BITS: Final = 16
_MAX_TF: Final = (1 << _TF_BITS) - 1
_ROUNDING: Final = 1e-5  # relative, far above what rounding does to a score
_WORTH_A_LOOK: Final = 20_000  # postings still to be read; with fewer, looking for a way out takes longer
_SAMPLE: Final = 8192  # scores that are sorted to see which of many are worth sorting
_FEW: Final = 8  # looking a document up takes as long as adding to so many

Numbers = NDArray[np.int32]


def coded_length(length: int) -> int:
    """A document length as Lucene remembers it: exact below 40, then rounded down to four leading bits."""
    if length < 40:
        return length
    shift = (length - 24).bit_length() - 4
    return 24 + ((length - 24) >> shift << shift)


class IndexBuilder:
    """Collects documents; `write` makes files that `Index` opens."""

    def __init__(self) -> None:
        self._vocabulary: dict[str, int] = {}
        self._postings = array("Q")  # of all documents: term number and frequency
        self._sizes = array("q")  # distinct terms of each document
        self._lengths = array("q")

    def add(self, text: str) -> None:
        """Adds a document."""
        found = terms(text)
        counts = Counter(found)
        vocabulary = self._vocabulary
        for term, count in counts.items():
            number = vocabulary.setdefault(term, len(vocabulary))
            self._postings.append(number << _TF_BITS | min(count, _MAX_TF))
        self._sizes.append(len(counts))
        self._lengths.append(len(found))

    def write(self, folder: Path, numbers: Numbers, tell: Tell = silent) -> None:
        """numbers: the document number of each added text."""
        tell("sorting the index", 0, 1)
        ordered = sorted(self._vocabulary, key=_encoded)
        encoded = [_encoded(term) for term in ordered]
        save_array(folder, "terms", np.frombuffer(b"".join(encoded), dtype=np.uint8))
        save_array(folder, "term_ends", np.fromiter(accumulate(map(len, encoded), initial=0), np.int64))
        place = np.empty(len(ordered), dtype=np.uint64)
        place[[self._vocabulary[term] for term in ordered]] = np.arange(len(ordered), dtype=np.uint64)

        # One number holds a posting, so that one sort puts all of them in order: term, document, frequency.
        postings = np.frombuffer(self._postings, dtype=np.uint64)
        doc_bits = max(1, len(numbers).bit_length())
        packed = place[postings >> np.uint64(_TF_BITS)] << np.uint64(doc_bits)
        packed |= np.repeat(numbers.astype(np.uint64), np.frombuffer(self._sizes, dtype=np.int64))
        packed <<= np.uint64(_TF_BITS)
        packed |= postings & np.uint64(_MAX_TF)
        packed.sort()

        docs = (packed >> np.uint64(_TF_BITS) & np.uint64((1 << doc_bits) - 1)).astype(np.int32)
        frequency = (packed & np.uint64(_MAX_TF)).astype(np.float32)
        first = np.arange(len(ordered) + 1, dtype=np.uint64) << np.uint64(doc_bits + _TF_BITS)
        starts = np.searchsorted(packed, first).astype(np.int64)
        del packed
        saturation = np.float32(1) + frequency * self._tempo(numbers)[docs]
        save_array(folder, "starts", starts)
        save_array(folder, "docs", docs)
        save_array(folder, "saturation", saturation)
        peaks = np.maximum.reduceat(saturation, starts[:-1]) if len(ordered) else saturation
        save_array(folder, "peaks", peaks)
        tell("sorting the index", 1, 1)
        save_array(folder, "filled", np.array([np.count_nonzero(self._sizes)]))

    def _tempo(self, numbers: Numbers) -> NDArray[np.float32]:
        """For each document how fast its score rises with the frequency: 1 / (k1 (1 - b + b length / average))."""
        lengths = np.frombuffer(self._lengths, dtype=np.int64)
        average = np.float32(int(lengths.sum()) / max(1, int(np.count_nonzero(lengths))))
        coded = np.array([coded_length(length) for length in lengths.tolist()], dtype=np.float32)
        by_number = np.empty(len(numbers), dtype=np.float32)
        by_number[numbers] = coded
        k1, b, one = np.float32(K1), np.float32(B), np.float32(1)
        return one / (k1 * ((one - b) + b * by_number / max(average, one)))


class _Wanted(NamedTuple):
    """A term of a query. bound: the most that it can add to a score."""

    bound: float
    weight: np.float32
    start: int
    stop: int


class Index:
    """Searches what `IndexBuilder` wrote. Read-only; the postings stay on disk until they are needed."""

    def __init__(self, folder: Path, documents: int) -> None:
        self._terms = _Terms(folder)
        self._starts = load_array(folder, "starts")
        self._docs: Numbers = load_array(folder, "docs")
        self._saturation: NDArray[np.float32] = load_array(folder, "saturation")
        self._peaks: NDArray[np.float32] = load_array(folder, "peaks")
        self._documents = documents
        self._filled = int(load_array(folder, "filled")[0])  # documents that have any term

    def search(self, text: str, most: int = 50) -> Numbers:
        """The best documents, best first; of equal ones that of the lowest number first."""
        return self.scored(text, most)[0]

    def scored(self, text: str, most: int = 50) -> tuple[Numbers, NDArray[np.float32]]:
        """The best documents and their scores."""
        wanted = sorted(self._wanted(text), reverse=True)
        left = list(accumulate((w.stop - w.start for w in reversed(wanted)), initial=0))[::-1]
        rest = list(accumulate((w.bound for w in reversed(wanted)), initial=0.0))[::-1]
        margin = _ROUNDING * (1 + rest[0])
        scores = np.zeros(self._documents)
        floor = 0.0  # the last of the best has at least this
        done = 0
        while done < len(wanted) and rest[done] + margin >= floor:  # else who has none of the terms so far is out
            term = wanted[done]
            docs = self._docs[term.start : term.stop]
            scores[docs] += self._added(term, slice(term.start, term.stop))
            done += 1
            if len(docs) >= most and left[done] > _WORTH_A_LOOK:
                floor = max(floor, _best(scores[docs], most))
        found = np.flatnonzero(scores > max(0.0, floor - rest[done] - margin)).astype(np.int32)
        for later, term in enumerate(wanted[done:], start=done + 1):
            self._add_to(scores, found, term)
            if len(found) > most:
                floor = _best(scores[found], most)
                found = found[scores[found] >= floor - rest[later] - margin]
        final = scores[found].astype(np.float32)
        if len(found) > most:  # sorting a million takes long; those that tie with the last one are kept
            best = final >= _best(final, most)
            found, final = found[best], final[best]
        order = np.lexsort((found, -final))[:most]
        return found[order], final[order]

    def _wanted(self, text: str) -> list[_Wanted]:
        """The terms of a query that some document has."""
        found = []
        for term, count in Counter(terms(text)).items():
            number = self._terms.number(term)
            if number is None:
                continue
            start, stop = int(self._starts[number]), int(self._starts[number + 1])
            frequency = stop - start
            idf = np.float32(math.log(1 + (self._filled - frequency + 0.5) / (frequency + 0.5)))
            weight = np.float32(count) * idf
            found.append(_Wanted(float(weight - weight / self._peaks[number]), weight, start, stop))
        return found

    def _added(self, term: _Wanted, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """What a term adds to the scores of some of its documents."""
        added: NDArray[np.float32] = term.weight - term.weight / self._saturation[which]
        return added

    def _add_to(self, scores: NDArray[np.float64], found: Numbers, term: _Wanted) -> None:
        """Adds a term's part to the scores of the documents in `found` that have it."""
        docs = self._docs[term.start : term.stop]
        if len(docs) < _FEW * len(found):  # then it is quicker to add it to all
            scores[docs] += self._added(term, slice(term.start, term.stop))
            return
        place = np.minimum(np.searchsorted(docs, found), len(docs) - 1)
        has = docs[place] == found
        scores[found[has]] += self._added(term, place[has] + term.start)


def _best(values: NDArray[np.floating], rank: int) -> float:
    """The value of that rank from above, 1 being the largest; there are so many at least.

    What has this rank in a sample has it or a lower one among all: whatever lies below need not be sorted.
    """
    sample = values[:: 1 + len(values) // _SAMPLE]
    if rank <= len(sample) < len(values):
        values = values[values >= np.partition(sample, -rank)[-rank]]
    return float(np.partition(values, -rank)[-rank])


class _Terms:
    """The vocabulary: all terms in one stretch of bytes, in order."""

    def __init__(self, folder: Path) -> None:
        self._bytes = load_array(folder, "terms")
        self._ends: NDArray[np.int64] = load_array(folder, "term_ends")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return self._bytes[self._ends[number] : self._ends[number + 1]].tobytes()

    def number(self, term: str) -> int | None:
        """The number of a term, None where no document has it."""
        wanted = _encoded(term)
        place = bisect_left(self, wanted)
        return place if place < len(self) and self[place] == wanted else None


def _encoded(term: str) -> bytes:
    return term.encode("utf-8", "surrogatepass")
