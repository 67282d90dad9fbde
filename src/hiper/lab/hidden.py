"""Siblings share what their task hides from the critic: how many of them come to a place may tell of it."""

from itertools import product

import numpy as np

from hiper.credit import HAECredit, hae, sibling_hae
from hiper.lab.findings import EXACT, Check, Claim, Findings

LOOK = 0.5  # probability of looking
PAID = 0.46  # for not looking
REACHED = (0.1, 0.9)  # by who looks, where the coin shows 0 and 1; who gets there is paid what it shows
THERE = REACHED[1] / sum(REACHED)  # the probability of 1, and so the value, for who got there
LOOKING = 0.5 * REACHED[1]  # what looking is worth

Played = tuple[bool, int, float]  # whether it looked, turns, reward of the last one


def coin() -> Findings:
    """A fair coin is hidden, the same for both episodes of a task. Every pair of episodes, exact values.

    V' of who got there is what the coin shows if the sibling did too, and the sibling does more often where it is 1.
    """
    true = LOOK * (1 - LOOK) * (LOOKING - PAID)
    found = {
        "hae, lam_boundary 0": _gradient(0.0, heard=False),
        "sibling_hae, lam_boundary 0": _gradient(0.0, heard=True),
        "sibling_hae, lam_boundary 1, λ 1": _gradient(1.0, heard=True),
    }
    right = {name: abs(one - true) < EXACT for name, one in found.items()}
    return Findings(
        checks=tuple(
            Check(text=f"{name}, exact values, a hidden coin", found=abs(found[name] - true), limit=EXACT)
            for name in ("hae, lam_boundary 0", "sibling_hae, lam_boundary 1, λ 1")
        ),
        claims=(
            Claim(
                source="ours",
                text="sibling_hae with exact values is unbiased where a task hides what decides who passes a place",
                verdict="holds" if all(right.values()) else "holds if" if any(right.values()) else "fails",
                condition="lam_boundary = λ = 1, where siblings are baselines only. Gradient of looking:",
                numbers={"true": f"{true:+.4f}", **{name: f"{one:+.4f}" for name, one in found.items()}},
            ),
        ),
        tables={"a hidden coin": {"true": [true], **{name: [one] for name, one in found.items()}}},
    )


def _gradient(traces: float, *, heard: bool) -> float:
    """Of the logit of looking, by the credit of the first of two episodes. traces: lam_boundary and all λ."""
    total = 0.0
    for shown in (0, 1):
        for (p, one), (q, other) in product(_episodes(shown), repeat=2):
            score = 1 - LOOK if one[0] else -LOOK
            total += 0.5 * p * q * score * float(_credit(one, other, traces, heard=heard).action_BT[0, 0])
    return total


def _episodes(shown: int) -> list[tuple[float, Played]]:
    there = REACHED[shown]
    return [
        (1 - LOOK, (False, 1, PAID)),
        (LOOK * there, (True, 2, float(shown))),
        (LOOK * (1 - there), (True, 1, 0.0)),
    ]


def _credit(one: Played, other: Played, traces: float, *, heard: bool) -> HAECredit:
    """Beside them a task whose two episodes agree, and miss the critic: by it siblings are trusted entirely."""
    batch = [one, other, (True, 2, 1.0), (True, 2, 1.0)]
    lengths_B = np.array([turns for _, turns, _ in batch])
    rewards_BT = np.zeros((4, 2))
    rewards_BT[np.arange(4), lengths_B - 1] = [paid for _, _, paid in batch]
    value_BT = np.tile([LOOK * LOOKING + (1 - LOOK) * PAID, THERE], (4, 1))
    arrays = rewards_BT, np.ones((4, 2)), lengths_B, np.ones(4), value_BT, value_BT, value_BT, None
    if not heard:
        return hae(*arrays, gamma=1.0, lam_low=traces, lam_high=traces, lam_boundary=traces)
    place_BT = np.tile([0, 1], (4, 1))
    told = [0, 0, 1, 1], place_BT, np.zeros_like(place_BT)
    return sibling_hae(*arrays, *told, gamma=1.0, lam_low=traces, lam_high=traces, lam_boundary=traces)
