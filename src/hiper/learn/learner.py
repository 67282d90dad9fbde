"""The optimiser step: packed forward passes, losses with global denominators, gradient clipping.

Shapes: N packed tokens of a micro-batch, M trained tokens, P value points.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiper.batch import OF_TOKEN, Document, Example, TokenBatch, split_by_tokens
from hiper.learn.losses import PPOSettings, entropy, kl_to_reference, policy_loss, value_loss
from hiper.learn.optim import Optimizer
from hiper.models import Policy, pack

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Row = dict[str, float]


class DivergedError(RuntimeError):
    """Three steps in a row had a non-finite loss or gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What one forward pass reads of a document: log-probabilities (L,), 0 where kind is NONE, and values (P,)."""

    logprob_L: Floats
    value_P: Floats


def score(policy: Policy, rows: Sequence[Document], *, temperature: float, budget: int) -> list[Scores]:
    """Log-probabilities of all trained tokens and values at all points, without gradient."""
    out: list[Scores] = []
    with torch.inference_mode():
        for group in split_by_tokens([len(row) for row in rows], budget):
            chosen = [rows[i] for i in group]
            micro = _Micro(policy, chosen)
            hidden = policy.hidden(micro.ids, micro.position, micro.packing)
            logprob = micro.logprobs(policy, hidden, temperature)[0].double().cpu().numpy()
            values = policy.values(hidden[micro.point], micro.head, micro.turn).double().cpu().numpy()
            out += micro.scatter(logprob, values)
    return out


class _Micro:
    """Index tensors of one micro-batch of documents laid end to end."""

    def __init__(self, policy: Policy, rows: Sequence[Document]) -> None:
        self.rows = rows
        device = policy.device
        self.ids, self.position, self.packing = pack([tuple(row.ids_L.tolist()) for row in rows], device)
        offset = np.cumsum([0, *(len(row) for row in rows)])[:-1]
        places = [np.flatnonzero(row.kind_L) for row in rows]
        self.counts = [len(place) for place in places]
        self.points = [len(row.point_P) for row in rows]
        joined = np.concatenate([o + p for o, p in zip(offset, places, strict=True)])
        self.token = torch.from_numpy(joined).to(device)  # the trained tokens; scored at the place before each
        point = np.concatenate([o + row.point_P for o, row in zip(offset, rows, strict=True)])
        self.point = torch.from_numpy(point).to(device)
        self.head = torch.from_numpy(np.concatenate([row.head_P for row in rows])).to(device)
        self.turn = torch.from_numpy(np.concatenate([_turns(row) for row in rows])).to(device)

    def logprobs(self, policy: Policy, hidden: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probability of each trained token (M,), and the scores it came from (M, V)."""
        logits = policy.logits(hidden[self.token - 1])
        if temperature not in (0.0, 1.0):
            logits = logits / temperature
        chosen = self.ids[self.token]
        return logits.log_softmax(-1).gather(1, chosen[:, None])[:, 0], logits

    def scatter(self, logprob_M: Floats, value_P: Floats) -> list[Scores]:
        logprobs = np.split(logprob_M, np.cumsum(self.counts)[:-1])
        values = np.split(value_P, np.cumsum(self.points)[:-1])
        out = []
        for row, logprob, value in zip(self.rows, logprobs, values, strict=True):
            full = np.zeros(len(row))
            full[row.kind_L != 0] = logprob
            out.append(Scores(logprob_L=full, value_P=value))
        return out


def _turns(row: Document) -> NDArray[np.int64]:
    """The turn of each value point; of one before a token, the token's."""
    after = np.minimum(row.point_P + 1, len(row) - 1)
    return np.where(row.point_turn_P == OF_TOKEN, row.turn_L[after], row.point_turn_P)


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOExample:
    """An example with what was known before the update: old values (P,) and reference log-probabilities (L,)."""

    example: Example
    old_value_P: Floats
    reference_L: Floats | None = None


