"""Turns that an expert and a learner take together."""

from dataclasses import replace

import pytest

from hiper.agents import INTERFACES, AgentError, ExpertSampler, Prompt, Request, Sample, SharedTurns
from tests.agents.test_scripted import ADVICE, PLAN, request

KEEPS = "<switch>KEEP</switch><action>look</action>"
PLANS = "<switch>SWITCH</switch><subgoal>find desk</subgoal><action>look</action>"


class Learner:
    """Says the same at every turn, and remembers what it was told."""

    capacity = 3

    def __init__(self, text: str) -> None:
        self.text = text
        self.read_texts: list[tuple[int, str]] = []
        self.closed: list[int] = []
        self._asked: list[int] = []

    def submit(self, request: Request) -> None:
        self._asked.append(request.slot)

    def read(self, request: Request, reply: str) -> None:
        self.read_texts.append((request.turn, reply))

    def poll(self) -> list[Sample]:
        slots, self._asked = self._asked, []
        return [
            Sample(
                slot=slot, text=self.text, context_ids=(), reply_ids=(), reply_logprobs=(), reply_bytes=(), cut=False
            )
            for slot in slots
        ]

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return (len(prompt.text),)

    def close(self, slot: int) -> None:
        self.closed.append(slot)


def turns(share: float, text: str, count: int = 40) -> tuple[Learner, list[Sample]]:
    learner = Learner(text)
    both = SharedTurns(ExpertSampler(PLAN), learner, share)
    said = []
    for turn in range(count):
        both.submit(request(turn=turn))
        said += both.poll()
    return learner, said


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_learner_takes_its_share_and_is_not_imitated(share: float) -> None:
    learner, said = turns(share, KEEPS, 400)
    own = [one for one in said if one.is_mistake]
    assert len(own) / len(said) == pytest.approx(share, abs=0.1)
    assert all(one.text == KEEPS for one in own)
    assert [text for _, text in learner.read_texts] == [one.text for one in said if not one.is_mistake]


def test_the_same_seed_gives_the_same_turns() -> None:
    assert [one.is_mistake for one in turns(0.5, KEEPS)[1]] == [one.is_mistake for one in turns(0.5, KEEPS)[1]]


def test_the_expert_knows_which_subgoal_the_learner_left_in_force() -> None:
    """It advises KEEP under "find mug": where the learner has switched to another, that is a SWITCH."""
    keeps = ADVICE | {"expert_decision": "KEEP"}
    for text, wanted in ((KEEPS, "KEEP"), (PLANS, "SWITCH"), ("nonsense", "KEEP")):
        expert = ExpertSampler(PLAN)
        expert.submit(request(turn=0))
        expert.poll()
        both = SharedTurns(expert, Learner(text), 1.0)
        both.submit(request(turn=1))
        both.poll()
        expert.submit(request(turn=2, info=keeps))
        assert expert.poll()[0].text.startswith(f"<switch>{wanted}</switch>"), text


def test_the_first_turn_may_be_the_learners() -> None:
    expert = ExpertSampler(PLAN)
    both = SharedTurns(expert, Learner(PLANS), 1.0)
    both.submit(request(turn=0))
    both.poll()
    expert.submit(request(turn=1, info=ADVICE | {"expert_decision": "KEEP", "expert_subgoal": "find desk"}))
    assert expert.poll()[0].text.startswith("<switch>KEEP</switch>")


def test_both_are_told_of_the_end_and_the_smaller_capacity_counts() -> None:
    learner = Learner(KEEPS)
    both = SharedTurns(ExpertSampler(PLAN, capacity=8), learner, 0.5)
    assert both.capacity == 3
    both.close(2)
    assert learner.closed == [2]
    assert both.context_ids(Prompt(text="four", fresh=True)) == (4,)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(AgentError, match=r"share must lie in \[0, 1\], got 1.5"):
        SharedTurns(ExpertSampler(PLAN), Learner(KEEPS), 1.5)


def test_what_the_learner_cut_short_changes_no_subgoal() -> None:
    expert = ExpertSampler(INTERFACES["plan_execute"])
    expert.submit(request(turn=0))
    (first,) = expert.poll()
    expert.follow(request(turn=1), replace(first, text=PLANS[:30], cut=True))
    expert.submit(request(turn=2, info=ADVICE | {"expert_decision": "KEEP"}))
    assert expert.poll()[0].text.startswith("<switch>KEEP</switch>")
