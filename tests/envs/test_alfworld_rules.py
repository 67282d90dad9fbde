"""The rules of the game, each where it is easy to get wrong, on games made by hand."""

import pytest

from hiper.envs.alfworld.engine import NOTHING_HAPPENS, Engine
from hiper.envs.alfworld.game import Goal
from hiper.envs.alfworld.world import HELP, listing
from tests.envs.small_games import home, play


def test_start_lists_receptacles_by_id_and_the_task() -> None:
    assert Engine(home()).reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a bathtubbasin 1, a cabinet 2, "
        "a cabinet 1, a coffeemachine 1, a countertop 1, a desk 1, a drawer 1, "
        "a fridge 1, a garbagecan 1, a microwave 1, a safe 1, and a sinkbasin 1.\n\n"
        "Your task is to: put a pen in drawer."
    )


def test_admissible_at_the_start() -> None:
    commands = Engine(home()).admissible()
    assert list(commands) == sorted(commands)
    assert len(commands) == 12 + 3  # a `go to` for each receptacle, help, inventory, look


@pytest.mark.parametrize(
    ("names", "text"),
    [([], "nothing"), (["a"], "a"), (["a", "b"], "a, and b"), (["a", "b", "c"], "a, b, and c")],
)
def test_listing(names: list[str], text: str) -> None:
    assert listing(names) == text


def test_one_cannot_go_where_one_is_nor_to_what_stands_there_too() -> None:
    engine = play(["go to countertop 1"])
    assert engine.step("go to countertop 1") == NOTHING_HAPPENS
    assert engine.step("go to coffeemachine 1") == NOTHING_HAPPENS
    assert not {"go to countertop 1", "go to coffeemachine 1"} & set(engine.admissible())


def test_the_start_can_never_be_reached_again() -> None:
    engine = play(["look"])
    middle = engine.step("look")
    assert middle == "You are in the middle of a room. Looking quickly around you, you see nothing."
    engine.step("go to desk 1")
    assert engine.step("look") == "You are facing the desk 1, and drawer 1. Next to it, you see nothing."


def test_everything_at_one_place_is_in_reach() -> None:
    engine = play(["go to coffeemachine 1", "take mug 2 from countertop 1"])
    assert engine.step("inventory") == "You are carrying: a mug 2."


@pytest.mark.parametrize("command", ["look", "inventory", "help", "examine countertop 1"])
def test_commands_that_may_be_repeated_freely(command: str) -> None:
    engine = play(["go to countertop 1"])
    assert engine.step(command) == engine.step(command) != NOTHING_HAPPENS


def test_only_the_item_in_hand_can_be_examined() -> None:
    engine = play(["go to countertop 1"])
    assert engine.step("examine knife 1") == NOTHING_HAPPENS
    engine.step("take knife 1 from countertop 1")
    assert engine.step("examine knife 1") == "There's nothing special about knife 1."


def test_appliances_work_closed_and_keep_the_item_in_hand() -> None:
    engine = play(["go to countertop 1", "take mug 2 from countertop 1", "go to microwave 1"])
    assert engine.step("heat mug 2 with microwave 1") == "You heat the mug 2 using the microwave 1."
    assert engine.step("heat mug 2 with microwave 1") == "You heat the mug 2 using the microwave 1."
    assert engine.step("inventory") == "You are carrying: a mug 2."
    assert engine.step("examine microwave 1") == "The microwave 1 is closed."


def test_a_bathtubbasin_does_not_clean_and_a_sinkbasin_does() -> None:
    engine = play(["go to countertop 1", "take mug 2 from countertop 1", "go to bathtubbasin 1"])
    assert engine.step("clean mug 2 with bathtubbasin 1") == NOTHING_HAPPENS
    engine.step("go to sinkbasin 1")
    assert engine.step("clean mug 2 with sinkbasin 1") == "You clean the mug 2 using the sinkbasin 1."


def test_lamps_work_in_closed_drawers_again_and_again_with_full_hands() -> None:
    engine = play(["go to desk 1", "use desklamp 1", "take pen 1 from desk 1"])
    assert engine.step("use desklamp 1") == "You turn on the desklamp 1."
    assert engine.step("use pen 1") == NOTHING_HAPPENS
    engine.step("go to fridge 1")
    assert engine.step("use desklamp 1") == NOTHING_HAPPENS


