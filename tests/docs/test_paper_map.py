"""`docs/paper_map.md` names functions and tests; all of them exist, and every estimator stands there."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

import hiper.credit

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    line
    for line in (ROOT / "docs" / "paper_map.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith(("| idea", "|--"))
]
FUNCTIONS = sorted({name for row in ROWS for name in re.findall(r"`(hiper(?:\.\w+)+)`", row)})
TESTS = sorted({name for row in ROWS for name in re.findall(r"`(tests/[\w/]+\.py::\w+)`", row)})


@pytest.mark.parametrize("row", ROWS)
def test_each_row_has_its_function_and_its_test(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4
    assert re.search(r"`hiper\.", cells[2])
    assert re.search(r"`tests/", cells[3])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_exists(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    assert hasattr(import_module(module), attribute)


@pytest.mark.parametrize("name", TESTS)
def test_test_exists(name: str) -> None:
    file, _, function = name.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_estimator_stands_on_the_map() -> None:
    estimators = {name for name in hiper.credit.__all__ if name.islower()}
    assert {f"hiper.credit.{name}" for name in estimators} <= set(FUNCTIONS)
