"""The expert: wins, from what it can see alone, whatever is done in its place, and says what it is about."""

import ast
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hiper
from hiper.envs.alfworld import expert as expert_module
from hiper.envs.alfworld.data import OfficialGames
from hiper.envs.alfworld.engine import NOTHING_HAPPENS
from hiper.envs.alfworld.expert import Expert, Search, Step
from hiper.envs.alfworld.game import GOAL_KINDS, Game, Goal
from hiper.envs.alfworld.generate import GeneratedGames
from hiper.envs.alfworld.ladder import LadderEngine, engine_of, turn_limit
from hiper.envs.alfworld.notebook import Notebook, listed
from hiper.envs.alfworld.placement import Prior
from hiper.envs.alfworld.sentence import read_task, task_sentence
from hiper.envs.errors import DataError
from hiper.records import Decision
from tests.envs.official_data import official_data
from tests.envs.small_games import home

SEARCHES: tuple[Search, ...] = ("best", "varied")
SUBGOAL = re.compile(r"(find|find another|clean|heat|cool|use) \w+|put \w+ in \w+|put \w+ down")


class Play(NamedTuple):
    won: bool
    steps: tuple[Step, ...]
    commands: tuple[str, ...]
    answers: tuple[str, ...]


def play(game: Game, expert: Expert, limit: int = 50, mistakes: float = 0.0, seed: int = 0) -> Play:
    """One episode. At a share of the turns something else is done, mostly a command on the list."""
    rng = random.Random(seed)
    engine = engine_of(game)
    expert.reset(engine.reset())
    steps, commands, answers = [], [], []
    while not engine.won and len(steps) < limit:
        steps.append(expert.advise())
        command = steps[-1].action
        if rng.random() < mistakes:
            command = rng.choice([*engine.admissible(), "go to fridge 1", "take mug 1 from desk 1", "dance"])
        answers.append(engine.step(command))
        expert.observe(command, answers[-1])
        commands.append(command)
    return Play(engine.won, tuple(steps), tuple(commands), tuple(answers))


def rate(games: Sequence[Game], search: Search, mistakes: float = 0.0) -> float:
    """Share of the games that the expert wins within 50 turns."""
    expert = Expert(seed=0, search=search)
    return sum(play(game, expert, mistakes=mistakes, seed=i).won for i, game in enumerate(games)) / len(games)


def generated(n: int, chain: int = 1) -> list[Game]:
    source = GeneratedGames("valid_unseen", chain=chain, n=n)
    return [source.game(name) for name in source.names()]


# Winning


