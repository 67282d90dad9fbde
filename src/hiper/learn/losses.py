"""Losses. They execute the streams of a `TokenBatch`; which estimator made the numbers is not known here.

Shapes: M trained tokens, P value points, V vocabulary. Each returns one number an item; the learner adds them up and
divides by the denominators of the whole batch, so micro-batches add up to the same number.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_FAR = math.log(10)  # log-ratio up to which the divergence from the reference is estimated as it is


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOSettings:
    """Of the PPO loss; the coefficients weigh its parts.

    `clip`: ratio range 1 +- clip. `dual_clip`: bound c > 1 on the ratio where the advantage is negative (0 = off).
    `value_clip`: how far a value may move from the one that made the targets, training units (0 = off).
    """

    clip: float = 0.2
    dual_clip: float = 0.0
    value_clip: float = 0.0
    value_coef: float = 0.5
    entropy_coef: float = 0.0
    kl_coef: float = 0.0


def policy_loss(logprob_M: Tensor, old_logprob_M: Tensor, advantage_M: Tensor, s: PPOSettings) -> Tensor:
    """Clipped surrogate of each token, to be minimised (PPO, arXiv 1707.06347 eq. 7; dual clip, 1912.09729). (M,)

    At ratio 1 its gradient is the plain policy gradient, -A grad log pi.
    """
    ratio = (logprob_M - old_logprob_M).exp()
    surrogate = torch.minimum(ratio * advantage_M, ratio.clamp(1 - s.clip, 1 + s.clip) * advantage_M)
    if s.dual_clip:
        bounded = torch.maximum(surrogate, s.dual_clip * advantage_M)
        surrogate = torch.where(advantage_M < 0, bounded, surrogate)
    return -surrogate


def value_loss(value_P: Tensor, old_value_P: Tensor, target_P: Tensor, s: PPOSettings) -> Tensor:
    """Half squared error of each value point; with `value_clip`, the worse of moving freely and at most so far. (P,)"""
    error = (value_P - target_P) ** 2
    if s.value_clip:
        near = old_value_P + (value_P - old_value_P).clamp(-s.value_clip, s.value_clip)
        error = torch.maximum(error, (near - target_P) ** 2)
    return 0.5 * error


def entropy(logits_MV: Tensor) -> Tensor:
    """Entropy of each next-token distribution, nats. (M,)"""
    logprob = logits_MV.log_softmax(-1)
    return -(logprob.exp() * logprob).sum(-1)


def kl_to_reference(logprob_M: Tensor, reference_M: Tensor) -> Tensor:
    """Low-variance estimate of KL(policy || reference) at sampled tokens: exp(d) - d - 1, d = ref - policy. (M,)

    Beyond d = log 10 the exponential goes on as a straight line. A token that has become e^7 times less likely than it
    was would else pull a thousand times as hard as any other, and clipping the gradient would leave nothing of them. So
    its mean is a little below the divergence where a policy has moved far.

    As a loss on the policy's own tokens it has, on average, the gradient of KL(reference || policy): it asks that what
    the reference does stays likely, more than that nothing else becomes so.
    """
    difference = reference_M - logprob_M
    near = difference.clamp(max=_FAR)
    return near.exp() * (1 + difference - near) - difference - 1
