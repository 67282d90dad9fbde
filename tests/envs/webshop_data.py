"""Catalogues for the tests of WebShop: the official one where there is one, and small ones made here."""

import gzip
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from hiper.envs.webshop import Catalogue, open_catalogue
from hiper.envs.webshop.generate import write_catalogue

Row = dict[str, Any]


def webshop_data() -> Path:
    """The folder named by HIPER_WEBSHOP_DATA; skips the test where it is not set."""
    folder = os.environ.get("HIPER_WEBSHOP_DATA")
    if not folder:
        pytest.skip("HIPER_WEBSHOP_DATA is not set: it names the folder with the official catalogue")
    return Path(folder)


def golden(name: str) -> list[Any]:
    """The rows of a file that was written with the original, or the one value that it holds."""
    file = webshop_data() / "golden" / name
    if not file.exists():
        pytest.skip(f"no {file}")
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    if ".jsonl" in name:
        return [json.loads(line) for line in content.splitlines()]
    return [json.loads(content)]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What these tests build is kept apart, and shared by all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIPER_CACHE", str(tmp_path_factory.getbasetemp() / "webshop-cache"))
        yield


@cache
def official() -> Catalogue:
    """The official catalogue."""
    return open_catalogue(webshop_data())


@cache
def small_folder() -> Path:
    """A folder with 150 generated products."""
    folder = Path(mkdtemp(prefix="hiper-test-"))
    write_catalogue(folder, seed=5, products=150)
    return folder


@cache
def small() -> Catalogue:
    """The catalogue of `small_folder`."""
    return open_catalogue(small_folder())


def item(asin: str = "B000000001", **changes: Any) -> Row:
    """A row of the product file."""
    row = {
        "asin": asin,
        "name": f"Fine Mug {asin}",
        "full_description": "A mug of stoneware.",
        "small_description": ["Holds 300 ml", ""],
        "pricing": "$12.50",
        "customization_options": {"Color": [{"value": "Red "}, {"value": "Blue/Green"}], "Size": None},
        "category": "garden",
        "query": "Mugs ",
        "product_category": "Home › Kitchen › Mugs",
    }
    return {**row, **changes}


ASKED: Row = {"attributes": ["stone ware"], "instruction": "Find me a mug", "instruction_attributes": ["stone ware"]}


def write_files(folder: Path, items: Any, attributes: Any = None, human: Any = None) -> Path:
    """Writes the files of a catalogue; every product is asked for where nothing else is said."""
    folder.mkdir(parents=True, exist_ok=True)
    if attributes is None:
        attributes = {row["asin"]: ASKED for row in items}
    for name, content in (("shuffle", items), ("ins_v2", attributes), ("human_ins", human)):
        if content is not None:
            (folder / f"items_{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
