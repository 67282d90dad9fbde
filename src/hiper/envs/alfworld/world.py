"""The unchanging side of a game being played: names, places, masks, texts, the meaning of commands.

A `World` is computed once per game and shared by every engine that plays it; what it remembers (texts and
command lists met before) only saves time. Sets of items or receptacles are ints: bit i stands for index i.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final, NamedTuple

from hiper.envs.alfworld.game import Flag, Game

WELCOME: Final = "-= Welcome to TextWorld, ALFRED! =-"
MIDDLE: Final = "You are in the middle of a room. Looking quickly around you, you see "
HELP: Final = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
"""
KNIVES: Final = frozenset({"knife", "butterknife"})
# verb -> receptacle types that do it
APPLIANCES: Final = {
    "clean": frozenset({"sink", "sinkbasin"}),
    "heat": frozenset({"microwave"}),
    "cool": frozenset({"fridge"}),
}
_BETWEEN: Final = {"take": " from ", "move": " to ", "clean": " with ", "heat": " with ", "cool": " with "}
_ALONE: Final = frozenset({"look", "inventory", "help"})
_MEMORY: Final = 20_000  # entries kept per world before its memory starts afresh
_WORLDS: Final = 512  # worlds kept ready


class Action(NamedTuple):
    """A command understood: indices or -1. `target` is a receptacle, or for `slice` the item that cuts."""

    verb: str
    item: int
    target: int


def listing(names: Sequence[str]) -> str:
    """`nothing`, `x`, `x, and y`, `x, y, and z`."""
    if not names:
        return "nothing"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])}, and {names[-1]}"


