"""The other estimators a second time: plain Python, one turn after the other, from the formulas in their docstrings.

`oracle` holds `gae` and `hae` as explicit sums; nothing here or there is taken from `hiper.credit`.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from itertools import chain
from statistics import mean, stdev

import numpy as np

from tests.credit.samples import Arrays, Sample

GAMMA, LAM, LOW, HIGH = 0.9, 0.8, 0.8, 0.7  # as set in `samples.ESTIMATORS`
Row = list[float]
Rows = list[list[float]]


class Episode:
    """One episode of a sample, as lists without padding."""

    def __init__(self, sample: Sample, b: int, *, told: bool = False) -> None:
        batch, n = sample.batch, int(sample.batch.lengths_B[b])
        self.r, self.U, self.H, self.L = (
            x[b, :n].tolist() for x in (batch.rewards_BT, batch.U_BT, batch.V_high_BT, batch.V_low_BT)
        )
        self.opens = [t == 0 or bool(batch.switches_BT[b, t]) for t in range(n)]
        self.final = 0.0 if batch.terminated_B[b] else float(batch.U_final_B[b])
        self.group = int(sample.group_B[b])
        self.state, self.subgoal = sample.state_BT[b, :n].tolist(), sample.subgoal_BT[b, :n].tolist()
        self.before = sample.before_BT[b, :n].tolist() if told else [-1, *self.subgoal[:-1]]
        self.tokens = [t for t in sample.turn_BL[b].tolist() if t >= 0]
        self.V = sample.V_BL[b].tolist()
        self.turns = range(n)

    def to_go(self, gamma: float = GAMMA, final: float | None = None) -> Row:
        out, ahead = [0.0] * len(self.r), self.final if final is None else final
        for t in reversed(self.turns):
            ahead = out[t] = self.r[t] + gamma * ahead
        return out


def episodes(sample: Sample, *, told: bool = False) -> list[Episode]:
    return [Episode(sample, b, told=told) for b in range(len(sample.group_B))]


def padded(rows: Iterable[Row], width: int) -> np.ndarray:
    return np.array([[*row, *[0.0] * (width - len(row))] for row in rows])


def token_gae(sample: Sample) -> Arrays:
    rows = []
    for e in episodes(sample):
        n = len(e.tokens)
        row, ahead, V_next = [0.0] * n, 0.0, e.final
        for i in reversed(range(n)):
            last = i == n - 1 or e.tokens[i + 1] != e.tokens[i]
            d, r = (GAMMA, e.r[e.tokens[i]]) if last else (1.0, 0.0)
            ahead = row[i] = r + d * V_next - e.V[i] + d * LAM * ahead
            V_next = e.V[i]
        rows.append(row)
    advantage = padded(rows, sample.turn_BL.shape[1])
    mask = sample.turn_BL >= 0
    return {"advantage_BL": advantage, "return_BL": np.where(mask, advantage + sample.V_BL, 0.0), "mask_BL": mask}


def hierarchical(sample: Sample, per_episode: list[tuple[Row, Row, Row, Row, Row, Row]]) -> Arrays:
    """Rows of switch, subgoal, action and of the targets of U, V_high, V_low, as the arrays of a HAECredit."""
    width = sample.batch.rewards_BT.shape[1]
    names = ("switch_BT", "subgoal_BT", "action_BT", "return_U_BT", "return_high_BT", "return_low_BT")
    arrays = {name: padded((rows[i] for rows in per_episode), width) for i, name in enumerate(names)}
    return {**arrays, "mask_high_BT": sample.batch.boundary_BT, "mask_BT": sample.batch.mask_BT}


def option_gae(sample: Sample) -> Arrays:
    out = []
    for e in episodes(sample):
        ret, U_next, ahead = [0.0] * len(e.r), e.final, e.final
        for t in reversed(e.turns):
            ahead = ret[t] = e.r[t] + GAMMA * ((1 - LAM) * U_next + LAM * ahead)
            U_next = e.U[t]
        high = [ret[t] if e.opens[t] else 0.0 for t in e.turns]
        out.append(
            (
                [ret[t] - e.U[t] if t else 0.0 for t in e.turns],
                [ret[t] - e.H[t] if e.opens[t] else 0.0 for t in e.turns],
                [ret[t] - e.L[t] for t in e.turns],
                ret,
                high,
                ret,
            )
        )
    return hierarchical(sample, out)


def hae_eb(sample: Sample, *, from_values: bool = False) -> Arrays:
    out = []
    for e in episodes(sample):
        n = len(e.r)
        action, segment, ahead = [0.0] * n, [0.0] * n, e.final
        for t in reversed(e.turns):
            segment[t] = e.r[t] + GAMMA * ahead
            ahead = e.H[t] if e.opens[t] else segment[t]
            if t == n - 1:
                action[t] = e.r[t] + GAMMA * e.final - e.L[t]
                continue
            after_switch = e.H[t + 1] - e.U[t + 1]
            after_keep = e.L[t + 1] - e.U[t + 1] + action[t + 1]
            later = after_switch if e.opens[t + 1] else after_keep
            action[t] = e.r[t] + GAMMA * e.U[t + 1] - e.L[t] + GAMMA * LAM * later
        subgoal = [action[t] + e.L[t] - e.H[t] if e.opens[t] else 0.0 for t in e.turns]
        decided = [e.H[t] if e.opens[t] else e.L[t] for t in e.turns]
        reached = decided if from_values else segment
        switch = [reached[t] - e.U[t] if t else 0.0 for t in e.turns]
        low = [action[t] + e.L[t] for t in e.turns]
        out.append((switch, subgoal, action, segment, [x if e.opens[t] else 0.0 for t, x in enumerate(low)], low))
    return hierarchical(sample, out)


def fixed_hae(sample: Sample, every: int = 2) -> Arrays:
    advantage, target = [], []
    for e in episodes(sample):
        row, ahead, U_next = [0.0] * len(e.r), 0.0, e.final
        for t in reversed(e.turns):
            trace = 0.0 if (t + 1) % every == 0 else ahead
            ahead = row[t] = e.r[t] + GAMMA * U_next - e.U[t] + GAMMA * LAM * trace
            U_next = e.U[t]
        advantage.append(row)
        target.append([row[t] + e.U[t] for t in e.turns])
    width = sample.batch.rewards_BT.shape[1]
    mask = sample.batch.mask_BT
    return {"advantage_BT": padded(advantage, width), "return_BT": padded(target, width), "mask_BT": mask}


def grouped(sample: Sample, rows: Rows) -> Arrays:
    return {"advantage_BT": padded(rows, sample.batch.rewards_BT.shape[1]), "mask_BT": sample.batch.mask_BT}


def against(x: float, peers: Row, *, std: bool) -> float:
    scale = stdev(peers) if std and len(peers) > 1 and stdev(peers) > 0 else 1.0
    return (x - mean(peers)) / scale


def grpo(sample: Sample, *, std: bool = True) -> Arrays:
    all_ = episodes(sample)
    peers = [[sum(j.r) for j in all_ if j.group == i.group] for i in all_]
    return grouped(sample, [[against(sum(e.r), p, std=std) for _ in e.turns] for e, p in zip(all_, peers, strict=True)])


def rloo(sample: Sample) -> Arrays:
    all_ = episodes(sample)
    others = [mean(sum(j.r) for j in all_ if j.group == i.group and j is not i) for i in all_]
    return grouped(sample, [[sum(e.r) - other for _ in e.turns] for e, other in zip(all_, others, strict=True)])


def reinforce_pp(sample: Sample, *, baseline: bool = False) -> Arrays:
    all_ = episodes(sample)
    to_go = [e.to_go(final=0.0) for e in all_]
    rows = []
    for e, row in zip(all_, to_go, strict=True):
        peers = mean(g[0] for j, g in zip(all_, to_go, strict=True) if j.group == e.group)
        rows.append([x - peers * baseline for x in row])
    everything = list(chain(*rows))
    return grouped(sample, [[against(x, everything, std=True) for x in row] for row in rows])


def gigpo(sample: Sample, *, weight: float = 0.5, std: bool = True) -> Arrays:
    all_ = episodes(sample)
    anchors: dict[Hashable, Row] = defaultdict(list)
    for e in all_:
        for t, x in enumerate(e.to_go(final=0.0)):
            anchors[e.group, e.state[t]].append(x)
    rows = []
    for e in all_:
        whole = against(sum(e.r), [sum(j.r) for j in all_ if j.group == e.group], std=std)
        steps = [
            against(x, anchors[e.group, e.state[t]], std=std) if e.state[t] >= 0 else 0.0
            for t, x in enumerate(e.to_go(final=0.0))
        ]
        rows.append([whole + weight * step for step in steps])
    return grouped(sample, rows)


# What a place is, for each of the three values; None where there is none.
def place(e: Episode, which: str, t: int) -> Hashable | None:
    if e.state[t] < 0 or (which == "high" and not e.opens[t]):
        return None
    if which == "high":
        return e.state[t]
    if which == "U" and t == 0:
        return None
    subgoal = e.before[t] if which == "U" else e.subgoal[t]
    return (e.state[t], subgoal) if subgoal >= 0 else None


def value(e: Episode, which: str, t: int) -> float:
    return float({"U": e.U, "high": e.H, "low": e.L}[which][t])


def first_visits(e: Episode, which: str, first_turn: int = 0) -> dict[Hashable, int]:
    out: dict[Hashable, int] = {}
    for t in e.turns:
        key = place(e, which, t)
        if key is not None and t >= first_turn:
            out.setdefault(key, t)
    return out


def trust(all_: list[Episode], group: int, which: str, first_turn: int = 0) -> tuple[float, float] | None:
    """σ² and τ² as all tasks but `group` show them; None if nobody met."""
    at: dict[Hashable, list[tuple[float, float]]] = defaultdict(list)
    for e in all_:
        if e.group != group:
            for key, t in first_visits(e, which, first_turn).items():
                at[e.group, key].append((e.to_go()[t], value(e, which, t)))
    free = within = missed = 0.0
    for pairs in at.values():
        n, middle = len(pairs), mean(g for g, _ in pairs)
        free += n - 1
        within += sum((g - middle) ** 2 for g, _ in pairs)
        missed += (n - 1) / n * sum((g - v) ** 2 for g, v in pairs)
    return (within / free, max(0.0, missed - within) / free) if free else None


def unexplained(all_: list[Episode], is_own: list[bool]) -> float:
    pairs = [
        (e.to_go()[t], e.H[t])
        for e, own in zip(all_, is_own, strict=True)
        if not own
        for t in e.turns[1:]
        if e.opens[t]
    ]
    spread = sum((g - mean(x for x, _ in pairs)) ** 2 for g, _ in pairs)
    missed = sum((g - v) ** 2 for g, v in pairs)
    return missed / spread if missed < spread else 1.0


def sibling_values(sample: Sample, update: int = 1, *, told: bool = False) -> Arrays:
    all_ = episodes(sample, told=told)
    rows: dict[str, Rows] = defaultdict(list)
    for e in all_:
        for which, name in (("U", "U_BT"), ("high", "V_high_BT"), ("low", "V_low_BT")):
            blends, weights = [], []
            for t in e.turns:
                heard = siblings_of(all_, e, which, t)
                moments = trust(all_, e.group, which) or (0.0, 0.0)
                weight = len(heard) * moments[1]
                weight = weight / (weight + moments[0]) if weight else 0.0
                read = {"U": t > 0, "high": e.opens[t], "low": True}[which]
                blend = weight * mean(heard) + (1 - weight) * value(e, which, t) if heard else value(e, which, t)
                blends.append(blend if read else 0.0)
                weights.append(weight)
            rows[name].append(blends)
            rows[f"weight_{which}_BT"].append(weights)
        heard_by = rows["weight_high_BT"][-1]
        rows["lam_boundary_BT"].append(
            [own_share(all_, e, t, update, heard_by[t]) if t and e.opens[t] else 0.0 for t in e.turns]
        )
    return {name: padded(x, sample.batch.rewards_BT.shape[1]) for name, x in rows.items()}


def siblings_of(all_: list[Episode], e: Episode, which: str, t: int) -> Row:
    key = place(e, which, t)
    peers = [j for j in all_ if j.group == e.group and j is not e]
    return [j.to_go()[first_visits(j, which)[key]] for j in peers if key in first_visits(j, which)]


def own_share(all_: list[Episode], e: Episode, t: int, update: int, w: float) -> float:
    moments = trust(all_, e.group, "high", first_turn=1)
    if moments is None:
        return unexplained(all_, [j.group == e.group for j in all_])
    noise, error = moments
    others = siblings_of(all_, e, "high", t)
    heard = w * w * noise / len(others) if others else 0.0
    own = update * (heard + (1 - w) * (1 - w) * error)
    return own / (own + noise) if own + noise else 1.0


def adaptive_lam_boundary(sample: Sample, *, groups: bool = True, update: int = 1) -> Arrays:
    all_ = episodes(sample)
    out = []
    for e in all_:
        moments = trust(all_, e.group, "high", first_turn=1) if groups else None
        if moments is None:
            out.append(unexplained(all_, [(j.group == e.group) if groups else (j is e) for j in all_]))
        else:
            noise, error = moments[0] / update, moments[1]
            out.append(error / (noise + error) if noise + error else 1.0)
    return {"kappa_B": np.array(out)}


def sibling_hae(sample: Sample, kappa: float | None = None, *, told: bool = False) -> Arrays:
    heard, out = sibling_values(sample, told=told), []
    for b, e in enumerate(episodes(sample)):
        U, H, L, K = (heard[x][b].tolist() for x in ("U_BT", "V_high_BT", "V_low_BT", "lam_boundary_BT"))
        K = K if kappa is None else [kappa] * len(K)
        n = len(e.r)
        M, S, action = [0.0] * n, [0.0] * n, [0.0] * n
        M_next = S_next = V_next = e.final
        tail = 0.0
        for t in reversed(e.turns):
            M[t], S[t] = e.r[t] + GAMMA * M_next, e.r[t] + GAMMA * S_next
            action[t] = e.r[t] + GAMMA * V_next - L[t] + GAMMA * LOW * tail
            if e.opens[t]:
                M_next, S_next = H[t] + HIGH * (M[t] - H[t]), H[t] + K[t] * HIGH * (S[t] - H[t])
                V_next, tail = H[t], K[t] * (M[t] - H[t])
            else:
                M_next, S_next, V_next, tail = M[t], S[t], L[t], action[t]
        out.append(
            (
                [S[t] - U[t] if t else 0.0 for t in e.turns],
                [M[t] - H[t] if e.opens[t] else 0.0 for t in e.turns],
                action,
                S,
                [M[t] if e.opens[t] else 0.0 for t in e.turns],
                [action[t] + L[t] for t in e.turns],
            )
        )
    return hierarchical(sample, out)


TWINS = {
    "token_gae": token_gae,
    "option_gae": option_gae,
    "hae_eb": hae_eb,
    "hae_eb, values": lambda s: hae_eb(s, from_values=True),
    "fixed_hae": fixed_hae,
    "grpo": grpo,
    "dr_grpo": lambda s: grpo(s, std=False),
    "rloo": rloo,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp, baseline": lambda s: reinforce_pp(s, baseline=True),
    "gigpo": gigpo,
    "gigpo, no std": lambda s: gigpo(s, weight=1.0, std=False),
    "sibling_hae": sibling_hae,
    "sibling_hae, fixed": lambda s: sibling_hae(s, kappa=0.5),
    "sibling_hae, told what was before": lambda s: sibling_hae(s, told=True),
    "sibling_values": sibling_values,
    "sibling_values, told what was before": lambda s: sibling_values(s, told=True),
    "adaptive_lam_boundary": adaptive_lam_boundary,
    "adaptive_lam_boundary, of a batch": lambda s: adaptive_lam_boundary(s, update=8),
    "sibling_values, of a batch": lambda s: sibling_values(s, update=8),
    "adaptive_lam_boundary, no groups": lambda s: adaptive_lam_boundary(s, groups=False),
}
