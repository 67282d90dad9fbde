"""The built-in sampler against a slow twin that keeps no cache, and its contract: stops, cuts, overflow, slots."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hiper.models import ModelError, Policy, TorchSampler
from hiper.models.attention import Slots
from hiper.models.sampler import _is_within_a_character
from hiper.records import Prompt, Sample
from tests.models.episodes import Episode, Twin, play, recomputed, request, same, say, transcript, window
from tests.models.small import CONFIGS, TEXTS, tiny, tokenizer

HEADER = "You carry out a task, one action a reply. Find a mug 2 and put it in the drawer 3.\n"  # over 16 tokens
LONG = "".join(TEXTS[:5])
MAX_REPLY = 7

EPISODES = [
    transcript(3, "a", "\nYou see a pen 3.\n", "b"),
    transcript(4, LONG, "\nx\n", LONG),
    window(5, HEADER + "desk 1", HEADER + "desk 1, drawer 3", HEADER + "pen"),
    window(6, HEADER + "desk 1 and a book 1", HEADER + LONG, "no header at all"),
    transcript(7, HEADER, "go to desk 1"),
    Episode(
        seed=8,
        prompts=(Prompt(text=HEADER, fresh=True), Prompt(text="pen", fresh=False), Prompt(text=HEADER, fresh=True)),
    ),
    transcript(2**63 + 5, "seeds may be large", "e"),
    window(5, HEADER + "desk 1"),  # the first prompt of an earlier one again, same seed
]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny()


@pytest.fixture(scope="module")
def wanted(policy: Policy) -> list[list[Sample]]:
    twin = Twin(policy, max_reply=MAX_REPLY)
    return [twin.play(episode) for episode in EPISODES]


def all_same(said: Sequence[Sequence[Sample]], wanted: Sequence[Sequence[Sample]]) -> bool:
    return all(same(a, b) for a, b in zip(said, wanted, strict=True))


def test_episodes_are_not_trivial(wanted: list[list[Sample]]) -> None:
    """The twin's own replies: long, varied, and the same where seed, turn and prompt are the same."""
    replies = [sample.reply_ids for said in wanted for sample in said]
    assert len(set(replies)) == len(replies) - 1  # the last episode repeats a turn of the third
    assert len({token for reply in replies for token in reply}) > 40


@pytest.mark.parametrize("capacity", [1, 3, 8, 20])
def test_replies_are_the_twins(policy: Policy, wanted: list[list[Sample]], capacity: int) -> None:
    """Rows join and leave all the time; with 20 slots most stay idle, with one nothing is ever batched."""
    sampler = TorchSampler(policy, capacity=capacity, max_reply=MAX_REPLY)
    assert all_same(play(sampler, EPISODES), wanted)
    assert sampler.sampled_tokens == sum(len(sample.reply_ids) for said in wanted for sample in said)


@settings(max_examples=8)
@given(
    capacity=st.integers(1, 9),
    prefill=st.integers(1, 150),
    order=st.permutations(range(len(EPISODES))),
)
def test_replies_do_not_depend_on_company(
    policy: Policy, wanted: list[list[Sample]], capacity: int, prefill: int, order: list[int]
) -> None:
    """Any capacity, order of submission, and size of the pieces in which long prompts are read."""
    sampler = TorchSampler(policy, capacity=capacity, max_reply=MAX_REPLY, prefill=prefill)
    assert all_same(play(sampler, EPISODES, order), wanted)


