"""Would the tests notice? Each entry below breaks one thing in the source of an estimator; a break that the
golden numbers and the definition let through is a hole in the tests, and fails here.

A break whose text no longer stands in the source fails too: the source has moved, so must the list.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest

import hiper.credit
from hiper.credit import GAECredit, HAECredit
from tests.credit.batches import GOLDEN, random_batch
from tests.credit.oracle import Lambdas, gae_batch, hae_batch
from tests.credit.samples import ESTIMATORS, Arrays, Sample, random_sample
from tests.credit.slow import TWINS

FOLDER = Path(hiper.credit.__file__).parent
# In the order in which they import each other.
SOURCES = (
    "scan", "checks", "returns", "gae", "token_gae", "hae", "option_gae", "hae_eb", "fixed_hae", "groups", "places",
    "grpo", "rloo", "reinforce_pp", "gigpo", "lam_boundary", "siblings",
)  # fmt: skip
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
    "token_gae: the discount at every token": (
        "token_gae",
        "np.where(is_last_BL, gamma, 1.0)",
        "np.full(is_last_BL.shape, gamma)",
    ),
    "token_gae: the reward at every token": (
        "token_gae",
        "np.where(is_last_BL, np.take_along_axis",
        "np.where(mask_BL, np.take_along_axis",
    ),
    "token_gae: the trace stops where the turn changes": (
        "token_gae",
        "np.where(goes_on_BL, discount_BL",
        "np.where(goes_on_BL & ~is_last_BL, discount_BL",
    ),
    "option_gae: V_low of the next turn as the bootstrap": (
        "option_gae",
        "next_turn(d.U_BT) + e.after_BT",
        "next_turn(d.V_low_BT) + e.after_BT",
    ),
    "option_gae: nothing after a cut": ("option_gae", "next_turn(d.U_BT) + e.after_BT", "next_turn(d.U_BT)"),
    "option_gae: U as the baseline of the action": ("option_gae", "return_BT - d.V_low_BT", "return_BT - d.U_BT"),
    "hae_eb: the noise of the switch at full weight": (
        "hae_eb",
        "lam * next_turn(switched_BT)",
        "next_turn(switched_BT)",
    ),
    "hae_eb: the noise of the switch on KEEP only": (
        "hae_eb",
        "np.where(d.boundary_BT, d.V_high_BT, d.V_low_BT)",
        "np.where(d.boundary_BT, d.U_BT, d.V_low_BT)",
    ),
    "hae_eb: the trace crosses the boundary": (
        "hae_eb",
        "np.where(keep_next_BT, gamma * lam",
        "np.where(e.goes_on_BT, gamma * lam",
    ),
    "hae_eb: the wrong one of two switches": (
        "hae_eb",
        "switched_BT if switch_from_values else sampled_BT",
        "sampled_BT if switch_from_values else switched_BT",
    ),
    "fixed_hae: a turn late": ("fixed_hae", "np.arange(1, e.mask_BT.shape[1] + 1)", "np.arange(e.mask_BT.shape[1])"),
    "grouped: the other kind of standard deviation": ("groups", "np.maximum(size_K - 1, 1)", "size_K"),
    "grpo: the std the wrong way round": ("groups", "if not normalise_std", "if normalise_std"),
    "rloo: the episode in its own baseline": ("rloo", " * size_B / (size_B - 1)", ""),
    "rloo: the mean over one too many": (
        "rloo",
        "size_B / (size_B - 1)",
        "(size_B + 1) / size_B",
    ),
    "reinforce_pp: padding in the mean": (
        "reinforce_pp",
        "one_batch_N = np.zeros(e.mask_BT.sum(), np.int64)\n    advantage_BT = np.zeros_like(return_BT)\n"
        "    advantage_BT[e.mask_BT] = compared(return_BT[e.mask_BT], one_batch_N, normalise_std=True)",
        "advantage_BT = (return_BT - return_BT.mean()) / return_BT.std(ddof=1)",
    ),
    "gigpo: anchors without a discount": ("gigpo", "return_to_go(e, gamma)", "return_to_go(e, 1.0)"),
    "gigpo: states compared across tasks": ("gigpo", "places(index_B, state_BT)", "places(0 * index_B, state_BT)"),
    "gigpo: weight forgotten": ("gigpo", "+ step_weight * step_BT", "+ step_BT"),
    "places: -1 is a state": ("places", "[ids >= 0 for ids", "[ids >= -1 for ids"),
    "places: another subgoal is the same place": ("places", "+ other_N, return_inverse", ", return_inverse"),
    "siblings: the episode is its own sibling": (
        "places",
        "weights=return_P)[place_N] - return_P[visit_N]",
        "weights=return_P)[place_N]",
    ),
    "siblings: the last visit counts": (
        "places",
        "return_P, place_P = return_BT[known_BT][first_P]",
        "return_P, place_P = return_BT[known_BT][::-1][first_P]",
    ),
    "siblings: noise not taken off the error": ("places", "missed_B - within_B, 0.0", "missed_B, 0.0"),
    "siblings: a place passed once counts": ("places", "free_P * (return_P - V_P)", "(return_P - V_P)"),
    "siblings: own task in own weights": (
        "places",
        "(before_K + after_K)[index_B]",
        "(before_K + after_K + x_K)[index_B]",
    ),
    "siblings: two siblings weigh like one": (
        "siblings",
        "others.count_BT * moments.error_B[:, None]",
        "(others.count_BT > 0) * moments.error_B[:, None]",
    ),
    "siblings: critic and siblings swapped": (
        "siblings",
        "weight_BT * others.mean_BT + (1.0 - weight_BT) * V_BT",
        "weight_BT * V_BT + (1.0 - weight_BT) * others.mean_BT",
    ),
    "siblings: U with the new subgoal": ("siblings", "subgoal_BT[:, :-1]], axis=1", "subgoal_BT[:, 1:]], axis=1"),
    "siblings: not heard what was before": ("siblings", "if before_BT is None:", "if True:"),
    "siblings: something before turn 0": ("siblings", "np.where(d.choice_BT, checks", "np.where(e.mask_BT, checks"),
    "siblings: V_high at turns that kept": ("siblings", "np.where(d.boundary_BT, state_BT, -1)", "state_BT"),
    "lam_boundary: turn 0 counts": ("lam_boundary", "np.where(later_BT, place_BT, -1)", "place_BT"),
    "lam_boundary: siblings forgotten": (
        "lam_boundary",
        "heard_BT = weight_BT**2 * noise_B1",
        "heard_BT = 0.0 * noise_B1",
    ),
    "lam_boundary: siblings weighed as if they were the best": (
        "lam_boundary",
        "(1.0 - weight_BT) ** 2 * error_B1",
        "(1.0 - weight_BT) * error_B1",
    ),
    "lam_boundary: explained, not unexplained": (
        "lam_boundary",
        "np.where(varies_K, missed_K /",
        "np.where(varies_K, 1.0 - missed_K /",
    ),
    "forwards in time": ("scan", "for t in reversed(range(len(gain_TB))):", "for t in range(len(gain_TB)):"),
}


def load(file: str, old: str, new: str) -> SimpleNamespace:
    """The functions of a second copy of the room, with one text replaced."""
    package = ModuleType(COPY)
    functions: dict[str, object] = {}
    with patch.dict(sys.modules, {COPY: package}):
        for name in SOURCES:
            source = (FOLDER / f"{name}.py").read_text("utf-8")
            if name == file:
                assert source.count(old) == 1, f"stands {source.count(old)} times in {name}.py: {old}"
                source = source.replace(old, new)
            module = ModuleType(f"{COPY}.{name}")
            sys.modules[module.__name__] = module
            setattr(package, name, module)
            exec(compile(source.replace("hiper.credit", COPY), f"{name}.py", "exec"), module.__dict__)
            functions |= module.__dict__
    return SimpleNamespace(**{name: functions[name] for name in hiper.credit.__all__})


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


@cache
def expected() -> list[tuple[str, Sample, Arrays]]:
    """What the slow twins say. The second sample has groups of one; in the third siblings meet at later boundaries."""
    first, second = random_sample(21, [4, 3, 4], padding=1), random_sample(41, [6, 1, 6, 5], switch_rate=0.7)
    third = random_sample(51, [4, 4])
    with_siblings = [name for name in TWINS if "sibling" in name or "adaptive" in name]
    cases = [(name, first) for name in TWINS] + [(name, one) for name in with_siblings for one in (second, third)]
    return [(name, ESTIMATORS[name].hidden(sample), TWINS[name](sample)) for name, sample in cases]


def twins_hold(room: SimpleNamespace) -> bool:
    for name, sample, want in expected():
        got = ESTIMATORS[name](sample, room)
        if not all(close(got[array], want[array]) for array in want):
            return False
    return True


def holds(room: SimpleNamespace) -> bool:
    """Whether all is as it should be; an argument refused without reason counts as broken.

    It holds the source to the same golden numbers and slow twins as the tests beside it, at a few fixed samples.
    """
    try:
        return hae_holds(room.hae) and gae_holds(room.gae) and twins_hold(room)
    except (ValueError, IndexError):
        return False


def test_the_unbroken_source_passes() -> None:
    assert holds(load("", "", ""))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str) -> None:
    assert not holds(load(*MUTANTS[name]))
