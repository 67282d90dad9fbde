"""The catalogue of a shop: products and search, built once a host and shared by everything that runs there."""

from __future__ import annotations

import hashlib
import json
import math
import os
from array import array
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Final, Protocol
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from hiper.envs.about import Tell, silent
from hiper.envs.errors import UnknownName, nearest
from hiper.envs.webshop import cache, official
from hiper.envs.webshop.index import Index, IndexBuilder, Numbers
from hiper.envs.webshop.product import MAX_ASIN, Product, from_bytes, to_bytes

SHOWN: Final = 50  # products that a search finds at most
_KEPT: Final = 1024  # products kept in memory as objects, about 5 KB each
_BUILDERS: Final = ("analyzer.py", "catalogue.py", "index.py", "official.py", "porter.py", "product.py")


def build(files: official.Files, folder: Path, tell: Tell = silent) -> None:
    """Writes everything that `Catalogue` opens. Raises DataError where the files are damaged."""
    index = IndexBuilder()
    asins: list[str] = []
    sizes, combinations, human, titles = array("q"), array("q"), array("q"), array("Q")
    prices = array("d")
    categories: dict[str, int] = {}
    queries: dict[str, int] = {}
    category, query = array("q"), array("q")
    with (folder / "products.jsonl").open("wb") as out:
        for product in official.read_products(files, tell):
            sizes.append(out.write(to_bytes(product) + b"\n"))
            index.add(product.searched_text())
            asins.append(product.asin)
            prices.extend(product.prices if len(product.prices) == 2 else (product.prices[0], math.nan))
            combinations.append(_combinations(product))
            human.append(sum(bool(goal.attributes) for goal in product.human_goals))
            titles.append(_title_hash(product.title))
            category.append(categories.setdefault(product.category, len(categories)))
            query.append(queries.setdefault(product.query, len(queries)))
    names = np.array(asins, dtype=f"S{MAX_ASIN}")
    order = np.argsort(names, kind="stable").astype(np.int32)
    numbers = np.empty_like(order)
    numbers[order] = np.arange(len(order), dtype=np.int32)
    index.write(folder, numbers, tell)
    arrays: dict[str, NDArray[np.generic]] = {
        "product_ends": np.fromiter(accumulate(sizes, initial=0), np.int64),
        "asins": names,
        "by_asin": order,
        "prices": np.frombuffer(prices).reshape(-1, 2),
        "combinations": np.frombuffer(combinations, dtype=np.int64),
        "human": np.frombuffer(human, dtype=np.int64),
        "titles": np.frombuffer(titles, dtype=np.uint64),
        "category": np.frombuffer(category, dtype=np.int64).astype(np.int32),
        "query": np.frombuffer(query, dtype=np.int64).astype(np.int32),
    }
    for name, values in arrays.items():
        cache.save_array(folder, name, values)
    (folder / "names.json").write_text(json.dumps({"categories": list(categories), "queries": list(queries)}))


def _combinations(product: Product) -> int:
    """How many synthetic goals a product gives: one for each combination of its options; -1: none is asked for."""
    return -1 if product.instruction is None else math.prod(len(values) for values in product.options.values())


def _title_hash(title: str) -> int:
    """A number that products with the same title share."""
    return int.from_bytes(hashlib.blake2b(title.lower().encode("utf-8", "surrogatepass"), digest_size=8).digest())


class Stock(Protocol):
    """What a visit needs of a catalogue."""

    def product(self, number: int, /) -> Product: ...
    def asin(self, number: int, /) -> str: ...
    def search(self, keywords: str, rng: np.random.Generator, /) -> Numbers: ...


