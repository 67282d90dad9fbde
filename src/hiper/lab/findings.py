"""What a study hands back: claims with a verdict, and checks that must hold exactly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["holds", "holds if", "undecided", "fails"]
Critic = Literal["exact", "wrong", "none"]
EXACT = 1e-12  # of what must hold to rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One sentence, whose it is, and what came of it.

    Example: Claim(source="paper", text="the gradient is unbiased, given learned values", verdict="holds if",
    condition="lam_boundary = lam_low = lam_high = 1", numbers={"hae λ 1": "3.7 % [0.8, 9.4]"})
    """

    source: Literal["paper", "practice", "ours"]
    text: str
    verdict: Verdict
    condition: str  # what "if" is, or why it fails; may be empty
    numbers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that is true to rounding, or the code is wrong."""

    text: str
    found: float
    limit: float

    @property
    def passed(self) -> bool:
        return bool(self.found <= self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One estimator with one critic: bias and variance over all pairs of episodes of a small task, and by drawing.

    bias: distance of the mean to the true gradient, in lengths of that; root mean square over worlds.
    cosine: between the two.
    variance: of one episode's gradient, in squared lengths of the estimator's own mean, so that scales do not matter.
    drawn_test: T test of the true gradient, in standard deviations: how clearly the bias is seen in the draws.

    Example: Row(estimator="gae, λ 1", critic="wrong", bias=0.0, cosine=1.0, variance=2.7, drawn_bias=0.0,
    drawn_test=1.2, drawn_variance=107.0)
    """

    estimator: str
    critic: Critic
    bias: float
    cosine: float
    variance: float
    drawn_bias: float
    drawn_test: float
    drawn_variance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Of one study. `tables` holds every number behind the claims, by name."""

    claims: tuple[Claim, ...] = ()
    checks: tuple[Check, ...] = ()
    rows: tuple[Row, ...] = ()
    tables: dict[str, dict[str, list[float]]]


def percent(values: Sequence[float]) -> str:
    """Mean and range of fractions over worlds: "3.7 % [0.8, 9.4]"; what is rounding is called 0.

    >>> percent([0.02, 0.04]), percent([1e-16, 3e-15])
    ('3.0 % [2.0, 4.0]', '0')
    """
    if max(abs(value) for value in values) < 1e-12:
        return "0"
    return f"{100 * float(np.mean(values)):.1f} % [{100 * min(values):.1f}, {100 * max(values):.1f}]"


def ratio(values: Sequence[float]) -> str:
    """Geometric mean and range of ratios over worlds.

    >>> ratio([0.5, 2.0])
    '1.00 [0.50, 2.00]'
    """
    return f"{geometric_mean(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def geometric_mean(values: Sequence[float]) -> float:
    return float(np.exp(np.log(values).mean()))


def half_width(values: Sequence[float]) -> float:
    """Half the 95 % interval of a mean: Student's quantile times the standard error. Two values or more.

    >>> round(half_width([1.0, 3.0]), 3)  # 12.706 times 2 / √2 / √2, the standard error 1
    12.706
    """
    return student(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def student(df: int) -> float:
    """The t with 95 % of Student's distribution between -t and t; df is 1 or more.

    With θ = arctan(t / √df) that share is a finite sum of powers of cos θ: Abramowitz and Stegun 26.7.3 and 26.7.4.

    >>> [round(student(df), 3) for df in (1, 2, 7, 30)]
    [12.706, 4.303, 2.365, 2.042]
    """

    def inside(theta: float) -> float:
        cos_2 = math.cos(theta) ** 2
        odd = df % 2
        term = math.cos(theta) if odd else 1.0
        total = 0.0
        for k in range(odd, df - 1, 2):
            total += term
            term *= (k + 1) / (k + 2) * cos_2
        area = math.sin(theta) * total
        return 2 / math.pi * (theta + area) if odd else area

    low, high = 0.0, math.pi / 2
    while high - low > 1e-14:
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < 0.95 else (low, middle)
    return math.sqrt(df) * math.tan(low)
