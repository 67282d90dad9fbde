"""The grammar of replies: how a decision is written, how a reply is read, and which bytes decide what.

This is the only place that knows it. Blocks are `<tag>content</tag>`; a content never contains a tag of its
own interface, so a forgotten closing tag cannot swallow the next block. Nothing is repaired: a reply that
does not parse says why. Where a switch or a subgoal cannot be read, the rest of the reply belongs to it; stray text
belongs to the decision that it stands in or before.
"""

import codecs
import difflib
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

from hiper.records import Decision, Invalid, Kind, Span, Spans


class AgentError(ValueError):
    """A name or an option of an agent that does not exist; the message names the nearest that does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a reply says. `subgoal` is the one in force after it; `bytes` are ranges of the UTF-8 text.

    Worked example, `<switch>KEEP</switch><action>look</action>` under "find mug": `Reply(decision=KEEP,
    subgoal="find mug", action="look", invalid=None, bytes={SWITCH: [0, 21), ACTION: [21, 42)})`.
    """

    decision: Decision
    subgoal: str
    action: str
    invalid: Invalid | None
    bytes: Mapping[Kind, Span]


class Interface(Protocol):
    """How a model is asked and how its reply is read. `plans`: its replies carry subgoals."""

    @property
    def name(self) -> str: ...
    @property
    def stop(self) -> str: ...
    @property
    def instructions(self) -> str: ...
    @property
    def plans(self) -> bool: ...

    def format(self, decision: Decision, subgoal: str, action: str) -> str:
        """The canonical reply; `parse` reads it back."""
        ...

    def forced(self, subgoal: str) -> tuple[str, str] | None:
        """(trigger, text): a reply that begins with the trigger goes on with the text, whatever the model thinks."""
        ...

    def parse(self, reply: str, *, subgoal: str, cut: bool) -> Reply:
        """Read a reply given under `subgoal` ("": none yet). Never raises; knows nothing of admissibility.

        `cut`: the reply ran into its length limit. If the stop text got in, it is complete all the same.
        """
        ...


class _Refused(Exception):
    """Parsing stopped, for this reason."""

    def __init__(self, reason: Invalid) -> None:
        super().__init__(reason)
        self.reason = reason


class _Block(NamedTuple):
    """A `<name>content</name>`: text[start:stop]."""

    name: str
    start: int
    stop: int
    content: str


def _blocks(text: str, names: Sequence[str]) -> list[_Block]:
    """All blocks in order: an opening tag directly followed, tag-wise, by its own closing tag."""
    tags = re.finditer(f"<(/?)({'|'.join(names)})>", text)
    return [
        _Block(
            name=opening[2],
            start=opening.start(),
            stop=closing.end(),
            content=text[opening.end() : closing.start()].strip(),
        )
        for opening, closing in pairwise(tags)
        if not opening[1] and closing[1] and opening[2] == closing[2]
    ]


def _first(blocks: Iterable[_Block], name: str, *, start: int = 0, stop: int | None = None) -> _Block | None:
    """The first block of that name that lies within [start, stop)."""
    for block in blocks:
        if block.name == name and block.start >= start and (stop is None or block.stop <= stop):
            return block
    return None


def _checked_action(action: _Block | None) -> _Block:
    if action is None:
        raise _Refused(Invalid.NO_ACTION_TAG)
    if not action.content:
        raise _Refused(Invalid.EMPTY_ACTION)
    return action


def _check_outside(text: str, blocks: Iterable[_Block]) -> None:
    """Only white space may stand around and between the blocks, of which the last is the action."""
    position = 0
    for block in blocks:
        if text[position : block.start].strip():
            raise _Refused(Invalid.TEXT_OUTSIDE_TAGS)
        position = block.stop
    if text[position:].strip():
        raise _Refused(Invalid.TEXT_AFTER_ACTION)


def _byte_length(text: str) -> int:
    # Lone surrogates cannot come from decoded bytes, but a text typed into a test must not raise either.
    return len(text.encode("utf-8", errors="surrogatepass"))


