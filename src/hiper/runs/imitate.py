"""Imitation: the policy learns to say what the expert says, from episodes that are new at every step."""

import time
from collections.abc import Sequence

from hiper.learn import Demonstration, Optimizer, imitation_step, schedule
from hiper.models import Policy, Tokenizer
from hiper.records import Trajectory
from hiper.runs.checkpoint import Progress
from hiper.runs.config import Config, ConfigError
from hiper.runs.setup import demonstrate
from hiper.runs.world import World


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


def imitation_round(
    config: Config, world: World, policy: Policy, optimizer: Optimizer, progress: Progress
) -> tuple[Progress, dict[str, object]]:
    """One step of imitation: play the expert, take one optimiser step, say what happened."""
    begin = time.perf_counter()
    c = config.sft
    scale = schedule(progress.step, c.steps, warmup=c.optim.warmup, floor=c.optim.floor)
    optimizer.set_scale(scale)
    episodes = demonstrate(config, world, step=progress.step, count=c.episodes)
    longest = policy.max_length
    batch = to_demonstrations(episodes, policy.tokenizer, observation_weight=c.observation_weight, longest=longest)
    if not any(any(one.weight[1:]) for one in batch):
        raise ConfigError(f"no reply of any demonstration fits into the model's context of {longest} tokens")
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
    )
    row: dict[str, object] = {f"learn/{name}": value for name, value in logs.items()}
    row["learn/cut"] = sum(len(one.ids) == longest for one in batch)
    row["rollout/crashes"] = sum(one.crashes for one in episodes)
    row["learn/lr"] = c.optim.lr * scale
    row["speed/trained_tokens_s"] = tokens / spent
    return after, row
