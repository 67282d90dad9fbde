"""Reading replies: every reason for refusing one, what is tolerated, and what holds for any text at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hiper.agents import INTERFACES, AgentError, Interface, Reply, admits, interface, template_verb
from hiper.records import Decision, Invalid, Kind, Span

PLAN = INTERFACES["plan_execute"]
REACT = INTERFACES["react"]
ACT = INTERFACES["act"]

_PIECES = st.sampled_from(
    [f"<{slash}{tag}>" for tag in ("switch", "subgoal", "action", "think") for slash in ("", "/")]
    + [
        "KEEP",
        "SWITCH",
        "keep",
        "find mug",
        "go to desk 1",
        " ",
        "\n",
        "click[< prev]",
        "<",
        ">",
        "tasse à café",
        "🙂",
    ]
)
TEXTS = st.lists(_PIECES, max_size=14).map("".join) | st.text()
CLEAN = st.text(min_size=1).map(str.strip).filter(lambda text: text != "" and "<" not in text)


def test_a_switch_is_read_part_by_part() -> None:
    text = "<switch>SWITCH</switch><subgoal>find mug</subgoal><action>go to desk 1</action>"
    reply = PLAN.parse(text, subgoal="find desk", cut=False)
    assert (reply.decision, reply.subgoal, reply.action) == (Decision.SWITCH, "find mug", "go to desk 1")
    assert reply.invalid is None
    # 8 + 6 + 9 bytes of switch, then 9 + 8 + 10 of subgoal, then 8 + 12 + 9 of action.
    assert reply.bytes == {
        Kind.SWITCH: Span(start=0, stop=23),
        Kind.SUBGOAL: Span(start=23, stop=50),
        Kind.ACTION: Span(start=50, stop=79),
    }
    assert PLAN.format(Decision.SWITCH, "find mug", "go to desk 1") == text


def test_keep_goes_on_under_the_subgoal_in_force() -> None:
    text = "<switch>KEEP</switch><action>take mug 1 from desk 1</action>"
    reply = PLAN.parse(text, subgoal="find mug", cut=False)
    assert (reply.decision, reply.subgoal) == (Decision.KEEP, "find mug")
    assert reply.action == "take mug 1 from desk 1"
    assert reply.bytes == {Kind.SWITCH: Span(start=0, stop=21), Kind.ACTION: Span(start=21, stop=60)}
    assert PLAN.format(Decision.KEEP, "find mug", "take mug 1 from desk 1") == text


def test_a_copy_of_the_subgoal_that_the_model_writes_is_part_of_its_action() -> None:
    text = "<switch>KEEP</switch> <subgoal> find mug </subgoal>\n<action>look</action>"
    reply = PLAN.parse(text, subgoal="find mug", cut=False)
    assert reply.invalid is None
    assert reply.bytes == {Kind.SWITCH: Span(start=0, stop=21), Kind.ACTION: Span(start=21, stop=73)}


def test_white_space_belongs_to_the_block_after_it() -> None:
    text = "\n<switch> SWITCH </switch>  <subgoal>\nfind mug</subgoal>\n\n<action> look </action>\n"
    reply = PLAN.parse(text, subgoal="find desk", cut=False)
    assert (reply.subgoal, reply.action, reply.invalid) == ("find mug", "look", None)
    assert parts(reply, text) == [
        (Kind.SWITCH, "\n<switch> SWITCH </switch>"),
        (Kind.SUBGOAL, "  <subgoal>\nfind mug</subgoal>"),
        (Kind.ACTION, "\n\n<action> look </action>\n"),
    ]


def test_angle_brackets_that_are_no_tags_are_plain_text() -> None:
    reply = PLAN.parse("<switch>KEEP</switch><action>click[< prev]</action>", subgoal="find mug", cut=False)
    assert (reply.action, reply.invalid) == ("click[< prev]", None)


REFUSED = [
    (PLAN, "<switch>SWITCH</switch><subgoal>find", Invalid.CUT_BY_LIMIT),
    (PLAN, "", Invalid.NO_SWITCH_TAG),
    (PLAN, "<action>look</action>", Invalid.NO_SWITCH_TAG),
    (PLAN, "<switch>KEEP<action>look</action>", Invalid.NO_SWITCH_TAG),
    (PLAN, "<switch>keep</switch><action>look</action>", Invalid.UNKNOWN_SWITCH_WORD),
    (PLAN, "<switch></switch><action>look</action>", Invalid.UNKNOWN_SWITCH_WORD),
    (PLAN, "<switch>SWITCH</switch><action>look</action>", Invalid.NO_SUBGOAL_TAG),
    (PLAN, "<switch>SWITCH</switch><action>look</action><subgoal>x</subgoal>", Invalid.NO_SUBGOAL_TAG),
    (
        PLAN,
        "<switch>SWITCH</switch><subgoal>a<switch></subgoal><action>look</action>",
        Invalid.NO_SUBGOAL_TAG,
    ),
    (PLAN, "<switch>SWITCH</switch><subgoal> \n</subgoal><action>look</action>", Invalid.EMPTY_SUBGOAL),
    (PLAN, "<switch>KEEP</switch><subgoal></subgoal><action>look</action>", Invalid.EMPTY_SUBGOAL),
    (
        PLAN,
        "<switch>KEEP</switch><subgoal>other</subgoal><action>look</action>",
        Invalid.KEEP_CHANGED_SUBGOAL,
    ),
    (PLAN, "<switch>KEEP</switch>", Invalid.NO_ACTION_TAG),
    (PLAN, "<switch>KEEP</switch><action>look", Invalid.NO_ACTION_TAG),
    (PLAN, "<action>look</action><switch>KEEP</switch>", Invalid.NO_ACTION_TAG),
    (PLAN, "<switch>KEEP</switch><action> </action>", Invalid.EMPTY_ACTION),
    (PLAN, "Well: <switch>KEEP</switch><action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (PLAN, "<switch>KEEP</switch>so<action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (PLAN, "<switch>KEEP</switch><switch>KEEP</switch><action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (PLAN, "<switch>KEEP</switch><action>look <action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (PLAN, "<switch>KEEP</switch><action>look</action>!", Invalid.TEXT_AFTER_ACTION),
    (PLAN, "<switch>KEEP</switch><action>look</action><action>look</action>", Invalid.TEXT_AFTER_ACTION),
    (REACT, "<think>hm", Invalid.CUT_BY_LIMIT),
    (REACT, "<think>hm</think>", Invalid.NO_ACTION_TAG),
    (REACT, "<think>hm</think><action></action>", Invalid.EMPTY_ACTION),
    (REACT, "<think>hm<action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (REACT, "<think>a</think><think>b</think><action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (REACT, "<think>a</think><action>look</action> done", Invalid.TEXT_AFTER_ACTION),
    (ACT, "<act", Invalid.CUT_BY_LIMIT),
    (ACT, "look", Invalid.NO_ACTION_TAG),
    (ACT, "<action>\t</action>", Invalid.EMPTY_ACTION),
    (ACT, "<think>hm</think><action>look</action>", Invalid.TEXT_OUTSIDE_TAGS),
    (ACT, "<action>look</action><action>look</action>", Invalid.TEXT_AFTER_ACTION),
]


@pytest.mark.parametrize(("grammar", "text", "reason"), REFUSED)
def test_a_malformed_reply_says_why(grammar: Interface, text: str, reason: Invalid) -> None:
    reply = grammar.parse(text, subgoal="find mug", cut=reason is Invalid.CUT_BY_LIMIT)
    assert reply.invalid is reason
    assert (reply.decision, reply.action) == (Decision.KEEP, "")
    assert reply.subgoal == ("find mug" if grammar.plans else "")
    assert "".join(part for _, part in parts(reply, text)) == text


def parts(reply: Reply, text: str) -> list[tuple[Kind, str]]:
    """What each decision wrote, in order."""
    ranges = sorted(reply.bytes.items(), key=lambda item: item[1].start)
    return [(kind, text.encode()[span.start : span.stop].decode()) for kind, span in ranges]


@pytest.mark.parametrize(
    ("text", "in_force", "expected"),
    [
        ("", "find mug", [(Kind.SWITCH, "")]),
        ("<action>look</action>", "find mug", [(Kind.SWITCH, "<action>look</action>")]),
        ("<switch>keep</switch><action>", "find mug", [(Kind.SWITCH, "<switch>keep</switch><action>")]),
        ("hm <switch>KEEP</switch>", "find mug", [(Kind.SWITCH, "hm <switch>KEEP</switch>"), (Kind.ACTION, "")]),
        ("<switch>KEEP</switch> loo", "find mug", [(Kind.SWITCH, "<switch>KEEP</switch>"), (Kind.ACTION, " loo")]),
        ("<switch>SWITCH</switch><action>look</action>", "find mug",
         [(Kind.SWITCH, "<switch>SWITCH</switch>"), (Kind.SUBGOAL, "<action>look</action>")]),
        ("<switch>SWITCH</switch><subgoal> </subgoal>!", "find mug",
         [(Kind.SWITCH, "<switch>SWITCH</switch>"), (Kind.SUBGOAL, "<subgoal> </subgoal>!")]),
        ("<switch>SWITCH</switch>\n<subgoal>go</subgoal>\n<action>", "find mug",
         [(Kind.SWITCH, "<switch>SWITCH</switch>"), (Kind.SUBGOAL, "\n<subgoal>go</subgoal>"),
          (Kind.ACTION, "\n<action>")]),
        ("<switch>SWITCH</switch><subgoal>go</subgoal>?", "",
         [(Kind.SUBGOAL, "<switch>SWITCH</switch><subgoal>go</subgoal>"), (Kind.ACTION, "?")]),
        ("<switch>KEEP</switch><action>look</action>", "",
         [(Kind.SUBGOAL, "<switch>KEEP</switch><action>look</action>")]),
    ],
)  # fmt: skip
def test_a_reply_goes_wrong_in_one_of_its_decisions(text: str, in_force: str, expected: list[tuple[Kind, str]]) -> None:
    reply = PLAN.parse(text, subgoal=in_force, cut=False)
    assert reply.invalid is not None
    assert parts(reply, text) == expected


def test_with_nothing_to_keep_a_switch_is_no_decision() -> None:
    text = "<switch>SWITCH</switch><subgoal>find mug</subgoal><action>look</action>"
    plan = "<switch>SWITCH</switch><subgoal>find mug</subgoal>"
    assert parts(PLAN.parse(text, subgoal="", cut=False), text) == [
        (Kind.SUBGOAL, plan),
        (Kind.ACTION, "<action>look</action>"),
    ]
    assert [kind for kind, _ in parts(PLAN.parse(text, subgoal="x", cut=False), text)] == list(Kind)


def test_there_is_nothing_to_keep_at_the_start() -> None:
    reply = PLAN.parse("<switch>KEEP</switch><action>look</action>", subgoal="", cut=False)
    assert reply.invalid is Invalid.KEEP_WITHOUT_SUBGOAL


def test_every_reason_but_admissibility_is_tested_here() -> None:
    tested = {reason for _, _, reason in REFUSED} | {Invalid.KEEP_WITHOUT_SUBGOAL}
    assert tested == set(Invalid) - {Invalid.NOT_ADMISSIBLE}  # that one is the environment's say: tests/rollout


@pytest.mark.parametrize(
    "text",
    [
        "hm <switch>keep</switch><subgoal></subgoal>x",  # an unknown word, before all that follows
        "<switch>keep</switch>",
    ],
)
def test_the_first_reason_in_the_order_of_the_enum_is_given(text: str) -> None:
    assert PLAN.parse(text, subgoal="a", cut=False).invalid is Invalid.UNKNOWN_SWITCH_WORD
    assert PLAN.parse(text, subgoal="a", cut=True).invalid is Invalid.CUT_BY_LIMIT


def test_a_reply_that_is_complete_at_the_very_limit_is_valid() -> None:
    assert ACT.parse("<action>look</action>", subgoal="", cut=True).invalid is None


def test_react_may_think_or_not() -> None:
    for text in ("<think>a < b</think>\n<action>look</action>", "<action>look</action>"):
        reply = REACT.parse(text, subgoal="", cut=False)
        assert (reply.action, reply.invalid, reply.subgoal) == ("look", None, "")
        assert reply.bytes == {Kind.ACTION: Span(start=0, stop=len(text))}
    assert REACT.format(Decision.KEEP, "find mug", "look") == "<think>find mug</think><action>look</action>"
    assert ACT.format(Decision.SWITCH, "find mug", "look") == "<action>look</action>"


@given(
    text=TEXTS,
    subgoal=st.sampled_from(["", "find mug"]),
    cut=st.booleans(),
    name=st.sampled_from(sorted(INTERFACES)),
)
def test_any_text_is_read_and_what_is_valid_survives_its_canonical_form(
    text: str, subgoal: str, cut: bool, name: str
) -> None:
    grammar = INTERFACES[name]
    reply = grammar.parse(text, subgoal=subgoal, cut=cut)
    if reply.invalid is None:
        again = grammar.parse(grammar.format(reply.decision, reply.subgoal, reply.action), subgoal=subgoal, cut=False)
        assert (again.decision, again.subgoal, again.action) == (reply.decision, reply.subgoal, reply.action)
        assert again.invalid is None
    else:
        assert (reply.decision, reply.action) == (Decision.KEEP, "")
        assert reply.subgoal == (subgoal if grammar.plans else "")
    if not grammar.plans:
        assert reply.bytes == {Kind.ACTION: Span(start=0, stop=len(text.encode()))}


@given(st.text(st.characters()))
def test_even_lone_surrogates_are_read(text: str) -> None:
    for grammar in INTERFACES.values():
        grammar.parse(text, subgoal="find mug", cut=False)


@given(decision=st.sampled_from(Decision), subgoal=CLEAN, action=CLEAN, name=st.sampled_from(sorted(INTERFACES)))
def test_what_is_formatted_is_read_back(decision: Decision, subgoal: str, action: str, name: str) -> None:
    grammar = INTERFACES[name]
    reply = grammar.parse(grammar.format(decision, subgoal, action), subgoal=subgoal, cut=False)
    assert (reply.invalid, reply.action) == (None, action)
    if grammar.plans:
        assert (reply.decision, reply.subgoal) == (decision, subgoal)


def test_the_canonical_forms_shown_to_the_model_parse() -> None:
    for grammar in INTERFACES.values():
        shown = [line for line in grammar.instructions.splitlines() if line.endswith(grammar.stop)]
        assert shown
        for line in shown:
            assert grammar.parse(line, subgoal="x", cut=False).invalid is None


def test_an_unknown_interface_names_the_nearest() -> None:
    assert interface("act") is ACT
    with pytest.raises(AgentError, match="unknown interface 'plan_exec'; did you mean 'plan_execute'"):
        interface("plan_exec")


def test_templates_stand_for_any_filling() -> None:
    assert template_verb("search[<your query>]") == "search["
    assert template_verb("click[< prev]") is None
    assert template_verb("go to desk 1") is None
    offered = ["search[<your query>]", "click[< prev]"]
    assert admits(offered, "search[red mug]")
    assert admits(offered, "click[< prev]")
    for action in ("search[]", "search[ ]", "search[red mug", "click[buy now]", ""):
        assert not admits(offered, action)
