"""Every estimator of `hiper.credit` by name, at the settings that the studies measure."""

from collections.abc import Callable
from dataclasses import dataclass

from hiper.credit import GroupCredit, gigpo, grpo, reinforce_pp, rloo
from hiper.lab.estimators import (
    adaptive_advantage,
    fixed_advantage,
    for_all,
    gae_advantage,
    hae_advantage,
    hae_eb_advantage,
    option_advantage,
    places,
    sibling_advantage,
    token_advantage,
)
from hiper.lab.expectation import (
    Lambdas,
    blind_rule,
    clock_rule,
    flat_gradient,
    gae_gradient,
    hae_eb_gradient,
    hae_gradient,
    token_gradient,
)
from hiper.lab.mdp import FloatArray, IntArray, Policy, Tables, World
from hiper.lab.sampling import Episodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """A function of `hiper.credit` at one setting."""

    advantage: Callable[[Tables, Episodes, IntArray, float], FloatArray]  # of critic, episodes, their tasks, and γ
    mean: Callable[[World, Policy, Tables], FloatArray] | None = None  # [3, D]: by dynamic programming, if it can
    of_batch: bool = False  # whether an episode's credit depends on other tasks in the batch


def with_critic(lam: float) -> dict[str, Estimator]:
    """Every estimator that reads a critic, at one λ. "For the batch": adaptive with N, the episodes of the batch."""
    return alone(lam) | {
        "hae, adaptive by explained variance": Estimator(
            advantage=lambda v, e, _, gamma: adaptive_advantage(v, e, None, gamma, lam), of_batch=True
        ),
        "hae, adaptive by groups": adaptive_hae(lam, 1),
        "hae, adaptive by groups for the batch": adaptive_hae(lam, None),
        "sibling_hae, lam_boundary 0": sibling(lam, 0.0),
        "sibling_hae, lam_boundary 1": sibling(lam, 1.0),
        "sibling_hae, adaptive": sibling(lam, "adaptive"),
        "sibling_hae, adaptive for the batch": sibling(lam, "adaptive", None),
    }


def alone(lam: float) -> dict[str, Estimator]:
    """Those to which other episodes mean nothing. Dynamic programming says the mean of each."""
    fixed, carried = Lambdas(low=lam, high=lam), Lambdas(low=lam, high=lam, boundary=1.0)
    return {
        "gae": Estimator(
            advantage=lambda v, e, _, gamma: gae_advantage(v, e, gamma, lam),
            mean=lambda w, p, v: gae_gradient(w, p, v, lam),
        ),
        "gae, critic blind to the subgoal": Estimator(
            advantage=lambda v, e, _, gamma: gae_advantage(v, e, gamma, lam, blind=True),
            mean=lambda w, p, v: flat_gradient(w, p, blind_rule(v, lam)),
        ),
        "token_gae, a token for each decision": Estimator(
            advantage=lambda v, e, _, gamma: token_advantage(v, e, gamma, lam),
            mean=lambda w, p, v: token_gradient(w, p, v, lam),
        ),
        "option_gae": Estimator(
            advantage=lambda v, e, _, gamma: option_advantage(v, e, gamma, lam),
            mean=lambda w, p, v: gae_gradient(w, p, v, lam),
        ),
        "hae": Estimator(
            advantage=lambda v, e, _, gamma: hae_advantage(v, e, gamma, fixed),
            mean=lambda w, p, v: hae_gradient(w, p, v, fixed),
        ),
        "hae, lam_boundary 1": Estimator(
            advantage=lambda v, e, _, gamma: hae_advantage(v, e, gamma, carried),
            mean=lambda w, p, v: hae_gradient(w, p, v, carried),
        ),
        "hae_eb": Estimator(
            advantage=lambda v, e, _, gamma: hae_eb_advantage(v, e, gamma, lam, from_values=False),
            mean=lambda w, p, v: hae_eb_gradient(w, p, v, lam),
        ),
        "hae_eb, switch from values": Estimator(
            advantage=lambda v, e, _, gamma: hae_eb_advantage(v, e, gamma, lam, from_values=True),
            mean=lambda w, p, v: hae_eb_gradient(w, p, v, lam, from_values=True),
        ),
        "fixed_hae, in thirds": Estimator(
            advantage=lambda v, e, _, gamma: fixed_advantage(v, e, gamma, lam, _third(v)),
            mean=lambda w, p, v: flat_gradient(w, p, clock_rule(v, lam, _third(v))),
        ),
    }


def _third(tables: Tables) -> int:
    """A third of the turns that an episode may last: 4 of 12, 1 of 3 or 2."""
    return max((len(tables.U_TSO) - 1) // 3, 1)


def adaptive_hae(lam: float, averaged_over: int | None) -> Estimator:
    """`hae` with `adaptive_lam_boundary` by groups; None: averaged over the batch."""
    return Estimator(
        advantage=lambda v, e, group_N, gamma: adaptive_advantage(
            v, e, group_N, gamma, lam, averaged_over or len(group_N)
        ),
        of_batch=True,
    )


def sibling(lam: float, boundary: float | str, averaged_over: int | None = 1) -> Estimator:
    """`sibling_hae`; None: averaged over the batch."""
    return Estimator(
        advantage=lambda v, e, group_N, gamma: sibling_advantage(
            v, e, group_N, gamma, lam, boundary, averaged_over or len(group_N)
        ),
        of_batch=True,
    )


def _compared(function: Callable[..., GroupCredit], **settings: bool) -> Estimator:
    return Estimator(
        advantage=lambda _, e, group_N, __: for_all(function(e.reward_NT, e.length_N, group_N, **settings).advantage_BT)
    )


def _anchored(*, normalise_std: bool) -> Estimator:
    return Estimator(
        advantage=lambda v, e, group_N, gamma: for_all(
            gigpo(e.reward_NT, e.length_N, group_N, places(e, v), gamma=gamma, normalise_std=normalise_std).advantage_BT
        )
    )


def _on_one_scale(*, by_groups: bool) -> Estimator:
    return Estimator(
        advantage=lambda _, e, group_N, gamma: for_all(
            reinforce_pp(e.reward_NT, e.length_N, group_N if by_groups else None, gamma=gamma).advantage_BT
        ),
        of_batch=True,
    )


WITHOUT_CRITIC: dict[str, Estimator] = {
    "rloo": _compared(rloo),
    "grpo": _compared(grpo),
    "grpo without std": _compared(grpo, normalise_std=False),
    "gigpo": _anchored(normalise_std=True),
    "gigpo without std": _anchored(normalise_std=False),
    "reinforce_pp": _on_one_scale(by_groups=False),
    "reinforce_pp with groups": _on_one_scale(by_groups=True),
}
