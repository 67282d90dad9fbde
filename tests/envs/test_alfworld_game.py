"""Game records: compiled from PDDL, built from parts, stored as rows, given other numbers."""

import json
import re
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from hiper.envs.alfworld.engine import Engine
from hiper.envs.alfworld.game import (
    GOAL_KINDS,
    Flag,
    Game,
    Goal,
    Item,
    ItemPart,
    Receptacle,
    ReceptaclePart,
    build_game,
    from_row,
    renumber,
    to_row,
)
from hiper.envs.alfworld.pddl import compile_game
from hiper.envs.errors import DataError
from tests.envs.official_files import FACTS, TASK, WALKTHROUGH, problem
from tests.envs.small_games import home

PATH = "train/pick_clean_then_place_in_recep-Mug-None-Desk-1/trial_1"


def compiled(text: str) -> Game:
    return compile_game(text, task=TASK, walkthrough=WALKTHROUGH, path=PATH)


def test_pddl_gives_the_whole_record() -> None:
    # The third mug in id order, mug 1, is in no receptacle and cannot be sliced: it is not kept, but counted.
    # Locations are in the order of their first receptacle: desks, then drawer.
    accepts_mugs = 0b01100
    assert compiled(problem()) == Game(
        path=PATH,
        split="train",
        task_type="pick_clean_then_place_in_recep",
        task=TASK,
        goal=Goal("clean", "mug", "desk"),
        receptacles=(
            Receptacle("desk", 2, "desk", 0, False, accepts_mugs),
            Receptacle("desk", 1, "desk", 1, False, accepts_mugs),
            Receptacle("drawer", 1, "drawer", 2, True, 0b10000),
            Receptacle("sinkbasin", 1, "sinkbasin", 1, False, accepts_mugs),
        ),
        items=(
            Item("apple", 1, "apple", Flag.SLICEABLE, (2,), (), ()),
            Item("box", 1, "box", Flag.CONTAINER, (), (2,), (4,)),
            Item("mug", 3, "mug", Flag.PICKUPABLE | Flag.CLEANABLE, (0,), (0,), ()),
            Item("mug", 2, "mug", Flag.PICKUPABLE | Flag.COLD, (), (1,), ()),
            Item("pen", 1, "pen", 0, (), (), ()),
        ),
        walkthrough=tuple(WALKTHROUGH),
    )


@pytest.mark.parametrize("kind", GOAL_KINDS)
def test_every_kind_of_goal_is_read(kind: str) -> None:
    assert compiled(problem(kind)).goal == (kind, "mug", "lamp" if kind == "look" else "desk")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no goal or no receptacles"),
        (problem(facts="(atLocation agent1 loc_bar_9)"), "no goal or no receptacles"),
        (problem().replace("isClean", "isShiny"), "none of the six kinds"),
    ],
)
def test_a_problem_that_is_no_game_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compiled(text)


def test_repeated_and_reordered_facts_change_nothing() -> None:
    facts = re.findall(r"\([^()]*\)", FACTS)
    assert compiled(problem(facts="\n".join([*facts[::-1], *facts]))) == compiled(problem())


def test_rows_keep_everything() -> None:
    for game in (home(), compiled(problem())):
        assert from_row(json.loads(json.dumps(to_row(game)))) == game


@pytest.mark.parametrize("row", [[], [1, 2, 3], ["a"] * 8])
def test_a_broken_row_is_refused(row: list[object]) -> None:
    with pytest.raises(DataError, match="not a compiled game"):
        from_row(row)


def test_games_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        home().path = "elsewhere"  # type: ignore[misc]


def test_parts_come_into_id_order_and_keep_their_links() -> None:
    game = build_game(
        goal=Goal("place", "pen", "desk"),
        task="Your task is to: put a pen in desk.",
        receptacles=[
            ReceptaclePart("shelf", 70),
            ReceptaclePart("desk", 30, True),
            ReceptaclePart("shelf", 30),
        ],
        items=[
            ItemPart("pen", (0, 1)),
            ItemPart("box", (2,), inner=(0,)),
            ItemPart("apple", (), locations=(70,)),
        ],
        can_contain={"desk": ["pen"], "shelf": ["box"]},
        path="made/x/y",
    )
    assert game.receptacles == (
        Receptacle("desk", 1, "desk", 0, True, 0b100),
        Receptacle("shelf", 2, "shelf", 1, False, 0b010),
        Receptacle("shelf", 1, "shelf", 0, False, 0b010),
    )
    assert game.items == (
        Item("apple", 1, "apple", Flag.PICKUPABLE, (1,), (), ()),
        Item("box", 1, "box", Flag.PICKUPABLE, (0,), (2,), (2,)),
        Item("pen", 1, "pen", Flag.PICKUPABLE, (0, 1), (0, 1), ()),
    )
    assert (game.split, game.task_type) == ("made", "pick_and_place_simple")


@pytest.mark.parametrize(
    "part", [ItemPart("pen", (9,)), ItemPart("pen", (0,), locations=(5,)), ItemPart("pen", (0,), inner=(3,))]
)
def test_parts_that_point_nowhere_are_refused(part: ItemPart) -> None:
    with pytest.raises(DataError, match=r"item 'pen' points to .* not there: "):
        build_game(
            goal=Goal("place", "pen", "desk"),
            task="",
            receptacles=[ReceptaclePart("desk", 0)],
            items=[part],
            can_contain={},
            path="made/x/y",
        )


def test_an_unknown_goal_kind_is_refused() -> None:
    with pytest.raises(DataError, match="unknown goal kind 'paint'; known: place, look"):
        home(Goal("paint", "pen", "desk"))  # type: ignore[arg-type]


def test_other_numbers_are_a_permutation_and_everything_else_stays() -> None:
    game = home()
    seen = set()
    for seed in range(20):
        other = renumber(game, np.random.default_rng(seed))
        assert sorted(r.name for r in other.receptacles) == sorted(r.name for r in game.receptacles)
        assert sorted(i.name for i in other.items) == sorted(i.name for i in game.items)
        plain = replace(
            other,
            receptacles=tuple(r._replace(number=0) for r in other.receptacles),
            items=tuple(i._replace(number=0) for i in other.items),
            walkthrough=(),
        )
        assert plain == replace(
            game,
            receptacles=tuple(r._replace(number=0) for r in game.receptacles),
            items=tuple(i._replace(number=0) for i in game.items),
            walkthrough=(),
        )
        seen.add(tuple(i.number for i in other.items))
    assert len(seen) == 4  # two mugs and two pens: 2 x 2 ways


def test_the_walkthrough_follows_the_other_numbers() -> None:
    for seed in range(10):
        game = renumber(home(), np.random.default_rng(seed))
        engine = Engine(game)
        for command in game.walkthrough:
            assert command in engine.admissible()
            assert not engine.won
            engine.step(command)
        assert engine.won


def test_printed_lists_keep_the_id_order_under_other_numbers() -> None:
    texts = {Engine(renumber(home(), np.random.default_rng(seed))).step("go to desk 1") for seed in range(10)}
    start = "You arrive at desk 1. On the desk 1, you see a pen "
    assert texts == {start + "2, and a pen 1.", start + "1, and a pen 2."}
