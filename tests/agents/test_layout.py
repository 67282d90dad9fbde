"""Prompts, word for word."""

from dataclasses import replace

import pytest

from hiper.agents import INTERFACES, AgentError, Prompt, Reply, feedback, make_layout, reaches_environment
from hiper.records import Invalid

PLAN = INTERFACES["plan_execute"]
ACT = INTERFACES["act"]
FIRST = "You are in a room.\n\nYour task is to: find the mug."
SWITCH = "<switch>SWITCH</switch><subgoal>reach desk</subgoal><action>go to desk 1</action>"
ROLE = "You carry out a task in a text world, one action per reply, and read what each action brings about.\n"


def test_transcript_only_appends() -> None:
    layout = make_layout("transcript", PLAN, {})()
    assert layout.start(FIRST, ["look"]) == Prompt(text=f"{ROLE}{PLAN.instructions}\n{FIRST}\n", fresh=True)
    reply = PLAN.parse(SWITCH, subgoal="", cut=False)
    assert layout.after(SWITCH, reply, "A desk.", ["look"], 1) == Prompt(text="\nA desk.\n", fresh=False)


def test_transcript_says_that_nothing_came_of_it_rather_than_repeat_a_page() -> None:
    layout = make_layout("transcript", PLAN, {"header": "none"})()
    page = "A shop. " * 20
    layout.start(page, [])
    reply = PLAN.parse(SWITCH, subgoal="", cut=False)
    refused = replace(reply, invalid=Invalid.NOT_ADMISSIBLE)
    line = "\nInvalid reply: this action is not possible now.\n"
    assert layout.after(SWITCH, refused, page, [], 1).text == line
    assert layout.after(SWITCH, refused, page, [], 2).text == line
    assert layout.after(SWITCH, reply, page, [], 3).text == f"\n{page}\n", "what was possible is answered in full"
    assert layout.after(SWITCH, refused, "Another.", [], 4).text == "\nAnother.\n"
    assert layout.after(SWITCH, refused, "Another.", [], 5).text == "\nAnother.\n", "a short page says it itself"


def test_a_page_still_stands_after_a_reply_that_did_not_parse() -> None:
    layout = make_layout("transcript", PLAN, {"header": "none"})()
    page = "A shop. " * 20
    layout.start(page, [])
    broken = PLAN.parse("buy it", subgoal="", cut=False)
    assert broken.invalid is not None
    layout.after("buy it", broken, feedback(broken.invalid), [], 1)
    refused = replace(PLAN.parse(SWITCH, subgoal="", cut=False), invalid=Invalid.NOT_ADMISSIBLE)
    assert "not possible now" in layout.after(SWITCH, refused, page, [], 2).text


def test_parts_that_stood_there_before_are_not_shown_again_and_long_ones_are_cut() -> None:
    options: dict[str, object] = {"header": "none", "separator": " [SEP] ", "longest_part": 3}
    layout = make_layout("transcript", PLAN, options)()
    reply = PLAN.parse(SWITCH, subgoal="", cut=False)
    refused = replace(reply, invalid=Invalid.NOT_ADMISSIBLE)
    broken = PLAN.parse("buy it", subgoal="", cut=False)
    assert broken.invalid is not None
    task = "A shop [SEP] find me a red mug"
    assert layout.start(task, []).text == f"{task}\n", "the first observation is whole"

    def after(reply: Reply, observation: str) -> str:
        return layout.after("", reply, observation, [], 1).text

    listed = "find me a red mug [SEP] Next > [SEP] B01 [SEP] a mug that is red [SEP] $5"
    assert after(reply, listed) == "\nNext > [SEP] B01 [SEP] a mug that ... [SEP] $5\n"
    item = "find me a red mug [SEP] a mug that is red [SEP] red [SEP] blue"
    assert after(broken, feedback(broken.invalid)) == "\nInvalid reply: no switch tag.\n"
    assert after(reply, item) == "\nred [SEP] blue\n", "after a reply that was not read the page before still stands"
    assert after(reply, item) == "\nNothing new.\n"
    assert after(refused, item) == "\nInvalid reply: this action is not possible now.\n"
    assert after(reply, f"{item} [SEP] you chose red") == "\nyou chose red\n"
    assert after(reply, listed) == "\nNext > [SEP] B01 [SEP] $5\n"


def test_transcript_without_header() -> None:
    layout = make_layout("transcript", PLAN, {"header": "none"})()
    assert layout.start(FIRST, ["look"]) == Prompt(text=f"{FIRST}\n", fresh=True)


