"""What is done around the estimator and changes it: scales per level, cut episodes, rewards for keeping."""

from dataclasses import replace

import numpy as np

from hiper.lab.cases import SHARINGS, Case, Effort, cosine, random_case, small_case
from hiper.lab.catalogue import alone
from hiper.lab.estimators import hae_advantage, hae_eb_advantage, scores, spread
from hiper.lab.examples import better_to_keep, opposed_levels
from hiper.lab.expectation import Lambdas, Rule, signals_of, target_moments
from hiper.lab.findings import EXACT, Check, Claim, Findings, percent
from hiper.lab.gradient import Signals, exact_gradient, exact_signals, gradient_of
from hiper.lab.mdp import FloatArray, Policy, Tables, World
from hiper.lab.sampling import Episodes, draw, enumerate_all

LAM = Lambdas(low=0.95, high=0.95)
CUT = 6  # turns after which the worlds of the truncation study are cut


def scales(effort: Effort) -> Findings:
    """Each level's advantages divided by their own standard deviation, as some run scripts do."""
    tables: dict[str, dict[str, list[float]]] = {}
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.drawn_worlds):
            case = random_case(seed, sharing)
            e = draw(case.world, case.policy, effort.episodes, 1000 + seed)
            gamma = case.world.gamma
            forms = {
                "hae": hae_advantage(case.exact, e, gamma, LAM),
                "hae_eb, switch from values": hae_eb_advantage(case.exact, e, gamma, LAM.low, from_values=True),
            }
            for name, advantage_HNT in forms.items():
                direction_D = (case.gradient_HD / _deviations(advantage_HNT, e)[:, None]).sum(axis=0)
                found = tables.setdefault(f"cosine with the gradient, {name}", {})
                found.setdefault(sharing, []).append(cosine(direction_D, case.gradient_D))
    true, normalised = _opposed()
    lowest = {name: min(table["separate"]) for name, table in tables.items()}
    wrong_way = true * normalised < 0
    return Findings(
        claims=(
            Claim(
                source="practice",
                text="advantages may be normalised level by level",
                verdict="fails" if min(lowest.values()) <= 0 else "holds if" if wrong_way else "holds",
                condition="levels share no parameters; else even the sign may turn (example E)",
                numbers={
                    "example E": f"true {true:+.3f}, normalised {normalised:+.3f}",
                    **{
                        f"{name}, {sharing}": f"{np.mean(found):.2f} [{min(found):.2f}, {max(found):.2f}]"
                        for name, table in tables.items()
                        for sharing, found in table.items()
                    },
                },
            ),
        ),
        tables=tables,
    )


def _deviations(advantage_HNT: FloatArray, e: Episodes) -> FloatArray:
    """[3]: root mean square around the mean, over the turns where the decision was made."""
    turn_0_T = np.arange(e.state_NT.shape[1]) == 0
    made_HNT = np.stack([e.mask_NT & ~turn_0_T, e.mask_NT & (e.switch_NT | turn_0_T), e.mask_NT])
    weights_HNT = made_HNT * e.weight_N[:, None]
    weights_HNT = weights_HNT / np.maximum(weights_HNT.sum(axis=(1, 2), keepdims=True), 1e-300)
    mean_H11 = (weights_HNT * advantage_HNT).sum(axis=(1, 2), keepdims=True)
    return np.asarray(np.sqrt((weights_HNT * (advantage_HNT - mean_H11) ** 2).sum(axis=(1, 2))), np.float64)


def _opposed() -> tuple[float, float]:
    """Example E: the true gradient, and the direction after normalising subgoals and actions (nothing is switched)."""
    example = opposed_levels()
    e = enumerate_all(example.world, example.policy)
    advantage_HNT = hae_advantage(example.tables, e, example.world.gamma, LAM)
    true_H1 = exact_gradient(example.world, example.policy)
    deviation_H = _deviations(advantage_HNT, e)
    return float(true_H1.sum()), float((true_H1[1:, 0] / deviation_H[1:]).sum())


def truncation(effort: Effort) -> Findings:
    """Episodes of twelve turns cut after six: what may stand for the rest."""
    tables: dict[str, dict[str, list[float]]] = {"bias of a cut episode": {}}
    (table,) = tables.values()
    T_total, null_total = 0.0, 0.0
    for seed in effort.seeds(effort.drawn_worlds):
        case = random_case(seed, "shared")
        e = draw(case.world, case.policy, 2 * effort.episodes, 1000 + seed, cut=CUT)
        scores_HNTD = scores(case.world, case.policy, e)
        truth_D = prefix_gradient(case, CUT).sum(axis=0)
        right_HNT = hae_advantage(case.exact, e, case.world.gamma, LAM)
        right = spread(scores_HNTD, right_HNT, e.weight_N)
        T_total += right.T(truth_D) - 1
        null_total += right.null
        for name, advantage_HNT in _cut_short(case, e).items():
            difference = spread(scores_HNTD, advantage_HNT - right_HNT, e.weight_N)
            # The square of a mean is too large by its variance.
            square = float((difference.mean_D**2).sum()) - difference.trace / difference.count
            table.setdefault(name, []).append(max(square, 0.0) ** 0.5 / float(np.linalg.norm(truth_D)))
    return Findings(
        checks=(
            Check(
                text="gae and hae, every cut episode, U after the last turn: mean against the gradient before the cut",
                found=max(_cut_everywhere(effort).values()),
                limit=EXACT,
            ),
            Check(
                text="cut episodes with U after the last turn: T test, in standard deviations",
                found=T_total / null_total**0.5,
                limit=7.0,
            ),
        ),
        claims=(
            Claim(
                source="practice",
                text="the value at the last turn played may stand for what comes after a cut",
                verdict="fails"
                if float(np.mean(table["V_low of the last turn, V_high of its segment"])) > 0.01
                else "holds",
                condition="right is U of the observation after the cut; the bias of others:",
                numbers={name: percent(found) for name, found in table.items()},
            ),
        ),
        tables=tables,
    )


