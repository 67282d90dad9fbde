"""From episodes and values to credit streams: which estimator, on which rewards.

Reward shaping is a named step of its own (`shaped_rewards`), off by default, logged apart and never part of
evaluation. Shapes: B episodes, T turns.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hiper.agents import written_subgoal
from hiper.batch import (
    NONE,
    OF_TOKEN,
    Document,
    Example,
    Streams,
    Values,
    assign,
    assign_tokens,
    normalised,
    rms,
)
from hiper.credit import (
    GAECredit,
    GroupCredit,
    HAECredit,
    adaptive_lam_boundary,
    fixed_hae,
    gae,
    gigpo,
    grpo,
    hae,
    hae_eb,
    option_gae,
    reinforce_pp,
    rloo,
    sibling_hae,
    token_gae,
)
from hiper.records import Ending, Trajectory, Turn
from hiper.runs.config import NO_CRITIC, CreditConfig

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Ints = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class CreditError(ValueError):
    """The estimator refused what it was given; it says which value of which turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Episodes as arrays. Rewards in training units: what an episode is paid times the scale, plus shaping.

    A boundary is where a subgoal was to be written, even if the reply then could not be read (if it was cut
    before the first token of it, there is none). Of `group_B` (which
    game), `state_BT` (which situation), `before_BT` (the subgoal in force before the reply) and `subgoal_BT` (the one
    that its action was chosen under) only equality means anything; -1 is like no other.
    """

    rewards_BT: Floats
    shaping_BT: Floats
    switches_BT: Bools
    mask_BT: Bools
    lengths_B: Ints
    terminated_B: Bools
    group_B: Ints
    state_BT: Ints
    before_BT: Ints
    subgoal_BT: Ints


def table_of(trajectories: Sequence[Trajectory], config: CreditConfig) -> Table:
    """Lay the episodes out by turn."""
    lengths = np.array([len(one.turns) for one in trajectories])
    shape = (len(trajectories), int(lengths.max()))
    rewards, switches = np.zeros(shape), np.zeros(shape, dtype=bool)
    for b, one in enumerate(trajectories):
        rewards[b, : len(one.turns)] = [config.reward_scale * reward for reward in _rewards(one, config)]
        switches[b, : len(one.turns)] = [turn.opens_segment or turn.spans.subgoal is not None for turn in one.turns]
    shaping = shaped_rewards(trajectories, shape, config)
    return Table(
        rewards_BT=rewards + shaping,
        shaping_BT=shaping,
        switches_BT=switches,
        mask_BT=np.arange(shape[1]) < lengths[:, None],
        lengths_B=lengths,
        terminated_B=np.array([_is_over(one.ending, config) for one in trajectories]),
        group_B=_numbered([[task_of(one)] for one in trajectories], 1)[:, 0],
        state_BT=_numbered([[turn.state or None for turn in one.turns] for one in trajectories], shape[1]),
        before_BT=_numbered([[None, *(turn.subgoal for turn in one.turns[:-1])] for one in trajectories], shape[1]),
        subgoal_BT=_numbered([[_acted_under(turn) for turn in one.turns] for one in trajectories], shape[1]),
    )


def _acted_under(turn: Turn) -> str | None:
    """The subgoal that the action was chosen under, however the reply ends; None where it came to no action."""
    if turn.is_read:
        return turn.subgoal
    if turn.spans.action is None:
        return None
    return written_subgoal(turn.reply) if turn.spans.subgoal else turn.subgoal


def _is_over(ending: Ending, config: CreditConfig) -> bool:
    """Whether nothing comes after the last turn."""
    at_limit = ending in (Ending.TURN_LIMIT, Ending.TOKEN_LIMIT)
    return ending.is_terminal or (at_limit and config.at_limit == "end")


def _rewards(one: Trajectory, config: CreditConfig) -> list[float]:
    """What each turn is paid, before scaling."""
    if config.reward == "environment":
        return [turn.reward for turn in one.turns]
    return [*(0.0 for _ in one.turns[1:]), float(one.succeeded)]


def _numbered(names: Sequence[Sequence[object]], width: int) -> Ints:
    """A number for each name, the same for the same; -1 for None and for padding."""
    known: dict[object, int] = {None: -1}
    out = np.full((len(names), width), -1)
    for row, some in zip(out, names, strict=True):
        row[: len(some)] = [known.setdefault(name, len(known)) for name in some]
    return out


def shaped_rewards(trajectories: Sequence[Trajectory], shape: tuple[int, int], config: CreditConfig) -> Floats:
    """What shaping adds to each turn: minus `invalid_penalty` for an invalid reply. It changes what is optimal."""
    shaping = np.zeros(shape)
    if config.invalid_penalty:
        for b, one in enumerate(trajectories):
            shaping[b, : len(one.turns)] = [-config.invalid_penalty * (turn.invalid is not None) for turn in one.turns]
    return shaping


def task_of(one: Trajectory) -> tuple[str, int]:
    """What episodes of one task have in common: the game, and the seed that drew it or the names in it."""
    return one.game, one.seed


def give_credit(
    table: Table, values: Values, rows: Sequence[Document], value_P: Sequence[Floats], config: CreditConfig
) -> tuple[list[Example], Streams]:
    """What each token and each value point is trained with (on a common scale), and the credit it comes from.

    Raises CreditError where a value that is read is not a finite number.
    """
    try:
        return _give_credit(table, values, rows, value_P, config)
    except ValueError as error:
        raise CreditError(f"no credit can be given: {error}") from error


def _give_credit(
    table: Table, values: Values, rows: Sequence[Document], value_P: Sequence[Floats], config: CreditConfig
) -> tuple[list[Example], Streams]:
    if config.estimator == "token_gae":
        advantages, targets, raw = estimate_tokens(table, values, rows, value_P, config)
        scale = 1.0 if config.normalise == "none" else rms(np.concatenate(advantages))
        return assign_tokens(rows, [one / scale for one in advantages], targets), raw
    raw = estimate(table, values, config)
    boundary_BT = table.switches_BT & table.mask_BT
    return assign(rows, normalised(raw, table.mask_BT, boundary_BT, config.normalise)), raw


def estimate(table: Table, values: Values, config: CreditConfig) -> Streams:
    """The chosen estimator's advantages and targets, not yet normalised."""
    if config.estimator in NO_CRITIC:
        return _streams(_without_critic(table, config))
    return _streams(_with_critic(table, values, config))


