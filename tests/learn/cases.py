"""Batches to learn from, an optimiser that stands still, and the whole loss once more, token by token."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace

import numpy as np
import torch
from torch import Tensor

from hiper.batch import Streams, assign, documents
from hiper.learn import Learner, PPOExample, PPOSettings, score
from hiper.models import Policy
from hiper.records import Trajectory
from tests.batch.hand import random_episode
from tests.models.small import tiny, tokenizer

PLAIN = PPOSettings(clip=0.2, value_coef=0.5)
ALL_PARTS = PPOSettings(clip=0.2, dual_clip=1.5, value_clip=0.3, value_coef=0.7, entropy_coef=0.05, kl_coef=0.1)


def double() -> Policy:
    """In float64 to the last layer; Qwen2's normalisation would go through float32."""
    return tiny("gpt_neox", hidden_size=24, intermediate_size=48).double()


def played(count: int = 5, *, layout: str = "mixed", seed: int = 0) -> list[Trajectory]:
    return [random_episode(seed + n, ids=len(tokenizer()), layout=layout) for n in range(count)]


def examples(
    policy: Policy, trajectories: Sequence[Trajectory], *, temperature: float = 1.0, spread: float = 0.4, seed: int = 0
) -> list[PPOExample]:
    """Random credit; old probabilities and values about as far from the present ones as clipping allows."""
    rng = np.random.default_rng(seed)
    rows = documents(trajectories)
    shape = (len(trajectories), max(len(one.turns) for one in trajectories))
    streams = Streams(**{field.name: rng.normal(size=shape) for field in fields(Streams)})
    now = score(policy, rows, temperature=temperature, budget=10**6)
    rows = [
        replace(row, logprob_L=one.logprob_L + spread * rng.normal(size=len(row)) * (row.kind_L != 0))
        for row, one in zip(rows, now, strict=True)
    ]
    return [
        PPOExample(
            example=example,
            old_value_P=one.value_P + rng.normal(size=len(one.value_P)),
            reference_L=one.logprob_L + spread * rng.normal(size=len(one.logprob_L)),
        )
        for example, one in zip(assign(rows, streams), now, strict=True)
    ]


class Still:
    """Keeps the gradient and changes nothing. Stands in for an `Optimizer`."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def zero_grad(self) -> None:
        self.policy.zero_grad(set_to_none=True)

    def clip(self, limit: float) -> float:
        return math.hypot(*(float(p.grad.norm()) for p in self.policy.parameters() if p.grad is not None))

    def step(self) -> None:
        """Stand still."""


def gradients(policy: Policy) -> dict[str, Tensor]:
    return {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in policy.named_parameters()}


def total(logs: dict[str, float], s: PPOSettings) -> float:
    """The loss, from the parts that are logged."""
    whole = s.value_coef * logs["value_loss"]
    if "policy_loss" in logs:
        whole += logs["policy_loss"] - s.entropy_coef * logs["entropy"] + s.kl_coef * logs.get("kl_reference", 0.0)
    return whole


def learned(
    policy: Policy,
    batch: Sequence[PPOExample],
    s: PPOSettings,
    *,
    make: type[Learner] = Learner,
    temperature: float = 1.0,
    budget: int = 10**6,
    train_policy: bool = True,
    value_trunk_grad: float = 1.0,
) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of one step, not taken."""
    learner = make(
        policy,
        Still(policy),  # type: ignore[arg-type]
        s,
        temperature=temperature,
        budget=budget,
        value_trunk_grad=value_trunk_grad,
    )
    logs = learner.step(batch, train_policy=train_policy)
    return total(logs, s), gradients(policy)


def slow(
    policy: Policy, batch: Sequence[PPOExample], s: PPOSettings, *, temperature: float = 1.0
) -> tuple[float, dict[str, Tensor]]:
    """The same from the definitions: one document, one token, one value at a time; transformers' own attention."""
    tokens = sum(int(kind != 0) for one in batch for kind in one.example.document.kind_L)
    points = sum(not math.isnan(target) for one in batch for target in one.example.target_P)
    policy.zero_grad(set_to_none=True)
    loss = torch.zeros((), dtype=policy.lm.dtype)
    with plain_attention(policy):
        for one in batch:
            row = one.example.document
            out = policy.lm(input_ids=torch.from_numpy(row.ids_L)[None], output_hidden_states=True)
            scores = out.logits[0, :, : len(policy.tokenizer)] / temperature
            for place in np.flatnonzero(row.kind_L):
                loss = loss + _token(scores[place - 1], one, int(place), s) / tokens
            for point, target in enumerate(one.example.target_P):
                if not math.isnan(target):
                    state, head = out.hidden_states[-1][0, row.point_P[point]], torch.tensor([row.head_P[point]])
                    value = policy.values(state[None], head, torch.tensor([row.point_turn_P[point]]))[0]
                    loss = loss + s.value_coef * _value(value, one.old_value_P[point], target, s) / points
    loss.backward()
    return float(loss.detach()), gradients(policy)


@contextmanager
def plain_attention(policy: Policy) -> Iterator[None]:
    ours = policy.lm.config._attn_implementation
    policy.lm.set_attn_implementation("sdpa")
    yield
    policy.lm.set_attn_implementation(ours)


def _token(scores_V: Tensor, one: PPOExample, place: int, s: PPOSettings) -> Tensor:
    row, advantage = one.example.document, float(one.example.advantage_L[place])
    probability_V = torch.softmax(scores_V, -1)
    logprob = probability_V[row.ids_L[place]].log()
    ratio = (logprob - row.logprob_L[place]).exp()
    if advantage >= 0:
        gain = ratio.clamp(max=1 + s.clip) * advantage
    else:
        gain = ratio.clamp(min=1 - s.clip, max=s.dual_clip or None) * advantage
    entropy = -(probability_V * probability_V.log()).sum()
    assert one.reference_L is not None
    apart = float(one.reference_L[place]) - logprob
    return -gain - s.entropy_coef * entropy + s.kl_coef * (apart.exp() - 1 - apart)


def _value(value: Tensor, old: float, target: float, s: PPOSettings) -> Tensor:
    free = (value - target) ** 2 / 2
    if not s.value_clip:
        return free
    near = value.clamp(old - s.value_clip, old + s.value_clip)
    return torch.stack([free, (near - target) ** 2 / 2]).max()


def close(a: tuple[float, dict[str, Tensor]], b: tuple[float, dict[str, Tensor]], tolerance: float) -> bool:
    """Loss and gradient agree; gradients as compared with the largest entry of each parameter."""
    if not math.isclose(a[0], b[0], rel_tol=tolerance, abs_tol=tolerance) or a[1].keys() != b[1].keys():
        return False
    scale = max(float(gradient.abs().max()) for gradient in b[1].values())
    return all(float((a[1][name] - gradient).abs().max()) <= tolerance * scale for name, gradient in b[1].items())