def bits(mask: int) -> list[int]:
    """Indices of the bits set, ascending."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found


def _holders(holders_of: Sequence[Sequence[int]], count: int) -> tuple[int, ...]:
    """Per holder 0..count-1 the set of things it has, from the holders of each thing."""
    masks = [0] * count
    for thing, holders in enumerate(holders_of):
        for holder in holders:
            masks[holder] |= 1 << thing
    return tuple(masks)


class World:
    """Everything about one game that play does not change. Location `start` is where no receptacle is."""

    def __init__(self, game: Game) -> None:
        """The tables of `game`."""
        receptacles, items = game.receptacles, game.items
        self.game = game
        self.start = game.location_count
        self.receptacle_names = tuple(r.name for r in receptacles)
        self.item_names = tuple(i.name for i in items)
        self.location_of = tuple(r.location for r in receptacles)
        here: list[list[int]] = [[] for _ in range(self.start + 1)]
        for r, place in enumerate(self.location_of):
            here[place].append(r)
        self.here = tuple(map(tuple, here))
        self.here_mask = tuple(sum(1 << r for r in group) for group in here)
        self.openable = sum(1 << r for r, receptacle in enumerate(receptacles) if receptacle.openable)
        self.accepts = tuple(r.accepts for r in receptacles)
        self.takeable = self._flagged(Flag.PICKUPABLE)
        self.lamps = self._flagged(Flag.TOGGLEABLE)
        self.containers = self._flagged(Flag.CONTAINER)
        self.sliceable = self._flagged(Flag.SLICEABLE)
        self.treatable = {
            "clean": self._flagged(Flag.CLEANABLE),
            "heat": self._flagged(Flag.HEATABLE),
            "cool": self._flagged(Flag.COOLABLE),
        }
        self.appliances = {
            verb: sum(1 << r for r, receptacle in enumerate(receptacles) if receptacle.type in types)
            for verb, types in APPLIANCES.items()
        }
        self.knives = sum(1 << i for i, item in enumerate(items) if item.type in KNIVES)
        self.start_cold = self._flagged(Flag.COLD)
        self.start_contents = _holders([item.receptacles for item in items], len(receptacles))
        self.start_present = _holders([item.locations for item in items], self.start + 1)
        self.start_text = self._start_text()
        self.lists: dict[tuple[int, ...], tuple[str, ...]] = {}
        self._set_goal(game)
        self._receptacle_index = {name: r for r, name in enumerate(self.receptacle_names)}
        self._item_index = {name: i for i, name in enumerate(self.item_names)}
        self._actions: dict[str, Action] = {}
        self._views: dict[tuple[int, int], str] = {}
        self._going: dict[int, tuple[str, ...]] = {}

    def _flagged(self, flag: Flag) -> int:
        """Mask of the items with `flag`."""
        wanted = int(flag)  # plain ints: `&` on an IntFlag takes ten times as long
        return sum(1 << i for i, item in enumerate(self.game.items) if item.flags & wanted)

    def _set_goal(self, game: Game) -> None:
        """Masks that the test for success needs."""
        goal = game.goal
        self.goal_items = sum(1 << i for i, item in enumerate(game.items) if item.type == goal.item)
        lamps = sum(1 << i for i, item in enumerate(game.items) if item.type == goal.target)
        self.goal_lamps = lamps & self.lamps
        if goal.kind in self.treatable:
            self.goal_items &= self.treatable[goal.kind]
        self.goal_receptacles = tuple(r for r, place in enumerate(game.receptacles) if place.type == goal.target)

    def _start_text(self) -> str:
        """What the game prints at the start."""
        seen = listing([f"a {name}" for name in self.receptacle_names])
        return f"{WELCOME}\n\n{MIDDLE}{seen}.\n\n{self.game.task}"

    # Commands

    def action(self, command: str) -> Action | None:
        """What a command means in this game; None where it is none. Remembers the ones understood."""
        action = self._actions.get(command)
        if action is None:
            action = self._parse(command)
            if action is not None:
                self._actions[command] = action
        return action

    def _parse(self, command: str) -> Action | None:
        """`action`, without memory. Looking canonical names up is as strict as comparing whole commands."""
        if command in _ALONE:
            return Action(command, -1, -1)
        if command.startswith("go to "):
            return self._about("go to", None, command[6:])
        verb, _, rest = command.partition(" ")
        if verb in _BETWEEN:
            item, _, receptacle = rest.partition(_BETWEEN[verb])
            return self._about(verb, item, receptacle)
        if verb in {"open", "close"} or (verb == "examine" and rest in self._receptacle_index):
            return self._about(verb, None, rest)
        if verb in {"use", "examine"}:
            return self._about(verb, rest, None)
        if verb == "slice":
            item, _, knife = rest.partition(" with ")
            if item in self._item_index and knife in self._item_index:
                return Action(verb, self._item_index[item], self._item_index[knife])
        return None

    def _about(self, verb: str, item: str | None, receptacle: str | None) -> Action | None:
        """The action with its names looked up (None: the verb has none); None where one is unknown."""
        item_index = -1 if item is None else self._item_index.get(item)
        target = -1 if receptacle is None else self._receptacle_index.get(receptacle)
        return None if item_index is None or target is None else Action(verb, item_index, target)

    def going(self, place: int) -> tuple[str, ...]:
        """The `go to` commands of a location, sorted: every receptacle that is somewhere else."""
        commands = self._going.get(place)
        if commands is None:
            elsewhere = (name for name, at in zip(self.receptacle_names, self.location_of, strict=True) if at != place)
            commands = self._going[place] = tuple(sorted(f"go to {name}" for name in elsewhere))
        return commands

    def remember(self, key: tuple[int, ...], commands: tuple[str, ...]) -> tuple[str, ...]:
        """Keeps a list of admissible commands for all engines of this game, and gives it back."""
        if len(self.lists) >= _MEMORY:
            self.lists.clear()
        self.lists[key] = commands
        return commands

    # Texts

    def view(self, receptacle: int, contents: int, opened: int) -> str:
        """What one sees of a receptacle that holds the set `contents`. opened: all open receptacles."""
        state = contents << 1 | opened >> receptacle & 1
        text = self._views.get((receptacle, state))
        if text is None:
            if len(self._views) >= _MEMORY:
                self._views.clear()
            text = self._views[receptacle, state] = self._view(receptacle, contents, bool(state & 1))
        return text

    def _view(self, receptacle: int, contents: int, is_open: bool) -> str:
        """`view`, without memory."""
        name = self.receptacle_names[receptacle]
        if not self.openable >> receptacle & 1:
            return f"On the {name}, you see {self.articled(contents)}."
        if is_open:
            return f"The {name} is open. In it, you see {self.articled(contents)}."
        return f"The {name} is closed."

    def articled(self, items: int) -> str:
        """The listing of a set of items, `a pen 2, and a pen 1`."""
        return listing([f"a {self.item_names[i]}" for i in bits(items)])

    def inside(self, item: int) -> str:
        """What one sees in an item that can hold others. It never changes."""
        inner = listing([f"a {self.item_names[i]}" for i in self.game.items[item].inner])
        return f"This is a normal {self.item_names[item]}. In it, you see {inner}."


_worlds: OrderedDict[int, World] = OrderedDict()
_worlds_lock = Lock()


def world_of(game: Game) -> World:
    """The world of a game; the most recently used are kept, so that all episodes of a game share one."""
    # The key is the identity of the game: comparing games by value would cost more than it saves. A world
    # holds its game, so an identity cannot be used again while it is a key here.
    with _worlds_lock:
        world = _worlds.get(id(game))
        if world is None:
            world = _worlds[id(game)] = World(game)
            if len(_worlds) > _WORLDS:
                _worlds.popitem(last=False)
        else:
            _worlds.move_to_end(id(game))
    return world
