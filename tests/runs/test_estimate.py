"""From episodes to arrays to credit, by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import hiper.credit
from hiper.batch import NONE, OF_TOKEN, Document, Values, documents, gather_values
from hiper.credit import gae, hae
from hiper.records import Decision, Ending, Invalid, Trajectory, Turn
from hiper.rollout import PlayError
from hiper.runs.config import CreditConfig, Estimator, make_config
from hiper.runs.estimate import Table, estimate, estimate_tokens, explained_variance, table_of
from hiper.runs.train import learnable
from tests.batch.hand import random_episode, spans
from tests.credit.samples import BOUNDARY, FLAT, GROUPS, HIGH, SIBLINGS, Sample, random_sample
from tests.runs.tiny import carry_out, metrics

KEEP, SWITCH = Decision.KEEP, Decision.SWITCH
IDS = (1, 1, 1)


def turn(index: int, decision: Decision, reward: float = 0.0, invalid: Invalid | None = None) -> Turn:
    return Turn(
        index=index,
        observation="",
        context="",
        fresh_context=False,
        reply="",
        decision=decision,
        subgoal="",
        action="",
        reward=reward,
        invalid=invalid,
    )


def episode(ending: Ending, *turns: Turn) -> Trajectory:
    return Trajectory(game="g", task_type="t", seed=0, turns=turns, ending=ending, final_observation="")


EPISODES = [
    episode(Ending.SUCCEEDED, turn(0, KEEP), turn(1, KEEP, invalid=Invalid.NO_ACTION_TAG), turn(2, SWITCH, 1.0)),
    episode(Ending.TURN_LIMIT, turn(0, SWITCH), turn(1, KEEP, 0.25, Invalid.NOT_ADMISSIBLE)),
]
NAN = np.nan
VALUES = Values(
    U_BT=np.array([[0.1, 0.2, 0.3], [0.4, 0.5, NAN]]),
    V_high_BT=np.array([[0.5, NAN, 0.6], [0.7, NAN, NAN]]),
    V_low_BT=np.array([[0.2, 0.1, 0.8], [0.3, 0.9, NAN]]),
    U_final_B=np.array([NAN, 2.0]),
)


def test_the_table_of_two_episodes() -> None:
    table = table_of(EPISODES, CreditConfig(reward_scale=10.0))
    np.testing.assert_array_equal(table.rewards_BT, [[0, 0, 10], [0, 2.5, 0]])
    np.testing.assert_array_equal(table.switches_BT, [[True, False, True], [True, False, False]])
    np.testing.assert_array_equal(table.mask_BT, [[True, True, True], [True, True, False]])
    np.testing.assert_array_equal(table.lengths_B, [3, 2])
    np.testing.assert_array_equal(table.terminated_B, [True, False])
    assert not table.shaping_BT.any()


def test_a_subgoal_that_could_not_be_read_is_a_boundary_and_comes_to_nothing() -> None:
    wrong = {"subgoal": "a", "invalid": Invalid.NO_ACTION_TAG}
    turns = (
        replace(
            turn(0, SWITCH), subgoal="a", spans=spans(subgoal=(0, 2), action=(2, 3)), reply_ids=IDS, reply_logprobs=IDS
        ),
        replace(turn(1, KEEP), **wrong, spans=spans(switch=(0, 1), subgoal=(1, 3)), reply_ids=IDS, reply_logprobs=IDS),
        replace(turn(2, KEEP), **wrong, spans=spans(switch=(0, 1), action=(1, 3)), reply_ids=IDS, reply_logprobs=IDS),
        replace(turn(3, KEEP), **wrong, spans=spans(switch=(0, 3)), reply_ids=IDS, reply_logprobs=IDS),
        replace(turn(4, SWITCH, invalid=Invalid.NOT_ADMISSIBLE), subgoal="b"),
        # The subgoal was read, the action was not: it was chosen under the subgoal all the same.
        replace(
            turn(5, KEEP),
            **wrong | {"subgoal": "b"},
            reply="<switch>SWITCH</switch><subgoal> a </subgoal><action>look",
            spans=spans(switch=(0, 1), subgoal=(1, 2), action=(2, 3)),
            reply_ids=IDS,
            reply_logprobs=IDS,
        ),
    )
    table = table_of([episode(Ending.FAILED, *turns)], CreditConfig())
    np.testing.assert_array_equal(table.switches_BT, [[True, True, False, False, True, True]])
    a, b = table.subgoal_BT[0, [0, 4]]
    assert a != b
    np.testing.assert_array_equal(table.subgoal_BT, [[a, -1, a, -1, b, a]])
    before = table.before_BT[0, 1]
    np.testing.assert_array_equal(table.before_BT, [[-1, before, before, before, before, b]])


def test_siblings_do_not_know_whether_the_reply_will_be_readable() -> None:
    """Returns are 1 whatever is done, and the critic knows nothing: what was said is no better than its siblings."""

    def one(seed: int, rest: str) -> Trajectory:
        reply = f"<switch>SWITCH</switch><subgoal>b</subgoal><action>look</action>{rest}"
        invalid = Invalid.TEXT_AFTER_ACTION if rest else None
        said = replace(
            turn(0, SWITCH, 1.0, invalid),
            reply=reply,
            state="s",
            subgoal="" if rest else "b",
            spans=spans(subgoal=(0, 2), action=(2, 3)),
            reply_ids=IDS,
            reply_logprobs=IDS,
        )
        return replace(episode(Ending.FAILED, said), seed=seed)

    episodes = [one(seed, rest) for seed in (0, 1) for rest in ("", "", " more")]
    nothing = np.zeros((6, 1))
    values = Values(U_BT=nothing, V_high_BT=nothing, V_low_BT=nothing, U_final_B=np.zeros(6))
    config = CreditConfig(estimator="siblings", gamma=1.0, lam_low=1.0, lam_high=1.0, lam_boundary=1.0)
    found = estimate(table_of(episodes, config), values, config)
    np.testing.assert_allclose(found.action_BT, 0.0, atol=1e-12)
    np.testing.assert_allclose(found.subgoal_BT, 0.0, atol=1e-12)


def test_paid_for_success_alone_half_a_success_is_none() -> None:
    table = table_of(EPISODES, CreditConfig(reward="success", reward_scale=10.0))
    np.testing.assert_array_equal(table.rewards_BT, [[0, 0, 10], [0, 0, 0]])


@pytest.mark.parametrize("ending", [Ending.TURN_LIMIT, Ending.TOKEN_LIMIT, Ending.CRASHED])
def test_a_limit_that_is_part_of_the_task_ends_it(ending: Ending) -> None:
    """Nothing is expected after it then; after a crash the world would have gone on in any case."""
    cut = [EPISODES[0], replace(EPISODES[1], ending=ending)]
    as_cut, as_end = (CreditConfig(at_limit=at_limit) for at_limit in ("bootstrap", "end"))
    np.testing.assert_array_equal(table_of(cut, as_cut).terminated_B, [True, False])
    np.testing.assert_array_equal(table_of(cut, as_end).terminated_B, [True, ending is not Ending.CRASHED])
    stalled, ended = (estimate(table_of(cut, config), VALUES, config).action_BT[1, 1] for config in (as_cut, as_end))
    final = 0.95 * VALUES.U_final_B[1] if ending is not Ending.CRASHED else 0.0
    assert stalled - ended == pytest.approx(final)


def test_shaping_is_added_and_kept_apart() -> None:
    table = table_of(EPISODES, CreditConfig(reward_scale=10.0, invalid_penalty=0.5))
    np.testing.assert_array_equal(table.shaping_BT, [[0, -0.5, 0], [0, -0.5, 0]])  # not scaled
    np.testing.assert_array_equal(table.rewards_BT, [[0, -0.5, 10], [0, 2.0, 0]])


def test_the_estimators_get_what_they_ask_for() -> None:
    config = CreditConfig(gamma=0.9, lam_low=0.8, lam_high=0.7, lam_boundary=0.6)
    table = table_of(EPISODES, config)
    rewards, lengths, terminated = [[0, 0, 1], [0, 0.25, 0]], [3, 2], [True, False]
    U, V_high, V_low = (np.nan_to_num(v) for v in (VALUES.U_BT, VALUES.V_high_BT, VALUES.V_low_BT))
    switches = [[True, False, True], [True, False, False]]
    wanted = hae(
        rewards, switches, lengths, terminated, U, V_high, V_low, [0.0, 2.0],
        gamma=0.9, lam_low=0.8, lam_high=0.7, lam_boundary=0.6,
    )  # fmt: skip
    found = estimate(table, VALUES, config)
    for mine, theirs in (
        ("switch_BT", wanted.switch_BT),
        ("subgoal_BT", wanted.subgoal_BT),
        ("action_BT", wanted.action_BT),
        ("target_U_BT", wanted.return_U_BT),
        ("target_high_BT", wanted.return_high_BT),
        ("target_low_BT", wanted.return_low_BT),
    ):
        np.testing.assert_allclose(getattr(found, mine), theirs)
    flat = gae(rewards, lengths, terminated, U, [0.0, 2.0], gamma=0.9, lam=0.8)
    found = estimate(table, VALUES, config.model_copy(update={"estimator": "gae"}))
    for name in ("switch_BT", "subgoal_BT", "action_BT"):
        np.testing.assert_allclose(getattr(found, name), flat.advantage_BT)
    np.testing.assert_allclose(found.target_U_BT, flat.return_BT)
    assert np.isnan(found.target_high_BT).all()
    assert np.isnan(found.target_low_BT).all()


# As each is called by hand; every setting differs from the others and from what it is unless told.
SETTINGS = {"gamma": 0.9, "lam_low": 0.8, "lam_high": 0.7, "interval": 2, "step_weight": 0.5, "normalise_std": False}
TRACES = {"gamma": 0.9, "lam_low": 0.8, "lam_high": 0.7}
ONE = {"gamma": 0.9, "lam": 0.8}
BY_HAND: list[tuple[str, float | str, str, tuple[str, ...], dict[str, Any]]] = [
    ("gae", 0.6, "gae", FLAT, ONE),
    ("fixed_hae", 0.6, "fixed_hae", FLAT, {**ONE, "every": 2}),
    ("option_gae", 0.6, "option_gae", HIGH, ONE),
    ("hae_eb", 0.6, "hae_eb", HIGH, ONE),
    ("hae", 0.6, "hae", HIGH, {**TRACES, "lam_boundary": 0.6}),
    ("siblings", 0.6, "sibling_hae", (*SIBLINGS, "before_BT"), {**TRACES, "lam_boundary": 0.6}),
    ("siblings", "adaptive", "sibling_hae", (*SIBLINGS, "before_BT"), {**TRACES, "averaged_over": 32}),
    ("grpo", 0.6, "grpo", GROUPS, {"normalise_std": False}),
    ("rloo", 0.6, "rloo", GROUPS, {}),
    ("reinforce_pp", 0.6, "reinforce_pp", GROUPS, {"gamma": 0.9}),
    ("gigpo", 0.6, "gigpo", (*GROUPS, "state_BT"), {"gamma": 0.9, "step_weight": 0.5, "normalise_std": False}),
]


@pytest.mark.parametrize(("estimator", "kappa", "function", "takes", "settings"), BY_HAND)
def test_an_estimator_gets_every_setting_that_is_its_own(
    estimator: str, kappa: float | str, function: str, takes: tuple[str, ...], settings: dict[str, Any]
) -> None:
    table, values, arrays = laid_out(random_sample(53, [6, 5, 6, 5, 6, 4]))
    by_hand = getattr(hiper.credit, function)(*(arrays[name] for name in takes), **settings)
    config = CreditConfig.model_validate({**SETTINGS, "estimator": estimator, "lam_boundary": kappa})
    found = estimate(table, values, config)
    for kind in ("switch_BT", "subgoal_BT", "action_BT"):
        np.testing.assert_array_equal(
            getattr(found, kind), getattr(by_hand, kind, getattr(by_hand, "advantage_BT", None))
        )


def test_an_adaptive_boundary_is_for_the_whole_batch() -> None:
    table, values, arrays = laid_out(random_sample(53, [6, 5, 6, 5, 6, 4]))
    kappa_B = hiper.credit.adaptive_lam_boundary(
        *(arrays[name] for name in (*BOUNDARY, "group_B", "state_BT")), gamma=0.9, averaged_over=32
    )
    by_hand = hae(*(arrays[name] for name in HIGH), **TRACES, lam_boundary=kappa_B)
    config = CreditConfig(**SETTINGS, estimator="hae", lam_boundary="adaptive")
    np.testing.assert_array_equal(estimate(table, values, config).action_BT, by_hand.action_BT)


def laid_out(sample: Sample) -> tuple[Table, Values, dict[str, Any]]:
    """A sample as training has it."""
    arrays = sample.arrays()
    of_table = {name: arrays[name] for name in Table.__slots__ if name in arrays}
    mask_BT = sample.batch.mask_BT
    table = Table(**of_table, shaping_BT=np.zeros(mask_BT.shape), mask_BT=mask_BT)
    return table, Values(**{name: arrays[name] for name in Values.__slots__}), arrays


@pytest.mark.parametrize(
    ("value", "target", "expected"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 1.0),
        ([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], 0.0),
        ([2.0, 3.0, 4.0], [1.0, 2.0, 3.0], 1.0),  # a constant error explains all the same
        ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0], -3.0),  # errors -2, 0, 2: variance 8/3 against 2/3
        ([1.0, NAN, 9.0], [1.0, 2.0, NAN], 0.0),  # one entry is left: nothing varies
        ([1.0, 2.0], [5.0, 5.0], 0.0),
        ([NAN], [NAN], NAN),
    ],
)
def test_explained_variance(value: list[float], target: list[float], expected: float) -> None:
    assert explained_variance(np.array(value), np.array(target)) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("estimator", get_args(Estimator))
def test_every_estimator_trains(estimator: str, tmp_path: Path) -> None:
    carry_out(
        tmp_path, f"credit.estimator={estimator}", "credit.lam_boundary=adaptive", "sft.steps=1", "train.steps=2",
        "train.critic_warmup=0", "train.episodes=8", "train.group=2", "train.max_turns=6",
        "train.grad_variance_every=1",
    )  # fmt: skip
    rows = metrics(tmp_path, "train")
    assert len(rows) == 2
    assert all(np.isfinite(row["learn/policy_loss"]) for row in rows[1:])
    has_critic = estimator not in ("grpo", "rloo", "reinforce_pp", "gigpo")
    assert (rows[-1]["learn/value_loss"] > 0) == has_critic
    assert rows[-1]["learn/grad_variance"] > 0


def token_by_token(ids: int = 300) -> tuple[list[Trajectory], list[Document], list[np.ndarray[Any, Any]]]:
    episodes = [random_episode(seed, ids=ids) for seed in range(5)]
    rows = documents(episodes, token_values=True)
    return episodes, rows, [np.random.default_rng(n).normal(size=len(row.point_P)) for n, row in enumerate(rows)]


def test_credit_of_tokens_is_that_of_a_loop_over_them() -> None:
    episodes, rows, value_P = token_by_token()
    config = CreditConfig(estimator="token_gae", gamma=0.9, lam_low=0.8, normalise="none")
    table, values = table_of(episodes, config), gather_values(episodes, rows, value_P)
    advantages, targets, _ = estimate_tokens(table, values, rows, value_P, config)
    for b, one in enumerate(episodes):
        mine = [n for n, row in enumerate(rows) if row.episode == b]
        turn = np.concatenate([rows[n].turn_L[rows[n].kind_L != NONE] for n in mine])
        value = np.concatenate([value_P[n][rows[n].point_turn_P == OF_TOKEN] for n in mine])
        after = 0.0 if one.ending.is_terminal else values.U_final_B[b]
        ahead, expected = 0.0, []
        for place in reversed(range(len(turn))):
            is_last = place + 1 == len(turn) or turn[place + 1] != turn[place]
            discount = 0.9 if is_last else 1.0
            following = value[place + 1] if place + 1 < len(turn) else after
            paid = one.turns[turn[place]].reward if is_last else 0.0
            ahead = paid + discount * following - value[place] + discount * 0.8 * ahead
            expected.append(ahead)
        np.testing.assert_allclose(np.concatenate([advantages[n] for n in mine]), expected[::-1], atol=1e-12)
        np.testing.assert_allclose(np.concatenate([targets[n] for n in mine]), expected[::-1] + value, atol=1e-12)


def test_tasks_situations_and_subgoals_are_told_apart_by_number() -> None:
    def at(index: int, state: str, subgoal: str) -> Turn:
        return replace(turn(index, KEEP), state=state, subgoal=subgoal)

    one = episode(Ending.FAILED, at(0, "hall", "find"), at(1, "", "find"), at(2, "hall", ""))
    other = replace(episode(Ending.FAILED, at(0, "hall", "")), game="h")
    table = table_of([one, other, one], CreditConfig())
    a, b, c = table.group_B
    assert a == c != b
    assert table.state_BT[0, 0] == table.state_BT[0, 2] == table.state_BT[1, 0] >= 0
    assert table.state_BT[0, 1] == table.state_BT[1, 1] == -1  # unknown, and padding
    assert table.subgoal_BT[0, 0] == table.subgoal_BT[0, 1] != table.subgoal_BT[0, 2] == table.subgoal_BT[1, 0]
    assert table.subgoal_BT[1, 1] == -1


def test_who_has_nobody_to_be_compared_with_is_left_out() -> None:
    lonely = replace(EPISODES[0], game="elsewhere")
    config = make_config({}, ["credit.estimator=rloo", "train.group=2"])
    assert learnable([*EPISODES, lonely], config) == EPISODES
    assert learnable([*EPISODES, lonely], make_config({})) == [*EPISODES, lonely]
    in_groups = make_config({}, ["credit.estimator=reinforce_pp", "train.group=2"])
    assert learnable([*EPISODES, lonely], in_groups) == EPISODES  # one alone would take the groups from all
    assert learnable([lonely], make_config({}, ["credit.estimator=reinforce_pp"])) == [lonely]
    with pytest.raises(PlayError, match="rloo has nothing to compare"):
        learnable([EPISODES[0], lonely], config)
