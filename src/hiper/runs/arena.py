"""The plan of a comparison: arms x tasks x seeds under one budget, read from one file, checked before it starts.

[base]                 # an ordinary run configuration
[arena]                # seeds, budget, baseline
[[arena.task]]         # name, budget where it has one of its own, and settings laid over the base
[[arena.arm]]          # name, and settings laid over base and task
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from hiper.runs.config import (
    Config,
    ConfigError,
    Positive,
    Section,
    Share,
    explain,
    laid_over,
    make_config,
    overridden,
    read_toml,
)
from hiper.runs.folder import LATER_SECTIONS

Settings = dict[str, Any]


class StartConfig(Section):
    """An imitation that every task begins from, one for each kind of agent and each seed."""

    seed: int | None = None
    """Of the imitation, which then is one for all seeds; unset: each seed has its own."""
    env: Annotated[Settings, Field(default_factory=dict)]
    """Settings laid over the base's environment, e.g. games of mixed length."""


class ArenaConfig(Section):
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0, 1, 2, 3, 4)
    """One run of every arm and task for each."""
    turns: Positive
    """Budget of each run: turns of the environment in training. A task may have `turns` of its own."""
    baseline: str
    """Name of the arm that the others are compared with."""
    measure: Literal["success", "score"] = "success"
    """What is compared: episodes won, or the mean of what the environment scores an episode with, from 0 to 1."""
    keep_weights: bool = True
    """False: a run that is done leaves its numbers only, a few dozen KB."""
    threshold: Share | Literal["baseline"] = "baseline"
    """Success whose price in turns is compared; "baseline": that at which it has made the share `gained` of its way."""
    gained: Share = 0.75
    """Of the way of the baseline, from the start to the end of the budget; 1: its end, where curves are so flat that
    the turns to it are chance."""
    start: StartConfig | None = None
    """One imitation for all tasks of a seed; unset: each task and seed has its own."""
    task: Annotated[tuple[Settings, ...], Field(min_length=1)] = ({"name": "task"},)
    """Names, budgets, and settings laid over the base."""
    arm: Annotated[tuple[Settings, ...], Field(min_length=1)]
    """Names, and settings laid over base and task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run to carry out: an imitation, or (`start` names the imitation it begins from, if any) an arm's training."""

    name: str
    config: Config
    out: Path
    start: Path | None = None
    only_imitation: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An arm's run of a task with a seed."""

    task: str
    arm: str
    seed: int
    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is played: the budget of a run of it, and its chain where the environment has such an option."""

    name: str
    turns: int
    chain: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that a comparison does: the imitations, each made once, and the runs that start from them."""

    arena: ArenaConfig
    tasks: tuple[Task, ...]
    starts: tuple[Job, ...]
    entries: tuple[Entry, ...]


def load_plan(path: Path, overrides: Sequence[str], out: Path) -> Plan:
    """Read a comparison's file. Overrides are settings of the base, or of the arena: `arena.turns=2000`.

    The base's own seed and budget are replaced by those of the comparison; asked for anywhere else they are refused.
    """
    data = read_toml(path)
    if "arena" not in data and "base" not in data:
        raise ConfigError(f"{path} is no comparison (it has no [arena]); hiper train takes the configuration of a run")
    for key, section in data.items():
        _check_known(key, ("base", "arena"), "")
        if not isinstance(section, dict):
            raise ConfigError(f"{key}: expected a section, not a value (got {section!r})")
    data = {"arena": {}} | overridden(data, [one for one in overrides if one.startswith("arena.")])
    arena = _arena(data["arena"])
    settings = [one for one in overrides if not one.startswith("arena.")]
    _check_own(overridden({}, settings))
    base = overridden(data.get("base", {}), settings)
    make_config(base)  # what is wrong with it is said without the name of a task
    return make_plan(arena, base, out)


def make_plan(arena: ArenaConfig, base: Settings, out: Path) -> Plan:
    """Every configuration is made, and so checked, here."""
    starts: dict[Path, Job] = {}
    entries = []
    for seed in arena.seeds:
        for task in arena.task:
            for arm in arena.arm:
                config = _config(arena, base, task, arm, seed)
                start = _start(arena, base, config, task["name"], seed, out)
                if config.sft.steps:
                    starts.setdefault(start.out, start)
                job = Job(
                    name=f"{task['name']} · {arm['name']} · seed {seed}",
                    config=config,
                    out=out / "runs" / slug(task["name"]) / slug(arm["name"]) / f"seed-{seed}",
                    start=start.out if config.sft.steps else None,
                )
                entries.append(Entry(task=task["name"], arm=arm["name"], seed=seed, job=job))
    return Plan(
        arena=arena,
        tasks=tuple(_task(task["name"], _config(arena, base, task, arena.arm[0], 0)) for task in arena.task),
        starts=tuple(starts.values()),
        entries=tuple(entries),
    )


