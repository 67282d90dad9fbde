"""How good is the gradient of one update? Every estimator on the same episodes of one agent.

    python -m benchmarks.gradient RUN [key=value ...] [--critic 20] [--rounds 40] [--exact 2] [--only NAME]...

RUN is the folder of a run, its imitation included (`runs/arena/starts/...` of a comparison); key=value changes its
settings, e.g. env.options.chain=4. The policy stays as it is. Its value heads first learn from `--critic` batches of
episodes (0: they know nothing), then stay as they are too. Each round plays `train.episodes` episodes in groups, gives
each estimator's credit on them, and takes the gradient of the policy's loss; advantages as they are, not scaled.

With g an estimator's gradient of one round and G the true one:

    noise      E|g - Eg|² / |Eg|²          what one round leaves to chance, in units of what it says
    direction  cos(Eg, G)                  1: unbiased but for the length
    of one     <Eg, G> / sqrt(E|g|² |G|²)  the cosine of one update with the truth: bias and noise together. The gain of
                                           a small step of given length is in proportion to it

All from inner products of different rounds, which no noise makes larger. G is the mean gradient of returns without
discount that end with the episode, minus baselines (`siblings`, all lambdas 1): right whatever the critic says. +-: two
standard errors, by leaving out one round after the other; of the difference to the first row in the last column.

`--exact N` adds what the estimators would be worth with a critic that knows: every value of a batch is found by 2 N
episodes played on from there (`benchmarks.exact`; slow), and E|g|² comes from gradients with one half and the other,
so that none of the noise of the values is left in it. These are right on average at any lambda: their direction is 1.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.exact import played_on
from hiper.batch import TokenBatch, Values
from hiper.learn import Learner
from hiper.models import Policy, TorchSampler
from hiper.runs.checkpoint import Progress, checkpoints, load_policy
from hiper.runs.config import Config, load_config, make_config
from hiper.runs.estimate import table_of
from hiper.runs.setup import build_learner, build_optimizer, build_sampler, set_up_torch
from hiper.runs.train import collect, examples_of, learnable, reread, train_round
from hiper.runs.world import World

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Twice = tuple[Floats, Floats]  # with independent values; the same where there is but one set

ONES = {"lam_low": 1.0, "lam_high": 1.0, "lam_boundary": 1.0}
_WHOLE = {"gamma": 1.0, "at_limit": "end"}
TRUTH = "truth"
ESTIMATORS: dict[str, dict[str, Any]] = {
    "flat GAE": {"estimator": "gae", "lam_low": 0.95},
    "flat GAE, lambda 1": {"estimator": "gae", "lam_low": 1.0},
    "flat GAE, lambda 0.5": {"estimator": "gae", "lam_low": 0.5},
    "flat GAE, baselines by decision": {"estimator": "option_gae", "lam_low": 0.95},
    "HAE, paper": {"estimator": "hae", "lam_low": 1.0, "lam_high": 0.95, "lam_boundary": 0.0},
    "HAE, trace carried": {"estimator": "hae", "lam_low": 0.95, "lam_high": 0.85, "lam_boundary": 1.0},
    "HAE, lam_high 1": {"estimator": "hae", "lam_low": 0.95, "lam_high": 1.0, "lam_boundary": 1.0},
    "HAE, unbiased": {"estimator": "hae", **ONES},
    "HAE, expected bootstrap": {"estimator": "hae_eb", "lam_low": 0.95},
    "siblings": {"estimator": "siblings", **ONES},
    "siblings, adaptive": {"estimator": "siblings", "lam_low": 0.95, "lam_high": 0.85, "lam_boundary": "adaptive"},
    "siblings, lambda 0.8": {"estimator": "siblings", "lam_low": 0.8, "lam_high": 0.8, "lam_boundary": 1.0},
    "siblings, lambda 0.5": {"estimator": "siblings", "lam_low": 0.5, "lam_high": 0.5, "lam_boundary": 1.0},
    "siblings, lambda 0": {"estimator": "siblings", "lam_low": 0.0, "lam_high": 0.0, "lam_boundary": 1.0},
    "GRPO": {"estimator": "grpo"},
    "RLOO": {"estimator": "rloo"},
    "REINFORCE++": {"estimator": "reinforce_pp"},
    "GiGPO": {"estimator": "gigpo"},
    TRUTH: {"estimator": "siblings", **_WHOLE, **ONES},
}
EXACT: dict[str, dict[str, Any]] = {
    "flat GAE, exact values": {"estimator": "gae", "lam_low": 0.95, **_WHOLE},
    "flat GAE, lambda 1, exact values": {"estimator": "gae", "lam_low": 1.0, **_WHOLE},
    "flat GAE, lambda 0, exact values": {"estimator": "gae", "lam_low": 0.0, **_WHOLE},
    "HAE, paper, exact values": {**ESTIMATORS["HAE, paper"], **_WHOLE},
    "HAE, trace carried, exact values": {**ESTIMATORS["HAE, trace carried"], **_WHOLE},
    "HAE, unbiased, exact values": {**ESTIMATORS["HAE, unbiased"], **_WHOLE},
    "HAE, lambda 0, exact values": {**ESTIMATORS["HAE, paper"], "lam_low": 0.0, "lam_high": 0.0, **_WHOLE},
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The gradient of one update, estimator by estimator.")
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings to change")
    parser.add_argument("--critic", type=int, default=20, help="batches that the critic learns from (%(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="batches that are measured, 3 at least (%(default)s)")
    names = [name for name in ESTIMATORS if name != TRUTH]
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        choices=names,
        help=f"an estimator, by its name; of {', '.join(names)}",
    )
    parser.add_argument(
        "--exact", type=int, default=0, metavar="N", help="exact values too, from 2 N episodes for each of them"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures there; - for standard output")
    args = parser.parse_args(argv)
    if args.rounds < 3:
        parser.error("--rounds: at least 3")
    if args.exact < 0:
        parser.error("--exact: at least 0")
    config = load_config(args.run / "config.toml", ["train.group=8", *args.overrides, "train.kl_coef=0"])
    stages = (checkpoints(args.run / "checkpoints", stage) for stage in ("train", "sft"))
    found = next((some[-1] for some in stages if some), None)
    if found is None:
        parser.error(f"{args.run}: no checkpoint there")
    started = time.perf_counter()
    gradients = measure(config, found, args.only or names, critic=args.critic, rounds=args.rounds, exact=args.exact)
    figures = compared(gradients)
    whole = {
        "run": args.run.name, "settings": args.overrides, "critic": args.critic, "rounds": args.rounds,
        "exact": args.exact, "episodes": config.train.episodes, "seconds": time.perf_counter() - started,
        "estimators": figures,
    }  # fmt: skip
    if args.json == "-":
        print(json.dumps(whole))
        return 0
    if args.json:
        Path(args.json).write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
    print(f"{args.rounds} rounds of {config.train.episodes} episodes, critic of {args.critic} batches")
    print(f"{'':32s}{'noise':>8s}  {'direction':>14s}  {'of one':>14s}  to the first")
    for name, f in figures.items():
        print(
            f"{name:32s}{f['noise']:8.1f}  {f['direction']:6.2f} +-{f['direction_se2']:5.2f}  "
            f"{f['of_one']:6.3f} +-{f['of_one_se2']:5.3f}  {f['to_first']:+.3f} +-{f['to_first_se2']:.3f}"
        )
    return 0


def measure(
    config: Config, checkpoint: Path, estimators: Sequence[str], *, critic: int, rounds: int, exact: int
) -> dict[str, Twice]:
    """Gradients [rounds, weights] of each estimator, and of the truth."""
    set_up_torch(config.threads or 1)
    policy = load_policy(checkpoint, device=config.model.device, dtype=config.model.dtype)
    learner = build_learner(config, policy, build_optimizer(config.train.optim, policy))
    sampler = build_sampler(config, policy, temperature=config.sampling.temperature)
    world = World(config.env)
    try:
        progress = Progress(stage="train", step=0)
        only_values = changed(config, {"train": {"critic_warmup": critic + 1}, "credit": {"estimator": "hae", **ONES}})
        for _ in range(critic):
            progress = train_round(only_values, world, sampler, learner, progress).progress
        names = {
            name: changed(config, {"train": {"critic_warmup": 0}, "credit": {**ESTIMATORS[name], "normalise": "none"}})
            for name in (*estimators, TRUTH)
        }
        found: dict[str, list[tuple[Floats, Floats]]] = {}
        for index in range(rounds):
            for name, both in one_round(names, config, world, sampler, learner, policy, critic + index, exact).items():
                found.setdefault(name, []).append(both)
    finally:
        world.close()
    return {
        name: (np.array([one for one, _ in some]), np.array([two for _, two in some])) for name, some in found.items()
    }


def changed(config: Config, changes: Mapping[str, Mapping[str, Any]]) -> Config:
    data = config.model_dump()
    for section, values in changes.items():
        data[section] |= values
    return make_config(data)


def one_round(
    names: Mapping[str, Config],
    config: Config,
    world: World,
    sampler: TorchSampler,
    learner: Learner,
    policy: Policy,
    step: int,
    exact: int,
) -> dict[str, tuple[Floats, Floats]]:
    """Play once; each estimator's gradient on what was played, with one set of values and with the other."""
    played = collect(config, world, sampler, step)
    read = reread(learnable(played, names[TRUTH]), policy, config)

    def gradient(its: Config, values: Values) -> Floats:
        known = replace(read, values=values)
        examples, _ = examples_of(known, table_of(read.episodes, its.credit), its.credit)
        found = learner.policy_gradient(examples, TokenBatch.of([one.example for one in examples]))
        return np.asarray(found.to(torch.float64).cpu().numpy())

    out = {}
    for name, its in names.items():
        one = gradient(its, read.values)
        out[name] = one, one
    if exact:
        first, second = played_on(names[TRUTH], world, sampler, read.episodes, read.rows, plays=exact)
        for name, credit in EXACT.items():
            its = changed(config, {"credit": {**credit, "normalise": "none"}})
            out[name] = gradient(its, first), gradient(its, second)
    return out


