"""The expert shopper: what it reads, what it does, and that it goes on from mistakes."""

import ast
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hiper
from hiper.agents.grammar import template_verb
from hiper.envs.webshop import expert as expert_module
from hiper.envs.webshop.expert import Expert
from hiper.envs.webshop.notebook import Notebook
from hiper.envs.webshop.quick import QuickExpert
from hiper.envs.webshop.wish import Wish, evidence, overlap, read_wish
from hiper.records import Decision

INSTRUCTION = "Find me non slip men's boots with rubber sole with color: black, and price lower than 50.00 dollars"


def page(*pieces: str) -> str:
    return " [SEP] ".join(pieces)


def clicks(*targets: str) -> list[str]:
    return [f"click[{target}]" for target in targets]


START = page("WebShop", "Instruction:", INSTRUCTION, "Search"), ["search[<your query>]"]
TOP = ("Instruction:", INSTRUCTION, "Back to Search")
RESULTS = (
    page(*TOP, "Page 1 (Total results: 2)", "B0AAAAAAA1", "Non-Slip Boot", "$30.0", "B0AAAAAAA2", "$10.0 to $60.0"),
    clicks("back to search", "b0aaaaaaa1", "b0aaaaaaa2"),
)
ABOUT = ("Price: $30.0", "Rating: N.A.", "Description", "Features", "Reviews")
ITEM = (
    page(*TOP, "< Prev", "color", "black", "dark | red", "size", "9", "9 wide", "Non-Slip Boot", *ABOUT, "Buy Now"),
    clicks("back to search", "< prev", "description", "features", "reviews", "buy now")
    + clicks("black", "dark | red", "9", "9 wide"),
)
FEATURES = page(*TOP, "< Prev", "Sole of soft rubber", "Two straps"), clicks("back to search", "< prev")


# What is asked for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            INSTRUCTION,
            Wish(
                what="non slip men's boots",
                attributes=("non slip", "rubber sole"),
                options={"color": "black"},
                highest=50.0,
                text="non slip men's boots with rubber sole",
                said="non slip men's boots with rubber sole with color: black",
            ),
        ),
        (
            "Find me machine wash, slim fit men's pants with quality materials for daily wear with color: a1-navy | red"
            ", and fit type: men, and size: 32 with belt, and price lower than 120.00 dollars",
            Wish(
                what="slim fit men's pants",
                attributes=("machine wash", "slim fit", "quality materials", "daily wear"),
                options={"color": "a1-navy | red", "fit type": "men", "size": "32 with belt"},
                highest=120.0,
                text="machine wash, slim fit men's pants with quality materials for daily wear",
                said="machine wash, slim fit men's pants with quality materials for daily wear with color: a1-navy "
                "| red, and fit type: men, and size: 32 with belt",
            ),
        ),
        (
            "i need console tables for living room, dining room",
            Wish(
                what="console tables",
                attributes=("living room", "dining room"),
                options={},
                highest=float("inf"),
                text="console tables for living room, dining room",
                said="console tables for living room, dining room",
            ),
        ),
        (
            "I am looking for a gluten free snack, and price lower than 20.00 dollars.",
            Wish(
                what="gluten free snack",
                attributes=("gluten free",),
                options={},
                highest=20.0,
                text="gluten free snack",
                said="gluten free snack",
            ),
        ),
    ],
)
def test_a_wish_is_read(text: str, expected: Wish) -> None:
    assert read_wish(text) == expected


@given(st.text(max_size=80))
def test_any_text_is_read_as_some_wish(text: str) -> None:
    assert read_wish(text).highest > -1


def test_evidence() -> None:
    assert evidence("easy use", ["Easy to use, and light"]) == 1
    assert evidence("non slip", ["a non-slip sole"]) == 1
    assert evidence("rubber sole", ["rubber soles"]) == 1
    assert 0 < evidence("rubber sole", ["a sole that is made by hand from old rubber"]) < 1
    assert evidence("rubber sole", ["a sole", "rubber"]) == 0


def test_overlap_is_a_share() -> None:
    assert overlap("men's work boots", "Work Boot") == pytest.approx(2 / 3)  # work and boots, but not men


# What is seen


