"""The configuration tree: typed, frozen, read from TOML with `key=value` overrides; unknown keys are errors.

Every setting has its description beside it; `hiper train CONFIG --dry-run` prints the resolved tree with them.
"""

import difflib
import tomllib
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from hiper.envs import EnvError, about
from hiper.runs.guards import GUARDS

Estimator = Literal[
    "hae", "gae", "token_gae", "option_gae", "hae_eb", "fixed_hae", "siblings", "grpo", "rloo", "reinforce_pp", "gigpo"
]
COMPARE_GROUPS = ("grpo", "rloo", "gigpo", "siblings")
NO_CRITIC = ("grpo", "rloo", "reinforce_pp", "gigpo")


class ConfigError(ValueError):
    """A configuration that cannot be used; one line that names the key."""


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Count = Annotated[int, Field(ge=0, strict=True)]
NonNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class EnvConfig(Section):
    name: str = "alfworld"
    """Registered environment."""
    data: str = ""
    """Path to official data; empty: games are generated, nothing is needed."""
    train_split: str = "train"
    """Games that training plays (default: as the environment says)."""
    max_turns: Positive = 50
    """Turn limit of an episode; every reply counts."""
    options: dict[str, str | int | float | bool] = {}
    """Further keyword arguments of `hiper.make`, e.g. size = "small", chain = 2."""


class ModelConfig(Section):
    path: str = ""
    """transformers folder or hub name to start from; empty: a tiny model is built from `preset`."""
    preset: str = "tiny-1m"
    """Shape of the model that is built when `path` is empty."""
    vocabulary: Positive = 1024
    """Largest vocabulary of the tokenizer trained for a preset."""
    tokenizer: Literal["phrases", "words"] = "phrases"
    """What a preset's tokenizer keeps whole, to be copied. phrases: words that carry numbers (`desk 1`). words: every
    word, and codes such as ASINs, for texts from which anything may have to be copied (`color: dark heather`)."""
    start: Literal["plain", "copying"] = "plain"
    """How a preset's weights begin. plain: at random. copying: where copying from the context is soon learnt."""
    context: Positive = 2048
    """Context window of a preset, tokens."""
    device: str = "cpu"
    """torch device."""
    dtype: Literal["float32", "mixed", "bfloat16"] = "float32"
    """Precision. mixed: parameters in float32 that compute in bfloat16, for a GPU. bfloat16, parameters too, is for
    playing: steps far below a 256th of a weight, as at small learning rates, are rounded away in it."""


class AgentConfig(Section):
    interface: Literal["plan_execute", "plan_execute_copy", "react", "act"] = "plan_execute"
    """How the model is asked and its reply read."""
    layout: Literal["transcript", "window"] = "transcript"
    """transcript: append-only, one row an episode. window: the last turns and the admissible list in every prompt."""
    header: Literal["full", "none"] = "full"
    """Role and format instructions before the first observation; "none" for models trained from scratch."""
    separator: str = ""
    """transcript: what parts of an observation are separated by, " [SEP] " in WebShop. Parts that stood in the
    observation before are then not shown again, which shortens episodes there by a third. "": all is shown."""
    longest_part: Count = 0
    """transcript with a separator: words of a part that are shown; 0: all. The first observation is shown whole."""
    window: Count = 2
    """Past turns shown by the window layout."""


class SamplingConfig(Section):
    capacity: Positive = 128
    """Episodes played at once."""
    max_reply: Positive = 64
    """Longest reply, tokens."""
    temperature: NonNegative = 1.0
    """Of training episodes."""


class OptimConfig(Section):
    kind: Literal["adamw", "muon"] = "adamw"
    """muon: torch's Muon for the trunk's matrices, AdamW for the rest."""
    lr: NonNegative = 1e-3
    """Peak learning rate of the language model."""
    value_lr: NonNegative = 1e-3
    """Peak learning rate of the value heads."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the second moment."""
    eps: NonNegative = 1e-8
    """Added to the root of the second moment: gradients far below it are not blown up to full steps."""
    warmup: Count = 10
    """Steps of linear warm-up."""
    floor: Share = 0.1
    """Learning rate at the end, as a share of the peak (cosine decay)."""
    max_grad_norm: NonNegative = 1.0
    """Gradient norms above it are scaled down; 0: never."""


