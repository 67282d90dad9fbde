"""`docs/credit.md`: its Python runs, its links lead somewhere, its tables name functions and tests that exist."""

import ast
import re
from pathlib import Path

import pytest

import hiper.credit

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "credit.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
LINKS = sorted({link for link in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in link})
TESTED = [ROOT / "tests" / "credit" / f"test_{name}.py" for name in ("reductions", "hae_identities")]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its own heading."""
    lines = PAGE.split(f"{heading}\n")[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_python_runs() -> None:
    assert len(PYTHON) >= 3
    exec(compile("\n".join(PYTHON), "credit.md", "exec"), {})


@pytest.mark.parametrize("link", LINKS)
def test_linked_files_exist(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


def test_every_estimator_stands_in_the_table() -> None:
    named = {row[1].strip("`") for row in rows("## The estimators")} | {"adaptive_lam_boundary", "sibling_values"}
    assert named == {name for name in hiper.credit.__all__ if name.islower()}


def test_each_equality_has_its_test() -> None:
    trees = [ast.parse(file.read_text("utf-8")) for file in TESTED]
    there = {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    named = {row[2].strip("`") for row in rows("### Which equals which")}
    assert len(named) >= 20
    assert named <= there
