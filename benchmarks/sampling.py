"""How fast does the built-in sampler write? Against transformers' own `generate`, with the same weights.

    python benchmarks/sampling.py [--preset tiny-1m] [--episodes 32] [--turns 8] [--reply 16] [--json FILE]

Two jobs: one reply to each of many prompts, and transcripts of several turns, in which `generate` has to read all that
came before at every turn while the sampler keeps its cache. Prompts and the number of new tokens are the same for both
(nothing ends a reply early, the best case for `generate`, whose batch waits for its longest row), and so are the
replies when both are greedy, else there is nothing to compare. Times are the best of the repeats.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from hiper.models import PRESETS, Policy, TorchSampler, preset, train_tokenizer
from hiper.records import Prompt, Request

NEVER = "<never>"
THINGS = ("mug", "pen", "book", "plate", "lamp", "desk", "shelf", "drawer", "cabinet", "countertop")
Ids = tuple[int, ...]
Result = dict[str, float | int | str]


def observation(rng: np.random.Generator, things: int) -> str:
    """A line such as a game prints."""
    seen = ", ".join(f"a {rng.choice(THINGS)} {rng.integers(1, 9)}" for _ in range(things))
    return f"\nYou arrive at {rng.choice(THINGS)} {rng.integers(1, 9)}. On it, you see {seen}.\n"


def episodes(count: int, turns: int, seed: int) -> list[list[str]]:
    """The texts of each episode: a longer one to begin with, then an observation a turn."""
    rng = np.random.default_rng(seed)
    return [
        [
            observation(rng, int(rng.integers(10, 30))),
            *(observation(rng, int(rng.integers(1, 6))) for _ in range(turns - 1)),
        ]
        for _ in range(count)
    ]


def build(name: str, context: int, seed: int, device: str) -> Policy:
    rng = np.random.default_rng(seed)
    tokenizer = train_tokenizer([observation(rng, 5) for _ in range(400)], size=512)
    tokenizer.eos_id = None  # nothing ends a reply but its length
    shape = preset(name, vocabulary=len(tokenizer), context=context, end_id=0)
    return Policy.build(shape, tokenizer, seed=seed).to(device)


def plain_copy(policy: Policy) -> PreTrainedModel:
    """The same weights, saved and loaded as transformers does it."""
    with tempfile.TemporaryDirectory() as folder:
        policy.lm.save_pretrained(folder)
        lm = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    assert isinstance(lm, PreTrainedModel)
    torch.nn.Module.to(lm, policy.device)
    return lm


def ours(policy: Policy, texts: Sequence[Sequence[str]], reply: int, temperature: float) -> list[list[Ids]]:
    """Replies of the built-in sampler, episode by episode."""
    sampler = TorchSampler(policy, capacity=len(texts), max_reply=reply, temperature=temperature)
    said: list[list[Ids]] = [[] for _ in texts]

    def ask(slot: int) -> None:
        turn = len(said[slot])
        prompt = Prompt(text=texts[slot][turn], fresh=turn == 0)
        sampler.submit(
            Request(slot=slot, prompt=prompt, seed=slot, turn=turn, stop=NEVER, observation="", admissible=(), info={})
        )

    for slot in range(len(texts)):
        ask(slot)
    while any(len(said[slot]) < len(texts[slot]) for slot in range(len(texts))):
        for sample in sampler.poll():
            said[sample.slot].append(sample.reply_ids)
            if len(said[sample.slot]) < len(texts[sample.slot]):
                ask(sample.slot)
    return said


@torch.inference_mode()
def theirs(
    lm: PreTrainedModel, policy: Policy, texts: Sequence[Sequence[str]], reply: int, temperature: float
) -> list[list[Ids]]:
    """Replies of `generate`: at every turn one batch, padded on the left, of all that has been said so far."""
    said: list[list[Ids]] = [[] for _ in texts]
    past: list[Ids] = [() for _ in texts]
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    for turn in range(len(texts[0])):
        for slot, lines in enumerate(texts):
            past[slot] += policy.tokenizer.encode_context(lines[turn], fresh=turn == 0)
        longest = max(len(ids) for ids in past)
        rows = [(0,) * (longest - len(ids)) + ids for ids in past]
        mask = [(0,) * (longest - len(ids)) + (1,) * len(ids) for ids in past]
        out = lm.generate(  # type: ignore[operator]
            input_ids=torch.tensor(rows, device=policy.device),
            attention_mask=torch.tensor(mask, device=policy.device),
            max_new_tokens=reply,
            min_new_tokens=reply,
            eos_token_id=None,
            pad_token_id=0,
            **sampling,
        )
        for slot, ids in enumerate(out[:, longest:].tolist()):
            said[slot].append(tuple(ids))
            past[slot] += tuple(ids)
    return said


def best_times(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of each, in turns, so that a busy moment of the machine hits both alike. A first round warms up."""
    best = [float("inf")] * len(works)
    for number in range(repeats + 1):
        for n, work in enumerate(works):
            start = time.perf_counter()
            work()
            spent = time.perf_counter() - start
            best[n] = min(best[n], spent) if number else best[n]
    return best


def agree(policy: Policy, lm: PreTrainedModel, texts: Sequence[Sequence[str]], reply: int) -> bool:
    """Greedy replies are the same, and of the length that was asked for."""
    a, b = ours(policy, texts, reply, 0.0), theirs(lm, policy, texts, reply, 0.0)
    return a == b and all(len(ids) == reply for said in a for ids in said)


def measure(args: argparse.Namespace) -> tuple[list[Result], bool]:
    policy = build(args.preset, args.context, args.seed, args.device)
    lm = plain_copy(policy)
    results: list[Result] = []
    for turns in (1, args.turns):
        texts = episodes(args.episodes, turns, args.seed)
        tokens = args.episodes * turns * args.reply
        works = [partial(ours, policy, texts, args.reply, 1.0), partial(theirs, lm, policy, texts, args.reply, 1.0)]
        ours_s, theirs_s = best_times(works, args.repeats)
        results.append(
            {
                "preset": args.preset,
                "episodes": args.episodes,
                "turns": turns,
                "reply": args.reply,
                "sampled_tokens": tokens,
                "ours_tokens_s": tokens / ours_s,
                "generate_tokens_s": tokens / theirs_s,
                "speedup": theirs_s / ours_s,
            }
        )
    return results, agree(policy, lm, episodes(4, 2, args.seed + 1), 6)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Tokens a second of the built-in sampler and of `generate`.")
    parser.add_argument("--preset", choices=PRESETS, default="tiny-1m")
    parser.add_argument("--episodes", type=int, default=32, help="how many at once")
    parser.add_argument("--turns", type=int, default=8, help="of the transcripts")
    parser.add_argument("--reply", type=int, default=16, help="tokens of each reply")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", metavar="FILE", help="write the results there; - for standard output")
    args = parser.parse_args(argv)
    results, same = measure(args)
    if args.json == "-":
        print(json.dumps(results))
    else:
        if args.json:
            Path(args.json).write_text(json.dumps(results) + "\n", "utf-8")
        print(f"{args.preset}, {args.episodes} episodes at once, replies of {args.reply} tokens: sampled tokens/s")
        print(f"{'':14}{'ours':>10}{'generate':>10}{'ratio':>8}")
        for row in results:
            name = "one turn" if row["turns"] == 1 else f"{row['turns']} turns"
            print(f"{name:14}{row['ours_tokens_s']:10.0f}{row['generate_tokens_s']:10.0f}{row['speedup']:8.2f}")
    if not same:
        print("the two do not say the same when greedy", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
