"""The optimiser: what it moves, how fast, and that it goes on after a restart as if nothing had happened."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hiper.learn import Learner, Optimizer, OptimSettings, schedule
from hiper.models import Policy
from tests.learn.cases import PLAIN, examples, played
from tests.models.small import tiny


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_a_restored_optimiser_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    policy = tiny()
    batch = examples(policy, played())
    settings = OptimSettings(kind=kind, lr=3e-3, value_lr=1e-3, weight_decay=0.05)
    optimizer = Optimizer(policy, settings)
    learner = Learner(policy, optimizer, PLAIN)
    for step in range(2):
        optimizer.set_scale(schedule(step, 4, warmup=1, floor=0.1))
        learner.step(batch)
    policy.save(tmp_path / "model")
    save_file(optimizer.state(), tmp_path / "optimizer.safetensors")

    again = Policy.load(tmp_path / "model")
    restored = Optimizer(again, settings)
    restored.load_state(load_file(tmp_path / "optimizer.safetensors"))
    learners = [learner, Learner(again, restored, PLAIN)]
    for step in range(2, 4):
        for one in learners:
            one.optimizer.set_scale(schedule(step, 4, warmup=1, floor=0.1))
            one.step(batch)
    there, back = policy.state_dict(), again.state_dict()
    assert all(torch.equal(there[name], back[name]) for name in there)
    states = optimizer.state(), restored.state()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_state_is_a_copy() -> None:
    policy = tiny()
    optimizer = Optimizer(policy, OptimSettings())
    learner = Learner(policy, optimizer, PLAIN)
    batch = examples(policy, played(2))
    learner.step(batch)
    state = optimizer.state()
    copies = {name: value.clone() for name, value in state.items()}
    learner.step(batch)
    assert all(torch.equal(state[name], value) for name, value in copies.items())


def test_a_state_before_the_first_step_is_empty() -> None:
    optimizer = Optimizer(tiny(), OptimSettings(kind="muon"))
    assert optimizer.state() == {}
    optimizer.load_state({})


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "gpt_neox"])
def test_muon_takes_the_matrices_and_leaves_the_tables(kind: str) -> None:
    """Embeddings are tables of vectors, not maps: neither they nor the output layer are Muon's."""
    policy = tiny(kind, tie_word_embeddings=False)
    muon, adamw = Optimizer(policy, OptimSettings(kind="muon")).parts
    names = {id(p): name for name, p in policy.named_parameters()}
    taken = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    left = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert taken | left == set(names.values())
    assert not taken & left
    assert all(".layers." in name or ".h." in name for name in taken)
    assert all(p.ndim != 2 for name, p in policy.lm.named_parameters() if ".layers." in name and f"lm.{name}" in left)
    assert len(taken) >= 8


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_rates_of_model_and_heads_are_their_own(kind: str) -> None:
    policy = tiny()
    batch = examples(policy, played(2))
    for lr, value_lr, moves in ((0.0, 1e-3, "heads."), (1e-3, 0.0, "lm.")):
        before = {name: value.clone() for name, value in policy.state_dict().items()}
        Learner(policy, Optimizer(policy, OptimSettings(kind=kind, lr=lr, value_lr=value_lr)), PLAIN).step(batch)
        changed = {name for name, value in policy.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == {name for name in before if name.startswith(moves)}


def test_scales_do_not_pile_up() -> None:
    optimizer = Optimizer(tiny(), OptimSettings(kind="muon", lr=0.4, value_lr=0.2))
    for scale in (0.5, 0.1, 1.0, 0.25):
        optimizer.set_scale(scale)
        rates = [group["lr"] for part in optimizer.parts for group in part.param_groups]
        assert rates == pytest.approx([0.4 * scale, 0.4 * scale, 0.2 * scale])


def test_clip_scales_the_whole_gradient_and_tells_its_norm() -> None:
    policy = tiny()
    optimizer = Optimizer(policy, OptimSettings())
    count = sum(p.numel() for p in optimizer.parameters)
    for size, after in ((2.0, 1.0), (0.5, 0.5)):
        for p in optimizer.parameters:
            p.grad = torch.full_like(p, size / count**0.5)
        assert optimizer.clip(1.0) == pytest.approx(size, rel=1e-4)
        norm = sum(float(p.grad.square().sum()) for p in optimizer.parameters if p.grad is not None) ** 0.5
        assert norm == pytest.approx(after, rel=1e-4)
    assert count == sum(p.numel() for p in policy.parameters())  # nothing is left out


def test_an_unknown_kind() -> None:
    with pytest.raises(ValueError, match="unknown optimiser 'sgd'; known: adamw, muon"):
        Optimizer(tiny(), OptimSettings(kind="sgd"))


def test_schedule_by_hand() -> None:
    """Warm-up over 4 of 12 steps: a quarter more each; then 8 steps of cosine from 1 towards .2."""
    factors = [schedule(step, 12, warmup=4, floor=0.2) for step in range(12)]
    assert factors[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert factors[8] == pytest.approx(0.6)  # half way: .2 + .8 · (1 + cos(π/2)) / 2
    assert factors[10] == pytest.approx(0.2 + 0.8 * (1 - 0.5**0.5) / 2)  # 3/4 of the way: cos(3π/4) = -√½
    assert all(a >= b for a, b in pairwise(factors[4:]))
    assert schedule(12, 12, warmup=4, floor=0.2) == schedule(99, 12, warmup=4, floor=0.2) == pytest.approx(0.2)


def test_schedule_at_its_edges() -> None:
    assert schedule(0, 10, warmup=0, floor=0.0) == 1.0
    assert schedule(0, 1, warmup=0, floor=0.1) == 1.0
    assert schedule(2, 3, warmup=5, floor=0.1) == pytest.approx(0.6)  # warm-up longer than all of it
    assert schedule(5, 5, warmup=5, floor=0.1) == 1.0
