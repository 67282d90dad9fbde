"""What an environment says of itself before one is made: so that nothing outside this room has to know it by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Settings = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Held by an environment's class (or by the function that makes it) as `about`, or given to `register`.

    train_split: what training plays. eval_splits: what evaluation plays; the last is the one to show to people.
    views: by name, keyword arguments of `make` under which the same benchmark is reported too, beside the default.

    Worked example: `About(eval_splits=("dev", "test"), views={"published": {"compat": "v1"}})`.
    """

    train_split: str = "train"
    eval_splits: tuple[str, ...] = ("test",)
    views: Mapping[str, Settings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError where there is no split to evaluate."""
        if not self.eval_splits:
            raise ValueError("About: eval_splits must name a split at least")
