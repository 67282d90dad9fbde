"""Opening an agent by what a person types: a run, a model folder or hub name, a scripted agent, or a server."""

from collections.abc import Sequence
from typing import Any

from hiper.agents import ExpertSampler, RandomSampler
from hiper.models.openai import OpenAISampler
from hiper.runs.checkpoint import load_policy, resolve_model, trained_with
from hiper.runs.config import Config, ConfigError, make_config
from hiper.runs.setup import build_interface, build_sampler, set_up_torch

SERVER = "openai:"


def open_agent(
    name: str,
    *,
    overrides: Sequence[str] = (),
    temperature: float = 0.0,
    base_url: str = "http://localhost:8000/v1",
    capacity: int | None = None,
) -> tuple[Config, Any, bool]:
    """The configuration it was trained with (else the default), its sampler, and whether it needs expert advice."""
    size = [] if capacity is None else [f"sampling.capacity={capacity}"]
    if name in ("expert", "random"):
        config = make_config({}, [*size, *overrides])
        kind = ExpertSampler if name == "expert" else RandomSampler
        return (
            config,
            kind(build_interface(config.agent), capacity=config.sampling.capacity),
            name == "expert",
        )
    if name.startswith(SERVER):
        config = make_config({"sampling": {"capacity": 16, "max_reply": 512}}, [*size, *overrides])
        sampling = config.sampling
        if name == SERVER:
            raise ConfigError(f"{name}: name the server's model, {SERVER}NAME")
        server = OpenAISampler(
            name.removeprefix(SERVER),
            base_url=base_url,
            capacity=sampling.capacity,
            max_reply=sampling.max_reply,
            temperature=temperature,
        )
        return config, server, False
    return _open_model(name, [*size, *overrides], temperature)


def _open_model(name: str, overrides: Sequence[str], temperature: float) -> tuple[Config, Any, bool]:
    """A policy with the configuration that lies in its folder (checkpoints carry the one they were trained with)."""
    folder = resolve_model(name)
    config = make_config((folder and trained_with(folder)) or {}, overrides)
    set_up_torch(config.threads, config.model.device)
    policy = load_policy(folder or name, device=config.model.device, dtype=config.model.dtype)
    return config, build_sampler(config, policy, temperature=temperature), False
