"""A wrong argument is refused by name, place and what was expected."""

import re
from typing import Any

import numpy as np
import pytest

from hiper.credit import gae, hae
from tests.credit.batches import GOLDEN, random_batch

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
        ({"rewards_BT": [[0.0, 1.0], [0.0]]}, "rewards_BT: expected rows of one length, padded"),
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
    ],
)
def test_wrong_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths_B": [6.0]}, "lengths_B: expected integers, got dtype float64"),
        ({"rewards_BT": [["a"] * 6]}, "rewards_BT: expected real numbers, got dtype <U1"),
        ({"U_BT": [[1j] * 6]}, "U_BT: expected real numbers, got dtype complex128"),
        ({"terminated_B": [None]}, "terminated_B: expected booleans, got dtype object"),
        (
            {"terminated_B": [False], "U_final_B": [None]},
            "U_final_B: expected real numbers, got dtype object",
        ),
    ],
)
def test_wrong_type(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        call(**changes)


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


def test_no_episodes_is_not_an_error() -> None:
    none_BT, none_B = np.zeros((0, 4)), np.zeros(0)
    credit = hae(none_BT, none_BT, [], none_B, none_BT, none_BT, none_BT, None)
    assert credit.action_BT.shape == (0, 4)


def test_integers_and_lists_are_welcome() -> None:
    credit = hae([[0, 1]], [[1, 0]], [2], [1], [[0, 0]], [[0, 0]], [[0, 0]], None, gamma=1, lam_low=1)
    assert credit.action_BT.tolist() == [[1.0, 1.0]]
