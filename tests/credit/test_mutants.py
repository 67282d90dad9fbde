"""Would the tests notice? Each entry below breaks one thing in the source of an estimator; a break that the
golden numbers and the definition let through is a hole in the tests, and fails here.

A break whose text no longer stands in the source fails too: the source has moved, so must the list.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import pytest

import hiper.credit
from hiper.credit import GAECredit, HAECredit
from tests.credit.batches import GOLDEN, random_batch
from tests.credit.oracle import Lambdas, gae_batch, hae_batch

FOLDER = Path(hiper.credit.__file__).parent
SOURCES = ("scan", "checks", "returns", "gae", "hae")  # in the order in which they import each other
COPY = "mutated_credit"

# Turn 0 says KEEP everywhere: it is a boundary all the same.
_random = random_batch(seed=11, lengths=[7, 1, 4, 6], padding=1)
BATCH = _random.with_(
    terminated_B=np.array([True, False, False, True]),
    switches_BT=_random.switches_BT & (np.arange(8) > 0),
)
LAMS = [Lambdas(), Lambdas(gamma=0.95, low=0.9, high=0.6, boundary=0.5)]

MUTANTS = {
    "trace crosses the boundary": (
        "hae",
        "np.where(keep_next_BT, gamma * lam_low",
        "np.where(e.goes_on_BT, gamma * lam_low",
    ),
    "V_low in place of V_high at the boundary": (
        "hae",
        "np.where(keep_next_BT, next_turn(d.V_low_BT)",
        "np.where(e.goes_on_BT, next_turn(d.V_low_BT)",
    ),
    "V_high of the present turn, not of the next": (
        "returns",
        "next_turn((1.0 - lam_BT) * d.V_high_BT)",
        "(1.0 - lam_BT) * d.V_high_BT",
    ),
    "V_high read between boundaries": (
        "checks",
        'where_read("V_high_BT", V_high_BT, boundary_BT)',
        'where_read("V_high_BT", V_high_BT, e.mask_BT)',
    ),
    "discount twice, action": (
        "hae",
        "e.rewards_BT + gamma * V_next_BT",
        "e.rewards_BT + gamma * gamma * V_next_BT",
    ),
    "discount twice, segment": ("returns", "gamma * weight_BT", "gamma * gamma * weight_BT"),
    "no discount in the trace": (
        "hae",
        "np.where(keep_next_BT, gamma * lam_low",
        "np.where(keep_next_BT, lam_low",
    ),
    "lam_high in place of lam_low": (
        "hae",
        "np.where(keep_next_BT, gamma * lam_low",
        "np.where(keep_next_BT, gamma * lam_high",
    ),
    "lam_low in place of lam_high": ("hae", "np.full_like(kappa_BT, lam_high)", "np.full_like(kappa_BT, lam_low)"),
    "switch credit on the subgoal's lambda": (
        "hae",
        "gamma, kappa_BT * lam_high)",
        "gamma, np.full_like(kappa_BT, lam_high))",
    ),
    "lam_high at every turn, not every segment": (
        "returns",
        "np.where(switch_next_BT, next_turn(lam_BT), 1.0) * e.goes_on_BT",
        "next_turn(lam_BT) * e.goes_on_BT",
    ),
    "weights of the two sides of a boundary swapped": ("returns", "(1.0 - lam_BT) *", "lam_BT *"),
    "lam_boundary ignored for actions": (
        "hae",
        "gamma * lam_low * next_turn(kappa_BT * subgoal_BT)",
        "0.0 * next_turn(subgoal_BT)",
    ),
    "lam_low forgotten at the boundary": (
        "hae",
        "gamma * lam_low * next_turn(kappa_BT",
        "gamma * next_turn(kappa_BT",
    ),
    "turn 0 opens no segment": ("checks", "e.mask_BT & (switches | turn_0_BT)", "e.mask_BT & switches"),
    "a choice at turn 0": ("checks", "choice_BT = e.mask_BT & ~turn_0_BT", "choice_BT = e.mask_BT"),
    "subgoal credit at every turn": (
        "hae",
        "np.where(d.boundary_BT, return_high_BT - d.V_high_BT, 0.0)",
        "return_high_BT - d.V_high_BT",
    ),
    "U as the baseline of the subgoal": (
        "hae",
        "return_high_BT - d.V_high_BT, 0.0",
        "return_high_BT - d.U_BT, 0.0",
    ),
    "V_low as the baseline of the switch": ("hae", "return_U_BT - d.U_BT", "return_U_BT - d.V_low_BT"),
    "target of V_high outside boundaries": (
        "hae",
        "np.where(d.boundary_BT, return_high_BT, 0.0)",
        "return_high_BT",
    ),
    "advantage in place of the target": (
        "hae",
        "return_low_BT=action_BT + d.V_low_BT",
        "return_low_BT=action_BT",
    ),
    "nothing after a cut, actions": ("hae", "next_turn(d.V_high_BT) + e.after_BT)", "next_turn(d.V_high_BT))"),
    "truncated taken for terminated": (
        "checks",
        "where_read(name, value, ~terminated_B)",
        "where_read(name, value, terminated_B)",
    ),
    "the last turn of the array, not of the episode": (
        "checks",
        "seen.mask_BT & ~seen.goes_on_BT, after_B",
        "seen.mask_BT & (np.arange(seen.mask_BT.shape[1]) == seen.mask_BT.shape[1] - 1), after_B",
    ),
    "one turn too many": (
        "checks",
        "np.arange(rewards.shape[1]) < lengths",
        "np.arange(rewards.shape[1]) <= lengths",
    ),
    "gae: no discount on the next value": (
        "gae",
        "gamma * (next_turn(U_BT) + e.after_BT)",
        "(next_turn(U_BT) + e.after_BT)",
    ),
    "gae: nothing after a cut": ("gae", "(next_turn(U_BT) + e.after_BT)", "next_turn(U_BT)"),
    "gae: lambda forgotten": ("gae", "np.where(e.goes_on_BT, gamma * lam,", "np.where(e.goes_on_BT, gamma,"),
    "gae: return without the value": ("gae", "return_BT=advantage_BT + U_BT", "return_BT=advantage_BT"),
    "forwards in time": ("scan", "for t in reversed(range(len(gain_TB))):", "for t in range(len(gain_TB)):"),
}


def load(file: str, old: str, new: str) -> ModuleType:
    """A second copy of the room, with one text replaced."""
    package = ModuleType(COPY)
    modules = {COPY: package}
    with patch.dict(sys.modules, modules):
        for name in SOURCES:
            source = (FOLDER / f"{name}.py").read_text("utf-8")
            if name == file:
                assert source.count(old) == 1, f"stands {source.count(old)} times in {name}.py: {old}"
                source = source.replace(old, new)
            module = ModuleType(f"{COPY}.{name}")
            sys.modules[module.__name__] = module
            setattr(package, name, module)
            exec(compile(source.replace("hiper.credit", COPY), f"{name}.py", "exec"), module.__dict__)
    return package


def close(actual: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.allclose(actual, expected, rtol=1e-10, atol=1e-10))


def hae_holds(hae: Callable[..., HAECredit]) -> bool:
    """The golden trajectory, then the definition on a ragged batch whose unread places hold NaN."""
    golden = hae(**GOLDEN.arrays(), gamma=0.9, lam_low=0.8, lam_high=0.7)
    if not close(golden.action_BT, [[0.706432, 0.9256, 0.23, 0.1216, 0.28, 0.5]]):
        return False
    for lams in LAMS:
        kwargs = dict(zip(("gamma", "lam_low", "lam_high", "lam_boundary"), lams, strict=True))
        got, want = hae(**BATCH.unread_as_nan().arrays(), **kwargs), hae_batch(BATCH, lams)
        high_BT = np.where(BATCH.boundary_BT, want["subgoal"] + BATCH.V_high_BT, 0.0)
        low_BT = np.where(BATCH.mask_BT, want["action"] + BATCH.V_low_BT, 0.0)
        pairs = [(got.switch_BT, want["switch"]), (got.subgoal_BT, want["subgoal"])]
        pairs += [(got.action_BT, want["action"]), (got.return_U_BT, want["return_U"])]
        pairs += [(got.return_high_BT, high_BT), (got.return_low_BT, low_BT), (got.mask_BT, BATCH.mask_BT)]
        if not all(close(a, b) for a, b in pairs):
            return False
    return True


def gae_holds(gae: Callable[..., GAECredit]) -> bool:
    arrays = (BATCH.rewards_BT, BATCH.lengths_B, BATCH.terminated_B, BATCH.U_BT, BATCH.U_final_B)
    got, want_BT = gae(*arrays, gamma=0.9, lam=0.8), gae_batch(BATCH, 0.9, 0.8)
    returns_BT = np.where(BATCH.mask_BT, want_BT + BATCH.U_BT, 0.0)
    return close(got.advantage_BT, want_BT) and close(got.return_BT, returns_BT)


def holds(room: ModuleType) -> bool:
    """Whether all is as it should be; an argument refused without reason counts as broken."""
    try:
        return hae_holds(room.hae.hae) and gae_holds(room.gae.gae)
    except (ValueError, IndexError):
        return False


def test_the_unbroken_source_passes() -> None:
    assert holds(load("", "", ""))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str) -> None:
    assert not holds(load(*MUTANTS[name]))
