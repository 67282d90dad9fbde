"""Playing episodes: many at once, each on its own clock.

Nothing waits for anything else: a reply is read and answered as soon as it comes, and a finished episode
hands its slot and its environment to the next task. What an episode becomes depends on its task and its seed
only, never on how many others are open or in which order their replies arrive.
"""

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import gymnasium

from hiper.agents import (
    Interface,
    Layout,
    Prompt,
    Reply,
    Request,
    Sample,
    Sampler,
    admits,
    feedback,
    reaches_environment,
    token_spans,
)
from hiper.envs import EnvError
from hiper.records import Ending, Invalid, Trajectory, Turn

_log = logging.getLogger(__name__)

Env = gymnasium.Env[str, str]
_Result = TypeVar("_Result")


class PlayError(RuntimeError):
    """Playing cannot go on: the settings do not fit together, or a sampler breaks its contract."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One episode to play. `options` go to `env.reset`, e.g. `{"game": ...}` or `{"goal": 17}`.

    Tasks that differ in nothing but `replica` are one world, played by an agent that draws anew.
    """

    seed: int
    options: Mapping[str, object] | None = None
    replica: int = 0

    @property
    def sampling_seed(self) -> int:
        """Of the agent's own choices; the environment gets `seed`."""
        return self.seed + self.replica


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to stop an episode. Every reply counts as a turn, valid or not.

    `invalid_in_a_row`: so many invalid replies (or inadmissible actions) one after another end the episode as
    FAILED; 0: never. A rule for training, where an agent that is stuck costs time and teaches nothing new.
    """

    turns: int = 50
    invalid_in_a_row: int = 0

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise ValueError(f"Limits: turns must be at least 1, got {self.turns}")
        if self.invalid_in_a_row < 0:
            raise ValueError(f"Limits: invalid_in_a_row must not be negative, got {self.invalid_in_a_row}")


@dataclass(kw_only=True)
class _Episode:
    """An open episode: what has happened, and what the model reads next."""

    index: int
    task: Task
    layout: Layout
    prompt: Prompt
    observation: str
    info: Mapping[str, object]
    state: str
    game: str
    task_type: str
    crashes: int
    subgoal: str = ""
    turns: list[Turn] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What a reply brought about."""

    observation: str
    info: Mapping[str, object]
    state: str
    reward: float = 0.0
    ending: Ending | None = None


