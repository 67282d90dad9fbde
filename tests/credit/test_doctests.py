"""The numbers in the docstrings are run."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import hiper.credit

WITHOUT_NUMBERS = {"__init__", "checks", "returns"}
FILES = {file.stem for file in Path(hiper.credit.__file__).parent.glob("*.py")}


@pytest.mark.parametrize("name", sorted(FILES - WITHOUT_NUMBERS))
def test_docstrings(name: str) -> None:
    result = doctest.testmod(import_module(f"hiper.credit.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
