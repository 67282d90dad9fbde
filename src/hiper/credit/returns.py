"""What followed a turn, in one number: to the end of the episode, or to the next boundary and its value."""

import numpy as np

from hiper.credit.checks import Decisions, Episodes
from hiper.credit.scan import FloatArray, backward, next_turn


def return_to_go(e: Episodes, gamma: float) -> FloatArray:
    """Gₜ = rₜ + γ Gₜ₊₁: discounted reward from turn t to the end, and what is to come after a cut."""
    return backward(e.rewards_BT + gamma * e.after_BT, np.where(e.goes_on_BT, gamma, 0.0))


def episode_return(e: Episodes) -> FloatArray:
    """R = Σₜ rₜ of each episode [B], undiscounted; added up backwards, so that padding moves no rounding."""
    return return_to_go(e, 1.0)[:, 0]


def segment_return(e: Episodes, d: Decisions, gamma: float, lam_BT: FloatArray) -> FloatArray:
    """Mₜ: discounted reward from turn t on; a boundary ahead is worth V_high + lam (M - V_high)."""
    switch_next_BT = next_turn(d.boundary_BT)
    # V_high is 0 outside boundaries, so its share needs no mask.
    known_BT = next_turn((1.0 - lam_BT) * d.V_high_BT) + e.after_BT
    weight_BT = np.where(switch_next_BT, next_turn(lam_BT), 1.0) * e.goes_on_BT
    return backward(e.rewards_BT + gamma * known_BT, gamma * weight_BT)
