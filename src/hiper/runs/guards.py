"""Guards: they watch the rows of training for the ways in which runs die unnoticed.

A guard compares the mean of a column over the last `WINDOW` steps with its mean over the first ones, or with what is
too much anywhere (distances from a policy, the critic). It says what it sees and what to try. Whether it warns anew
follows from the rows alone, so a run that is taken up again warns as it would have.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 5
HEADS = {"U": "U", "high": "V_high", "low": "V_low"}

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps in a row. What was not measured in them is NaN, and NaN sets off no guard."""

    rows: Sequence[Row]

    def values(self, key: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """What was measured, step by step."""
        found = (row.get(key) for row in self.rows)
        return np.array([value for value in found if isinstance(value, int | float) and np.isfinite(value)])

    def mean(self, key: str) -> float:
        values = self.values(key)
        return float(values.mean()) if values.size else np.nan

    @property
    def segments(self) -> float:
        """Segments an episode."""
        return self.mean("rollout/turns") / self.mean("rollout/segment_turns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """`seen` says what is wrong now, compared with the start; None where all is well. `remedy`: what to try."""

    seen: Callable[[Stretch, Stretch], str | None]
    remedy: str
    after: int = WINDOW
    """Steps before which it is silent."""


def _switches_gone(now: Stretch, start: Stretch) -> str | None:
    later, before = now.segments - 1, start.segments - 1
    if before >= 0.2 and later < 0.1 * before:
        return (
            f"hardly any SWITCH is left after the first: {1 + later:.2f} segments an episode, {1 + before:.2f} before"
        )
    return None


def _switches_everywhere(now: Stretch, start: Stretch) -> str | None:
    length, before = (each.mean("rollout/segment_turns") for each in (now, start))
    if before >= 1.5 and length - 1 < 0.1 * (before - 1):
        return f"nearly every turn is a SWITCH: segments last {length:.2f} turns, {before:.2f} before"
    return None


def _entropy_collapse(now: Stretch, start: Stretch) -> str | None:
    entropy, before = (each.mean("learn/entropy") for each in (now, start))
    return f"entropy fell from {before:.3g} to {entropy:.3g} nats a token" if entropy < 0.1 * before else None


def _entropy_runaway(now: Stretch, start: Stretch) -> str | None:
    entropy, before = (each.mean("learn/entropy") for each in (now, start))
    rose = entropy > max(3 * before, 0.3)
    return f"entropy rose from {before:.3g} to {entropy:.3g} nats a token" if rose else None


def _reply_length(now: Stretch, start: Stretch) -> str | None:
    length, before = (each.mean("rollout/reply_tokens") for each in (now, start))
    return f"replies grew from {before:.1f} to {length:.1f} tokens" if length > 2 * before else None


def _replies_cut(now: Stretch, start: Stretch) -> str | None:
    share, before = (each.mean("rollout/invalid/cut_by_limit") for each in (now, start))
    return (
        f"{share:.0%} of the replies run into the token limit, {before:.0%} before" if share > before + 0.15 else None
    )


def _invalid_replies(now: Stretch, start: Stretch) -> str | None:
    valid, before = (each.mean("rollout/valid_rate") for each in (now, start))
    return f"valid replies fell from {before:.0%} to {valid:.0%}" if valid < 0.75 * before else None


def _stalling(now: Stretch, start: Stretch) -> str | None:
    limit, failed = ("rollout/ending/turn_limit", "rollout/ending/failed")
    share, before = (each.mean(limit) for each in (now, start))
    if share > max(0.25, before + 0.1) and now.mean(failed) < start.mean(failed) - 0.1:
        return f"{share:.0%} of the episodes run into the turn limit, {before:.0%} before, and fewer fail"
    return None


def _getting_worse(now: Stretch, start: Stretch) -> str | None:
    success, before = (each.mean("rollout/success") for each in (now, start))
    return f"success in training fell from {before:.0%} to {success:.0%}" if success < before - 0.15 else None


def _kl_step(now: Stretch, start: Stretch) -> str | None:
    """Mean over a step's updates, of what was before each: with one update a step there is nothing to see."""
    del start
    kl = now.mean("learn/kl")
    return f"within one step the policy has moved by {kl:.3g} nats a token on average" if kl > 0.05 else None


def _kl_start(now: Stretch, start: Stretch) -> str | None:
    del start
    kl = now.mean("learn/kl_reference")
    return f"the policy is {kl:.3g} nats a token away from the start model" if kl > 1.0 else None


def _critic(now: Stretch, start: Stretch) -> str | None:
    del start
    measured = {name: now.values(f"learn/explained_variance/{key}") for key, name in HEADS.items()}
    bad = [name for name, values in measured.items() if values.size and values.max() < 0]
    return f"{' and '.join(bad)} explain less than a constant would, {WINDOW} steps in a row" if bad else None


def _logprob_gap(now: Stretch, start: Stretch) -> str | None:
    gap, before = (each.mean("learn/logprob_gap_mean") for each in (now, start))
    rose = gap > max(5 * before, 1e-3)
    return f"sampler and learner differ by {gap:.2g} nats a token, {before:.2g} before" if rose else None


GUARDS: Mapping[str, Guard] = {
    "switches_gone": Guard(seen=_switches_gone, remedy="try a larger train.kl_coef or train.entropy_coef"),
    "switches_everywhere": Guard(seen=_switches_everywhere, remedy="try a larger train.kl_coef or credit.lam_boundary"),
    "entropy_collapse": Guard(
        seen=_entropy_collapse, remedy="try a larger train.entropy_coef or a smaller train.optim.lr"
    ),
    "entropy_runaway": Guard(seen=_entropy_runaway, remedy="try a smaller train.entropy_coef or train.optim.lr"),
    "reply_length": Guard(seen=_reply_length, remedy="try a larger train.kl_coef or credit.invalid_penalty"),
    "replies_cut": Guard(seen=_replies_cut, remedy="try a larger sampling.max_reply or train.kl_coef"),
    "stalling": Guard(seen=_stalling, remedy='if evaluation has that limit too, set credit.at_limit="end"'),
    "getting_worse": Guard(
        seen=_getting_worse, remedy="try a smaller train.optim.lr, a larger train.kl_coef, or credit.lam_high = 1"
    ),
    "invalid_replies": Guard(seen=_invalid_replies, remedy="try credit.invalid_penalty or a smaller train.optim.lr"),
    "kl_step": Guard(seen=_kl_step, remedy="try a smaller train.optim.lr, or fewer train.epochs and minibatches"),
    "kl_start": Guard(seen=_kl_start, remedy="try a larger train.kl_coef or a smaller train.optim.lr"),
    "critic": Guard(
        seen=_critic, remedy="try train.value_passes, train.critic_warmup or more train.episodes", after=2 * WINDOW
    ),
    "logprob_gap": Guard(seen=_logprob_gap, remedy="check model.dtype, and that sampler and learner are one model"),
}


def troubles(rows: Sequence[Row], *, limit_ends: bool = False) -> dict[str, str]:
    """What the guards find at the end of these rows of training: names and messages.

    limit_ends: nothing is expected after the turn or token limit (`credit.at_limit`): running into one earns nothing.
    """
    now, start = Stretch(rows[-WINDOW:]), Stretch(rows[:WINDOW])
    asked = [name for name, guard in GUARDS.items() if len(rows) > guard.after]
    found = {name: GUARDS[name].seen(now, start) for name in asked if not (limit_ends and name == "stalling")}
    return {name: f"{seen}; {GUARDS[name].remedy}" for name, seen in found.items() if seen}


def is_new(name: str, before: Sequence[Row]) -> bool:
    """Whether trouble begins, after these rows: it is over once it was not seen for `WINDOW` steps."""
    return not any(name in row.get("guards", ()) for row in before[-WINDOW:])  # type: ignore[operator]