def test_the_notebook_reads_the_results() -> None:
    notes = Notebook(*START)
    assert notes.instruction == INSTRUCTION
    assert notes.page == "search"
    notes.note("search[boots]", *RESULTS)
    first, second = notes.products.values()
    assert (first.asin, first.title, first.prices) == ("B0AAAAAAA1", "Non-Slip Boot", (30.0,))
    assert (second.title, second.prices, second.rank) == ("", (10.0, 60.0), 1)
    assert notes.exhausted == {"boots"}


def opened() -> Notebook:
    notes = Notebook(*START)
    notes.note("search[boots]", *RESULTS)
    notes.note("click[b0aaaaaaa1]", *ITEM)
    return notes


def test_the_notebook_reads_a_product_and_its_pages() -> None:
    notes = opened()
    assert notes.here.options == {"color": ["black", "dark | red"], "size": ["9", "9 wide"]}
    notes.note("click[features]", *FEATURES)
    assert notes.page == "text"
    assert notes.here.texts == ["Non-Slip Boot", "Sole of soft rubber Two straps"]


def test_the_notebook_keeps_what_was_chosen() -> None:
    notes = opened()
    without_black = ITEM[0].replace("Buy Now", "Chosen color: black [SEP] Buy Now"), ITEM[1][:6] + ITEM[1][7:]
    notes.note("click[black]", *without_black)
    assert notes.chosen == {"color": "black"}
    assert notes.here.options == {"color": ["black", "dark | red"], "size": ["9", "9 wide"]}
    notes.note("click[9 narrow]", *without_black)  # not offered: nothing happens
    notes.note("click[dark | red]", *ITEM)
    assert notes.chosen == {"color": "dark | red"}
    notes.note("click[< prev]", *RESULTS)
    notes.note("click[b0aaaaaaa1]", *ITEM)
    assert notes.chosen == {}


# What is done


def advice(player: Expert) -> tuple[str, str, str]:
    step = player.advise()
    return step.decision.value, step.subgoal, step.action


def test_a_purchase_move_by_move() -> None:
    player = Expert()
    player.reset(*START)
    query = "search[non slip men's boots with rubber sole black black]"
    assert advice(player) == ("SWITCH", "search for non slip men's boots", query)
    player.observe(query, *RESULTS)
    assert advice(player) == ("SWITCH", "check B0AAAAAAA1", "click[B0AAAAAAA1]")
    player.observe("click[b0aaaaaaa1]", *ITEM)
    assert advice(player) == ("KEEP", "check B0AAAAAAA1", "click[features]")
    player.observe("click[features]", *FEATURES)
    assert advice(player) == ("SWITCH", "buy B0AAAAAAA1", "click[< prev]")
    player.observe("click[< prev]", *ITEM)
    assert advice(player) == ("SWITCH", "choose options", "click[black]")
    player.observe("click[black]", *ITEM)
    assert advice(player) == ("SWITCH", "buy B0AAAAAAA1", "click[buy now]")


def test_a_quick_one_says_it_as_it_was_said_and_clicks_what_was_asked_for() -> None:
    player = QuickExpert()
    player.reset(*START)
    query = "search[non slip men's boots with rubber sole with color: black, black]"
    assert advice(player) == ("SWITCH", "search", query)
    player.observe(query, *RESULTS)
    assert advice(player) == ("SWITCH", "check B0AAAAAAA1", "click[B0AAAAAAA1]")
    player.observe("click[b0aaaaaaa1]", *ITEM)
    assert advice(player) == ("SWITCH", "choose options", "click[black]")
    player.observe("click[black]", *ITEM)
    assert advice(player) == ("SWITCH", "buy B0AAAAAAA1", "click[buy now]")


def test_a_quick_one_searches_twice_and_buys_the_first_result_of_the_second() -> None:
    def results(*asins: str) -> tuple[str, list[str]]:
        listed = [piece for asin in asins for piece in (asin, "Boots", "$9.99")]
        return page(*TOP, "Page 1 (Total results: 50)", "Next >", *listed), clicks("next >", *map(str.lower, asins))

    without = ITEM[0].replace("black", "green"), [one.replace("black", "green") for one in ITEM[1]]
    found = iter([results("B0AAAAAAA1", "B0BBBBBBB1"), results("B0BBBBBBB1", "B0AAAAAAA1")])
    player = QuickExpert()
    player.reset(*START)
    done = []
    while (step := player.advise()).action != "click[buy now]":
        done.append((step.subgoal, step.action))
        is_back = step.action == "click[back to search]"
        shown = next(found) if step.action.startswith("search[") else START if is_back else without
        player.observe(step.action, *shown)
    assert done == [
        ("search", "search[non slip men's boots with rubber sole with color: black, black]"),
        ("check B0AAAAAAA1", "click[B0AAAAAAA1]"),
        ("choose options", "click[black]"),
        ("search", "click[back to search]"),
        ("search", "search[non slip men's boots, black, black, black]"),
        ("check B0BBBBBBB1", "click[B0BBBBBBB1]"),
        ("choose options", "click[black]"),
    ]
    assert advice(player) == ("SWITCH", "buy B0BBBBBBB1", "click[buy now]")


