"""The optimiser: AdamW, or Muon for the trunk's matrices with AdamW for the rest; warm-up and decay; state as tensors.

torch implements both. This wrapper makes them one thing to step, clip, save and restore.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hiper.models import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimSettings:
    """`lr` of the language model, `value_lr` of the value heads, `kind` "adamw" or "muon"."""

    kind: str = "adamw"
    lr: float = 1e-3
    value_lr: float = 1e-3
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8


class Optimizer:
    """One or two torch optimisers over a policy's parameters."""

    def __init__(self, policy: Policy, settings: OptimSettings) -> None:
        self.settings = settings
        named = [(name, p) for name, p in policy.lm.named_parameters() if p.requires_grad]
        tables = {id(m.weight) for m in policy.lm.modules() if isinstance(m, nn.Embedding)}
        tables.add(id(policy.lm.get_output_embeddings().weight))
        is_matrix = {name for name, p in named if p.ndim == 2 and id(p) not in tables}
        self.parameters = [p for _, p in named] + list(policy.heads.parameters())
        heads = {"params": list(policy.heads.parameters()), "lr": settings.value_lr}
        betas = (settings.beta1, settings.beta2)
        decay = settings.weight_decay
        if settings.kind == "muon":
            rest = {"params": [p for name, p in named if name not in is_matrix], "lr": settings.lr}
            matrices = [p for name, p in named if name in is_matrix]
            muon = torch.optim.Muon(matrices, lr=settings.lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            self.parts = [muon, torch.optim.AdamW([rest, heads], betas=betas, eps=settings.eps, weight_decay=decay)]
        elif settings.kind == "adamw":
            whole = {"params": [p for _, p in named], "lr": settings.lr}
            self.parts = [torch.optim.AdamW([whole, heads], betas=betas, eps=settings.eps, weight_decay=decay)]
        else:
            raise ValueError(f"unknown optimiser {settings.kind!r}; known: adamw, muon")
        self._base = [[float(group["lr"]) for group in part.param_groups] for part in self.parts]

    def set_scale(self, scale: float) -> None:
        """Multiply all learning rates by `scale` (the schedule)."""
        for part, base in zip(self.parts, self._base, strict=True):
            for group, lr in zip(part.param_groups, base, strict=True):
                group["lr"] = lr * scale

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def clip(self, limit: float) -> float:
        """Scale the gradient down to the norm `limit` (0: leave it); returns the norm before, nan and inf too."""
        return float(torch.nn.utils.clip_grad_norm_(self.parameters, limit or float("inf")))

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state(self) -> dict[str, Tensor]:
        """All state as named tensors, for safetensors."""
        out: dict[str, Tensor] = {}
        for number, part in enumerate(self.parts):
            for index, entry in part.state_dict()["state"].items():
                for key, value in entry.items():
                    out[f"{number}/{index}/{key}"] = torch.as_tensor(value).detach().clone().contiguous()
        return out

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` gave."""
        for number, part in enumerate(self.parts):
            whole = part.state_dict()
            whole["state"] = _entries(number, tensors.items())
            part.load_state_dict(whole)


def _entries(number: int, items: Iterable[tuple[str, Tensor]]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in items:
        part, index, key = name.split("/")
        if int(part) == number:
            state.setdefault(int(index), {})[key] = value.clone()
    return state


def schedule(step: int, total: int, *, warmup: int, floor: float) -> float:
    """Factor on the learning rate at step 0..total-1: linear warm-up, then cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