def play(
    make_env: Callable[[], Env],
    sampler: Sampler,
    interface: Interface,
    make_layout: Callable[[], Layout],
    tasks: Sequence[Task],
    *,
    limits: Limits,
    retries: int = 3,
    policy_version: int = 0,
    on_done: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Play every task once, up to `sampler.capacity` at a time; trajectories in the order of the tasks.

    An episode whose environment raises is thrown away and played anew, `retries` times at most; if it fails
    then too, what there is of that last attempt is recorded as CRASHED. `on_done` is called with each
    trajectory as it ends.
    """
    table = _Table(
        make_env=make_env,
        sampler=sampler,
        interface=interface,
        make_layout=make_layout,
        limits=limits,
        retries=retries,
        policy_version=policy_version,
        on_done=on_done,
        waiting=deque(enumerate(tasks)),
    )
    try:
        table.run()
    finally:
        table.close()
    return [table.done[index] for index in range(len(tasks))]


@dataclass(kw_only=True)
class _Table:
    """The open episodes by slot, and everything around them."""

    make_env: Callable[[], Env]
    sampler: Sampler
    interface: Interface
    make_layout: Callable[[], Layout]
    limits: Limits
    retries: int
    policy_version: int
    on_done: Callable[[Trajectory], None] | None
    waiting: deque[tuple[int, Task]]
    envs: dict[int, Env] = field(default_factory=dict)
    episodes: dict[int, _Episode] = field(default_factory=dict)
    done: dict[int, Trajectory] = field(default_factory=dict)

    def run(self) -> None:
        """Play until no task is left."""
        for slot in range(min(self.sampler.capacity, len(self.waiting))):
            self._seat(slot)
        while self.episodes:
            samples = self.sampler.poll()
            if not samples:
                raise PlayError(f"the sampler has nothing for {len(self.episodes)} episodes that wait for a reply")
            for sample in samples:
                self._answer(sample)

    def close(self) -> None:
        """Close all environments, whatever each of them says to that."""
        for slot in list(self.envs):
            self._drop_env(slot)

    def _seat(self, slot: int) -> None:
        """Give the slot its next task. One that cannot even be reset is recorded, and the next one tried."""
        while self.waiting and slot not in self.episodes:
            index, task = self.waiting.popleft()
            self._open(slot, index, task, crashes=0)

    def _open(self, slot: int, index: int, task: Task, *, crashes: int) -> None:
        """Reset the environment and ask for the first reply."""
        while True:
            reset = self._reset(slot, task)
            if not isinstance(reset, Exception):
                break
            crashes = self._crashed(slot, task, crashes, reset)
            if crashes > self.retries:
                self._record(index, _never_begun(task, crashes, self.policy_version))
                return
        observation, info, state = reset
        layout = self.make_layout()
        prompt = layout.start(observation, _admissible(info) or ())
        self.episodes[slot] = _Episode(
            index=index,
            task=task,
            layout=layout,
            prompt=prompt,
            observation=observation,
            info=info,
            state=state,
            game=_game(task, info),
            task_type=str(info.get("task_type", "")),
            crashes=crashes,
        )
        self._request(slot)

    def _reset(self, slot: int, task: Task) -> tuple[str, Mapping[str, object], str] | Exception:
        if slot not in self.envs:
            self.envs[slot] = self.make_env()
        env, options = self.envs[slot], None if task.options is None else dict(task.options)

        def begin() -> tuple[str, Mapping[str, object], str]:
            observation, info = env.reset(seed=task.seed, options=options)
            return observation, info, _state(env, observation, info, failing=0)

        return _attempt(begin)

    def _request(self, slot: int) -> None:
        episode = self.episodes[slot]
        self.sampler.submit(
            Request(
                slot=slot,
                prompt=episode.prompt,
                seed=episode.task.sampling_seed,
                turn=len(episode.turns),
                stop=self.interface.stop,
                observation=episode.observation,
                admissible=_admissible(episode.info) or (),
                info=episode.info,
                forced=self.interface.forced(episode.subgoal),
            )
        )

    def _answer(self, sample: Sample) -> None:
        """Read one reply, let the environment answer, and ask for the next or end the episode."""
        episode = self.episodes.get(sample.slot)
        if episode is None:
            raise PlayError(f"the sampler answered for slot {sample.slot}, which is not open")
        if sample.overflow and not sample.reply_ids and not sample.text:
            self._end(sample.slot, _token_limit(episode))
            return
        reply = self._read(episode, sample)
        if isinstance(reply, Exception):
            self._replay(sample.slot, episode, reply)
            return
        outcome = _attempt(lambda: _outcome(self.envs[sample.slot], episode, reply))
        if isinstance(outcome, Exception):
            self._replay(sample.slot, episode, outcome)
            return
        self._advance(episode, sample, reply, outcome)
        ending = outcome.ending or self._limit(episode, sample)
        if ending is None:
            self._request(sample.slot)
        else:
            self._end(sample.slot, ending)

    def _read(self, episode: _Episode, sample: Sample) -> Reply | Exception:
        """The parsed reply, with the environment's say on whether its action is possible now."""
        reply = self.interface.parse(sample.text, subgoal=episode.subgoal, cut=sample.cut or sample.overflow)
        if reply.invalid is not None:
            return reply
        possible = _attempt(lambda: _is_possible(self.envs[sample.slot], episode.info, reply.action))
        if isinstance(possible, Exception):
            return possible
        return reply if possible else replace(reply, invalid=Invalid.NOT_ADMISSIBLE)

    def _advance(self, episode: _Episode, sample: Sample, reply: Reply, outcome: _Outcome) -> None:
        """Write the turn down and lay out what the model reads next."""
        episode.turns.append(_turn(episode, sample, reply, outcome.reward))
        episode.subgoal = reply.subgoal
        episode.observation, episode.info, episode.state = outcome.observation, outcome.info, outcome.state
        episode.prompt = episode.layout.after(
            sample.text, reply, outcome.observation, _admissible(outcome.info) or (), len(episode.turns)
        )

    def _limit(self, episode: _Episode, sample: Sample) -> Ending | None:
        if sample.overflow:
            return Ending.TOKEN_LIMIT
        patience = self.limits.invalid_in_a_row
        if patience and _failing(episode.turns) >= patience:
            return Ending.FAILED
        return Ending.TURN_LIMIT if len(episode.turns) >= self.limits.turns else None

    def _end(self, slot: int, ending: Ending) -> None:
        """Record the episode and hand its slot to the next task."""
        episode = self.episodes.pop(slot)
        trajectory = Trajectory(
            game=episode.game,
            task_type=episode.task_type,
            seed=episode.task.seed,
            turns=tuple(episode.turns),
            ending=ending,
            final_observation=episode.observation,
            final_context=episode.prompt.text,
            final_context_ids=self.sampler.context_ids(episode.prompt),
            final_context_is_fresh=episode.prompt.fresh,
            score=_score(episode.info, ending),
            crashes=episode.crashes,
            policy_version=self.policy_version,
        )
        self.sampler.close(slot)
        self._record(episode.index, trajectory)
        self._seat(slot)

    def _replay(self, slot: int, episode: _Episode, error: Exception) -> None:
        """Throw the attempt away and play the same episode from its start, unless it has failed too often."""
        episode.crashes = self._crashed(slot, episode.task, episode.crashes, error)
        if episode.crashes > self.retries:
            self._end(slot, Ending.CRASHED)
            return
        del self.episodes[slot]
        self.sampler.close(slot)
        self._open(slot, episode.index, episode.task, crashes=episode.crashes)
        self._seat(slot)

    def _crashed(self, slot: int, task: Task, crashes: int, error: Exception) -> int:
        _log.warning("environment failed in %s (attempt %d)", task, crashes + 1, exc_info=error)
        self._drop_env(slot)
        return crashes + 1

    def _drop_env(self, slot: int) -> None:
        _attempt(self.envs.pop(slot).close)

    def _record(self, index: int, trajectory: Trajectory) -> None:
        self.done[index] = trajectory
        if self.on_done is not None:
            self.on_done(trajectory)


def _attempt(call: Callable[[], _Result]) -> _Result | Exception:
    """The result of a call into an environment, or what it raised: engines fail in ways of their own.

    An `EnvError` goes through: it says that something was asked for which is not there, now or at the next attempt.
    """
    try:
        return call()
    except EnvError:
        raise
    except Exception as error:  # noqa: BLE001
        return error


def _outcome(env: Env, episode: _Episode, reply: Reply) -> _Outcome:
    """Step the environment; a reply that did not parse is answered here and the world stands still."""
    failing = 0 if reply.invalid is None else 1 + _failing(episode.turns)
    if not reaches_environment(reply):
        assert reply.invalid is not None
        answer = feedback(reply.invalid)
        state = _state(env, answer, episode.info, failing=failing)
        return _Outcome(observation=answer, info=episode.info, state=state)
    observation, reward, terminated, truncated, info = env.step(reply.action)
    ending = Ending.TURN_LIMIT if truncated else None
    if terminated:
        ending = Ending.SUCCEEDED if _won(info, float(reward)) else Ending.FAILED
    state = _state(env, observation, info, failing=failing)
    return _Outcome(observation=observation, info=info, state=state, reward=float(reward), ending=ending)


def _turn(episode: _Episode, sample: Sample, reply: Reply, reward: float) -> Turn:
    return Turn(
        index=len(episode.turns),
        observation=episode.observation,
        context=episode.prompt.text,
        fresh_context=episode.prompt.fresh,
        reply=sample.text,
        decision=reply.decision,
        subgoal=reply.subgoal,
        action=reply.action,
        state=episode.state,
        invalid=reply.invalid,
        reward=reward,
        context_ids=sample.context_ids,
        reply_ids=sample.reply_ids,
        reply_logprobs=sample.reply_logprobs,
        spans=token_spans(reply, sample.reply_bytes, sample.forced),
        is_mistake=sample.is_mistake,
    )


def _failing(turns: Sequence[Turn]) -> int:
    """How many of the last replies in a row were invalid."""
    return next((count for count, turn in enumerate(reversed(turns)) if turn.invalid is None), len(turns))


def _state(env: Env, observation: str, info: Mapping[str, object], *, failing: int) -> str:
    """A name for the situation: the environment's own (`env.situation()`), else a digest of all that it shows.

    failing: invalid replies in a row just before: the world stands still, and the episode comes nearer to its end.
    """
    own = env.get_wrapper_attr("situation")() if env.has_wrapper_attr("situation") else None
    seen = (str(failing), str(own)) if own is not None else (str(failing), observation, *(_admissible(info) or ()))
    return hashlib.blake2b("\n".join(seen).encode(), digest_size=8).hexdigest()


def _never_begun(task: Task, crashes: int, policy_version: int) -> Trajectory:
    return Trajectory(
        game=_game(task, {}),
        task_type="",
        seed=task.seed,
        turns=(),
        ending=Ending.CRASHED,
        final_observation="",
        crashes=crashes,
        policy_version=policy_version,
    )


def _token_limit(episode: _Episode) -> Ending:
    if not episode.turns:
        raise PlayError(f"{episode.game!r}: the first prompt is longer than the model's context")
    return Ending.TOKEN_LIMIT


def _admissible(info: Mapping[str, object]) -> tuple[str, ...] | None:
    """The commands that the environment offers now; None where it does not say."""
    if "admissible_commands" not in info:
        return None
    return tuple(cast("Sequence[str]", info["admissible_commands"]))


def _is_possible(env: Env, info: Mapping[str, object], action: str) -> bool:
    """Whether an action does something now: the environment's own judgement (`env.admits(action)`) where it has one,
    else whether it is on its list; an environment that has neither takes anything."""
    if env.has_wrapper_attr("admits"):
        return bool(env.get_wrapper_attr("admits")(action))
    admissible = _admissible(info)
    return admissible is None or admits(admissible, action)


def _game(task: Task, info: Mapping[str, object]) -> str:
    """The name of what is played: the environment's word for it, else what was asked for."""
    for source in (info, task.options or {}):
        for key in ("game", "goal"):
            if key in source:
                return str(source[key])
    return ""


def _won(info: Mapping[str, object], reward: float) -> bool:
    if "won" in info:
        return bool(info["won"])
    if "task_score" in info:
        return info["task_score"] == 1.0
    return reward > 0.0


def _score(info: Mapping[str, object], ending: Ending) -> float:
    if "task_score" in info:
        return float(cast(float, info["task_score"]))
    return 1.0 if ending is Ending.SUCCEEDED else 0.0
