"""Generated games: solvable, the same from the same name, like the official ones, others in each split."""

import random
from collections import Counter
from statistics import mean

import numpy as np
import pytest

from hiper.envs.alfworld.chores import kinds
from hiper.envs.alfworld.data import GameSource, OfficialGames
from hiper.envs.alfworld.engine import NOTHING_HAPPENS, Engine
from hiper.envs.alfworld.expert import Expert
from hiper.envs.alfworld.game import GOAL_KINDS, Flag, Game, Goal
from hiper.envs.alfworld.generate import GeneratedGames
from hiper.envs.alfworld.homes import Size
from hiper.envs.alfworld.ladder import LadderEngine, LadderGame, engine_of, turn_limit
from hiper.envs.alfworld.placement import placement
from hiper.envs.dice import Dice
from hiper.envs.errors import UnknownName
from tests.envs.official_data import official_data
from tools.fit_placement import dumps, fit

SIZES: tuple[Size, ...] = ("small", "full")


def games_of(source: GeneratedGames, n: int) -> list[Game]:
    return [source.game(name) for name in source.names()[:n]]


def stages_of(game: Game) -> tuple[Goal, ...]:
    return game.stages if isinstance(game, LadderGame) else (game.goal,)


# Solvable


@pytest.mark.parametrize("size", ["tiny", *SIZES])
@pytest.mark.parametrize("chain", range(1, 9))
def test_the_expert_wins(size: Size, chain: int) -> None:
    won = []
    for game in games_of(GeneratedGames("train", seed=3, size=size, chain=chain), 100 if chain == 1 else 40):
        engine, expert = engine_of(game), Expert()
        text = engine.reset()
        expert.reset(text)
        assert text.endswith(game.task)
        assert not engine.won
        turns = 0
        while not engine.won and turns < turn_limit(chain):
            command = expert.advise().action
            expert.observe(command, engine.step(command))
            turns += 1
        won.append(engine.won)
    assert mean(won) >= 0.99


@pytest.mark.parametrize("chain", [1, 4])
def test_what_a_task_needs_is_there_and_not_yet_done(chain: int) -> None:
    for game in games_of(GeneratedGames("train", chain=chain), 200):
        types = {r.type for r in game.receptacles}
        for kind, item_type, target in stages_of(game):
            items = [i for i in game.items if i.type == item_type]
            assert len(items) >= (2 if kind == "two" else 1)
            assert all(i.flags & Flag.PICKUPABLE and i.receptacles for i in items)
            if kind == "look":
                assert any(i.type == target and i.flags & Flag.TOGGLEABLE for i in game.items)
                continue
            assert target in types
            assert any(r.accepts >> game.items.index(items[0]) & 1 for r in game.receptacles if r.type == target)
            inside = {game.receptacles[r].type for i in items for r in i.receptacles}
            assert target not in inside or (chain == 1 and kind in {"clean", "heat", "cool"})


@pytest.mark.parametrize("size", SIZES)
def test_the_engine_plays_them(size: Size) -> None:
    """Every command on the list does something, for random play of the whole of it."""
    rng = random.Random(0)
    for game in games_of(GeneratedGames("valid_unseen", size=size), 30):
        engine = Engine(game)
        for _ in range(40):
            assert engine.step(rng.choice(engine.admissible())) != NOTHING_HAPPENS


# The same from the same name


@pytest.mark.parametrize("chain", [1, 3])
def test_same_name_same_game(chain: int) -> None:
    names = GeneratedGames("train", seed=1, chain=chain).names()
    backwards = {name: GeneratedGames("train", seed=1, chain=chain).game(name) for name in reversed(names[:20])}
    source = GeneratedGames("train", seed=1, chain=chain, n=25)
    for name in names[:20]:
        game = source.game(name)
        assert game == backwards[name]
        assert game is source.game(name)
        assert (game.path, game.split) == (name, "train")


def test_a_known_game_stays_what_it_was() -> None:
    """Published numbers name games: a change of what a name means needs a new version of the generator."""
    source = GeneratedGames("valid_unseen", size="small")
    assert source.names()[:3] == [
        "generated/valid_unseen/0/cool-bowl-microwave",
        "generated/valid_unseen/1/two-cellphone-bed",
        "generated/valid_unseen/2/cool-pan-stoveburner",
    ]
    game = source.game("generated/valid_unseen/0/cool-bowl-microwave")
    assert Engine(game).reset() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a countertop 1, a fridge 1, "
        "a microwave 1, a sinkbasin 1, a stoveburner 2, a stoveburner 1, and a toaster 1.\n\n"
        "Your task is to: cool some bowl and put it in microwave."
    )


