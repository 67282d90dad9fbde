"""Recorded episodes, made ready to be drawn as columns of turns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hiper.records import Ending, Kind, Segment, Trajectory, Turn, segments
from hiper.report.marks import BANDS, Bar, ValuePlot, signed_bar, value_plot
from hiper.report.read import Column, Credit, Episode
from hiper.report.words import ENDINGS, REASONS, figure, plain, signed, visible

_VALUE_NAMES = {Kind.SWITCH: "U", Kind.SUBGOAL: "V_high", Kind.ACTION: "V_low"}
_SYMBOLS = {Ending.SUCCEEDED: "✓", Ending.FAILED: "✗"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionView:
    """One decision of a reply: what was decided, the value before it and what it earned ("" if not known)."""

    kind: str
    text: str
    value_name: str
    value: str
    advantage: str
    bar: Bar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnView:
    """One turn. `invalid` holds the reason in words; `is_malformed` is True where the reply did not parse."""

    index: int
    observation: str
    decisions: tuple[DecisionView, ...]
    reply: str
    reward: str
    invalid: str
    is_malformed: bool
    is_mistake: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentView:
    """The turns under one subgoal ("" where the interface has none)."""

    number: int
    band: int
    subgoal: str
    first: int
    last: int
    turns: tuple[TurnView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeView:
    """One episode; `scale` is the largest advantage in it, to which its bars are drawn."""

    step: str
    task: str
    game: str
    seed: int
    ending: str
    succeeded: bool
    symbol: str
    turns: int
    reward: str
    score: str
    invalid: int
    has_subgoals: bool
    has_credit: bool
    scale: str
    values: ValuePlot | None
    segments: tuple[SegmentView, ...]
    final_observation: str


def episode_view(episode: Episode) -> EpisodeView:
    """The episode as the page shows it."""
    played, credit = episode.trajectory, episode.credit
    pieces, scale = segments(played.turns), _scale(credit)
    return EpisodeView(
        step=plain(episode.source) if episode.step is None else f"step {episode.step:,}",
        task=visible(plain(played.task_type)),
        game=visible(played.game),
        seed=played.seed,
        ending=ENDINGS[played.ending],
        succeeded=played.succeeded,
        symbol=_SYMBOLS.get(played.ending, "■"),
        turns=len(played.turns),
        reward=f"{played.reward:g}",
        score=f"{played.score:g}",
        invalid=sum(turn.invalid is not None for turn in played.turns),
        has_subgoals=_has_subgoals(played),
        has_credit=credit is not None,
        scale=figure(scale),
        values=value_plot(credit, pieces) if credit else None,
        segments=tuple(_segment(number, piece, played, credit, scale) for number, piece in enumerate(pieces)),
        final_observation=visible(played.final_observation),
    )


def _scale(credit: Credit | None) -> float:
    """The largest |advantage| of any decision; 0 without credit."""
    if credit is None:
        return 0.0
    columns = (credit.switch, credit.subgoal, credit.action)
    return max((abs(value) for column in columns for value in column if value is not None), default=0.0)


def _digits(scale: float) -> int:
    """Decimals that tell the advantages of an episode apart: 2, and more where all of them are small."""
    return 2 if scale == 0 else min(5, max(2, 1 - math.floor(math.log10(scale))))


def _has_subgoals(played: Trajectory) -> bool:
    return any(turn.subgoal for turn in played.turns)


def _segment(number: int, piece: Segment, played: Trajectory, credit: Credit | None, scale: float) -> SegmentView:
    turns = played.turns[piece.start : piece.stop]
    has_subgoals = _has_subgoals(played)
    return SegmentView(
        number=number + 1,
        band=number % BANDS,
        subgoal=visible(piece.subgoal),
        first=piece.start,
        last=piece.stop - 1,
        turns=tuple(_turn(turn, credit, scale, has_subgoals=has_subgoals) for turn in turns),
    )


def _turn(turn: Turn, credit: Credit | None, scale: float, *, has_subgoals: bool) -> TurnView:
    return TurnView(
        index=turn.index,
        observation=visible(turn.observation),
        decisions=tuple(_decision(turn, kind, credit, scale) for kind in _kinds(turn, has_subgoals=has_subgoals)),
        reply=visible(turn.reply),
        reward=signed(turn.reward) if turn.reward else "",
        invalid=REASONS[turn.invalid] if turn.invalid else "",
        is_malformed=not turn.is_read,
        is_mistake=turn.is_mistake,
    )


def _kinds(turn: Turn, *, has_subgoals: bool) -> Sequence[Kind]:
    """The decisions that the turn took, of a malformed reply the last of them; KEEP copies its subgoal."""
    if not turn.is_read:
        return tuple(kind for kind, _ in turn.spans.items())[-1:] or (Kind.ACTION,)
    if not has_subgoals:
        return (Kind.ACTION,)
    return tuple(Kind) if turn.opens_segment else (Kind.SWITCH, Kind.ACTION)


def _decision(turn: Turn, kind: Kind, credit: Credit | None, scale: float) -> DecisionView:
    said = {Kind.SWITCH: str(turn.decision), Kind.SUBGOAL: turn.subgoal, Kind.ACTION: turn.action}[kind]
    text = said if turn.is_read else ""  # what was in force before is not what the reply says
    value, advantage = _credit_of(credit, kind, turn.index)
    return DecisionView(
        kind=kind.value,
        text=visible(text),
        value_name=_VALUE_NAMES[kind],
        value="" if value is None else signed(value).removeprefix("+"),
        advantage="" if advantage is None else signed(advantage, _digits(scale)),
        bar=None if advantage is None else signed_bar(advantage, scale),
    )


def _credit_of(credit: Credit | None, kind: Kind, turn: int) -> tuple[float | None, float | None]:
    """Value before the decision and its advantage."""
    if credit is None:
        return None, None
    columns: dict[Kind, tuple[Column, Column]] = {
        Kind.SWITCH: (credit.U, credit.switch),
        Kind.SUBGOAL: (credit.V_high, credit.subgoal),
        Kind.ACTION: (credit.V_low, credit.action),
    }
    values, advantages = columns[kind]
    return values[turn], advantages[turn]
