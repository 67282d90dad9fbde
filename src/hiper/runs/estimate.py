"""From episodes and values to credit streams: which estimator, on which rewards.

Reward shaping is a named step of its own (`shaped_rewards`), off by default, logged apart and never part of
evaluation. Shapes: B episodes, T turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiper.batch import Streams, Values
from hiper.credit import gae, hae
from hiper.records import Trajectory
from hiper.runs.config import CreditConfig

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Episodes as arrays. Rewards in training units: environment reward times the scale, plus shaping."""

    rewards_BT: Floats
    shaping_BT: Floats
    switches_BT: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    mask_BT: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    lengths_B: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    terminated_B: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def table_of(trajectories: Sequence[Trajectory], config: CreditConfig) -> Table:
    """Lay the episodes out by turn."""
    lengths = np.array([len(one.turns) for one in trajectories])
    shape = (len(trajectories), int(lengths.max()))
    rewards, switches = np.zeros(shape), np.zeros(shape, dtype=bool)
    for b, one in enumerate(trajectories):
        rewards[b, : len(one.turns)] = [turn.reward * config.reward_scale for turn in one.turns]
        switches[b, : len(one.turns)] = [turn.opens_segment for turn in one.turns]
    shaping = shaped_rewards(trajectories, shape, config)
    return Table(
        rewards_BT=rewards + shaping,
        shaping_BT=shaping,
        switches_BT=switches,
        mask_BT=np.arange(shape[1]) < lengths[:, None],
        lengths_B=lengths,
        terminated_B=np.array([one.ending.is_terminal for one in trajectories]),
    )


def shaped_rewards(trajectories: Sequence[Trajectory], shape: tuple[int, int], config: CreditConfig) -> Floats:
    """What shaping adds to each turn: minus `invalid_penalty` for an invalid reply. It changes what is optimal."""
    shaping = np.zeros(shape)
    if config.invalid_penalty:
        for b, one in enumerate(trajectories):
            shaping[b, : len(one.turns)] = [-config.invalid_penalty * (turn.invalid is not None) for turn in one.turns]
    return shaping


def estimate(table: Table, values: Values, config: CreditConfig) -> Streams:
    """The chosen estimator's advantages and targets, not yet normalised."""
    final = np.where(table.terminated_B, 0.0, values.U_final_B)
    if config.estimator == "gae":
        flat = gae(
            table.rewards_BT, table.lengths_B, table.terminated_B, _filled(values.U_BT), final,
            gamma=config.gamma, lam=config.lam_low,
        )  # fmt: skip
        nothing = np.full(table.rewards_BT.shape, np.nan)
        return Streams(
            switch_BT=flat.advantage_BT,
            subgoal_BT=flat.advantage_BT,
            action_BT=flat.advantage_BT,
            target_U_BT=flat.return_BT,
            target_high_BT=nothing,
            target_low_BT=nothing,
        )
    credit = hae(
        table.rewards_BT, table.switches_BT, table.lengths_B, table.terminated_B,
        _filled(values.U_BT), values.V_high_BT, _filled(values.V_low_BT), final,
        gamma=config.gamma, lam_low=config.lam_low, lam_high=config.lam_high, lam_boundary=float(config.lam_boundary),
    )  # fmt: skip
    return Streams(
        switch_BT=credit.switch_BT,
        subgoal_BT=credit.subgoal_BT,
        action_BT=credit.action_BT,
        target_U_BT=credit.return_U_BT,
        target_high_BT=credit.return_high_BT,
        target_low_BT=credit.return_low_BT,
    )


def _filled(values_BT: Floats) -> Floats:
    """Padding turns have no value; any number does there."""
    return np.where(np.isfinite(values_BT), values_BT, 0.0)


def explained_variance(value: Floats, target: Floats) -> float:
    """1 - Var(target - value) / Var(target); 0 where the targets do not vary."""
    known = np.isfinite(value) & np.isfinite(target)
    spread = float(np.var(target[known])) if known.any() else 0.0
    return 1.0 - float(np.var((target - value)[known])) / spread if spread > 1e-12 else 0.0
