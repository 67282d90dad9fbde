"""Imitation: cross-entropy on demonstrated tokens, each with its own weight.

Reply tokens weigh 1, observations `observation_weight` (learning to predict them teaches a small model to copy names
and to know the world), replies that were wrong on purpose 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from hiper.batch import split_by_tokens
from hiper.learn.optim import Optimizer
from hiper.models import Policy, pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A document to imitate: ids (L,) and the weight of predicting each of them (L,); the first is never predicted."""

    ids: tuple[int, ...]
    weight: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.weight):
            raise ValueError(f"Demonstration: {len(self.ids)} ids but {len(self.weight)} weights")


def imitation_step(
    policy: Policy, optimizer: Optimizer, batch: Sequence[Demonstration], *, budget: int, max_grad_norm: float
) -> dict[str, float]:
    """One optimiser step; the loss is the weighted mean over the whole batch, nats a token."""
    optimizer.zero_grad()
    whole = sum(sum(one.weight[1:]) for one in batch)
    order = sorted(batch, key=lambda one: -len(one.ids))
    total = 0.0
    for group in split_by_tokens([len(one.ids) for one in order], budget):
        total += _backward(policy, [order[i] for i in group], whole)
    norm = optimizer.clip(max_grad_norm)
    if not (torch.isfinite(torch.tensor([total, norm])).all()):
        optimizer.zero_grad()
        return {"loss": total, "grad_norm": norm, "skipped": 1.0}
    optimizer.step()
    return {"loss": total, "grad_norm": norm, "skipped": 0.0}


def _backward(policy: Policy, batch: Sequence[Demonstration], whole: float) -> float:
    ids, position, packing = pack([one.ids for one in batch], policy.device)
    weight = torch.tensor([w for one in batch for w in (0.0, *one.weight[1:])], device=policy.device)
    place = weight.nonzero()[:, 0]
    hidden = policy.hidden(ids, position, packing)
    logits = policy.logits(hidden[place - 1])
    loss = (cross_entropy(logits, ids[place], reduction="none") * weight[place]).sum() / whole
    loss.backward()
    return float(loss.detach())