def test_window_of_the_first_turn() -> None:
    prompt = make_layout("window", PLAN)().start(FIRST, ["look", "go to desk 1"])
    assert prompt.fresh
    assert prompt.text == (
        f"{ROLE}{PLAN.instructions}\n"
        "Task:\nYour task is to: find the mug.\n\n"
        "Turns taken so far: 0\n"
        "\nPresent observation:\nYou are in a room.\n\nYour task is to: find the mug.\n"
        "Present subgoal: None\n"
        "Admissible actions:\n- look\n- go to desk 1\n"
        "Reply in the form given above.\n"
    )


def test_window_shows_the_last_turns_and_forgets_the_rest() -> None:
    layout = make_layout("window", PLAN, {"n_turns": 1})()
    layout.start(FIRST, ["look"])
    reply = PLAN.parse(SWITCH, subgoal="", cut=False)
    layout.after(SWITCH, reply, "A desk.", ["look"], 1)
    keep = "<switch>KEEP</switch><action>look</action>"
    prompt = layout.after(keep, PLAN.parse(keep, subgoal="reach desk", cut=False), "A mug.", ["take mug"], 2)
    assert prompt.text.removeprefix(f"{ROLE}{PLAN.instructions}\n") == (
        "Task:\nYour task is to: find the mug.\n\n"
        "Turns taken so far: 2\n"
        "\nObservation of turn 2:\nA desk.\nAction of turn 2: look\n"
        "\nPresent observation:\nA mug.\n"
        "Present subgoal: reach desk\n"
        "Admissible actions:\n- take mug\n"
        "Reply in the form given above.\n"
    )


def test_window_of_a_flat_interface_has_no_subgoal_and_may_lack_a_list() -> None:
    text = make_layout("window", ACT, {"n_turns": 0})().start("Shop. Find a mug.", []).text
    assert text.removeprefix(f"{ROLE}{ACT.instructions}\n") == (
        "Task:\nShop. Find a mug.\n\nTurns taken so far: 0\n"
        "\nPresent observation:\nShop. Find a mug.\nReply in the form given above.\n"
    )


def test_window_still_shows_where_one_stands_after_invalid_replies() -> None:
    layout = make_layout("window", ACT)()
    layout.start("A room.", ["look"])
    bad = ACT.parse("look", subgoal="", cut=False)
    for turn in (1, 2, 3):
        text = layout.after("look", bad, feedback(Invalid.NO_ACTION_TAG), ["look"], turn).text
        assert "Present observation:\nA room.\nInvalid reply: no action tag.\n" in text
        assert f"Observation of turn {turn}:\nA room.\nAction of turn {turn}: none (invalid reply)\n" in text


def test_layouts_share_nothing_between_episodes() -> None:
    make = make_layout("window", ACT)
    first = make()
    before = first.start("A room.", ["look"])
    first.after("<action>look</action>", ACT.parse("<action>look</action>", subgoal="", cut=False), "x", [], 1)
    assert make().start("A room.", ["look"]) == before


def test_every_reason_has_its_notice_and_only_unread_replies_stay_here() -> None:
    assert len({feedback(reason) for reason in Invalid}) == len(Invalid)
    assert feedback(Invalid.NO_ACTION_TAG) == "Invalid reply: no action tag."
    assert reaches_environment(ACT.parse("<action>look</action>", subgoal="", cut=False))
    assert not reaches_environment(ACT.parse("look", subgoal="", cut=False))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("windows", {}, "unknown layout 'windows'; did you mean 'window'"),
        ("window", {"nturns": 2}, "unknown option of layout window 'nturns'; did you mean 'n_turns'"),
        ("window", {"n_turns": -1}, "n_turns must be a whole number of at least 0, got -1"),
        ("window", {"n_turns": True}, "got True"),
        ("transcript", {"header": "short"}, "header must be 'full' or 'none', got 'short'"),
        ("transcript", {"separator": 3}, "separator must be text, got 3"),
        (
            "transcript",
            {"separator": "|", "longest_part": -1},
            "longest_part must be a whole number of at least 0, got -1",
        ),
        ("transcript", {"separator": "|", "longest_part": True}, "got True"),
        ("transcript", {"longest_part": 3}, "longest_part needs a separator"),
        ("transcript", {"n_turns": 2}, "unknown option of layout transcript 'n_turns'"),
    ],
)
def test_what_does_not_exist_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(AgentError, match=message):
        make_layout(name, PLAN, options)
