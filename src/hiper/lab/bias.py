"""Is the gradient right on average? Exact answers: no draws, no intervals."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hiper.lab.cases import LAMBDAS, SHARINGS, Case, Effort, cosine, random_case, small_case
from hiper.lab.catalogue import Estimator, alone
from hiper.lab.estimators import gae_advantage, hae_advantage, scores, spread
from hiper.lab.examples import reinterpreted_subgoal
from hiper.lab.expectation import (
    Lambdas,
    Rule,
    action_rule,
    hae_gradient,
    segment_rule,
    signals_of,
    target_moments,
    with_table_switch,
)
from hiper.lab.findings import EXACT, Check, Claim, Findings, percent
from hiper.lab.gradient import Signals, difference_gradient, exact_gradient, exact_signals, gradient_of
from hiper.lab.mdp import FloatArray, Policy, Tables, World, expected_return
from hiper.lab.sampling import enumerate_all

DIFFERENCES, PRINTED = 1e-9, 1e-10

# J and the norms of the gradient through switch, subgoal and action of the worlds of seed 0, from an
# implementation of its own.
GOLDEN = {
    "separate": (0.405392701731, 0.0477780985, 0.0899822961, 0.3257081381),
    "shared": (-0.471175117082, 0.2572961472, 0.5419518893, 0.2702321821),
    "coupled": (0.151414581897, 0.3236724126, 0.1088275970, 0.7688318701),
}

Gradient = Callable[[World, Policy, Tables], FloatArray]
KNOWN = tuple(alone(1.0))  # by dynamic programming


def _same(lam: float) -> Lambdas:
    return Lambdas(low=lam, high=lam)


def mean_of(name: str, lam: float) -> Gradient:
    """[3, D]: the expected gradient of an estimator under any tables."""
    mean = alone(lam)[name].mean
    assert mean is not None
    return mean


def oracle(effort: Effort) -> Findings:
    """The oracle against finite differences, published numbers, and the shipped estimators on enumerated worlds."""
    differences, golden = 0.0, 0.0
    for sharing in SHARINGS:
        for seed in effort.seeds(3):
            case = random_case(seed, sharing)
            directions = np.eye(case.theta_D.size)[:: max(1, case.theta_D.size // 12)]
            slopes = difference_gradient(case.world, case.features, case.theta_D, directions)
            differences = max(differences, float(np.abs(slopes - directions @ case.gradient_D).max()))
        case = random_case(0, sharing)
        found = [expected_return(case.world, case.policy), *np.linalg.norm(case.gradient_HD, axis=1)]
        golden = max(golden, float(np.abs(np.array(found) - GOLDEN[sharing]).max()))
    shipped = _shipped_against_oracle(effort)
    return Findings(
        checks=(
            Check(
                text="gradient by dynamic programming against central differences", found=differences, limit=DIFFERENCES
            ),
            Check(
                text="return and gradient norms of the worlds of seed 0 against known numbers",
                found=golden,
                limit=PRINTED,
            ),
            *(
                Check(
                    text=f"shipped {name}: mean over all episodes against the oracle, any values",
                    found=error,
                    limit=EXACT,
                )
                for name, error in shipped.items()
            ),
        ),
        tables={},
    )


def _shipped_against_oracle(effort: Effort) -> dict[str, float]:
    """Largest difference between the mean gradient of each function of `hiper.credit` and what it should be."""
    mixed = Lambdas(low=0.8, high=0.6, boundary=0.3)
    shipped = alone(0.8) | {
        "hae with lambdas of its own for each": Estimator(
            advantage=lambda v, e, _, gamma: hae_advantage(v, e, gamma, mixed),
            mean=lambda w, p, v: hae_gradient(w, p, v, mixed),
        )
    }
    worst: dict[str, float] = {}
    for sharing in SHARINGS:
        for seed in effort.seeds(2):
            case = small_case(seed, sharing)
            e = enumerate_all(case.world, case.policy)
            scores_HNTD = scores(case.world, case.policy, e)
            nobody_N = np.arange(len(e.weight_N))
            for tables in (case.exact, case.wrong):
                for name, one in shipped.items():
                    assert one.mean is not None
                    expected_HD = one.mean(case.world, case.policy, tables)
                    advantage_HNT = one.advantage(tables, e, nobody_N, case.world.gamma)
                    found_HD = spread(scores_HNTD, advantage_HNT, e.weight_N).mean_HD
                    worst[name] = max(worst.get(name, 0.0), float(np.abs(found_HD - expected_HD).max()))
    return worst


def values(effort: Effort) -> Findings:
    """Exact values, and values that are wrong by half their spread."""
    exact_error = 0.0
    biases: dict[str, dict[str, list[float]]] = {}
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.worlds):
            case = random_case(seed, sharing)
            for name in KNOWN:
                for lam in LAMBDAS:
                    at_exact, at_wrong = (
                        mean_of(name, lam)(case.world, case.policy, tables) for tables in (case.exact, case.wrong)
                    )
                    key = f"{name}, λ {lam:g}"
                    biases.setdefault(f"bias at wrong values, {sharing}", {}).setdefault(key, []).append(
                        case.bias(at_wrong)
                    )
                    if "blind" in name:
                        biases.setdefault(f"bias at best fit, {sharing}", {}).setdefault(key, []).append(
                            case.bias(at_exact)
                        )
                    else:
                        exact_error = max(exact_error, case.error(at_exact))
    wrong, blind = _joined(biases, "bias at wrong values"), _joined(biases, "bias at best fit")
    hae = {lam: wrong[f"hae, λ {lam:g}"] for lam in LAMBDAS}
    carried, flat = wrong["hae, lam_boundary 1, λ 1"], wrong["gae, λ 1"]
    unbiased_forms = max(*carried, *flat) < EXACT
    always_biased = min(min(found) for found in hae.values()) > EXACT
    blind_name = "gae, critic blind to the subgoal"
    return Findings(
        checks=(
            Check(
                text="every estimator of one episode at exact values, all λ: error of the mean",
                found=exact_error,
                limit=EXACT,
            ),
            Check(
                text="gae and hae with lam_boundary 1, λ 1: bias at wrong values",
                found=max(*carried, *flat),
                limit=EXACT,
            ),
        ),
        claims=(
            Claim(
                source="paper",
                text="the gradient is unbiased, given exact values",
                verdict="holds" if exact_error < EXACT else "fails",
                condition="any λ; heads of their own or one parameter vector for all",
                numbers={"largest error": f"{exact_error:.1e}"},
            ),
            Claim(
                source="paper",
                text="the gradient is unbiased, given learned values",
                verdict="holds if" if unbiased_forms and always_biased else "holds" if unbiased_forms else "fails",
                condition="lam_boundary = lam_low = lam_high = 1; with lam_boundary = 0 biased at every λ",
                numbers={
                    "hae λ 0.95": percent(hae[0.95]),
                    "hae λ 1": percent(hae[1.0]),
                    "gae λ 0.95": percent(wrong["gae, λ 0.95"]),
                    "gae λ 1": percent(flat),
                    "hae lam_boundary 1, λ 1": percent(carried),
                },
            ),
            Claim(
                source="practice",
                text="a critic that does not see the subgoal will do for flat GAE",
                verdict="holds if" if max(blind[f"{blind_name}, λ 1"]) < EXACT else "fails",
                condition="λ = 1; below, biased even by its best fit",
                numbers={f"λ {lam:g}": percent(blind[f"{blind_name}, λ {lam:g}"]) for lam in (0.0, 0.9, 0.95, 1.0)},
            ),
        ),
        tables=biases,
    )


def _joined(tables: dict[str, dict[str, list[float]]], prefix: str) -> dict[str, list[float]]:
    """Tables of one subject for the three sharings, laid together."""
    joined: dict[str, list[float]] = {}
    for name, table in tables.items():
        if name.startswith(prefix):
            for row, found in table.items():
                joined.setdefault(row, []).extend(found)
    return joined


STEPS = (0.1, 0.3, 1.0, 3.0)
STALE: dict[str, Gradient] = {
    "gae, λ 0.95": mean_of("gae", 0.95),
    "gae, λ 1": mean_of("gae", 1.0),
    "hae, λ 0.95": mean_of("hae", 0.95),
    "hae, λ 1": mean_of("hae", 1.0),
    "hae, lam_boundary 1, λ 0.95": mean_of("hae, lam_boundary 1", 0.95),
    "hae, lam_boundary 1, λ 1": mean_of("hae, lam_boundary 1", 1.0),
    "hae_eb, switch from values, λ 1": mean_of("hae_eb, switch from values", 1.0),
}


def staleness(effort: Effort) -> Findings:
    """Values that were exact before a policy step: what the step does to each estimator."""
    tables: dict[str, dict[str, list[float]]] = {}
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.worlds):
            before = random_case(seed, sharing)
            direction_D = before.gradient_D / np.linalg.norm(before.gradient_D)
            for step in STEPS:
                after = before.moved(step * direction_D)
                table = tables.setdefault(f"bias after a step of {step:g}, {sharing}", {})
                table.setdefault("shift of the executor", []).append(after.shift_from(before))
                for name, gradient in STALE.items():
                    bias = after.bias(gradient(after.world, after.policy, before.exact))
                    table.setdefault(name, []).append(bias)
    joined = _joined(tables, "bias after a step of 1,")
    hae, flat = joined["hae, λ 0.95"], joined["gae, λ 0.95"]
    carried = max(_joined(tables, "bias after")["hae, lam_boundary 1, λ 1"])
    worse = sum(h > f for h, f in zip(hae, flat, strict=True))
    exact, stale_hae, stale_flat = _reinterpreted()
    return Findings(
        checks=(Check(text="hae with lam_boundary 1, λ 1: bias at stale values", found=carried, limit=EXACT),),
        claims=(
            Claim(
                source="practice",
                text="levels may be trained together: HAE bears values of the last policy as flat GAE does",
                verdict="holds" if worse <= len(hae) // 2 else "fails",
                condition=f"more biased in {worse} of {len(hae)} worlds; the cure is lam_boundary 1 at λ 1",
                numbers={
                    "executor moved by (total variation)": percent(joined["shift of the executor"]),
                    "hae λ 0.95": percent(hae),
                    "gae λ 0.95": percent(flat),
                    "hae lam_boundary 1, λ 1": percent(joined["hae, lam_boundary 1, λ 1"]),
                    "example D, λ 1": f"true {exact:+.4f}, hae {stale_hae:+.4f}, gae {stale_flat:+.4f}",
                },
            ),
        ),
        tables=tables,
    )


def _reinterpreted() -> tuple[float, float, float]:
    """Example D: gradient of the first action's logit, true, and by `hae` and `gae` at λ = 1 with a stale V_high."""
    example = reinterpreted_subgoal(stale=True)
    true_D = exact_gradient(example.world, example.policy).sum(axis=0)
    e = enumerate_all(example.world, example.policy)
    scores_HNTD = scores(example.world, example.policy, e)
    logit = int(np.flatnonzero(np.abs(true_D) > EXACT)[0])

    def found(advantage_HNT: FloatArray) -> float:
        return float(spread(scores_HNTD, advantage_HNT, e.weight_N).mean_D[logit])

    hae = hae_advantage(example.tables, e, 1.0, _same(1.0))
    return float(true_D[logit]), found(hae), found(gae_advantage(example.tables, e, 1.0, 1.0))