def test_a_quick_one_keeps_capitals_and_knows_the_results_as_its_own() -> None:
    player = QuickExpert()
    player.reset(START[0].replace("men's boots", "Men's Boots"), START[1])
    step = player.advise()
    assert step.action.startswith("search[non slip Men's Boots")
    player.observe(step.action, *RESULTS)
    assert player.advise().action == "click[B0AAAAAAA1]"


def test_a_quick_one_finds_its_way_back_from_another_page() -> None:
    player = QuickExpert()
    player.reset(*START)
    player.observe(player.advise().action, *RESULTS)
    player.observe("click[b0aaaaaaa1]", *ITEM)
    player.observe("click[features]", *FEATURES)
    assert advice(player) == ("SWITCH", "check B0AAAAAAA1", "click[< prev]")
    player.observe("click[< prev]", *ITEM)
    player.observe("click[back to search]", *START)
    assert player.advise().action.startswith("search[non slip")


def test_it_reads_no_further_where_an_option_is_missing() -> None:
    player = Expert()
    player.reset(START[0].replace("color: black", "color: green"), START[1])
    player.observe("search[boots]", *RESULTS)
    player.observe(player.advise().action, *RESULTS)  # another query than its own was given: it gives its own
    assert player.advise().action == "click[back to search]"


def test_it_searches_again_where_nothing_is_found() -> None:
    player = Expert()
    player.reset(*START)
    nothing = page(*TOP, "Page 1 (Total results: 0)"), clicks("back to search")
    player.observe(player.advise().action, *nothing)
    assert player.advise().action == "click[back to search]"
    player.observe("click[back to search]", *START)
    assert player.advise().action == "search[non slip men's boots]"


def test_an_unknown_search_is_refused() -> None:
    with pytest.raises(ValueError, match="best, varied, quick, trying; not 'wild'"):
        hiper.make("webshop", products=60, split="all", expert=True, expert_search="wild")


