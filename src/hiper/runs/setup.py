"""Building what a configuration names: the policy (from a folder, or tiny from scratch), agents, samplers, learners."""

import ctypes
import os
import platform
import re
from collections.abc import Callable

import torch

from hiper.agents import ExpertSampler, Interface, Layout, Sampler, SharedTurns, interface, make_layout
from hiper.learn import Learner, Optimizer, OptimSettings, PPOSettings
from hiper.models import Policy, Tokenizer, TorchSampler, begin_copying, preset, train_tokenizer
from hiper.records import Decision, Trajectory
from hiper.rollout import Limits, PlayError, play
from hiper.runs.checkpoint import load_policy, resolve_model
from hiper.runs.config import AgentConfig, Config, ConfigError, OptimConfig
from hiper.runs.world import World

TOKENIZER_EPISODES = 800
TAG = re.compile(r"<(\w+)>(?:KEEP|SWITCH)</\1>|</?\w+>")  # a whole switch block is one token: one decision


def set_up_torch(threads: int, device: str = "cpu") -> None:
    """Threads, and an allocator that keeps freed memory (returning it to the system costs a tenth of the time).

    Raises ConfigError where the device is not there.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"model.device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    if threads or "OMP_NUM_THREADS" not in os.environ:  # which torch follows by itself
        torch.set_num_threads(threads or cores())
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_interface(config: AgentConfig) -> Interface:
    return interface(config.interface)


def build_layout(config: AgentConfig) -> Callable[[], Layout]:
    options: dict[str, object] = {"n_turns": config.window}
    if config.layout == "transcript":
        options = {name: getattr(config, name) for name in ("header", "separator", "longest_part")}
    return make_layout(config.layout, build_interface(config), options)


def build_sampler(config: Config, policy: Policy, *, temperature: float, capacity: int = 0) -> TorchSampler:
    """capacity: episodes at once, where it is not the configuration's."""
    s = config.sampling
    return TorchSampler(policy, capacity=capacity or s.capacity, max_reply=s.max_reply, temperature=temperature)


def build_optimizer(c: OptimConfig, policy: Policy) -> Optimizer:
    settings = OptimSettings(
        kind=c.kind, lr=c.lr, value_lr=c.value_lr, weight_decay=c.weight_decay, beta2=c.beta2, eps=c.eps
    )
    return Optimizer(policy, settings)


def build_learner(config: Config, policy: Policy, optimizer: Optimizer) -> Learner:
    t = config.train
    settings = PPOSettings(
        clip=t.clip,
        dual_clip=t.dual_clip,
        value_clip=t.value_clip,
        value_coef=t.value_coef,
        entropy_coef=t.entropy_coef,
        kl_coef=t.kl_coef,
    )
    return Learner(
        policy,
        optimizer,
        settings,
        temperature=config.sampling.temperature,
        budget=config.budget,
        max_grad_norm=t.optim.max_grad_norm,
        value_trunk_grad=t.value_trunk_grad,
    )


def demonstrate(
    config: Config, world: World, *, step: int, count: int, clean: bool = False, learner: Policy | None = None
) -> list[Trajectory]:
    """Episodes of the expert, dealt anew for every step. `clean`: without deliberate mistakes.

    learner: takes its share of the turns, as much of sft.own_turns as that step of imitation has come to.
    """
    generated = 0 if world.generated is world else round(config.sft.generated * count)
    episodes: list[Trajectory] = []
    for shown, episodes_of_it in ((world.generated, generated), (world, count - generated)):
        if episodes_of_it:
            episodes += _shown(config, shown, _player(config, step, clean, learner), step=step, count=episodes_of_it)
    if not any(one.turns for one in episodes):
        raise PlayError(f"the environment {config.env.name!r} failed in every episode that the expert was to play")
    return episodes


def _player(config: Config, step: int, clean: bool, learner: Policy | None) -> Sampler:
    c = config.sft
    expert = ExpertSampler(build_interface(config.agent), 0.0 if clean else c.mistake_rate, capacity=16)
    share = c.own_turns * (step - c.drill) / max(1, c.steps - c.drill)
    if learner is None or share <= 0:
        return expert
    own = build_sampler(config, learner, temperature=config.sampling.temperature, capacity=expert.capacity)
    return SharedTurns(expert, own, share)


def _shown(config: Config, world: World, player: Sampler, *, step: int, count: int) -> list[Trajectory]:
    c = config.sft
    return play(
        lambda: world.make(c.split, expert=True, expert_search=c.search, renumber=c.renumber),
        player,
        build_interface(config.agent),
        build_layout(config.agent),
        world.training_tasks(c.split, step=step, count=count, group=1, seed=config.seed, stage="sft"),
        limits=Limits(turns=config.env.max_turns),
    )


def build_policy(config: Config, world: World) -> Policy:
    """The start of a run: the model at `model.path`, or a fresh tiny one with a tokenizer of this environment."""
    m = config.model
    if m.path:
        policy = load_policy(resolve_model(m.path) or m.path, device=m.device, dtype=m.dtype)
        _check_room(config, policy.tokenizer)
        return policy
    preset(m.preset, vocabulary=1, context=m.context, end_id=0)  # an unknown one is named before the work begins
    tokenizer = build_tokenizer(config, world)
    shape = preset(m.preset, vocabulary=len(tokenizer), context=m.context, end_id=tokenizer.eos_id or 0)
    policy = Policy.build(shape, tokenizer, seed=config.seed)
    if m.start == "copying":
        begin_copying(policy, seed=config.seed)
    return policy.in_precision(m.dtype).to(m.device)


def _check_room(config: Config, tokenizer: Tokenizer) -> None:
    """Tags are a token each for a tiny model and several for others, which then never get to the end of a reply."""
    short = build_interface(config.agent).format(Decision.SWITCH, "find mug", "go to desk 1")
    needed, most = len(tokenizer.encode(short)), config.sampling.max_reply
    if needed > most:
        raise ConfigError(
            f"sampling.max_reply = {most}: even {short!r} is {needed} tokens of {config.model.path}; set it to"
            f" {4 * needed} or so"
        )


def build_tokenizer(config: Config, world: World) -> Tokenizer:
    """Trained on what the expert reads and writes. The interface's tags become single tokens."""
    texts, tags = [], set()
    cut = config.model.tokenizer
    count = TOKENIZER_EPISODES * (5 if cut == "words" else 2) // 2  # codes that are to be one token must be seen once
    for episode in demonstrate(config, world, step=0, count=count, clean=True):
        for turn in episode.turns:
            texts += [turn.context, turn.reply]
            tags |= {match.group() for match in TAG.finditer(turn.reply)}
        texts.append(episode.final_context)
    return train_tokenizer(texts, size=config.model.vocabulary, tags=sorted(tags), cut=cut)
