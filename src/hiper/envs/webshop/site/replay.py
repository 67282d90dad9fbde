"""Recorded episodes, played again in a real shop and held against the record."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from hiper.envs.errors import UnknownName
from hiper.envs.webshop.pages import SEPARATOR
from hiper.envs.webshop.site.shop import Scene, Shop, SiteError
from hiper.records import Spans, Trajectory, Turn, read_trajectories, segments

BANDS: Final = 4  # colours of segments, in turn
_GOAL: Final = re.compile(r"\S+/\d+")
_FIRST_PAGE: Final = SEPARATOR.join(("WebShop", "Instruction:", ""))
_LAST_PIECE: Final = f"{SEPARATOR}Search"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What was before the agent at a turn, and what it did; `turn` is None after the last one.

    scene: what the shop shows now after the same actions; None where it does not come that far. recorded: what
    the agent was shown then. told: True where that was no page but the answer to a reply that could not be read.
    problem: how then and now differ; empty where they do not.
    """

    index: int
    turn: Turn | None
    scene: Scene | None
    recorded: str
    told: bool
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A turn in the strip of an episode. band: colour of its segment. opens: a segment begins here."""

    index: int
    band: int
    opens: bool
    invalid: bool


class Episode:
    """A recorded episode."""

    def __init__(self, trajectory: Trajectory, shop: Shop) -> None:
        """shop: knows the goals of all splits and does not cut episodes."""
        self.trajectory, self.shop = trajectory, shop

    @property
    def wish(self) -> str:
        """The instruction, as the agent read it on the first page; empty where it never began."""
        if not self.trajectory.turns:
            return ""
        return self.trajectory.turns[0].observation.removeprefix(_FIRST_PAGE).removesuffix(_LAST_PIECE)

    @property
    def ending(self) -> str:
        """How it ended, in words."""
        return self.trajectory.ending.value.replace("_", " ")

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its turns, for the strip."""
        turns = self.trajectory.turns
        return tuple(
            Step(
                index=place,
                band=number % BANDS,
                opens=place == piece.start,
                invalid=turns[place].invalid is not None,
            )
            for number, piece in enumerate(segments(turns))
            for place in range(piece.start, piece.stop)
        )

    @cached_property
    def problem(self) -> str:
        """The first thing in which the record and the shop differ; empty where there is none."""
        return next((f"turn {one.index}: {one.problem}" for one in self.moments() if one.problem), "")

    def moments(self) -> list[Moment]:
        """What was before the agent at each turn, and after the last."""
        played = self.trajectory
        sent = [turn.action for turn in played.turns if turn.is_read]
        try:
            scenes, why = self.shop.scenes(played.game, sent, played.seed), ""
        except UnknownName as error:
            scenes, why = [], str(error)
        found = []
        done, previous = 0, None
        for index in range(len(played.turns) + 1):
            turn = played.turns[index] if index < len(played.turns) else None
            recorded = turn.observation if turn else played.final_observation
            scene = scenes[done] if done < len(scenes) else None
            told = previous is not None and not previous.is_read
            seen = not told and bool(played.turns)
            problem = why or (_difference(scene, recorded, previous) if seen else "")
            found.append(Moment(index=index, turn=turn, scene=scene, recorded=recorded, told=told, problem=problem))
            done += turn is not None and turn.is_read
            previous = turn
        return found


def _difference(scene: Scene | None, recorded: str, previous: Turn | None) -> str:
    """How the page that the agent saw differs from the one that there is now."""
    if scene is None:
        return "the episode went on, but here it is over already"
    if scene.observation != recorded:
        return "the agent saw another page than the one here"
    if previous is not None and previous.reward != scene.reward:
        return f"the agent was paid {previous.reward:g}, here it is {scene.reward:g}"
    return ""


def load_episodes(path: Path, shop: Shop) -> list[Episode]:
    """The episodes of a trajectory file. shop: see `Episode`.

    Raises FileError where it is no such file, SiteError where there is none in it or one of another environment.
    """
    found = [Episode(_without_tokens(one), shop) for one in _checked(path, read_trajectories(path))]
    if not found:
        raise SiteError(f"{path}: there are no episodes in this file")
    return found


def _checked(path: Path, trajectories: Iterable[Trajectory]) -> Iterable[Trajectory]:
    """The same, all of them from WebShop."""
    for number, played in enumerate(trajectories):
        if played.turns and not (_GOAL.fullmatch(played.game) and _is_first_page(played.turns[0])):
            what = f"of another environment (its game is {played.game!r})"
            raise SiteError(f"{path}: episode {number} is {what}; only those of webshop can be replayed here")
        yield played


def _is_first_page(turn: Turn) -> bool:
    return turn.observation.startswith(_FIRST_PAGE)


def _without_tokens(played: Trajectory) -> Trajectory:
    """What a person looks at: an episode without its prompts and token ids, which are most of it."""
    turns = tuple(
        replace(turn, context="", context_ids=(), reply_ids=(), reply_logprobs=(), spans=Spans())
        for turn in played.turns
    )
    return replace(played, turns=turns, final_context="", final_context_ids=())
