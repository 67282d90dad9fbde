"""An expert player. It reads what the game prints, as any player could, and never the game itself.

It knows three things: the task sentence, what it has been shown (`notebook`), and where things tend to be in
homes (`placement.Prior`). It is told of the commands really given, so it can go on from another's mistakes.

Its subgoals have six forms, each served by a few actions:

    find mug | find another mug    until one is in hand
    clean mug | heat mug | cool mug
    put mug in coffeemachine
    use desklamp                   with the item to look at in hand
    put knife down                 only after a mistake, or before the next task of a ladder
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from hiper.envs.alfworld.game import Goal
from hiper.envs.alfworld.notebook import Notebook, kind_of
from hiper.envs.alfworld.placement import Prior
from hiper.envs.alfworld.sentence import read_task
from hiper.records import Decision

Search = Literal["best", "varied"]
APPLIANCES: Final = {"clean": ("sinkbasin", "sink"), "heat": ("microwave",), "cool": ("fridge",)}
# Types that are closed at the start more often than not: looking inside takes a second action.
CLOSABLE: Final = frozenset({"cabinet", "drawer", "fridge", "microwave", "safe"})
# Exponent of the prior in the odds of a varied search: 0 would ignore it, a large one always follow it.
BOLDNESS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """Advice for one turn: `Step(Decision.SWITCH, "find mug", "go to countertop 1")`."""

    decision: Decision
    subgoal: str
    action: str


class _Move(NamedTuple):
    """An action, and the subgoal it serves."""

    subgoal: str
    action: str


class Expert:
    """Plays one episode after another: `reset`, then `advise` and `observe` in turn.

    search "best" looks where the chance per action is highest. "varied" draws the order at random, likely
    places first: each next one with odds in proportion to that same figure. Equal seeds give equal orders.
    """

    def __init__(self, prior: Prior | None = None, seed: int | None = None, search: Search = "best") -> None:
        """prior: where things tend to be; None for the one in the package. seed: of varied searches."""
        if search not in ("best", "varied"):
            raise ValueError(f"search must be 'best' or 'varied', not {search!r}")
        self._prior = Prior() if prior is None else prior
        self._random = random.Random(seed)
        self._search = search

    def reset(self, observation: str, seed: int | None = None) -> None:
        """A new episode begins with this text. seed: starts the random numbers of varied searches anew."""
        if seed is not None:
            self._random.seed(seed)
        self._notes = Notebook(observation)
        self._goals = read_task(observation)
        self._stage = 0
        self._in_force: str | None = None
        self._advice: Step | None = None
        order = sorted(self._notes.receptacles, key=_number)
        if self._search == "varied":
            self._random.shuffle(order)
        self._rank = {name: rank for rank, name in enumerate(order)}
        self._worth: dict[tuple[str, str], float] = {}

    def observe(self, command: str, observation: str) -> None:
        """What was done (by whomever), and what the game answered."""
        if self._advice is not None:
            self._in_force = self._advice.subgoal
            self._advice = None
        self._notes.note(command, observation)
        while self._stage < len(self._goals) - 1 and self._holds(self._goals[self._stage]):
            self._stage += 1

    def advise(self) -> Step:
        """What to do now. The decision is relative to the subgoal advised before the last `observe`."""
        if self._advice is None:
            move = self._choose()
            keep = move.subgoal == self._in_force
            self._advice = Step(Decision.KEEP if keep else Decision.SWITCH, move.subgoal, move.action)
        return self._advice

    def _choose(self) -> _Move:
        """The best move that has not just been refused; `look` where there is none."""
        goal = self._goals[self._stage]
        for move in self._moves(goal):
            if move.action not in self._notes.refused:
                return move
        return _Move(self._in_force or f"find {goal.item}", "look")

    # What is done, and what is left to do

    def _holds(self, goal: Goal) -> bool:
        """The goal is known to be reached."""
        notes = self._notes
        if goal.kind == "look":
            around = [item for r, items in notes.contents.items() if notes.is_here(r) for item in items]
            lit = any(kind_of(item) == goal.target for item in notes.lit.intersection(around))
            return lit and notes.held is not None and kind_of(notes.held) == goal.item
        needed = 2 if goal.kind == "two" else 1
        return any(self._placed(goal, r) >= needed for r in notes.of_type(goal.target))

    def _placed(self, goal: Goal, receptacle: str) -> int:
        """How many items known to be in a receptacle count for the goal."""
        state = self._notes.treated.get(goal.kind)
        items = {i for i in self._notes.contents.get(receptacle, ()) if kind_of(i) == goal.item}
        return len(items if state is None else items & state)

    def _moves(self, goal: Goal) -> Iterator[_Move]:
        """Moves toward the goal, best first. The later ones matter only where earlier ones were refused."""
        notes = self._notes
        held = notes.held
        if held is None:
            yield from self._find(goal)
        elif kind_of(held) != goal.item:
            yield from self._put_down(held)
        elif goal.kind == "look":
            yield from self._use(goal.target)
        elif goal.kind in APPLIANCES and held not in notes.treated[goal.kind]:
            yield from self._treat(goal.kind, held)
        else:
            yield from self._put(goal, held)

    # One method per form of subgoal

    def _find(self, goal: Goal) -> Iterator[_Move]:
        """Takes an item of the goal's type, from where one is known to be or else by searching."""
        finished = self._finished(goal)
        started = goal.kind == "two" and any(self._placed(goal, r) for r in finished)
        subgoal = f"find another {goal.item}" if started else f"find {goal.item}"
        for receptacle, item in self._sightings(goal.item, finished, goal.kind):
            action = self._approach(receptacle) or f"take {item} from {receptacle}"
            yield _Move(subgoal, action)
        for action in self._look_for(goal.item, finished):
            yield _Move(subgoal, action)

    def _treat(self, verb: str, item: str) -> Iterator[_Move]:
        """Cleans, heats or cools the item in hand. The appliance need not be open."""
        for appliance in self._nearest(self._notes.of_type(*APPLIANCES[verb])):
            here = self._notes.is_here(appliance)
            action = f"{verb} {item} with {appliance}" if here else f"go to {appliance}"
            yield _Move(f"{verb} {kind_of(item)}", action)

    def _put(self, goal: Goal, item: str) -> Iterator[_Move]:
        """Puts the item in hand into a receptacle of the goal's type: for two items, where the first is."""
        for receptacle in self._targets(goal):
            action = self._approach(receptacle) or f"move {item} to {receptacle}"
            yield _Move(f"put {goal.item} in {goal.target}", action)

    def _use(self, lamp: str) -> Iterator[_Move]:
        """Brings the item in hand to a lamp and turns it on."""
        notes = self._notes
        for receptacle, item in self._sightings(lamp, (), "look"):
            action = f"use {item}" if notes.is_here(receptacle) else f"go to {receptacle}"
            yield _Move(f"use {lamp}", action)
        for action in self._look_for(lamp, ()):
            yield _Move(f"use {lamp}", action)

    def _put_down(self, item: str) -> Iterator[_Move]:
        """Frees the hand: here if possible, else where the item came from, else anywhere."""
        notes = self._notes
        places = sorted(
            notes.receptacles,
            key=lambda r: (not notes.is_here(r), r != notes.source, not notes.is_reachable(r), self._rank[r]),
        )
        for receptacle in places:
            action = self._approach(receptacle) or f"move {item} to {receptacle}"
            yield _Move(f"put {kind_of(item)} down", action)

    # Where to go

    def _approach(self, receptacle: str) -> str | None:
        """The next action needed to reach into a receptacle; None where nothing is in the way."""
        if not self._notes.is_here(receptacle):
            return f"go to {receptacle}"
        if receptacle not in self._notes.is_open and kind_of(receptacle) in CLOSABLE:
            return f"examine {receptacle}"
        return f"open {receptacle}" if self._notes.is_open.get(receptacle) is False else None

    def _nearest(self, receptacles: list[str]) -> list[str]:
        """Receptacles in order of preference: here, then known to be reachable, then likely to be."""
        notes = self._notes
        return sorted(
            receptacles,
            key=lambda r: (
                not notes.is_here(r),
                not notes.is_reachable(r),
                kind_of(r) in CLOSABLE,
                self._rank[r],
            ),
        )

    def _targets(self, goal: Goal) -> list[str]:
        """Receptacles that may be filled, best first.

        For two items, one that holds an item already comes first wherever the player stands: were it the
        nearest such, two half-filled ones would be emptied into each other for ever.
        """
        targets = self._nearest(self._notes.of_type(goal.target))
        if goal.kind != "two":
            return targets
        return sorted(targets, key=lambda r: (-self._placed(goal, r), self._rank[r] if self._placed(goal, r) else 0))

    def _finished(self, goal: Goal) -> tuple[str, ...]:
        """Receptacles to take nothing from, nor search: what they hold is where it belongs."""
        if goal.kind == "place":
            return tuple(self._notes.of_type(goal.target))
        if goal.kind == "two":
            return tuple(r for r in self._targets(goal)[:1] if self._placed(goal, r))
        return ()

    def _sightings(self, kind: str, skip: tuple[str, ...], state: str) -> list[tuple[str, str]]:
        """Where items of a type are known to be, as (receptacle, item): first those already in the wanted
        state, then the cheapest to reach."""
        notes = self._notes
        ready = notes.treated.get(state, set())
        seen = [
            (receptacle, item)
            for receptacle, items in notes.contents.items()
            for item in items
            if kind_of(item) == kind and receptacle not in skip
        ]
        cost = {r: (not notes.is_here(r)) + (notes.is_open.get(r) is False) for r, _ in seen}
        return sorted(seen, key=lambda s: (s[1] not in ready, cost[s[0]], self._rank[s[0]]))

    def _look_for(self, kind: str, skip: tuple[str, ...]) -> Iterator[str]:
        """Actions of a search for a type, the most promising first."""
        notes = self._notes
        unseen = [r for r in notes.receptacles if r not in notes.searched and r not in skip]
        for receptacle in sorted(unseen, key=lambda r: (-self._promise(kind, r), self._rank[r])):
            if not notes.is_here(receptacle):
                yield f"go to {receptacle}"
            else:
                yield f"{'examine' if receptacle not in notes.is_open else 'open'} {receptacle}"

    def _promise(self, kind: str, receptacle: str) -> float:
        """Chance to find the type there, per action it takes to look."""
        notes = self._notes
        # One that was seen and still is unsearched was seen closed.
        closed = receptacle in notes.is_open or kind_of(receptacle) in CLOSABLE
        actions = max(1, (not notes.is_here(receptacle)) + closed)
        return self._chance(kind, receptacle) / actions

    def _chance(self, kind: str, receptacle: str) -> float:
        """The prior chance; in a varied search, times a random factor drawn once per episode."""
        key = (kind, receptacle)
        if key not in self._worth:
            chance = self._prior.chance(kind, kind_of(receptacle))
            if self._search == "varied":
                # Sorting by weight / (exponential variate) draws in proportion to the weights.
                chance = chance**BOLDNESS / max(self._random.expovariate(1.0), 1e-9)
            self._worth[key] = chance
        return self._worth[key]


def _number(name: str) -> tuple[str, int]:
    """Sorts `drawer 2` before `drawer 10`."""
    kind, _, number = name.partition(" ")
    return kind, int(number)
