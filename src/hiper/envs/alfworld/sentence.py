"""The short language in which games state their task: goals to sentence, and back.

Every kind of goal has two wordings, those of the official games. A ladder of goals (see `ladder`) joins them:
`Your task is to: first put a hot egg in fridge, then put two mug in desk, and then put a cool egg in desk.`
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from hiper.envs.alfworld.game import TASK_PREFIX, Goal, GoalKind
from hiper.envs.errors import DataError

WORDINGS: Final[Mapping[GoalKind, tuple[str, str]]] = {
    "place": ("put a {item} in {target}", "put some {item} on {target}"),
    "look": ("look at {item} under the {target}", "examine the {item} with the {target}"),
    "clean": ("put a clean {item} in {target}", "clean some {item} and put it in {target}"),
    "heat": ("put a hot {item} in {target}", "heat some {item} and put it in {target}"),
    "cool": ("put a cool {item} in {target}", "cool some {item} and put it in {target}"),
    "two": ("put two {item} in {target}", "find two {item} and put them in {target}"),
}
# Types are single words, so `put a clean mug in sidetable` cannot be taken for a `place` goal.
_PATTERNS: Final[tuple[tuple[GoalKind, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(wording.format(item=r"(\w+)", target=r"(\w+)")))
    for kind, pair in WORDINGS.items()
    for wording in pair
)
_JOINTS: Final = re.compile(r", and then |, then ")


def task_sentence(goals: Sequence[Goal], wordings: Sequence[int]) -> str:
    """The sentence that asks for `goals`, in order. wordings: per goal 0 or 1, which of the two to use.

    >>> task_sentence([Goal("heat", "egg", "fridge")], [0])
    'Your task is to: put a hot egg in fridge.'
    """
    clauses = [
        WORDINGS[goal.kind][wording].format(item=goal.item, target=goal.target)
        for goal, wording in zip(goals, wordings, strict=True)
    ]
    if len(clauses) == 1:
        return f"{TASK_PREFIX}{clauses[0]}."
    middle = "".join(f", then {clause}" for clause in clauses[1:-1])
    return f"{TASK_PREFIX}first {clauses[0]}{middle}, and then {clauses[-1]}."


def read_task(text: str) -> tuple[Goal, ...]:
    """The goals of the task sentence in `text`, wherever it stands there: one, or the stages of a ladder.

    >>> read_task("Your task is to: find two pen and put them in desk.")
    (Goal(kind='two', item='pen', target='desk'),)
    """
    _, prefix, rest = text.partition(TASK_PREFIX)
    if not prefix:
        raise DataError(f"no task sentence: expected {TASK_PREFIX!r} in {text[-80:]!r}")
    sentence = rest.partition(".")[0]
    return tuple(_read_goal(clause) for clause in _JOINTS.split(sentence.removeprefix("first ")))


def _read_goal(clause: str) -> Goal:
    """The goal that one clause asks for."""
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(clause)
        if match:
            return Goal(kind, match[1], match[2])
    raise DataError(f"not a task of this language: {clause!r}")
