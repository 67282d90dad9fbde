"""What an environment says of itself before one is made: so that nothing outside this room has to know it by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Settings = Mapping[str, str | int | float | bool]
Tell = Callable[[str, int, int], None]  # what is being done, how much of it is done, and of how much


def silent(work: str, done: int, total: int) -> None:
    """A `Tell` for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the data of an environment holds. All values can be written as JSON.

    splits: of each the number of `games`, `env_version` and `data_sha256`. facts: of the whole, by name. absent: a
    sentence for each part that may be missing and is.
    """

    splits: Mapping[str, Mapping[str, object]]
    facts: Mapping[str, object] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Held by an environment's class (or by the function that makes it) as `about`, or given to `register`.

    train_split: what training plays. eval_splits: what evaluation plays; the last is the one to show to people.
    further_splits: what official data hold besides. views: by name, keyword arguments of `make` under which the same
    benchmark is reported too, beside the default.
    survey: checks the data at a path (None: what is generated), prepares what is kept of it, and says what it holds;
    without it each split is opened and counted.

    Worked example: `About(eval_splits=("dev", "test"), views={"published": {"compat": "v1"}})`.
    """

    train_split: str = "train"
    eval_splits: tuple[str, ...] = ("test",)
    further_splits: tuple[str, ...] = ()
    views: Mapping[str, Settings] = field(default_factory=dict)
    survey: Callable[[str | None, Tell], Survey] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where there is no split to evaluate."""
        if not self.eval_splits:
            raise ValueError("About: eval_splits must name a split at least")