def compared(gradients: Mapping[str, Twice]) -> dict[str, dict[str, float]]:
    """The figures of each estimator but the truth."""
    names = list(gradients)
    one, other = (np.stack([gradients[name][half] for name in names]) for half in (0, 1))
    gram = np.einsum("arp,bsp->abrs", one, other, optimize=True)  # [estimators, estimators, rounds, rounds]
    gram = (gram + gram.transpose(1, 0, 3, 2)) / 2
    truth = names.index(TRUTH)
    rounds = gram.shape[-1]
    every, same_R = gram.sum(axis=(2, 3)), np.diagonal(gram, axis1=2, axis2=3)
    same = same_R.sum(axis=-1)
    whole = _figures(every, same, rounds, truth)
    every_R = every[..., None] - gram.sum(axis=3) - gram.sum(axis=2) + same_R  # without each round
    parts = [_figures(every_R[..., left], same - same_R[..., left], rounds - 1, truth) for left in range(rounds)]
    out: dict[str, dict[str, float]] = {}
    for place, name in enumerate(names):
        if place == truth:
            continue
        out[name] = {key: float(whole[key][place]) for key in whole}
        for key in ("direction", "of_one", "to_first"):
            left_out = np.array([part[key][place] for part in parts])
            spread = (rounds - 1) / rounds * ((left_out - left_out.mean()) ** 2).sum()
            out[name][f"{key}_se2"] = 2 * float(np.sqrt(spread))
    return out


def _figures(every: Floats, same: Floats, rounds: int, truth: int) -> dict[str, Floats]:
    """Of inner products [estimators, estimators], summed over all pairs of rounds, and over those of one round."""
    across = (every - same) / (rounds * (rounds - 1))  # <Ea, Eb>, free of the noise that estimators share in a round
    signal, length2 = np.diag(across), np.diag(same) / rounds
    with_truth, truth2 = across[:, truth], across[truth, truth]
    with np.errstate(invalid="ignore"):  # a signal that is lost in the noise may come out below 0
        of_one = with_truth / np.sqrt(length2 * truth2)
        direction = with_truth / np.sqrt(signal * truth2)
        noise = (length2 - signal) / np.where(signal > 0, signal, np.nan)
    return {"noise": noise, "direction": direction, "of_one": of_one, "to_first": of_one - of_one[0]}


if __name__ == "__main__":
    sys.exit(main())
