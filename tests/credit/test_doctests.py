"""The numbers in the docstrings are run."""

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["gae", "hae", "scan"])
def test_docstrings(name: str) -> None:
    result = doctest.testmod(import_module(f"hiper.credit.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
