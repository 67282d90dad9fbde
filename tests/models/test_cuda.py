"""On a GPU, which takes other ways through attention, all is as it is on the CPU."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from hiper.models import Policy, TorchSampler, pack
from tests.learn.cases import ALL_PARTS, examples, learned, played
from tests.models.episodes import Twin, play, recomputed, same
from tests.models.small import CONFIGS, random_documents, tiny
from tests.models.test_sampler import EPISODES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
LENGTHS = [5, 1, 17, 9, 2, 60, 33]


def on_gpu(policy: Policy) -> Policy:
    return deepcopy(policy).to("cuda")


@pytest.mark.parametrize("kind", CONFIGS)
def test_packed_documents(kind: str) -> None:
    policy, documents = tiny(kind), random_documents(LENGTHS)
    gpu = on_gpu(policy)
    with torch.no_grad():
        wanted = policy.logits(policy.hidden(*pack(documents, policy.device)))
        found = gpu.logits(gpu.hidden(*pack(documents, gpu.device)))
    torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["qwen2", "llama"])
def test_loss_and_gradient(kind: str) -> None:
    policy = tiny(kind)
    batch = examples(policy, played())
    loss, wanted = learned(policy, batch, ALL_PARTS)
    found_loss, found = learned(on_gpu(policy), batch, ALL_PARTS)
    assert found_loss == pytest.approx(loss, rel=1e-4)
    for name, gradient in wanted.items():
        assert (found[name].cpu() - gradient).abs().max() <= 1e-3 * gradient.abs().max() + 1e-6, name


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("capacity", [3, 20])
def test_sampled_replies(kind: str, capacity: int) -> None:
    policy = tiny(kind)
    twin = Twin(policy, max_reply=7)
    said = play(TorchSampler(on_gpu(policy), capacity=capacity, max_reply=7, prefill=40), EPISODES)
    for samples, episode in zip(said, EPISODES, strict=True):
        assert same(samples, twin.play(episode), atol=2e-4)


def test_sampler_and_learner_agree_in_mixed_precision() -> None:
    gpu = on_gpu(tiny()).in_precision("mixed")
    said = play(TorchSampler(gpu, capacity=20, max_reply=7), EPISODES)
    gaps = [
        np.abs(np.array(sample.reply_logprobs) - logprobs)
        for episode, samples in zip(EPISODES, said, strict=True)
        for sample, logprobs in zip(samples, recomputed(gpu, episode, samples), strict=True)
    ]
    assert np.concatenate(gaps).mean() < 0.03
