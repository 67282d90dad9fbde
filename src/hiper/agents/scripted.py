"""Samplers without a model: an expert that follows the environment's advice, alone or in turn with a learner, and one
that acts at random."""

import random
import re
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Protocol

from hiper.agents.grammar import AgentError, Interface, admits, template_verb
from hiper.agents.sampler import Prompt, Request, Sample, Sampler
from hiper.records import Decision

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+")
_WRONG_INSTANCE_RATE = 0.25
_MAX_INSTANCE = 20


class _Scripted(ABC):
    """Answers each request at the next poll. Remembers the subgoal in force of each open episode."""

    def __init__(self, interface: Interface, *, capacity: int = 64) -> None:
        self.capacity = capacity
        self.interface = interface
        self._subgoals: dict[int, str] = {}
        self._answers: list[Sample] = []

    @abstractmethod
    def _reply(self, request: Request, in_force: str, rng: random.Random) -> tuple[Decision, str, str, bool]:
        """Decision, subgoal after it, action, and whether it is a mistake."""

    def submit(self, request: Request) -> None:
        """Write the reply now; `poll` hands it out."""
        in_force = self._in_force(request)
        rng = random.Random(f"{request.seed}/{request.turn}")
        decision, subgoal, action, is_mistake = self._reply(request, in_force, rng)
        self._subgoals[request.slot] = subgoal
        text = self.interface.format(decision, subgoal, action)
        self._answers.append(Sample(slot=request.slot, text=text, is_mistake=is_mistake))

    def follow(self, request: Request, sample: Sample) -> None:
        """Somebody else has replied to the request: keep in mind which subgoal is in force now."""
        cut = sample.cut or sample.overflow
        reply = self.interface.parse(sample.text, subgoal=self._in_force(request), cut=cut)
        self._subgoals[request.slot] = reply.subgoal

    def _in_force(self, request: Request) -> str:
        return "" if request.turn == 0 else self._subgoals.get(request.slot, "")

    def poll(self) -> list[Sample]:
        """All replies not handed out yet."""
        answers, self._answers = self._answers, []
        return answers

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """No tokens: scripted agents do not read."""
        return ()

    def close(self, slot: int) -> None:
        """Forget the subgoal of that episode."""
        self._subgoals.pop(slot, None)


class ExpertSampler(_Scripted):
    """Does what the environment's own expert says, except for a share of deliberate mistakes.

    A mistake is another admissible action or, one time in four, the right action on an instance that is not
    there. It is made under the subgoal in force, and `is_mistake` marks it, so that imitation can learn the
    recovery alone.
    """

    def __init__(self, interface: Interface, mistake_rate: float = 0.0, *, capacity: int = 64) -> None:
        if not 0.0 <= mistake_rate <= 1.0:
            raise AgentError(f"mistake_rate must lie in [0, 1], got {mistake_rate}")
        super().__init__(interface, capacity=capacity)
        self.mistake_rate = mistake_rate

    def _reply(self, request: Request, in_force: str, rng: random.Random) -> tuple[Decision, str, str, bool]:
        subgoal, action = _advice(request, "expert_subgoal"), _advice(request, "expert_action")
        if rng.random() < self.mistake_rate:
            wrong = _mistake(action, request.admissible, rng)
            if wrong is not None:
                decision = Decision.KEEP if in_force else Decision.SWITCH
                return decision, in_force or subgoal, wrong, True
        # After a mistake made where the expert would have switched, its subgoal is not yet the one in force.
        says_switch = _advice(request, "expert_decision") == Decision.SWITCH
        decision = Decision.SWITCH if says_switch or subgoal != in_force else Decision.KEEP
        return decision, subgoal, action, False


class Reader(Sampler, Protocol):
    """A sampler that can be told what somebody else replied."""

    def read(self, request: Request, reply: str) -> None: ...


class SharedTurns:
    """Episodes that an expert and a learner play together: each turn is the learner's with probability `share`.

    So the expert shows what to do where the learner's own replies lead (DAgger, Ross et al. 2011). Those are marked as
    mistakes, whatever they are: not to be imitated.
    """

    def __init__(self, expert: ExpertSampler, learner: Reader, share: float) -> None:
        if not 0.0 <= share <= 1.0:
            raise AgentError(f"share must lie in [0, 1], got {share}")
        self.expert, self.learner, self.share = expert, learner, share
        self.capacity = min(expert.capacity, learner.capacity)
        self._asked: dict[int, Request] = {}

    def submit(self, request: Request) -> None:
        """Ask the one whose turn it is."""
        self._asked[request.slot] = request
        is_own = random.Random(f"{request.seed}/{request.turn}/own").random() < self.share
        (self.learner if is_own else self.expert).submit(request)

    def poll(self) -> list[Sample]:
        """The expert's replies or, where there are none, the next of the learner's."""
        shown = self.expert.poll()
        for one in shown:
            self.learner.read(self._asked[one.slot], one.text)
        if shown:
            return shown
        tried = self.learner.poll()
        for one in tried:
            self.expert.follow(self._asked[one.slot], one)
        return [replace(one, is_mistake=True) for one in tried]

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """As the learner reads it."""
        return self.learner.context_ids(prompt)

    def close(self, slot: int) -> None:
        """The episode is over for both."""
        self.expert.close(slot)
        self.learner.close(slot)


def _advice(request: Request, key: str) -> str:
    if key not in request.info:
        raise AgentError(f"the expert needs info[{key!r}]; make the environment with expert=True")
    return str(request.info[key])


def _mistake(action: str, admissible: tuple[str, ...], rng: random.Random) -> str | None:
    """A wrong action; None where there is no other to take."""
    if rng.random() < _WRONG_INSTANCE_RATE:
        wrong = _wrong_instance(action, admissible, rng)
        if wrong is not None:
            return wrong
    others = [other for other in admissible if other != action and template_verb(other) is None]
    return rng.choice(others) if others else None


def _wrong_instance(action: str, admissible: tuple[str, ...], rng: random.Random) -> str | None:
    """The action with the last number in it changed to one that the environment does not offer."""
    numbers = list(_NUMBER.finditer(action))
    if not numbers:
        return None
    head, tail = action[: numbers[-1].start()], action[numbers[-1].end() :]
    candidates = (f"{head}{number}{tail}" for number in range(1, _MAX_INSTANCE + 1))
    wrong = [other for other in candidates if other != action and not admits(admissible, other)]
    return rng.choice(wrong) if wrong else None


class RandomSampler(_Scripted):
    """Takes an admissible action, uniformly; `search[<your query>]` is filled with words it has read."""

    def _reply(self, request: Request, in_force: str, rng: random.Random) -> tuple[Decision, str, str, bool]:
        if not request.admissible:
            raise AgentError("the random agent needs a list of admissible actions from the environment")
        action = rng.choice(request.admissible)
        verb = template_verb(action)
        if verb is not None:
            words = _WORD.findall(request.observation) or ["anything"]
            action = f"{verb}{' '.join(rng.choices(words, k=3))}]"
        return (Decision.KEEP if in_force else Decision.SWITCH), in_force or "look around", action, False
