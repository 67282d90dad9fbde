"""The built-in sampler: continuous batching over cache slots, token in and token out.

Every open episode has a slot of the key/value cache, which lives from turn to turn: a transcript pays for each token
once. A prompt that starts anew keeps whatever prefix the cache already has, its own or another slot's. All tokens of
a step (one for a slot that is replying, a chunk for a slot that is reading) go through the model as one packed row.

The noise of a reply is drawn from (episode seed, turn) alone, so what an episode says does not depend on which
others share its batch. (Rounding may: sums over another batch shape can differ in the last bit.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hiper.models.attention import Chunk, SlotCache, Slots
from hiper.models.policy import Policy
from hiper.models.tokens import ModelError
from hiper.records import Prompt, Request, Sample

MIN_SHARED_PREFIX = 16


@dataclass(slots=True)
class _Slot:
    """State of one slot. `ids` are the tokens in the cache; `pending` are those still to be read."""

    ids: list[int] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    context: tuple[int, ...] = ()
    reply: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: bytes = b""
    stop: bytes = b""
    trigger: bytes = b""
    follows: bytes = b""
    forced: tuple[int, int] = (0, 0)
    noise: np.ndarray = field(default_factory=lambda: np.zeros(0))
    room: int = 0


class TorchSampler:
    """Samples replies from a `Policy`. Implements `hiper.agents.Sampler`.

    temperature 0 is greedy. Log-probabilities are those of the distribution that was sampled from (at temperature 0:
    of temperature 1), in nats. `prefill` bounds the tokens read in one step (memory).
    """

    def __init__(
        self,
        policy: Policy,
        *,
        capacity: int = 128,
        max_reply: int = 64,
        temperature: float = 1.0,
        max_length: int | None = None,
        prefill: int = 8192,
    ) -> None:
        self.policy, self.capacity, self.max_reply, self.temperature = (
            policy,
            capacity,
            max_reply,
            temperature,
        )
        self.max_length = min(max_length or policy.max_length, policy.max_length)
        self.prefill = prefill
        self.sampled_tokens = 0
        self.read_tokens = 0
        self._cache = SlotCache(slots=capacity, dtype=policy.compute_dtype, device=policy.device)
        self._slots = [_Slot() for _ in range(capacity)]
        self._busy: dict[int, None] = {}
        self._done: list[Sample] = []

    @torch.inference_mode()
    def submit(self, request: Request) -> None:
        """Queue a request."""
        slot = self._slots[request.slot]
        ids = self._lay_out(request)
        slot.context, slot.reply, slot.logprobs, slot.text = ids, [], [], b""
        slot.stop = request.stop.encode()
        slot.trigger, slot.follows = (part.encode() for part in request.forced or ("", ""))
        slot.forced = (0, 0)
        key = np.array([request.seed & 0xFFFFFFFFFFFFFFFF, request.turn], dtype=np.uint64)
        slot.noise = np.random.Generator(np.random.Philox(key=key)).random(self.max_reply)
        slot.room = min(self.max_reply, self.max_length - len(slot.ids) - len(slot.pending))
        if slot.room < 1:
            self._finish(request.slot, cut=True, overflow=True)
        else:
            self._busy[request.slot] = None

    @torch.inference_mode()
    def read(self, request: Request, reply: str | Sequence[int]) -> None:
        """Somebody else has replied to the request: both belong to the context of what is sampled after them.

        `reply` is text, or its tokens where they are known.
        """
        self._lay_out(request)
        self._slots[request.slot].pending.extend(
            self.policy.tokenizer.encode(reply) if isinstance(reply, str) else reply
        )

    def _lay_out(self, request: Request) -> tuple[int, ...]:
        """Put the prompt where it belongs; its ids."""
        ids = self.policy.tokenizer.encode_context(request.prompt.text, fresh=request.prompt.fresh)
        if not request.prompt.fresh:
            self._slots[request.slot].pending.extend(ids)
            return ids
        if not ids:
            raise ModelError("the prompt is empty: there is no token to sample after")
        self._start_anew(request.slot, ids)
        return ids

    def reset(self) -> None:
        """Forget all that was read: the policy's weights have changed. Memory is kept."""
        self._busy.clear()
        self._done.clear()
        self._slots = [_Slot() for _ in range(self.capacity)]

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Ids of a prompt, without sampling."""
        return self.policy.tokenizer.encode_context(prompt.text, fresh=prompt.fresh)

    def close(self, slot: int) -> None:
        """The episode is over. Its cache stays readable as a prefix for others until the slot is used again."""
        self._slots[slot].pending.clear()
        self._busy.pop(slot, None)

    @torch.inference_mode()
    def poll(self) -> list[Sample]:
        """Step the model until at least one reply is finished."""
        while self._busy and not self._done:
            self._step()
        done, self._done = self._done, []
        return done

    def _start_anew(self, index: int, ids: tuple[int, ...]) -> None:
        """Replace the slot's tokens by `ids`, keeping the longest prefix that some slot's cache already has."""
        slot = self._slots[index]
        own = _common(slot.ids, ids)
        best, source = own, index
        if own < len(ids) - MIN_SHARED_PREFIX:
            for other, candidate in enumerate(self._slots):
                shared = (
                    _common(candidate.ids, ids)
                    if candidate.ids[:MIN_SHARED_PREFIX] == list(ids[:MIN_SHARED_PREFIX])
                    else 0
                )
                if shared > best:
                    best, source = shared, other
        best = min(best, len(ids) - 1)  # the last token must be read, to sample after it
        if source != index and best >= own + MIN_SHARED_PREFIX:
            self._cache.copy_prefix(source, index, best)
        else:
            best = min(own, len(ids) - 1)
        slot.ids = list(ids[:best])
        slot.pending = list(ids[best:])

    def _step(self) -> None:
        """One forward pass: every busy slot reads its pending tokens, within the prefill budget."""
        singles = [s for s in self._busy if len(self._slots[s].pending) == 1]
        readers, budget = [], self.prefill
        for s in self._busy:
            count = len(self._slots[s].pending)
            if count > 1 and budget > 0:
                readers.append((s, min(count, budget)))
                budget -= count
        plan = [(s, 1) for s in singles] + readers
        hidden = self._forward(plan, len(singles))
        ends = np.cumsum([count for _, count in plan]) - 1
        ready = [(s, end) for (s, _), end in zip(plan, ends, strict=True) if not self._slots[s].pending]
        if ready:
            self._sample([s for s, _ in ready], hidden[torch.tensor([e for _, e in ready], device=hidden.device)])

    def _forward(self, plan: Sequence[tuple[int, int]], singles: int) -> Tensor:
        ids: list[int] = []
        place: list[int] = []
        owner: list[int] = []
        chunks = []
        for number, (s, count) in enumerate(plan):
            slot = self._slots[s]
            if number >= singles:
                chunks.append(Chunk(start=len(ids), stop=len(ids) + count, slot=s, place=len(slot.ids)))
            ids += slot.pending[:count]
            place += range(len(slot.ids), len(slot.ids) + count)
            owner += [s] * count
            slot.ids += slot.pending[:count]
            del slot.pending[:count]
        self.read_tokens += len(ids)
        device = self.policy.device
        length = max(place) + 1
        self._cache.reserve(length)
        place_N = torch.tensor(place, device=device)
        packing = Slots(self._cache, torch.tensor(owner, device=device), place_N, singles, tuple(chunks), length)
        return self.policy.hidden(torch.tensor(ids, device=device), place_N, packing)

    def _sample(self, slots: list[int], hidden_ME: Tensor) -> None:
        """Draw the next token of each slot by inverting its cumulative distribution at the slot's noise."""
        logits = self.policy.logits(hidden_ME)
        scaled = logits / self.temperature if self.temperature > 0 else logits
        logprob = scaled.log_softmax(-1)
        if self.temperature > 0:
            noise = torch.tensor(
                [[self._slots[s].noise[len(self._slots[s].reply)]] for s in slots], dtype=torch.float64
            )
            total = logprob.double().exp().cumsum(-1)
            chosen = torch.searchsorted(total, noise.to(total.device) * total[:, -1:])[:, 0]
            chosen.clamp_(max=logits.shape[-1] - 1)
        else:
            chosen = logits.argmax(-1)
        picked = logprob.gather(1, chosen[:, None])[:, 0]
        self.sampled_tokens += len(slots)
        for s, token, value in zip(slots, chosen.tolist(), picked.tolist(), strict=True):
            self._extend(s, token, value)

    def _extend(self, index: int, token: int, logprob: float) -> None:
        slot = self._slots[index]
        slot.reply.append(token)
        slot.logprobs.append(logprob)
        slot.pending.append(token)
        piece = self.policy.tokenizer.bytes_of(token)
        slot.text += piece
        if slot.follows and len(slot.text) >= len(slot.trigger) and not slot.forced[1]:
            self._force(slot)
        ended = token == self.policy.tokenizer.eos_id or slot.stop in slot.text[-len(slot.stop) - len(piece) :]
        if ended:
            self._finish(index, cut=False)
        elif len(slot.reply) >= slot.room:
            self._finish(index, cut=True, overflow=slot.room < self.max_reply)

    def _force(self, slot: _Slot) -> None:
        """If this is the place, append what is left of the text that code writes.

        It was not sampled: its log-probability is that of certainty.
        """
        whole, so_far = slot.trigger + slot.follows, len(slot.text)
        if not whole.startswith(slot.text) or so_far == len(whole) or _is_within_a_character(whole, so_far):
            return
        ids = self.policy.tokenizer.encode(whole[so_far:].decode())[: slot.room - len(slot.reply)]
        slot.forced = (len(slot.reply), len(slot.reply) + len(ids))
        slot.reply += ids
        slot.logprobs += [0.0] * len(ids)
        slot.pending += ids
        slot.text += b"".join(self.policy.tokenizer.bytes_of(token) for token in ids)

    def _finish(self, index: int, *, cut: bool, overflow: bool = False) -> None:
        slot = self._slots[index]
        self._busy.pop(index, None)
        bytes_of = self.policy.tokenizer.bytes_of
        self._done.append(
            Sample(
                slot=index,
                text=slot.text.decode("utf-8", errors="replace"),
                context_ids=slot.context,
                reply_ids=tuple(slot.reply),
                reply_logprobs=tuple(slot.logprobs),
                reply_bytes=tuple(bytes_of(token) for token in slot.reply),
                cut=cut,
                forced=slot.forced,
                overflow=overflow,
            )
        )


def _is_within_a_character(text: bytes, place: int) -> bool:
    """Whether the byte there continues a character of UTF-8."""
    return text[place] & 0xC0 == 0x80


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix."""
    shorter = min(len(a), len(b))
    for n in range(shorter):
        if a[n] != b[n]:
            return n
    return shorter
