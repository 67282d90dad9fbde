"""Figures of episodes, by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.records import Decision, Ending, Invalid, Spans, Trajectory, Turn
from hiper.rollout import of_tries, success_table, summary, wilson


def turn(index: int, decision: Decision, invalid: Invalid | None = None, reward: float = 0.0, tokens: int = 0) -> Turn:
    return Turn(
        index=index,
        observation="",
        context="",
        fresh_context=False,
        reply="",
        decision=decision,
        subgoal="",
        action="",
        invalid=invalid,
        reward=reward,
        reply_ids=(7,) * tokens,
        reply_logprobs=(-1.0,) * tokens,
        spans=Spans(),
    )


def episode(task_type: str, ending: Ending, turns: tuple[Turn, ...], score: float = 0.0) -> Trajectory:
    return Trajectory(
        game="g", task_type=task_type, seed=0, turns=turns, ending=ending, final_observation="", score=score
    )


KEEP, SWITCH = Decision.KEEP, Decision.SWITCH
WON = episode(
    "look",
    Ending.SUCCEEDED,
    (turn(0, SWITCH, tokens=6), turn(1, KEEP, tokens=4), turn(2, SWITCH, reward=1.0, tokens=6)),
    score=1.0,
)
LOST = episode("pick", Ending.TURN_LIMIT, (turn(0, KEEP, Invalid.NO_ACTION_TAG),), score=0.5)


def test_summary_by_hand() -> None:
    row = summary([WON, LOST])
    expected = {
        "rollout/episodes": 2.0,
        "rollout/success": 0.5,
        "rollout/return": 0.5,  # (1 + 0) / 2
        "rollout/score": 0.75,  # (1 + 0.5) / 2
        "rollout/turns": 2.0,  # (3 + 1) / 2
        "rollout/switches": 1.0,  # (2 + 0) / 2
        "rollout/segment_turns": 4 / 3,  # 4 turns; segments: turns 0-1, turn 2, and turn 0 of the other
        "rollout/valid_rate": 0.75,
        "rollout/reply_tokens": 4.0,  # 16 / 4
        "rollout/success/look": 1.0,
        "rollout/success/pick": 0.0,
        "rollout/invalid/no_action_tag": 0.25,
        "rollout/ending/succeeded": 0.5,
        "rollout/ending/turn_limit": 0.5,
    }
    assert {key: row[key] for key in expected} == expected
    rest = {key: value for key, value in row.items() if key not in expected}
    assert set(rest.values()) == {0.0}
    assert len(rest) == len(Invalid) - 1 + len(Ending) - 2


def test_summary_of_nothing_and_of_episodes_without_turns() -> None:
    assert summary([]) == {"rollout/episodes": 0.0}
    row = summary([episode("", Ending.CRASHED, ())])
    assert (row["rollout/turns"], row["rollout/valid_rate"], row["rollout/ending/crashed"]) == (0.0, 0.0, 1.0)
    assert not any(key.startswith("rollout/success/") for key in row)


def test_success_table() -> None:
    table = success_table([WON, LOST, WON])
    assert (table["success"], table["episodes"]) == (2 / 3, 3)
    assert table["success_ci95"] == list(wilson(2, 3))
    assert list(table["by_task"]) == ["look", "pick"]
    assert table["by_task"]["pick"] == {"success": 0.0, "success_ci95": list(wilson(0, 1)), "episodes": 1}


def test_several_tries_of_a_game() -> None:
    """Four games, three tries each: won 3, 1, 0 and 0 times."""
    ends = [Ending.SUCCEEDED] * 3 + [Ending.FAILED, Ending.SUCCEEDED] + [Ending.FAILED] * 7
    played = [replace(episode("pick", end, (turn(0, Decision.SWITCH),)), seed=at // 3) for at, end in enumerate(ends)]
    assert of_tries(played) == {"tries": 3, "won_ever": 0.5, "won_always": 0.25}
    table = success_table(played, 3)
    assert (table["success"], table["episodes"]) == (4 / 12, 12)
    assert table["success_ci95"] == list(wilson(4 / 3, 4)), "an interval over games"
    assert table["by_task"]["pick"]["success_ci95"] == table["success_ci95"]
    with pytest.raises(ValueError, match=r"as often as the others, got \[2, 3\] episodes"):
        of_tries(played[1:])


def test_wilson_by_hand() -> None:
    # 8 of 10, z² = 3.8415: centre (0.8 + 3.8415 / 20) / 1.38415 = 0.71674,
    # half width 1.96 * sqrt(0.016 + 0.0096036) / 1.38415 = 0.22658.
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)
    with pytest.raises(ValueError, match="trials > 0, got 0 of 0"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


@given(st.integers(1, 1000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_holds_the_rate_within_bounds_and_mirrors(case: tuple[int, int]) -> None:
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0
    assert low < high
    mirrored = wilson(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low))
