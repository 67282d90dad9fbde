"""Episodes: how they end, what is written down, and that none depends on the company it is played in."""

from collections.abc import Callable
from typing import Any

import pytest
from gymnasium.wrappers import OrderEnforcing
from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.agents import ExpertSampler, RandomSampler, Request, make_layout
from hiper.records import Decision, Ending, Invalid, Kind, Span, Trajectory
from hiper.rollout import Limits, PlayError, Task, play
from tests.rollout.toy import ACT, END, PLAN, Corridor, Puppet, info_only, say_in_turn, walk, wander


def corridor(length: int, seed: int = 0) -> Task:
    return Task(seed=seed, options={"game": f"corridor-{length}"})


def play_one(
    say: Callable[[Request], str], *, env: Corridor | None = None, window: int | None = None, turns: int = 50
) -> Trajectory:
    puppet = Puppet(say)
    puppet.window = window
    layout = make_layout("transcript", PLAN, {"header": "none"})
    world = env or Corridor()
    (trajectory,) = play(lambda: world, puppet, PLAN, layout, [corridor(2)], limits=Limits(turns=turns))
    assert world.is_closed
    assert puppet.closed == [0]
    return trajectory


def test_success_and_all_that_is_recorded_of_it() -> None:
    trajectory = play_one(walk)
    assert trajectory.ending is Ending.SUCCEEDED
    assert (trajectory.game, trajectory.task_type, trajectory.seed) == ("corridor-2", "even", 0)
    assert (trajectory.score, trajectory.reward, trajectory.crashes) == (1.0, 1.0, 0)
    first, second = trajectory.turns
    assert first.observation == "A corridor of 2. Your task is to: walk to its end."
    assert (first.context, first.fresh_context) == (f"{first.observation}\n", True)
    assert first.context_ids == tuple(first.context.encode())
    assert first.reply == "<switch>SWITCH</switch><subgoal>reach the end</subgoal><action>forward</action>"
    assert first.reply_ids == (*first.reply.encode(), END)
    assert (first.decision, first.subgoal, first.action) == (Decision.SWITCH, "reach the end", "forward")
    # One token a byte, so token spans are byte spans, the end token at the end: 23 + 32, 55 + 24 + 1; 21, 21 + 24 + 1.
    assert dict(first.spans.items()) == {Kind.SUBGOAL: Span(start=0, stop=55), Kind.ACTION: Span(start=55, stop=80)}
    assert dict(second.spans.items()) == {Kind.SWITCH: Span(start=0, stop=21), Kind.ACTION: Span(start=21, stop=46)}
    assert (second.observation, second.context, second.fresh_context) == ("Place 1.", "\nPlace 1.\n", False)
    assert (second.decision, second.subgoal, second.reward) == (Decision.KEEP, "reach the end", 1.0)
    assert trajectory.final_observation == "Place 2."
    assert (trajectory.final_context, trajectory.final_context_is_fresh) == ("\nPlace 2.\n", False)
    assert trajectory.final_context_ids == tuple(b"\nPlace 2.\n")


def test_a_transcript_is_its_contexts_and_replies_one_after_another() -> None:
    trajectory = play_one(walk)
    text = "".join(turn.context + turn.reply for turn in trajectory.turns) + trajectory.final_context
    first, second = (turn.reply for turn in trajectory.turns)
    assert text == f"{trajectory.turns[0].observation}\n{first}\nPlace 1.\n{second}\nPlace 2.\n"


def test_failure_is_not_success() -> None:
    trajectory = play_one(say_in_turn(PLAN.format(Decision.SWITCH, "leave", "back")))
    assert (trajectory.ending, trajectory.score, len(trajectory.turns)) == (Ending.FAILED, 0.0, 1)


def test_the_turn_limit_counts_every_reply() -> None:
    trajectory = play_one(say_in_turn("hm", PLAN.format(Decision.SWITCH, "rest", "wait")), turns=3)
    assert (trajectory.ending, len(trajectory.turns)) == (Ending.TURN_LIMIT, 3)
    assert [turn.invalid for turn in trajectory.turns] == [Invalid.NO_SWITCH_TAG, None, None]


def test_success_at_the_last_turn_is_success() -> None:
    assert play_one(walk, turns=2).ending is Ending.SUCCEEDED


def test_a_world_that_ends_at_its_own_limit_has_ended() -> None:
    wait = PLAN.format(Decision.SWITCH, "rest", "wait")
    trajectory = play_one(say_in_turn(*[wait] * 10, walk_text(0), walk_text(1)))
    assert (trajectory.ending, len(trajectory.turns)) == (Ending.SUCCEEDED, 12)