def _with_critic(table: Table, values: Values, c: CreditConfig) -> GAECredit | HAECredit:
    ends = table.lengths_B, table.terminated_B
    flat = table.rewards_BT, *ends, values.U_BT, values.U_final_B
    three = table.rewards_BT, table.switches_BT, *ends, values.U_BT, values.V_high_BT, values.V_low_BT, values.U_final_B
    match c.estimator:
        case "gae":
            return gae(*flat, gamma=c.gamma, lam=c.lam_low)
        case "fixed_hae":
            return fixed_hae(*flat, every=c.interval, gamma=c.gamma, lam=c.lam_low)
        case "option_gae":
            return option_gae(*three, gamma=c.gamma, lam=c.lam_low)
        case "hae_eb":
            return hae_eb(*three, gamma=c.gamma, lam=c.lam_low)
        case "hae":
            kappa = _adapted(table, values, c) if c.lam_boundary == "adaptive" else c.lam_boundary
            return hae(*three, gamma=c.gamma, lam_low=c.lam_low, lam_high=c.lam_high, lam_boundary=kappa)
        case "siblings":
            return sibling_hae(
                *three, table.group_B, table.state_BT, table.subgoal_BT, table.before_BT,
                gamma=c.gamma, lam_low=c.lam_low, lam_high=c.lam_high, lam_boundary=c.lam_boundary,
                averaged_over=len(table.lengths_B),
            )  # fmt: skip
        case _:
            raise ValueError(f"{c.estimator} gives no credit by turn")


def _adapted(table: Table, values: Values, c: CreditConfig) -> Floats:
    return adaptive_lam_boundary(
        table.rewards_BT, table.switches_BT, table.lengths_B, table.terminated_B, values.V_high_BT, values.U_final_B,
        table.group_B, table.state_BT, gamma=c.gamma, averaged_over=len(table.lengths_B),
    )  # fmt: skip


def _without_critic(table: Table, c: CreditConfig) -> GroupCredit:
    rewards_BT, lengths_B, group_B = table.rewards_BT, table.lengths_B, table.group_B
    match c.estimator:
        case "grpo":
            return grpo(rewards_BT, lengths_B, group_B, normalise_std=c.normalise_std)
        case "rloo":
            return rloo(rewards_BT, lengths_B, group_B)
        case "gigpo":
            return gigpo(
                rewards_BT, lengths_B, group_B, table.state_BT,
                gamma=c.gamma, step_weight=c.step_weight, normalise_std=c.normalise_std,
            )  # fmt: skip
        case _:  # REINFORCE++
            has_groups = min(Counter(group_B.tolist()).values()) > 1
            return reinforce_pp(rewards_BT, lengths_B, group_B if has_groups else None, gamma=c.gamma)


