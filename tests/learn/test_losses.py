"""The losses by hand."""

import math

import pytest
import torch
from torch import Tensor

from hiper.learn import PPOSettings, entropy, kl_to_reference, policy_loss, value_loss

DUAL = PPOSettings(clip=0.2, dual_clip=3.0)
CLIP = PPOSettings(clip=0.2)


def with_gradient(ratio: float, advantage: float, s: PPOSettings) -> tuple[float, float]:
    """Loss and its derivative by the log-probability, of one token."""
    logprob = torch.tensor([math.log(ratio) - 2.0], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([-2.0], dtype=torch.float64)
    loss = policy_loss(logprob, old, torch.tensor([advantage], dtype=torch.float64), s)
    (gradient,) = torch.autograd.grad(loss.sum(), logprob)
    return float(loss.detach()), float(gradient)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # loss = -min(ratio A, clamp(ratio, .8, 1.2) A); where the first is taken, its gradient is -ratio A
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # min(3, 1.2 · 2 = 2.4): gone too far the right way, no more gain
        (0.5, 2.0, -1.0, -1.0),  # min(1, .8 · 2 = 1.6): gone the wrong way, drawn back
        (1.0, -2.0, 2.0, 2.0),
        (0.9, -2.0, 1.8, 1.8),
        (0.5, -2.0, 1.6, 0.0),  # min(-1, .8 · -2 = -1.6)
        (1.5, -2.0, 3.0, 3.0),  # min(-3, 1.2 · -2 = -2.4)
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clip(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    assert with_gradient(ratio, advantage, CLIP) == pytest.approx((loss, gradient))


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        # A < 0: loss = -max(min(..), 3 A)
        (2.5, -2.0, 5.0, 5.0),  # max(-5, 3 · -2 = -6)
        (5.0, -2.0, 6.0, 0.0),  # max(-10, -6): such a ratio is an accident, it shall not blow up the step
        (0.5, -2.0, 1.6, 0.0),
        (5.0, 2.0, -2.4, 0.0),  # A > 0: as without
    ],
)
def test_dual_clip(ratio: float, advantage: float, loss: float, gradient: float) -> None:
    assert with_gradient(ratio, advantage, DUAL) == pytest.approx((loss, gradient))


@pytest.mark.parametrize("s", [CLIP, DUAL, PPOSettings(clip=0.0)])
def test_at_ratio_1_it_is_the_plain_policy_gradient(s: PPOSettings) -> None:
    """d/d scores of -A log softmax(scores)[token] is -A (1[token] - p)."""
    noise = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 9, generator=noise, dtype=torch.float64, requires_grad=True)
    advantage = torch.randn(6, generator=noise, dtype=torch.float64)
    token = torch.randint(9, (6, 1), generator=noise)
    logprob = scores.log_softmax(-1).gather(1, token)[:, 0]
    policy_loss(logprob, logprob.detach(), advantage, s).sum().backward()
    wanted = -advantage[:, None] * (torch.zeros(6, 9).scatter(1, token, 1.0) - scores.detach().softmax(-1))
    assert scores.grad is not None
    if s.clip:
        torch.testing.assert_close(scores.grad, wanted)
    else:  # at the very border of the clip both sides of the minimum are equal; half the gradient is a fair choice
        torch.testing.assert_close(scores.grad.sign(), wanted.sign())


def value_with_gradient(value: float, old: float, target: float, s: PPOSettings) -> tuple[float, float]:
    at = torch.tensor([value], requires_grad=True)
    loss = value_loss(at, torch.tensor([old]), torch.tensor([target]), s)
    (gradient,) = torch.autograd.grad(loss.sum(), at)
    return float(loss.detach()), float(gradient)


@pytest.mark.parametrize(
    ("value", "loss", "gradient"),
    [
        # old 1, target 3, at most .5 away from old counts
        (1.2, 1.62, -1.8),  # (1.2 - 3)² / 2, and its derivative 1.2 - 3
        (2.5, 1.125, 0.0),  # (1.5 - 3)² / 2 is worse than (2.5 - 3)² / 2: no reward for going on
        (-1.0, 8.0, -4.0),  # (-1 - 3)² / 2 is worse than (.5 - 3)² / 2: the way back is open
    ],
)
def test_value_clip(value: float, loss: float, gradient: float) -> None:
    got = value_with_gradient(value, 1.0, 3.0, PPOSettings(value_clip=0.5))
    assert got == pytest.approx((loss, gradient))


def test_without_value_clip_the_old_value_plays_no_part() -> None:
    got = value_with_gradient(2.5, -100.0, 3.0, PPOSettings())
    assert got == pytest.approx((0.125, -0.5))


def random_scores(seed: int) -> Tensor:
    return 2 * torch.randn(4, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_entropy() -> None:
    assert entropy(torch.zeros(1, 8)).item() == pytest.approx(math.log(8))
    assert entropy(torch.tensor([[0.0, -1e4]])).item() == pytest.approx(0.0)
    # .75 · ln(4/3) + .25 · ln 4
    assert entropy(torch.tensor([[math.log(3), 0.0]])).item() == pytest.approx(0.5623351446)
    shifted = random_scores(1) + 5.0
    torch.testing.assert_close(entropy(shifted), entropy(random_scores(1)))


def test_kl_estimate_by_hand() -> None:
    # d = -1 - (-1.5) = .5: exp(.5) - .5 - 1
    assert kl_to_reference(torch.tensor(-1.5), torch.tensor(-1.0)).item() == pytest.approx(0.1487212707)
    assert kl_to_reference(torch.tensor(-1.0), torch.tensor(-1.0)).item() == 0.0
    assert kl_to_reference(torch.tensor(-1.0), torch.tensor(-1.5)).item() == pytest.approx(math.exp(-0.5) - 0.5)


def test_no_token_is_pulled_back_more_than_ten_times_as_hard_as_it_was_pushed() -> None:
    logprob = torch.tensor([-1.5, -3.0, -8.0, -30.0], requires_grad=True)
    divergence = kl_to_reference(logprob, torch.tensor([-1.0, -1.0, -1.0, -0.5]))
    divergence.sum().backward()
    assert logprob.grad is not None
    assert logprob.grad.tolist() == pytest.approx([1 - math.exp(0.5), 1 - math.exp(2.0), -9.0, -9.0])
    assert divergence[2].item() == pytest.approx(10 * (1 + 7 - math.log(10)) - 7 - 1)


def test_kl_estimate_is_right_on_average() -> None:
    """Weighed by the policy's own probabilities, the estimates of all tokens add up to KL(policy || reference)."""
    policy, reference = ((random_scores(seed) / 2).log_softmax(-1) for seed in (1, 2))
    assert (reference - policy).max() < math.log(10), "as far as it is an estimate"
    mean = (policy.exp() * kl_to_reference(policy, reference)).sum(-1)
    torch.testing.assert_close(mean, (policy.exp() * (policy - reference)).sum(-1))
