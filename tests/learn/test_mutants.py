"""Would the tests notice? Each entry below breaks one thing in the source of `batch` or `learn`; a break that known
answers and the slow loop let through is a hole in the tests, and fails here.

A break whose text no longer stands in the source fails too: the source has moved, so must the list.
"""

import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor

import hiper
from hiper.batch import Document
from hiper.learn import Demonstration, PPOExample
from hiper.models import Policy
from hiper.records import Ending
from tests.batch.hand import episode, four_turns, spans, turn
from tests.learn.cases import (
    ALL_PARTS,
    Still,
    close,
    double,
    examples,
    gradients,
    learned,
    plain_attention,
    played,
    slow,
)
from tests.models.small import random_documents

FOLDER = Path(hiper.__file__).parent
ROOMS = {"batch": ("documents", "tokens"), "learn": ("losses", "optim", "imitation", "learner")}  # as they import

MUTANTS = {
    "value read one token late": (
        "documents",
        "self.points.append((start - 1, U, turn.index))",
        "self.points.append((start, U, turn.index))",
    ),
    "value of a decision read where the reply begins": (
        "documents",
        "(start + span.start - 1, head, turn.index)",
        "(start - 1, head, turn.index)",
    ),
    "value of a decision read after it": (
        "documents",
        "(start + span.start - 1, head, turn.index)",
        "(start + span.stop - 1, head, turn.index)",
    ),
    "subgoal and action measured by each other's value": (
        "documents",
        "V_HIGH if kind is Kind.SUBGOAL else V_LOW",
        "V_LOW if kind is Kind.SUBGOAL else V_HIGH",
    ),
    "a boundary without a subgoal has no value": (
        "documents",
        "if turn.opens_segment and turn.spans.subgoal is None:",
        "if False:",
    ),
    "a reply that came to no action is worth nothing": (
        "documents",
        "np.where(np.isnan(table[V_LOW]), before, table[V_LOW])",
        "np.nan_to_num(table[V_LOW])",
    ),
    "a subgoal that could not be read is worth what the switch was": (
        "documents",
        "before = np.where(np.isnan(table[V_HIGH]), table[U], table[V_HIGH])",
        "before = table[U]",
    ),
    "a state after the end": (
        "documents",
        "if not trajectory.ending.is_terminal and trajectory.final_context_ids:",
        "if trajectory.final_context_ids:",
    ),
    "windows run together": ("documents", "if turn.fresh_context or not builders:", "if not builders:"),
    "advantage of the wrong kind": ("tokens", "SUBGOAL: streams.subgoal_BT", "SUBGOAL: streams.action_BT"),
    "target of the wrong head": ("tokens", "V_LOW: streams.target_low_BT", "V_LOW: streams.target_U_BT"),
    "a target for the state after a cut": (
        "tokens",
        "chosen = was_played_P & (row.head_P == head)",
        "chosen = (row.head_P == head) & (row.point_turn_P < table.shape[1])",
    ),
    "tokens that decide nothing are counted": ("tokens", "(e.document.kind_L != NONE)", "(e.document.turn_L >= 0)"),
    "points without target are counted": ("tokens", "int(np.isfinite(e.target_P).sum())", "len(e.target_P)"),
    "normalised level by level": (
        "tokens",
        "dict.fromkeys(entries, rms(np.concatenate(list(entries.values()))))",
        "{name: rms(values) for name, values in entries.items()}",
    ),
    "padding has a say in the scale": ("tokens", '"action_BT": mask_BT}', '"action_BT": mask_BT | True}'),
    "denominator of the micro-batch, tokens": ("learner", "count = max(batch.tokens, 1)", "count = len(logprob)"),
    "denominator of the micro-batch, values": ("learner", "/ max(batch.points, 1)", "/ max(len(value), 1)"),
    "probability of the next token but one": ("learner", "hidden[self.token - 1]", "hidden[self.token]"),
    "temperature forgotten": ("learner", "logits = logits / temperature", "logits = logits"),
    "warm-up of the critic moves the trunk": (
        "learner",
        "torch.set_grad_enabled(train_policy)",
        "torch.set_grad_enabled(True)",
    ),
    "entropy is punished": ("learner", "surrogate - s.entropy_coef * spread", "surrogate + s.entropy_coef * spread"),
    "coefficient of the value loss forgotten": ("learner", "loss = s.value_coef * loss", "loss = 1.0 * loss"),
    "reference and old probabilities swapped": (
        "learner",
        "[cast(Floats, o.reference_L)[t] for",
        "[o.example.document.logprob_L[t] for",
    ),
    "clip lets gain through": ("losses", "surrogate = torch.minimum(", "surrogate = torch.maximum("),
    "clip on one side only": ("losses", "ratio.clamp(1 - s.clip, 1 + s.clip)", "ratio.clamp(max=1 + s.clip)"),
    "ratio upside down": ("losses", "(logprob_M - old_logprob_M).exp()", "(old_logprob_M - logprob_M).exp()"),
    "sign of the loss": ("losses", "return -surrogate", "return surrogate"),
    "dual clip for good actions": ("losses", "torch.where(advantage_M < 0", "torch.where(advantage_M > 0"),
    "value clip takes the better": ("losses", "error = torch.maximum(error,", "error = torch.minimum(error,"),
    "KL the other way round": ("losses", "reference_M - logprob_M", "logprob_M - reference_M"),
    "imitation of the token itself": ("imitation", "hidden[place - 1]", "hidden[place]"),
    "mistakes are imitated": ("imitation", "weight[place]).sum() / whole", "1.0).sum() / whole"),
    "mean over the micro-batch, imitation": ("imitation", "* weight[place]).sum() / whole", "* weight[place]).mean()"),
}


