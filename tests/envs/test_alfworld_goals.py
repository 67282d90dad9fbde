"""What wins, and that a game can be won, undone, copied and begun again; on games made by hand."""

import pytest

from hiper.envs.alfworld.engine import NOTHING_HAPPENS, Engine
from hiper.envs.alfworld.game import Goal
from tests.envs.small_games import home, play

WINS = {
    "place": (
        Goal("place", "mug", "desk"),
        ["go to countertop 1", "take mug 2 from countertop 1", "go to desk 1", "move mug 2 to desk 1"],
    ),
    "clean": (
        Goal("clean", "knife", "drawer"),
        [],  # a knife is not cleanable here: can never be won
    ),
    "heat": (
        Goal("heat", "mug", "desk"),
        [
            *("go to countertop 1", "take mug 2 from countertop 1", "go to microwave 1"),
            *("heat mug 2 with microwave 1", "go to desk 1", "move mug 2 to desk 1"),
        ],
    ),
    "cool": (
        Goal("cool", "apple", "garbagecan"),
        [
            *("go to fridge 1", "open fridge 1", "take apple 1 from fridge 1"),
            *("go to garbagecan 1", "move apple 1 to garbagecan 1"),
        ],
    ),
    "two": (
        Goal("two", "pen", "drawer"),
        [
            *("go to desk 1", "open drawer 1", "take pen 1 from desk 1", "move pen 1 to drawer 1"),
            *("take pen 2 from desk 1", "move pen 2 to drawer 1"),
        ],
    ),
    "look, by taking": (
        Goal("look", "pen", "desklamp"),
        ["go to desk 1", "use desklamp 1", "take pen 1 from desk 1"],
    ),
    "look, by using": (
        Goal("look", "pen", "desklamp"),
        ["go to desk 1", "take pen 1 from desk 1", "use desklamp 1"],
    ),
    "look, by going": (
        Goal("look", "mug", "desklamp"),
        [
            *("go to desk 1", "use desklamp 1", "go to countertop 1"),
            *("take mug 2 from countertop 1", "go to desk 1"),
        ],
    ),
}


@pytest.mark.parametrize("name", WINS)
def test_the_goal_holds_after_the_last_command_and_not_before(name: str) -> None:
    goal, commands = WINS[name]
    engine = Engine(home(goal))
    for command in commands:
        assert not engine.won
        assert engine.step(command) != NOTHING_HAPPENS
    assert engine.won == bool(commands)


def test_two_items_must_lie_in_one_receptacle_together() -> None:
    engine = Engine(home(Goal("two", "mug", "cabinet")))
    for command in [
        *("go to countertop 1", "take mug 2 from countertop 1", "go to cabinet 1", "open cabinet 1"),
        "move mug 2 to cabinet 1",
    ]:
        engine.step(command)
    assert not engine.won  # the other mug is in cabinet 2


def test_a_win_can_be_undone() -> None:
    goal, commands = WINS["place"]
    engine = play(commands, goal)
    assert engine.won
    engine.step("take mug 2 from desk 1")
    assert not engine.won


def test_copies_are_independent() -> None:
    engine = play(["go to desk 1"])
    twin = engine.copy()
    twin.step("take pen 1 from desk 1")
    assert engine.step("inventory") == "You are not carrying anything."
    assert "take pen 1 from desk 1" in engine.admissible()


def test_reset_forgets_everything() -> None:
    goal, commands = WINS["look, by using"]
    engine = play(commands, goal)
    fresh = Engine(home(goal))
    assert engine.reset() == fresh.reset()
    assert not engine.won
    for command in commands:
        assert engine.admissible() == fresh.admissible()
        assert engine.step(command) == fresh.step(command)