_PLAN_INSTRUCTIONS = """\
You work under a subgoal: a short phrase for what to reach within the next few actions. It is smaller than \
the task and larger than a single action. Reply in exactly one of these two forms and add nothing else.
To choose a new subgoal, because there is none yet, the present one is reached, or it has turned out badly:
<switch>SWITCH</switch><subgoal>new subgoal</subgoal><action>next action</action>
To go on with the present subgoal:
<switch>KEEP</switch><action>next action</action>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanExecute:
    """KEEP or SWITCH the subgoal, name it at a SWITCH, then act.

    A KEEP reply may repeat the subgoal in force, as part of its action. With `copies` the repetition is part of every
    KEEP reply (the published format), so that the model always has its subgoal before its eyes when it acts; it is put
    there by code (`forced`), so that it is no decision.
    """

    name: str = "plan_execute"
    stop: str = "</action>"
    instructions: str = field(default=_PLAN_INSTRUCTIONS, repr=False)
    plans: bool = True
    copies: bool = False

    def format(self, decision: Decision, subgoal: str, action: str) -> str:
        """The canonical reply; at KEEP the subgoal is repeated only where the interface copies it."""
        plan = f"<subgoal>{subgoal}</subgoal>" if decision is Decision.SWITCH or self.copies else ""
        return f"<switch>{decision.value}</switch>{plan}<action>{action}</action>"

    def forced(self, subgoal: str) -> tuple[str, str] | None:
        """Where the interface copies: after KEEP, the copy is written by code and not left to the model."""
        if not self.copies or not subgoal:
            return None
        return f"<switch>{Decision.KEEP.value}</switch>", f"<subgoal>{subgoal}</subgoal>"

    def parse(self, reply: str, *, subgoal: str, cut: bool) -> Reply:
        """Read a reply; the first reason that applies, in the order of `Invalid`, makes it invalid."""
        blocks = _blocks(reply, ("switch", "subgoal", "action"))
        spans = _plan_spans(reply, blocks, subgoal)
        try:
            decision, new, action = self._parse(reply, blocks, subgoal, cut)
        except _Refused as refused:
            return Reply(decision=Decision.KEEP, subgoal=subgoal, action="", invalid=refused.reason, bytes=spans)
        return Reply(decision=decision, subgoal=new, action=action, invalid=None, bytes=spans)

    def _parse(self, text: str, blocks: Sequence[_Block], in_force: str, cut: bool) -> tuple[Decision, str, str]:
        if cut and self.stop not in text:
            raise _Refused(Invalid.CUT_BY_LIMIT)
        decision, switch = _switch(blocks, in_force)
        action, plan = _after_switch(blocks, switch)
        subgoal = _subgoal(decision, plan, in_force)
        action = _checked_action(action)
        _check_outside(text, [switch, plan, action] if plan else [switch, action])
        return decision, subgoal, action.content


def _switch(blocks: Iterable[_Block], in_force: str) -> tuple[Decision, _Block]:
    block = _first(blocks, "switch")
    if block is None:
        raise _Refused(Invalid.NO_SWITCH_TAG)
    if block.content not in Decision.__members__:
        raise _Refused(Invalid.UNKNOWN_SWITCH_WORD)
    decision = Decision[block.content]
    if decision is Decision.KEEP and not in_force:
        raise _Refused(Invalid.KEEP_WITHOUT_SUBGOAL)
    return decision, block


def _subgoal(decision: Decision, plan: _Block | None, in_force: str) -> str:
    """The subgoal in force after the decision."""
    if plan is None:
        if decision is Decision.SWITCH:
            raise _Refused(Invalid.NO_SUBGOAL_TAG)
        return in_force
    if not plan.content:
        raise _Refused(Invalid.EMPTY_SUBGOAL)
    if decision is Decision.SWITCH:
        return plan.content
    if plan.content != in_force.strip():
        raise _Refused(Invalid.KEEP_CHANGED_SUBGOAL)
    return in_force


def _after_switch(blocks: Sequence[_Block], switch: _Block) -> tuple[_Block | None, _Block | None]:
    """The action, and the subgoal before it."""
    action = _first(blocks, "action", start=switch.stop)
    return action, _first(blocks, "subgoal", start=switch.stop, stop=action.start if action else None)


def written_subgoal(reply: str) -> str | None:
    """The subgoal that a SWITCH was followed by, however the reply went on; None where there was none."""
    blocks = _blocks(reply, ("switch", "subgoal", "action"))
    switch = _first(blocks, "switch")
    plan = _after_switch(blocks, switch)[1] if switch else None
    return (plan.content or None) if plan else None


def _plan_spans(text: str, blocks: Sequence[_Block], in_force: str) -> dict[Kind, Span]:
    """Which bytes decide what.

    A decision ends where its block does; after a switch or a subgoal that cannot be read none begins.

    What a byte belongs to depends on the bytes before it alone, never on how the reply goes on: the value that stands
    against a decision must not know whether the reply will be readable.
    """

    def place(position: int) -> int:
        return _byte_length(text[:position])

    end = len(text)
    first = Kind.SWITCH if in_force else Kind.SUBGOAL  # with nothing to keep, SWITCH is part of writing a subgoal
    try:
        decision, switch = _switch(blocks, in_force)
    except _Refused:
        return {first: Span(start=0, stop=place(end))}
    start, spans = switch.stop, {first: Span(start=0, stop=place(switch.stop))}
    if decision is Decision.SWITCH:
        _, plan = _after_switch(blocks, switch)
        is_written = plan is not None and plan.content
        stop = plan.stop if plan is not None and is_written else end
        spans[Kind.SUBGOAL] = Span(start=place(start) if in_force else 0, stop=place(stop))
        if not is_written:
            return spans
        start = stop
    spans[Kind.ACTION] = Span(start=place(start), stop=place(end))
    return spans


_REACT_INSTRUCTIONS = """\
Reason briefly about what to do next, then name one action. Reply in exactly this form and add nothing else:
<think>your reasoning</think><action>next action</action>
"""

_ACT_INSTRUCTIONS = """\
Name the next action. Reply in exactly this form and add nothing else:
<action>next action</action>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """No plan: an action, after some thinking where `thinks`. The whole reply is one action span.

    The thinking may be left out; it is read by nobody. An expert's subgoal is written as its thought.
    """

    name: str
    thinks: bool
    instructions: str = field(repr=False)
    stop: str = "</action>"
    plans: bool = False

    def forced(self, subgoal: str) -> tuple[str, str] | None:
        """Nothing: there is no subgoal."""
        return None

    def format(self, decision: Decision, subgoal: str, action: str) -> str:
        """The canonical reply; the decision has no place in it."""
        thought = f"<think>{subgoal}</think>" if self.thinks else ""
        return f"{thought}<action>{action}</action>"

    def parse(self, reply: str, *, subgoal: str, cut: bool) -> Reply:
        """Read a reply: KEEP always, and never a subgoal."""
        try:
            action = self._action(reply, cut)
            invalid = None
        except _Refused as refused:
            action, invalid = "", refused.reason
        whole = {Kind.ACTION: Span(start=0, stop=_byte_length(reply))}
        return Reply(decision=Decision.KEEP, subgoal="", action=action, invalid=invalid, bytes=whole)

    def _action(self, text: str, cut: bool) -> str:
        if cut and self.stop not in text:
            raise _Refused(Invalid.CUT_BY_LIMIT)
        blocks = _blocks(text, ("think", "action") if self.thinks else ("action",))
        action = _checked_action(_first(blocks, "action"))
        thought = _first(blocks, "think", stop=action.start)
        _check_outside(text, [thought, action] if thought else [action])
        return action.content


