"""Plays one game: its state, and what each command does to it. Exact to the letter, and fast.

The rules are those of ALFWorld 0.4.2 (textworld 1.7.0) on json_2.1.1, checked state by state against traces
of that engine. Like it, this engine goes on after a win, where `won` may turn false again; limits and the end
of an episode belong to the environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hiper.envs.alfworld.game import Game
from hiper.envs.alfworld.world import HELP, MIDDLE, World, bits, listing, world_of

NOTHING_HAPPENS: Final = "Nothing happens."


class Engine:
    """One running game. `won` says whether the goal holds in the present state.

    All of the state is ints and lists of ints: sets of items or receptacles are bit masks.
    place: location of the player. held: item in hand, or -1. contents: per receptacle, the items in it.
    present: per location, the items said to be there (slicing asks for them; not the same as contents).
    taken: (item, receptacle) for every receptacle that an item was taken from and not put back into.
    """

    __slots__ = (
        "clean",
        "cold",
        "contents",
        "held",
        "hot",
        "lit",
        "opened",
        "place",
        "present",
        "sliced",
        "taken",
        "won",
        "world",
    )

    def __init__(self, game: Game | World) -> None:
        """The game at its start."""
        self.world = game if isinstance(game, World) else world_of(game)
        self.reset()

    def reset(self) -> str:
        """Back to the start; the text printed there."""
        world = self.world
        self.place = world.start
        self.held = -1
        self.opened = self.clean = self.hot = self.sliced = self.lit = 0
        self.cold = world.start_cold
        self.contents = list(world.start_contents)
        self.present = list(world.start_present)
        self.taken: set[tuple[int, int]] = set()
        self.won = self._goal_holds()
        return world.start_text

    def copy(self) -> Engine:
        """An independent engine in the same state, for search; it shares the world."""
        twin = Engine.__new__(Engine)
        for name in Engine.__slots__:
            setattr(twin, name, getattr(self, name))
        twin.contents, twin.present, twin.taken = self.contents[:], self.present[:], set(self.taken)
        return twin

    def step(self, command: str) -> str:
        """Does a command, white space around it ignored, and answers it.

        One that is not among the admissible answers `Nothing happens.` and changes nothing.
        """
        action = self.world.action(command.strip())
        if action is None:
            return NOTHING_HAPPENS
        answer = _DO[action.verb](self, action.item, action.target)
        return NOTHING_HAPPENS if answer is None else answer

    def admissible(self) -> tuple[str, ...]:
        """The commands that do something now, in Python's string order. Shared by all engines of the game."""
        world, place, held = self.world, self.place, self.held
        # All that the list depends on; with full hands only lamps matter among the things here.
        seen = world.lamps if held >= 0 else world.takeable | world.lamps
        contents = self.contents
        key = (
            place,
            held,
            self.opened & world.here_mask[place],
            self.present[place] if held >= 0 and world.knives >> held & 1 else 0,
            *[contents[r] & seen for r in world.here[place]],
        )
        commands = world.lists.get(key)
        return world.remember(key, self._list_commands()) if commands is None else commands

    def situation(self) -> tuple[int, ...]:
        """How far the goal is: equal in states that differ in nothing that counts for it.

        Where the player is, what is in hand, which lamps are lit, where the things are that the goal speaks of, and
        what was done to them. What lies elsewhere and what stands open is left out.
        """
        return self._facts(self.world.goal_items)

    def _facts(self, items: int) -> tuple[int, ...]:
        """The part of the state that is about the player, the lamps and these items."""
        treated = (self.clean & items, self.hot & items, self.cold & items)
        return (self.place, self.held, self.lit, *treated, *[inside & items for inside in self.contents])

    def _list_commands(self) -> tuple[str, ...]:
        """`admissible`, without memory."""
        world = self.world
        here = world.here[self.place]
        names = [world.receptacle_names[r] for r in here]
        commands = [
            *world.going(self.place),
            "help",
            "inventory",
            "look",
            *(f"examine {name}" for name in names),
        ]
        lamps = 0
        for r, name in zip(here, names, strict=True):
            lamps |= self.contents[r] & world.lamps
            if world.openable >> r & 1:
                commands.append(f"{'close' if self.opened >> r & 1 else 'open'} {name}")
            if self.held < 0 and self._is_accessible(r):
                takeable = bits(self.contents[r] & world.takeable)
                commands += [f"take {world.item_names[i]} from {name}" for i in takeable]
        commands += [f"use {world.item_names[i]}" for i in bits(lamps)]
        if self.held >= 0:
            commands += self._commands_with_held()
        return tuple(sorted(commands))

    def _commands_with_held(self) -> list[str]:
        """The commands about the item in hand."""
        world, held = self.world, self.held
        item = world.item_names[held]
        commands = [f"examine {item}"]
        for r in world.here[self.place]:
            name = world.receptacle_names[r]
            if self._is_accessible(r) and world.accepts[r] >> held & 1:
                commands.append(f"move {item} to {name}")
            commands += [
                f"{verb} {item} with {name}"
                for verb, appliances in world.appliances.items()
                if appliances >> r & 1 and world.treatable[verb] >> held & 1
            ]
        if world.knives >> held & 1:
            sliceable = bits(self.present[self.place] & world.sliceable)
            commands += [f"slice {world.item_names[i]} with {item}" for i in sliceable]
        return commands

    # Conditions

    def _is_here(self, receptacle: int) -> bool:
        """The player stands at the receptacle."""
        return self.world.location_of[receptacle] == self.place

    def _is_accessible(self, receptacle: int) -> bool:
        """The receptacle is open, or cannot be closed."""
        return bool((self.opened | ~self.world.openable) >> receptacle & 1)

    def _goal_holds(self) -> bool:
        """The goal formula, in the present state."""
        world = self.world
        kind = world.game.goal.kind
        items = world.goal_items
        if kind == "look":
            if self.held < 0 or not items >> self.held & 1:
                return False
            shining = world.goal_lamps & self.lit
            return shining != 0 and any(self.contents[r] & shining for r in world.here[self.place])
        if kind == "two":
            return any(_has_two(self.contents[r] & items) for r in world.goal_receptacles)
        if kind == "clean":
            items &= self.clean
        elif kind == "heat":
            items &= self.hot
        elif kind == "cool":
            items &= self.cold
        return items != 0 and any(self.contents[r] & items for r in world.goal_receptacles)

    # Commands. Each answers None, and changes nothing, where it is not admissible.

    def _go(self, _: int, receptacle: int) -> str | None:
        place = self.world.location_of[receptacle]
        if place == self.place:
            return None
        self.place = place
        self.won = self._goal_holds()
        return f"You arrive at {self.world.receptacle_names[receptacle]}. {self._view(receptacle)}"

    def _open(self, _: int, receptacle: int) -> str | None:
        bit = 1 << receptacle
        if not (self._is_here(receptacle) and self.world.openable & bit) or self.opened & bit:
            return None
        self.opened |= bit
        return f"You open the {self.world.receptacle_names[receptacle]}. {self._view(receptacle)}"

    def _close(self, _: int, receptacle: int) -> str | None:
        bit = 1 << receptacle
        if not (self._is_here(receptacle) and self.opened & bit):
            return None
        self.opened ^= bit
        return f"You close the {self.world.receptacle_names[receptacle]}."

    def _take(self, item: int, receptacle: int) -> str | None:
        bit = 1 << item
        if self.held >= 0 or not (self._is_here(receptacle) and self._is_accessible(receptacle)):
            return None
        if not self.contents[receptacle] & self.world.takeable & bit:
            return None
        self.contents[receptacle] ^= bit
        self.present[self.place] &= ~bit
        self.taken.add((item, receptacle))
        self.held = item
        self.won = self._goal_holds()
        world = self.world
        return f"You pick up the {world.item_names[item]} from the {world.receptacle_names[receptacle]}."

    def _move(self, item: int, receptacle: int) -> str | None:
        bit = 1 << item
        if self.held != item or not (self._is_here(receptacle) and self._is_accessible(receptacle)):
            return None
        if not self.world.accepts[receptacle] & bit:
            return None
        self.contents[receptacle] |= bit
        self.present[self.place] |= bit
        self.taken.discard((item, receptacle))
        self.held = -1
        self.won = self._goal_holds()
        return f"You move the {self.world.item_names[item]} to the {self.world.receptacle_names[receptacle]}."

    def _clean(self, item: int, receptacle: int) -> str | None:
        if not self._can_treat("clean", item, receptacle):
            return None
        self.clean |= 1 << item
        return self._treated("clean", item, receptacle)

    def _heat(self, item: int, receptacle: int) -> str | None:
        if not self._can_treat("heat", item, receptacle):
            return None
        self.hot |= 1 << item
        self.cold &= ~(1 << item)
        return self._treated("heat", item, receptacle)

    def _cool(self, item: int, receptacle: int) -> str | None:
        if not self._can_treat("cool", item, receptacle):
            return None
        self.cold |= 1 << item
        self.hot &= ~(1 << item)
        return self._treated("cool", item, receptacle)

    def _can_treat(self, verb: str, item: int, receptacle: int) -> bool:
        """The item is in hand, the appliance is here, and they go together. Nothing need be open."""
        world = self.world
        fit = world.treatable[verb] >> item & 1 and world.appliances[verb] >> receptacle & 1
        return bool(fit) and self.held == item and self._is_here(receptacle)

    def _treated(self, verb: str, item: int, receptacle: int) -> str:
        """The answer after cleaning, heating or cooling."""
        self.won = self._goal_holds()
        world = self.world
        return f"You {verb} the {world.item_names[item]} using the {world.receptacle_names[receptacle]}."

    def _use(self, item: int, _: int) -> str | None:
        # A lamp in a closed receptacle works too, and is turned on again as often as one likes.
        bit = 1 << item & self.world.lamps
        if not any(self.contents[r] & bit for r in self.world.here[self.place]):
            return None
        self.lit |= bit
        self.won = self._goal_holds()
        return f"You turn on the {self.world.item_names[item]}."

    def _slice(self, item: int, knife: int) -> str | None:
        world = self.world
        if self.held != knife or not world.knives >> knife & 1:
            return None
        if not self.present[self.place] & world.sliceable & 1 << item:
            return None
        self.sliced |= 1 << item
        return f"You sliced the {world.item_names[item]} with the {world.item_names[knife]}."

    def _examine(self, item: int, receptacle: int) -> str | None:
        if item >= 0:
            return self._describe(item) if self.held == item else None
        return self._view(receptacle) if self._is_here(receptacle) else None

    def _inventory(self, _: int, __: int) -> str:
        if self.held < 0:
            return "You are not carrying anything."
        return f"You are carrying: a {self.world.item_names[self.held]}."

    def _look(self, _: int, __: int) -> str:
        world, place = self.world, self.place
        if place == world.start:
            return MIDDLE + "nothing."
        present = self.present[place]
        moved = [i for i, r in sorted(self.taken) if world.location_of[r] == place and present >> i & 1]
        beside = listing([f"a {world.item_names[i]}" for i in moved])
        facing = listing([world.receptacle_names[r] for r in world.here[place]])
        return f"You are facing the {facing}. Next to it, you see {beside}."

    def _help(self, _: int, __: int) -> str:
        return HELP

    def _view(self, receptacle: int) -> str:
        """What one sees of a receptacle now."""
        return self.world.view(receptacle, self.contents[receptacle], self.opened)

    def _describe(self, item: int) -> str:
        """What one sees of the item in hand."""
        world = self.world
        if world.containers >> item & 1:
            return world.inside(item)
        clean, hot, cold, sliced = (mask >> item & 1 for mask in (self.clean, self.hot, self.cold, self.sliced))
        # The words of the official engine: it says `cold` only of a thing that is neither clean nor sliced.
        heat = "hot" if hot else "cool" if cold else ""
        words = " and ".join(word for word in (heat, "clean" if clean else "") if word)
        if words == "cool" and not sliced:
            words = "cold"
        if sliced:
            words = f"{words} sliced".strip()
        name = world.item_names[item]
        return f"This is a {words} {name}." if words else f"There's nothing special about {name}."


def _has_two(mask: int) -> bool:
    """At least two bits are set."""
    return mask & (mask - 1) != 0


_DO: Final[dict[str, Callable[[Engine, int, int], str | None]]] = {
    "go to": Engine._go,
    "open": Engine._open,
    "close": Engine._close,
    "take": Engine._take,
    "move": Engine._move,
    "clean": Engine._clean,
    "heat": Engine._heat,
    "cool": Engine._cool,
    "use": Engine._use,
    "slice": Engine._slice,
    "examine": Engine._examine,
    "inventory": Engine._inventory,
    "look": Engine._look,
    "help": Engine._help,
}
