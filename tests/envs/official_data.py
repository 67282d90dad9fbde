"""Where the official ALFWorld data and the traces made from it are, for the tests that need them."""

import os
from pathlib import Path

import pytest


def official_data() -> Path:
    """The folder named by HIPER_ALFWORLD_DATA; skips the test where it is not set."""
    folder = os.environ.get("HIPER_ALFWORLD_DATA")
    if not folder:
        pytest.skip("HIPER_ALFWORLD_DATA is not set: it names the folder with the official games")
    return Path(folder)