@pytest.mark.parametrize(
    "name",
    [
        "valid_seen/look_at_obj_in_light-CD-None-DeskLamp-309/trial_T2019",
        "generated/train/0/place-mug-moon",
        "generated/train/10/",
        "generated/train/x/place-mug-desk",
        "generated/train/99999999/place-mug-desk",
        "",
    ],
)
def test_unknown_names(name: str) -> None:
    with pytest.raises(UnknownName, match="such as 'generated/train/0/"):
        GeneratedGames("train").game(name)


def test_settings_are_checked() -> None:
    with pytest.raises(UnknownName, match="did you mean 'valid_seen'"):
        GeneratedGames("valid_sene")
    for bad in ({"size": "huge"}, {"chain": 0}, {"chain": 9}, {"n": 0}, {"shortest": 2}, {"shortest": -1}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            GeneratedGames("train", **bad)  # type: ignore[arg-type]


def test_a_source_as_others_are() -> None:
    source: GameSource = GeneratedGames("valid_seen")
    names = source.names()
    assert len(source) == len(names) == len(set(names)) == 200
    assert len(GeneratedGames("train")) == 10_000
    assert names[-1] == list(names)[-1] == names[199]
    assert len(source.sha256) == 64
    rng = np.random.default_rng(0)
    picked = [source.pick(rng) for _ in range(300)]
    assert set(picked) <= set(names)
    assert len(set(picked)) > 120


def test_hash_and_version_tell_settings_apart() -> None:
    sources = [
        GeneratedGames("train"),
        GeneratedGames("valid_seen"),
        GeneratedGames("train", seed=1),
        GeneratedGames("train", size="small"),
        GeneratedGames("train", chain=2),
        GeneratedGames("train", chain=2, shortest=1),
        GeneratedGames("train", n=5),
    ]
    assert len({source.sha256 for source in sources}) == len(sources)
    assert GeneratedGames("train").sha256 == sources[0].sha256


# Splits


def inventory(game: Game) -> tuple[str, ...]:
    """What the start text tells of the home."""
    return tuple(r.name for r in game.receptacles)


@pytest.mark.parametrize("size", SIZES)
def test_splits_are_disjoint(size: Size) -> None:
    train = games_of(GeneratedGames("train", size=size), 3000)
    seen = games_of(GeneratedGames("valid_seen", size=size), 200)
    unseen = games_of(GeneratedGames("valid_unseen", size=size), 200)
    homes = {inventory(game) for game in train}
    assert not homes & {inventory(game) for game in unseen}
    assert len({inventory(game) for game in unseen}) > 60
    # Not every home for training happens to be among the first 3,000 games.
    assert sum(inventory(game) in homes for game in seen) > 180
    contents = {(inventory(game), game.items, game.goal) for game in train}
    assert not any((inventory(game), game.items, game.goal) in contents for game in seen)


# Like the official games


def test_full_games_are_like_the_official_ones() -> None:
    games = games_of(GeneratedGames("train"), 1000)
    assert 21 < mean(len(game.receptacles) for game in games) < 26  # official: 23.5
    assert 29 < mean(len(game.items) for game in games) < 35  # official: 31.8
    assert mean(any(r.openable for r in game.receptacles) for game in games) > 0.85
    assert max(Counter(r.type for game in games for r in game.receptacles).values()) > 4000  # cabinets
    official: Counter[str] = Counter()
    for (_, kind), n in kinds().items():
        official[kind] += n
    shares = Counter(game.goal.kind for game in games)
    for kind in GOAL_KINDS:
        assert shares[kind] / 1000 == pytest.approx(official[kind] / official.total(), abs=0.04)


def test_small_games_are_small() -> None:
    games = games_of(GeneratedGames("train", size="small"), 300)
    assert {len(game.receptacles) for game in games} <= {6, 7, 8, 9}
    assert 9 < mean(len(game.items) for game in games) < 11
    assert {game.goal.kind for game in games} == set(GOAL_KINDS)


def test_tiny_games_are_tiny_and_their_splits_disjoint() -> None:
    train = games_of(GeneratedGames("train", size="tiny", room="kitchen"), 500)
    unseen = games_of(GeneratedGames("valid_unseen", size="tiny", room="kitchen"), 200)
    assert {len(game.receptacles) for game in train} == {4, 5}
    assert 4 < mean(len(game.items) for game in train) < 6
    assert not {inventory(game) for game in train} & {inventory(game) for game in unseen}


def test_chains_of_mixed_length_take_turns() -> None:
    games = games_of(GeneratedGames("train", chain=3, shortest=1), 9)
    assert [len(stages_of(game)) for game in games] == [1, 2, 3] * 3
    assert all(isinstance(game, LadderGame) == (len(stages_of(game)) > 1) for game in games)
    alone = GeneratedGames("train", chain=3, shortest=3)
    assert alone.sha256 == GeneratedGames("train", chain=3).sha256


def test_items_are_where_they_may_be() -> None:
    for game in games_of(GeneratedGames("train"), 100):
        for item in game.items:
            (receptacle,) = item.receptacles
            types = {kind for room in placement().rooms.values() for kind in room.inside.get(item.type, ())}
            assert game.receptacles[receptacle].type in types


def test_numbers_count_down_in_each_type() -> None:
    for game in games_of(GeneratedGames("valid_seen"), 20):
        by_type: dict[str, list[int]] = {}
        for thing in (*game.receptacles, *game.items):
            by_type.setdefault(thing.type, []).append(thing.number)
        assert all(numbers == list(range(len(numbers), 0, -1)) for numbers in by_type.values())


# Ladders


def test_turn_limit_grows_with_the_chain() -> None:
    assert turn_limit(1) == 50
    assert [turn_limit(k) for k in range(1, 9)] == sorted({turn_limit(k) for k in range(1, 9)})


@pytest.mark.parametrize("chain", [2, 3, 8])
def test_ladders_come_back_to_an_earlier_item(chain: int) -> None:
    for game in games_of(GeneratedGames("train", chain=chain), 60):
        stages = stages_of(game)
        assert game.task_type == f"chain_{chain}"
        assert len(stages) == chain
        assert stages[-1].item in {goal.item for goal in stages[:-1]}
        assert len({(goal.item, goal.target) for goal in stages}) == chain
        for goal in stages:
            again = [other for other in stages if other.item == goal.item]
            count = sum(item.type == goal.item for item in game.items)
            if len(again) > 1:
                assert count == (2 if any(other.kind == "two" for other in again) else 1)


def ladder_engine() -> LadderEngine:
    """An apple to put into the sink, and then into the bin."""
    source = GeneratedGames("train", size="small", chain=2)
    for name in source.names():
        game = source.game(name)
        if isinstance(game, LadderGame) and [goal.kind for goal in game.stages] == ["place", "place"]:
            return LadderEngine(game)
    raise AssertionError("no such ladder")


def advance(engine: LadderEngine, expert: Expert) -> None:
    command = expert.advise().action
    expert.observe(command, engine.step(command))


def test_stages_must_be_done_in_order() -> None:
    engine = ladder_engine()
    game = engine.world.game
    assert isinstance(game, LadderGame)
    first, second = game.stages
    # An expert given the second task alone reaches its goal; that wins nothing while the first is not done.
    plain = Engine(game)
    backwards = Expert()
    text = engine.reset()
    backwards.reset(text.replace(game.task, f"Your task is to: put a {second.item} in {second.target}."))
    plain.reset()
    for _ in range(30):
        if any(c.startswith("move") and second.target in c for c in engine.admissible()):
            break
        advance(engine, backwards)
    advance(engine, backwards)
    assert (engine.stage, engine.won) == (0, False)
    # In order it is won, from any state.
    expert = Expert()
    expert.reset(text)
    seen = []
    while not engine.won:
        advance(engine, expert)
        seen.append(engine.stage)
    assert seen[-1] == 1
    assert first != second


def test_a_copy_of_a_ladder_goes_its_own_way() -> None:
    engine, expert = ladder_engine(), Expert()
    expert.reset(engine.reset())
    twin = engine.copy()
    while not engine.won:
        advance(engine, expert)
    assert (twin.stage, twin.won) == (0, False)
    expert.reset(twin.reset())
    while not twin.won:
        advance(twin, expert)
    assert twin.stage == engine.stage == 1


def test_reset_goes_back_to_the_first_stage() -> None:
    engine, expert = ladder_engine(), Expert()
    expert.reset(engine.reset())
    while not engine.won:
        advance(engine, expert)
    engine.reset()
    assert (engine.stage, engine.won) == (0, False)


# Statistics


def test_dice_follow_the_weights() -> None:
    dice = Dice("x")
    drawn = Counter(dice.weighted({"a": 3, "b": 0, "c": 1}) for _ in range(4000))
    assert set(drawn) == {"a", "c"}
    assert 2850 < drawn["a"] < 3150
    assert Dice("x").shuffled(range(9)) == Dice("x").shuffled(range(9))
    with pytest.raises(ValueError, match="positive"):
        dice.weighted({"a": 0})


def test_fit_recovers_the_games_it_is_given() -> None:
    games = [
        Game(**{name: getattr(game, name) for name in Game.__slots__} | {"path": f"train/x-{scene}/t"})
        for game, scene in zip(games_of(GeneratedGames("train"), 40), [1, 201, 301, 401] * 10, strict=True)
    ]
    table = fit(games)
    assert set(table) == {"flags", "holds", "found", "rooms"}
    assert table["flags"].items() <= placement().flags.items()
    assert dumps(table) == dumps(fit(list(reversed(games))))


def test_the_table_shipped_is_the_one_of_the_training_split() -> None:
    source = OfficialGames(official_data(), "train")
    assert dumps(fit([source.game(name) for name in source.names()])) == placement().text