def test_slicing_asks_where_the_world_says_a_thing_is() -> None:
    engine = play(["go to countertop 1", "take knife 1 from countertop 1"])
    # The potato lies in the garbagecan, but is said to be here.
    assert engine.step("slice potato 1 with knife 1") == "You sliced the potato 1 with the knife 1."
    engine.step("go to garbagecan 1")
    assert engine.step("slice potato 1 with knife 1") == NOTHING_HAPPENS
    engine.step("go to fridge 1")  # closed, with the apple in it
    assert engine.step("slice apple 1 with knife 1") == "You sliced the apple 1 with the knife 1."
    engine.step("go to desk 1")  # the tomato is in no receptacle at all
    assert engine.step("slice tomato 1 with knife 1") == "You sliced the tomato 1 with the knife 1."
    assert engine.step("slice tomato 1 with knife 1") == "You sliced the tomato 1 with the knife 1."
    assert engine.step("slice pen 1 with knife 1") == NOTHING_HAPPENS


def test_only_a_knife_in_hand_slices() -> None:
    engine = play(["go to desk 1", "take pen 1 from desk 1"])
    assert engine.step("slice tomato 1 with pen 1") == NOTHING_HAPPENS
    assert engine.step("slice tomato 1 with knife 1") == NOTHING_HAPPENS


def test_an_item_in_two_receptacles_is_taken_from_one_only() -> None:
    engine = play(["go to countertop 1", "take mug 2 from countertop 1"])
    seen = engine.step("examine coffeemachine 1")
    assert seen == "On the coffeemachine 1, you see a mug 2."
    # Put back where it still is, it just leaves the hand.
    assert engine.step("move mug 2 to coffeemachine 1") == "You move the mug 2 to the coffeemachine 1."
    assert engine.step("examine coffeemachine 1") == seen
    assert engine.step("inventory") == "You are not carrying anything."


def test_an_item_in_hand_counts_in_its_other_receptacle() -> None:
    engine = Engine(home(Goal("heat", "mug", "coffeemachine")))
    for command in ["go to countertop 1", "take mug 2 from countertop 1", "go to microwave 1"]:
        engine.step(command)
    assert not engine.won
    engine.step("heat mug 2 with microwave 1")  # a win by `heat`: the mug is still in the coffeemachine
    assert engine.won


def test_look_names_what_was_taken_and_put_at_the_same_place() -> None:
    engine = play(["go to desk 1", "open drawer 1", "take pen 1 from desk 1", "move pen 1 to drawer 1"])
    assert engine.step("look") == "You are facing the desk 1, and drawer 1. Next to it, you see a pen 1."
    for command in ["take pen 1 from drawer 1", "move pen 1 to desk 1"]:
        engine.step(command)
    # Now it is the drawer it was taken from; the desk has it back.
    assert engine.step("look") == "You are facing the desk 1, and drawer 1. Next to it, you see a pen 1."


def test_look_names_an_item_once_per_receptacle_it_was_taken_from() -> None:
    engine = play(
        [
            "go to countertop 1",
            "take mug 2 from countertop 1",
            "move mug 2 to coffeemachine 1",
            "take mug 2 from coffeemachine 1",
            "go to sinkbasin 1",
            "move mug 2 to sinkbasin 1",
            "take mug 2 from sinkbasin 1",
            "go to countertop 1",
        ]
    )
    facing = "You are facing the coffeemachine 1, and countertop 1. Next to it, you see "
    assert engine.step("look") == facing + "nothing."  # it is in hand
    engine.step("move mug 2 to countertop 1")
    assert engine.step("look") == facing + "a mug 2."  # taken from the coffeemachine


def test_receptacles_have_no_limit_and_stay_open() -> None:
    engine = play(["go to cabinet 2", "open cabinet 2", "go to desk 1", "go to cabinet 2"])
    assert engine.step("examine cabinet 2") == "The cabinet 2 is open. In it, you see a mug 1."
    assert engine.step("open cabinet 2") == NOTHING_HAPPENS
    assert engine.step("close cabinet 2") == "You close the cabinet 2."
    assert engine.step("close cabinet 2") == NOTHING_HAPPENS
    assert engine.step("take mug 1 from cabinet 2") == NOTHING_HAPPENS


def test_what_cannot_be_opened_is_not_opened() -> None:
    engine = play(["go to safe 1"])
    assert engine.step("open safe 1") == NOTHING_HAPPENS
    assert engine.step("examine safe 1") == "On the safe 1, you see nothing."


def test_only_what_may_be_contained_is_put_in() -> None:
    engine = play(["go to desk 1", "take pen 1 from desk 1", "go to fridge 1", "open fridge 1"])
    assert engine.step("move pen 1 to fridge 1") == NOTHING_HAPPENS
    assert not [command for command in engine.admissible() if command.startswith("move")]


def test_hands_hold_one_item() -> None:
    engine = play(["go to desk 1", "take pen 1 from desk 1"])
    assert engine.step("take pen 2 from desk 1") == NOTHING_HAPPENS
    assert not [command for command in engine.admissible() if command.startswith("take")]


TREATMENTS = {
    "clean": ("sinkbasin 1", "clean apple 1 with sinkbasin 1"),
    "heat": ("microwave 1", "heat apple 1 with microwave 1"),
    "cool": ("fridge 1", "cool apple 1 with fridge 1"),
}


