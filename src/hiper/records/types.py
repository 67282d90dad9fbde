"""What happened: the frozen records that every room shares, and the words of the project.

A *turn* is one observation, one reply of the model and one environment step. A reply takes up to three
*decisions*: the switch (KEEP or SWITCH), the subgoal (written at SWITCH, copied by code at KEEP) and the action.
A *segment* is a maximal run of turns under one subgoal; it is derived by `segments`, never stored.

Token ids are always the *sampled* ids. `Span`s are half-open token ranges of a reply, recorded where the text is
parsed. The *context* of a turn is the text (and ids) that was put before the reply: either appended to everything
before it in the episode (`fresh_context=False`) or starting anew (`fresh_context=True`). So one record serves the
append-only transcript and the windowed prompt alike, and nothing is stored twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise


class RecordError(ValueError):
    """A record that contradicts itself; the message names the field."""


class Decision(StrEnum):
    """The switch decision of a turn."""

    KEEP = "KEEP"
    SWITCH = "SWITCH"


class Kind(StrEnum):
    """What a reply token decides. A token belongs to at most one kind."""

    SWITCH = "switch"
    SUBGOAL = "subgoal"
    ACTION = "action"


class Ending(StrEnum):
    """Why an episode ended. Only the first two are terminal; after the others the world went on."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TURN_LIMIT = "turn_limit"
    TOKEN_LIMIT = "token_limit"
    CRASHED = "crashed"

    @property
    def is_terminal(self) -> bool:
        """True where the environment itself ended the episode (value after it: 0)."""
        return self in (Ending.SUCCEEDED, Ending.FAILED)


class Invalid(StrEnum):
    """Why a reply is invalid. One reason per reply: the first that applies, in this order."""

    CUT_BY_LIMIT = "cut_by_limit"  # the reply ran into the token limit before it was complete
    NO_SWITCH_TAG = "no_switch_tag"
    UNKNOWN_SWITCH_WORD = "unknown_switch_word"  # neither KEEP nor SWITCH
    KEEP_WITHOUT_SUBGOAL = "keep_without_subgoal"  # KEEP at a turn where no subgoal is in force
    NO_SUBGOAL_TAG = "no_subgoal_tag"  # SWITCH without a subgoal block
    EMPTY_SUBGOAL = "empty_subgoal"
    KEEP_CHANGED_SUBGOAL = "keep_changed_subgoal"  # KEEP, but the copied subgoal differs from the one in force
    NO_ACTION_TAG = "no_action_tag"
    EMPTY_ACTION = "empty_action"
    TEXT_OUTSIDE_TAGS = "text_outside_tags"  # text before or between the blocks
    TEXT_AFTER_ACTION = "text_after_action"
    NOT_ADMISSIBLE = "not_admissible"  # well formed, but this action is not possible now, says the environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open range [start, stop)."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise RecordError(f"Span: expected 0 <= start <= stop, got [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Where in a reply each decision was written; None where no token is of that kind.

    With no subgoal in force SWITCH is no choice, and part of `subgoal`.

    Worked example, `<switch>KEEP</switch><action>look</action>` as 4 tokens:
    `Spans(switch=Span(start=0, stop=1), subgoal=None, action=Span(start=1, stop=4))`.
    """

    switch: Span | None = None
    subgoal: Span | None = None
    action: Span | None = None

    def __post_init__(self) -> None:
        present = [span for _, span in self.items()]
        for earlier, later in pairwise(present):
            if later.start < earlier.stop:
                raise RecordError(f"Spans: {earlier} and {later} overlap; a token has one kind at most")

    def items(self) -> Iterator[tuple[Kind, Span]]:
        """The spans that are there, in the order of the reply."""
        for kind in Kind:
            span: Span | None = getattr(self, kind.value)
            if span is not None:
                yield kind, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One observation, one reply, one environment step.

    `subgoal` is the subgoal in force *after* the switch decision. `action` is what the environment was sent, ""
    where it was sent nothing. `state` names the situation: as far as the environment tells (`env.situation()`), or
    to the eye where it does not, two turns of one game with one name were in the same ("": unknown). `is_mistake`
    marks a turn that a demonstrator got wrong on purpose (to show the recovery); it is never imitated.
    `reply_logprobs` are in nats, one per id of `reply_ids`, as the sampler gave them. Agents that are not language
    models have empty ids. `reward` is in environment units.
    """

    index: int
    observation: str
    context: str
    fresh_context: bool
    reply: str
    decision: Decision
    subgoal: str
    action: str
    state: str = ""
    invalid: Invalid | None = None
    reward: float = 0.0
    context_ids: tuple[int, ...] = ()
    reply_ids: tuple[int, ...] = ()
    reply_logprobs: tuple[float, ...] = ()
    spans: Spans = field(default_factory=Spans)
    is_mistake: bool = False

    def __post_init__(self) -> None:
        if len(self.reply_ids) != len(self.reply_logprobs):
            raise RecordError(
                f"Turn {self.index}: {len(self.reply_ids)} reply ids but {len(self.reply_logprobs)} log-probabilities"
            )
        for kind, span in self.spans.items():
            if span.stop > len(self.reply_ids):
                raise RecordError(f"Turn {self.index}: the {kind} span ends at {span.stop} of {len(self.reply_ids)}")

    @property
    def is_read(self) -> bool:
        """True where the reply parsed; whether its action was possible is another matter."""
        return self.invalid in (None, Invalid.NOT_ADMISSIBLE)

    @property
    def opens_segment(self) -> bool:
        """True where a segment begins: at turn 0, and at every SWITCH that could be read."""
        return self.index == 0 or self.decision is Decision.SWITCH


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One episode, from reset to its ending.

    `final_context` is what the model would have read next; the value after a truncated episode is read there.
    `score` is the environment's own figure at the end, in [0, 1]. `crashes` counts attempts at this episode in which
    the environment raised; they were thrown away whole and the episode was played anew.
    """

    game: str
    task_type: str
    seed: int
    turns: tuple[Turn, ...]
    ending: Ending
    final_observation: str
    final_context: str = ""
    final_context_ids: tuple[int, ...] = ()
    final_context_is_fresh: bool = False
    score: float = 0.0
    crashes: int = 0
    policy_version: int = 0

    def __post_init__(self) -> None:
        if not self.turns and self.ending is not Ending.CRASHED:
            raise RecordError(f"Trajectory {self.game!r}: no turns")
        for expected, turn in enumerate(self.turns):
            if turn.index != expected:
                raise RecordError(f"Trajectory {self.game!r}: turn {expected} has index {turn.index}")

    @property
    def succeeded(self) -> bool:
        return self.ending is Ending.SUCCEEDED

    @property
    def reward(self) -> float:
        """Sum of the turns' rewards, undiscounted, environment units."""
        return sum(turn.reward for turn in self.turns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A maximal run of turns [start, stop) under one subgoal."""

    start: int
    stop: int
    subgoal: str


def segments(turns: tuple[Turn, ...]) -> tuple[Segment, ...]:
    """The segments of an episode: they partition [0, T), turn 0 opens one, every later opener is a SWITCH."""
    starts = [turn.index for turn in turns if turn.opens_segment]
    stops = [*starts[1:], len(turns)] if turns else []
    return tuple(
        Segment(start=start, stop=stop, subgoal=turns[start].subgoal) for start, stop in zip(starts, stops, strict=True)
    )
