"""All of it together, on a corridor: imitate, play, read probabilities and values, learn."""

import numpy as np
import pytest

from hiper.agents import INTERFACES, ExpertSampler, make_layout
from hiper.batch import Streams, assign, documents, gather_values
from hiper.learn import (
    Demonstration,
    Learner,
    Optimizer,
    OptimSettings,
    PPOExample,
    PPOSettings,
    imitation_step,
    score,
)
from hiper.models import Policy, Tokenizer, TorchSampler
from hiper.records import Trajectory
from hiper.rollout import Limits, Task, play
from tests.models.small import tiny
from tests.rollout.toy import Corridor

PLAN = INTERFACES["plan_execute"]
TASKS = [Task(seed=seed, options={"game": f"corridor-{2 + seed % 3}"}) for seed in range(12)]


def walk(sampler: TorchSampler | ExpertSampler, layout: str) -> list[Trajectory]:
    options = {"header": "none"} if layout == "transcript" else {"n_turns": 1}
    return play(Corridor, sampler, PLAN, make_layout(layout, PLAN, options), TASKS, limits=Limits(turns=6))


def demonstrations(episodes: list[Trajectory], tokens: Tokenizer) -> list[Demonstration]:
    """Transcripts, of which the replies are to be learnt."""
    out = []
    for episode in episodes:
        ids: list[int] = []
        weight: list[float] = []
        for turn in episode.turns:
            context = tokens.encode_context(turn.context, fresh=turn.fresh_context)
            reply = tokens.encode(turn.reply)
            ids += [*context, *reply]
            weight += [0.0] * len(context) + [1.0] * len(reply)
        out.append(Demonstration(ids=tuple(ids), weight=tuple(weight)))
    return out


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Has seen the expert walk, as a transcript, but not for long."""
    policy = tiny(context=1024, initializer_range=0.05)
    batch = demonstrations(walk(ExpertSampler(PLAN), "transcript"), policy.tokenizer)
    optimizer = Optimizer(policy, OptimSettings(kind="muon", lr=1e-2))
    for _ in range(40):
        imitation_step(policy, optimizer, batch, budget=10**6, max_grad_norm=1.0)
    return policy


@pytest.mark.parametrize("layout", ["transcript", "window"])
def test_sampler_and_learner_hold_the_same_model(policy: Policy, layout: str) -> None:
    """Probabilities recorded while sampling with a cache are those read again from whole documents."""
    episodes = walk(TorchSampler(policy, capacity=5, max_reply=32, prefill=100), layout)
    rows = documents(episodes)
    assert len(rows) == len(episodes) if layout == "transcript" else len(rows) > 2 * len(episodes)
    for row, one in zip(rows, score(policy, rows, temperature=1.0, budget=300), strict=True):
        trained = row.kind_L != 0
        np.testing.assert_allclose(row.logprob_L[trained], one.logprob_L[trained], rtol=0, atol=1e-4)


def test_it_learns_to_walk(policy: Policy) -> None:
    """Both kinds of reply occur after imitation; a few updates towards the actions that led to the end."""
    sampler = TorchSampler(policy, capacity=8, max_reply=32)
    learner = Learner(
        policy, Optimizer(policy, OptimSettings(lr=3e-4, value_lr=3e-3)), PPOSettings(), budget=500, max_grad_norm=1.0
    )
    episodes = walk(sampler, "transcript")
    turns = [turn for episode in episodes for turn in episode.turns]
    assert sum(turn.invalid is None for turn in turns) > len(turns) / 2
    losses = []
    for _ in range(3):
        rows = documents(episodes)
        scores = score(policy, rows, temperature=1.0, budget=500)
        values = gather_values(episodes, rows, [one.value_P for one in scores])
        won_B1 = np.array([[float(episode.succeeded)] for episode in episodes])
        advantage_BT = np.where(np.isfinite(values.V_low_BT), won_B1 - 0.5, 0.0)
        target_BT = np.broadcast_to(won_B1, advantage_BT.shape)
        streams = Streams(
            switch_BT=advantage_BT,
            subgoal_BT=advantage_BT,
            action_BT=advantage_BT,
            target_U_BT=target_BT,
            target_high_BT=target_BT,
            target_low_BT=target_BT,
        )
        batch = [
            PPOExample(example=example, old_value_P=one.value_P)
            for example, one in zip(assign(rows, streams), scores, strict=True)
        ]
        logs = learner.step(batch)
        assert logs["kl"] < 1e-6  # the first step on a batch is on policy
        losses.append(logs["value_loss"])
        sampler.reset()
        episodes = walk(sampler, "transcript")
    assert learner.skipped == 0
    assert losses[-1] < losses[0]