@pytest.mark.parametrize("search", SEARCHES)
def test_wins_generated_games(search: Search) -> None:
    assert rate(generated(300), search) >= 0.99


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("split", ["train", "valid_seen", "valid_unseen"])
def test_wins_official_games(split: str, search: Search) -> None:
    source = OfficialGames(official_data(), split)
    names = source.names()[:: len(source) // 300 or 1]
    games = [source.game(name) for name in names]
    assert rate(games, search) >= 0.99
    if search == "best":
        assert rate(games, search, mistakes=0.2) >= 0.9


@pytest.mark.parametrize("search", SEARCHES)
def test_recovers_from_mistakes(search: Search) -> None:
    assert rate(generated(200), search, mistakes=0.2) >= 0.9


@pytest.mark.parametrize("chain", [2, 5, 8])
def test_recovers_from_mistakes_in_ladders(chain: int) -> None:
    expert = Expert(seed=0)
    plays = [play(game, expert, 2 * turn_limit(chain), 0.2, i) for i, game in enumerate(generated(40, chain))]
    assert sum(p.won for p in plays) >= 38


def test_does_not_take_again_what_it_has_placed() -> None:
    for game in generated(300):
        if game.goal.kind == "two":
            commands = play(game, Expert()).commands
            taken = [command.partition(" from ")[0] for command in commands if command.startswith("take")]
            assert len(taken) == len(set(taken)) == 2


# Advice


def test_advice_is_pure_and_relative_to_the_subgoal_in_force() -> None:
    for game in generated(40):
        engine, expert = engine_of(game), Expert(seed=1, search="varied")
        expert.reset(engine.reset())
        in_force = None
        while not engine.won:
            step = expert.advise()
            assert expert.advise() == step
            assert (step.decision is Decision.KEEP) == (step.subgoal == in_force)
            in_force = step.subgoal
            expert.observe(step.action, engine.step(step.action))


def test_subgoals_are_few_and_of_known_forms() -> None:
    for game in generated(200):
        won, steps, *_ = play(game, Expert())
        assert all(SUBGOAL.fullmatch(step.subgoal) for step in steps)
        assert not won or 2 <= sum(step.decision is Decision.SWITCH for step in steps) <= 4


def test_the_shape_of_an_episode() -> None:
    goal = Goal("cool", "mug", "coffeemachine")
    steps = play(home(goal, task_sentence([goal], [0])), Expert()).steps
    assert [step.subgoal for step in steps if step.decision is Decision.SWITCH] == [
        "find mug",
        "cool mug",
        "put mug in coffeemachine",
    ]


def test_says_keep_also_after_someone_else_chose_the_action() -> None:
    expert = Expert()
    engine = engine_of(home())
    expert.reset(engine.reset())
    first = expert.advise()
    expert.observe("look", engine.step("look"))
    again = expert.advise()
    assert (first.decision, again.decision) == (Decision.SWITCH, Decision.KEEP)
    assert (first.subgoal, first.action) == (again.subgoal, again.action)


def test_puts_a_wrong_item_down() -> None:
    expert = Expert()
    engine = engine_of(home())
    expert.reset(engine.reset())
    for command in ("go to countertop 1", "take knife 1 from countertop 1"):
        expert.observe(command, engine.step(command))
    assert expert.advise() == Step(Decision.SWITCH, "put knife down", "move knife 1 to countertop 1")


def test_a_refused_journey_means_being_there() -> None:
    goal = Goal("place", "knife", "drawer")  # the drawer shares the desk's place
    engine = engine_of(home(goal, task_sentence([goal], [0])))
    expert = Expert()
    expert.reset(engine.reset())
    for command in ("go to countertop 1", "take knife 1 from countertop 1", "go to desk 1"):
        expert.observe(command, engine.step(command))
    done = []
    while not engine.won:
        done.append(expert.advise().action)
        expert.observe(done[-1], engine.step(done[-1]))
    assert done == ["go to drawer 1", "examine drawer 1", "open drawer 1", "move knife 1 to drawer 1"]


def test_varied_search_depends_on_the_seed_alone() -> None:
    games = generated(30)
    experts = [Expert(seed=seed, search="varied") for seed in (1, 1, 2)]
    first, same, other = ([play(game, expert).commands for game in games] for expert in experts)
    assert first == same
    assert sum(a != b for a, b in zip(first, other, strict=True)) > 15
    expert = Expert(seed=7, search="varied")
    texts = []
    for _ in range(2):
        expert.reset(engine_of(games[0]).reset(), seed=3)
        texts.append(expert.advise())
    assert texts[0] == texts[1]


def test_unknown_search() -> None:
    with pytest.raises(ValueError, match="'best' or 'varied'"):
        Expert(search="worst")  # type: ignore[arg-type]


def test_varied_search_follows_the_prior() -> None:
    text = "You are in the middle of a room. Looking quickly around you, you see a bed 1, and a desk 1."
    prior = Prior({"pen": {"desk": (750, 1000), "bed": (250, 1000)}})
    expert = Expert(prior, seed=0, search="varied")
    firsts = []
    for _ in range(1000):
        expert.reset(f"{text}\n\nYour task is to: look at pen under the desklamp.")
        firsts.append(expert.advise().action)
    assert 700 < firsts.count("go to desk 1") < 800  # odds 3 to 1


# Ladders: the expert's idea of the stage is the engine's


@pytest.mark.parametrize("chain", [2, 4, 8])
def test_knows_the_stage(chain: int) -> None:
    for game in generated(30, chain):
        engine, expert = engine_of(game), Expert()
        assert isinstance(engine, LadderEngine)
        expert.reset(engine.reset())
        stages = [engine.stage]
        while not engine.won:
            command = expert.advise().action
            expert.observe(command, engine.step(command))
            stages.append(engine.stage)
            assert expert._stage == engine.stage
        assert sorted(set(stages)) == list(range(chain))  # one after another: none was done for nothing
        assert stages == sorted(stages)


# What it knows


def test_reads_texts_and_nothing_else() -> None:
    """Neither the expert nor its notebook can reach a game: they import no engine, world or data."""
    folder = Path(expert_module.__file__).parent
    for name in ("expert.py", "notebook.py", "sentence.py"):
        tree = ast.parse((folder / name).read_text(encoding="utf-8"))
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {m for m in imported if m and m.rpartition(".")[2] in {"engine", "world", "data", "ladder"}}
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert not names & {"Game", "Item", "Receptacle"}


def test_notebook() -> None:
    notes = Notebook("Looking quickly around you, you see a bed 1, a desk 1, and a drawer 1.\n\nYour task")
    assert notes.receptacles == ("bed 1", "desk 1", "drawer 1")
    notes.note("go to desk 1", "You arrive at desk 1. On the desk 1, you see a pen 2, and a pen 1.")
    assert notes.is_here("desk 1")
    assert notes.contents == {"desk 1": ("pen 2", "pen 1")}
    notes.note("take pen 1 from desk 1", "You pick up the pen 1 from the desk 1.")
    assert (notes.held, notes.source, notes.contents["desk 1"]) == ("pen 1", "desk 1", ("pen 2",))
    notes.note("go to drawer 1", NOTHING_HAPPENS)
    assert notes.is_here("drawer 1")
    assert notes.refused == {"go to drawer 1"}
    notes.note("examine drawer 1", "The drawer 1 is closed.")
    assert notes.is_open == {"desk 1": None, "drawer 1": False}
    assert notes.refused  # looking changes nothing
    notes.note("open drawer 1", "You open the drawer 1. The drawer 1 is open. In it, you see nothing.")
    notes.note("move pen 1 to drawer 1", "You move the pen 1 to the drawer 1.")
    assert notes.contents["drawer 1"] == ("pen 1",)
    assert notes.held is None
    assert not notes.refused
    notes.note("examine box 1", "This is a normal box 1. In it, you see a key 1.")
    assert set(notes.contents) == {"desk 1", "drawer 1"}


def test_notebook_learns_from_idle_commands() -> None:
    notes = Notebook("Looking quickly around you, you see a bed 1, a desk 1, and a drawer 1.\n\nYour task")
    notes.note("go to desk 1", "You arrive at desk 1. On the desk 1, you see nothing.")
    notes.note("look", "You are facing the desk 1, and drawer 1. Next to it, you see nothing.")
    assert notes.is_here("drawer 1")
    assert not notes.is_here("bed 1")
    notes.note("inventory", "You are carrying: a pen 3.")
    assert notes.held == "pen 3"
    notes.note("heat", "You heat the egg 1 using the microwave 1.")
    notes.note("cool", "You cool the egg 1 using the fridge 1.")
    assert notes.treated == {"clean": set(), "heat": set(), "cool": {"egg 1"}}


@given(st.lists(st.from_regex(r"[a-z]{2,8} [1-9]", fullmatch=True), unique=True, max_size=6))
def test_lists_read_back(names: list[str]) -> None:
    items = [f"a {name}" for name in names]
    text = " and ".join([", ".join(items[:-1]) + ",", items[-1]]) if len(items) > 1 else "".join(items)
    assert listed(text or "nothing") == tuple(names)


WORDS = st.from_regex(r"[a-z]{3,12}", fullmatch=True)
GOALS = st.builds(Goal, st.sampled_from(GOAL_KINDS), WORDS, WORDS)


@given(st.lists(st.tuples(GOALS, st.integers(0, 1)), min_size=1, max_size=8))
def test_task_sentences_read_back(stages: list[tuple[Goal, int]]) -> None:
    goals = tuple(goal for goal, _ in stages)
    text = task_sentence(goals, [wording for _, wording in stages])
    assert read_task(f"Welcome.\n\nYou see a bed 1.\n\n{text}") == goals


def test_every_official_task_is_understood() -> None:
    for split in ("train", "valid_train", "valid_seen", "valid_unseen"):
        source = OfficialGames(official_data(), split)
        games = [source.game(name) for name in source.names()]
        assert all(read_task(game.task) == (game.goal,) for game in games)


@pytest.mark.parametrize("text", ["", "Your task is to: dance.", "Your task is to: put a mug in."])
def test_tasks_of_another_language(text: str) -> None:
    with pytest.raises(DataError):
        read_task(text)


def test_prior_knows_where_things_are_and_excludes_nothing() -> None:
    prior = Prior()
    assert prior.chance("mug", "coffeemachine") > prior.chance("mug", "drawer")
    assert prior.chance("toiletpaper", "toiletpaperhanger") > prior.chance("toiletpaper", "sinkbasin")
    assert all(0 < prior.chance(item, "spaceship") < 0.1 for item in ("mug", "moonrock"))


# In the environment


def test_advice_in_info() -> None:
    env = hiper.make("alfworld", split="valid_seen", expert=True, expert_search="varied")
    runs = []
    for _ in range(2):
        _, info = env.reset(seed=5)
        run, won = [], False
        while not won:
            run.append((info["expert_decision"], info["expert_subgoal"], info["expert_action"]))
            _, _, won, _, info = env.step(info["expert_action"])
        runs.append(run)
    assert runs[0] == runs[1]
    assert runs[0][0][0] == "SWITCH"
    _, info = hiper.make("alfworld", split="valid_seen").reset(seed=5)
    assert "expert_action" not in info
