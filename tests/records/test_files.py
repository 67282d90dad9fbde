"""What is written is read back; what is damaged is named, by file and line."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.records import (
    Decision,
    Ending,
    FileError,
    Invalid,
    Span,
    Spans,
    Trajectory,
    Turn,
    append_jsonl,
    from_json,
    read_jsonl,
    read_trajectories,
    to_json,
    write_trajectories,
)

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)
_IDS = st.lists(st.integers(0, 2**31), max_size=5).map(tuple)


@st.composite
def spans(draw: st.DrawFn, length: int) -> Spans:
    marks = sorted(draw(st.lists(st.integers(0, length), min_size=6, max_size=6)))
    pairs = [Span(start=start, stop=stop) for start, stop in zip(marks[::2], marks[1::2], strict=True)]
    switch, subgoal, action = (draw(st.sampled_from([pair, None])) for pair in pairs)
    return Spans(switch=switch, subgoal=subgoal, action=action)


@st.composite
def turns(draw: st.DrawFn, index: int) -> Turn:
    reply_ids = draw(_IDS)
    return Turn(
        index=index,
        observation=draw(st.text()),
        context=draw(st.text()),
        fresh_context=draw(st.booleans()),
        reply=draw(st.text()),
        decision=draw(st.sampled_from(Decision)),
        subgoal=draw(st.text()),
        action=draw(st.text()),
        invalid=draw(st.sampled_from([None, *Invalid])),
        reward=draw(_FLOATS),
        context_ids=draw(_IDS),
        reply_ids=reply_ids,
        reply_logprobs=tuple(draw(_FLOATS) for _ in reply_ids),
        spans=draw(spans(len(reply_ids))),
        is_mistake=draw(st.booleans()),
    )


@st.composite
def trajectories(draw: st.DrawFn) -> Trajectory:
    count = draw(st.integers(1, 3))
    return Trajectory(
        game=draw(st.text()),
        task_type=draw(st.text()),
        seed=draw(st.integers(0, 2**31)),
        turns=tuple(draw(turns(index)) for index in range(count)),
        ending=draw(st.sampled_from(Ending)),
        final_observation=draw(st.text()),
        final_context=draw(st.text()),
        final_context_ids=draw(_IDS),
        final_context_is_fresh=draw(st.booleans()),
        score=draw(_FLOATS),
        crashes=draw(st.integers(0, 3)),
        policy_version=draw(st.integers(0, 999)),
    )


def small() -> Trajectory:
    """One turn, plain."""
    turn = Turn(
        index=0,
        observation="A room.",
        context="A room.\n",
        fresh_context=True,
        reply="<action>look</action>",
        decision=Decision.KEEP,
        subgoal="",
        action="look",
        spans=Spans(action=Span(start=0, stop=2)),
        reply_ids=(3, 4),
        reply_logprobs=(-0.25, -0.5),
    )
    return Trajectory(game="g", task_type="look", seed=1, turns=(turn,), ending=Ending.FAILED, final_observation="")


@given(trajectories())
def test_json_gives_the_same_record_back(trajectory: Trajectory) -> None:
    again = from_json(json.loads(json.dumps(to_json(trajectory))))
    assert again == trajectory
    assert hash(again) == hash(trajectory)


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(trajectories(), max_size=3), name=st.sampled_from(["t.jsonl", "t.jsonl.zst"]))
def test_files_give_the_same_records_back(rows: list[Trajectory], name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trajectories" / name
        write_trajectories(path, rows)
        assert list(read_trajectories(path)) == rows
        assert [file.name for file in path.parent.iterdir()] == [name]


def test_compressed_files_are_smaller_and_plain_ones_readable(tmp_path: Path) -> None:
    rows = [small()] * 50
    write_trajectories(tmp_path / "plain.jsonl", rows)
    write_trajectories(tmp_path / "small.jsonl.zst", rows)
    assert (tmp_path / "small.jsonl.zst").stat().st_size * 5 < (tmp_path / "plain.jsonl").stat().st_size
    header, first, *_ = (tmp_path / "plain.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(header) == {"schema": "hiper.trajectory/1"}
    assert json.loads(first)["game"] == "g"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [small()])

    def failing() -> object:
        yield small()
        raise KeyError("gone")

    with pytest.raises(KeyError):
        write_trajectories(path, failing())  # type: ignore[arg-type]
    assert list(read_trajectories(path)) == [small()]


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"schema": "hiper.trajectory/99"}\n')
    with pytest.raises(FileError, match=r"t\.jsonl: schema is 'hiper\.trajectory/99', this version reads"):
        list(read_trajectories(path))


@pytest.mark.parametrize(
    "line",
    [
        '{"game": "torn',
        "[]",
        "{}",
        json.dumps(to_json(small()) | {"turns": 3}),
        json.dumps(to_json(small()) | {"extra": 3}),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.jsonl"
    write_trajectories(path, [small()])
    with path.open("a") as out:
        out.write(line + "\n")
    with pytest.raises(FileError, match=r"t\.jsonl, line 3: not a trajectory record"):
        list(read_trajectories(path))


def test_rows_are_appended_and_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert read_jsonl(path) == []
    append_jsonl(path, {"step": 1})
    append_jsonl(path, {"step": 2, "text": "a\u2028b"})
    assert read_jsonl(path) == [{"step": 1}, {"step": 2, "text": "a\u2028b"}]


def test_a_torn_last_line_is_left_out_and_any_other_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"ste')
    assert read_jsonl(path) == [{"step": 1}]
    path.write_text('{"ste\n{"step": 2}\n')
    with pytest.raises(FileError, match=r"metrics\.jsonl, line 1: not JSON"):
        read_jsonl(path)
    path.write_text('{"step": 1}\n{"ste\n')
    with pytest.raises(FileError, match="line 2"):
        read_jsonl(path)
