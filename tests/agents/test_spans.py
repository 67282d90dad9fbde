"""From byte ranges to token ranges, over any way of cutting a reply into tokens."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hiper.agents import INTERFACES, Reply, token_spans
from hiper.records import Decision, Kind, Span, Spans

PLAN, COPY = INTERFACES["plan_execute"], INTERFACES["plan_execute_copy"]
_WORDS = st.text(min_size=1, max_size=12).map(str.strip).filter(lambda text: text != "" and "<" not in text)
_SPACE = st.sampled_from(["", " ", "\n", " \n"])


@st.composite
def replies(draw: st.DrawFn) -> str:
    """Valid and broken replies, with white space, copies and characters of several bytes."""
    decision = draw(st.sampled_from(Decision))
    plan = f"<subgoal>{draw(_WORDS)}</subgoal>" if decision is Decision.SWITCH else ""
    if decision is Decision.KEEP and draw(st.booleans()):
        plan = "<subgoal>tasse à café</subgoal>"
    parts = [f"<switch>{decision}</switch>", plan, f"<action>{draw(_WORDS)}</action>"]
    text = draw(_SPACE) + "".join(part + draw(_SPACE) for part in parts)
    return draw(st.sampled_from([text, text[: draw(st.integers(0, len(text)))]]))


@st.composite
def tokens_of(draw: st.DrawFn, text: str) -> tuple[bytes, ...]:
    """Cuts anywhere, within characters too; empty pieces stand for tokens without text."""
    data = text.encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=30)))
    return tuple(data[start:stop] for start, stop in pairwise([0, *cuts, len(data)]))


def kinds_by_definition(reply: Reply, pieces: Sequence[bytes]) -> list[Kind | None]:
    """The kind of each token: that of the byte it begins with; the last decision for those behind all bytes."""
    length = sum(map(len, pieces))
    of_byte = kinds_of_bytes(reply, length)
    last = max(reply.bytes, key=lambda kind: reply.bytes[kind].start)
    starts = [len(b"".join(pieces[:index])) for index in range(len(pieces))]
    return [last if start == length else of_byte[start] for start in starts]


def kinds_of_bytes(reply: Reply, length: int) -> list[Kind | None]:
    of_byte: list[Kind | None] = [None] * length
    for kind, span in reply.bytes.items():
        of_byte[span.start : span.stop] = [kind] * len(span)
    return of_byte


def kinds_of(spans: Spans, count: int) -> list[Kind | None]:
    kinds: list[Kind | None] = [None] * count
    for kind, span in spans.items():
        for index in range(span.start, span.stop):
            assert kinds[index] is None, "a token has one kind at most"
            kinds[index] = kind
    return kinds


@given(st.data())
def test_each_token_has_the_kind_of_its_first_byte(data: st.DataObject) -> None:
    text = data.draw(replies())
    pieces = data.draw(tokens_of(text))
    reply = PLAN.parse(text, subgoal="tasse à café", cut=False)
    assert kinds_of(token_spans(reply, pieces), len(pieces)) == kinds_by_definition(reply, pieces)


@given(text=replies(), in_force=st.sampled_from(["", "tasse à café"]))
def test_byte_ranges_cut_the_reply_into_its_parts(text: str, in_force: str) -> None:
    reply = PLAN.parse(text, subgoal=in_force, cut=False)
    data = text.encode()
    ranges = sorted(reply.bytes.values(), key=lambda span: span.start)
    assert (ranges[0].start, ranges[-1].stop) == (0, len(data))
    assert all(left.stop == right.start for left, right in pairwise(ranges))
    if reply.invalid is None:
        opening = {Kind.SWITCH: "<switch>", Kind.SUBGOAL: "<subgoal>", Kind.ACTION: "<action>"}
        if not in_force:
            opening[Kind.SUBGOAL] = "<switch>"
        if reply.decision is Decision.KEEP and "<subgoal>" in text:
            opening[Kind.ACTION] = "<subgoal>"
        for kind, span in reply.bytes.items():
            assert data[span.start : span.stop].decode().lstrip().startswith(opening[kind])


_PIECES = st.sampled_from(
    ["<switch>", "</switch>", "<subgoal>", "</subgoal>", "<action>", "</action>", "KEEP", "SWITCH", "tasse à café", " "]
)


@given(
    st.one_of(replies(), st.lists(_PIECES, max_size=14).map("".join)), st.sampled_from(["", "tasse à café"]), st.data()
)
def test_what_a_byte_decides_does_not_depend_on_what_follows(text: str, in_force: str, data: st.DataObject) -> None:
    """A value is read before the decision; were a decision told by what comes after it, the value would know that."""
    begun = text[: data.draw(st.integers(0, len(text)))]
    length = len(begun.encode())
    whole, part = (PLAN.parse(some, subgoal=in_force, cut=False) for some in (text, begun))
    assert kinds_of_bytes(whole, len(text.encode()))[:length] == kinds_of_bytes(part, length)


def test_what_code_wrote_is_no_decision_wherever_the_reply_ends() -> None:
    copied = ["subgoal>", "tasse", " à", " café", "</subgoal>"]
    pieces = ["<switch>", "KEEP", "</switch", "><", *copied, "<action>", "look", "</action>"]
    wanted = [Kind.SWITCH] * 4 + [None] * 5 + [Kind.ACTION] * 3
    for count in range(4, len(pieces) + 1):
        reply = COPY.parse("".join(pieces[:count]), subgoal="tasse à café", cut=count < len(pieces))
        spans = token_spans(reply, [piece.encode() for piece in pieces[:count]], (4, min(count, 9)))
        assert kinds_of(spans, count) == wanted[:count]


@given(st.data(), st.sampled_from(["tasse à café", "tasse"]))
def test_a_copy_that_the_model_wrote_itself_is_its_decision_right_or_wrong(data: st.DataObject, copied: str) -> None:
    """Only what is known to be written by code is left out; a text that merely looks like it is not."""
    text = f"<switch>KEEP</switch><subgoal>{copied}</subgoal><action>look</action>"
    pieces = data.draw(tokens_of(text))
    reply = COPY.parse(text, subgoal="tasse à café", cut=False)
    kinds = kinds_of(token_spans(reply, pieces), len(pieces))
    assert kinds == kinds_by_definition(reply, pieces)
    assert None not in kinds


def test_a_tag_split_over_tokens_and_an_end_token() -> None:
    pieces = (b"<switch", b">KEEP</", b"switch><", b"action>", b"look</action>", b"")
    reply = PLAN.parse(b"".join(pieces).decode(), subgoal="find mug", cut=False)
    # "switch><" begins in the switch: the action starts with the token after it and has the end token.
    assert token_spans(reply, pieces) == Spans(switch=Span(start=0, stop=3), action=Span(start=3, stop=6))


def test_a_part_in_which_no_token_begins_has_no_span() -> None:
    text = "<switch>SWITCH</switch><subgoal>a</subgoal><action>look</action>"
    reply = PLAN.parse(text, subgoal="find mug", cut=False)
    assert token_spans(reply, (text.encode(),)) == Spans(switch=Span(start=0, stop=1))
    assert token_spans(reply, ()) == Spans()


def test_bytes_that_are_no_text_do_not_move_the_spans() -> None:
    # Each broken byte becomes a replacement character of three bytes in the text that is parsed.
    pieces = (
        b"<switch>SWITCH</switch>",
        b"<subgoal>",
        b"\xff",
        b"\xf0\x9f",
        b"mug \xc3",
        b"</subgoal>",
        b"<action>",
        b"\xffgo</action>",
    )
    reply = PLAN.parse(b"".join(pieces).decode(errors="replace"), subgoal="find mug", cut=False)
    assert reply.invalid is None
    assert token_spans(reply, pieces) == Spans(
        switch=Span(start=0, stop=1), subgoal=Span(start=1, stop=6), action=Span(start=6, stop=8)
    )


def test_the_end_token_of_an_empty_reply_is_its_first_decision() -> None:
    for in_force, spans in (("", Spans(subgoal=Span(start=0, stop=1))), ("x", Spans(switch=Span(start=0, stop=1)))):
        assert token_spans(PLAN.parse("", subgoal=in_force, cut=False), (b"",)) == spans
