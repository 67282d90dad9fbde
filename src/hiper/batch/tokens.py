"""From documents and credit to what is trained on: one advantage a token, one target a value point.

Denominators belong to the whole batch, so that the loss and its gradient are the same however the documents are
split into micro-batches or laid out in rows. Shapes: L tokens of a document, P value points, B episodes, T turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiper.batch.documents import ACTION, NONE, OF_TOKEN, SUBGOAL, SWITCH, V_HIGH, V_LOW, Document, Floats, U

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Credit by episode, turn and decision, as the learner needs it: (B, T) arrays, training units.

    `target_*` are the regression targets of the three value heads. Any estimator can be written as streams; the learner
    does not know which one it was.
    """

    switch_BT: Floats
    subgoal_BT: Floats
    action_BT: Floats
    target_U_BT: Floats
    target_high_BT: Floats
    target_low_BT: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A document with its training signals."""

    document: Document
    advantage_L: Floats
    target_P: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """Documents to train on together. `tokens` and `points` are the denominators of the two means."""

    examples: tuple[Example, ...]
    tokens: int
    points: int

    @classmethod
    def of(cls, examples: Sequence[Example]) -> "TokenBatch":
        return cls(
            examples=tuple(examples),
            tokens=sum(int((e.document.kind_L != NONE).sum()) for e in examples),
            points=sum(int(np.isfinite(e.target_P).sum()) for e in examples),
        )


def normalised(streams: Streams, mask_BT: Bools, boundary_BT: Bools, how: str) -> Streams:
    """Advantages on a common scale.

    "joint" divides all three levels by one constant, the root mean square over all their entries: the
    direction of the update is unchanged. "per_level" gives each level its own constant, as the paper's scripts do; with
    shared parameters that can reverse the sign of the update. "none" leaves them alone.
    """
    chosen_by_level = {"switch_BT": mask_BT.copy(), "subgoal_BT": boundary_BT & mask_BT, "action_BT": mask_BT}
    chosen_by_level["switch_BT"][:, 0] = False  # turn 0 has no choice to switch
    entries = {name: getattr(streams, name)[chosen] for name, chosen in chosen_by_level.items()}
    if how == "none":
        return streams
    if how == "joint":
        scale = dict.fromkeys(entries, rms(np.concatenate(list(entries.values()))))
    elif how == "per_level":
        scale = {name: rms(values) for name, values in entries.items()}
    else:
        raise ValueError(f"unknown normalisation {how!r}; known: joint, per_level, none")
    changed = {name: getattr(streams, name) / scale[name] for name in entries}
    targets = {name: getattr(streams, name) for name in ("target_U_BT", "target_high_BT", "target_low_BT")}
    return Streams(**changed, **targets)


def rms(values: Floats) -> float:
    """Root mean square; 1 where there is nothing to scale."""
    size = float(np.sqrt(np.mean(values**2))) if values.size else 0.0
    return size if size > 1e-8 else 1.0


def assign(rows: Sequence[Document], streams: Streams) -> list[Example]:
    """Give every trained token its decision's advantage and every value point its target."""
    credit = {SWITCH: streams.switch_BT, SUBGOAL: streams.subgoal_BT, ACTION: streams.action_BT}
    target = {U: streams.target_U_BT, V_HIGH: streams.target_high_BT, V_LOW: streams.target_low_BT}
    return [_example(row, credit, target) for row in rows]


def _example(row: Document, credit: dict[int, Floats], target: dict[int, Floats]) -> Example:
    advantage_L = np.zeros(len(row))
    for kind, table in credit.items():
        chosen = row.kind_L == kind
        advantage_L[chosen] = table[row.episode, row.turn_L[chosen]]
    target_P = np.full(len(row.point_P), np.nan)
    # False for the state after the last turn, which has no target, and for the points of single tokens.
    was_played_P = np.isin(row.point_turn_P, row.turn_L) & (row.point_turn_P != OF_TOKEN)
    for head, table in target.items():
        chosen = was_played_P & (row.head_P == head)
        target_P[chosen] = table[row.episode, row.point_turn_P[chosen]]
    return Example(document=row, advantage_L=advantage_L, target_P=target_P)


def assign_tokens(rows: Sequence[Document], advantages: Sequence[Floats], targets: Sequence[Floats]) -> list[Example]:
    """The same where credit counts tokens: per row, one advantage and one target for each trained token, in order."""
    examples = []
    for row, advantage, target in zip(rows, advantages, targets, strict=True):
        advantage_L, target_P = np.zeros(len(row)), np.full(len(row.point_P), np.nan)
        advantage_L[row.kind_L != NONE] = advantage
        target_P[row.point_turn_P == OF_TOKEN] = target
        examples.append(Example(document=row, advantage_L=advantage_L, target_P=target_P))
    return examples


def split_by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices in groups of at most `budget` tokens (one document may exceed it alone), in the given order."""
    groups: list[list[int]] = []
    room = 0
    for index, length in enumerate(lengths):
        if not groups or length > room:
            groups.append([])
            room = budget
        groups[-1].append(index)
        room -= length
    return groups
