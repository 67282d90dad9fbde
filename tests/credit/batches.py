"""Batches of ragged episodes to try the estimators on, and the one with known answers."""

from dataclasses import asdict, dataclass, replace

import numpy as np
from hypothesis import strategies as st

NAN = float("nan")


@dataclass(frozen=True)
class Batch:
    """The array arguments of `hae`, by their names."""

    rewards_BT: np.ndarray
    switches_BT: np.ndarray
    lengths_B: np.ndarray
    terminated_B: np.ndarray
    U_BT: np.ndarray
    V_high_BT: np.ndarray
    V_low_BT: np.ndarray
    U_final_B: np.ndarray

    @property
    def mask_BT(self) -> np.ndarray:
        return np.arange(self.rewards_BT.shape[1]) < self.lengths_B[:, None]

    @property
    def boundary_BT(self) -> np.ndarray:
        return self.mask_BT & (self.switches_BT | (np.arange(self.rewards_BT.shape[1]) == 0))

    def arrays(self) -> dict[str, np.ndarray]:
        return asdict(self)

    def with_(self, **arrays: np.ndarray) -> "Batch":
        return replace(self, **arrays)

    def unread_as_nan(self) -> "Batch":
        """NaN in every place that an estimator must not look at."""
        turn_0_BT = np.arange(self.rewards_BT.shape[1]) == 0
        return self.with_(
            rewards_BT=np.where(self.mask_BT, self.rewards_BT, NAN),
            U_BT=np.where(self.mask_BT & ~turn_0_BT, self.U_BT, NAN),
            V_high_BT=np.where(self.boundary_BT, self.V_high_BT, NAN),
            V_low_BT=np.where(self.mask_BT, self.V_low_BT, NAN),
            U_final_B=np.where(self.terminated_B, NAN, self.U_final_B),
        )


def random_batch(seed: int, lengths: list[int], padding: int = 0, switch_rate: float = 0.4) -> Batch:
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths) + padding)
    return Batch(
        rewards_BT=rng.normal(size=shape),
        switches_BT=rng.random(shape) < switch_rate,
        lengths_B=np.array(lengths),
        terminated_B=rng.random(len(lengths)) < 0.5,
        U_BT=rng.normal(size=shape),
        V_high_BT=rng.normal(size=shape),
        V_low_BT=rng.normal(size=shape),
        U_final_B=rng.normal(size=len(lengths)),
    )


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    return random_batch(
        seed=draw(st.integers(0, 2**32 - 1)),
        lengths=draw(st.lists(st.integers(1, 12), min_size=1, max_size=5)),
        padding=draw(st.integers(0, 3)),
        switch_rate=draw(st.sampled_from([0.0, 0.2, 0.5, 1.0])),
    )


fractions = st.sampled_from([0.0, 0.3, 0.95, 1.0]) | st.floats(0.0, 1.0)

# Six turns, segments [0, 3), [3, 5), [5, 6). The 9s stand where V_high must not be read.
GOLDEN = Batch(
    rewards_BT=np.array([[0, 1, 0, -0.5, 0, 2]]),
    switches_BT=np.array([[True, False, False, True, False, True]]),
    lengths_B=np.array([6]),
    terminated_B=np.array([True]),
    U_BT=np.array([[0.4, 0.5, 0.45, 0.6, 0.75, 1.3]]),
    V_high_BT=np.array([[0.45, 9, 9, 0.7, 9, 1.2]]),
    V_low_BT=np.array([[0.5, 0.6, 0.4, 0.3, 0.8, 1.5]]),
    U_final_B=np.array([1.1]),
)