class ImitationConfig(Section):
    steps: Count = 0
    """Optimiser steps of imitation before RL; 0: none."""
    episodes: Positive = 32
    """Expert episodes a step; games are dealt anew for each."""
    split: str = "train"
    """Games that the expert shows (default: the environment's for training)."""
    search: str = "varied"
    """How the environment's expert searches: best, varied or, in WebShop, quick and trying."""
    observation_weight: NonNegative = 0.0
    """Loss weight of observation tokens; reply tokens weigh 1."""
    mistake_rate: Share = 0.0
    """Share of turns that the expert gets wrong on purpose; shown, with the recovery, but not imitated."""
    own_turns: Share = 0.0
    """Share of turns that the policy takes itself, not imitated, so that the expert is seen to go on from where they
    lead (DAgger). It grows from 0 to this over imitation."""
    renumber: bool = False
    """Number the instances of each kind at random (`cabinet 1..n`) in every demonstration."""
    reworded: Share = 0.0
    """Share of the demonstrations in which words are exchanged for others, anew in each: what they mean is lost, and
    words never met before are copied as surely as known ones. For experts that only copy (WebShop's quick)."""
    generated: Share = 0.0
    """Share of the episodes that are shown in games which the environment generates, whatever env.data holds."""
    drill: Count = 0
    """So many of the steps, the first ones, show no expert but random tokens that come again: practice in copying."""
    drills: Count = 0
    """Documents of that practice in every later step, besides its episodes: without them tokens that are seldom asked
    for, such as most ASINs, are unlearnt again."""
    optim: OptimConfig = OptimConfig()
    """Optimiser of imitation."""


class CreditConfig(Section):
    estimator: Estimator = "hae"
    """The estimator; docs/credit.md compares them. hae, hae_eb, siblings and option_gae credit each decision apart; gae
    credits the turn, token_gae the token, fixed_hae the turn in segments of `interval`; grpo, rloo, reinforce_pp and
    gigpo need no critic. grpo, rloo, gigpo and siblings compare the episodes of a group: train.group of 2 or more."""
    gamma: Share = 0.95
    """Discount per turn."""
    lam_low: Share = 0.95
    """Trace of actions inside a segment (gae: of the whole episode)."""
    lam_high: Share = 1.0
    """Trace of subgoals over segments; its clock is segments, not turns. Below 1 (the paper: .95) V_high is leant on at
    every boundary, also while it is new and wrong."""
    lam_boundary: Share | Literal["adaptive"] = 1.0
    """1: the action trace is carried on across boundaries; unbiased when all traces are 1. 0: it ends with its segment
    (the paper). "adaptive": by the error of V_high against the noise of returns, where groups tell them apart, else by
    what V_high leaves unexplained (hae and siblings)."""
    interval: Positive = 5
    """fixed_hae: turns a segment."""
    step_weight: NonNegative = 1.0
    """gigpo: weight of the comparison of equal states beside that of whole episodes."""
    normalise_std: bool = True
    """grpo and gigpo: divide by the spread of the group; false is Dr. GRPO."""
    normalise: Literal["joint", "per_level", "none"] = "joint"
    """Scale of the advantages; joint: one constant for all three levels."""
    reward: Literal["environment", "success"] = "environment"
    """What training is paid: the environment's reward, or 1 at the end of an episode that succeeded and nothing else
    (the paper). They differ where the environment pays for half a success, as WebShop does."""
    at_limit: Literal["bootstrap", "end"] = "bootstrap"
    """What an episode is worth after its turn or token limit: what the critic expects, as after any cut, or nothing.
    "end" where evaluation has a limit, too: else stalling pays more than failing does."""
    reward_scale: NonNegative = 1.0
    """That reward times this is what training sees (the paper: 10)."""
    invalid_penalty: NonNegative = 0.0
    """Reward shaping: taken off for every invalid reply. Logged apart, never part of evaluation."""


