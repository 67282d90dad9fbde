"""Agents: how a model is asked, how its reply is read, its prompts, and agents without a model."""

from hiper.agents.grammar import (
    INTERFACES,
    AgentError,
    Flat,
    Interface,
    PlanExecute,
    Reply,
    admits,
    interface,
    template_verb,
    token_spans,
    written_subgoal,
)
from hiper.agents.layout import Layout, Transcript, Window, feedback, make_layout, reaches_environment
from hiper.agents.sampler import Prompt, Request, Sample, Sampler
from hiper.agents.scripted import ExpertSampler, RandomSampler, SharedTurns

__all__ = [
    "INTERFACES",
    "AgentError",
    "ExpertSampler",
    "Flat",
    "Interface",
    "Layout",
    "PlanExecute",
    "Prompt",
    "RandomSampler",
    "Reply",
    "Request",
    "Sample",
    "Sampler",
    "SharedTurns",
    "Transcript",
    "Window",
    "admits",
    "feedback",
    "interface",
    "make_layout",
    "reaches_environment",
    "template_verb",
    "token_spans",
    "written_subgoal",
]