def test_it_knows_pages_only() -> None:
    """Nothing that the expert is made of imports the shop itself."""
    folder = Path(expert_module.__file__).parent
    for name in ("expert.py", "quick.py", "notebook.py", "wish.py"):
        tree = ast.parse((folder / name).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        inside = {module for module in imported if module and module.startswith("hiper.envs")}
        assert inside <= {f"hiper.envs.webshop.{own}" for own in ("expert", "notebook", "wish")}


# Whole episodes

SUBGOAL = re.compile(r"search for .+|look further|check B0[0-9A-Z]{8}|choose options|buy B0[0-9A-Z]{8}")


@pytest.fixture(scope="module")
def shop() -> Any:
    return hiper.make("webshop", split="test", products=600, expert=True, expert_search="best")


def episode(shop: Any, goal: int, detour: Sequence[int] = ()) -> dict[str, Any]:
    """The last info of an episode: first the clicks that the detour draws, never a purchase, then the expert."""
    _, info = shop.reset(seed=goal, options={"goal": goal})
    over, before, turns = False, "", 0
    while not over:
        offered = info["admissible_commands"]
        others = [one for one in offered if template_verb(one) is None and one != "click[buy now]"]
        if 0 < turns <= len(detour) and others:
            command = others[detour[turns - 1] % len(others)]
        else:
            command = info["expert_action"]
            assert shop.unwrapped.admits(command), (command, offered)
            assert SUBGOAL.fullmatch(info["expert_subgoal"])
        assert (info["expert_decision"] is Decision.SWITCH) == (info["expert_subgoal"] != before)
        before = info["expert_subgoal"]
        _, _, terminated, truncated, info = shop.step(command)
        over, turns = terminated or truncated, turns + 1
    return {**info, "turns": turns}


def test_it_buys_what_is_wanted_in_few_turns(shop: Any) -> None:
    ends = [episode(shop, goal) for goal in range(0, len(shop.games), max(1, len(shop.games) // 80))]
    assert sum(end["won"] for end in ends) >= 0.85 * len(ends)
    assert sum(end["task_score"] for end in ends) >= 0.93 * len(ends)
    assert sum(end["turns"] for end in ends) <= 12 * len(ends)


@settings(max_examples=15, deadline=None)
@given(goal=st.integers(0, 50), detour=st.lists(st.integers(0, 99), max_size=12))
def test_it_goes_on_from_anywhere(shop: Any, goal: int, detour: list[int]) -> None:
    end = episode(shop, goal, detour)
    assert "score_parts" in end, "it must end with a purchase"


@pytest.mark.parametrize("search", ["quick", "trying"])
@settings(max_examples=15, deadline=None)
@given(goal=st.integers(0, 50), detour=st.lists(st.integers(0, 99), max_size=12))
def test_a_quick_one_goes_on_from_anywhere(search: str, goal: int, detour: list[int]) -> None:
    shop = hiper.make("webshop", split="test", products=600, expert=True, expert_search=search)
    _, info = shop.reset(seed=goal, options={"goal": goal})
    over, steps = False, iter(detour)
    while not over:
        others = [one for one in info["admissible_commands"] if template_verb(one) is None and "buy now" not in one]
        step = next(steps, None)
        command = info["expert_action"] if step is None or not others else others[step % len(others)]
        _, _, terminated, truncated, info = shop.step(command)
        over = terminated or truncated
    assert "score_parts" in info, "it must end with a purchase"


def test_a_quick_one_wins_two_goals_in_three() -> None:
    shop, won = hiper.make("webshop", split="train", products=600, expert=True, expert_search="quick", max_steps=15), 0
    for goal in range(100):
        _, info = shop.reset(seed=goal, options={"goal": goal})
        over = False
        while not over:
            _, _, terminated, truncated, info = shop.step(info["expert_action"])
            over = terminated or truncated
        won += info["won"]
    assert won >= 67


def commands(goal: int, seed: int, search: str = "varied") -> list[str]:
    shop = hiper.make("webshop", split="test", products=600, expert=True, expert_search=search)
    _, info = shop.reset(seed=seed, options={"goal": goal})
    done, over = [], False
    while not over:
        done.append(info["expert_action"])
        _, _, terminated, truncated, info = shop.step(done[-1])
        over = terminated or truncated
    return done


def test_varied_searches_follow_the_seed() -> None:
    runs = [commands(goal, seed) for goal in range(5) for seed in range(4)]
    again = [commands(goal, seed) for goal in range(5) for seed in range(4)]
    assert runs == again
    assert len({tuple(run) for run in runs[:4]}) > 1


def test_the_official_goals() -> None:
    folder = os.environ.get("HIPER_WEBSHOP_DATA")
    if not folder:
        pytest.skip("HIPER_WEBSHOP_DATA is not set: it names the folder with the official catalogue")
    shop = hiper.make("webshop", data=Path(folder) / "official_1000", split="test", expert=True)
    ends = [episode(shop, goal) for goal in range(0, 895, 6)]
    assert sum(end["won"] for end in ends) >= 0.88 * len(ends)
    assert sum(end["turns"] for end in ends) <= 10 * len(ends)


def test_a_trying_one_leaves_query_product_and_way_on_to_the_seed() -> None:
    runs = [[commands(goal, seed, "trying") for seed in range(30)] for goal in range(8)]
    assert runs[0] == [commands(0, seed, "trying") for seed in range(30)]
    for of_a_goal in runs:
        assert len({run[0] for run in of_a_goal}) == 2, "either query comes first"
        opened = {next(one for one in run if re.fullmatch(r"click\[B0\w{8}\]", one)) for run in of_a_goal}
        assert len(opened) > 1, "and not always the first result"
    lengths = [len(run) for of_a_goal in runs for run in of_a_goal]
    assert max(lengths) > min(lengths), "it goes on, or it buys"


def test_a_trying_one_never_asks_one_product_twice_for_an_option() -> None:
    for goal in range(8):
        for seed in range(8):
            asked, at = [], ""
            for command in commands(goal, seed, "trying"):
                if re.fullmatch(r"click\[B0\w{8}\]", command):
                    at = command
                elif template_verb(command) is None and command not in {"click[buy now]", "click[< prev]"}:
                    asked.append((at, command))
            assert len(asked) == len(set(asked))
