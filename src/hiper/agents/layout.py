"""Layouts: what a model reads before each reply.

A prompt is a trunk (role, format, task, what has happened), which stays or only grows, and behind it a tail
(present observation, present subgoal, admissible actions), which is new every turn. A `Layout` lives for one
episode.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hiper.agents.grammar import AgentError, Interface, Reply, unknown
from hiper.agents.sampler import Prompt
from hiper.records import Invalid

_ROLE = "You carry out a task in a text world, one action per reply, and read what each action brings about."
_TASK_MARK = "Your task is to:"
_NOTHING_NEW = "Nothing new."

_FEEDBACK = {
    Invalid.CUT_BY_LIMIT: "the reply was too long and was cut off",
    Invalid.NO_SWITCH_TAG: "no switch tag",
    Invalid.UNKNOWN_SWITCH_WORD: "the switch must be KEEP or SWITCH",
    Invalid.KEEP_WITHOUT_SUBGOAL: "there is no subgoal to keep yet",
    Invalid.NO_SUBGOAL_TAG: "SWITCH without a subgoal tag",
    Invalid.EMPTY_SUBGOAL: "the subgoal is empty",
    Invalid.KEEP_CHANGED_SUBGOAL: "KEEP with another subgoal than the present one",
    Invalid.NO_ACTION_TAG: "no action tag",
    Invalid.EMPTY_ACTION: "the action is empty",
    Invalid.TEXT_OUTSIDE_TAGS: "text outside the tags",
    Invalid.TEXT_AFTER_ACTION: "text after the action",
    Invalid.NOT_ADMISSIBLE: "this action is not possible now",
}


def feedback(invalid: Invalid) -> str:
    """What the model reads in place of an observation when its reply never reached the environment."""
    return f"Invalid reply: {_FEEDBACK[invalid]}."


def reaches_environment(reply: Reply) -> bool:
    """True where the environment is sent the action: always, unless the reply did not parse."""
    return reply.invalid in (None, Invalid.NOT_ADMISSIBLE)


class Layout(Protocol):
    """Makes the prompts of one episode. `turn` is the index of the turn that the prompt is for."""

    def start(self, observation: str, admissible: Sequence[str]) -> Prompt:
        """The prompt of turn 0; always fresh."""
        ...

    def after(self, reply_text: str, reply: Reply, observation: str, admissible: Sequence[str], turn: int) -> Prompt:
        """The prompt after a reply. If that never got to the environment, `observation` is `feedback`."""
        ...


def _header(interface: Interface) -> str:
    return f"{_ROLE}\n{interface.instructions}\n"


@dataclass(kw_only=True)
class Transcript:
    """Append-only: observation and reply after observation and reply. Admissible actions are not listed.

    Where an action was not possible and the environment only shows the same page again, a line that says so stands for
    it: it is shorter, and it tells the model what has happened. `header="none"` leaves out role and format, for models
    trained from scratch on this one format.

    `separator`: what parts of an observation are separated by. Then a part that stood in the observation before is not
    shown again, and of the others at most `longest_part` words (0: all). The first observation is always shown whole.
    """

    interface: Interface
    header: str = "full"
    separator: str = ""
    longest_part: int = 0
    _standing: str = ""

    def start(self, observation: str, admissible: Sequence[str]) -> Prompt:
        """Header and first observation."""
        header = _header(self.interface) if self.header == "full" else ""
        self._standing = observation
        return Prompt(text=f"{header}{observation}\n", fresh=True)

    def after(self, reply_text: str, reply: Reply, observation: str, admissible: Sequence[str], turn: int) -> Prompt:
        """The next observation, appended to the reply."""
        shown = observation
        if reply.invalid is Invalid.NOT_ADMISSIBLE and observation == self._standing:
            shown = min(observation, feedback(reply.invalid), key=len)
        elif reaches_environment(reply):
            shown = self._what_is_new(observation)
        if reaches_environment(reply):
            self._standing = observation
        return Prompt(text=f"\n{shown}\n", fresh=False)

    def _what_is_new(self, observation: str) -> str:
        if not self.separator:
            return observation
        before = set(self._standing.split(self.separator))
        parts = [part for part in observation.split(self.separator) if part not in before]
        return self.separator.join(map(self._cut, parts)) or _NOTHING_NEW

    def _cut(self, part: str) -> str:
        words = part.split(" ")
        return " ".join([*words[: self.longest_part], "..."]) if 0 < self.longest_part < len(words) else part


@dataclass(kw_only=True)
class Window:
    """Every prompt starts anew: the last `n_turns` turns, the present observation and what can be done.

    After a reply that never reached the environment, the observation before it still stands and is shown
    again.
    """

    interface: Interface
    n_turns: int = 2
    _task: str = ""
    _standing: str = ""
    _past: list[tuple[str, str]] = field(default_factory=list)

    def start(self, observation: str, admissible: Sequence[str]) -> Prompt:
        """The prompt of turn 0."""
        mark = observation.find(_TASK_MARK)
        self._task = observation[max(mark, 0) :].strip()
        self._standing = observation
        return self._prompt(observation, "", admissible, turn=0)

    def after(self, reply_text: str, reply: Reply, observation: str, admissible: Sequence[str], turn: int) -> Prompt:
        """The prompt of a later turn."""
        sent = reaches_environment(reply)
        self._past.append((self._standing, reply.action if sent else "none (invalid reply)"))
        self._standing = observation if sent else self._standing
        present = observation if sent else f"{self._standing}\n{observation}"
        return self._prompt(present, reply.subgoal, admissible, turn=turn)

    def _prompt(self, present: str, subgoal: str, admissible: Sequence[str], *, turn: int) -> Prompt:
        parts = [_header(self.interface), f"Task:\n{self._task}\n\n", f"Turns taken so far: {turn}\n"]
        parts += [self._turn_text(index) for index in range(max(0, turn - self.n_turns), turn)]
        parts.append(f"\nPresent observation:\n{present}\n")
        if self.interface.plans:
            parts.append(f"Present subgoal: {subgoal or 'None'}\n")
        if admissible:
            parts.append("Admissible actions:\n" + "".join(f"- {action}\n" for action in admissible))
        parts.append("Reply in the form given above.\n")
        return Prompt(text="".join(parts), fresh=True)

    def _turn_text(self, index: int) -> str:
        observation, action = self._past[index]
        return f"\nObservation of turn {index + 1}:\n{observation}\nAction of turn {index + 1}: {action}\n"


def make_layout(name: str, interface: Interface, options: Mapping[str, object] | None = None) -> Callable[[], Layout]:
    """A maker of layouts, one an episode: "window" (option `n_turns`) or "transcript" (options `header`, `separator`,
    `longest_part`)."""
    makers = {"window": _window, "transcript": _transcript}
    if name not in makers:
        raise AgentError(unknown("layout", name, makers))
    return makers[name](interface, dict(options or {}))


def _window(interface: Interface, options: dict[str, object]) -> Callable[[], Layout]:
    n_turns = _count("window", "n_turns", options.pop("n_turns", 2))
    _refuse_rest("window", options, ["n_turns"])
    return lambda: Window(interface=interface, n_turns=n_turns)


def _transcript(interface: Interface, options: dict[str, object]) -> Callable[[], Layout]:
    header = options.pop("header", "full")
    separator = options.pop("separator", "")
    longest = _count("transcript", "longest_part", options.pop("longest_part", 0))
    _refuse_rest("transcript", options, ["header", "separator", "longest_part"])
    if header not in ("full", "none"):
        raise AgentError(f"layout transcript: header must be 'full' or 'none', got {header!r}")
    if not isinstance(separator, str):
        raise AgentError(f"layout transcript: separator must be text, got {separator!r}")
    if longest and not separator:
        raise AgentError("layout transcript: longest_part needs a separator: without it an observation has no parts")
    return lambda: Transcript(interface=interface, header=str(header), separator=separator, longest_part=longest)


def _count(layout: str, name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise AgentError(f"layout {layout}: {name} must be a whole number of at least 0, got {value!r}")
    return value


def _refuse_rest(layout: str, options: Mapping[str, object], known: Sequence[str]) -> None:
    for name in options:
        raise AgentError(unknown(f"option of layout {layout}", name, known))