def switches(effort: Effort) -> Findings:
    """What a switch may be credited with, and what V_high has to be."""
    tables: dict[str, dict[str, list[float]]] = {"switch signal, share of the true one": {}, "U in place of V_high": {}}
    signal, bias = tables.values()
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.worlds):
            case = random_case(seed, sharing)
            world, policy, exact = case.world, case.policy, case.exact
            true_D = case.gradient_HD[0]

            def share(signals: Signals, case: Case = case, true_D: FloatArray = true_D) -> float:
                """Length of the expected switch gradient along the true one: 1 is right, 0 is nothing."""
                found_D = gradient_of(case.world, case.policy, signals)[0]
                return float(found_D @ true_D / (true_D @ true_D))

            means = _hae_means(case, U_for_V_high=False, lam=0.95)
            right = signals_of(policy, *means)
            signal.setdefault("return to the next boundary - U", []).append(share(right))
            signal.setdefault("(q - β)(V_high - V_low)", []).append(share(with_table_switch(right, exact, policy)))
            signal.setdefault("V_high - V_low", []).append(
                share(with_table_switch(right, exact, policy, weighted=False))
            )
            signal.setdefault("A_high at boundaries", []).append(share(_subgoal_credit_for_switch(right, policy)))
            for lam in (0.0, 0.9, 1.0):
                wrong = signals_of(policy, *_hae_means(case, U_for_V_high=True, lam=lam))
                bias.setdefault(f"hae, λ {lam:g}", []).append(case.bias(gradient_of(world, policy, wrong)))
    dead = max(abs(x) for name in ("V_high - V_low", "A_high at boundaries") for x in signal[name])
    right_ones = max(
        abs(x - 1) for name in ("return to the next boundary - U", "(q - β)(V_high - V_low)") for x in signal[name]
    )
    return Findings(
        checks=(
            Check(
                text="switch credit by return - U or (q - β)(V_high - V_low), exact values",
                found=right_ones,
                limit=1e-10,
            ),
        ),
        claims=(
            Claim(
                source="practice",
                text="a switch may be credited with V_high - V_low, or with the subgoal's advantage at boundaries",
                verdict="fails" if dead < 1e-10 else "holds",
                condition="neither depends on the decision in the mean; (q - β)(V_high - V_low) does",
                numbers={name: percent(found) + " of the signal" for name, found in signal.items()},
            ),
            Claim(
                source="practice",
                text="the value before the switch decision will do at a boundary",
                verdict="fails" if min(bias["hae, λ 1"]) > EXACT else "holds",
                condition="V_high must be the value given SWITCH",
                numbers={name: percent(found) for name, found in bias.items()},
            ),
        ),
        tables=tables,
    )