class TrainConfig(Section):
    steps: Count = 100
    """Collect-and-update rounds; 0: none (imitation only)."""
    turns: Count = 0
    """Turns of the environment after which training ends, in place of `steps`; 0: `steps` decides."""
    episodes: Positive = 128
    """Episodes a step."""
    group: Positive = 1
    """Episodes of each game in a step."""
    renumber: bool = False
    """Play in worlds under other names, new in every episode (see sft.renumber): they cannot be learnt by heart."""
    max_turns: Count = 0
    """Turn limit of training episodes; 0: as in evaluation. A shorter one spends less on hopeless episodes. With
    credit.at_limit "bootstrap" a cut episode is worth what the critic expects after it; with "end" that is the end."""
    patience: Count = 0
    """So many invalid replies in a row end a training episode as failed; 0: never. Never applied in evaluation."""
    epochs: Positive = 1
    """Passes over the episodes of a step."""
    minibatches: Positive = 4
    """Optimiser steps a pass."""
    critic_warmup: Count = 0
    """First steps that train the value heads only; 0 for an estimator without a critic."""
    clip: NonNegative = 0.2
    """PPO clip range."""
    dual_clip: NonNegative = 3.0
    """Bound on the ratio where the advantage is negative, above 1; 0: off."""
    value_clip: NonNegative = 0.0
    """How far a value may move in a step before its loss is clipped; 0: off. Not in `value_passes`."""
    value_coef: NonNegative = 0.5
    """Weight of the value loss beside that of the policy; not in `value_passes`."""
    value_passes: Count = 0
    """Further passes after each update that train the value heads alone, the trunk standing still; they cost little."""
    value_trunk_grad: NonNegative = 0.5
    """How much of the value loss's gradient reaches the trunk; 0: heads only."""
    entropy_coef: NonNegative = 0.0
    """Weight of the entropy bonus."""
    kl_coef: NonNegative = 0.0
    """Weight of the divergence from the start model."""
    grad_variance_every: Count = 0
    """Steps between measurements of the policy gradient's variance (each costs about one more pass); 0: never."""
    max_logprob_gap: NonNegative = 0.02
    """Largest mean gap, nats, between sampled and recomputed log-probabilities before the run stops."""
    optim: OptimConfig = OptimConfig(lr=3e-4, value_lr=1e-3, eps=1e-5, beta2=0.99)
    """Optimiser of RL."""

    @field_validator("dual_clip")
    @classmethod
    def _bound(cls, value: float) -> float:
        if 0 < value <= 1:
            raise ValueError("expected 0 or more than 1: below, nothing is learnt from bad actions")
        return value


class EvalConfig(Section):
    splits: tuple[str, ...] = ()
    """Splits that are evaluated, every game of them (default: the environment's for evaluation); []: none."""
    every: Count = 0
    """Evaluate every so many training steps; 0: only before and after."""
    select: str = ""
    """Split that chooses the model: the one with the most success there, of those after imitation, after every `every`
    steps (which are then evaluated on it alone) and at the end; the earliest of equals. Empty: the last model."""
    episodes: Count = 0
    """At most so many games of a split while training; 0: all."""
    final_episodes: Count = 0
    """At most so many games of a split in the last evaluation; 0: all."""
    temperature: NonNegative = 0.0
    """0: greedy."""

    @property
    def all_splits(self) -> tuple[str, ...]:
        """Those that are evaluated, and the one that chooses the model."""
        return (*self.splits, self.select) if self.select else self.splits


class GuardConfig(Section):
    stop: tuple[str, ...] = ()
    """Guards that stop the run, by name, or "all"; the others only warn. The run is saved first."""

    @field_validator("stop", mode="before")
    @classmethod
    def _all(cls, value: object) -> object:
        return tuple(GUARDS) if value == "all" else value

    @field_validator("stop")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in GUARDS:
                raise ValueError(f"unknown guard {name!r}; known: all, {', '.join(GUARDS)}")
        return value