def test_replies_by_the_ways_that_a_gpu_takes(
    policy: Policy, wanted: list[list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Slots, "_chunks", Slots._padded)
    monkeypatch.setattr("hiper.models.attention._WORTH_A_LOOP", math.inf)
    assert all_same(play(TorchSampler(policy, capacity=3, max_reply=MAX_REPLY), EPISODES), wanted)


@pytest.mark.parametrize("prefill", [1, 10, 64])
def test_no_step_reads_more_than_is_allowed(policy: Policy, prefill: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the one token of each slot that is replying."""
    read: list[int] = []

    def hidden(self: Policy, ids_N: torch.Tensor, position_N: torch.Tensor, packing: Slots) -> torch.Tensor:
        read.append(sum(one.stop - one.start for one in packing.chunks))
        assert packing.singles + read[-1] == len(ids_N)
        return plain(self, ids_N, position_N, packing)

    plain = Policy.hidden
    monkeypatch.setattr(Policy, "hidden", hidden)
    sampler = TorchSampler(policy, capacity=4, max_reply=3, prefill=prefill)
    prompts = [transcript(seed, LONG) for seed in range(4)]
    play(sampler, prompts)
    assert max(read) == prefill


@pytest.mark.parametrize("kind", CONFIGS)
def test_log_probabilities_are_those_of_the_packed_forward_pass(kind: str) -> None:
    policy = tiny(kind)
    said = play(TorchSampler(policy, capacity=3, max_reply=6, prefill=9), EPISODES)
    for episode, samples in zip(EPISODES, said, strict=True):
        for sample, logprobs in zip(samples, recomputed(policy, episode, samples), strict=True):
            np.testing.assert_allclose(sample.reply_logprobs, logprobs, rtol=0, atol=2e-5)


@pytest.mark.parametrize("temperature", [0.6, 1.7])
def test_temperature(policy: Policy, temperature: float) -> None:
    sampler = TorchSampler(policy, capacity=4, max_reply=5, temperature=temperature)
    twin = Twin(policy, max_reply=5, temperature=temperature)
    assert all_same(play(sampler, EPISODES[:4]), [twin.play(episode) for episode in EPISODES[:4]])


def test_greedy(policy: Policy) -> None:
    """Temperature 0 takes the likeliest token; its log-probability is that of temperature 1. Seeds do not matter."""
    sampler = TorchSampler(policy, capacity=4, max_reply=5, temperature=0.0)
    twin = Twin(policy, max_reply=5, temperature=0.0)
    said = play(sampler, EPISODES)
    assert all_same(said[:4], [twin.play(episode) for episode in EPISODES[:4]])
    again = transcript(99, *(prompt.text for prompt in EPISODES[1].prompts))
    assert same(play(sampler, [again])[0], said[1])


def test_fresh_prompts_are_read_from_where_they_differ(policy: Policy) -> None:
    """The window layout: what a slot has read already of the new prompt is not read again."""
    sampler = TorchSampler(policy, capacity=2, max_reply=4)
    first, second = window(1, HEADER + "desk 1"), window(1, HEADER + "pen 3")
    ids = [sampler.context_ids(episode.prompts[0]) for episode in (first, second)]
    shared = next(n for n, (a, b) in enumerate(zip(*ids, strict=False)) if a != b)
    assert shared >= 16
    reply = say(sampler, first)
    # Of n sampled tokens n - 1 are read, to sample the next; the last only when a later prompt comes after it.
    assert sampler.read_tokens == len(ids[0]) + len(reply.reply_ids) - 1
    sampler.read_tokens = 0
    reply = say(sampler, second)
    assert sampler.read_tokens == len(ids[1]) - shared + len(reply.reply_ids) - 1
    # Another slot: the prefix is copied from the one that has it, also when that one is closed. A prompt that is
    # there as a whole is read from its last token on, for something must be read to sample after it.
    sampler.close(0)
    sampler.read_tokens = 0
    reply = say(sampler, second, slot=1)
    assert sampler.read_tokens == 1 + len(reply.reply_ids) - 1
    assert same([reply], Twin(policy, max_reply=4).play(second))


def test_an_appended_prompt_is_read_once(policy: Policy) -> None:
    sampler = TorchSampler(policy, capacity=1, max_reply=4)
    episode = transcript(1, LONG, "go", "on")
    (said,) = play(sampler, [episode])
    total = sum(len(sample.context_ids) + len(sample.reply_ids) for sample in said)
    assert sampler.read_tokens == total - 1  # nothing comes after the very last token


def test_weights_that_changed_need_a_reset(policy: Policy) -> None:
    changed = tiny(seed=1)
    sampler = TorchSampler(changed, capacity=3, max_reply=MAX_REPLY)
    play(sampler, EPISODES)
    changed.load_state_dict(policy.state_dict())
    sampler.reset()
    twin = Twin(policy, max_reply=MAX_REPLY)
    assert all_same(play(sampler, EPISODES[:3]), [twin.play(episode) for episode in EPISODES[:3]])


def test_a_reset_forgets_what_was_going_on(policy: Policy) -> None:
    sampler = TorchSampler(policy, capacity=2)
    sampler.submit(request(0, EPISODES[0], 0))
    sampler.reset()
    assert sampler.poll() == []


def test_the_stop_text_may_be_spread_over_tokens(policy: Policy) -> None:
    """Stop texts cut out of a known reply: from the last byte of a token to the first of the next but one."""
    sampler = TorchSampler(policy, max_reply=60)
    free = say(sampler, transcript(9, "a"))
    pieces = free.reply_bytes
    assert len(pieces) == 60
    stops = [pieces[n][-1:] + pieces[n + 1] + pieces[n + 2][:1] for n in range(58)]
    stops = [stop for stop in stops if len(stop) > 2 and stop.isascii()]
    assert len(stops) >= 5
    for stop in stops:
        end = b"".join(pieces).find(stop) + len(stop)
        count = int(np.searchsorted(np.cumsum([len(piece) for piece in pieces]), end)) + 1
        reply = say(sampler, transcript(9, "a", stop=stop.decode()))
        assert reply.reply_ids == free.reply_ids[:count]
        assert reply.reply_logprobs == pytest.approx(free.reply_logprobs[:count], abs=2e-5)
        assert stop in b"".join(reply.reply_bytes[-3:])
        assert not reply.cut
        assert not reply.overflow


def test_the_stop_text_of_an_earlier_reply_does_not_count(policy: Policy) -> None:
    sampler = TorchSampler(policy, max_reply=6, temperature=0.0)
    free = say(sampler, transcript(0, "a"))
    stop = free.reply_bytes[2].decode()
    said = play(sampler, [transcript(0, "a", "b", stop=stop)])[0]
    wanted = Twin(policy, max_reply=6, temperature=0.0).play(transcript(0, "a", "b", stop=stop))
    assert same(said, wanted)


COPY = "<subgoal>find a mug</subgoal>"


def beginnings(policy: Policy, max_reply: int) -> list[tuple[int, str]]:
    """Seeds, and the text of the first one or two tokens that they make the model say after `a`."""
    sampler = TorchSampler(policy, capacity=8, max_reply=max_reply)
    free = [said for (said,) in play(sampler, [transcript(seed, "a") for seed in range(8)])]
    first = [b"".join(sample.reply_bytes[: 1 + seed % 2]) for seed, sample in enumerate(free)]
    return [(seed, piece.decode()) for seed, piece in enumerate(first) if piece and piece.isascii()]


def test_text_that_code_writes(policy: Policy) -> None:
    """A reply that is exactly the trigger goes on with the text, unsampled; then with what the model says after it."""
    copy = tokenizer().encode(COPY)
    cases = beginnings(policy, 12)
    assert len(cases) >= 4
    episodes = [
        Episode(seed=seed, prompts=transcript(seed, "a", "b").prompts, forced=(trigger, COPY))
        for seed, trigger in cases
    ]
    twin = Twin(policy, max_reply=12)
    said = play(TorchSampler(policy, capacity=3, max_reply=12), episodes)
    assert all_same(said, [twin.play(episode) for episode in episodes])
    for (seed, trigger), (sample, _) in zip(cases, said, strict=True):
        start = 1 + seed % 2
        assert sample.text.startswith(trigger + COPY)
        assert sample.forced == (start, start + len(copy))
        assert sample.reply_ids[start : start + len(copy)] == copy
        assert sample.reply_logprobs[start : start + len(copy)] == (0.0,) * len(copy)
        assert len(sample.reply_ids) == len(sample.reply_logprobs) == len(sample.reply_bytes) == 12
        assert all(
            logprob < 0 for logprob in sample.reply_logprobs[:start] + sample.reply_logprobs[start + len(copy) :]
        )


def test_text_that_code_writes_is_left_out_elsewhere(policy: Policy) -> None:
    """A trigger that is only a part of the beginning, or comes later, does nothing."""
    sampler = TorchSampler(policy, capacity=1, max_reply=12)
    (seed, trigger), *_ = ((seed, trigger) for seed, trigger in beginnings(policy, 12) if len(trigger) > 1)
    free = say(sampler, transcript(seed, "a"))
    for other in (trigger[:-1], trigger[1:], trigger + "x"):
        episode = Episode(seed=seed, prompts=transcript(seed, "a").prompts, forced=(other, COPY))
        assert same([say(sampler, episode)], [free])


def test_text_that_code_writes_may_begin_within_a_token(policy: Policy) -> None:
    """Many tokenizers join the end of a tag with the beginning of the next: then no token ends with the trigger."""
    copy = tokenizer().encode(COPY)
    free = play(TorchSampler(policy, capacity=32, max_reply=1), [transcript(seed, "a") for seed in range(32)])
    cases = [(seed, said.text) for seed, (said,) in enumerate(free) if len(said.text) > 1 and said.text.isascii()]
    assert len(cases) >= 3
    for seed, piece in cases:
        forced = (piece[:-1], piece[-1] + COPY)
        episode = Episode(seed=seed, prompts=transcript(seed, "a").prompts, forced=forced)
        sample = say(TorchSampler(policy, capacity=1, max_reply=12), episode)
        assert same([sample], Twin(policy, max_reply=12).play(episode))
        start, stop = sample.forced
        assert sample.reply_ids[start:stop] == copy
        assert b"".join(sample.reply_bytes[:start]).decode() == piece


def test_text_that_code_writes_does_not_begin_within_a_character(policy: Policy) -> None:
    whole = "aé".encode()
    assert [_is_within_a_character(whole, place) for place in range(3)] == [False, False, True]


@pytest.mark.parametrize("room", [2, 3, 5, 8])
def test_text_that_code_writes_is_bounded_too(policy: Policy, room: int) -> None:
    """It is cut where the reply is, by its own limit or by the end of the context."""
    (seed, trigger), *_ = beginnings(policy, 8)
    episode = Episode(seed=seed, prompts=transcript(seed, "a").prompts, forced=(trigger, COPY))
    for limits in ({"max_reply": room}, {"max_reply": 20, "max_length": 1 + room}):
        sample = say(TorchSampler(policy, capacity=1, **limits), episode)
        assert same([sample], Twin(policy, **limits).play(episode))
        assert len(sample.reply_ids) == room
        assert sample.cut
        assert sample.overflow == ("max_length" in limits)


def test_an_end_token_ends_the_reply_and_has_no_bytes(policy: Policy) -> None:
    end = tokenizer().eos_id
    sampler = TorchSampler(policy, capacity=128, max_reply=20)
    said = [reply for (reply,) in play(sampler, [transcript(seed, "b") for seed in range(128)])]
    ended = [reply for reply in said if end in reply.reply_ids]
    assert len(ended) >= 3
    for reply in ended:
        assert reply.reply_ids.index(end) == len(reply.reply_ids) - 1
        assert reply.reply_bytes[-1] == b""
        assert not reply.cut
        assert "<|end|>" not in reply.text
    assert all(reply.cut and len(reply.reply_ids) == 20 for reply in said if reply not in ended)


def test_the_bytes_of_a_reply_are_its_text(policy: Policy) -> None:
    for said in play(TorchSampler(policy, capacity=3, max_reply=MAX_REPLY), EPISODES):
        for sample in said:
            assert b"".join(sample.reply_bytes).decode(errors="replace") == sample.text
            assert len(sample.reply_bytes) == len(sample.reply_ids) == len(sample.reply_logprobs) <= MAX_REPLY
            assert sample.cut == (sample.reply_ids[-1] != tokenizer().eos_id)
            assert not sample.overflow


@pytest.mark.parametrize("max_length", [30, 31, 33])
def test_a_full_context_overflows(policy: Policy, max_length: int) -> None:
    """No token beyond `max_length` is ever made; the reply that ran into it says so, and so does one with no room."""
    episode = transcript(1, "You see a desk 1.", "\ngo to desk 1\n", "\nYou see a pen 3.\n", "\nand so on and on\n")
    sampler = TorchSampler(policy, capacity=2, max_reply=6, max_length=max_length)
    (said,) = play(sampler, [episode])
    assert same(said, Twin(policy, max_reply=6, max_length=max_length).play(episode))
    assert [sample.overflow for sample in said] == [False] * (len(said) - 1) + [True]
    assert said[-1].cut
    assert len(said) < 4
    read = sum(len(sample.context_ids) + len(sample.reply_ids) for sample in said)
    assert read == max_length or not said[-1].reply_ids


def test_a_prompt_that_does_not_fit_is_answered_with_nothing(policy: Policy) -> None:
    sampler = TorchSampler(policy, capacity=2, max_reply=6, max_length=20)
    reply = say(sampler, transcript(1, LONG))
    assert (reply.reply_ids, reply.text, reply.cut, reply.overflow) == ((), "", True, True)
    assert reply.context_ids == sampler.context_ids(Prompt(text=LONG, fresh=True))
    sampler.close(0)
    assert same([say(sampler, transcript(1, "a"))], Twin(policy, max_reply=6, max_length=20).play(transcript(1, "a")))


def test_the_context_is_bounded_by_the_model(policy: Policy) -> None:
    assert TorchSampler(policy).max_length == 512
    assert TorchSampler(policy, max_length=9999).max_length == 512
    assert TorchSampler(policy, max_length=17).max_length == 17


def test_closed_slots_are_silent_and_can_be_used_again(policy: Policy) -> None:
    sampler = TorchSampler(policy, capacity=2, max_reply=6)
    twin = Twin(policy, max_reply=6)
    sampler.submit(request(0, transcript(1, LONG), 0))
    sampler.submit(request(1, transcript(2, "a"), 0))
    sampler.close(0)
    (reply,) = sampler.poll()
    assert (reply.slot, sampler.poll()) == (1, [])
    assert same([reply], twin.play(transcript(2, "a")))
    assert same([say(sampler, transcript(1, LONG))], twin.play(transcript(1, LONG)))


def test_an_empty_first_prompt_is_refused(policy: Policy) -> None:
    """There would be no token to sample after."""
    with pytest.raises(ModelError, match="empty"):
        TorchSampler(policy).submit(request(0, transcript(1, ""), 0))


def test_an_empty_prompt_may_follow_a_reply(policy: Policy) -> None:
    episode = transcript(1, "a", "", "b")
    said = play(TorchSampler(policy, capacity=2, max_reply=4), [episode])[0]
    assert same(said, Twin(policy, max_reply=4).play(episode))


def test_nothing_to_do(policy: Policy) -> None:
    assert TorchSampler(policy).poll() == []


@pytest.mark.parametrize("fresh", [True, False])
def test_context_ids_are_those_of_the_sample(policy: Policy, fresh: bool) -> None:
    sampler = TorchSampler(policy, capacity=1, max_reply=2)
    say(sampler, transcript(1, "a"))
    episode = Episode(seed=1, prompts=(Prompt(text="\nYou see a mug 2.\n", fresh=fresh),))
    assert say(sampler, episode).context_ids == sampler.context_ids(episode.prompts[0])


def test_padding_of_the_embedding_is_never_sampled() -> None:
    """The embedding has a few rows more than the tokenizer has entries; here they are by far the likeliest."""
    policy = tiny(tie_word_embeddings=False)
    size = len(tokenizer())
    embedding = policy.lm.get_output_embeddings().weight
    assert embedding.shape[0] > size
    with torch.no_grad():
        embedding[size:] = 100.0
    said = play(TorchSampler(policy, capacity=8, max_reply=12), EPISODES)
    assert max(token for samples in said for sample in samples for token in sample.reply_ids) < size
    assert same(said[0], Twin(policy, max_reply=12).play(EPISODES[0]))


@pytest.mark.parametrize("prefill", [5, 8192])
def test_what_others_replied_belongs_to_the_context(policy: Policy, prefill: int) -> None:
    """Turns 0 and 2 are somebody else's; the log-probabilities of 1 and 3 are those of the whole context."""
    episode = transcript(3, HEADER, "\nYou see a pen 3.\n", "go to desk 1", "\nx\n")
    sampler = TorchSampler(policy, capacity=2, max_reply=6, prefill=prefill)
    said = []
    for turn, reply in enumerate(("take mug 2", None, "open drawer 3", None)):
        if reply is None:
            said.append(say(sampler, episode, turn=turn))
            continue
        asked = request(0, episode, turn)
        sampler.read(asked, reply)
        said.append(
            Sample(
                slot=0,
                text=reply,
                context_ids=sampler.context_ids(asked.prompt),
                reply_ids=policy.tokenizer.encode(reply),
                reply_logprobs=(),
                reply_bytes=(),
                cut=False,
            )
        )
    for turn, logprobs in enumerate(recomputed(policy, episode, said)):
        if turn % 2:
            np.testing.assert_allclose(said[turn].reply_logprobs, logprobs, rtol=0, atol=2e-5)


def test_a_fresh_prompt_forgets_what_others_replied(policy: Policy) -> None:
    episode = window(5, HEADER + "desk 1", HEADER + "desk 1, drawer 3")
    sampler = TorchSampler(policy, capacity=1, max_reply=6)
    sampler.read(request(0, episode, 0), "take mug 2")
    assert same([say(sampler, episode, turn=1)], [say(TorchSampler(policy, capacity=1, max_reply=6), episode, turn=1)])