def _hae_means(case: Case, *, U_for_V_high: bool, lam: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean targets of `hae` for switch, subgoal and action; with U at boundaries if wanted."""
    exact = case.exact

    def at_boundary(rule: Rule) -> Rule:
        known = (1 - rule.switch_weight) * exact.U_TSO
        return replace(rule, switch_TSO=known) if U_for_V_high else rule

    rules = (segment_rule(exact, 0.0), segment_rule(exact, lam), action_rule(exact, _same(lam)))
    switch, subgoal, action = (target_moments(case.world, case.policy, at_boundary(rule)).mean_TSOA for rule in rules)
    return switch, subgoal, action


def _subgoal_credit_for_switch(signals: Signals, policy: Policy) -> Signals:
    """A SWITCH gets the advantage of the subgoal it led to, a KEEP gets 0."""
    advantage_TSO = signals.subgoal_TSO - (policy.subgoal_SO * signals.subgoal_TSO).sum(axis=2, keepdims=True)
    switched_TS1 = (policy.subgoal_SO * advantage_TSO).sum(axis=2, keepdims=True)
    switched_TSO = np.broadcast_to(switched_TS1, advantage_TSO.shape)
    return replace(signals, switch_TSOQ=np.stack([np.zeros_like(advantage_TSO), switched_TSO], axis=3))


def discount(effort: Effort) -> Findings:
    """The factor γᵗ in front of turn t's score, which nobody writes."""
    cosines: dict[str, list[float]] = {}
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.worlds):
            case = random_case(seed, sharing)
            undiscounted_D = gradient_of(
                case.world,
                case.policy,
                exact_signals(case.world, case.policy, case.exact),
                discounted=False,
            ).sum(axis=0)
            cosines.setdefault(sharing, []).append(cosine(undiscounted_D, case.gradient_D))
    everything = [x for found in cosines.values() for x in found]
    return Findings(
        claims=(
            Claim(
                source="practice",
                text="the factor γᵗ of the policy gradient may be dropped",
                verdict="holds if" if min(everything) > 0.95 else "fails",
                condition="episodes are short against 1 / (1 - γ): here 12 turns against 20",
                numbers={"cosine": f"{np.mean(everything):.4f} [{min(everything):.4f}, {max(everything):.4f}]"},
            ),
        ),
        tables={"cosine without the factor": cosines},
    )