class Config(Section):
    seed: int = 0
    """Everything random derives from it."""
    threads: Annotated[int, Field(ge=0, le=1024, strict=True)] = 0
    """CPU threads for torch; 0: OMP_NUM_THREADS, else as many as there are cores. More than are free: far slower."""
    budget: Positive = 4096
    """Tokens of a micro-batch."""
    checkpoint_every: Positive = 20
    """Steps between checkpoints."""
    keep: Positive = 2
    """Checkpoints kept (the last ones of each stage)."""
    trajectories_every: Count = 10
    """Steps between saved samples of episodes; 0: never."""
    trajectories: Positive = 12
    """Episodes saved each time."""
    env: EnvConfig = EnvConfig()
    """The environment."""
    model: ModelConfig = ModelConfig()
    """The language model."""
    agent: AgentConfig = AgentConfig()
    """The interface between the two."""
    sampling: SamplingConfig = SamplingConfig()
    """How episodes are played."""
    sft: ImitationConfig = ImitationConfig()
    """Imitation of the expert, before RL."""
    credit: CreditConfig = CreditConfig()
    """Who earned what."""
    train: TrainConfig = TrainConfig()
    """PPO."""
    eval: EvalConfig = EvalConfig()
    """Evaluation."""
    guards: GuardConfig = GuardConfig()
    """What watches for the ways in which runs die unnoticed."""


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file and apply `key=value` overrides (dotted keys, TOML values; bare words are strings)."""
    data = read_toml(path)
    if "arena" in data:
        raise ConfigError(f"{path} is a comparison; hiper compare takes it")
    return make_config(data, overrides)


def read_toml(path: Path) -> dict[str, Any]:
    """A configuration file as it stands."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error})") from error


def make_config(data: dict[str, Any], overrides: Sequence[str] = ()) -> Config:
    """The configuration of a plain dictionary plus overrides. Raises ConfigError with one line.

    Splits that are not given are those of the environment: the configuration that comes out names them.
    """
    data = overridden(data, overrides)
    try:
        config = Config.model_validate(laid_over(Config().model_dump(), data))
        config = Config.model_validate(laid_over(config.model_dump(), laid_over(_splits(config.env.name, data), data)))
    except ValidationError as error:
        raise ConfigError(explain(error)) from error
    _check_counts(config)
    return config


def _splits(env: str, data: dict[str, Any]) -> dict[str, Any]:
    """The settings that an environment decides; nothing where all are given: an old run need not know it any more."""
    if all(
        key in data.get(section, {}) for section, key in (("env", "train_split"), ("sft", "split"), ("eval", "splits"))
    ):
        return {}
    try:
        own = about(env)
    except EnvError as error:
        raise ConfigError(f"env.name: {error}") from error
    return {
        "env": {"train_split": own.train_split},
        "sft": {"split": own.train_split},
        "eval": {"splits": own.eval_splits},
    }


def _check_counts(config: Config) -> None:
    estimator, t = config.credit.estimator, config.train
    if estimator in COMPARE_GROUPS and t.group < 2:
        raise ConfigError(
            f"train.group = {t.group}: {estimator} compares the episodes of one game; set it to 2 or more"
        )
    if estimator in NO_CRITIC and t.critic_warmup:
        raise ConfigError(
            f"train.critic_warmup = {t.critic_warmup}: {estimator} has no critic to warm up, and such steps would train"
            " nothing; set it to 0"
        )
    if t.episodes % t.group:
        raise ConfigError(f"train.episodes = {t.episodes} is not a multiple of train.group = {t.group}")
    if config.eval.select and not config.eval.every:
        raise ConfigError(
            f'eval.select = "{config.eval.select}": set eval.every, after how many steps a model is tried'
        )
    if config.eval.select in config.eval.splits:
        raise ConfigError(
            f'eval.select = "{config.eval.select}" is one of eval.splits: what chooses the model cannot judge it, too'
        )
    if config.sft.steps and config.sft.drill >= config.sft.steps:
        raise ConfigError(f"sft.drill = {config.sft.drill} leaves nothing of sft.steps = {config.sft.steps}")
    if config.agent.longest_part and not config.agent.separator:
        raise ConfigError(
            f"agent.longest_part = {config.agent.longest_part}: set agent.separator, which tells parts apart"
        )


