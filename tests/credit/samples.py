"""Every estimator under one roof: a sample that holds all that any of them takes, and how each is called on it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from hiper import credit
from tests.credit.batches import NAN, Batch, random_batch

Arrays = dict[str, np.ndarray]
_OWN = ("group_B", "state_BT", "subgoal_BT", "before_BT", "turn_BL", "V_BL")


@dataclass(frozen=True)
class Sample:
    """A batch, its tasks, states, subgoals and subgoals before the turn, and its tokens: one to three a turn."""

    batch: Batch
    group_B: np.ndarray
    state_BT: np.ndarray
    subgoal_BT: np.ndarray
    before_BT: np.ndarray
    turn_BL: np.ndarray
    V_BL: np.ndarray

    def arrays(self) -> Arrays:
        """All arrays by the names of the arguments."""
        own = {name: getattr(self, name) for name in _OWN}
        return {**self.batch.arrays(), **own}

    @classmethod
    def of(cls, arrays: Arrays) -> "Sample":
        names = Batch.__annotations__
        own = {name: array for name, array in arrays.items() if name not in names}
        return cls(batch=Batch(**{name: arrays[name] for name in names}), **own)

    def unread_as_nan(self, *, U_at_turn_0: bool = False) -> "Sample":
        """NaN in every place that no estimator may look at; an absurd id where there is no turn."""
        batch = self.batch.unread_as_nan()
        if U_at_turn_0:
            batch = batch.with_(U_BT=np.where(self.batch.mask_BT, self.batch.U_BT, NAN))
        return replace(
            self,
            batch=batch,
            state_BT=np.where(self.batch.mask_BT, self.state_BT, -99),
            subgoal_BT=np.where(self.batch.mask_BT, self.subgoal_BT, -99),
            before_BT=np.where(self.batch.mask_BT, self.before_BT, -99),
            V_BL=np.where(self.turn_BL >= 0, self.V_BL, NAN),
        )


def random_sample(
    seed: int, sizes: list[int], *, longest: int = 6, padding: int = 0, switch_rate: float = 0.4
) -> Sample:
    """Tasks of the given sizes, their episodes shuffled; three states and two subgoals, so that many meet.

    V_high foretells the rest of the rewards to some degree, so that it can be trusted to some degree.
    """
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, longest + 1, size=sum(sizes)).tolist()
    batch = random_batch(seed, lengths, padding, switch_rate)
    shape = batch.rewards_BT.shape
    to_go_BT = np.cumsum((batch.rewards_BT * batch.mask_BT)[:, ::-1], axis=1)[:, ::-1]
    batch = batch.with_(V_high_BT=to_go_BT + rng.uniform(0.0, 2.0) * batch.V_high_BT)
    tokens = [np.repeat(np.arange(n), rng.integers(1, 4, size=n)) for n in lengths]
    turn_BL = np.full((len(lengths), max(map(len, tokens)) + padding), -1)
    for row, turns in zip(turn_BL, tokens, strict=True):
        row[: len(turns)] = turns
    return Sample(
        batch=batch,
        group_B=rng.permutation(np.repeat(rng.choice(99, size=len(sizes), replace=False), sizes)),
        state_BT=rng.integers(-1, 3, size=shape),
        subgoal_BT=rng.integers(-1, 2, size=shape),
        before_BT=rng.integers(-1, 2, size=shape),
        turn_BL=turn_BL,
        V_BL=rng.normal(size=turn_BL.shape),
    )


@st.composite
def samples(draw: st.DrawFn, least: int = 2) -> Sample:
    return random_sample(
        seed=draw(st.integers(0, 2**32 - 1)),
        sizes=draw(st.lists(st.integers(least, 4), min_size=1, max_size=4)),
        padding=draw(st.integers(0, 2)),
        switch_rate=draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])),
    )


FLAT = ("rewards_BT", "lengths_B", "terminated_B", "U_BT", "U_final_B")
HIGH = ("rewards_BT", "switches_BT", "lengths_B", "terminated_B", "U_BT", "V_high_BT", "V_low_BT", "U_final_B")
TOKENS = ("rewards_BT", "lengths_B", "terminated_B", "turn_BL", "V_BL", "U_final_B")
GROUPS = ("rewards_BT", "lengths_B", "group_B")
SIBLINGS = (*HIGH, "group_B", "state_BT", "subgoal_BT")
BOUNDARY = ("rewards_BT", "switches_BT", "lengths_B", "terminated_B", "V_high_BT", "U_final_B")


@dataclass(frozen=True)
class Estimator:
    """A function of `hiper.credit` with the arguments it takes and some settings."""

    function: str
    takes: tuple[str, ...]
    settings: dict[str, Any]

    def hidden(self, sample: Sample) -> Sample:
        return sample.unread_as_nan(U_at_turn_0=self.takes == FLAT)

    def __call__(self, sample: Sample, room: Any = credit) -> Arrays:
        arrays = sample.arrays()
        result = getattr(room, self.function)(*(arrays[name] for name in self.takes), **self.settings)
        if isinstance(result, np.ndarray):
            return {"kappa_B": result}
        return {name: getattr(result, name) for name in result.__slots__}


G = {"gamma": 0.9}
LAMS = {**G, "lam_low": 0.8, "lam_high": 0.7}
ESTIMATORS: dict[str, Estimator] = {
    "gae": Estimator("gae", FLAT, {**G, "lam": 0.8}),
    "token_gae": Estimator("token_gae", TOKENS, {**G, "lam": 0.8}),
    "option_gae": Estimator("option_gae", HIGH, {**G, "lam": 0.8}),
    "hae": Estimator("hae", HIGH, {**LAMS, "lam_boundary": 0.5}),
    "hae_eb": Estimator("hae_eb", HIGH, {**G, "lam": 0.8}),
    "hae_eb, values": Estimator("hae_eb", HIGH, {**G, "lam": 0.8, "switch_from_values": True}),
    "fixed_hae": Estimator("fixed_hae", FLAT, {**G, "lam": 0.8, "every": 2}),
    "grpo": Estimator("grpo", GROUPS, {}),
    "dr_grpo": Estimator("grpo", GROUPS, {"normalise_std": False}),
    "rloo": Estimator("rloo", GROUPS, {}),
    "reinforce_pp": Estimator("reinforce_pp", GROUPS[:2], G),
    "reinforce_pp, baseline": Estimator("reinforce_pp", GROUPS, G),
    "gigpo": Estimator("gigpo", (*GROUPS, "state_BT"), {**G, "step_weight": 0.5}),
    "gigpo, no std": Estimator("gigpo", (*GROUPS, "state_BT"), {**G, "normalise_std": False}),
    "sibling_hae": Estimator("sibling_hae", SIBLINGS, LAMS),
    "sibling_hae, fixed": Estimator("sibling_hae", SIBLINGS, {**LAMS, "lam_boundary": 0.5}),
    "sibling_hae, told what was before": Estimator("sibling_hae", (*SIBLINGS, "before_BT"), LAMS),
    "sibling_values": Estimator("sibling_values", SIBLINGS, G),
    "sibling_values, told what was before": Estimator("sibling_values", (*SIBLINGS, "before_BT"), G),
    "adaptive_lam_boundary": Estimator("adaptive_lam_boundary", (*BOUNDARY, "group_B", "state_BT"), G),
    "adaptive_lam_boundary, of a batch": Estimator(
        "adaptive_lam_boundary", (*BOUNDARY, "group_B", "state_BT"), {**G, "averaged_over": 8}
    ),
    "sibling_values, of a batch": Estimator("sibling_values", SIBLINGS, {**G, "averaged_over": 8}),
    "adaptive_lam_boundary, no groups": Estimator("adaptive_lam_boundary", BOUNDARY, G),
}
# Those that treat each episode by itself, whatever else is in the batch.
BY_EPISODE = ("gae", "token_gae", "option_gae", "hae", "hae_eb", "hae_eb, values", "fixed_hae")
