"""From trajectories to token documents: the rows that a model reads in one forward pass.

A *document* is a run of turns whose contexts were appended to one another: the whole episode in the
transcript layout, one turn in the window layout. Nothing here assumes either. Values are read at the token just
before each decision's span (U before the switch, V_high after a SWITCH and before its subgoal, V_low before the
action), and U once more at the end of the final context, for episodes that were cut off. Which values a reply has
depends, token by token, on what was before: a value must not know how the reply will end.

Shapes: L tokens of a document, P value points, B episodes, T turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hiper.records import Kind, Trajectory, Turn

NONE, SWITCH, SUBGOAL, ACTION = range(4)
KIND = {Kind.SWITCH: SWITCH, Kind.SUBGOAL: SUBGOAL, Kind.ACTION: ACTION}
U, V_HIGH, V_LOW = range(3)
OF_TOKEN = -1

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class BatchError(ValueError):
    """Trajectories that cannot be turned into documents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One row of tokens and what each of them is.

    `kind_L[i]` says what token i decides (NONE: it was not sampled, or is not trained); `turn_L` its turn (-1
    outside replies); `logprob_L` what the sampler gave. Point p asks head `head_P[p]` for the value at token
    `point_P[p]`; it is the value of turn `point_turn_P[p]` (T for the state after the last turn; OF_TOKEN where the
    point belongs to one token: the points so marked are, in order, the U of each trained token).
    """

    episode: int
    ids_L: Ints
    kind_L: Ints
    turn_L: Ints
    logprob_L: Floats
    point_P: Ints
    head_P: Ints
    point_turn_P: Ints

    def __len__(self) -> int:
        return len(self.ids_L)


class _Builder:
    """Collects the tokens of one document."""

    def __init__(self, episode: int) -> None:
        self.episode = episode
        self.ids: list[int] = []
        self.kind: list[int] = []
        self.turn: list[int] = []
        self.logprob: list[float] = []
        self.points: list[tuple[int, int, int]] = []

    def add_context(self, ids: Sequence[int]) -> None:
        self.ids += ids
        self.kind += [NONE] * len(ids)
        self.turn += [-1] * len(ids)
        self.logprob += [0.0] * len(ids)

    def add_reply(self, turn: Turn) -> None:
        """Each decision's tokens, and the value before it. Of what kind a token is depends on those before it alone."""
        start = len(self.ids)
        if start == 0:
            raise BatchError(f"turn {turn.index} has an empty context: there is no token to read its value at")
        kinds = [NONE] * len(turn.reply_ids)
        self.points.append((start - 1, U, turn.index))
        if turn.opens_segment and turn.spans.subgoal is None:  # none was written: it is read where U is
            self.points.append((start - 1, V_HIGH, turn.index))
        for kind, span in turn.spans.items():
            kinds[span.start : span.stop] = [KIND[kind]] * len(span)
            if kind is not Kind.SWITCH:
                head = V_HIGH if kind is Kind.SUBGOAL else V_LOW
                self.points.append((start + span.start - 1, head, turn.index))
        self.ids += turn.reply_ids
        self.kind += kinds
        self.turn += [turn.index] * len(kinds)
        self.logprob += turn.reply_logprobs

    def add_token_points(self) -> None:
        """U before every trained token, for credit that counts tokens."""
        self.points += [(place - 1, U, OF_TOKEN) for place, kind in enumerate(self.kind) if kind != NONE]

    def build(self) -> Document:
        point, head, turn = zip(*self.points, strict=True) if self.points else ((), (), ())
        return Document(
            episode=self.episode,
            ids_L=np.array(self.ids, dtype=np.int64),
            kind_L=np.array(self.kind, dtype=np.int64),
            turn_L=np.array(self.turn, dtype=np.int64),
            logprob_L=np.array(self.logprob, dtype=np.float64),
            point_P=np.array(point, dtype=np.int64),
            head_P=np.array(head, dtype=np.int64),
            point_turn_P=np.array(turn, dtype=np.int64),
        )


def documents(
    trajectories: Sequence[Trajectory], *, max_length: int | None = None, token_values: bool = False
) -> list[Document]:
    """All documents of the episodes, in order. Raises BatchError for an episode without sampled tokens.

    `token_values` asks for a value before every trained token as well.

    A final context that no longer fits into `max_length` tokens is read as far as it fits: the episode ended because
    the model could not read on.
    """
    builders = [builder for n, one in enumerate(trajectories) for builder in _builders(n, one, max_length)]
    if token_values:
        for builder in builders:
            builder.add_token_points()
    return [builder.build() for builder in builders]


def _builders(episode: int, trajectory: Trajectory, max_length: int | None) -> list[_Builder]:
    builders: list[_Builder] = []
    for turn in trajectory.turns:
        if not turn.reply_ids:
            raise BatchError(f"episode {episode}, turn {turn.index}: no sampled tokens; did a language model play it?")
        if turn.fresh_context or not builders:
            builders.append(_Builder(episode))
        builders[-1].add_context(turn.context_ids)
        builders[-1].add_reply(turn)
    if not trajectory.ending.is_terminal and trajectory.final_context_ids:
        if trajectory.final_context_is_fresh:
            builders.append(_Builder(episode))
        room = None if max_length is None else max(0, max_length - len(builders[-1].ids))
        builders[-1].add_context(trajectory.final_context_ids[:room])
        builders[-1].points.append((len(builders[-1].ids) - 1, U, len(trajectory.turns)))
    return builders


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What the critic says, training units. NaN where nothing is defined: padding, V_high off boundaries.

    Where a reply came to no action, V_low is the value before the decision it went wrong in: U, or V_high.
    """

    U_BT: Floats
    V_high_BT: Floats
    V_low_BT: Floats
    U_final_B: Floats


def gather_values(trajectories: Sequence[Trajectory], rows: Sequence[Document], points: Sequence[Floats]) -> Values:
    """Arrange the values read at each document's points (one array a document) by episode and turn."""
    longest = max(len(one.turns) for one in trajectories)
    table = np.full((3, len(trajectories), longest + 1), np.nan)
    for row, value_P in zip(rows, points, strict=True):
        of_turn = row.point_turn_P != OF_TOKEN
        table[row.head_P[of_turn], row.episode, row.point_turn_P[of_turn]] = value_P[of_turn]
    length_B = np.array([len(one.turns) for one in trajectories])
    final_B = table[U, np.arange(len(trajectories)), length_B].copy()
    table[U, np.arange(len(trajectories)), length_B] = np.nan
    before = np.where(np.isnan(table[V_HIGH]), table[U], table[V_HIGH])
    table[V_LOW] = np.where(np.isnan(table[V_LOW]), before, table[V_LOW])
    return Values(
        U_BT=table[U, :, :longest],
        V_high_BT=table[V_HIGH, :, :longest],
        V_low_BT=table[V_LOW, :, :longest],
        U_final_B=final_B,
    )
