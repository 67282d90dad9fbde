"""The rooms of `src/hiper` may import what the tables below say and nothing else.

Every import counts: at the top of a file, inside a function, under `if TYPE_CHECKING`, and a literal name
given to `importlib.import_module`. A new room, or a new arrow, is a decision: it is made here first.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "hiper"

# room -> rooms it may import. The file `hiper/__init__.py` (lazy re-exports) is above them all.
ARROWS: dict[str, set[str]] = {
    "records": set(),
    "credit": set(),
    "agents": {"records"},
    "envs": {"records"},
    "models": {"records"},
    "lab": {"credit"},
    "report": {"records"},
    "rollout": {"records", "agents", "envs"},
    "batch": {"records"},
    "learn": {"batch", "models"},
    "runs": {"records", "credit", "agents", "envs", "models", "rollout", "batch", "learn"},
    "cli": {"runs", "report", "lab"},
}
TOP = "(top)"

# The two rooms that must stay readable and testable with next to nothing installed. `records` may read and
# write compressed files; the standard library has no zstd before Python 3.14, hence the one exception.
ONLY_THIRD_PARTY: dict[str, set[str]] = {"records": {"zstandard"}, "credit": {"numpy"}}

# Heavy library -> the rooms that may import it.
RESERVED: dict[str, set[str]] = {
    "torch": {"models", "batch", "learn", "runs"},
    "transformers": {"models"},
    "tokenizers": {"models"},
}


class Import(NamedTuple):
    line: int
    target: str  # dotted name; for `from a import b` it is "a.b"


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def absolute(node: ast.ImportFrom, path: Path) -> str:
    """The module that `from ... import` names, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, *([node.module] if node.module else [])])


def dynamic_target(node: ast.Call) -> str | None:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in {"import_module", "__import__"} or not node.args:
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def imports(source: str, path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(source, filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, path)
            yield from (Import(node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and (target := dynamic_target(node)):
            yield Import(node.lineno, target)


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    first = parts[0].removesuffix(".py")
    return TOP if len(parts) == 1 and first in {"__init__", "__main__"} else first


def complaint(room: str, target: str) -> str | None:
    """Why `room` may not import `target`, or None when it may."""
    library, *rest = target.split(".")
    if library == "hiper":
        inner = rest[0] if rest and rest[0] in ARROWS else TOP
        if room in (TOP, inner) or inner in ARROWS[room] or rest == ["__version__"]:
            return None
        return f"{room} may import {sorted(ARROWS[room]) or 'no other room'}, not {inner}"
    if room == TOP or library in sys.stdlib_module_names:
        return None
    if room in ONLY_THIRD_PARTY and library not in ONLY_THIRD_PARTY[room]:
        return f"{room} may use the standard library and {sorted(ONLY_THIRD_PARTY[room])} only"
    if room not in RESERVED.get(library, {room}):
        return f"only {sorted(RESERVED[library])} may import {library}"
    return None


def complaints(source: str, path: Path) -> list[str]:
    room = room_of(path)
    if room != TOP and room not in ARROWS:
        return [f"{path.relative_to(ROOT)}: {room} is not a room of the table"]
    found = ((item, complaint(room, item.target)) for item in imports(source, path))
    return [f"{path.relative_to(ROOT)}:{i.line}: imports {i.target}: {why}" for i, why in found if why]


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_no_forbidden_arrow() -> None:
    assert python_files()
    found = [line for path in python_files() for line in complaints(path.read_text("utf-8"), path)]
    assert not found, "\n" + "\n".join(found)


def test_the_table_has_no_cycle() -> None:
    """Rooms can be taken away one after another, each time one that needs none of those left."""
    left = {room: set(needs) for room, needs in ARROWS.items()}
    while left:
        free = [room for room, needs in left.items() if not needs & left.keys()]
        assert free, f"these rooms need each other: {sorted(left)}"
        left = {room: needs for room, needs in left.items() if room not in free}


def test_every_third_party_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *(d for name, ds in extras.items() if name != "dev" for d in ds)]
    known = {re.split(r"[\[<>=~! ]", d, maxsplit=1)[0].replace("-", "_").lower() for d in declared}
    known |= {"hiper", "textworld"}  # textworld is the engine inside alfworld
    used = {
        (item.target.split(".")[0], path) for path in python_files() for item in imports(path.read_text("utf-8"), path)
    }
    missing = sorted(
        f"{path.relative_to(ROOT)}: {library}"
        for library, path in used
        if library not in sys.stdlib_module_names and library.lower() not in known
    )
    assert not missing, "not in pyproject.toml:\n" + "\n".join(missing)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("records/x.py", "import numpy"),
        ("records/x.py", "from hiper.credit import hae"),
        ("credit/x.py", "def f():\n    import torch"),
        ("agents/x.py", "from hiper import envs"),
        ("agents/x.py", "from hiper import make"),
        ("agents/x.py", "from ..envs import make"),
        ("envs/alfworld/x.py", "from ...agents import memory"),
        ("models/x.py", "import hiper.agents"),
        ("report/x.py", "import torch.nn as nn"),
        ("report/x.py", "from importlib import import_module\nimport_module('torch')"),
        ("learn/x.py", "from transformers import AutoModel"),
        ("learn/x.py", "if TYPE_CHECKING:\n    from hiper.credit import HAECredit"),
        ("rollout/x.py", "import hiper.models"),
        ("cli.py", "from hiper.models import policy"),
        ("attic/x.py", ""),
    ],
)
def test_forbidden_imports_are_seen(file: str, source: str) -> None:
    assert len(complaints(source, PACKAGE / file)) == 1


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("__init__.py", "from hiper.envs import make"),
        ("records/x.py", "import json, zstandard"),
        ("credit/hae.py", "from hiper.credit.checks import check\nimport numpy as np"),
        ("models/x.py", "import torch, transformers, tokenizers"),
        ("runs/x.py", "from hiper import __version__, credit, models"),
        ("envs/x.py", "from . import vector"),
        ("cli/x.py", "from hiper.runs import train"),
    ],
)
def test_allowed_imports_pass(file: str, source: str) -> None:
    assert complaints(source, PACKAGE / file) == []


@pytest.mark.parametrize("module", ["hiper", "hiper.cli", "hiper.credit", "hiper.records", "hiper.report"])
def test_light_modules_load_no_heavy_library(module: str) -> None:
    """`hiper --help` must answer at once, and a report must be readable where no torch is installed."""
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