def _cut_short(case: Case, e: Episodes) -> dict[str, FloatArray]:
    """Advantages of `hae` with other values after a cut than U of what is seen there."""
    gamma, exact = case.world.gamma, case.exact
    row_N = np.arange(len(e.length_N))
    last_N = e.length_N - 1
    after = (e.length_N, e.final_state_N)
    turn_T = np.arange(e.state_NT.shape[1])
    opened_NT = np.maximum.accumulate(np.where((e.switch_NT | (turn_T == 0)) & e.mask_NT, turn_T, 0), axis=1)
    opened_N = opened_NT[row_N, last_N]

    def advantage(final_N: FloatArray) -> FloatArray:
        return hae_advantage(exact, e, gamma, LAM, final_N)

    of_low = advantage(exact.V_low_TSO[last_N, e.state_NT[row_N, last_N], e.final_subgoal_N])
    of_high = advantage(exact.V_high_TS[opened_N, e.state_NT[row_N, opened_N]])
    return {
        "0": advantage(np.zeros(len(row_N))),
        "V_low of the last turn, V_high of its segment": np.stack([of_high[0], of_high[1], of_low[2]]),
        "V_high after the cut": advantage(exact.V_high_TS[after]),
        "V_low after the cut": advantage(exact.V_low_TSO[(*after, e.final_subgoal_N)]),
    }


def _cut_everywhere(effort: Effort) -> dict[str, float]:
    """Largest distance to the gradient before the cut, over all episodes of small worlds cut after two turns."""
    worst: dict[str, float] = {}
    for sharing in SHARINGS:
        for seed in effort.seeds(2):
            case = small_case(seed, sharing)
            e = enumerate_all(case.world, case.policy, cut=2)
            scores_HNTD = scores(case.world, case.policy, e)
            true_HD = prefix_gradient(case, 2)
            for lam in (LAM.low, 1.0):
                for name, one in alone(lam).items():
                    if name in ("gae", "hae", "hae, lam_boundary 1"):
                        advantage_HNT = one.advantage(case.exact, e, np.arange(len(e.weight_N)), case.world.gamma)
                        off = np.abs(spread(scores_HNTD, advantage_HNT, e.weight_N).mean_HD - true_HD).max()
                        worst[name] = max(worst.get(name, 0.0), float(off))
    return worst


def prefix_gradient(case: Case, cut: int) -> FloatArray:
    """[3, D]: what the turns before the cut contribute to the gradient, with all that comes of them."""
    signals = exact_signals(case.world, case.policy, case.exact)
    before_T = np.arange(case.world.horizon) < cut
    kept = Signals(
        switch_TSOQ=signals.switch_TSOQ * before_T[:, None, None, None],
        subgoal_TSO=signals.subgoal_TSO * before_T[:, None, None],
        action_TSOA=signals.action_TSOA * before_T[:, None, None, None],
    )
    return np.asarray(gradient_of(case.world, case.policy, kept), dtype=np.float64)


def shaping(effort: Effort) -> Findings:
    """A reward or penalty for KEEP."""
    penalty = 0.3
    tables: dict[str, dict[str, list[float]]] = {"cosine of the switch gradient with and without a penalty of 0.1": {}}
    (table,) = tables.values()
    for sharing in SHARINGS:
        for seed in effort.seeds(effort.worlds):
            case = random_case(seed, sharing)
            shaped_HD = case.gradient_HD + penalty_gradient(case.world, case.policy, case.exact, 0.1)
            table.setdefault(sharing, []).append(cosine(shaped_HD[0], case.gradient_HD[0]))
    example = better_to_keep()
    plain_HD = exact_gradient(example.world, example.policy)
    shaped_HD = plain_HD + penalty_gradient(example.world, example.policy, example.tables, penalty)
    logit = int(np.abs(plain_HD[0]).argmax())
    before, after = float(plain_HD[0, logit]), float(shaped_HD[0, logit])
    everything = [x for found in table.values() for x in found]
    return Findings(
        claims=(
            Claim(
                source="practice",
                text="a penalty on KEEP leaves the optimum where it is",
                verdict="fails" if before * after < 0 else "holds",
                condition="a cost on a decision is a new task; only differences of a potential of states are harmless",
                numbers={
                    "example H, gradient of the switch logit": f"{before:+.3f}, with a penalty of 0.3 {after:+.3f}",
                    "cosine of the switch gradient, penalty 0.1": (
                        f"{np.mean(everything):.2f} [{min(everything):.2f}, {max(everything):.2f}]"
                    ),
                },
            ),
        ),
        tables=tables,
    )


def penalty_gradient(world: World, policy: Policy, tables: Tables, penalty: float) -> FloatArray:
    """[3, D]: gradient of -penalty times the discounted number of KEEPs."""
    free = replace(world, reward_SAS=np.zeros_like(world.reward_SAS))
    alive_S1 = ~world.ends_S[:, None]
    cost_TSO = np.broadcast_to(-penalty * alive_S1, tables.U_TSO.shape)
    rule = Rule(keep_TSO=cost_TSO, keep_weight=1.0, switch_TSO=np.zeros_like(cost_TSO), switch_weight=1.0)
    to_come = target_moments(free, policy, rule).mean_TSOA
    signals = signals_of(policy, to_come, to_come, to_come)
    paid_Q = np.array([-penalty, 0.0])
    return gradient_of(world, policy, replace(signals, switch_TSOQ=signals.switch_TSOQ + paid_Q))
