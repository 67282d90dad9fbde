"""Agents without a model."""

from collections import Counter

import pytest

from hiper.agents import INTERFACES, AgentError, ExpertSampler, Prompt, RandomSampler, Request, admits
from hiper.records import Decision

PLAN = INTERFACES["plan_execute"]
OFFERED = ("look", "go to desk 1", "go to desk 2", "take mug 1 from desk 1")
ADVICE: dict[str, object] = {
    "expert_decision": "SWITCH",
    "expert_subgoal": "find mug",
    "expert_action": "go to desk 1",
}


def request(
    *, slot: int = 0, seed: int = 0, turn: int = 0, info: dict[str, object] | None = None, **changes: object
) -> Request:
    advice = ADVICE if info is None else info
    admissible = changes.get("admissible", OFFERED)
    assert isinstance(admissible, tuple)
    return Request(
        slot=slot,
        prompt=Prompt(text="", fresh=True),
        seed=seed,
        turn=turn,
        stop=PLAN.stop,
        observation="red mugs",
        admissible=admissible,
        info=advice,
    )


def answer(sampler: ExpertSampler | RandomSampler, asked: Request) -> tuple[str, bool]:
    sampler.submit(asked)
    (sample,) = sampler.poll()
    assert sample.slot == asked.slot
    assert (sample.reply_ids, sample.reply_bytes, sample.cut, sample.overflow) == ((), (), False, False)
    return sample.text, sample.is_mistake


def test_the_expert_passes_advice_on() -> None:
    expert = ExpertSampler(PLAN)
    assert answer(expert, request()) == (PLAN.format(Decision.SWITCH, "find mug", "go to desk 1"), False)
    keep = ADVICE | {"expert_decision": Decision.KEEP, "expert_action": "look"}
    assert answer(expert, request(turn=1, info=keep)) == (PLAN.format(Decision.KEEP, "", "look"), False)
    assert expert.poll() == []
    assert expert.context_ids(Prompt(text="x", fresh=True)) == ()


def test_the_expert_switches_where_another_subgoal_is_in_force() -> None:
    expert = ExpertSampler(PLAN)
    keep = ADVICE | {"expert_decision": "KEEP"}
    answer(expert, request(turn=0))
    other = keep | {"expert_subgoal": "find desk"}
    assert answer(expert, request(turn=1, info=other))[0].startswith("<switch>SWITCH</switch><subgoal>find desk<")
    # A new episode in the same slot, or a slot that was closed, starts with no subgoal.
    assert answer(expert, request(turn=0, info=other))[0].startswith("<switch>SWITCH")
    expert.close(0)
    assert answer(expert, request(turn=1, info=other))[0].startswith("<switch>SWITCH")


def test_slots_do_not_mix() -> None:
    expert = ExpertSampler(PLAN)
    keep = ADVICE | {"expert_decision": "KEEP"}
    answer(expert, request(slot=0))
    answer(expert, request(slot=1, info=ADVICE | {"expert_subgoal": "find desk"}))
    assert answer(expert, request(slot=0, turn=1, info=keep))[0].startswith("<switch>KEEP")


def test_mistakes_are_marked_wrong_and_of_both_sorts() -> None:
    expert = ExpertSampler(PLAN, mistake_rate=1.0)
    seen: Counter[bool] = Counter()
    for seed in range(400):
        text, is_mistake = answer(expert, request(seed=seed))
        reply = PLAN.parse(text, subgoal="", cut=False)
        assert is_mistake
        assert reply.invalid is None
        assert reply.action != "go to desk 1"
        seen[admits(OFFERED, reply.action)] += 1
        if not admits(OFFERED, reply.action):
            assert reply.action.startswith("go to desk ")
    # One in four names an instance that is not there: 100 expected of 400, deviation 8.7.
    assert 65 <= seen[False] <= 135


def test_a_mistake_stays_under_the_subgoal_in_force() -> None:
    expert = ExpertSampler(PLAN, mistake_rate=1.0)
    first, _ = answer(expert, request(turn=0))
    assert first.startswith("<switch>SWITCH</switch><subgoal>find mug</subgoal>")
    second, _ = answer(expert, request(turn=1, info=ADVICE | {"expert_subgoal": "find desk"}))
    assert second.startswith("<switch>KEEP</switch>")


def test_mistakes_depend_on_seed_and_turn_alone() -> None:
    def mistakes(slots: list[int]) -> dict[tuple[int, int], str]:
        expert = ExpertSampler(PLAN, mistake_rate=0.5)
        turns = [(slot, turn) for turn in range(6) for slot in slots]
        return {(slot, turn): answer(expert, request(slot=slot, seed=slot, turn=turn))[0] for slot, turn in turns}

    assert mistakes([0, 1, 2]) == mistakes([2, 0, 1])


def test_an_expert_with_no_other_action_makes_no_mistake() -> None:
    info = ADVICE | {"expert_action": "look"}
    text, is_mistake = answer(ExpertSampler(PLAN, mistake_rate=1.0), request(info=info, admissible=("look",)))
    assert (text.endswith("<action>look</action>"), is_mistake) == (True, False)


def test_the_expert_says_what_it_lacks() -> None:
    with pytest.raises(AgentError, match="expert=True"):
        ExpertSampler(PLAN).submit(request(info={}))
    with pytest.raises(AgentError, match="mistake_rate"):
        ExpertSampler(PLAN, mistake_rate=1.5)


def test_random_actions_are_uniform_and_admissible() -> None:
    agent = RandomSampler(PLAN)
    actions = Counter(
        PLAN.parse(answer(agent, request(seed=seed))[0], subgoal="", cut=False).action for seed in range(800)
    )
    assert set(actions) == set(OFFERED)
    assert min(actions.values()) > 150  # 200 expected of each, deviation 12
    with pytest.raises(AgentError, match="admissible"):
        agent.submit(request(admissible=()))


def test_random_queries_are_made_of_words_it_has_read() -> None:
    offered = ("search[<your query>]",)
    text, _ = answer(RandomSampler(INTERFACES["act"]), request(admissible=offered))
    action = INTERFACES["act"].parse(text, subgoal="", cut=False).action
    assert admits(offered, action)
    assert set(action.removeprefix("search[").removesuffix("]").split()) <= {"red", "mugs"}
