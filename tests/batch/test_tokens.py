"""From documents and credit to training signals: whose advantage, which target, how many of each."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.batch import Streams, TokenBatch, assign, assign_tokens, documents, normalised, split_by_tokens
from hiper.batch.documents import ACTION, NONE, OF_TOKEN, SUBGOAL, SWITCH, V_HIGH, V_LOW, U
from hiper.records import Ending
from tests.batch.hand import episode, four_turns, random_episode, spans, turn

SEEDS = st.integers(0, 10**6)


def telling(episodes: int, turns: int) -> Streams:
    """Streams whose numbers say where they stand: 1000 stream + 10 episode + turn; streams 1 to 6 in their order."""
    place = 10.0 * np.arange(episodes)[:, None] + np.arange(turns)
    return Streams(**{field.name: 1000.0 * n + place for n, field in enumerate(fields(Streams), start=1)})


def random_streams(seed: int, shape: tuple[int, int]) -> Streams:
    rng = np.random.default_rng(seed)
    return Streams(**{field.name: rng.normal(size=shape) for field in fields(Streams)})


def test_every_token_gets_the_advantage_of_its_decision() -> None:
    (example,) = assign(documents([four_turns()]), telling(1, 4))
    assert example.advantage_L.tolist() == [
        *[0, 0, 0],
        *[2000, 2000, 2000, 3000, 3000],  # the subgoal of turn 0, of which SWITCH is part, and the action
        *[0, 0],
        *[1001, 0, 3001, 3001],  # KEEP of turn 1, a copied subgoal, the action
        *[0],
        *[1002, 2002, 3002],
        *[0],
        *[1003, 1003],
        *[0, 0],
    ]


def test_every_value_point_gets_the_target_of_its_head() -> None:
    (example,) = assign(documents([four_turns()]), telling(1, 4))
    row = example.document
    target = {(int(h), int(t)): x for h, t, x in zip(row.head_P, row.point_turn_P, example.target_P, strict=True)}
    assert {key: x for key, x in target.items() if key != (U, 4)} == {
        **{(U, t): 4000 + t for t in range(4)},
        **{(V_HIGH, t): 5000 + t for t in (0, 2)},
        **{(V_LOW, t): 6000 + t for t in range(3)},  # the reply of turn 3 could not be read
    }
    assert np.isnan(target[U, 4])  # the state after the last turn: nothing is known of what came of it


@pytest.mark.parametrize("window", [False, True])
def test_the_state_after_a_cut_has_no_target_in_short_episodes_either(window: bool) -> None:
    """Beside a longer episode the table of targets goes on after the end of a shorter one, with zeros."""
    short = [turn(0, [10], [100], spans(action=(0, 1)))]
    cut = episode(*short, ending=Ending.TOKEN_LIMIT, final_is_fresh=window)
    examples = assign(documents([four_turns(window=window), cut]), telling(2, 4))
    of_cut = [e for e in examples if e.document.episode == 1]
    found = [
        (head, t, target)
        for e in of_cut
        for head, t, target in zip(e.document.head_P, e.document.point_turn_P, e.target_P, strict=True)
    ]
    assert [(int(head), int(t)) for head, t, target in found if np.isnan(target)] == [(U, 1)]
    assert TokenBatch.of(of_cut).points == 3  # U, V_high and V_low of the one turn


def test_episodes_do_not_mix() -> None:
    streams = telling(3, 4)
    rows = documents([four_turns(), four_turns(window=True), four_turns(ending=Ending.FAILED)])
    for example in assign(rows, streams):
        tens = (example.advantage_L[example.document.kind_L != NONE] % 100) // 10
        assert set(tens.tolist()) <= {float(example.document.episode)}


@given(seed=SEEDS)
def test_assigned_by_a_slow_loop(seed: int) -> None:
    trajectories = [random_episode(seed + n) for n in range(3)]
    longest = max(len(one.turns) for one in trajectories)
    streams = random_streams(seed, (3, longest))
    by_kind = {SWITCH: streams.switch_BT, SUBGOAL: streams.subgoal_BT, ACTION: streams.action_BT}
    by_head = {U: streams.target_U_BT, V_HIGH: streams.target_high_BT, V_LOW: streams.target_low_BT}
    for example in assign(documents(trajectories), streams):
        row = example.document
        for place in range(len(row)):
            kind, t = int(row.kind_L[place]), int(row.turn_L[place])
            wanted = 0.0 if kind == NONE else by_kind[kind][row.episode, t]
            assert example.advantage_L[place] == wanted
        for point in range(len(row.point_P)):
            head, t = int(row.head_P[point]), int(row.point_turn_P[point])
            if t == len(trajectories[row.episode].turns):
                assert np.isnan(example.target_P[point])
            else:
                assert example.target_P[point] == by_head[head][row.episode, t]


def test_denominators() -> None:
    examples = assign(documents([four_turns(), four_turns(window=True)]), telling(2, 4))
    batch = TokenBatch.of(examples)
    # An episode trains 5 + 3 + 3 + 2 tokens and has 4 + 2 + 3 targets, however it is laid out.
    assert (batch.tokens, batch.points) == (2 * 13, 2 * 9)
    assert len(batch.examples) == 6


def test_heads_without_targets_do_not_count() -> None:
    """Plain GAE has one value only; its other targets are NaN."""
    nothing = np.full((1, 4), np.nan)
    plain = telling(1, 4)
    streams = Streams(
        switch_BT=plain.switch_BT,
        subgoal_BT=plain.subgoal_BT,
        action_BT=plain.action_BT,
        target_U_BT=plain.target_U_BT,
        target_high_BT=nothing,
        target_low_BT=nothing,
    )
    assert TokenBatch.of(assign(documents([four_turns()]), streams)).points == 4


MASK_BT = np.array([[True, True, True], [True, True, False]])
BOUNDARY_BT = np.array([[True, False, True], [True, False, False]])
LEVELS = ("switch_BT", "subgoal_BT", "action_BT")
TARGETS = ("target_U_BT", "target_high_BT", "target_low_BT")


def entries(streams: Streams) -> dict[str, np.ndarray]:
    """The numbers of each level that a token may get, picked one by one."""
    turns = [(b, t) for b in range(2) for t in range(3) if MASK_BT[b, t]]
    chosen = {
        "switch_BT": [(b, t) for b, t in turns if t > 0],
        "subgoal_BT": [(b, t) for b, t in turns if BOUNDARY_BT[b, t]],
        "action_BT": turns,
    }
    return {name: np.array([getattr(streams, name)[place] for place in places]) for name, places in chosen.items()}


def rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))


def test_joint_normalisation_keeps_the_direction() -> None:
    """One factor for all: the update points the same way. What no token gets (off the mask) has no say in it."""
    streams = random_streams(3, (2, 3))
    for name in LEVELS:
        getattr(streams, name)[~MASK_BT] = 1e6
    streams.switch_BT[:, 0] = 1e6
    streams.subgoal_BT[~BOUNDARY_BT] = 1e6
    scaled = normalised(streams, MASK_BT, BOUNDARY_BT, "joint")
    factor = 1 / rms(np.concatenate(list(entries(streams).values())))
    for name in LEVELS:
        np.testing.assert_allclose(getattr(scaled, name), factor * getattr(streams, name))
    assert rms(np.concatenate(list(entries(scaled).values()))) == pytest.approx(1)


def test_normalisation_per_level_gives_each_its_own_factor() -> None:
    streams = random_streams(4, (2, 3))
    scaled = normalised(streams, MASK_BT, BOUNDARY_BT, "per_level")
    for name, values in entries(streams).items():
        np.testing.assert_allclose(getattr(scaled, name), getattr(streams, name) / rms(values))
        assert rms(entries(scaled)[name]) == pytest.approx(1)


@pytest.mark.parametrize("how", ["joint", "per_level", "none"])
def test_normalisation_subtracts_nothing_and_leaves_targets_alone(how: str) -> None:
    streams = random_streams(5, (2, 3))
    scaled = normalised(streams, MASK_BT, BOUNDARY_BT, how)
    for name in LEVELS:
        assert (np.sign(getattr(scaled, name)) == np.sign(getattr(streams, name))).all()
    for name in TARGETS:
        np.testing.assert_array_equal(getattr(scaled, name), getattr(streams, name))


@pytest.mark.parametrize("how", ["joint", "per_level"])
def test_advantages_of_nothing_stay_nothing(how: str) -> None:
    zero = Streams(**{field.name: np.zeros((2, 3)) for field in fields(Streams)})
    scaled = normalised(zero, MASK_BT, BOUNDARY_BT, how)
    assert all((getattr(scaled, name) == 0).all() for name in LEVELS)
    one_turn = normalised(random_streams(1, (2, 1)), MASK_BT[:, :1], BOUNDARY_BT[:, :1], how)
    assert np.isfinite(one_turn.switch_BT).all()  # no turn has a choice to switch: no level to scale


def test_normalisation_by_no_known_name() -> None:
    with pytest.raises(ValueError, match="'std'; known: joint, per_level, none"):
        normalised(telling(2, 3), MASK_BT, BOUNDARY_BT, "std")


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 60))
def test_groups_keep_order_and_budget(lengths: list[int], budget: int) -> None:
    groups = split_by_tokens(lengths, budget)
    assert [index for group in groups for index in group] == list(range(len(lengths)))
    sizes = [sum(lengths[index] for index in group) for group in groups]
    assert all(group for group in groups)
    assert all(size <= budget or len(group) == 1 for size, group in zip(sizes, groups, strict=True))
    for size, after in zip(sizes, groups[1:], strict=False):  # the next document would not have fitted
        assert size + lengths[after[0]] > budget


@given(seed=st.integers(0, 10**6))
def test_credit_of_tokens_goes_to_each_in_turn(seed: int) -> None:
    rows = documents([random_episode(seed), random_episode(seed + 1)], token_values=True)
    counts = [int((row.kind_L != NONE).sum()) for row in rows]
    advantages = [np.arange(n) + 1.0 for n in counts]
    for example in assign_tokens(rows, advantages, [-a for a in advantages]):
        row = example.document
        np.testing.assert_array_equal(
            example.advantage_L[row.kind_L != NONE], np.arange((row.kind_L != NONE).sum()) + 1
        )
        assert not example.advantage_L[row.kind_L == NONE].any()
        known = np.isfinite(example.target_P)
        np.testing.assert_array_equal(known, row.point_turn_P == OF_TOKEN)
        places = row.point_P[known] + 1  # each value is read just before its token
        np.testing.assert_array_equal(example.target_P[known], -example.advantage_L[places])
