"""From trajectories to documents: which token decides what, and where which value is read."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.batch import BatchError, Document, Values, documents, gather_values
from hiper.batch.documents import ACTION, KIND, NONE, OF_TOKEN, SUBGOAL, SWITCH, V_HIGH, V_LOW, U
from hiper.records import Decision, Ending
from tests.batch.hand import episode, four_turns, random_episode, spans, turn

SEEDS = st.integers(0, 10**6)


def points(document: Document) -> list[tuple[int, int, int]]:
    """(head, place, turn) of each value point, in a fixed order."""
    return sorted(zip(*(x.tolist() for x in (document.head_P, document.point_P, document.point_turn_P)), strict=True))


def test_a_transcript_is_one_document() -> None:
    (document,) = documents([four_turns()])
    # place  0   1   2 |  3    4    5    6    7 |  8   9 | 10   11   12   13 | 14 | 15   16   17 | 18 | 19   20 | 21  22
    ids = [10, 11, 12, 100, 101, 102, 103, 104, 20, 21, 110, 111, 112, 113, 30, 120, 121, 122, 40, 130, 131, 50, 51]
    assert document.ids_L.tolist() == ids
    assert len(document) == 23
    assert (
        document.turn_L.tolist() == [-1] * 3 + [0] * 5 + [-1] * 2 + [1] * 4 + [-1] + [2] * 3 + [-1] + [3] * 2 + [-1] * 2
    )
    # At turn 0 there is nothing to keep: SWITCH (100) is part of the subgoal. The copied subgoal (111) decides nothing.
    # What does not parse (130, 131) went wrong in its switch.
    kinds = {
        3: SUBGOAL,
        4: SUBGOAL,
        5: SUBGOAL,
        6: ACTION,
        7: ACTION,
        10: SWITCH,
        12: ACTION,
        13: ACTION,
        15: SWITCH,
        16: SUBGOAL,
    }
    kinds |= {17: ACTION, 19: SWITCH, 20: SWITCH}
    assert document.kind_L.tolist() == [kinds.get(place, NONE) for place in range(23)]
    is_reply = document.turn_L >= 0
    np.testing.assert_array_equal(document.logprob_L, np.where(is_reply, -document.ids_L / 100, 0.0))


def test_values_are_read_just_before_what_they_judge() -> None:
    (document,) = documents([four_turns()])
    assert points(document) == [
        (U, 2, 0),  # the last token of the context, before the reply begins
        (U, 9, 1),
        (U, 14, 2),
        (U, 18, 3),
        (U, 22, 4),  # the state after the last turn: the end of what the model would have read next
        (V_HIGH, 2, 0),  # with nothing to keep, where U is
        (V_HIGH, 15, 2),  # the switch is written, the subgoal (at 16) is not
        (V_LOW, 5, 0),  # the subgoal is written, the action (from 6 on) is not
        (V_LOW, 11, 1),  # the copied subgoal lies between the switch and the action
        (V_LOW, 16, 2),  # the reply of turn 3 came to no action
    ]


@pytest.mark.parametrize("ending", Ending)
def test_the_end_is_judged_where_the_world_went_on(ending: Ending) -> None:
    (document,) = documents([four_turns(ending=ending)])
    assert (U, 22, 4) in points(document) or ending in (Ending.SUCCEEDED, Ending.FAILED)
    assert len(document) == (21 if ending.is_terminal else 23)
    assert len(document.point_P) == (9 if ending.is_terminal else 10)


def test_windows_are_documents_of_their_own() -> None:
    rows = documents([four_turns(window=True)])
    assert [row.ids_L.tolist() for row in rows] == [
        [10, 11, 12, 100, 101, 102, 103, 104],
        [20, 21, 110, 111, 112, 113],
        [30, 120, 121, 122],
        [40, 130, 131],
        [50, 51],
    ]
    assert [points(row) for row in rows] == [
        [(U, 2, 0), (V_HIGH, 2, 0), (V_LOW, 5, 0)],
        [(U, 1, 1), (V_LOW, 3, 1)],
        [(U, 0, 2), (V_HIGH, 1, 2), (V_LOW, 2, 2)],
        [(U, 0, 3)],
        [(U, 1, 4)],
    ]
    assert rows[4].kind_L.tolist() == [NONE, NONE]


def test_windows_of_a_finished_episode_have_no_last_document() -> None:
    assert len(documents([four_turns(window=True, ending=Ending.SUCCEEDED)])) == 4


def test_documents_know_their_episode() -> None:
    rows = documents([four_turns(), four_turns(window=True, ending=Ending.FAILED), four_turns()])
    assert [row.episode for row in rows] == [0, 1, 1, 1, 1, 2]


def test_a_context_may_start_anew_halfway() -> None:
    rows = documents(
        [
            episode(
                turn(0, [10], [100], spans(action=(0, 1))),
                turn(1, [20], [110], spans(action=(0, 1)), fresh=True),
                turn(2, [30], [120], spans(action=(0, 1)), fresh=False),
            )
        ]
    )
    assert [row.ids_L.tolist() for row in rows] == [[10, 100], [20, 110, 30, 120, 50, 51]]
    assert points(rows[1]) == [(U, 0, 1), (U, 2, 2), (U, 5, 3), (V_LOW, 0, 1), (V_LOW, 2, 2)]


def test_a_boundary_without_subgoal_is_judged_where_the_reply_begins() -> None:
    """Turn 0 opens a segment whatever it says; a SWITCH may have its subgoal inside a token of the switch."""
    (document,) = documents(
        [
            episode(
                turn(0, [10, 11], [100, 101], spans(action=(0, 2))),
                turn(1, [20], [110, 111], spans(switch=(0, 1), action=(1, 2)), decision=Decision.SWITCH),
                ending=Ending.FAILED,
            )
        ]
    )
    assert points(document) == [(U, 1, 0), (U, 4, 1), (V_HIGH, 1, 0), (V_HIGH, 4, 1), (V_LOW, 1, 0), (V_LOW, 5, 1)]
    assert document.kind_L.tolist() == [NONE, NONE, ACTION, ACTION, NONE, SWITCH, ACTION]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (turn(0, [10], [], spans()), "episode 0, turn 0: no sampled tokens"),
        (turn(0, [], [100], spans(action=(0, 1))), "turn 0 has an empty context"),
    ],
)
def test_episodes_that_cannot_be_documents(broken, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BatchError, match=message):
        documents([episode(broken)])


@given(seed=SEEDS)
def test_nothing_is_lost_or_moved(seed: int) -> None:
    one = random_episode(seed)
    rows = documents([one])
    written = [i for t in one.turns for i in (*t.context_ids, *t.reply_ids)]
    if not one.ending.is_terminal:
        written += one.final_context_ids
    assert [i for row in rows for i in row.ids_L.tolist()] == written
    for t in one.turns:
        (row,) = [row for row in rows if t.index in row.turn_L]
        (places,) = np.nonzero(row.turn_L == t.index)
        assert row.ids_L[places].tolist() == list(t.reply_ids)
        assert row.logprob_L[places].tolist() == list(t.reply_logprobs)
        for kind, span in t.spans.items():
            assert row.kind_L[places[span.start : span.stop]].tolist() == [KIND[kind]] * len(span)
        assert (row.kind_L[places] != NONE).sum() == sum(len(span) for _, span in t.spans.items())


@given(seed=SEEDS)
def test_every_turn_has_its_values(seed: int) -> None:
    """U once a turn and after a cut; V_high once a boundary, right before a subgoal; V_low right before an action."""
    one = random_episode(seed)
    rows = documents([one])
    asked = [(head, t) for row in rows for head, _, t in points(row)]
    count = len(one.turns)
    wanted = [(U, t) for t in range(count + (not one.ending.is_terminal))]
    wanted += [(V_LOW, t.index) for t in one.turns if t.spans.action]
    wanted += [(V_HIGH, t.index) for t in one.turns if t.opens_segment or t.spans.subgoal]
    assert sorted(asked) == sorted(wanted)
    for row in rows:
        for head, place, t in points(row):
            (reply,) = np.nonzero(row.turn_L == t)
            kind = {V_LOW: ACTION, V_HIGH: SUBGOAL}.get(head)
            (decided,) = np.nonzero((row.turn_L == t) & (row.kind_L == kind)) if kind else ([],)
            if len(decided):
                assert place == decided[0] - 1
            else:  # U, and V_high of an agent that never plans
                assert place == (reply[0] - 1 if len(reply) else len(row) - 1)


def test_values_are_arranged_by_episode_and_turn() -> None:
    """Each value says where it belongs: 100 head + 10 episode + turn."""
    trajectories = [
        four_turns(window=True),
        episode(turn(0, [10], [100], spans(action=(0, 1))), ending=Ending.SUCCEEDED),
        episode(turn(0, [10], [100], spans(subgoal=(0, 1))), turn(1, [20], [110], spans(switch=(0, 1)))),
    ]
    rows = documents(trajectories)
    read = [100.0 * row.head_P + 10 * row.episode + row.point_turn_P for row in rows]
    values = gather_values(trajectories, rows, read)
    nan = np.nan
    np.testing.assert_array_equal(values.U_BT, [[0, 1, 2, 3], [10, nan, nan, nan], [20, 21, nan, nan]])
    np.testing.assert_array_equal(values.V_high_BT, [[100, nan, 102, nan], [110, nan, nan, nan], [120, nan, nan, nan]])
    # Of replies that came to no action: the value before the decision that they went wrong in.
    np.testing.assert_array_equal(values.V_low_BT, [[200, 201, 202, 3], [210, nan, nan, nan], [120, 21, nan, nan]])
    np.testing.assert_array_equal(values.U_final_B, [4, nan, 22])  # the second succeeded: nothing comes after


@given(seed=SEEDS, layout=st.sampled_from(["transcript", "window", "mixed"]))
def test_values_of_tokens_come_on_top_and_in_the_order_of_the_tokens(seed: int, layout: str) -> None:
    trajectories = [random_episode(seed, layout=layout)]
    plain, more = documents(trajectories), documents(trajectories, token_values=True)
    for a, b in zip(plain, more, strict=True):
        of_token = b.point_turn_P == OF_TOKEN
        assert (b.head_P[of_token] == U).all()
        np.testing.assert_array_equal(b.point_P[of_token], np.flatnonzero(b.kind_L) - 1)
        for mine, theirs in ((a.point_P, b.point_P), (a.head_P, b.head_P), (a.point_turn_P, b.point_turn_P)):
            np.testing.assert_array_equal(mine, theirs[~of_token])
    values = [np.random.default_rng(seed + n).normal(size=len(row.point_P)) for n, row in enumerate(more)]
    without = [value[row.point_turn_P != OF_TOKEN] for row, value in zip(more, values, strict=True)]
    a, b = gather_values(trajectories, plain, without), gather_values(trajectories, more, values)
    for field in fields(Values):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name))