def laid_over(defaults: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """What is given, laid over the defaults of its own place: `train.optim` has others than `sft.optim`."""
    merged = dict(defaults)
    for key, value in data.items():
        below = defaults.get(key)
        merged[key] = laid_over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def overridden(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of a plain dictionary with overrides `section.key=value` laid over it."""
    data = deepcopy(data)
    for text in overrides:
        key, value = override(text)
        _set(data, key.split("."), value)
    return data


def override(text: str) -> tuple[str, object]:
    """Key and value of `key=value`: a TOML value, else a string."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise ConfigError(f"override {text!r}: expected key=value")
    try:
        return key, tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return key, value


def _set(data: dict[str, Any], path: list[str], value: object) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise ConfigError(f"{'.'.join(path)}: {part} is a value, not a section")
    data[path[-1]] = value


def explain(error: ValidationError, section: type[BaseModel] | None = None, prefix: str = "") -> str:
    """What is wrong with the first setting that is, in one line. section: of which keys, where not of a run's."""
    known = set(keys(section or Config))
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"{prefix}{key}: is missing"
    if first["type"] == "extra_forbidden" and section:
        return f"unknown key {prefix + key!r}"
    if first["type"] == "extra_forbidden":
        near = _with_same_end(first["loc"], first["input"]) or difflib.get_close_matches(key, list(keys()), cutoff=0.5)
        if near:
            return f"unknown key {key!r}; did you mean {near[0]!r}?"
        (nearest,) = difflib.get_close_matches(key, list(keys()), n=1, cutoff=0.0)
        return f"unknown key {key!r}; the nearest is {nearest!r} (hiper train CONFIG --dry-run prints all)"
    said = {"tuple_type": 'expected a list, such as ["a", "b"]', "model_type": "expected a section, not a value"}
    key = _setting(first["loc"], known)
    about_it = [one for one in error.errors() if _setting(one["loc"], known) == key]  # one for each kind it might be
    asked, *others = dict.fromkeys(str(said.get(one["type"], one["msg"])) for one in about_it)
    asked += "".join(f", or {one.removeprefix('Input should be ')}" for one in others)
    return f"{prefix}{key}: {asked} (got {first['input']!r})"


def _with_same_end(place: Sequence[object], value: object) -> list[str]:
    """Known keys that end as an unknown one does, or are called so in its section; those of training first."""
    parts = [str(part) for part in place]
    while isinstance(value, dict) and len(value) == 1:  # what was unknown may be a section of one key
        ((name, value),) = value.items()
        parts.append(str(name))
    whole, found = "." + ".".join(parts), list(keys())
    near = [key for key in found if f".{key}".endswith(whole)]
    near += [key for key in found if key.startswith(parts[0] + ".") and key.endswith("." + parts[-1])]
    near += [key for key in found if "." not in whole[1:] and key.endswith(whole)]
    return sorted(near, key=lambda key: not key.startswith("train."))


def _setting(place: Sequence[object], known: Collection[str]) -> str:
    """The key that an error is about, of the place where pydantic saw it: without kinds of a union and list indices."""
    parts = [str(part) for part in place]
    length = max((n for n in range(1, len(parts) + 1) if ".".join(parts[:n]) in known), default=len(parts))
    own = parts[length : length + 1] if parts[:length] == ["env", "options"] else []  # the environment's own setting
    return ".".join([*parts[:length], *own])


def keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """All dotted keys."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        yield prefix + name
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys(kind, f"{prefix}{name}.")


def to_toml(config: Config) -> str:
    """The whole tree as TOML; `load_config` reads the equal tree back."""
    return tomli_w.dumps(config.model_dump())


def plain(config: Config) -> dict[str, Any]:
    """The whole tree as JSON can hold it; `make_config` makes the equal tree of it."""
    return config.model_dump(mode="json")


def described(config: Config) -> str:
    """The whole tree as TOML with each setting's description behind it."""
    lines: list[str] = []
    _describe(config, "", lines)
    return "\n".join(lines) + "\n"


def _describe(section: BaseModel, prefix: str, lines: list[str]) -> None:
    nested: list[tuple[str, BaseModel]] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            nested.append((prefix + name, value))
            continue
        text = tomli_w.dumps({name: value}).strip() if not isinstance(value, dict) else f"{name} = {_inline(value)}"
        choices = get_args(field.annotation) if getattr(field.annotation, "__origin__", None) is Literal else ()
        more = f" ({' | '.join(map(str, choices))})" if choices else ""
        lines.append(f"{' '.join(text.split()):40s} # {' '.join((field.description or '').split())}{more}")
    for name, value in nested:
        lines += ["", f"[{name}]"]
        _describe(value, name + ".", lines)


def _inline(table: dict[str, Any]) -> str:
    inner = ", ".join(tomli_w.dumps({k: v}).strip() for k, v in table.items())
    return "{" + inner + "}"
