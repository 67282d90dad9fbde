"""Reading the official files, good and bad, and keeping what is built from them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hiper.envs.errors import DataError, DataNotFound, UnknownName
from hiper.envs.webshop import cache, official, open_catalogue
from hiper.envs.webshop.official import read_products
from hiper.envs.webshop.product import NO_ATTRIBUTE, Product, from_bytes, to_bytes
from tests.envs.webshop_data import ASKED, Row, item, own_cache, small, small_folder, write_files

__all__ = ["own_cache"]


def read(folder: Path, items: Any, attributes: Any = None) -> list[Product]:
    return list(read_products(official.find(write_files(folder, items, attributes))))


def test_a_product_is_read_as_the_original_reads_it(tmp_path: Path) -> None:
    (product,) = read(tmp_path, [item()])
    assert product == Product(
        asin="B000000001",
        title="Fine Mug B000000001",
        description="A mug of stoneware.",
        bullets=("Holds 300 ml", ""),
        prices=(12.5,),
        options={"color": ("red", "blue | green")},
        attributes=("stone ware",),
        query="mugs",
        category="garden",
        product_category="Home › Kitchen › Mugs",
        instruction="Find me a mug",
        wanted=("stone ware",),
    )
    assert product.searched_text() == "fine mug b000000001 a mug of stoneware. holds 300 ml color: red, blue | green"
    assert from_bytes(to_bytes(product)) == product


@pytest.mark.parametrize(
    ("pricing", "tag"),
    [
        ("", "$100.0"),
        (None, "$100.0"),
        ("$59.50", "$59.5"),
        ("$1,299.00", "$1299.0"),
        ("$19.99$27.99", "$19.99 to $27.99"),
        ("$5$6$7", "$5.0 to $6.0"),
    ],
)
def test_price_tags(pricing: str | None, tag: str, tmp_path: Path) -> None:
    (product,) = read(tmp_path, [item(pricing=pricing)])
    assert product.price_tag == tag


def test_what_is_left_out_without_a_word(tmp_path: Path) -> None:
    items = [item(), item(name="Again"), item("nan"), item("B0000000011"), item("B000000002")]
    attributes = {"B000000001": ASKED, "B000000002": {}, "B000000003": ASKED}
    first, second = read(tmp_path, items, attributes)
    assert (first.title, second.asin, second.attributes) == ("Fine Mug B000000001", "B000000002", (NO_ATTRIBUTE,))


def test_empty_texts_are_no_fault(tmp_path: Path) -> None:
    changes: Row = {"name": "", "full_description": "", "small_description": "", "customization_options": None}
    (product,) = read(tmp_path, [item(**changes)])
    assert (product.title, product.bullets, product.options) == ("", (), {})


def without(key: str) -> Row:
    return {name: value for name, value in item().items() if name != key}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (without("name"), r"product 0 \(B000000001\): 'name' must be a string, not absent"),
        (item(name=7), "'name' must be a string, not 7"),
        (without("query"), "'query' must be a string"),
        (item(small_description=[1]), r"'small_description' must be a list of strings, not \[1\]"),
        (item(pricing="19.99"), "'pricing' must be empty or read like"),
        (item(pricing="$cheap"), "'pricing' must be empty or read like"),
        (item(customization_options=["red"]), "'customization_options' must be an object"),
        (item(customization_options={"Color": ["red"]}), "option 'Color': must be a list of objects"),
        (item(customization_options={"Color": [{"image": "x"}]}), "option 'Color': 'value' must be a string"),
        ({"name": "x"}, "product 0: must be an object with an 'asin'"),
        (item("B00000000★"), "'asin' of ASCII"),
        ("mug", "product 0: must be an object"),
    ],
)
def test_bad_products(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, [row], {"B000000001": ASKED})


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, "items_ins_v2.json has no object for B000000001 of items_shuffle.json"),
        ({"B000000001": "mug"}, "has no object for B000000001"),
        ({"B000000001": {"attributes": 3}}, "'attributes' must be a list of strings"),
        ({"B000000001": {"instruction": "mug"}}, "needs|must be a list of strings, not absent"),
        ({"B000000001": {"instruction": "mug", "instruction_attributes": []}}, "needs at least one"),
    ],
)
def test_bad_attributes(about: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read(tmp_path, [item()], about)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFound, match="is no folder"):
        official.find(tmp_path / "nowhere")
    with pytest.raises(
        DataNotFound, match=r"no items_shuffle\*\.json and no items_ins_v2\*\.json in .* may be missing"
    ):
        official.find(tmp_path)
    write_files(tmp_path / "a", [item()], human={})
    for name in ("items_ins_v2", "items_shuffle"):
        (tmp_path / "a" / f"{name}.json").rename(tmp_path / name)
        with pytest.raises(DataNotFound, match=rf"a lacks {name}\*\.json$"):
            official.find(tmp_path)
        (tmp_path / name).rename(tmp_path / "a" / f"{name}.json")
    for name in ("items_ins_v2", "items_shuffle"):
        (tmp_path / "a" / f"{name}.json").unlink()
    with pytest.raises(DataNotFound, match=r"a lacks items_shuffle\*\.json and items_ins_v2\*\.json$"):
        official.find(tmp_path)
    write_files(tmp_path / "a", [item()])
    for name in ("items_human_ins", "items_ins_v2"):
        (tmp_path / "a" / f"{name}.json").unlink()
    with pytest.raises(DataNotFound, match=r"\(nor has it items_human_ins\.json, which may be missing\)"):
        official.find(tmp_path)
    write_files(tmp_path / "a", [item()])
    assert official.find(tmp_path) == official.find(tmp_path / "a")
    write_files(tmp_path / "b", [item()])
    with pytest.raises(DataError, match=r"several folders .* name one: a, b"):
        official.find(tmp_path)
    shutil.copy(tmp_path / "a" / "items_shuffle.json", tmp_path / "a" / "items_shuffle_1000.json")
    with pytest.raises(DataError, match=r"leave one: items_shuffle\.json, items_shuffle_1000\.json"):
        official.find(tmp_path / "a")


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_list_longer_than_what_is_read_at_a_time(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official, "_CHUNK", chunk)
    items = [item(f"B{number:09}") for number in range(5)]
    assert [product.asin for product in read(tmp_path, items)] == [row["asin"] for row in items]


def test_every_truncation_of_the_product_file_is_noticed(tmp_path: Path) -> None:
    write_files(tmp_path, [item(), item("B000000002")])
    file = tmp_path / "items_shuffle.json"
    whole = file.read_text()
    for length in range(0, len(whole), 9):
        file.write_text(whole[:length])
        with pytest.raises(DataError, match=r"items_shuffle.json (is damaged or truncated|must hold a JSON list)"):
            list(read_products(official.find(tmp_path)))


@pytest.mark.parametrize("content", ["[]", "{}", "[1 2]", '[{"asin": "B1"} {"asin": "B2"}]', "\x00", "[\udc80"])
def test_damaged_product_files(content: str, tmp_path: Path) -> None:
    write_files(tmp_path, [item()], {"B1": {}, "B2": {}})
    (tmp_path / "items_shuffle.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"items_shuffle"):
        list(read_products(official.find(tmp_path)))


@pytest.mark.parametrize("content", ["[]", '{"B000000001": ', ""])
def test_damaged_attribute_files(content: str, tmp_path: Path) -> None:
    write_files(tmp_path, [item()])
    (tmp_path / "items_ins_v2.json").write_text(content)
    with pytest.raises(DataError, match=r"items_ins_v2\.json (is damaged|must hold a JSON object)"):
        list(read_products(official.find(tmp_path)))


def test_searches_for_kinds_of_products() -> None:
    rng = np.random.default_rng(0)
    catalogue = small()
    numbers = range(len(catalogue))
    category, query = catalogue.product(0).category, catalogue.product(0).query
    of_category = [number for number in numbers if catalogue.product(number).category == category]
    of_query = [number for number in numbers if catalogue.product(number).query == query]
    assert catalogue.search(f"<c> {category} more words", rng).tolist() == of_category
    assert catalogue.search(f"<q> {query}", rng).tolist() == of_query
    assert len(set(catalogue.search("<r>", rng).tolist())) == 50
    for nothing in ("<c>", "<c> nowhere", "<q>", "<a> soft", "😀", "zzzz", "the"):
        assert len(catalogue.search(nothing, rng)) == 0
    assert len(catalogue.search("mug " * 2500, rng)) <= 50


def test_products_by_asin() -> None:
    catalogue = small()
    for number in range(len(catalogue)):
        assert catalogue.number_of(catalogue.asin(number)) == number
        assert catalogue.product(number).asin == catalogue.asin(number)
    for unknown in ("", "B", "Z" * 12, "★"):
        with pytest.raises(UnknownName, match="no product"):
            catalogue.number_of(unknown)


# The cache


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "webshop"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A small catalogue that nothing has seen yet."""
    number = int.from_bytes(os.urandom(4))
    return write_files(tmp_path / "files", [item(), item("B000000002", name=f"Mug {number}")])


