"""Attention over packed rows: many documents, or many cache slots, in one forward pass without padding.

A transformers model is called with all tokens of a batch laid end to end as *one* row (B = 1), so that every
linear layer works on real tokens only. Only attention must know which tokens belong together; that knowledge
travels as a `Packing` through the model's keyword arguments to the function registered here, which works for any
architecture that uses transformers' attention interface.

Two kinds: `Documents` (training: each document attends to its own past) and `Slots` (sampling: each token attends to
the cache of its slot). Shapes: N tokens, H query heads, G key/value heads, D head size, S slots, C slot length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers import AttentionInterface

from hiper.models.tokens import ModelError

ATTENTION = "hiper_packed"
_WORTH_A_LOOP = 16_384  # numbers a slot that need not be read, from which on slots are taken one by one (CPU)
VARIANTS = ("softcap", "s_aux", "position_bias")  # what some architectures ask of attention beyond the plain kind


@dataclass(frozen=True, slots=True)
class Padding:
    """Some pieces of a packed row, padded to the longest of them: P pieces of M tokens. The same in all layers."""

    pieces: tuple[int, ...]
    index_PM: Tensor
    """Where the token stands in the row; in the padding, the piece's last."""
    real_N: Tensor
    """Places of the tokens that are real, when the pieces are flattened."""
    row_N: Tensor
    """Places of the same in the row."""

    @classmethod
    def of(cls, starts: Sequence[int], sizes: Sequence[int], pieces: Sequence[int], device: torch.device) -> "Padding":
        start = torch.tensor([[starts[i]] for i in pieces])
        size = torch.tensor([[sizes[i]] for i in pieces])
        offset = torch.arange(int(size.max()))
        index = torch.minimum(start + offset, start + size - 1)
        real = (offset < size).flatten().nonzero()[:, 0]
        row = index.flatten()[real]
        return cls(tuple(pieces), index.to(device), real.to(device), row.to(device))


def paddings(starts: Sequence[int], sizes: Sequence[int], device: torch.device) -> list[Padding]:
    """For a GPU, which has no use for a loop over pieces: few groups of alike pieces, no piece padded beyond twice."""
    groups: list[list[int]] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if not groups or 2 * sizes[i] < sizes[groups[-1][0]]:
            groups.append([])
        groups[-1].append(i)
    return [Padding.of(starts, sizes, group, device) for group in groups]


@dataclass(frozen=True)
class Documents:
    """Documents laid end to end: document i is tokens [starts[i], starts[i+1])."""

    starts: tuple[int, ...]
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (it is immutable)

    @cached_property
    def sizes(self) -> list[int]:
        """Tokens of each document."""
        return [stop - start for start, stop in pairwise(self.starts)]

    @cached_property
    def padded(self) -> list[Padding]:
        """Documents padded to alike ones."""
        full = [i for i, size in enumerate(self.sizes) if size]
        return paddings([self.starts[i] for i in full], [self.sizes[i] for i in full], self.device)

    @property
    def length(self) -> int:
        """Tokens of the longest document."""
        return max(self.sizes, default=0)

    def attend(self, q_HND: Tensor, k_GND: Tensor, v_GND: Tensor, scale: float, layer: int) -> Tensor:
        """Causal attention within each document; returns (H, N, D)."""
        if q_HND.is_cuda:
            return self._padded(q_HND, k_GND, v_GND, scale)
        # On the CPU a loop over documents beats masks by far, and padding where lengths differ (benchmarks/packing.py).
        parts = zip(*(x[None].split(self.sizes, dim=2) for x in (q_HND, k_GND, v_GND)), strict=True)
        return torch.cat([_causal(q, k, v, scale)[0] for q, k, v in parts], dim=1)

    def _padded(self, q_HND: Tensor, k_GND: Tensor, v_GND: Tensor, scale: float) -> Tensor:
        """Right-padded: one kernel call for documents of about one length. Causality alone hides the padding."""
        out = q_HND.new_empty(*q_HND.shape[:2], v_GND.shape[2])
        for some in self.padded:
            q, k, v = (x[:, some.index_PM].transpose(0, 1) for x in (q_HND, k_GND, v_GND))
            seen_HPMD = _causal(q, k, v, scale).transpose(0, 1)
            out = out.index_copy(1, some.row_N, seen_HPMD.flatten(1, 2)[:, some.real_N])
        return out


def _causal(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    shared = q.shape[1] // k.shape[1]
    if shared > 1 and q.is_cuda and q.dtype not in (torch.float16, torch.bfloat16):
        # The only fused kernel for these does not know heads that share keys.
        k, v, shared = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1), 1
    return sdpa(q, k, v, is_causal=True, scale=scale, enable_gqa=shared > 1)


