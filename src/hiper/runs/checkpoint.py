"""Checkpoints: safetensors and JSON only, written whole or not at all, every file hashed."""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save_file

from hiper.learn import Optimizer
from hiper.models import ModelError, Policy
from hiper.records import ARENA_FILE, CHECKPOINT_FOLDER, CONFIG_FILE

OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
HASHES_FILE = "sha256.json"
SETTINGS_FILE = "run_config.json"
Settings = dict[str, Any]
PREFIX = {"sft": "sft-", "train": "step-"}
BEST = "best"
REMEDY = "remove or move this checkpoint to go on from the one before it"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage has come: steps done, and what they took in all.

    `wall_s` counts what lies between steps, too: evaluations, saving. `bad_in_a_row`: so many steps, the last ones,
    were skipped because they were not finite.
    """

    stage: str
    step: int
    episodes: int = 0
    turns: int = 0
    tokens: int = 0
    wall_s: float = 0.0
    bad_in_a_row: int = 0


def save_checkpoint(
    parent: Path, policy: Policy, optimizer: Optimizer | None, progress: Progress, config: Settings
) -> Path:
    """Write `parent/step-N` (imitation: `sft-N`). It appears under its name only when it is complete and on the disk.

    `config`: the run's configuration, so that the folder tells by itself how its model is asked.
    """
    target = parent / f"{PREFIX[progress.stage]}{progress.step:06d}"
    if target.exists():  # this step of this run is saved already
        return target
    return _write_whole(target, policy, optimizer, progress, config)


def save_best(parent: Path, policy: Policy, progress: Progress, config: Settings) -> Path:
    """Write `parent/best` in place of the one before: a model to be used, which no training goes on from."""
    return _write_whole(parent / BEST, policy, None, progress, config)


def load_best(parent: Path) -> Progress | None:
    """How far training was when `parent/best` was written; None if it was not."""
    return load_progress(parent / BEST) if (parent / BEST).is_dir() else None


def trained_with(folder: Path) -> Settings | None:
    """The configuration of the run that a checkpoint belongs to; None of a folder that tells of none."""
    file = folder / SETTINGS_FILE
    if not file.exists():
        return None
    try:
        return cast(Settings, json.loads(file.read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{folder}: {SETTINGS_FILE} is damaged; {REMEDY}") from error


def _write_whole(
    target: Path, policy: Policy, optimizer: Optimizer | None, progress: Progress, config: Settings
) -> Path:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write(partial, policy, optimizer, progress, config)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    except Exception as error:  # each of the libraries that write raises a kind of its own
        shutil.rmtree(partial, ignore_errors=True)
        said = " ".join(str(error).split())
        raise CheckpointError(
            f"{target} could not be written ({said}); once that is mended, the same command goes on from the one before"
        ) from error
    _sync(target.parent)
    return target


def _write(folder: Path, policy: Policy, optimizer: Optimizer | None, progress: Progress, config: Settings) -> None:
    """All files of a checkpoint, the hashes last, and all of them on the disk."""
    policy.save(folder)
    if optimizer is not None:
        save_file(optimizer.state(), folder / OPTIMIZER_FILE)
    (folder / SETTINGS_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / STATE_FILE).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")
    (folder / HASHES_FILE).write_text(json.dumps(_hashes(folder), indent=1), encoding="utf-8")
    for file in (*folder.iterdir(), folder):
        _sync(file)


def verify(folder: Path) -> None:
    """Raise CheckpointError unless every file is there and has the hash it was written with."""
    try:
        wanted = json.loads((folder / HASHES_FILE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder}: {HASHES_FILE} is missing or damaged; {REMEDY}") from error
    for name, digest in wanted.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{folder}: {name} is missing; {REMEDY}")
        if _sha256(file) != digest:
            raise CheckpointError(f"{folder}: {name} is corrupt (its hash differs); {REMEDY}")


def model_sha256(folder: Path) -> str:
    """Of a checkpoint's model, optimiser and tokenizer: alike where training goes on alike, whenever it was made."""
    hashes = json.loads((folder / HASHES_FILE).read_text(encoding="utf-8"))
    told = {
        name: digest for name, digest in hashes.items() if name.endswith(".safetensors") or name == "tokenizer.json"
    }
    what = [f"{name} {digest}" for name, digest in sorted(told.items())]
    return hashlib.sha256("\n".join(what).encode()).hexdigest()


def load_policy(folder: Path | str, *, device: str = "cpu", dtype: str = "float32") -> Policy:
    """The policy of a checkpoint, verified; or any transformers folder or hub name, which has no hashes to verify."""
    if isinstance(folder, Path) and ((folder / STATE_FILE).exists() or (folder / HASHES_FILE).exists()):
        verify(folder)
    return Policy.load(folder, device=device, dtype=dtype)


def load_progress(folder: Path) -> Progress:
    try:
        return Progress(**json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, TypeError) as error:
        raise CheckpointError(f"{folder}: {STATE_FILE} is missing or damaged; {REMEDY}") from error


def load_optimizer(folder: Path, optimizer: Optimizer) -> None:
    file = folder / OPTIMIZER_FILE
    if not file.is_file():
        raise CheckpointError(f"{folder}: {OPTIMIZER_FILE} is missing; the run cannot go on from here")
    optimizer.load_state(load_file(file))


def checkpoints(parent: Path, stage: str) -> list[Path]:
    """Whole checkpoints of a stage, oldest first."""
    found = parent.glob(PREFIX[stage] + "[0-9]*")
    return sorted(path for path in found if path.is_dir() and not path.name.endswith(".partial"))


def prune(parent: Path, stage: str, keep: int) -> None:
    """Remove all but the last `keep` checkpoints of a stage, and what a killed run left half written."""
    for old in [*checkpoints(parent, stage)[:-keep], *parent.glob(PREFIX[stage] + "*.partial")]:
        shutil.rmtree(old)


def resolve_model(name: str) -> Path | None:
    """The folder of a model: that folder, or of a run its best or last checkpoint. None: the name is one of the hub."""
    path = Path(name)
    is_local = path.exists() or name.startswith((".", "/", "~")) or name.count("/") != 1 or path.parent.is_dir()
    if not is_local:
        return None
    if not path.is_dir():
        raise ModelError(f"{name}: no such model or run folder (a hub name is ORGANISATION/NAME)")
    parent = path / CHECKPOINT_FOLDER
    if (parent / BEST).is_dir():
        return parent / BEST
    for stage in ("train", "sft"):
        found = checkpoints(parent, stage)
        if found:
            return found[-1]
    if (path / CONFIG_FILE).is_file():
        raise ModelError(f"{name}: a run without a checkpoint: none was saved yet, or they are gone")
    if (path / ARENA_FILE).is_file():
        raise ModelError(f"{name}: a comparison; its runs lie in {path / 'runs'}/TASK/ARM/seed-N")
    if not (path / "config.json").is_file():
        raise ModelError(f"{name}: neither a run nor a model lies there (no config.json)")
    return path


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: _sha256(file) for file in sorted(folder.iterdir()) if file.is_file()}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
