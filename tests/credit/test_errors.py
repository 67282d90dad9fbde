"""A wrong argument is refused by name, place and what was expected."""

import inspect
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import hiper.credit
from hiper.credit import adaptive_lam_boundary, fixed_hae, gae, gigpo, grpo, hae, rloo, sibling_hae, token_gae
from tests.credit.batches import GOLDEN, random_batch
from tests.credit.samples import ESTIMATORS, Sample, random_sample

NAN, INF = float("nan"), float("inf")


def call(**changes: Any) -> None:
    hae(**{**GOLDEN.arrays(), **changes})


def put(name: str, index: int, value: float) -> dict[str, np.ndarray]:
    array = getattr(GOLDEN, name).astype(float)
    array[0, index] = value
    return {name: array}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (put("rewards_BT", 2, NAN), "rewards_BT[0, 2] = nan: expected a finite number, because it is read"),
        (put("rewards_BT", 5, INF), "rewards_BT[0, 5] = inf: expected a finite number"),
        (put("U_BT", 1, NAN), "U_BT[0, 1] = nan"),
        (put("V_high_BT", 3, NAN), "V_high_BT[0, 3] = nan"),
        (put("V_high_BT", 0, -INF), "V_high_BT[0, 0] = -inf"),
        (put("V_low_BT", 4, NAN), "V_low_BT[0, 4] = nan"),
        (put("switches_BT", 4, 2.0), "switches_BT[0, 4] = 2.0: expected True or False"),
        ({"lengths_B": [7]}, "lengths_B[0] = 7: expected 1 to 6 turns"),
        ({"lengths_B": [0]}, "lengths_B[0] = 0: expected 1 to 6 turns"),
        ({"lengths_B": [-1]}, "lengths_B[0] = -1: expected 1 to 6 turns"),
        ({"lengths_B": [6, 6]}, "lengths_B: expected shape (1,) to go with rewards_BT, got (2,)"),
        ({"lengths_B": 6}, "lengths_B: expected shape (1,) to go with rewards_BT, got ()"),
        ({"terminated_B": [True, False]}, "terminated_B: expected shape (1,)"),
        ({"terminated_B": [0.5]}, "terminated_B[0] = 0.5: expected True or False"),
        ({"rewards_BT": [0.0, 1.0]}, "rewards_BT: expected two axes, [episodes, turns], got shape (2,)"),
        ({"rewards_BT": [[[0.0]]]}, "rewards_BT: expected two axes"),
        ({"rewards_BT": [[0.0, 1.0], [0.0]]}, "rewards_BT[1]: expected rows of one length, padded"),
        ({"switches_BT": [[True]]}, "switches_BT: expected shape (1, 6) to go with rewards_BT, got (1, 1)"),
        ({"U_BT": np.zeros((1, 7))}, "U_BT: expected shape (1, 6)"),
        ({"V_high_BT": np.zeros((6, 1))}, "V_high_BT: expected shape (1, 6)"),
        ({"V_low_BT": np.zeros(6)}, "V_low_BT: expected shape (1, 6)"),
        ({"terminated_B": [False], "U_final_B": None}, "U_final_B is missing: episode 0 was truncated"),
        ({"terminated_B": [False], "U_final_B": [NAN]}, "U_final_B[0] = nan: expected a finite number"),
        ({"U_final_B": [[1.0]]}, "U_final_B: expected shape (1,)"),
        ({"gamma": 1.1}, "gamma = 1.1: expected a number from 0 to 1"),
        ({"gamma": NAN}, "gamma = nan: expected a number from 0 to 1"),
        ({"lam_low": -0.1}, "lam_low = -0.1: expected a number from 0 to 1"),
        ({"lam_high": INF}, "lam_high = inf: expected a number from 0 to 1"),
        ({"lam_boundary": "1"}, "lam_boundary = '1': expected a number from 0 to 1"),
        ({"lam_boundary": [1.5]}, "lam_boundary[0] = 1.5: expected a number from 0 to 1"),
        ({"lam_boundary": [[0.5], [0.5, 0.2]]}, "lam_boundary[1]: expected rows of one length"),
        (
            {"lengths_B": np.array([2**64 - 1], np.uint64)},
            "lengths_B[0] = 18446744073709551615: expected an integer below",
        ),
        ({"lam_boundary": [0.5, 0.5]}, "lam_boundary: expected shape (1,) to go with rewards_BT, got (2,)"),
    ],
)
def test_wrong_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths_B": [6.0]}, "lengths_B: expected an integer everywhere, got dtype float64"),
        ({"lengths_B": [6.5]}, "lengths_B[0] = 6.5: expected an integer"),
        ({"rewards_BT": [["a"] * 6]}, "rewards_BT[0, 0] = 'a': expected a real number"),
        ({"rewards_BT": [[0, 1, 0, None, 0, 0]]}, "rewards_BT[0, 3] = None: expected a real number"),
        ({"U_BT": [[1j] * 6]}, "U_BT[0, 0] = 1j: expected a real number"),
        ({"terminated_B": [None]}, "terminated_B[0] = None: expected True or False"),
        ({"rewards_BT": [[10**400, 0, 0, 0, 0, 0]]}, "rewards_BT: expected a real number everywhere, got dtype object"),
        ({"U_BT": np.ma.masked_array(np.zeros((1, 6)), True)}, "U_BT: expected an array without a mask"),
        ({"U_BT": torch.zeros(1, 6, dtype=torch.bfloat16)}, "U_BT: expected what numpy can read"),
        ({"U_BT": torch.zeros(1, 6, requires_grad=True)}, "U_BT: expected what numpy can read"),
        ({"terminated_B": [False], "U_final_B": [None]}, "U_final_B[0] = None: expected a real number"),
    ],
)
def test_wrong_type(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        call(**changes)


def test_switches_are_read_after_turn_0_and_within_the_length_alone() -> None:
    """Turn 0 is a boundary whatever it says; padding may hold anything."""
    arrays = GOLDEN.arrays()
    wanted = hae(**arrays)
    for strange in (NAN, -1.0, 7.0):
        changed = {
            key: np.pad(np.asarray(value, dtype=float), ((0, 0), (0, 2)), constant_values=NAN)
            if key.endswith("_BT")
            else value
            for key, value in arrays.items()
        }
        changed["switches_BT"][0, [0, -1, -2]] = strange
        found = hae(**changed)
        for name in ("switch_BT", "subgoal_BT", "action_BT"):
            np.testing.assert_array_equal(getattr(found, name)[:, :-2], getattr(wanted, name))


def test_first_offender_of_a_batch_is_named() -> None:
    batch = random_batch(seed=1, lengths=[3, 5, 4]).with_(terminated_B=np.array([True, False, False]))
    with pytest.raises(ValueError, match="episode 1 was truncated"):
        hae(**{**batch.arrays(), "U_final_B": None})
    U_final = np.array([NAN, 0.0, NAN])
    with pytest.raises(ValueError, match=re.escape("U_final_B[2] = nan")):
        hae(**{**batch.arrays(), "U_final_B": U_final})


def test_gae_checks_its_arguments_too() -> None:
    with pytest.raises(ValueError, match="lam = 2"):
        gae([[1.0]], [1], [True], [[0.0]], None, lam=2)
    with pytest.raises(ValueError, match=re.escape("U_BT[0, 0] = nan")):
        gae([[1.0]], [1], [True], [[NAN]], None)
    with pytest.raises(ValueError, match="U_final_B is missing"):
        gae([[1.0]], [1], [False], [[0.0]], None)


def test_a_row_of_another_length_is_named() -> None:
    batch = random_batch(seed=1, lengths=[3, 5, 4])
    rows = [list(row) for row in batch.arrays()["V_low_BT"]]
    with pytest.raises(ValueError, match=re.escape("V_low_BT[1]: expected rows of one length, padded")):
        hae(**{**batch.arrays(), "V_low_BT": [rows[0], rows[1][:4], rows[2]]})


@pytest.mark.parametrize("number", [np.array(0.5), torch.tensor(0.5)])
def test_a_number_may_be_an_array_without_axes(number: Any) -> None:
    assert gae([[1.0]], [1], [True], [[0.0]], None, lam=number).advantage_BT.tolist() == [[1.0]]
    assert hae(**GOLDEN.arrays(), lam_boundary=number).action_BT.shape == (1, 6)


def test_rewards_may_say_whether_the_game_was_won() -> None:
    assert gae([[True]], [1], [True], [[0.0]], None).advantage_BT.tolist() == [[1.0]]


def test_settings_in_their_order() -> None:
    """The two that are contracted take them without names, too."""
    b = GOLDEN.arrays()
    by_name = hae(**b, gamma=0.9, lam_low=0.8, lam_high=0.7, lam_boundary=0.6)
    np.testing.assert_array_equal(hae(*b.values(), 0.9, 0.8, 0.7, 0.6).action_BT, by_name.action_BT)
    flat = (b["rewards_BT"], b["lengths_B"], b["terminated_B"], b["U_BT"], b["U_final_B"])
    np.testing.assert_array_equal(gae(*flat, 0.9, 0.8).advantage_BT, gae(*flat, gamma=0.9, lam=0.8).advantage_BT)


def test_what_the_settings_are_unless_told() -> None:
    """The functions have those of the paper; a configuration has its own."""
    wanted = {
        "gamma": 0.95, "lam": 0.95, "lam_low": 0.95, "lam_high": 0.95, "step_weight": 1.0, "normalise_std": True,
        "averaged_over": 1, "switch_from_values": False,
    }  # fmt: skip
    other = {("hae", "lam_boundary"): 0.0, ("sibling_hae", "lam_boundary"): "adaptive", ("reinforce_pp", "gamma"): 1.0}
    found = {}
    for function in (name for name in hiper.credit.__all__ if name.islower()):
        for name, one in inspect.signature(getattr(hiper.credit, function)).parameters.items():
            if one.default not in (inspect.Parameter.empty, None):
                found[function, name] = one.default
    assert found == {key: other.get(key, wanted.get(key[1])) for key in found}
    assert {name for _, name in found} == {*wanted, "lam_boundary"}


def test_the_same_rewards_in_another_order_are_no_difference() -> None:
    rewards_BT = np.random.default_rng(0).permuted(
        np.tile([30563396.3746032, 18427347.290731188, 86390381.91625914, 0.1], (64, 1)), axis=1
    )
    credit = grpo(rewards_BT, np.full(64, 4), np.zeros(64, int))
    assert 0 < np.abs(credit.advantage_BT).max() < 1e-6


@pytest.mark.parametrize("value", [20 / 3, 0.1, -7e9])
@pytest.mark.parametrize("estimator", [grpo, rloo])
def test_equal_returns_earn_exactly_nothing(value: float, estimator: Any) -> None:
    assert not estimator(np.full((7, 1), value), np.ones(7, int), np.zeros(7, int)).advantage_BT.any()


@pytest.mark.parametrize(("apart", "is_scaled"), [(1e-6, True), (1e-10, False)])
def test_returns_that_differ_by_rounding_are_not_scaled_up(apart: float, is_scaled: bool) -> None:
    (one,), (other,) = grpo([[0.0], [apart]], [1, 1], [0, 0]).advantage_BT
    assert (abs(one - other) > 1.0) == is_scaled


def test_equal_returns_have_one_kappa_in_any_order() -> None:
    """Nothing varies, though squares of .1 do not add up to what they should."""
    paid, ones = np.full((8, 2), 0.1), np.ones((8, 2))
    for V_high in (0.1, 0.1 + 1e-10):
        arrays = paid, ones, [2] * 8, np.ones(8), np.full((8, 2), V_high), None
        assert adaptive_lam_boundary(*arrays).tolist() == [1.0] * 8


def test_far_from_zero_kappa_is_the_same() -> None:
    b = random_batch(3, [3] * 16, switch_rate=1.0)
    last = np.arange(3) == 2
    shifted = [
        adaptive_lam_boundary(
            b.rewards_BT + far * last, b.switches_BT, b.lengths_B, np.ones(16), b.V_high_BT + far, None, gamma=1.0
        )
        for far in (0.0, 1e8)
    ]
    np.testing.assert_allclose(*shifted, rtol=1e-5)


def test_no_episodes_is_not_an_error() -> None:
    none_BT, none_B = np.zeros((0, 4)), np.zeros(0)
    credit = hae(none_BT, none_BT, [], none_B, none_BT, none_BT, none_BT, None)
    assert credit.action_BT.shape == (0, 4)


def test_integers_and_lists_are_welcome() -> None:
    credit = hae([[0, 1]], [[1, 0]], [2], [1], [[0, 0]], [[0, 0]], [[0, 0]], None, gamma=1, lam_low=1)
    assert credit.action_BT.tolist() == [[1.0, 1.0]]


# Every estimator

SAMPLE = random_sample(3, [3, 2])  # lengths 5, 1, 2, 2, 2
TAKES_ENDS = [name for name, estimator in ESTIMATORS.items() if "terminated_B" in estimator.takes]
TAKES_STATES = [name for name, estimator in ESTIMATORS.items() if "state_BT" in estimator.takes]
NEEDS_PAIRS = ["grpo", "dr_grpo", "rloo", "reinforce_pp, baseline", "gigpo", "gigpo, no std"]


def refused(name: str, message: str, **changes: Any) -> None:
    arrays = {**SAMPLE.arrays(), **changes}
    with pytest.raises(ValueError, match=re.escape(message)):
        ESTIMATORS[name](Sample.of(arrays))


def changed(array: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    x = SAMPLE.arrays()[array].astype(float if isinstance(value, float) else int)
    x[index] = value
    return {array: x}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_rewards_and_lengths(name: str) -> None:
    refused(name, "rewards_BT[0, 1] = nan: expected a finite number", **changed("rewards_BT", (0, 1), NAN))
    refused(name, "lengths_B[2] = 6: expected 1 to 5 turns", **changed("lengths_B", (2,), 6))
    refused(name, "lengths_B[2] = 0: expected 1 to 5 turns", **changed("lengths_B", (2,), 0))
    refused(name, "lengths_B: expected shape (5,) to go with rewards_BT, got (4,)", lengths_B=np.ones(4, int))
    refused(name, "rewards_BT: expected two axes, [episodes, turns]", rewards_BT=np.zeros(5))


@pytest.mark.parametrize("name", TAKES_ENDS)
def test_final_values(name: str) -> None:
    cut = np.array([True, True, False, True, True])
    refused(name, "U_final_B is missing: episode 2 was truncated", terminated_B=cut, U_final_B=None)
    final = np.array([0.0, 0.0, NAN, 0.0, 0.0])
    refused(name, "U_final_B[2] = nan: expected a finite number", terminated_B=cut, U_final_B=final)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_values_where_they_are_read(name: str) -> None:
    for array in {"U_BT", "V_high_BT", "V_low_BT"} & set(ESTIMATORS[name].takes):
        everywhere = {"switches_BT": np.ones_like(SAMPLE.batch.switches_BT)}
        refused(name, f"{array}[0, 1] = nan: expected a finite number", **changed(array, (0, 1), NAN), **everywhere)
        refused(name, f"{array}: expected shape (5, 5) to go with rewards_BT", **{array: np.zeros((5, 4))})


@pytest.mark.parametrize("name", ESTIMATORS)
def test_settings(name: str) -> None:
    estimator = ESTIMATORS[name]
    for setting in {"gamma", "lam", "lam_low", "lam_high", "lam_boundary"} & estimator.settings.keys():
        for value in (1.5, -0.1, NAN):
            broken = replace(estimator, settings={**estimator.settings, setting: value})
            with pytest.raises(ValueError, match=re.escape(f"{setting} = {value}: expected a number from 0 to 1")):
                broken(SAMPLE)


@pytest.mark.parametrize("name", NEEDS_PAIRS)
def test_groups_of_one(name: str) -> None:
    function = {"reinforce_pp, baseline": "reinforce_pp with group_B"}.get(name, ESTIMATORS[name].function)
    message = f"group_B[3] = 8: a group of one; {function} compares the episodes of one task, so each group needs 2"
    refused(name, message, group_B=np.array([7, 9, 7, 8, 9]))


@pytest.mark.parametrize("name", [name for name, estimator in ESTIMATORS.items() if "group_B" in estimator.takes])
def test_groups(name: str) -> None:
    refused(name, "group_B: expected shape (5,) to go with rewards_BT, got (5, 1)", group_B=np.zeros((5, 1), int))
    arrays = {**SAMPLE.arrays(), "group_B": np.zeros(5)}
    with pytest.raises(TypeError, match="group_B: expected an integer everywhere, got dtype float64"):
        ESTIMATORS[name](Sample.of(arrays))
    with pytest.raises(TypeError, match=re.escape("group_B[1] = nan: expected an integer")):
        ESTIMATORS[name](Sample.of({**arrays, "group_B": np.array([0, NAN, 1, 1, 1])}))


@pytest.mark.parametrize("name", TAKES_STATES)
def test_ids(name: str) -> None:
    for array in {"state_BT", "subgoal_BT"} & set(ESTIMATORS[name].takes):
        refused(name, f"{array}[0, 1] = -2: expected an id from 0 on, or -1 for none", **changed(array, (0, 1), -2))
        refused(name, f"{array}: expected shape (5, 5) to go with rewards_BT", **{array: np.zeros((5, 4), int)})


def test_states_and_groups_go_together() -> None:
    arrays = [GOLDEN.arrays()[name] for name in ESTIMATORS["adaptive_lam_boundary, no groups"].takes]
    with pytest.raises(ValueError, match="state_BT is missing: group_B was given"):
        adaptive_lam_boundary(*arrays, [0])
    with pytest.raises(ValueError, match="group_B is missing: state_BT was given"):
        adaptive_lam_boundary(*arrays, state_BT=[[0] * 6])


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([[0, 1, 1]], "turn_BL[0] ends with turn 1: expected tokens of all 3 turns"),
        ([[0, 2, 2]], "turn_BL[0, 1] = 2: expected turns 0, .., lengths - 1 in order"),
        ([[1, 1, 2]], "turn_BL[0, 0] = 1: expected turns 0, .., lengths - 1 in order"),
        ([[0, 1, 2, 3]], "turn_BL[0, 3] = 3: expected turns 0, .., lengths - 1 in order"),
        ([[0, 1, 2, 1]], "turn_BL[0, 3] = 1: expected turns 0, .., lengths - 1 in order"),
        ([[0, 1, -1, 2]], "turn_BL[0, 2] = -1: expected turns 0, .., lengths - 1 in order"),
        ([[0, 1, 2, -1, -1, 0]], "turn_BL[0, 5] = 0: expected turns 0, .., lengths - 1 in order"),
        ([[-1, 0, 1, 2]], "turn_BL[0, 0] = -1: expected turns 0, .., lengths - 1 in order"),
        ([[0], [0]], "turn_BL: expected two axes, [1 episodes, tokens], got shape (2, 1)"),
        ([0, 1, 2], "turn_BL: expected two axes, [1 episodes, tokens], got shape (3,)"),
    ],
)
def test_turns_of_tokens(turns: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        token_gae([[0, 0, 1]], [3], [True], turns, np.zeros(np.shape(turns)), None)


def test_values_of_tokens() -> None:
    before = [[0, 0, 1]], [3], [True], [[0, 1, 2, -1]]
    with pytest.raises(ValueError, match=re.escape("V_BL: expected shape (1, 4) to go with turn_BL, got (1, 3)")):
        token_gae(*before, np.zeros((1, 3)), None)
    with pytest.raises(ValueError, match=re.escape("V_BL[0, 1] = nan: expected a finite number")):
        token_gae(*before, [[0, NAN, 0, NAN]], None)
    token_gae(*before, [[0, 0, 0, NAN]], None)


@pytest.mark.parametrize("every", [0, -1, 1.5, "2"])
def test_length_of_fixed_segments(every: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"every = {every!r}: expected an integer, 1 or more")):
        fixed_hae([[1.0]], [1], [True], [[0.0]], None, every=every)


@pytest.mark.parametrize("weight", [-0.5, INF, NAN, "1"])
def test_weight_of_steps(weight: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"step_weight = {weight!r}: expected a number, 0 or more")):
        gigpo([[1.0], [0.0]], [1, 1], [0, 0], [[0], [0]], step_weight=weight)


def test_a_misspelt_word_for_kappa() -> None:
    arrays = {**SAMPLE.batch.arrays(), **{k: getattr(SAMPLE, k) for k in ("group_B", "state_BT", "subgoal_BT")}}
    with pytest.raises(ValueError, match="lam_boundary = 'adaptiv': expected a number from 0 to 1"):
        sibling_hae(**arrays, lam_boundary="adaptiv")