def load(file: str, old: str, new: str) -> SimpleNamespace:
    """Second copies of both rooms, with one text replaced."""
    rooms = {room: ModuleType(f"mutated_{room}") for room in ROOMS}
    with patch.dict(sys.modules, {package.__name__: package for package in rooms.values()}):
        for room, package in rooms.items():
            for name in (*ROOMS[room], "__init__"):
                source = (FOLDER / room / f"{name}.py").read_text("utf-8")
                if name == file:
                    assert source.count(old) == 1, f"stands {source.count(old)} times in {name}.py: {old}"
                    source = source.replace(old, new)
                for known in ROOMS:
                    source = source.replace(f"hiper.{known}", f"mutated_{known}")
                module = package if name == "__init__" else ModuleType(f"{package.__name__}.{name}")
                sys.modules[module.__name__] = module
                exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return SimpleNamespace(**rooms)


# The places of `four_turns`, by hand in tests/batch/test_documents.py.
KINDS = [0, 0, 0, 2, 2, 2, 3, 3, 0, 0, 1, 0, 3, 3, 0, 1, 2, 3, 0, 1, 1, 0, 0]
POINTS = {
    (0, 2, 0), (0, 9, 1), (0, 14, 2), (0, 18, 3), (0, 22, 4), (1, 2, 0), (1, 15, 2),
    (2, 5, 0), (2, 11, 1), (2, 16, 2),
}  # fmt: skip


def points_of(row: Document) -> list[tuple[int, int, int]]:
    """(head, place, turn) of each value point."""
    return list(zip(row.head_P.tolist(), row.point_P.tolist(), row.point_turn_P.tolist(), strict=True))


def documents_hold(batch: ModuleType) -> bool:
    (row,) = batch.documents([four_turns()])
    ended = batch.documents([four_turns(ending=Ending.SUCCEEDED)])[0]
    windows = batch.documents([four_turns(window=True)])
    read = 100.0 * row.head_P + row.point_turn_P
    values = batch.gather_values([four_turns()], [row], [read])
    only_acts = batch.documents([episode(turn(0, [10], [100], spans(action=(0, 1))), ending=Ending.FAILED)])[0]
    return (
        (row.kind_L.tolist(), set(points_of(row)), len(ended), len(windows)) == (KINDS, POINTS, 21, 5)
        and values.V_low_BT.tolist() == [[200, 201, 202, 3]]
        and unread_holds(batch)
        and {head for head, _, _ in points_of(only_acts)} == {0, 1, 2}
    )


def unread_holds(batch: ModuleType) -> bool:
    """A subgoal that could not be read stands against V_high, and so does what should have followed it."""
    unread = [episode(turn(0, [10], [100], spans(subgoal=(0, 1))), ending=Ending.FAILED)]
    rows = batch.documents(unread)
    return bool(batch.gather_values(unread, rows, [100.0 * rows[0].head_P]).V_low_BT.tolist() == [[100]])


