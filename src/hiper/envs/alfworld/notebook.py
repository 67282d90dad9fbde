"""What a player of a household game knows: read off the texts the game prints, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

NOTHING_HAPPENS: Final = "Nothing happens."
_SURROUNDINGS: Final = re.compile(r"Looking quickly around you, you see (.+)\.")
_ON: Final = re.compile(r"On the (.+?), you see (.+)\.$")
_OPEN: Final = re.compile(r"The (.+?) is open\. In it, you see (.+)\.$")
_CLOSED: Final = re.compile(r"The (.+?) is closed\.$")
_BETWEEN: Final = re.compile(r", and |, ")
# Answers to commands that change nothing: what was refused before them still will be.
_HINT: Final = re.compile(r"You are |Available commands|On the |The |This is |There's nothing ")
_NAME: Final = r"(\w+ \d+)"


def kind_of(name: str) -> str:
    """The type of a named thing: `mug` of `mug 2`."""
    return name.partition(" ")[0]


def listed(text: str) -> tuple[str, ...]:
    """The names in a printed list: `a pen 2, and a pen 1` gives `("pen 2", "pen 1")`."""
    names = (entry.removeprefix("a ") for entry in _BETWEEN.split(text))
    return tuple(name for name in names if name != "nothing")


class Notebook:
    """Notes of one episode, brought up to date by `note`. Receptacles and items are known by their names.

    receptacles: all of them, as the start text lists them. place: one where the player stands, or None.
    contents: what is known to be in a receptacle: as last seen, kept true through the player's own moves.
    searched: receptacles of which all the contents are known.
    is_open: True, False, or None for one that cannot be closed; no entry: never seen.
    held: item in hand. source: receptacle it was taken from. lit: lamps turned on.
    treated: per verb (clean, heat, cool) the items in that state.
    refused: commands answered `Nothing happens.` since anything last changed.
    """

    def __init__(self, start_text: str) -> None:
        """Notes after reading the start text."""
        match = _SURROUNDINGS.search(start_text)
        self.receptacles = listed(match[1]) if match else ()
        self.place: str | None = None
        self.contents: dict[str, tuple[str, ...]] = {}
        self.searched: set[str] = set()
        self.is_open: dict[str, bool | None] = {}
        self.held: str | None = None
        self.source: str | None = None
        self.treated: dict[str, set[str]] = {"clean": set(), "heat": set(), "cool": set()}
        self.lit: set[str] = set()
        self.refused: set[str] = set()
        # Receptacles known to share one place have the same representative.
        self._spot = {name: name for name in self.receptacles}

    def is_here(self, receptacle: str) -> bool:
        """The player is known to stand at the receptacle."""
        return self.place is not None and self._spot[receptacle] == self._spot[self.place]

    def is_reachable(self, receptacle: str) -> bool:
        """The receptacle has been seen, and is not closed."""
        return receptacle in self.is_open and self.is_open[receptacle] is not False

    def of_type(self, *types: str) -> list[str]:
        """The receptacles of any of these types."""
        return [name for name in self.receptacles if kind_of(name) in types]

    def note(self, command: str, observation: str) -> None:
        """Takes in the answer to a command."""
        text = observation.strip()
        if text == NOTHING_HAPPENS:
            self._refuse(command.strip())
            return
        for pattern, write in _NOTES:
            match = pattern.match(text)
            if match:
                write(self, match)
        if not _HINT.match(text):
            self.refused.clear()
        self._see(text)

    def _refuse(self, command: str) -> None:
        """Going is refused only to where one already is: the receptacle shares the present place."""
        self.refused.add(command)
        receptacle = command.removeprefix("go to ")
        if self.place is not None and receptacle != command and receptacle in self._spot:
            self._join(self.place, receptacle)

    def _join(self, first: str, second: str) -> None:
        """Notes that two receptacles share a place."""
        old, new = self._spot[second], self._spot[first]
        for name, spot in self._spot.items():
            if spot == old:
                self._spot[name] = new

    def _see(self, text: str) -> None:
        """Notes the sight of a receptacle, with which the text may end."""
        for pattern, is_open in ((_ON, None), (_OPEN, True)):
            match = pattern.search(text)
            if match:
                self.contents[match[1]] = listed(match[2])
                self.searched.add(match[1])
                self.is_open[match[1]] = is_open
        match = _CLOSED.search(text)
        if match:
            self.is_open[match[1]] = False

    # One method per kind of answer; each gets the match of its pattern in `_NOTES`.

    def _arrive(self, match: re.Match[str]) -> None:
        self.place = match[1]

    def _close(self, match: re.Match[str]) -> None:
        self.is_open[match[1]] = False

    def _take(self, match: re.Match[str]) -> None:
        item, receptacle = match[1], match[2]
        self.held, self.source = item, receptacle
        self.contents[receptacle] = tuple(i for i in self.contents.get(receptacle, ()) if i != item)

    def _move(self, match: re.Match[str]) -> None:
        item, receptacle = match[1], match[2]
        self.held = self.source = None
        inside = self.contents.get(receptacle, ())
        if item not in inside:
            self.contents[receptacle] = (*inside, item)

    def _treat(self, match: re.Match[str]) -> None:
        verb, item = match[1], match[2]
        self.treated[verb].add(item)
        undone = {"heat": "cool", "cool": "heat"}.get(verb)
        if undone:
            self.treated[undone].discard(item)

    def _turn_on(self, match: re.Match[str]) -> None:
        self.lit.add(match[1])

    def _carry(self, match: re.Match[str]) -> None:
        self.held = match[1]

    def _face(self, match: re.Match[str]) -> None:
        names = [name for name in listed(match[1]) if name in self._spot]
        for name in names[1:]:
            self._join(names[0], name)


_NOTES: Final[tuple[tuple[re.Pattern[str], Callable[[Notebook, re.Match[str]], None]], ...]] = (
    (re.compile(rf"You arrive at {_NAME}\. "), Notebook._arrive),
    (re.compile(rf"You close the {_NAME}\.$"), Notebook._close),
    (re.compile(rf"You pick up the {_NAME} from the {_NAME}\.$"), Notebook._take),
    (re.compile(rf"You move the {_NAME} to the {_NAME}\.$"), Notebook._move),
    (re.compile(rf"You (clean|heat|cool) the {_NAME} using the {_NAME}\.$"), Notebook._treat),
    (re.compile(rf"You turn on the {_NAME}\.$"), Notebook._turn_on),
    (re.compile(rf"You are carrying: a {_NAME}\.$"), Notebook._carry),
    (re.compile(r"You are facing the (.+?)\. Next to it"), Notebook._face),
)