def builds(home: Path) -> Iterator[Path]:
    return (path for path in home.iterdir() if path.name.startswith("catalogue-") and path.is_dir())


def test_it_is_built_once_and_shared(home: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_catalogue(files)
    assert open_catalogue(files) is first
    monkeypatch.setattr("hiper.envs.webshop.catalogue.build", None)  # not called again
    monkeypatch.setattr("hiper.envs.webshop.catalogue._open", {})
    again = open_catalogue(files)
    assert again is not first
    assert again.product(1) == first.product(1)


def test_it_is_built_anew_for_other_content(home: Path, files: Path) -> None:
    first = open_catalogue(files)
    write_files(files, [item(name="Another mug")])
    assert open_catalogue(files).sha256 != first.sha256
    assert open_catalogue(files).product(0).title == "Another mug"
    assert first.product(0).title == "Fine Mug B000000001"


def test_a_damaged_cache_is_built_again(home: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_catalogue(files)
    monkeypatch.setattr("hiper.envs.webshop.catalogue._open", {})
    (folder,) = builds(home)
    (folder / "docs.npy").write_bytes(b"")
    assert sorted(open_catalogue(files).search("mug", np.random.default_rng())) == [0, 1]


def test_a_failed_build_leaves_nothing(home: Path, files: Path) -> None:
    write_files(files, [item(), item("B000000002", pricing="cheap")])
    for _ in range(2):
        with pytest.raises(DataError, match="pricing"):
            open_catalogue(files)
    assert not list(builds(home))


def test_a_folder_that_cannot_be_written(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot keep the catalogue in .*; each start builds it"):
        catalogue = open_catalogue(files)
    assert catalogue.product(0).asin == "B000000001"


# Opens the catalogue in argv[1] and says how often that built it. With a second argument waits in the middle.
_OPEN = """
import sys, time
from hiper.envs.webshop import catalogue
build, calls = catalogue.build, []
def slow(files, folder, tell):
    build(files, folder, tell)
    calls.append(folder)
    print("building", flush=True)
    time.sleep(60 if len(sys.argv) > 2 else 0.5)
catalogue.build = slow
shop = catalogue.open_catalogue(sys.argv[1])
print(len(calls), len(shop), flush=True)
"""


def opener(files: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", _OPEN, str(files), *more], stdout=subprocess.PIPE, text=True)


def test_a_killed_build_leaves_nothing_that_looks_whole(home: Path, files: Path) -> None:
    with opener(files, "wait") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "building\n"
        process.send_signal(signal.SIGKILL)
    (left,) = builds(home)
    assert left.suffix == ".part"
    assert len(open_catalogue(files)) == 2
    (whole,) = builds(home)
    assert whole.suffix == ""


def test_of_two_processes_one_builds(home: Path, files: Path) -> None:
    with opener(files) as one, opener(files) as other:
        said = [process.communicate()[0].split("\n")[-2] for process in (one, other)]
    assert sorted(said) == ["0 2", "1 2"]


def test_the_hash_of_large_files_is_noted(home: Path, files: Path) -> None:
    found = official.find(files)
    assert cache.remembered_hash(found.all(), lambda: "one") == "one"
    assert cache.remembered_hash(found.all(), lambda: "other") == "one"
    found.items.write_text(json.dumps([item()]) + "\n")
    assert cache.remembered_hash(found.all(), lambda: "other") == "other"


def test_a_generated_catalogue(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = open_catalogue(products=30), open_catalogue(products=30, seed=1)
    assert (len(first), first.version) == (30, "generated-30-0")
    assert first.sha256 != other.sha256
    monkeypatch.setattr("hiper.envs.webshop.generate.write_catalogue", None)  # not called again
    assert open_catalogue(products=30) is first
    with pytest.raises(ValueError, match="products must be at least 1"):
        open_catalogue(products=0)


def test_the_same_files_give_the_same_hash_wherever_they_lie(home: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(small_folder(), tmp_path / "elsewhere" / "below")
    assert open_catalogue(copied.parent) is open_catalogue(small_folder())