INTERFACES: Mapping[str, Interface] = {
    "plan_execute": PlanExecute(),
    "plan_execute_copy": PlanExecute(name="plan_execute_copy", copies=True),
    "react": Flat(name="react", thinks=True, instructions=_REACT_INSTRUCTIONS),
    "act": Flat(name="act", thinks=False, instructions=_ACT_INSTRUCTIONS),
}


def interface(name: str) -> Interface:
    """The interface of that name."""
    if name not in INTERFACES:
        raise AgentError(unknown("interface", name, INTERFACES))
    return INTERFACES[name]


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """A message for a name that does not exist: the nearest, and all that do."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {what} {name!r}{hint} (known: {', '.join(sorted(known))})"


def token_spans(reply: Reply, reply_bytes: Sequence[bytes], forced: tuple[int, int] = (0, 0)) -> Spans:
    """The byte ranges of a reply as ranges of its tokens, given the bytes of each.

    A token belongs to the range in which its first byte lies; tokens of no bytes at the end (an end of text)
    belong to the last range. A range in which no token begins is left out. The tokens `forced` were written by code:
    they have no part in the range that begins with them.
    """
    starts = _text_offsets(reply_bytes)
    ranges = sorted(reply.bytes.items(), key=lambda item: item[1].start)
    spans: dict[str, Span] = {}
    for kind, span in ranges:
        is_last = kind is ranges[-1][0]
        start = bisect_left(starts, span.start)
        stop = len(starts) if is_last else bisect_left(starts, span.stop)
        if start <= forced[0] < stop:
            start = max(start, forced[1])
        if start < stop:
            spans[kind.value] = Span(start=start, stop=stop)
    return Spans(**spans)


def _text_offsets(reply_bytes: Sequence[bytes]) -> list[int]:
    """Where each token begins in the bytes of the *decoded* text; within a character: where that begins.

    The two differ where the bytes are not valid UTF-8: every replaced sequence becomes three bytes of text.
    Parts of a reply end with tags: no border lies within a character. A token that ends within the first character of
    a part belongs to that part.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    offsets: list[int] = []
    emitted = 0
    for piece in reply_bytes:
        offsets.append(emitted)
        emitted += len(decoder.decode(piece).encode("utf-8"))
    return offsets


_TEMPLATE = re.compile(r"(?P<verb>\w+\[)<[^<>\[\]]*>\]")


def template_verb(command: str) -> str | None:
    """`"search["` for a command that stands for many, `"search[<your query>]"`; None for plain commands."""
    match = _TEMPLATE.fullmatch(command)
    return match["verb"] if match else None


def admits(admissible: Collection[str], action: str) -> bool:
    """True where the action is one of the admissible commands, or fills one of their templates."""
    if action in admissible:
        return True
    verbs = (verb for verb in map(template_verb, admissible) if verb is not None)
    return any(
        action.startswith(verb) and action.endswith("]") and bool(action[len(verb) : -1].strip()) for verb in verbs
    )
