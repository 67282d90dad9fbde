"""Mixed precision: parameters in float32 that compute in bfloat16."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hiper.learn import Learner, Optimizer, OptimSettings
from hiper.models import Policy, TorchSampler, pack
from tests.learn.cases import PLAIN, examples, learned, played
from tests.models.episodes import play, recomputed, transcript, window
from tests.models.small import TEXTS, random_documents, tiny

EPISODES = [
    transcript(3, "a", "\nYou see a pen 3.\n", "b"),
    transcript(4, "".join(TEXTS[:5]), "\nx\n"),
    window(5, "desk 1 and a book 1", "desk 1 and a pen 3", "drawer"),
]


@pytest.fixture
def mixed() -> Policy:
    return tiny().in_precision("mixed")


def test_it_computes_in_bfloat16_and_keeps_float32(mixed: Policy) -> None:
    documents = random_documents([9, 30])
    fine, coarse, states = tiny(), tiny().in_precision("bfloat16"), []
    for policy in (fine, mixed, coarse):
        with torch.no_grad():
            states.append(policy.logits(policy.hidden(*pack(documents, policy.device))))
    away = [float((one - states[0]).abs().mean()) for one in states]
    assert 1e-4 < away[1] <= 1.5 * away[2]
    assert {p.dtype for p in mixed.parameters()} == {torch.float32}
    assert {one.dtype for one in states} == {torch.float32}


def test_sampler_and_learner_agree(mixed: Policy) -> None:
    """Up to what bfloat16 makes of another order of the same sums."""
    said = play(TorchSampler(mixed, capacity=3, max_reply=6, prefill=9), EPISODES)
    gaps = [
        np.abs(np.array(sample.reply_logprobs) - logprobs)
        for episode, samples in zip(EPISODES, said, strict=True)
        for sample, logprobs in zip(samples, recomputed(mixed, episode, samples), strict=True)
    ]
    assert np.concatenate(gaps).mean() < 0.03


def test_its_gradient_is_that_of_float32_but_for_rounding(mixed: Policy) -> None:
    fine = tiny()
    batch = examples(fine, played())
    (_, wanted), (_, ours) = (learned(policy, batch, PLAIN) for policy in (fine, mixed))
    for name, gradient in ours.items():
        assert gradient.dtype is torch.float32
        if gradient.norm() > 0:
            assert torch.cosine_similarity(gradient.flatten(), wanted[name].flatten(), dim=0) > 0.98, name


@pytest.mark.parametrize(("dtype", "moved"), [("mixed", True), ("bfloat16", False)])
def test_a_step_of_a_small_learning_rate_is_not_lost(dtype: str, moved: bool) -> None:
    policy = tiny().in_precision(dtype)
    before = policy.lm.get_input_embeddings().weight.detach().clone()  # type: ignore[operator]
    learner = Learner(policy, Optimizer(policy, OptimSettings(lr=1e-6)), PLAIN)
    learner.step(examples(policy, played()))
    after = policy.lm.get_input_embeddings().weight.detach()  # type: ignore[operator]
    large = before.abs() > 0.05  # a step of 1e-6 is far below what such a weight is rounded to
    assert bool((after != before)[large].any()) is moved


def test_it_is_saved_whole_and_loaded_in_any_precision(mixed: Policy, tmp_path: Path) -> None:
    mixed.save(tmp_path)
    again = Policy.load(tmp_path, dtype="mixed")
    assert again.mixed
    for name, weight in again.lm.state_dict().items():
        assert torch.equal(weight, mixed.lm.state_dict()[name]), name
    assert not Policy.load(tmp_path).mixed