def choose(plan: Plan, *, tasks: Sequence[str] = (), arms: Sequence[str] = ()) -> tuple[Entry, ...]:
    """The runs of these tasks and arms; of all where none is named. Raises ConfigError for one that is not there."""
    for kind, wanted, known in (
        ("task", tasks, [task.name for task in plan.tasks]),
        ("arm", arms, [str(arm["name"]) for arm in plan.arena.arm]),
    ):
        for name in wanted:
            _check_known(name, known, "", what=f"unknown {kind}")
    return tuple(
        entry for entry in plan.entries if (not tasks or entry.task in tasks) and (not arms or entry.arm in arms)
    )


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-") or "x"


def _task(name: str, config: Config) -> Task:
    chain = config.env.options.get("chain")
    return Task(name=name, turns=config.train.turns, chain=chain if isinstance(chain, int) else None)


def _config(arena: ArenaConfig, base: Settings, task: Settings, arm: Settings, seed: int) -> Config:
    merged: Settings = {"threads": 1}
    decided: Settings = {"seed": seed, "train": {"turns": task.get("turns", arena.turns)}}
    for part in (base, _settings(task), _settings(arm), decided):
        merged = laid_over(merged, part)
    try:
        return make_config(merged)
    except ConfigError as error:
        raise ConfigError(f"task {task['name']!r}, arm {arm['name']!r}: {error}") from error


def _start(arena: ArenaConfig, base: Settings, config: Config, task: str, seed: int, out: Path) -> Job:
    """The imitation that a run begins from. Two runs share it if they differ in nothing but what comes after it."""
    if arena.start is not None:
        task, seed = "all", seed if arena.start.seed is None else arena.start.seed
        own = {"seed": seed, "env": laid_over(base.get("env", {}), arena.start.env)}
        config = make_config(config.model_dump() | own)
    shared = {key: value for key, value in config.model_dump().items() if key not in LATER_SECTIONS}
    digest = hashlib.sha256(json.dumps(shared, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{task} · imitation, {config.agent.interface} · seed {seed}"
    folder = out / "starts" / f"{slug(task)}-{config.agent.interface}-seed-{seed}-{digest}"
    return Job(name=name, config=config, out=folder, only_imitation=True)


def _arena(data: Settings) -> ArenaConfig:
    for key in data:
        _check_known(key, tuple(ArenaConfig.model_fields), "arena.")
    try:
        arena = ArenaConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, ArenaConfig, "arena.")) from error
    for kind, tables in (("arm", arena.arm), ("task", arena.task)):
        _check_names(kind, tables)
        for table in tables:
            _check_own(table, f"{kind} {table['name']!r}: ")
    for task in arena.task:
        turns = task.get("turns", 1)
        if type(turns) is not int or turns < 1:
            raise ConfigError(f"task {task['name']!r}: turns: expected a whole number, 1 or more (got {turns!r})")
    for arm in arena.arm:
        if "turns" in arm:
            raise ConfigError(f"arm {arm['name']!r}: a budget goes for all arms; set arena.turns, or a task's turns")
    _check_known(arena.baseline, [arm["name"] for arm in arena.arm], "", what="arena.baseline names an unknown arm")
    if len(set(arena.seeds)) < len(arena.seeds):
        raise ConfigError(f"arena.seeds: {list(arena.seeds)} names a seed twice")
    return arena


def _check_names(kind: str, tables: Sequence[Settings]) -> None:
    seen: dict[str, str] = {}
    for number, table in enumerate(tables, start=1):
        name = table.get("name")
        if not isinstance(name, str) or not name.strip(" ."):
            raise ConfigError(f"arena.{kind} number {number} has no name (a text, not only of dots)")
        other = seen.setdefault(slug(name), name)
        if len(seen) < number:
            raise ConfigError(f"arena.{kind}: {other!r} and {name!r} would be one folder; choose another name")


def _check_known(key: str, known: Sequence[str], prefix: str, what: str = "unknown key") -> None:
    if key not in known:
        near = get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {prefix + near[0]!r}?" if near else f"known: {', '.join(map(repr, known))}"
        raise ConfigError(f"{what} {prefix + key!r}; {hint}")


def _check_own(settings: Settings, where: str = "") -> None:
    """Refuse what the comparison itself decides for every run."""
    if "seed" in settings:
        raise ConfigError(f"{where}seed: each run of a comparison has its own; set arena.seeds")
    train = settings.get("train", {})
    for key in ("turns", "steps"):
        if isinstance(train, dict) and key in train:
            raise ConfigError(f"{where}train.{key}: the budget goes for all arms; set arena.turns, or a task's turns")


def _settings(table: Settings) -> Settings:
    return {key: value for key, value in table.items() if key not in ("name", "turns")}


def jobs_of(plan: Plan, entries: Sequence[Entry]) -> Iterator[Job]:
    """What these runs take, in the order in which it is begun: all of a seed comes before the next seed."""
    yielded: set[Path] = set()
    starts = {job.out: job for job in plan.starts}
    for entry in entries:
        if entry.job.start is not None and entry.job.start not in yielded:
            yielded.add(entry.job.start)
            yield starts[entry.job.start]
        yield entry.job