class SlotCache:
    """Keys and values of S slots of C places, for each layer: two tensors (S, G, C, D) a layer, grown on demand."""

    def __init__(self, *, slots: int, dtype: torch.dtype, device: torch.device) -> None:
        self.slots, self.dtype, self.device = slots, dtype, device
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.places = 0

    def reserve(self, places: int) -> None:
        """Make room for `places` tokens in every slot; keeps what is there."""
        if places <= self.places:
            return
        self.places = max(places, min(2 * self.places, self.places + 512), 64)
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):
                new = old.new_zeros(old.shape[0], old.shape[1], self.places, old.shape[3])
                new[:, :, : old.shape[2]] = old
                store[layer] = new

    def write(self, layer: int, slot_N: Tensor, place_N: Tensor, k_GND: Tensor, v_GND: Tensor) -> None:
        if layer == len(self.keys):
            for store, new in ((self.keys, k_GND), (self.values, v_GND)):
                shape = (self.slots, new.shape[0], self.places, new.shape[2])
                store.append(torch.zeros(shape, dtype=self.dtype, device=self.device))
        self.keys[layer][slot_N, :, place_N] = k_GND.transpose(0, 1).to(self.dtype)
        self.values[layer][slot_N, :, place_N] = v_GND.transpose(0, 1).to(self.dtype)

    def copy_prefix(self, source: int, target: int, length: int) -> None:
        """Give slot `target` the first `length` places of slot `source`."""
        for store in (self.keys, self.values):
            for tensor in store:
                tensor[target, :, :length] = tensor[source, :, :length]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [start, stop) of a step go to one slot, from `place` on."""

    start: int
    stop: int
    slot: int
    place: int

    @property
    def end(self) -> int:
        """Places of the slot that are filled after it."""
        return self.place + self.stop - self.start


@dataclass(frozen=True)
class Slots:
    """Tokens for the cache slots, laid end to end: single tokens first, then chunks of several.

    `slot_N` and `place_N` say where each token goes. The first `singles` tokens are one for each of the slots in
    `slot_N[:singles]`; `chunks` are the rest, one for a slot. `length` is the longest slot after this step.
    """

    cache: SlotCache
    slot_N: Tensor
    place_N: Tensor
    singles: int
    chunks: tuple[Chunk, ...]
    length: int

    @cached_property
    def longest_single(self) -> int:
        """Places of the longest slot that takes a single token."""
        return int(self.place_N[: self.singles].max()) + 1

    @cached_property
    def mean_single(self) -> float:
        """Places of such a slot on average."""
        return float(self.place_N[: self.singles].double().mean()) + 1

    @cached_property
    def hidden(self) -> list[Tensor]:
        """For each chunk what its tokens must not see, -inf against 0: (tokens, places). The same in all layers."""
        return [
            torch.full((one.stop - one.start, one.end), float("-inf"), dtype=self.cache.dtype).triu(one.place + 1)
            for one in self.chunks
        ]

    @cached_property
    def padded(self) -> list[tuple[Padding, Tensor, Tensor]]:
        """Chunks padded to alike ones, their slots (P,), and what their tokens may see: (P, M, places)."""
        starts, sizes = [one.start for one in self.chunks], [one.stop - one.start for one in self.chunks]
        out = []
        for some in paddings(starts, sizes, self.slot_N.device):
            length = max(self.chunks[i].end for i in some.pieces)
            visible = torch.arange(length, device=self.slot_N.device) <= self.place_N[some.index_PM][:, :, None]
            out.append((some, self.slot_N[some.index_PM[:, 0]], visible))
        return out

    def attend(self, q_HND: Tensor, k_GND: Tensor, v_GND: Tensor, scale: float, layer: int) -> Tensor:
        """Each token attends to its slot's places up to its own; returns (H, N, D)."""
        self.cache.write(layer, self.slot_N, self.place_N, k_GND, v_GND)
        out = q_HND.new_empty(*q_HND.shape[:2], v_GND.shape[2])
        if self.singles:
            out[:, : self.singles] = self._singles(q_HND[:, : self.singles], scale, layer)
        if self.chunks:
            start = self.singles
            out[:, start:] = self._chunks(q_HND[:, start:], scale, layer)
        return out

    def _singles(self, q_HND: Tensor, scale: float, layer: int) -> Tensor:
        """One query a slot. Where lengths differ much the CPU takes one slot after another, each to its own length."""
        heads, count, size = q_HND.shape
        slot, place = self.slot_N[:count], self.place_N[:count]
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        is_copied = count <= self.cache.slots // 2  # computing a few idle slots is cheaper than copying the busy ones
        read = self.longest_single * (2 if is_copied else 1)
        if not q_HND.is_cuda and (read - self.mean_single) * keys.shape[1] * size > _WORTH_A_LOOP:
            groups = keys.shape[1]
            q = q_HND.transpose(0, 1).reshape(count, 1, groups, heads // groups, size)
            ends = zip(slot.tolist(), place.tolist(), strict=True)
            seen = [
                sdpa(one, keys[s, None, :, : end + 1], values[s, None, :, : end + 1], scale=scale)
                for one, (s, end) in zip(q, ends, strict=True)
            ]
            return torch.cat(seen).view(count, heads, values.shape[3]).transpose(0, 1)
        length = self.longest_single
        if not is_copied:  # over a view of the cache
            rows = self.cache.slots
            q = q_HND.new_zeros(rows, heads, size)
            q[slot] = q_HND.transpose(0, 1)
            last = torch.zeros(rows, dtype=torch.long, device=q.device)
            last[slot] = place
            return _one_query(q, keys[:, :, :length], values[:, :, :length], last, scale)[slot].transpose(0, 1)
        k, v = keys[slot, :, :length], values[slot, :, :length]
        return _one_query(q_HND.transpose(0, 1), k, v, place, scale).transpose(0, 1)

    def _chunks(self, q_HMD: Tensor, scale: float, layer: int) -> Tensor:
        """On the CPU one chunk after another: no padding, and its slot's cache is read where it lies."""
        if q_HMD.is_cuda:
            return self._padded(q_HMD, scale, layer)
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        heads, _, size = q_HMD.shape
        groups = keys.shape[1]
        out = []
        for one, hidden in zip(self.chunks, self.hidden, strict=True):
            # Heads that share keys become further queries of one head: without it the CPU has no fused kernel.
            q = q_HMD[:, one.start - self.singles : one.stop - self.singles].reshape(1, groups, -1, size)
            k, v = (store[one.slot, None, :, : one.end] for store in (keys, values))
            seen = sdpa(q, k, v, attn_mask=hidden.repeat(heads // groups, 1), scale=scale)
            out.append(seen.view(heads, one.stop - one.start, v.shape[3]))
        return torch.cat(out, dim=1)

    def _padded(self, q_HMD: Tensor, scale: float, layer: int) -> Tensor:
        """Chunks padded; the mask hides later places of the slot. Heads that share keys become further queries of one
        head, as above: no fused kernel takes a mask and shared heads."""
        heads, _, size = q_HMD.shape
        groups = self.cache.keys[layer].shape[1]
        out = q_HMD.new_empty(*q_HMD.shape[:2], self.cache.values[layer].shape[3])
        for some, slot, visible in self.padded:
            pieces, longest, length = visible.shape
            k, v = (store[layer][slot, :, :length] for store in (self.cache.keys, self.cache.values))
            q = q_HMD[:, some.index_PM - self.singles].transpose(0, 1).reshape(pieces, groups, -1, size)
            seen = sdpa(q, k, v, attn_mask=visible.repeat(1, heads // groups, 1)[:, None], scale=scale)
            seen_HPMD = seen.reshape(pieces, heads, longest, -1).transpose(0, 1)
            out[:, some.row_N - self.singles] = seen_HPMD.flatten(1, 2)[:, some.real_N]
        return out


def _one_query(q_SHD: Tensor, k_SGCD: Tensor, v_SGCD: Tensor, last_S: Tensor, scale: float) -> Tensor:
    """Attention of one query a slot over places [0, last]; (S, H, D). Grouped heads share their keys by a view."""
    slots, heads, size = q_SHD.shape
    groups, length = k_SGCD.shape[1], k_SGCD.shape[2]
    q = q_SHD.view(slots, groups, heads // groups, size)
    score = torch.matmul(q * scale, k_SGCD.transpose(2, 3))
    hidden = torch.arange(length, device=q.device) > last_S[:, None]
    score = score.masked_fill(hidden[:, None, None], float("-inf"))
    return torch.matmul(score.softmax(-1), v_SGCD).view(slots, heads, v_SGCD.shape[3])


Packing = Documents | Slots


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packing: Packing | None = None,
    **more: object,
) -> tuple[Tensor, None]:
    """transformers' attention signature: query (1, H, N, D), key and value (1, G, N, D) -> (1, N, H, D)."""
    if packing is None:
        raise RuntimeError("packed attention was called without a packing; call the model through hiper's Policy")
    for variant in VARIANTS:
        if more.get(variant) is not None:
            raise ModelError(f"this architecture's attention uses {variant}, which packed rows do not support")
    window = more.get("sliding_window")
    if isinstance(window, int) and packing.length > window:
        raise ModelError(
            f"this model attends to the last {window} tokens only, which packed rows do not support beyond that "
            f"length; a context has {packing.length}"
        )
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    query, key = query.to(value.dtype), key.to(value.dtype)  # rotation leaves them wider where computation is coarser
    out_HND = packing.attend(query[0], key[0], value[0], scale, int(module.layer_idx))  # type: ignore[arg-type]
    return out_HND.transpose(0, 1)[None], None


AttentionInterface.register(ATTENTION, packed_attention)
