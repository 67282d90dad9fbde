"""Scripted episodes to sample replies in, a driver for samplers, and a slow sampler that is easy to believe."""

from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch

from hiper.models import Policy, TorchSampler, pack
from hiper.records import Prompt, Request, Sample

NEVER = "<never>"  # a stop text that no reply of ours contains


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What is said to the model, turn by turn, whatever it replies."""

    seed: int
    prompts: tuple[Prompt, ...]
    stop: str = NEVER
    forced: tuple[str, str] | None = None


def transcript(seed: int, *texts: str, stop: str = NEVER) -> Episode:
    prompts = [Prompt(text=text, fresh=turn == 0) for turn, text in enumerate(texts)]
    return Episode(seed=seed, prompts=tuple(prompts), stop=stop)


def window(seed: int, *texts: str, stop: str = NEVER) -> Episode:
    return Episode(seed=seed, prompts=tuple(Prompt(text=text, fresh=True) for text in texts), stop=stop)


def request(slot: int, episode: Episode, turn: int) -> Request:
    return Request(
        slot=slot,
        prompt=episode.prompts[turn],
        seed=episode.seed,
        turn=turn,
        stop=episode.stop,
        observation="",
        admissible=(),
        info={},
        forced=episode.forced,
    )


def play(sampler: TorchSampler, episodes: Sequence[Episode], order: Sequence[int] = ()) -> list[list[Sample]]:
    """All replies of each episode; a finished or overflown episode hands its slot to the next one in `order`."""
    waiting = deque(order or range(len(episodes)))
    said: list[list[Sample]] = [[] for _ in episodes]
    seats: dict[int, int] = {}

    def seat(slot: int) -> None:
        if waiting:
            seats[slot] = waiting.popleft()
            sampler.submit(request(slot, episodes[seats[slot]], 0))

    for slot in range(sampler.capacity):
        seat(slot)
    while seats:
        for sample in sampler.poll():
            index = seats[sample.slot]
            said[index].append(sample)
            if sample.overflow or len(said[index]) == len(episodes[index].prompts):
                sampler.close(sample.slot)
                del seats[sample.slot]
                seat(sample.slot)
            else:
                sampler.submit(request(sample.slot, episodes[index], len(said[index])))
    return said


def say(sampler: TorchSampler, episode: Episode, slot: int = 0, turn: int = 0) -> Sample:
    """One reply, with nothing else going on."""
    sampler.submit(request(slot, episode, turn))
    (sample,) = sampler.poll()
    return sample


class Twin:
    """The same replies, the slow way: for every token one plain forward pass over all there is so far.

    transformers' own attention, no cache, no packing, probabilities in float64.
    """

    def __init__(self, policy: Policy, *, max_reply: int, temperature: float = 1.0, max_length: int = 10**9) -> None:
        self.tokenizer, self.size = policy.tokenizer, len(policy.tokenizer)
        self.lm = deepcopy(policy.lm)
        self.lm.set_attn_implementation("eager")
        self.max_reply, self.temperature = max_reply, temperature
        self.max_length = min(max_length, policy.max_length)

    def play(self, episode: Episode) -> list[Sample]:
        said: list[Sample] = []
        ids: tuple[int, ...] = ()
        for turn, prompt in enumerate(episode.prompts):
            context = self.tokenizer.encode_context(prompt.text, fresh=prompt.fresh)
            ids = context if prompt.fresh else ids + context
            sample = self.reply(ids, context, episode, turn)
            said.append(sample)
            ids += sample.reply_ids
            if sample.overflow:
                break
        return said

    def reply(self, ids: tuple[int, ...], context: tuple[int, ...], episode: Episode, turn: int) -> Sample:
        noise = np.random.Generator(np.random.Philox(key=np.array([episode.seed, turn], np.uint64))).random(
            self.max_reply
        )
        room = min(self.max_reply, self.max_length - len(ids))
        reply: list[int] = []
        logprobs: list[float] = []
        pieces: list[bytes] = []
        complete, code = False, (0, 0)
        while not complete and len(reply) < room:
            token, logprob = self.next(ids + tuple(reply), noise[len(reply)])
            reply.append(token)
            logprobs.append(logprob)
            pieces.append(self.tokenizer.bytes_of(token))
            said = b"".join(pieces).decode(errors="replace")
            trigger, follows = episode.forced or ("", "")
            if follows and code == (0, 0) and said in [trigger + follows[:n] for n in range(len(follows))]:
                rest = self.tokenizer.encode((trigger + follows)[len(said) :])[: room - len(reply)]
                code = (len(reply), len(reply) + len(rest))
                for written in rest:
                    reply.append(written)
                    logprobs.append(0.0)
                    pieces.append(self.tokenizer.bytes_of(written))
            complete = token == self.tokenizer.eos_id or episode.stop.encode() in b"".join(pieces)
        return Sample(
            slot=0,
            text=b"".join(pieces).decode(errors="replace"),
            context_ids=context,
            reply_ids=tuple(reply),
            reply_logprobs=tuple(logprobs),
            reply_bytes=tuple(pieces),
            cut=not complete,
            forced=code,
            overflow=not complete and room < self.max_reply,
        )

    @torch.no_grad()
    def next(self, ids: tuple[int, ...], noise: float) -> tuple[int, float]:
        scores = self.lm(input_ids=torch.tensor([ids])).logits[0, -1, : self.size].double().numpy()
        scaled = scores / (self.temperature or 1.0)
        probability = np.exp(scaled - scaled.max())
        probability /= probability.sum()
        greedy, drawn = probability.argmax(), (probability.cumsum() < noise).sum()
        token = int(greedy if self.temperature == 0 else drawn)
        return token, float(np.log(probability[token]))


def recomputed(policy: Policy, episode: Episode, said: Sequence[Sample], temperature: float = 1.0) -> list[np.ndarray]:
    """Log-probabilities of each reply, read in one forward pass over everything before it."""
    out = []
    ids: tuple[int, ...] = ()
    for prompt, sample in zip(episode.prompts, said, strict=False):
        ids = sample.context_ids if prompt.fresh else ids + sample.context_ids
        start = len(ids)
        ids += sample.reply_ids
        with torch.no_grad():
            scores = policy.logits(policy.hidden(*pack([ids], policy.device))) / temperature
        chosen = torch.tensor(ids[start:], dtype=torch.long, device=scores.device)
        out.append(scores[start - 1 : -1].log_softmax(-1).gather(1, chosen[:, None])[:, 0].double().cpu().numpy())
    return out


def same(actual: Sequence[Sample], wanted: Sequence[Sample], atol: float = 2e-5) -> bool:
    """Equal in all but the slot, log-probabilities up to rounding."""
    if len(actual) != len(wanted):
        return False
    for a, b in zip(actual, wanted, strict=True):
        words = [(s.text, s.context_ids, s.reply_ids, s.reply_bytes, s.cut, s.overflow) for s in (a, b)]
        if words[0] != words[1] or not np.allclose(a.reply_logprobs, b.reply_logprobs, rtol=0, atol=atol):
            return False
    return True