class Learner:
    """Applies PPO updates to a policy. Counts skipped steps; the third non-finite step in a row raises.

    `bad_in_a_row` is set by whoever takes training up again.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: Optimizer,
        settings: PPOSettings,
        *,
        temperature: float = 1.0,
        budget: int = 4096,
        max_grad_norm: float = 1.0,
        value_trunk_grad: float = 1.0,
    ) -> None:
        self.policy, self.optimizer, self.settings = policy, optimizer, settings
        self.temperature, self.budget = temperature, budget
        self.max_grad_norm, self.value_trunk_grad = max_grad_norm, value_trunk_grad
        self.skipped = 0
        self.bad_in_a_row = 0

    def step(self, examples: Sequence[PPOExample], *, train_policy: bool = True) -> dict[str, float]:
        """One optimiser step on all examples; returns means and the norm of the gradient for the log."""
        batch = TokenBatch.of([one.example for one in examples])
        self.optimizer.zero_grad()
        totals: dict[str, float] = {}
        # Longest first: the peak of memory comes at once, and micro-batches hold documents of like length.
        order = sorted(range(len(examples)), key=lambda i: -len(examples[i].example.document))
        for group in split_by_tokens([len(examples[i].example.document) for i in order], self.budget):
            part = self._backward([examples[order[g]] for g in group], batch, train_policy=train_policy)
            for name, value in part.items():
                totals[name] = totals.get(name, 0.0) + value
        totals["grad_norm"] = self.optimizer.clip(self.max_grad_norm)
        self._apply(totals)
        return totals

    def fit_values(self, examples: Sequence[PPOExample], rng: np.random.Generator, *, passes: int, parts: int) -> Row:
        """Train the value heads alone: `passes` times over all value points in `parts` optimiser steps each.

        The trunk is read once and stays as it is, so that a pass costs next to nothing. A step that is not finite is
        skipped. Returns the mean square error before and after, where there is anything to fit.
        """
        points = self._value_points([one.example for one in examples])
        if points is None:
            return {}
        hidden_P, head_P, turn_P, target_P = points

        def missed(chosen: Tensor) -> Tensor:
            value = self.policy.values(hidden_P[chosen], head_P[chosen], turn_P[chosen])
            return (value - target_P[chosen]).square().mean()

        every = torch.arange(len(target_P), device=target_P.device)
        with torch.inference_mode():
            before = float(missed(every))
        for _ in range(passes):
            for part in np.array_split(rng.permutation(len(target_P)), min(parts, len(target_P))):
                self.optimizer.zero_grad()
                loss = missed(torch.from_numpy(part).to(target_P.device))
                loss.backward()
                if np.isfinite(float(loss.detach())) and np.isfinite(self.optimizer.clip(self.max_grad_norm)):
                    self.optimizer.step()
                else:
                    self.skipped += 1
        with torch.inference_mode():
            return {"value_mse_before": before, "value_mse_after": float(missed(every))}

    def _value_points(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Hidden states (P, E), heads, turns and targets of all points that have a target."""
        parts: list[tuple[Tensor, ...]] = []
        chosen = [one for one in examples if np.isfinite(one.target_P).any()]
        with torch.no_grad():
            for group in split_by_tokens([len(one.document) for one in chosen], self.budget):
                micro = _Micro(self.policy, [chosen[g].document for g in group])
                hidden = self.policy.hidden(micro.ids, micro.position, micro.packing)
                target = _stack([chosen[g].target_P for g in group], hidden)
                asked = torch.isfinite(target)
                parts.append((hidden[micro.point[asked]], micro.head[asked], micro.turn[asked], target[asked]))
        if not parts:
            return None
        hidden_P, head_P, turn_P, target_P = (torch.cat(some) for some in zip(*parts, strict=True))
        return hidden_P, head_P, turn_P, target_P

    def gradient_noise(self, examples: Sequence[PPOExample], dealt: Sequence[Collection[int]]) -> dict[str, float]:
        """How much the policy gradient of a batch owes to chance. Changes nothing.

        The episodes are dealt to two or more parts that are independent of each other; with g_i the gradient of the
        summed policy loss of part i, the trace of the covariance of the whole sum is the number of parts times the
        sample variance of the g_i. Given per token: `variance` of the batch's mean gradient, and `norm2`, an estimate
        of the squared norm of the true one; both are unbiased where the parts are of one size.
        """
        batch, parts = TokenBatch.of([one.example for one in examples]), len(dealt)
        total, squares = torch.zeros(()), 0.0
        for inside in dealt:
            gradient = self.policy_gradient([one for one in examples if one.example.document.episode in inside], batch)
            total = total.to(gradient) + gradient
            squares += _norm2(gradient)
        variance = parts * (squares - _norm2(total) / parts) / (parts - 1)
        return {"variance": variance, "norm2": _norm2(total) - variance}

    def policy_gradient(self, examples: Sequence[PPOExample], batch: TokenBatch) -> Tensor:
        """Of the policy's loss over these examples of a batch, all weights in one vector. Changes nothing."""
        self.optimizer.zero_grad()
        for group in split_by_tokens([len(one.example.document) for one in examples], self.budget):
            few = [examples[g] for g in group]
            micro = _Micro(self.policy, [one.example.document for one in few])
            hidden = self.policy.hidden(micro.ids, micro.position, micro.packing)
            self._policy_part(few, micro, hidden, batch)[0].backward()
        weights = [p for p in self.policy.parameters() if p.requires_grad]
        gradient = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in weights])
        self.optimizer.zero_grad()
        return gradient

    def _apply(self, totals: dict[str, float]) -> None:
        """Take the step, unless the loss or the gradient is not a finite number."""
        if all(np.isfinite(value) for value in totals.values()):
            self.optimizer.step()
            self.bad_in_a_row = 0
            return
        self.skipped += 1
        self.bad_in_a_row += 1
        self.optimizer.zero_grad()
        if self.bad_in_a_row >= 3:
            raise DivergedError("loss or gradient was not finite in three steps in a row")

    def _backward(self, examples: Sequence[PPOExample], batch: TokenBatch, *, train_policy: bool) -> dict[str, float]:
        policy, s = self.policy, self.settings
        micro = _Micro(policy, [one.example.document for one in examples])
        # Without the policy's loss beside it, the value loss alone would move the trunk by whole optimiser steps.
        with torch.set_grad_enabled(train_policy):
            hidden = policy.hidden(micro.ids, micro.position, micro.packing)
        loss, logs = self._value_part(examples, micro, hidden, batch)
        loss = s.value_coef * loss
        if train_policy:
            part, more = self._policy_part(examples, micro, hidden, batch)
            loss, logs = loss + part, {**logs, **more}
        loss.backward()
        return {name: float(value) for name, value in logs.items()}

    def _value_part(
        self, examples: Sequence[PPOExample], micro: _Micro, hidden: Tensor, batch: TokenBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        target = _stack([one.example.target_P for one in examples], hidden)
        old = _stack([one.old_value_P for one in examples], hidden)
        asked = torch.isfinite(target)
        state = hidden[micro.point[asked]]
        if self.value_trunk_grad != 1.0:
            state = state.detach() + self.value_trunk_grad * (state - state.detach())
        value = self.policy.values(state, micro.head[asked], micro.turn[asked])
        loss = value_loss(value, old[asked], target[asked], self.settings).sum() / max(batch.points, 1)
        return loss, {"value_loss": loss.detach()}

    def _policy_part(
        self, examples: Sequence[PPOExample], micro: _Micro, hidden: Tensor, batch: TokenBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        trained = [one.example.document.kind_L != 0 for one in examples]
        advantage = _stack([o.example.advantage_L[t] for o, t in zip(examples, trained, strict=True)], hidden)
        old = _stack([o.example.document.logprob_L[t] for o, t in zip(examples, trained, strict=True)], hidden)
        logprob, logits = micro.logprobs(self.policy, hidden, self.temperature)
        count = max(batch.tokens, 1)
        surrogate = policy_loss(logprob, old, advantage, s).sum() / count
        with torch.set_grad_enabled(s.entropy_coef > 0):
            spread = entropy(logits).sum() / count
        loss = surrogate - s.entropy_coef * spread
        logs = {"policy_loss": surrogate.detach(), "entropy": spread.detach()}
        if s.kl_coef:
            known = [cast(Floats, o.reference_L)[t] for o, t in zip(examples, trained, strict=True)]
            divergence = kl_to_reference(logprob, _stack(known, hidden)).sum() / count
            loss = loss + s.kl_coef * divergence
            logs["kl_reference"] = divergence.detach()
        moved = (logprob - old).detach()
        # KL(old || new), low-variance estimate, before this optimiser step: 0 in the first of a round
        logs["kl"] = (moved.exp() - 1 - moved).sum() / count
        logs["clip_fraction"] = ((moved.exp() - 1).abs() > s.clip).float().sum() / count
        return loss, logs


def _norm2(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector, dtype=torch.float64)) ** 2


def _stack(arrays: Sequence[Floats], like: Tensor) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays)).to(like.device, torch.promote_types(like.dtype, torch.float32))
