"""What imitation is fed with."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hiper.records import METRICS_FILE, read_jsonl
from hiper.runs.imitate import drill
from hiper.runs.run import start
from tests.runs.tiny import Quiet, tiny


@given(st.integers(0, 1000), st.integers(30, 5000))
def test_what_has_weight_in_a_drill_follows_a_pair_that_was_there_before(seed: int, vocabulary: int) -> None:
    (document,) = drill(seed, count=1, vocabulary=vocabulary)
    ids, weight = document.ids, document.weight
    first = next(i for i, w in enumerate(weight) if w)
    pairs = set(pairwise(ids[: first - 1]))
    assert all((ids[i - 1], ids[i]) in pairs for i in range(first, len(ids)) if weight[i])
    assert 0.3 < sum(weight) / len(ids) < 0.6
    assert all(0 <= one < vocabulary for one in ids)


def test_drills_differ_but_not_for_equal_seeds() -> None:
    one, same, other = (drill(seed, count=3, vocabulary=500) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert len({document.ids for document in one}) == 3


def test_a_drill_is_cut_to_the_context() -> None:
    assert max(len(document.ids) for document in drill(0, count=50, vocabulary=500, longest=64)) == 64


def test_the_first_steps_drill_and_show_no_expert(tmp_path: Path) -> None:
    start(tiny("sft.steps=3", "sft.drill=2", "train.steps=0"), tmp_path, Quiet())
    rows = [row for row in read_jsonl(tmp_path / METRICS_FILE) if row["stage"] == "sft"]
    assert [row["total/episodes"] for row in rows] == [0, 0, 4]
    assert all(0 < float(str(row["learn/loss"])) < 20 for row in rows)