def _streams(credit: GAECredit | HAECredit | GroupCredit) -> Streams:
    """What is credited to a turn is credited to each of its decisions; without a critic there are no targets."""
    if isinstance(credit, HAECredit):
        return Streams(
            switch_BT=credit.switch_BT, subgoal_BT=credit.subgoal_BT, action_BT=credit.action_BT,
            target_U_BT=credit.return_U_BT, target_high_BT=credit.return_high_BT, target_low_BT=credit.return_low_BT,
        )  # fmt: skip
    one_BT = credit.advantage_BT
    nothing_BT = np.full(one_BT.shape, np.nan)
    return Streams(
        switch_BT=one_BT, subgoal_BT=one_BT, action_BT=one_BT,
        target_U_BT=credit.return_BT if isinstance(credit, GAECredit) else nothing_BT,
        target_high_BT=nothing_BT, target_low_BT=nothing_BT,
    )  # fmt: skip


def estimate_tokens(
    table: Table, values: Values, rows: Sequence[Document], value_P: Sequence[Floats], config: CreditConfig
) -> tuple[list[Floats], list[Floats], Streams]:
    """Token-level GAE: for each row, advantages and targets of its trained tokens in order.

    The streams are for looking at only: each decision's mean over its tokens (NaN where it has none), and the target of
    a turn's first.
    """
    of_row = [_Tokens.of(row, values) for row, values in zip(rows, value_P, strict=True)]
    of_episode = [[one for one in of_row if one.episode == b] for b in range(len(table.lengths_B))]
    longest = max(sum(len(one.turn) for one in parts) for parts in of_episode)
    turn_BL, V_BL = np.full((len(of_episode), longest), -1), np.zeros((len(of_episode), longest))
    for b, parts in enumerate(of_episode):
        joined = np.concatenate([one.turn for one in parts])
        turn_BL[b, : len(joined)] = joined
        V_BL[b, : len(joined)] = np.concatenate([one.value for one in parts])
    credit = token_gae(
        table.rewards_BT, table.lengths_B, table.terminated_B, turn_BL, V_BL, values.U_final_B,
        gamma=config.gamma, lam=config.lam_low,
    )  # fmt: skip
    advantages, targets = [], []
    place = np.zeros(len(of_episode), dtype=np.int64)
    for one in of_row:
        chosen = slice(place[one.episode], place[one.episode] + len(one.turn))
        advantages.append(credit.advantage_BL[one.episode, chosen])
        targets.append(credit.return_BL[one.episode, chosen])
        place[one.episode] += len(one.turn)
    return advantages, targets, _by_decision(table, rows, advantages, targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tokens:
    """The trained tokens of a row: their turns, and the values before them."""

    episode: int
    turn: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    value: Floats

    @classmethod
    def of(cls, row: Document, value_P: Floats) -> "_Tokens":
        turn, value = row.turn_L[row.kind_L != NONE], value_P[row.point_turn_P == OF_TOKEN]
        return cls(episode=row.episode, turn=turn, value=value)


def _by_decision(
    table: Table, rows: Sequence[Document], advantages: Sequence[Floats], targets: Sequence[Floats]
) -> Streams:
    total, count = np.zeros((3, *table.mask_BT.shape)), np.zeros((3, *table.mask_BT.shape))
    first_BT = np.full(table.mask_BT.shape, np.nan)
    for row, advantage, target in zip(rows, advantages, targets, strict=True):
        trained = row.kind_L != NONE
        turn = row.turn_L[trained]
        where = (row.kind_L[trained] - 1, row.episode, turn)  # switch, subgoal, action
        np.add.at(total, where, advantage)
        np.add.at(count, where, 1.0)
        first_BT[row.episode, turn[::-1]] = target[::-1]  # the last one written is the first token
    switch_BT, subgoal_BT, action_BT = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    nothing_BT = np.full(first_BT.shape, np.nan)
    return Streams(
        switch_BT=switch_BT, subgoal_BT=subgoal_BT, action_BT=action_BT,
        target_U_BT=first_BT, target_high_BT=nothing_BT, target_low_BT=nothing_BT,
    )  # fmt: skip


def explained_variance(value: Floats, target: Floats) -> float:
    """1 - Var(target - value) / Var(target); 0 where the targets do not vary, NaN where there are none."""
    known = np.isfinite(value) & np.isfinite(target)
    if not known.any():
        return float("nan")
    spread = float(np.var(target[known]))
    return 1.0 - float(np.var((target - value)[known])) / spread if spread > 1e-12 else 0.0
