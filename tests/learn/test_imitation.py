"""Imitation: cross-entropy of demonstrated tokens, by their weights."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from hiper.learn import Demonstration, Optimizer, OptimSettings, imitation_step
from hiper.models import Policy
from tests.learn.cases import Still, gradients, plain_attention
from tests.models.small import random_documents, tiny

LENGTHS = [9, 4, 14, 6]


def demonstrations(seed: int = 0, lengths: list[int] = LENGTHS) -> list[Demonstration]:
    """Weights as a run has them: observations .3, replies 1, mistakes 0."""
    noise = torch.Generator().manual_seed(seed)
    choice = torch.tensor([0.0, 0.3, 1.0])
    return [
        Demonstration(ids=ids, weight=tuple(choice[torch.randint(3, (len(ids),), generator=noise)].tolist()))
        for ids in random_documents(lengths, seed)
    ]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny()


def step(policy: Policy, batch: list[Demonstration], budget: int = 10**6) -> float:
    logs = imitation_step(policy, Still(policy), batch, budget=budget, max_grad_norm=1.0)  # type: ignore[arg-type]
    return logs["loss"]


def by_hand(policy: Policy, batch: list[Demonstration]) -> float:
    """The weighted mean over all tokens but the first of each document, which nothing predicts."""
    terms, weights = [], []
    with torch.no_grad(), plain_attention(policy):
        for one in batch:
            scores = policy.lm(input_ids=torch.tensor([one.ids])).logits[0, :, : len(policy.tokenizer)]
            for place in range(1, len(one.ids)):
                terms.append(float(cross_entropy(scores[place - 1], torch.tensor(one.ids[place]))) * one.weight[place])
                weights.append(one.weight[place])
    return sum(terms) / sum(weights)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), budget=st.sampled_from([1, 10, 20, 10**6]))
def test_loss_is_the_weighted_mean(policy: Policy, seed: int, budget: int) -> None:
    batch = demonstrations(seed)
    assert step(policy, batch, budget) == pytest.approx(by_hand(policy, batch), rel=1e-5)


@pytest.mark.parametrize("budget", [1, 15, 25])
def test_gradient_does_not_depend_on_the_split_or_order(policy: Policy, budget: int) -> None:
    batch = demonstrations()
    step(policy, batch)
    wanted = gradients(policy)
    step(policy, batch[::-1], budget)
    for name, gradient in gradients(policy).items():
        assert (gradient - wanted[name]).abs().max() <= 1e-5 * max(1.0, float(wanted[name].abs().max())), name


def test_tokens_of_no_weight_are_read_but_not_learnt(policy: Policy) -> None:
    """A mistake at the end of a document changes nothing, whatever it says."""
    (one,) = demonstrations(lengths=[8])
    one = replace(one, weight=(0.0, 1.0, 1.0, 0.3, 1.0, 0.0, 0.0, 0.0))
    step(policy, [one])
    wanted = gradients(policy)
    other = replace(one, ids=(*one.ids[:5], 17, 18, 19))
    assert step(policy, [other]) == pytest.approx(step(policy, [one]), rel=1e-5)
    for name, gradient in gradients(policy).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-5, atol=1e-7)


def test_the_first_token_is_never_predicted(policy: Policy) -> None:
    batch = demonstrations()
    heavier = [replace(one, weight=(100.0, *one.weight[1:])) for one in batch]
    assert step(policy, heavier) == step(policy, batch)


def test_value_heads_learn_nothing_from_demonstrations(policy: Policy) -> None:
    step(policy, demonstrations())
    assert not any(gradient.any() for name, gradient in gradients(policy).items() if name.startswith("heads."))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_steps_teach(kind: str) -> None:
    policy, batch = tiny(), demonstrations(1)
    optimizer = Optimizer(policy, OptimSettings(kind=kind, lr=3e-3))
    losses = [imitation_step(policy, optimizer, batch, budget=20, max_grad_norm=1.0)["loss"] for _ in range(25)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("spoilt", ["weights of nothing", "weights without end"])
def test_a_step_that_is_not_finite_is_not_taken(spoilt: str) -> None:
    policy = tiny()
    optimizer = Optimizer(policy, OptimSettings())
    weight = 0.0 if spoilt == "weights of nothing" else float("inf")
    batch = [replace(one, weight=(weight,) * len(one.ids)) for one in demonstrations()]
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    assert imitation_step(policy, optimizer, batch, budget=20, max_grad_norm=1.0)["skipped"] == 1.0
    assert all(torch.equal(before[name], value) for name, value in policy.state_dict().items())
    assert imitation_step(policy, optimizer, demonstrations(), budget=20, max_grad_norm=1.0)["skipped"] == 0.0


def test_ids_and_weights_go_together() -> None:
    with pytest.raises(ValueError, match="3 ids but 2 weights"):
        Demonstration(ids=(1, 2, 3), weight=(0.0, 1.0))
