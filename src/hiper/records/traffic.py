"""What passes between the code that plays episodes and whatever writes the replies.

Each open episode has a *slot* with one growing context. A `Prompt` says whether to start that context anew or to append
to it, so one form serves windowed prompts and append-only transcripts alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """The text that goes before a reply.

    `fresh=True`: the context of the episode starts anew with this text. `fresh=False`: the text is appended
    to all prompts and replies of the episode so far. The first prompt of an episode is always fresh.
    """

    text: str
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A reply wanted for one turn of one episode.

    `slot` is unique among the open episodes and lies in [0, capacity). `seed` is the episode's: the noise of
    a reply depends on (seed, turn) only, never on what else is being sampled. `stop` ends a reply and is part
    of it. `observation`, `admissible` and `info` are for scripted agents; language models read the prompt
    alone. `forced` is (trigger, text): once a reply is the trigger, or that and the beginning of the text (a token may
    hold parts of two tags), the rest of the text follows without being sampled.
    """

    slot: int
    prompt: Prompt
    seed: int
    turn: int
    stop: str
    observation: str
    admissible: tuple[str, ...]
    info: Mapping[str, object]
    forced: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The reply to the `Request` of the same slot.

    `context_ids` are the ids of that request's prompt. `reply_bytes` holds the bytes of each reply id; joined
    and decoded (errors="replace") they give `text`. Scripted agents and servers leave all of these empty. `cut`: the
    reply ran into its length limit. `forced`: the range of its tokens that code wrote (`Request.forced`); they are no
    decision. `overflow`: the context window is full; nothing, or not all, could be
    sampled. `is_mistake`: a demonstrator got this turn wrong on purpose.
    """

    slot: int
    text: str
    context_ids: tuple[int, ...] = ()
    reply_ids: tuple[int, ...] = ()
    reply_logprobs: tuple[float, ...] = ()
    reply_bytes: tuple[bytes, ...] = ()
    cut: bool = False
    forced: tuple[int, int] = (0, 0)
    overflow: bool = False
    is_mistake: bool = False
