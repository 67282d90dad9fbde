"""Imitation: the policy learns to say what the expert says, from episodes that are dealt anew at every step."""

import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hiper.learn import Demonstration, Optimizer, imitation_step, schedule
from hiper.models import Policy, Tokenizer
from hiper.records import Trajectory
from hiper.runs.checkpoint import Progress
from hiper.runs.config import Config, ConfigError
from hiper.runs.setup import demonstrate
from hiper.runs.world import World, derive_seed

_SPAN_BEGINS = 3  # tokens that say where a span of a drill comes from
_DRILLS = 2  # documents of a drill for each episode of a step: they are short
_POOREST = 0.7  # power of the number of words that the poorest language has: 300 for 4,000
_COMMON = 0.25  # share of the documents of a batch above which a token that they have belongs to the format


def to_demonstrations(
    episodes: Sequence[Trajectory], tokenizer: Tokenizer, *, observation_weight: float, longest: int | None = None
) -> list[Demonstration]:
    """One document for each run of appended contexts. Replies that were wrong on purpose weigh nothing.

    What goes beyond `longest` tokens is cut off: a model cannot read further than its context.
    """
    out = []
    for episode in (one for one in episodes if one.turns):  # a crashed one may have none
        ids: list[int] = []
        weight: list[float] = []
        for turn in episode.turns:
            if turn.fresh_context and ids:
                out.append(Demonstration(ids=tuple(ids[:longest]), weight=tuple(weight[:longest])))
                ids, weight = [], []
            context = tokenizer.encode_context(turn.context, fresh=turn.fresh_context)
            reply = tokenizer.encode(turn.reply)
            ids += context + reply
            weight += [observation_weight] * len(context) + [0.0 if turn.is_mistake else 1.0] * len(reply)
        out.append(Demonstration(ids=tuple(ids[:longest]), weight=tuple(weight[:longest])))
    return out


def drill(seed: int, *, count: int, vocabulary: int, longest: int | None = None) -> list[Demonstration]:
    """Documents from which nothing can be learnt but to copy: random tokens, then spans of them again.

    Within a passage tokens come again, in some often: then one token before does not tell what comes next, two or three
    do, as in any text (`throw blankets with fleece throw with color`). Only what follows the first three tokens of a
    span has weight. A few hundred steps of it, some minutes, teach a small model that begins near copying to do it
    with any token, also with one it will meet seldom.
    """
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        length = int(rng.integers(20, 101))
        alphabet = rng.integers(vocabulary, size=rng.integers(length // 4, 2 * length))
        passage = rng.choice(alphabet, size=length).tolist()
        ids, weight = list(passage), [0.0] * length
        while len(ids) < 2 * length:
            start = int(rng.integers(length - _SPAN_BEGINS))
            span = passage[start : start + int(rng.integers(_SPAN_BEGINS + 1, 21))]
            ids += span
            weight += [0.0] * _SPAN_BEGINS + [1.0] * (len(span) - _SPAN_BEGINS)
        out.append(Demonstration(ids=tuple(ids[:longest]), weight=tuple(weight[:longest])))
    return out


def reword(
    batch: Sequence[Demonstration], tokenizer: Tokenizer, *, share: float, rng: np.random.Generator
) -> list[Demonstration]:
    """The same documents, a share of them in a language of their own: each token stands for another throughout.

    What more than a quarter of the batch has (tags, commands) stays, and so do tokens that were added whole (codes).
    Such a document hangs together as before, but its words mean nothing: they can only be copied from where they stand,
    as words of games that were never shown must be. Some fall together, more in a poorer language: then one word does
    not tell what comes next, two or three do.
    """
    seen = Counter(token for one in batch for token in set(one.ids))
    kept = tokenizer.added_ids | {token for token, documents in seen.items() if documents > _COMMON * len(batch)}
    words = np.array([token for token in range(len(tokenizer)) if token not in kept])
    out = []
    for one in batch:
        if rng.random() < share:
            language = rng.choice(words, size=int(len(words) ** rng.uniform(_POOREST, 1.0)), replace=False)
            other = np.arange(len(tokenizer))
            other[words] = rng.choice(language, size=len(words))
            one = Demonstration(ids=tuple(other[list(one.ids)].tolist()), weight=one.weight)
        out.append(one)
    return out


def imitation_round(
    config: Config, world: World, policy: Policy, optimizer: Optimizer, progress: Progress
) -> tuple[Progress, dict[str, object], list[Trajectory]]:
    """One step of imitation: play the expert (or drill), take one optimiser step; its row, and what was shown."""
    begin = time.perf_counter()
    c = config.sft
    first, end = (0, c.drill) if progress.step < c.drill else (c.drill, c.steps)  # each part has its own schedule
    scale = schedule(progress.step - first, end - first, warmup=c.optim.warmup, floor=c.optim.floor)
    optimizer.set_scale(scale)
    longest = policy.max_length
    episodes: list[Trajectory] = []
    shown: list[Demonstration] = []
    drills = c.episodes * _DRILLS if progress.step < c.drill else c.drills
    seed = derive_seed(config.seed, "drill", progress.step)
    drilled = drill(seed, count=drills, vocabulary=len(policy.tokenizer), longest=longest)
    if progress.step >= c.drill:
        episodes = demonstrate(config, world, step=progress.step, count=c.episodes, learner=policy)
        shown = to_demonstrations(episodes, policy.tokenizer, observation_weight=c.observation_weight, longest=longest)
        if c.reworded:
            rng = np.random.default_rng(derive_seed(config.seed, "reword", progress.step))
            shown = reword(shown, policy.tokenizer, share=c.reworded, rng=rng)
    if not any(any(one.weight[1:]) for one in shown or drilled):
        raise ConfigError(f"no reply of any demonstration fits into the model's context of {longest} tokens")
    batch = shown + drilled
    logs = imitation_step(policy, optimizer, batch, budget=config.budget, max_grad_norm=c.optim.max_grad_norm)
    tokens = sum(len(one.ids) for one in batch)
    spent = time.perf_counter() - begin
    after = Progress(
        stage="sft",
        step=progress.step + 1,
        episodes=progress.episodes + len(episodes),
        turns=progress.turns + sum(len(one.turns) for one in episodes),
        tokens=progress.tokens + tokens,
        wall_s=progress.wall_s + spent,
        bad_in_a_row=progress.bad_in_a_row + 1 if logs["skipped"] else 0,
    )
    row: dict[str, object] = {f"learn/{name}": value for name, value in logs.items()}
    row["learn/cut"] = sum(len(one.ids) == longest for one in batch)
    row["rollout/crashes"] = sum(one.crashes for one in episodes)
    row["learn/lr"] = c.optim.lr * scale
    row["speed/trained_tokens_s"] = tokens / spent
    return after, row, episodes