def test_an_environment_that_truncates_ends_the_episode_at_its_limit() -> None:
    trajectory = play_one(say_in_turn(PLAN.format(Decision.SWITCH, "rest", "wait")))
    assert (trajectory.ending, len(trajectory.turns)) == (Ending.TURN_LIMIT, 12)


def test_a_broken_reply_never_reaches_the_environment() -> None:
    env = Corridor()
    trajectory = play_one(say_in_turn("forward", "<switch>KEEP</switch>", walk_text(0), walk_text(1)), env=env)
    assert env.log == ["forward", "forward"]
    first, second, third, _ = trajectory.turns
    assert (first.invalid, first.action, first.subgoal) == (Invalid.NO_SWITCH_TAG, "", "")
    assert dict(first.spans.items()) == {Kind.SUBGOAL: Span(start=0, stop=len("forward") + 1)}
    assert second.observation == "Invalid reply: no switch tag."
    assert second.invalid is Invalid.KEEP_WITHOUT_SUBGOAL
    assert third.context == "\nInvalid reply: there is no subgoal to keep yet.\n"
    assert trajectory.succeeded


def walk_text(turn: int) -> str:
    return PLAN.format(Decision.KEEP if turn else Decision.SWITCH, "reach the end", "forward")


def test_a_well_formed_action_that_is_not_offered_is_sent_and_marked() -> None:
    env = Corridor()
    trajectory = play_one(say_in_turn(PLAN.format(Decision.SWITCH, "dance", "dance"), walk_text(1)), env=env)
    first, second, *_ = trajectory.turns
    assert env.log == ["dance", "forward", "forward"]
    assert (first.invalid, first.action) == (Invalid.NOT_ADMISSIBLE, "dance")
    assert (first.decision, first.subgoal) == (Decision.SWITCH, "dance")
    assert [kind for kind, _ in first.spans.items()] == [Kind.SUBGOAL, Kind.ACTION]
    assert (second.observation, second.subgoal) == ("Nothing happens.", "dance")


def test_without_a_list_of_commands_any_action_is_taken() -> None:
    env = info_only(Corridor(), {"won": False})
    trajectory = play_one(say_in_turn(PLAN.format(Decision.SWITCH, "dance", "dance")), env=env, turns=1)
    assert trajectory.turns[0].invalid is None
    assert trajectory.game == "corridor-2"  # what was asked for, where the environment does not say


def test_a_template_admits_what_fills_it() -> None:
    env = info_only(Corridor(), {"admissible_commands": ["search[<your query>]"], "goal": 17})
    say = say_in_turn(*(PLAN.format(Decision.SWITCH, "s", text) for text in ("search[mug]", "search[]")))
    trajectory = play_one(say, env=env, turns=2)
    assert [turn.invalid for turn in trajectory.turns] == [None, Invalid.NOT_ADMISSIBLE]
    assert trajectory.game == "17"


class Judging(Corridor):
    """Takes `Forward` too, though it does not list it; its judgement fails on `divide`."""

    def admits(self, action: str) -> bool:
        if action == "divide":
            raise OSError("the engine is gone")
        return action.lower() in {"forward", "back"}


@pytest.mark.parametrize("make_env", [Judging, lambda: OrderEnforcing(Judging())], ids=["bare", "wrapped"])
def test_the_environment_judges_actions_itself_where_it_can(make_env: Callable[[], Any]) -> None:
    actions = ("Forward", "wait", "dance", "divide")
    puppet = Puppet(say_in_turn(*(PLAN.format(Decision.SWITCH, "s", action) for action in actions)))
    layout = make_layout("transcript", PLAN, {"header": "none"})
    (trajectory,) = play(make_env, puppet, PLAN, layout, [corridor(2)], limits=Limits(turns=50), retries=1)
    assert [turn.invalid for turn in trajectory.turns] == [None, Invalid.NOT_ADMISSIBLE, Invalid.NOT_ADMISSIBLE]
    assert (trajectory.ending, trajectory.crashes) == (Ending.CRASHED, 2)  # as it cannot say of `divide`


@pytest.mark.parametrize(
    ("info", "ending", "score"),
    [
        ({"won": False, "task_score": 1.0}, Ending.FAILED, 1.0),
        ({"task_score": 1.0}, Ending.SUCCEEDED, 1.0),
        ({"task_score": 0.75}, Ending.FAILED, 0.75),
        ({}, Ending.SUCCEEDED, 1.0),  # by the reward of the last step
    ],
)
def test_success_is_what_the_environment_calls_it(info: dict[str, object], ending: Ending, score: float) -> None:
    trajectory = play_one(walk, env=info_only(Corridor(), info))
    assert (trajectory.ending, trajectory.score) == (ending, score)


