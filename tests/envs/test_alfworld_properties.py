"""What holds in every state of every game, on random homes and random commands."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.envs.alfworld.engine import NOTHING_HAPPENS, Engine
from hiper.envs.alfworld.game import (
    GOAL_KINDS,
    Flag,
    Game,
    Goal,
    GoalKind,
    ItemPart,
    ReceptaclePart,
    build_game,
)

RECEPTACLE_TYPES = ("cabinet", "desk", "fridge", "microwave", "sinkbasin")
ITEM_TYPES = ("apple", "desklamp", "knife", "mug", "plate")
TRIES = ("look", "dance", "", "take mug 1", "go to desk 9", "open  desk 1", "examine mug 1", "use desklamp 1")


@st.composite
def games(draw: st.DrawFn) -> Game:
    """Any small game: shared places, items in several receptacles or none, all abilities, any goal."""
    receptacles = draw(
        st.lists(
            st.builds(ReceptaclePart, st.sampled_from(RECEPTACLE_TYPES), st.integers(0, 3), st.booleans()),
            min_size=1,
            max_size=6,
        )
    )
    labels = sorted({part.location for part in receptacles})
    items = draw(
        st.lists(
            st.builds(
                ItemPart,
                type=st.sampled_from(ITEM_TYPES),
                receptacles=st.lists(st.integers(0, len(receptacles) - 1), max_size=3, unique=True).map(tuple),
                flags=st.integers(0, 2 * Flag.COLD - 1),
                inner=st.just(()),
                locations=st.none() | st.lists(st.sampled_from(labels), max_size=2).map(tuple),
            ),
            max_size=6,
        )
    )
    allowed = st.lists(st.sampled_from(ITEM_TYPES))
    return build_game(
        goal=Goal(
            draw(st.sampled_from(GOAL_KINDS)),
            draw(st.sampled_from(ITEM_TYPES)),
            draw(st.sampled_from((*RECEPTACLE_TYPES, "desklamp"))),
        ),
        task="Your task is to: play.",
        receptacles=receptacles,
        items=items,
        can_contain=draw(st.fixed_dictionaries(dict.fromkeys(RECEPTACLE_TYPES, allowed))),
        path="any/game/1",
    )


choices = st.lists(st.integers(0, 1000), max_size=25)


def state(engine: Engine) -> tuple[object, ...]:
    """All that can change."""
    names = [name for name in Engine.__slots__ if name != "world"]
    return tuple(sorted(value) if isinstance(value := getattr(engine, name), set) else repr(value) for name in names)


def play(engine: Engine, chosen: list[int]) -> None:
    """An admissible command for each number."""
    for number in chosen:
        commands = engine.admissible()
        engine.step(commands[number % len(commands)])


@settings(deadline=None)
@given(games(), choices)
def test_the_list_is_sorted_and_says_exactly_what_does_something(game: Game, chosen: list[int]) -> None:
    engine = Engine(game)
    play(engine, chosen)
    commands = engine.admissible()
    assert list(commands) == sorted(set(commands))
    for command in {*commands, *TRIES, *all_commands(game)}:
        twin = engine.copy()
        assert (twin.step(command) != NOTHING_HAPPENS) == (command in commands), command


@settings(deadline=None)
@given(games(), choices)
def test_a_command_that_is_not_listed_changes_nothing(game: Game, chosen: list[int]) -> None:
    engine = Engine(game)
    play(engine, chosen)
    before = state(engine)
    for command in {*TRIES, *all_commands(game)} - set(engine.admissible()):
        assert engine.step(command) == NOTHING_HAPPENS
        assert state(engine) == before


@settings(deadline=None)
@given(games(), choices)
def test_remembered_answers_are_those_of_a_fresh_engine(game: Game, chosen: list[int]) -> None:
    played, fresh = Engine(game), Engine(game)
    play(played, chosen)
    played.reset()
    for number in chosen:
        commands = played.admissible()
        assert commands == played._list_commands() == fresh.admissible()
        command = commands[number % len(commands)]
        assert played.step(command) == fresh.step(command)
        assert state(played) == state(fresh)


@settings(deadline=None)
@given(games(), choices)
def test_success_is_the_goal_read_from_the_texts(game: Game, chosen: list[int]) -> None:
    """For `place` and `two`: counts the goal's items in each receptacle, from what the game itself shows."""
    kind: GoalKind = "two" if chosen and chosen[0] % 2 else "place"
    game = replace(game, goal=game.goal._replace(kind=kind))
    engine = Engine(game)
    play(engine, chosen)
    needed = 2 if kind == "two" else 1
    most = 0
    for r, receptacle in enumerate(game.receptacles):
        if receptacle.type == game.goal.target:
            shown = engine.world.view(r, engine.contents[r], -1)
            most = max(most, shown.count(f"a {game.goal.item} "))
    assert engine.won == (most >= needed)


def all_commands(game: Game) -> list[str]:
    """Every command that could ever be meant in a game."""
    receptacles = [r.name for r in game.receptacles]
    items = [i.name for i in game.items]
    pairs = {"take": "from", "move": "to", "clean": "with", "heat": "with", "cool": "with"}
    commands = [f"{verb} {r}" for verb in ("go to", "open", "close", "examine") for r in receptacles]
    commands += [f"{verb} {i}" for verb in ("use", "examine") for i in items]
    commands += [f"{verb} {i} {word} {r}" for verb, word in pairs.items() for i in items for r in receptacles]
    commands += [f"slice {i} with {k}" for i in items for k in items]
    return [*commands, "look", "inventory", "help"]