@pytest.mark.parametrize(
    ("treatments", "text"),
    [
        ([], "This is a cold apple 1."),  # cool from the start
        (["clean"], "This is a cool and clean apple 1."),
        (["heat"], "This is a hot apple 1."),
        (["heat", "clean"], "This is a hot and clean apple 1."),
        (["heat", "cool"], "This is a cold apple 1."),
        (["cool", "heat", "cool", "clean"], "This is a cool and clean apple 1."),
    ],
)
def test_description_of_a_treated_item(treatments: list[str], text: str) -> None:
    engine = play(["go to fridge 1", "open fridge 1", "take apple 1 from fridge 1"])
    for treatment in treatments:
        place, command = TREATMENTS[treatment]
        engine.step(f"go to {place}")
        assert engine.step(command) != NOTHING_HAPPENS
    assert engine.step("examine apple 1") == text


@pytest.mark.parametrize(
    ("treatments", "text"),
    [
        ([], "This is a cool sliced apple 1."),
        (["clean"], "This is a cool and clean sliced apple 1."),
        (["heat"], "This is a hot sliced apple 1."),
        (["heat", "clean"], "This is a hot and clean sliced apple 1."),
    ],
)
def test_description_of_a_sliced_item(treatments: list[str], text: str) -> None:
    engine = play(["go to countertop 1", "take knife 1 from countertop 1", "go to fridge 1"])
    for command in ["slice apple 1 with knife 1", "go to countertop 1", "move knife 1 to countertop 1"]:
        engine.step(command)
    for command in ["go to fridge 1", "open fridge 1", "take apple 1 from fridge 1"]:
        engine.step(command)
    for treatment in treatments:
        place, command = TREATMENTS[treatment]
        engine.step(f"go to {place}")
        engine.step(command)
    assert engine.step("examine apple 1") == text


def test_description_of_items_neither_hot_nor_cold() -> None:
    cut = ["go to countertop 1", "take knife 1 from countertop 1", "slice potato 1 with knife 1"]
    fetch = ["move knife 1 to countertop 1", "go to garbagecan 1", "take potato 1 from garbagecan 1"]
    engine = play([*cut, *fetch])
    assert engine.step("examine potato 1") == "This is a sliced potato 1."
    engine = play([*cut, *fetch, "go to sinkbasin 1", "clean potato 1 with sinkbasin 1"])
    assert engine.step("examine potato 1") == "This is a clean sliced potato 1."
    engine = play(["go to countertop 1", "take mug 2 from countertop 1", "go to sinkbasin 1"])
    engine.step("clean mug 2 with sinkbasin 1")
    assert engine.step("examine mug 2") == "This is a clean mug 2."


def test_a_container_shows_its_inner_items_and_never_its_state() -> None:
    engine = play(["go to countertop 1", "take plate 1 from countertop 1", "go to microwave 1"])
    engine.step("heat plate 1 with microwave 1")
    assert engine.step("examine plate 1") == "This is a normal plate 1. In it, you see a apple 1, and a potato 1."


def test_help_has_one_line_feed_at_its_end_and_none_before() -> None:
    answer = Engine(home()).step("help")
    assert answer == HELP
    assert answer.startswith("Available commands:\n")
    assert answer.endswith("object using a sharp object\n")


@pytest.mark.parametrize(
    "command",
    [
        *(
            "",
            " ",
            "go",
            "go to",
            "go to ",
            "go to  desk 1",
            "Go to desk 1",
            "go to desk",
            "go to desk 1.",
            "look "[:-2],
        ),
        *("take", "take pen 1", "take  from desk 1", "take pen 1 from", "take pen 1 from desk 1 from desk 1"),
        *(
            "move  to desk 1",
            "move pen 1 to desk 1",
            "heat  with microwave 1",
            "slice",
            "slice  with knife 1",
        ),
        *(
            "slice tomato 1 with",
            "use",
            "use ",
            "examine",
            "examine ",
            "examine pen",
            "open",
            "open pen 1",
            "close ",
        ),
        *(
            "put pen 1 in/on desk 1",
            "inventory 1",
            "look at desk 1",
            "go to loc 1",
            "take pen 01 from desk 1",
            "\x00",
        ),
    ],
)
def test_anything_else_answers_nothing_happens_and_changes_nothing(command: str) -> None:
    engine = play(["go to desk 1"])
    before = engine.copy()
    assert engine.step(command) == NOTHING_HAPPENS
    assert engine.admissible() == before.admissible()
    assert engine.step("look") == before.step("look")


def test_white_space_around_a_command_does_not_matter() -> None:
    assert play([]).step("  go to desk 1\n") == "You arrive at desk 1. On the desk 1, you see a pen 2, and a pen 1."