def test_a_full_context_ends_the_episode_and_an_empty_turn_is_not_recorded() -> None:
    # 51 tokens of context and 80 of reply fill 131; the next context needs 10.
    trajectory = play_one(walk, window=135)
    assert (trajectory.ending, len(trajectory.turns)) == (Ending.TOKEN_LIMIT, 1)
    assert (trajectory.final_observation, trajectory.final_context) == ("Place 1.", "\nPlace 1.\n")


def test_a_reply_that_overflows_is_recorded_as_cut() -> None:
    env = Corridor()
    trajectory = play_one(walk, window=131 + 10 + 20, env=env)
    last = trajectory.turns[-1]
    assert (trajectory.ending, len(trajectory.turns)) == (Ending.TOKEN_LIMIT, 2)
    assert (last.reply, last.invalid) == ("<switch>KEEP</switch", Invalid.CUT_BY_LIMIT)
    assert env.log == ["forward"]
    assert trajectory.final_context == "\nInvalid reply: the reply was too long and was cut off.\n"


def test_nothing_is_asked_for_after_an_overflow() -> None:
    # Windowed prompts start anew, so the next one might well fit; the episode is over all the same.
    puppet = Puppet(say_in_turn(PLAN.format(Decision.SWITCH, "x" * 2000, "wait"), walk_text(0)))
    puppet.window = 1900
    (trajectory,) = play(Corridor, puppet, PLAN, make_layout("window", PLAN), [corridor(2)], limits=Limits())
    assert (trajectory.ending, len(trajectory.turns), len(puppet.requests)) == (Ending.TOKEN_LIMIT, 1, 1)


def test_a_prompt_that_does_not_fit_at_all_is_an_error() -> None:
    with pytest.raises(PlayError, match="'corridor-2': the first prompt is longer than the model's context"):
        play_one(walk, window=20)


def play_many(
    capacity: int, shuffle: int | None, *, layout: str = "transcript", seeds: int = 7
) -> tuple[list[Trajectory], Puppet]:
    puppet = Puppet(wander, capacity=capacity, shuffle=shuffle)
    tasks = [corridor(1 + seed % 4, seed) for seed in range(seeds)]
    played = play(Corridor, puppet, PLAN, make_layout(layout, PLAN), tasks, limits=Limits(turns=9))
    return played, puppet


@settings(deadline=None, max_examples=40)
@given(
    capacity=st.integers(1, 9),
    shuffle=st.integers(0, 10**6),
    layout=st.sampled_from(["transcript", "window"]),
)
def test_neither_capacity_nor_the_order_of_replies_changes_an_episode(capacity: int, shuffle: int, layout: str) -> None:
    alone, _ = play_many(1, None, layout=layout)
    together, puppet = play_many(capacity, shuffle, layout=layout)
    assert together == alone
    assert [trajectory.seed for trajectory in together] == list(range(7))
    assert sorted(puppet.closed) == sorted(index for index in puppet.closed if 0 <= index < capacity)
    assert len(puppet.closed) == 7


def test_the_wandering_runs_cover_the_ground() -> None:
    played, _ = play_many(4, 1, seeds=40)
    turns = [turn for trajectory in played for turn in trajectory.turns]
    assert {trajectory.ending for trajectory in played} == {
        Ending.SUCCEEDED,
        Ending.FAILED,
        Ending.TURN_LIMIT,
    }
    assert {turn.invalid for turn in turns} >= {None, Invalid.NOT_ADMISSIBLE, Invalid.NO_ACTION_TAG}


def test_environments_are_reused_and_no_more_are_made_than_there_are_tasks() -> None:
    made: list[Corridor] = []

    def make() -> Corridor:
        made.append(Corridor())
        return made[-1]

    layout = make_layout("transcript", PLAN)
    tasks = [corridor(2, seed) for seed in range(5)]
    play(make, Puppet(walk, capacity=2), PLAN, layout, tasks, limits=Limits())
    play(make, Puppet(walk, capacity=9), PLAN, layout, tasks[:1], limits=Limits())
    assert len(made) == 3
    assert all(env.is_closed for env in made)
    assert play(make, Puppet(walk), PLAN, layout, [], limits=Limits()) == []


def test_requests_carry_what_scripted_agents_need() -> None:
    puppet = Puppet(walk)
    (done,) = play(
        Corridor, puppet, PLAN, make_layout("window", PLAN), [Task(seed=3)], limits=Limits(), policy_version=5
    )
    first, second = puppet.requests
    assert (first.slot, first.seed, first.turn, first.stop) == (0, 3, 0, "</action>")
    assert (second.turn, second.observation) == (1, "Place 1.")
    assert second.admissible == ("forward", "back", "wait")
    assert second.info["expert_action"] == "forward"
    assert (done.policy_version, done.game) == (5, "corridor-2")


