"""Losses and the optimiser step; blind to which estimator made the numbers."""

from hiper.learn.imitation import Demonstration, imitation_step
from hiper.learn.learner import DivergedError, Learner, PPOExample, Scores, score
from hiper.learn.losses import PPOSettings, entropy, kl_to_reference, policy_loss, value_loss
from hiper.learn.optim import Optimizer, OptimSettings, schedule

__all__ = [
    "Demonstration",
    "DivergedError",
    "Learner",
    "OptimSettings",
    "Optimizer",
    "PPOExample",
    "PPOSettings",
    "Scores",
    "entropy",
    "imitation_step",
    "kl_to_reference",
    "policy_loss",
    "schedule",
    "score",
    "value_loss",
]
