"""Records refuse to contradict themselves; segments partition an episode."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.records import (
    Decision,
    Ending,
    Kind,
    RecordError,
    Segment,
    Span,
    Spans,
    Trajectory,
    Turn,
    segments,
)


def turn(index: int, decision: Decision = Decision.KEEP, subgoal: str = "", **changes: object) -> Turn:
    fields: dict[str, object] = {"observation": "o", "context": "c", "fresh_context": False, "reply": "r"}
    fields |= {"action": "a"} | changes
    return Turn(index=index, decision=decision, subgoal=subgoal, **fields)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from(Decision), max_size=30))
def test_segments_partition_the_episode(decisions: list[Decision]) -> None:
    turns: list[Turn] = []
    for index, decision in enumerate(decisions):
        subgoal = f"goal {index}" if decision is Decision.SWITCH or not turns else turns[-1].subgoal
        turns.append(turn(index, decision, subgoal))
    found = segments(tuple(turns))
    covered = [index for segment in found for index in range(segment.start, segment.stop)]
    assert covered == list(range(len(turns)))
    assert all(segment.start < segment.stop for segment in found)
    for segment in found:
        assert segment.start == 0 or decisions[segment.start] is Decision.SWITCH
        assert all(decisions[index] is Decision.KEEP for index in range(segment.start + 1, segment.stop))
        assert {turns[index].subgoal for index in range(segment.start, segment.stop)} == {segment.subgoal}


def test_segments_by_hand() -> None:
    turns = (turn(0, subgoal="a"), turn(1, subgoal="a"), turn(2, Decision.SWITCH, "b"))
    assert segments(turns) == (Segment(start=0, stop=2, subgoal="a"), Segment(start=2, stop=3, subgoal="b"))
    assert segments(()) == ()


def test_only_the_environment_ends_an_episode_for_good() -> None:
    assert {ending for ending in Ending if ending.is_terminal} == {Ending.SUCCEEDED, Ending.FAILED}


def test_spans_are_ordered_and_do_not_overlap() -> None:
    spans = Spans(switch=Span(start=0, stop=2), action=Span(start=4, stop=6))
    assert list(spans.items()) == [(Kind.SWITCH, Span(start=0, stop=2)), (Kind.ACTION, Span(start=4, stop=6))]
    assert len(Span(start=4, stop=6)) == 2
    with pytest.raises(RecordError, match="overlap"):
        Spans(switch=Span(start=0, stop=3), subgoal=Span(start=2, stop=4))
    with pytest.raises(RecordError, match="overlap"):
        Spans(switch=Span(start=5, stop=6), action=Span(start=0, stop=2))


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2)])
def test_a_span_runs_forward(start: int, stop: int) -> None:
    with pytest.raises(RecordError, match="expected 0 <= start <= stop"):
        Span(start=start, stop=stop)


def test_a_turn_needs_one_probability_per_id_and_spans_within_its_reply() -> None:
    with pytest.raises(RecordError, match="Turn 3: 2 reply ids but 1 log-probabilities"):
        turn(3, reply_ids=(1, 2), reply_logprobs=(-0.1,))
    with pytest.raises(RecordError, match="the action span ends at 2 of 1"):
        turn(0, reply_ids=(1,), reply_logprobs=(-0.1,), spans=Spans(action=Span(start=0, stop=2)))


def test_a_trajectory_counts_its_turns_and_has_some() -> None:
    fields = {"game": "g", "task_type": "", "seed": 0, "final_observation": ""}
    with pytest.raises(RecordError, match="'g': no turns"):
        Trajectory(**fields, turns=(), ending=Ending.FAILED)  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="turn 1 has index 2"):
        Trajectory(**fields, turns=(turn(0), turn(2)), ending=Ending.FAILED)  # type: ignore[arg-type]
    crashed = Trajectory(**fields, turns=(), ending=Ending.CRASHED)  # type: ignore[arg-type]
    assert not crashed.succeeded
    both = (turn(0, reward=0.25), turn(1, reward=0.5))
    won = Trajectory(**fields, turns=both, ending=Ending.SUCCEEDED)  # type: ignore[arg-type]
    assert (won.succeeded, won.reward) == (True, 0.75)