def test_replicas_are_one_world_and_agents_that_draw_anew() -> None:
    puppet = Puppet(walk, capacity=2)
    tasks = [Task(seed=3, options={"game": "corridor-1"}, replica=n) for n in range(2)]
    envs: list[Corridor] = []

    def make() -> Corridor:
        envs.append(Corridor())
        return envs[-1]

    play(make, puppet, PLAN, make_layout("transcript", PLAN), tasks, limits=Limits())
    assert [env.seed for env in envs] == [3, 3]
    assert sorted(request.seed for request in puppet.requests) == [3, 4]


def test_equal_situations_of_a_game_have_equal_names_and_others_have_not() -> None:
    actions = ["wait", "wait", "forward", "back", "forward"]
    replies = [PLAN.format(Decision.SWITCH, "about", action) for action in actions]
    puppet = Puppet(say_in_turn(*replies))
    (one,) = play(Corridor, puppet, PLAN, make_layout("transcript", PLAN), [corridor(9)], limits=Limits(turns=5))
    start, waited, again, gone, back = (turn.state for turn in one.turns)
    assert waited == again  # "Place 0." and the same commands
    assert back == waited  # reached on another way
    assert len({start, waited, gone}) == 3


def test_an_environment_may_name_its_situations_itself() -> None:
    class Named(Corridor):
        def situation(self) -> int | None:
            return self.place % 2 if self.length == 9 else None

    actions = ["wait", "forward", "hm", "hm", "forward", "forward"]
    say = say_in_turn(*(a if a == "hm" else PLAN.format(Decision.SWITCH, "about", a) for a in actions))
    (one,) = play(Named, Puppet(say), PLAN, make_layout("transcript", PLAN), [corridor(9)], limits=Limits(turns=6))
    start, waited, gone, once, twice, further = (turn.state for turn in one.turns)
    assert start == waited == further != gone  # places 0, 0 and 2
    assert len({gone, once, twice, start}) == 4  # the world stood still, but an episode ends after some such replies
    plain, named = (
        play(kind, Puppet(walk), PLAN, make_layout("transcript", PLAN), [corridor(2)], limits=Limits())[0]
        for kind in (Corridor, Named)
    )
    assert [turn.state for turn in plain.turns] == [turn.state for turn in named.turns]  # it has no name for these


def test_progress_is_told_once_per_episode() -> None:
    told: list[Trajectory] = []
    tasks = [corridor(length) for length in (3, 1, 2)]
    played = play(
        Corridor, Puppet(walk), PLAN, make_layout("window", PLAN), tasks, limits=Limits(), on_done=told.append
    )
    assert [trajectory.game for trajectory in told] == ["corridor-1", "corridor-2", "corridor-3"]
    assert [trajectory.game for trajectory in played] == ["corridor-3", "corridor-1", "corridor-2"]


def test_scripted_agents_play() -> None:
    tasks = [corridor(4, seed) for seed in range(20)]
    layout = make_layout("transcript", PLAN)
    expert = play(Corridor, ExpertSampler(PLAN), PLAN, layout, tasks, limits=Limits())
    assert all(trajectory.succeeded and len(trajectory.turns) == 4 for trajectory in expert)
    erring = play(Corridor, ExpertSampler(PLAN, mistake_rate=0.3), PLAN, layout, tasks, limits=Limits())
    mistakes = [turn for trajectory in erring for turn in trajectory.turns if turn.is_mistake]
    assert mistakes
    assert all(turn.action != "forward" for turn in mistakes)
    stray = play(Corridor, RandomSampler(ACT), ACT, make_layout("window", ACT), tasks, limits=Limits())
    assert all(turn.invalid is None for trajectory in stray for turn in trajectory.turns)


def test_a_sampler_that_breaks_its_word_is_an_error() -> None:
    class Silent(Puppet):
        def poll(self) -> list[object]:  # type: ignore[override]
            return []

    class Confused(Puppet):
        def poll(self) -> list[object]:  # type: ignore[override]
            return [self._sample(self.pending[0]), self._sample(self.pending[0])] if self.pending else []

    layout = make_layout("transcript", PLAN)
    with pytest.raises(PlayError, match="nothing for 1 episodes"):
        play(Corridor, Silent(walk), PLAN, layout, [corridor(2)], limits=Limits())
    with pytest.raises(PlayError, match="slot 0, which is not open"):
        play(Corridor, Confused(walk), PLAN, layout, [corridor(1)], limits=Limits())


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="turns must be at least 1, got 0"):
        Limits(turns=0)