class Catalogue:
    """Products by number, in the order of the catalogue, and the search over them. Read-only.

    index: full-text search; it numbers products by ASIN. by_asin: our number of each of those. prices: [product,
    2], a price and NaN or both ends of a range. combinations: synthetic goals of each product, -1 where it has
    no instruction; human: goals written by people. titles: a hash of each title.
    """

    def __init__(self, folder: Path, version: str, sha256: str) -> None:
        """folder: what `build` wrote."""
        self.version, self.sha256 = version, sha256
        self._asins: NDArray[np.bytes_] = cache.load_array(folder, "asins")
        self.by_asin: Numbers = cache.load_array(folder, "by_asin")
        self.prices: NDArray[np.float64] = cache.load_array(folder, "prices")
        self.combinations: NDArray[np.int64] = cache.load_array(folder, "combinations")
        self.human: NDArray[np.int64] = cache.load_array(folder, "human")
        self.titles: NDArray[np.uint64] = cache.load_array(folder, "titles")
        self.index = Index(folder, len(self._asins))
        self._ends: NDArray[np.int64] = cache.load_array(folder, "product_ends")
        self._kinds = {name: cache.load_array(folder, name) for name in ("category", "query")}
        names = json.loads((folder / "names.json").read_text())
        self._categories: list[str] = names["categories"]
        self._queries: list[str] = names["queries"]
        self._products = os.open(folder / "products.jsonl", os.O_RDONLY)
        self.product = lru_cache(maxsize=_KEPT)(self._product)

    def __del__(self) -> None:
        """Closes the file of products."""
        if hasattr(self, "_products"):
            os.close(self._products)

    def __len__(self) -> int:
        """Number of products."""
        return len(self._asins)

    def _product(self, number: int) -> Product:
        """The product of that number."""
        start, stop = self._ends[number : number + 2].tolist()
        return from_bytes(os.pread(self._products, stop - start, start))

    def asin(self, number: int) -> str:
        """The ASIN of a product."""
        return str(self._asins[number].decode())

    def number_of(self, asin: str) -> int:
        """The number of the product with that ASIN. Raises UnknownName where there is none."""
        wanted = np.bytes_(asin.encode("ascii", "replace"))
        place = int(np.searchsorted(self._asins, wanted, sorter=self.by_asin))
        around = self.by_asin[max(0, place - 3) : place + 3].tolist()
        for number in around:
            if self._asins[number] == wanted:
                return int(number)
        raise UnknownName(f"no product {asin!r} in the catalogue{nearest(asin, map(self.asin, around))}")

    def search(self, keywords: str, rng: np.random.Generator) -> Numbers:
        """Numbers of the products found, best first.

        `<c> X` finds all of category X and `<q> X` all of query X, in the order of the catalogue, however many;
        `<r>` draws some by `rng`; `<a>` finds nothing. Anything else is searched for.
        """
        first, *others = keywords.split(" ")
        if first == "<r>":
            return rng.choice(len(self), size=min(SHOWN, len(self)), replace=False).astype(np.int32)
        if first == "<a>":
            return np.empty(0, dtype=np.int32)
        if first == "<c>":
            return self._of_kind("category", self._categories, others[0].strip() if others else "")
        if first == "<q>":
            return self._of_kind("query", self._queries, " ".join(others).strip())
        return self.by_asin[self.index.search(keywords, SHOWN)]

    def _of_kind(self, kind: str, names: list[str], name: str) -> Numbers:
        """All products of a category or query."""
        if name not in names:
            return np.empty(0, dtype=np.int32)
        return np.flatnonzero(self._kinds[kind] == names.index(name)).astype(np.int32)


# Catalogues in use, so that many environments share one; forgotten when the last user is gone.
_open: WeakValueDictionary[str, Catalogue] = WeakValueDictionary()


def open_catalogue(
    data: str | Path | None = None, *, seed: int = 0, products: int = 3000, tell: Tell = silent
) -> Catalogue:
    """The catalogue of the official files in a folder, or with None one of so many products made from a seed.

    Built at the first use and kept on disk; `tell` hears how far that is.
    Raises DataError or DataNotFound where the files are not as they should be.
    """
    files = official.find(generated_files(seed, products) if data is None else data)
    sha256 = cache.remembered_hash(files.all(), lambda: files.sha256(tell))
    found = _open.get(sha256)
    if found is None:
        name = f"catalogue-{sha256[:32]}-{cache.code_hash(_BUILDERS)[:16]}"
        home = cache.built(name, lambda part: build(files, part, tell))
        version = files.items.stem if data is not None else f"generated-{products}-{seed}"
        found = _open[sha256] = Catalogue(home, version, sha256)
    return found


def generated_files(seed: int, products: int) -> Path:
    """A folder with the files of a generated catalogue, in the official format. Raises ValueError for none at all."""
    if products < 1:
        raise ValueError(f"products must be at least 1, not {products}")
    from hiper.envs.webshop.generate import write_catalogue

    name = f"generated-{products}-{seed}-{cache.code_hash(['families.py', 'generate.py', 'words'])[:16]}"
    return cache.built(name, lambda part: write_catalogue(part, seed=seed, products=products))
