"""How fast a configuration goes on this machine: its own steps, timed before anybody waits for a run. Saves nothing."""

import copy
from collections.abc import Callable
from statistics import median

import torch

from hiper.models import Policy
from hiper.runs.checkpoint import Progress
from hiper.runs.config import Config
from hiper.runs.imitate import imitation_round
from hiper.runs.setup import build_learner, build_optimizer, build_policy, build_sampler, set_up_torch
from hiper.runs.train import train_round
from hiper.runs.world import World

Row = dict[str, object]
_SHOWN = {  # columns of a step's metrics that say where its time went, and what they are called here
    "time/rollout_s": "rollout_s",
    "time/values_s": "values_s",
    "time/credit_s": "credit_s",
    "time/learn_s": "learn_s",
    "speed/turns_s": "turns_per_s",
    "speed/sampled_tokens_s": "sampled_tokens_per_s",
    "speed/trained_tokens_s": "trained_tokens_per_s",
}


def bench(config: Config, rounds: int, say: Callable[[str], None]) -> Row:
    """The stages of a run: seconds a step (the median of `rounds` after one that is not counted), and the whole of it.

    The model is the one that a run would start from. One that has learnt nothing plays other episodes than it will
    later: give `model.path` to time a model that has. The drill of imitation, whose steps are short, is left out.
    """
    set_up_torch(config.threads, config.model.device)
    world = World(config.env)
    if config.model.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    policy = build_policy(config, world)
    row: Row = {
        "env": config.env.name,
        "parameters": sum(one.numel() for one in policy.parameters()),
        "device": config.model.device,
        "rounds": rounds,
    }
    c, t = config.sft, config.train
    if c.steps:
        say(f"imitation: {rounds + 1} steps")
        begin = Progress(stage="sft", step=c.drill)
        row["sft"] = _timed(_imitation(config, world, policy), begin, rounds, steps=c.steps - c.drill)
    if t.steps or t.turns:
        say(f"HiPER: {rounds + 1} steps")
        begin = Progress(stage="train", step=t.critic_warmup)  # as in most steps, the policy learns in those timed
        row["train"] = _timed(_training(config, world, policy), begin, rounds, steps=t.steps, turns=t.turns)
    world.close()
    if policy.device.type == "cuda":
        row["peak_memory_gib"] = torch.cuda.max_memory_allocated(policy.device) / 2**30
    return row


def _imitation(config: Config, world: World, policy: Policy) -> Callable[[Progress], tuple[Progress, Row]]:
    optimizer = build_optimizer(config.sft.optim, policy)
    return lambda progress: imitation_round(config, world, policy, optimizer, progress)[:2]


def _training(config: Config, world: World, policy: Policy) -> Callable[[Progress], tuple[Progress, Row]]:
    learner = build_learner(config, policy, build_optimizer(config.train.optim, policy))
    sampler = build_sampler(config, policy, temperature=config.sampling.temperature)
    reference = copy.deepcopy(policy) if config.train.kl_coef else None

    def one_step(progress: Progress) -> tuple[Progress, Row]:
        done = train_round(config, world, sampler, learner, progress, reference)
        return done.progress, done.row

    return one_step


def _timed(
    one_step: Callable[[Progress], tuple[Progress, Row]], progress: Progress, rounds: int, *, steps: int, turns: int = 0
) -> Row:
    """What a step takes, and all of them: `steps`, or as many as `turns` come to."""
    seconds, played, rows = [], [], []
    for _ in range(rounds + 1):
        after, row = one_step(progress)
        seconds.append(after.wall_s - progress.wall_s)
        played.append(after.turns - progress.turns)
        rows.append(row)
        progress = after
    step_s, step_turns = median(seconds[1:]), median(played[1:])
    whole = turns / step_turns if turns else steps
    figures: Row = {"step_s": step_s, "step_turns": step_turns, "steps": round(whole), "whole_s": step_s * whole}
    for column, called in _SHOWN.items():
        known = [float(str(one[column])) for one in rows[1:] if column in one]
        if known:
            figures[called] = median(known)
    return figures
