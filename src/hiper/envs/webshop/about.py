"""What is said of WebShop before one goes in: its version and splits, and what the files of a catalogue hold."""

from __future__ import annotations

from typing import Final

import numpy as np

from hiper.envs.about import About, Survey, Tell
from hiper.envs.webshop.catalogue import Catalogue, open_catalogue
from hiper.envs.webshop.goals import Compat, GoalSet, open_goals
from hiper.envs.webshop.official import PATTERNS, find

RULES_VERSION: Final = "webshop-1"
_SPLITS: Final = ("train", "validation", "test")


def version(catalogue: Catalogue, compat: Compat | None) -> str:
    """Rules and data in one string, for reports."""
    return f"{RULES_VERSION}/{compat or 'fixed'}/{catalogue.version}"


def survey(data: str | None, tell: Tell) -> Survey:
    """Checks the files in a folder (None: those of the generated catalogue), and builds what is kept of them.

    Raises DataError where they are damaged, DataNotFound where one is missing.
    """
    files = None if data is None else find(data)
    catalogue = open_catalogue(data, tell=tell)
    goals = open_goals(catalogue, "all", tell=tell).all
    human = open_goals(catalogue, "all", human=True, tell=tell).all if int(catalogue.human.sum()) else None
    row = {"env_version": version(catalogue, None), "data_sha256": catalogue.sha256}
    sizes = {} if files is None else {path.name: path.stat().st_size for path in files.all()}
    return Survey(
        splits={split: {"games": len(goals.split(split, None)), **row} for split in _SPLITS},
        facts={
            **({"files_bytes": sizes} if sizes else {}),
            "products": len(catalogue),
            "products_with_a_price_range": int(np.count_nonzero(~np.isnan(catalogue.prices[:, 1]))),
            **_counted("goals", goals),
            **(_counted("human_goals", human) if human else {"human_goals": 0}),
            "sha256": catalogue.sha256,
        },
        absent=(f"{PATTERNS[2]} is not there: no goals written by people",) if files and not files.human else (),
    )


def _counted(name: str, goals: GoalSet) -> dict[str, object]:
    """How many goals there are, and how many of them can be reached."""
    reachable = int(np.count_nonzero(goals.reachable))
    return {name: len(goals), f"{name}_reachable": reachable, f"{name}_unreachable": len(goals) - reachable}


ABOUT: Final = About(views={"verl-agent": {"compat": "verl-agent"}}, survey=survey)
