"""How fast does the learner read? Packed rows against padded batches, forward and backward, of the same documents.

    python benchmarks/packing.py [--preset tiny-1m] [--documents 10] [--budget 4096] [--json FILE]

Documents are as long as transcripts of episodes are: a third end early, the rest run on to the limit. They go through
the model in the same groups, longest first as in the learner (`--unsorted`: as they come), in four ways:

- packed: laid end to end without padding, attention document by document (what the learner does on a CPU);
- packed, padded attention: the same rows, but attention pads them to the longest (what it does on a GPU);
- padded: a batch padded on the right, where causal attention needs no mask;
- padded with mask: the same with the attention mask that a padded batch usually comes with.

The rest is equal: scores of a fifth of the tokens (the replies), one gradient. The gradients must agree, else there is
nothing to compare. Tokens are real ones; times are the best of the repeats.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hiper.batch import split_by_tokens
from hiper.models import PRESETS, Policy, pack, preset, train_tokenizer
from hiper.models.attention import ATTENTION, Documents

Ids = tuple[int, ...]
Result = dict[str, float | int | str]
Read = Callable[[Policy, list[Ids]], Tensor]


class PaddedDocuments(Documents):
    """Packed rows whose attention takes the way that it takes on a GPU."""

    def attend(self, q_HND: Tensor, k_GND: Tensor, v_GND: Tensor, scale: float, layer: int) -> Tensor:
        return self._padded(q_HND, k_GND, v_GND, scale)


def lengths(count: int, longest: int, seed: int) -> list[int]:
    """Tokens of each document: successes end anywhere, other episodes run on to the turn limit."""
    rng = np.random.default_rng(seed)
    early = rng.random(count) < 1 / 3
    share = np.where(early, rng.uniform(0.1, 0.8, count), rng.uniform(0.8, 1.0, count))
    return cast(list[int], (share * longest).astype(int).tolist())


def packed(policy: Policy, documents: list[Ids]) -> Tensor:
    return policy.hidden(*pack(documents, policy.device))


def packed_padded_attention(policy: Policy, documents: list[Ids]) -> Tensor:
    ids, position, packing = pack(documents, policy.device)
    return policy.hidden(ids, position, PaddedDocuments(packing.starts, packing.device))


def padded(policy: Policy, documents: list[Ids]) -> Tensor:
    return _padded(policy, documents, with_mask=False)


def padded_with_mask(policy: Policy, documents: list[Ids]) -> Tensor:
    return _padded(policy, documents, with_mask=True)


def _padded(policy: Policy, documents: list[Ids], *, with_mask: bool) -> Tensor:
    longest = max(len(ids) for ids in documents)
    ids = torch.tensor([ids + (0,) * (longest - len(ids)) for ids in documents], device=policy.device)
    is_real = torch.arange(longest, device=policy.device) < torch.tensor(
        [[len(ids)] for ids in documents], device=policy.device
    )
    policy.lm.set_attn_implementation("sdpa")
    mask = {"attention_mask": is_real.long()} if with_mask else {}
    out = policy.lm.get_decoder()(input_ids=ids, use_cache=False, **mask)
    policy.lm.set_attn_implementation(ATTENTION)
    return cast(Tensor, out.last_hidden_state[is_real])


WAYS: dict[str, Read] = {
    "packed": packed,
    "packed, padded attention": packed_padded_attention,
    "padded": padded,
    "padded with mask": padded_with_mask,
}


def learn(policy: Policy, documents: list[Ids], budget: int, read: Read) -> None:
    """Forward and backward over all documents in groups of `budget` tokens: mean loss of every fifth token."""
    policy.zero_grad(set_to_none=True)
    whole = sum(len(range(1, len(ids), 5)) for ids in documents)
    for group in split_by_tokens([len(ids) for ids in documents], budget):
        chosen = [documents[n] for n in group]
        hidden = read(policy, chosen)
        start = 0
        place: list[int] = []
        for ids in chosen:
            place += range(start + 1, start + len(ids), 5)
            start += len(ids)
        target = torch.tensor([i for ids in chosen for i in ids], device=policy.device)[place]
        before = torch.tensor(place, device=policy.device) - 1
        loss = cross_entropy(policy.logits(hidden[before]), target, reduction="sum") / whole
        loss.backward()
    if policy.device.type == "cuda":
        torch.cuda.synchronize()


def gradient(policy: Policy) -> Tensor:
    return torch.cat([p.grad.flatten() for p in policy.lm.parameters() if p.grad is not None])


def best_times(works: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each, in turns, so that a busy moment of the machine hits all alike. A first round allocates."""
    best = dict.fromkeys(works, float("inf"))
    for number in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            spent = time.perf_counter() - start
            best[name] = min(best[name], spent) if number else best[name]
    return best


def measure(args: argparse.Namespace) -> list[Result]:
    tokenizer = train_tokenizer(["You see a mug 2 and a desk 1.\n"] * 20, size=args.vocabulary)
    shape = preset(args.preset, vocabulary=args.vocabulary, context=args.longest, end_id=0)
    policy = Policy.build(shape, tokenizer, seed=args.seed).to(args.device)
    rng = np.random.default_rng(args.seed)
    sizes = lengths(args.documents, args.longest, args.seed)
    order = sizes if args.unsorted else sorted(sizes, reverse=True)
    documents = [tuple(rng.integers(1, len(tokenizer), n).tolist()) for n in order]
    tokens = sum(len(ids) for ids in documents)
    groups = split_by_tokens([len(ids) for ids in documents], args.budget)
    room = sum(len(group) * max(len(documents[n]) for n in group) for group in groups)
    found: dict[str, Tensor] = {}

    def run(name: str) -> None:
        learn(policy, documents, args.budget, WAYS[name])
        found[name] = gradient(policy)

    spent = best_times({name: partial(run, name) for name in WAYS}, args.repeats)
    return [
        {
            "preset": args.preset,
            "documents": args.documents,
            "tokens": tokens,
            "budget": args.budget,
            "padding_share": 1 - tokens / room,
            "way": name,
            "tokens_s": tokens / spent[name],
            "gradient_difference": float((found[name] - found["packed"]).norm() / found["packed"].norm()),
        }
        for name in WAYS
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Trained tokens a second: packed rows and padded batches.")
    parser.add_argument("--preset", choices=PRESETS, default="tiny-1m")
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--longest", type=int, default=1500, help="tokens of an episode that runs to the turn limit")
    parser.add_argument("--budget", type=int, default=4096, help="real tokens of a group")
    parser.add_argument("--unsorted", action="store_true", help="groups of documents in random order")
    parser.add_argument("--vocabulary", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", metavar="FILE", help="write the results there; - for standard output")
    args = parser.parse_args(argv)
    results = measure(args)
    if args.json == "-":
        print(json.dumps(results))
    else:
        if args.json:
            Path(args.json).write_text(json.dumps(results) + "\n", "utf-8")
        first = results[0]
        print(
            f"{args.preset}, {args.documents} documents of {first['tokens']} tokens in groups of {args.budget}; "
            f"padded, {100 * float(first['padding_share']):.0f} % would be padding"
        )
        for row in results:
            ratio = float(row["tokens_s"]) / float(first["tokens_s"])
            print(f"{row['way']:26}{row['tokens_s']:10.0f} tokens/s   {ratio:5.2f}")
    if max(float(row["gradient_difference"]) for row in results) > 1e-4:
        print("the gradients do not agree", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
