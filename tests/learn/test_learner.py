"""The optimiser step: its gradient is that of the loss, however the batch is cut up; steps that are not taken."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hiper.batch import OF_TOKEN, Document, documents
from hiper.learn import DivergedError, Learner, Optimizer, OptimSettings, PPOExample, PPOSettings, score
from hiper.learn.learner import _turns
from hiper.models import Policy
from hiper.models.attention import Documents
from tests.batch.hand import four_turns
from tests.learn.cases import ALL_PARTS, PLAIN, Still, close, double, examples, gradients, learned, played, slow, total
from tests.models.small import tiny


@pytest.fixture(scope="module")
def policy() -> Policy:
    return tiny()


@pytest.mark.parametrize("s", [PLAIN, ALL_PARTS], ids=["plain", "all parts"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_loss_and_gradient_are_those_of_the_slow_loop(s: PPOSettings, temperature: float) -> None:
    policy = double()
    batch = examples(policy, played(), temperature=temperature)
    ours = learned(policy, batch, s, temperature=temperature, budget=40)
    assert close(ours, slow(policy, batch, s, temperature=temperature), 1e-9)


def test_gradient_is_that_of_finite_differences() -> None:
    """Along random directions through all parameters, and of each of the larger parts by itself."""
    policy = double()
    batch = examples(policy, played(3), spread=0.3)
    _, gradient = learned(policy, batch, ALL_PARTS)
    parameters = dict(policy.named_parameters())
    parts = [list(parameters), *([name] for name, p in parameters.items() if p.numel() >= 100)]
    noise = torch.Generator().manual_seed(5)
    for names in parts:
        way = {name: torch.randn(parameters[name].shape, generator=noise, dtype=torch.float64) for name in names}
        slope = sum(float((gradient[name] * way[name]).sum()) for name in names)
        step = 1e-5
        there, back = (along(policy, batch, way, step=sign * step) for sign in (1, -1))
        assert (there - back) / (2 * step) == pytest.approx(slope, rel=1e-4, abs=1e-7), names


def along(policy: Policy, batch: list[PPOExample], way: dict[str, Tensor], *, step: float) -> float:
    """The loss a little further on."""
    move(policy, way, step)
    loss, _ = learned(policy, batch, ALL_PARTS)
    move(policy, way, -step)
    return loss


@torch.no_grad()
def move(policy: Policy, way: dict[str, Tensor], step: float) -> None:
    for name, parameter in policy.named_parameters():
        if name in way:
            parameter.add_(way[name], alpha=step)


@settings(max_examples=12)
@given(
    budget=st.sampled_from([1, 15, 30, 60, 10**6]),
    seed=st.integers(0, 1000),
    layout=st.sampled_from(["transcript", "window", "mixed"]),
)
def test_split_order_and_layout_of_rows_do_not_matter(policy: Policy, budget: int, seed: int, layout: str) -> None:
    batch = examples(policy, played(layout=layout, seed=seed))
    wanted = learned(policy, batch, ALL_PARTS)
    shuffled = [batch[n] for n in np.random.default_rng(seed).permutation(len(batch))]
    assert close(learned(policy, shuffled, ALL_PARTS, budget=budget), wanted, 1e-5)


def test_padded_attention_does_not_matter(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = examples(policy, played())
    wanted = learned(policy, batch, ALL_PARTS)

    def padded(self: Documents, q: Tensor, k: Tensor, v: Tensor, scale: float, layer: int) -> Tensor:
        return self._padded(q, k, v, scale)

    monkeypatch.setattr(Documents, "attend", padded)
    assert close(learned(policy, batch, ALL_PARTS, budget=50), wanted, 1e-5)


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_an_episode_adds_its_own_gradient_whatever_else_is_packed(policy: Policy, layout: str) -> None:
    """Of a mean over all tokens: the whole is the mean of the parts, weighed by their tokens."""
    s = replace(PLAIN, value_coef=0.0)
    batch = examples(policy, played(4, layout=layout))
    _, together = learned(policy, batch, s)
    counts, parts = [], []
    for episode in range(4):
        alone = [one for one in batch if one.example.document.episode == episode]
        counts.append(sum(int((one.example.document.kind_L != 0).sum()) for one in alone))
        parts.append(learned(policy, alone, s)[1])
    for name, gradient in together.items():
        mean = sum(count * part[name] for count, part in zip(counts, parts, strict=True)) / sum(counts)
        assert (gradient - mean).abs().max() <= 1e-5 * max(1.0, float(gradient.abs().max())), name


def test_at_ratio_1_the_loss_is_minus_the_mean_advantage(policy: Policy) -> None:
    batch = examples(policy, played(), spread=0.0)
    logs = Learner(policy, Still(policy), PLAIN).step(batch)  # type: ignore[arg-type]
    trained = [one.example.advantage_L[one.example.document.kind_L != 0] for one in batch]
    assert logs["policy_loss"] == pytest.approx(-np.concatenate(trained).mean(), abs=1e-6)
    assert logs["kl"] == pytest.approx(0.0, abs=1e-9)
    assert logs["clip_fraction"] == 0.0


def test_what_is_logged(policy: Policy) -> None:
    """KL(old || new), the share of ratios out of range, the entropy: means over all trained tokens."""
    batch = examples(policy, played())
    logs = Learner(policy, Still(policy), ALL_PARTS, budget=30).step(batch)  # type: ignore[arg-type]
    rows = [one.example.document for one in batch]
    now = score(policy, rows, temperature=1.0, budget=10**6)
    moved = np.concatenate([(n.logprob_L - r.logprob_L)[r.kind_L != 0] for r, n in zip(rows, now, strict=True)])
    assert logs["kl"] == pytest.approx((np.exp(moved) - 1 - moved).mean(), rel=1e-4)
    assert logs["clip_fraction"] == pytest.approx((np.abs(np.exp(moved) - 1) > 0.2).mean(), rel=1e-6)
    assert 0.2 < logs["clip_fraction"] < 0.9
    assert 0 < logs["entropy"] < np.log(len(policy.tokenizer))
    assert logs["grad_norm"] > 0


def test_the_trunk_feels_values_as_much_as_is_set(policy: Policy) -> None:
    """The trunk's gradient is linear in `value_trunk_grad`; the heads' does not depend on it."""
    batch = examples(policy, played())
    full, half, none = (learned(policy, batch, PLAIN, value_trunk_grad=share)[1] for share in (1.0, 0.5, 0.0))
    _, no_values = learned(policy, batch, replace(PLAIN, value_coef=0.0))
    for name, gradient in full.items():
        if name.startswith("heads."):
            torch.testing.assert_close(half[name], gradient)
            torch.testing.assert_close(none[name], gradient)
        else:
            torch.testing.assert_close(half[name], (gradient + none[name]) / 2, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(none[name], no_values[name], rtol=1e-4, atol=1e-6)


def learner(policy: Policy, *, kind: str = "adamw", **more: float) -> Learner:
    return Learner(policy, Optimizer(policy, OptimSettings(kind=kind, **more)), PLAIN)


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in policy.state_dict().items()}


def changed(policy: Policy, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in policy.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_critic_warm_up_leaves_the_language_model_alone(kind: str) -> None:
    """Also after a step of the policy, when its moments are not 0, and with weight decay."""
    policy = tiny()
    batch = examples(policy, played())
    it = learner(policy, kind=kind, weight_decay=0.1)
    it.step(batch)
    before = weights(policy)
    logs = it.step(batch, train_policy=False)
    heads = {name for name in before if name.startswith("heads.")}
    assert changed(policy, before) == heads
    assert logs.keys() == {"value_loss", "grad_norm"}
    it.step(batch)
    assert changed(policy, before) == set(before)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_value_passes_fit_the_heads_and_move_nothing_else(kind: str) -> None:
    policy = tiny()
    batch = examples(policy, played())
    it = learner(policy, kind=kind, weight_decay=0.1, value_lr=1e-2)
    it.step(batch)
    before, old = weights(policy), score(policy, documents_of(batch), temperature=1.0, budget=10**6)
    logs = it.fit_values(batch, np.random.default_rng(0), passes=20, parts=2)
    assert changed(policy, before) == {name for name in before if name.startswith("heads.")}
    new = score(policy, documents_of(batch), temperature=1.0, budget=10**6)
    for name, scores in (("value_mse_before", old), ("value_mse_after", new)):
        missed = np.concatenate([one.example.target_P - s.value_P for one, s in zip(batch, scores, strict=True)])
        assert logs[name] == pytest.approx(float(np.nanmean(missed**2)), rel=1e-4)
    assert logs["value_mse_after"] < 0.8 * logs["value_mse_before"]


def test_more_parts_than_values_are_no_trouble() -> None:
    policy = tiny()
    it = learner(policy, value_lr=1e-4)
    logs = it.fit_values(examples(policy, played())[:1], np.random.default_rng(0), passes=3, parts=1000)
    assert it.skipped == 0
    assert logs["value_mse_after"] < logs["value_mse_before"]


def test_without_targets_there_is_nothing_to_fit() -> None:
    policy = tiny()
    batch = [unasked(one) for one in examples(policy, played())]
    before = weights(policy)
    assert learner(policy).fit_values(batch, np.random.default_rng(0), passes=2, parts=2) == {}
    assert not changed(policy, before)


def test_values_of_tokens_are_told_the_turn_of_the_token() -> None:
    (row,) = documents([four_turns()], token_values=True)
    turns = _turns(row)
    of_token = row.point_turn_P == OF_TOKEN
    assert turns[of_token].tolist() == [0] * 5 + [1] * 3 + [2] * 3 + [3] * 2
    assert turns[~of_token].tolist() == row.point_turn_P[~of_token].tolist()


def documents_of(batch: list[PPOExample]) -> list[Document]:
    return [one.example.document for one in batch]


def unasked(one: PPOExample) -> PPOExample:
    return replace(one, example=replace(one.example, target_P=np.full_like(one.example.target_P, np.nan)))


def test_steps_make_the_loss_smaller() -> None:
    policy = tiny()
    batch = examples(policy, played(), spread=0.0)
    it = learner(policy, lr=1e-3, value_lr=1e-2)
    losses = [total(it.step(batch), PLAIN) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1


def spoilt(batch: list[PPOExample], spoil: Callable[[PPOExample], PPOExample]) -> list[PPOExample]:
    return [spoil(batch[0]), *batch[1:]]


def endless_advantage(one: PPOExample) -> PPOExample:
    trained = one.example.document.kind_L != 0
    return replace(one, example=replace(one.example, advantage_L=np.where(trained, np.inf, 0.0)))


def unknown_old_probability(one: PPOExample) -> PPOExample:
    document = one.example.document
    bad = replace(document, logprob_L=np.where(document.kind_L != 0, np.nan, 0.0))
    return replace(one, example=replace(one.example, document=bad))


@pytest.mark.parametrize("spoil", [endless_advantage, unknown_old_probability])
def test_a_step_that_is_not_finite_is_not_taken(spoil: Callable[[PPOExample], PPOExample]) -> None:
    policy = tiny()
    batch = examples(policy, played())
    bad = spoilt(batch, spoil)
    it = learner(policy)
    it.step(batch)
    before = weights(policy)
    moments = it.optimizer.state()
    for _ in range(2):
        logs = it.step(bad)
        assert not np.isfinite([logs["policy_loss"], logs["grad_norm"]]).all()
    assert it.skipped == 2
    assert all(not gradient.any() for gradient in gradients(policy).values())
    with pytest.raises(DivergedError, match="three steps in a row"):
        it.step(bad)
    assert it.skipped == 3
    assert changed(policy, before) == set()
    assert all(torch.equal(moments[name], value) for name, value in it.optimizer.state().items())


def test_a_good_step_starts_the_count_anew() -> None:
    policy = tiny()
    batch = examples(policy, played())
    bad = spoilt(batch, endless_advantage)
    it = learner(policy)
    for one in (bad, bad, batch, bad, bad, batch):
        it.step(one)
    assert it.skipped == 4


def test_a_value_that_is_not_asked_for_moves_nothing(policy: Policy) -> None:
    batch = examples(policy, played())
    loss, gradient = learned(policy, [unasked(one) for one in batch], PLAIN)
    assert not any(gradient[name].any() for name in gradient if name.startswith("heads."))
    wanted = learned(policy, batch, replace(PLAIN, value_coef=0.0))
    assert loss == pytest.approx(wanted[0])


@pytest.mark.parametrize("budget", [1, 25, 10**6])
def test_scores_do_not_depend_on_the_split(policy: Policy, budget: int) -> None:
    rows = documents(played(layout="mixed"))
    whole = score(policy, rows, temperature=0.8, budget=10**9)
    for row, one, other in zip(rows, score(policy, rows, temperature=0.8, budget=budget), whole, strict=True):
        np.testing.assert_allclose(one.logprob_L, other.logprob_L, rtol=0, atol=1e-5)
        np.testing.assert_allclose(one.value_P, other.value_P, rtol=0, atol=1e-5)
        assert (one.logprob_L[row.kind_L == 0] == 0).all()
        assert (one.logprob_L[row.kind_L != 0] < 0).all()


def test_greedy_scores_are_those_of_temperature_1(policy: Policy) -> None:
    rows = documents(played(2))
    for a, b in zip(*(score(policy, rows, temperature=t, budget=999) for t in (0.0, 1.0)), strict=True):
        np.testing.assert_array_equal(a.logprob_L, b.logprob_L)


def test_nothing_to_score(policy: Policy) -> None:
    assert score(policy, [], temperature=1.0, budget=10) == []


@pytest.mark.parametrize("parts", [2, 3])
def test_gradient_noise_is_that_of_the_parts_by_themselves(parts: int) -> None:
    """The slow way: each part's gradient of the policy loss, from finite batches of its own."""
    policy = double()
    batch = examples(policy, played(6))
    before = [p.detach().clone() for p in policy.parameters()]
    dealt = [set(part.tolist()) for part in np.array_split(range(6), parts)]
    noise = Learner(policy, Still(policy), PLAIN, budget=40).gradient_noise(batch, dealt)  # type: ignore[arg-type]
    tokens = sum(int((one.example.document.kind_L != 0).sum()) for one in batch)
    vectors = []
    for chosen in dealt:
        part = [one for one in batch if one.example.document.episode in chosen]
        mine = sum(int((one.example.document.kind_L != 0).sum()) for one in part)
        _, gradient = learned(policy, part, replace(PLAIN, value_coef=0.0))
        vectors.append(torch.cat([g.flatten() for g in gradient.values()]) * mine / tokens)
    stack = torch.stack(vectors)
    variance = parts * float(((stack - stack.mean(0)) ** 2).sum()) / (parts - 1)
    assert noise["variance"] == pytest.approx(variance, rel=1e-9)
    assert noise["norm2"] == pytest.approx(float(stack.sum(0) @ stack.sum(0)) - variance, rel=1e-9)
    assert all(torch.equal(a, b) for a, b in zip(before, policy.parameters(), strict=True))
