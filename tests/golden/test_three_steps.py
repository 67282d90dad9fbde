"""A short run, number by number: what should not change a result does not.

The numbers lie in `three_steps.json`. Where a change is meant to change them, write them anew and say why in the
commit: HIPER_REGENERATE_GOLDEN=1 pytest tests/golden

The run starts from the small model in `start`, which replies now well, now badly (it is written anew where it is
missing). To train one here would be another matter: thousands of roundings, which differ between processors.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from hiper.models import Policy
from hiper.runs.config import make_config
from hiper.runs.run import start
from tests.runs.tiny import Quiet, Row, metrics, tiny_model

GOLDEN = Path(__file__).parent / "three_steps.json"
START = Path(__file__).parent / "start"
ROUNDING = ("learn/logprob_gap_mean", "learn/logprob_gap_max")  # these measure nothing else
SETTINGS: dict[str, Any] = {
    "seed": 1,
    "threads": 1,
    "env": {"max_turns": 8, "options": {"size": "small"}},
    "model": {"path": str(START)},
    "agent": {"header": "none"},
    "sampling": {"capacity": 8, "max_reply": 24, "temperature": 0.8},
    # No Muon: it works in bfloat16, which makes visible changes of invisible ones.
    "sft": {"steps": 2, "episodes": 8, "mistake_rate": 0.1, "renumber": True, "observation_weight": 0.1},
    "credit": {"invalid_penalty": 0.1, "lam_high": 0.95, "lam_boundary": 0.5},
    "train": {"steps": 3, "episodes": 8, "minibatches": 2, "critic_warmup": 1, "entropy_coef": 0.01, "kl_coef": 0.1},
    "eval": {"splits": []},
}
SETTINGS["sft"]["optim"] = {"lr": 1e-3, "warmup": 1, "eps": 1e-5}


def test_three_steps(tmp_path: Path) -> None:
    regenerate = bool(os.environ.get("HIPER_REGENERATE_GOLDEN"))
    if regenerate and not START.exists():
        Policy.load(tiny_model()).to(torch.bfloat16).save(START)  # half the size
        (START / "value_heads.safetensors").unlink()
    start(make_config(SETTINGS), tmp_path, Quiet())
    rows = metrics(tmp_path)
    if regenerate:
        kept = [{key: value for key, value in row.items() if key not in ROUNDING} for row in rows]
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(rows) == len(golden) == 5
    for row, wanted in zip(rows, golden, strict=True):
        assert all(row.pop(key, 0.0) < 1e-4 for key in ROUNDING)
        assert list(row) == list(wanted)
        assert row == {key: _about(value) for key, value in wanted.items()}, f"{wanted['stage']} {wanted['step']}"


def test_the_golden_run_has_something_of_everything() -> None:
    rows: list[Row] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    last = rows[-1]
    for key in (
        "rollout/switches",
        "rollout/valid_rate",
        "credit/switch_std",
        "credit/subgoal_std",
        "credit/action_std",
    ):
        assert abs(last[key]) > 1e-3, key
    assert last["learn/kl_reference"] > 0
    assert last["rollout/segment_turns"] < last["rollout/turns"]


def _about(value: object) -> Any:
    """Another processor rounds in another way."""
    return pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
