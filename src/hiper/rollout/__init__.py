"""Rollouts: agents playing in environments, and the figures of what they did."""

from hiper.rollout.play import Limits, PlayError, Task, play
from hiper.rollout.stats import Success, SuccessTable, Tries, of_tries, success_table, summary, wilson

__all__ = [
    "Limits",
    "PlayError",
    "Success",
    "SuccessTable",
    "Task",
    "Tries",
    "of_tries",
    "play",
    "success_table",
    "summary",
    "wilson",
]
