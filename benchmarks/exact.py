"""Values without a critic: play on from where an episode stood, again and again, and average what comes of it.

What Monte Carlo can say of a state, of an agent that may go back to it (Kazemnejad et al. 2024, arXiv 2410.01679, for
reasoning). It costs a hundred times the turns, so nothing trains by it here; it tells what the best of critics would
be worth. A value point within a reply (after SWITCH, after the subgoal) is reached like one between turns: what had
been said stays said, the rest is sampled anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hiper.batch import OF_TOKEN, Document, Values, gather_values
from hiper.models import TorchSampler
from hiper.records import Prompt, Request, Sample, Trajectory, Turn
from hiper.rollout import Limits, Task, play
from hiper.runs.config import Config
from hiper.runs.estimate import table_of
from hiper.runs.setup import build_interface, build_layout
from hiper.runs.world import World

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where to play on from: after these turns, and after these tokens of the next reply."""

    turns: tuple[Turn, ...]
    said: tuple[int, ...]


@dataclass(kw_only=True)
class Resumed:
    """A sampler that says again what was said, up to a point; from there on the model does. One start a seed."""

    sampler: TorchSampler
    starts: Mapping[int, Start]
    said_again: list[Sample] = field(default_factory=list)
    begun: dict[int, tuple[int, ...]] = field(default_factory=dict)
    capacity: int = field(init=False)

    def __post_init__(self) -> None:
        self.capacity = self.sampler.capacity

    def submit(self, request: Request) -> None:
        start = self.starts[request.seed]
        if request.turn < len(start.turns):
            turn = start.turns[request.turn]
            self.sampler.read(request, turn.reply_ids)
            self.said_again.append(self._sample(request.slot, turn.reply_ids, turn.reply))
        elif request.turn == len(start.turns) and start.said:
            self.begun[request.slot] = start.said
            self.sampler.read(request, start.said)
            self.sampler.submit(replace(request, prompt=Prompt(text="", fresh=False)))
        else:
            self.sampler.submit(request)

    def poll(self) -> list[Sample]:
        if self.said_again:
            again, self.said_again = self.said_again, []
            return again
        return [self._whole(one) if one.slot in self.begun else one for one in self.sampler.poll()]

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        return self.sampler.context_ids(prompt)

    def close(self, slot: int) -> None:
        self.sampler.close(slot)

    def _whole(self, rest: Sample) -> Sample:
        """The reply with its beginning; no longer than a reply may be that was sampled at once."""
        ids = self.begun.pop(rest.slot) + rest.reply_ids
        is_long = len(ids) > self.sampler.max_reply
        ids = ids[: self.sampler.max_reply]
        whole = self._sample(rest.slot, ids, self.sampler.policy.tokenizer.decode(ids))
        return replace(whole, cut=rest.cut or is_long, overflow=rest.overflow)

    def _sample(self, slot: int, ids: tuple[int, ...], text: str) -> Sample:
        bytes_of = self.sampler.policy.tokenizer.bytes_of
        return Sample(
            slot=slot, text=text, context_ids=(), reply_ids=ids, reply_logprobs=(0.0,) * len(ids),
            reply_bytes=tuple(bytes_of(token) for token in ids), cut=False,
        )  # fmt: skip


def played_on(
    config: Config,
    world: World,
    sampler: TorchSampler,
    episodes: Sequence[Trajectory],
    rows: Sequence[Document],
    *,
    plays: int,
) -> tuple[Values, Values]:
    """Every value that credit asks for, without discount, each as the mean of `plays` episodes played on; twice over.

    The two are independent given the episodes: the product of what is computed from one and from the other has no
    noise of the values in it. After the turn limit nothing comes.
    """
    points = [(row, n) for row in rows for n in range(len(row.point_P)) if row.point_turn_P[n] != OF_TOKEN]
    starts: dict[int, Start] = {}
    tasks: list[Task] = []
    started: list[int] = []
    for place, (row, n) in enumerate(points):
        one, turn = episodes[row.episode], int(row.point_turn_P[n])
        if turn == len(one.turns):
            continue
        started.append(place)
        start = Start(turns=one.turns[:turn], said=_said(row, turn, int(row.point_P[n])))
        options = {"game": one.game} if world.names(config.env.train_split) else {}
        for _ in range(2 * plays):
            task = Task(seed=one.seed, options=options, replica=1_000_000 + len(tasks))
            starts[task.sampling_seed] = start
            tasks.append(task)
    sampler.reset()
    t = config.train
    found = play(
        lambda: world.make(config.env.train_split, renumber=t.renumber),
        Resumed(sampler=sampler, starts=starts),
        build_interface(config.agent),
        build_layout(config.agent),
        tasks,
        limits=Limits(turns=t.max_turns or config.env.max_turns, invalid_in_a_row=t.patience),
    )
    to_go = []
    for task, one, rewards_T in zip(tasks, found, table_of(found, config.credit).rewards_BT, strict=True):
        past = starts[task.sampling_seed].turns
        if [turn.state for turn in one.turns[: len(past)]] != [turn.state for turn in past]:
            raise ValueError(f"{one.game!r}: the same replies did not lead to the same situations")
        to_go.append(rewards_T[len(past) :].sum())
    returns = np.zeros((len(points), 2 * plays))  # 0 where the limit ends the episode
    returns[started] = np.reshape(to_go, (len(started), 2 * plays))
    halves = returns[:, :plays].mean(axis=1), returns[:, plays:].mean(axis=1)
    first, second = (gather_values(episodes, rows, _by_row(rows, half)) for half in halves)
    return first, second


def _said(row: Document, turn: int, point: int) -> tuple[int, ...]:
    """The tokens of that turn's reply up to the point."""
    reply = np.flatnonzero(row.turn_L == turn)
    return tuple(row.ids_L[reply[reply <= point]].tolist())


def _by_row(rows: Sequence[Document], value: Floats) -> list[Floats]:
    """Values of all points but those of tokens, one array a document."""
    out: list[Floats] = []
    place = 0
    for row in rows:
        of_turn = row.point_turn_P != OF_TOKEN
        value_P = np.full(len(of_turn), np.nan)
        value_P[of_turn] = value[place : place + of_turn.sum()]
        place += int(of_turn.sum())
        out.append(value_P)
    return out
