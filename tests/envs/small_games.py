"""Small games made by hand, and a source of them."""

import hashlib
from collections.abc import Sequence

import numpy as np

from hiper.envs.alfworld.engine import NOTHING_HAPPENS, Engine
from hiper.envs.alfworld.game import Flag, Game, Goal, ItemPart, ReceptaclePart, build_game
from hiper.envs.errors import UnknownName

FOOD = Flag.PICKUPABLE | Flag.CLEANABLE | Flag.HEATABLE | Flag.COOLABLE | Flag.SLICEABLE
CUP = Flag.PICKUPABLE | Flag.CLEANABLE | Flag.HEATABLE | Flag.COOLABLE
EVERYTHING = ("apple", "knife", "mug", "pen", "plate", "potato", "tomato")

# Places: 0 countertop and coffeemachine; 1 cabinet 2; 2 cabinet 1; 3 fridge; 4 microwave; 5 sinkbasin;
# 6 bathtubbasin; 7 desk and its drawer; 8 a safe that cannot be opened; 9 garbagecan.
RECEPTACLES = (
    ReceptaclePart("countertop", 0),
    ReceptaclePart("coffeemachine", 0),
    ReceptaclePart("cabinet", 1, openable=True),
    ReceptaclePart("cabinet", 2, openable=True),
    ReceptaclePart("fridge", 3, openable=True),
    ReceptaclePart("microwave", 4, openable=True),
    ReceptaclePart("sinkbasin", 5),
    ReceptaclePart("bathtubbasin", 6),
    ReceptaclePart("desk", 7),
    ReceptaclePart("drawer", 7, openable=True),
    ReceptaclePart("safe", 8),
    ReceptaclePart("garbagecan", 9),
)
COUNTERTOP, COFFEEMACHINE, CABINET_2, _, FRIDGE, _, _, _, DESK, DRAWER, _, GARBAGECAN = range(12)
ITEMS = (
    ItemPart("mug", (COUNTERTOP, COFFEEMACHINE), CUP),  # mug 2, in two receptacles at once
    ItemPart("mug", (CABINET_2,), CUP),  # mug 1
    ItemPart("apple", (FRIDGE,), FOOD | Flag.COLD),
    ItemPart("knife", (COUNTERTOP,), Flag.PICKUPABLE),
    ItemPart("plate", (COUNTERTOP,), CUP | Flag.CONTAINER, inner=(2, 9)),
    ItemPart("desklamp", (DRAWER,), Flag.TOGGLEABLE),  # in a closed drawer, and cannot be carried
    ItemPart("pen", (DESK,)),  # pen 2
    ItemPart("pen", (DESK,)),  # pen 1
    ItemPart("tomato", (), FOOD, locations=(7,)),  # in no receptacle, said to be at the desk
    ItemPart("potato", (GARBAGECAN,), FOOD, locations=(0,)),  # said to be at the countertop, which is wrong
)
CAN_CONTAIN = {
    "countertop": EVERYTHING,
    "coffeemachine": ("mug",),
    "cabinet": ("mug", "plate"),
    "fridge": ("apple", "mug", "plate", "potato", "tomato"),
    "microwave": ("apple", "mug", "plate", "potato", "tomato"),
    "sinkbasin": EVERYTHING,
    "desk": ("mug", "pen"),
    "drawer": ("pen", "knife"),
    "garbagecan": ("apple", "potato"),
}
PLACE_PEN = Goal("place", "pen", "drawer")


def home(goal: Goal = PLACE_PEN, task: str = "Your task is to: put a pen in drawer.", name: str = "home") -> Game:
    """A home with one of everything the rules are about."""
    return build_game(
        goal=goal,
        task=task,
        receptacles=RECEPTACLES,
        items=ITEMS,
        can_contain=CAN_CONTAIN,
        path=f"made/{goal.kind}/{name}",
        walkthrough=("go to desk 1", "take pen 1 from desk 1", "open drawer 1", "move pen 1 to drawer 1"),
    )


def play(commands: Sequence[str], goal: Goal | None = None) -> Engine:
    """An engine after these commands, each of which must do something and be on the list."""
    engine = Engine(home(goal) if goal else home())
    for command in commands:
        assert command in engine.admissible(), command
        assert engine.step(command) != NOTHING_HAPPENS, command
    return engine


class ListGames:
    """A source of given games."""

    split = "made"
    version = "by-hand"

    def __init__(self, games: Sequence[Game]) -> None:
        self._games = {game.path: game for game in games}
        self.sha256 = hashlib.sha256(repr(games).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._games)

    def names(self) -> Sequence[str]:
        return tuple(self._games)

    def game(self, name: str) -> Game:
        if name not in self._games:
            raise UnknownName(f"unknown game {name!r}")
        return self._games[name]

    def pick(self, rng: np.random.Generator) -> str:
        return self.names()[int(rng.integers(len(self)))]


def several(count: int = 7) -> ListGames:
    """`count` homes that differ in goal and name."""
    goals = (PLACE_PEN, Goal("two", "pen", "drawer"), Goal("heat", "mug", "cabinet"))
    return ListGames([home(goals[i % len(goals)], name=f"home-{i}") for i in range(count)])
