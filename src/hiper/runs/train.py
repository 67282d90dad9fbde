"""The training loop: collect, value, credit, batch, learn, record.

Everything random in a step derives from the seed, the stage and the step's number, so a run that was killed and
taken up again from its last checkpoint does on the CPU, bit for bit, what it would have done.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hiper.batch import Document, Streams, Values, documents, gather_values
from hiper.learn import DivergedError, Learner, PPOExample, Scores, schedule, score
from hiper.models import Policy, TorchSampler
from hiper.records import Trajectory
from hiper.rollout import Limits, PlayError, play, summary
from hiper.runs.checkpoint import Progress
from hiper.runs.config import COMPARE_GROUPS, Config, CreditConfig, TrainConfig
from hiper.runs.estimate import Table, explained_variance, give_credit, table_of, task_of
from hiper.runs.setup import build_interface, build_layout
from hiper.runs.world import World, derive_seed

Row = dict[str, object]


class GapError(RuntimeError):
    """Sampler and learner disagree about the probability of what was sampled."""


class DivergedRound(RuntimeError):
    """The third step in a row was not finite. Carries the episodes, so that the batch can be kept."""

    def __init__(self, message: str, episodes: list[Trajectory], credit_rows: list[Row]) -> None:
        super().__init__(message)
        self.episodes, self.credit_rows = episodes, credit_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What a step leaves behind: how far the run has come, its row of metrics, what was learnt from and its credit."""

    progress: Progress
    row: Row
    episodes: list[Trajectory]
    credit_rows: list[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """Episodes as the policy that played them sees them: their rows, its log-probabilities, its values by turn.

    `reference`: what the start model says of the rows, where a KL term asks for it.
    """

    episodes: list[Trajectory]
    rows: list[Document]
    scores: list[Scores]
    values: Values
    reference: list[Scores] | None = None


def train_round(
    config: Config,
    world: World,
    sampler: TorchSampler,
    learner: Learner,
    progress: Progress,
    reference: Policy | None = None,
) -> Round:
    """One step of HiPER: play, read the values, give every decision its credit, update."""
    clock = _Clock()
    before = sampler.sampled_tokens
    played = collect(config, world, sampler, progress.step)
    clock.lap("rollout")
    clock.sampled = sampler.sampled_tokens - before

    read = reread(learnable(played, config), learner.policy, config)
    gap = logprob_gap(read.rows, read.scores, config.train.max_logprob_gap)
    if reference is not None:
        known = score(reference, read.rows, temperature=config.sampling.temperature, budget=config.budget)
        read = replace(read, reference=known)
    clock.lap("values")

    table = table_of(read.episodes, config.credit)
    examples, raw = examples_of(read, table, config.credit)
    credit_rows = _credit_rows(read, raw)
    noise = gradient_noise(config, learner, examples, read.episodes, progress.step)
    clock.lap("credit")
    try:
        logs = update(config, learner, examples, progress)
    except DivergedError as error:
        raise DivergedRound(str(error), read.episodes, credit_rows) from error
    clock.lap("learn")

    progress = _advance(progress, played, read, clock, learner)
    row: Row = {
        **summary(played),
        "rollout/crashes": sum(one.crashes for one in played),
        **gap,
        **noise,
        **logs,
        **_credit_columns(table, read.values, raw),
        **clock.columns(read.rows, epochs=config.train.epochs),
    }
    return Round(progress=progress, row=row, episodes=read.episodes, credit_rows=credit_rows)


def collect(config: Config, world: World, sampler: TorchSampler, step: int) -> list[Trajectory]:
    """Play this step's episodes with the present policy."""
    t = config.train
    sampler.reset()
    tasks = world.training_tasks(
        config.env.train_split, step=step, count=t.episodes, group=t.group, seed=config.seed, stage="train"
    )
    episodes = play(
        lambda: world.make(config.env.train_split, renumber=t.renumber),
        sampler,
        build_interface(config.agent),
        build_layout(config.agent),
        tasks,
        limits=Limits(turns=t.max_turns or config.env.max_turns, invalid_in_a_row=t.patience),
        policy_version=step,
    )
    if not any(one.turns for one in episodes):
        raise PlayError(f"the environment {config.env.name!r} failed in every episode of step {step + 1}")
    return episodes


def learnable(played: Sequence[Trajectory], config: Config) -> list[Trajectory]:
    """The episodes that anything can be learnt from: those that began, and whose task was played by others if the
    estimator compares them."""
    begun = [one for one in played if one.turns]
    estimator = config.credit.estimator
    if estimator not in COMPARE_GROUPS and not (estimator == "reinforce_pp" and config.train.group > 1):
        return begun
    members = Counter(task_of(one) for one in begun)
    compared = [one for one in begun if members[task_of(one)] > 1]
    if not compared:
        raise PlayError(f"no two episodes of one game were played to an end: {estimator} has nothing to compare")
    return compared


def reread(episodes: list[Trajectory], policy: Policy, config: Config) -> Reread:
    """One forward pass over all that was played."""
    rows = documents(episodes, max_length=policy.max_length, token_values=config.credit.estimator == "token_gae")
    scores = score(policy, rows, temperature=config.sampling.temperature, budget=config.budget)
    values = gather_values(episodes, rows, [one.value_P for one in scores])
    return Reread(episodes=episodes, rows=rows, scores=scores, values=values)


def examples_of(read: Reread, table: Table, config: CreditConfig) -> tuple[list[PPOExample], Streams]:
    """What the learner trains on under that estimator, and the credit it comes from."""
    old = [one.value_P for one in read.scores]
    credited, raw = give_credit(table, read.values, read.rows, old, config)
    reference = [None] * len(old) if read.reference is None else [one.logprob_L for one in read.reference]
    return [
        PPOExample(example=one, old_value_P=value_P, reference_L=logprob_L)
        for one, value_P, logprob_L in zip(credited, old, reference, strict=True)
    ], raw


def update(config: Config, learner: Learner, examples: Sequence[PPOExample], progress: Progress) -> Row:
    """`epochs` passes over the episodes, `minibatches` optimiser steps each, documents of an episode together; then
    `value_passes` over single value points, for the heads alone."""
    t, step = config.train, progress.step
    scale = _scale(t, progress)
    learner.optimizer.set_scale(scale)
    skipped = learner.skipped
    episodes = sorted({one.example.document.episode for one in examples})
    parts: list[dict[str, float]] = []
    for epoch in range(t.epochs):
        rng = np.random.default_rng(derive_seed(config.seed, "shuffle", step, epoch))
        for chosen in np.array_split(rng.permutation(episodes), t.minibatches):
            inside = set(chosen.tolist())
            batch = [one for one in examples if one.example.document.episode in inside]
            if batch:
                parts.append(learner.step(batch, train_policy=step >= t.critic_warmup))
    fitted: dict[str, float] = {}
    if t.value_passes:
        rng = np.random.default_rng(derive_seed(config.seed, "values", step))
        fitted = learner.fit_values(examples, rng, passes=t.value_passes, parts=t.minibatches)
    names = {name for part in parts for name in part}
    logs: Row = {
        f"learn/{name}": float(np.mean([part[name] for part in parts if name in part])) for name in sorted(names)
    }
    logs |= {f"learn/{name}": value for name, value in fitted.items()}
    logs["learn/skipped"] = learner.skipped - skipped
    logs["learn/lr"] = t.optim.lr * scale if step >= t.critic_warmup else 0.0
    return logs


def is_over(t: TrainConfig, progress: Progress) -> bool:
    """Whether training has come to its end: so many turns were played, or so many steps done."""
    return progress.turns >= t.turns if t.turns else progress.step >= t.steps


def _scale(t: TrainConfig, progress: Progress) -> float:
    """The schedule. Its warm-up begins with the policy's first step: Adam's first updates are the roughest.

    Under a budget of turns, the number of steps is what it comes to at the pace so far.
    """
    if progress.step < t.critic_warmup:
        return 1.0
    steps = round(progress.step * t.turns / max(1, progress.turns)) if t.turns else t.steps
    step, total = progress.step - t.critic_warmup, steps - t.critic_warmup
    return schedule(step, total, warmup=t.optim.warmup, floor=t.optim.floor)


def gradient_noise(
    config: Config, learner: Learner, examples: Sequence[PPOExample], episodes: Sequence[Trajectory], step: int
) -> Row:
    """Every so often: how much the policy gradient of this batch owes to chance, before the update."""
    every = config.train.grad_variance_every
    if not every or step % every or step < config.train.critic_warmup:
        return {}
    dealt = deal(episodes, parts=8)
    if len(dealt) < 2:
        return {}
    noise = learner.gradient_noise(examples, dealt)
    return {"learn/grad_variance": noise["variance"], "learn/grad_norm2": noise["norm2"]}


def deal(episodes: Sequence[Trajectory], parts: int) -> list[set[int]]:
    """Places of the episodes in `parts` parts at most; those of one task, which are not independent, stay
    together."""
    places: dict[tuple[object, ...], list[int]] = {}
    for place, one in enumerate(episodes):
        places.setdefault(task_of(one), []).append(place)
    games = list(places.values())
    return [
        {place for game in part for place in games[game]}
        for part in np.array_split(range(len(games)), min(parts, len(games)))
    ]


def logprob_gap(rows: Sequence[Document], scores: Sequence[Scores], limit: float) -> Row:
    """How far sampled and recomputed log-probabilities lie apart. Raises GapError beyond the limit on the mean."""
    gaps = np.concatenate(
        [np.abs(row.logprob_L - one.logprob_L)[row.kind_L != 0] for row, one in zip(rows, scores, strict=True)]
    )
    mean, worst = (float(gaps.mean()), float(gaps.max())) if gaps.size else (0.0, 0.0)
    if not mean <= limit:
        raise GapError(
            f"sampled and recomputed log-probabilities differ by {mean:.3g} nats on average (limit {limit}); "
            "sampler and learner do not hold the same model"
        )
    return {"learn/logprob_gap_mean": mean, "learn/logprob_gap_max": worst}


def _credit_columns(table: Table, values: Values, raw: Streams) -> Row:
    """Size of each level's advantages before normalisation, and how well each head explains its targets.

    "low" counts turns that came to no action, too, with the value that stands there for V_low.
    """
    boundary = table.switches_BT & table.mask_BT
    later = table.mask_BT.copy()
    later[:, 0] = False
    columns: Row = {"shaping/per_episode": float(table.shaping_BT.sum() / len(table.lengths_B))}
    for name, chosen in (("switch", later), ("subgoal", boundary), ("action", table.mask_BT)):
        entries = getattr(raw, f"{name}_BT")[chosen]
        entries = entries[np.isfinite(entries)]
        columns[f"credit/{name}_mean"] = float(entries.mean()) if entries.size else 0.0
        columns[f"credit/{name}_std"] = float(entries.std()) if entries.size else 0.0
    high = np.where(boundary, raw.target_high_BT, np.nan)
    masked = [np.where(table.mask_BT, target, np.nan) for target in (raw.target_U_BT, raw.target_low_BT)]
    columns["learn/explained_variance/U"] = explained_variance(values.U_BT, masked[0])
    columns["learn/explained_variance/high"] = explained_variance(values.V_high_BT, high)
    columns["learn/explained_variance/low"] = explained_variance(values.V_low_BT, masked[1])
    return columns


def _credit_rows(read: Reread, raw: Streams) -> list[Row]:
    """Advantages and values of each episode, turn by turn, as the report shows them (training units)."""
    tables = {"switch": raw.switch_BT, "subgoal": raw.subgoal_BT, "action": raw.action_BT}
    tables |= {"U": read.values.U_BT, "V_high": read.values.V_high_BT, "V_low": read.values.V_low_BT}
    return [
        {"index": b, **{name: _plain(table[b, : len(one.turns)]) for name, table in tables.items()}}
        for b, one in enumerate(read.episodes)
    ]


def _plain(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> list[float | None]:
    return [round(float(v), 6) if np.isfinite(v) else None for v in values]


def _advance(
    progress: Progress, played: Sequence[Trajectory], read: Reread, clock: "_Clock", learner: Learner
) -> Progress:
    """Episodes and turns count also where nothing could be learnt from them; tokens are those learnt from."""
    return Progress(
        stage="train",
        step=progress.step + 1,
        episodes=progress.episodes + len(played),
        turns=progress.turns + sum(len(one.turns) for one in played),
        tokens=progress.tokens + sum(len(row) for row in read.rows),
        wall_s=progress.wall_s + sum(clock.spent.values()),
        bad_in_a_row=learner.bad_in_a_row,
    )


class _Clock:
    """Where the time of a step goes."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.sampled = 0
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.spent[name] = now - self._last
        self._last = now

    def columns(self, rows: Sequence[Document], *, epochs: int) -> Row:
        tokens = epochs * sum(len(row) for row in rows)
        columns: Row = {f"time/{name}_s": spent for name, spent in self.spent.items()}
        columns["speed/sampled_tokens_s"] = self.sampled / self.spent["rollout"]
        columns["speed/trained_tokens_s"] = tokens / self.spent["learn"]
        columns["speed/turns_s"] = (
            sum(len(set(row.turn_L[row.turn_L >= 0].tolist())) for row in rows) / self.spent["rollout"]
        )
        return columns