def signals_hold(batch: ModuleType) -> bool:
    cut = episode(turn(0, [10], [100], spans(action=(0, 1))), ending=Ending.TOKEN_LIMIT)
    place_BT = 10.0 * np.arange(2)[:, None] + np.arange(4)
    names = [field.name for field in fields(batch.Streams)]
    streams = batch.Streams(**{name: 1000.0 * n + place_BT for n, name in enumerate(names, start=1)})
    long, short = batch.assign(batch.documents([four_turns(), cut]), streams)
    wanted_L = [n * 1000 + max(t, 0) if n else 0 for n, t in zip(KINDS, long.document.turn_L.tolist(), strict=True)]
    wanted_P = [np.nan if t == 4 else 4000 + 1000 * h + t for h, _, t in points_of(long.document)]
    wanted_short_P = [np.nan if t == 1 else 4010 + 1000 * h for h, _, t in points_of(short.document)]
    sums = batch.TokenBatch.of([long, short])
    return (
        long.advantage_L.tolist() == wanted_L
        and np.array_equal(long.target_P, wanted_P, equal_nan=True)
        and np.array_equal(short.target_P, wanted_short_P, equal_nan=True)
        and (sums.tokens, sums.points) == (13 + 1, 9 + 3)
        and scale_holds(batch, streams, names)
    )


def scale_holds(batch: ModuleType, streams: object, names: list[str]) -> bool:
    """Of `four_turns` and an episode of one turn: 3 switches, 2 + 1 subgoals, 4 + 1 actions share one scale."""
    mask_BT = np.array([[True] * 4, [True, False, False, False]])
    boundary_BT = np.array([[True, False, True, False], [True, False, False, False]])
    got = batch.normalised(streams, mask_BT, boundary_BT, "joint")
    used = [1001, 1002, 1003, 2000, 2002, 2010, 3000, 3001, 3002, 3003, 3010]
    scale = np.sqrt(np.mean(np.square(used)))
    levels, targets = names[:3], names[3:]
    return all(np.allclose(getattr(got, name) * scale, getattr(streams, name)) for name in levels) and all(
        getattr(got, name) is getattr(streams, name) for name in targets
    )


@cache
def lesson() -> tuple[Policy, list[PPOExample], tuple[float, dict[str, Tensor]]]:
    policy = double()
    batch = examples(policy, played(), temperature=0.7, spread=0.6)
    return policy, batch, slow(policy, batch, ALL_PARTS, temperature=0.7)


def learner_holds(learn: ModuleType) -> bool:
    policy, batch, wanted = lesson()
    got = learned(policy, batch, ALL_PARTS, make=learn.Learner, temperature=0.7, budget=40)
    if not close(got, wanted, 1e-9):
        return False
    _, warm_up = learned(policy, batch, ALL_PARTS, make=learn.Learner, temperature=0.7, train_policy=False)
    return not any(gradient.any() for name, gradient in warm_up.items() if not name.startswith("heads."))


@cache
def demonstrations() -> tuple[Policy, list[Demonstration], dict[str, Tensor]]:
    """And the gradient of their weighted mean, document by document."""
    policy = double()
    batch = [
        Demonstration(ids=ids, weight=tuple((0.0, 0.3, 1.0)[(n * n) % 3 if n % 4 else 2] for n in range(len(ids))))
        for ids in random_documents([9, 4, 14])
    ]
    policy.zero_grad(set_to_none=True)
    whole = sum(sum(one.weight[1:]) for one in batch)
    with plain_attention(policy):
        for one in batch:
            scores = policy.lm(input_ids=torch.tensor([one.ids])).logits[0, :, : len(policy.tokenizer)]
            picked = scores[:-1].softmax(-1)[range(len(one.ids) - 1), one.ids[1:]]
            (-(picked.log() * torch.tensor(one.weight[1:])).sum() / whole).backward()
    return policy, batch, gradients(policy)


def imitation_holds(learn: ModuleType) -> bool:
    policy, batch, wanted = demonstrations()
    learn.imitation_step(policy, Still(policy), batch, budget=15, max_grad_norm=1.0)
    return close((0.0, gradients(policy)), (0.0, wanted), 1e-6)


def holds(rooms: SimpleNamespace) -> bool:
    """Whether all is as it should be; an argument refused without reason counts as broken."""
    try:
        return (
            documents_hold(rooms.batch)
            and signals_hold(rooms.batch)
            and learner_holds(rooms.learn)
            and imitation_holds(rooms.learn)
        )
    except (ValueError, IndexError, RuntimeError):
        return False


def test_the_unbroken_source_passes() -> None:
    assert holds(load("", "", ""))


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name: str) -> None:
    assert not holds(load(*MUTANTS[name]))
