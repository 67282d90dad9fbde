"""All studies in one go, and the table they end in."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from textwrap import wrap

from hiper.lab import bias, hidden, noise, pitfalls, siblings, survey, training
from hiper.lab.cases import Effort
from hiper.lab.findings import Check, Claim, Critic, Findings, Row

STUDIES: tuple[tuple[str, Callable[[Effort], Findings]], ...] = (
    ("the oracle itself", bias.oracle),
    ("exact and wrong values", bias.values),
    ("values gone stale", bias.staleness),
    ("what a switch is credited with", bias.switches),
    ("the discount in front", bias.discount),
    ("variance of single tokens", noise.token_variance),
    ("variance of the gradient", noise.gradient_variance),
    ("normalisation by level", pitfalls.scales),
    ("cut episodes", pitfalls.truncation),
    ("penalties on KEEP", pitfalls.shaping),
    ("every estimator, exact and wrong values", survey.everyone),
    ("siblings, in groups of eight", siblings.groups),
    ("what a task hides", lambda _: hidden.coin()),
)
TRAINING = ("learning", training.training)
TABLE = "bias and variance of every estimator, exact and perturbed values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `verify` found."""

    claims: tuple[Claim, ...]
    checks: tuple[Check, ...]
    rows: tuple[Row, ...]
    tables: dict[str, dict[str, list[float]]]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, object]:
        """Plain lists and dicts."""
        return {
            "claims": [asdict(claim) for claim in self.claims],
            "checks": [{**asdict(check), "passed": check.passed} for check in self.checks],
            TABLE: [asdict(row) for row in self.rows],
            "tables": self.tables,
        }

    def as_text(self, width: int = 118) -> str:
        """The table: verdict, whose claim, the claim; below it the condition, and the numbers."""
        indent = " " * 20
        lines = []
        for claim in self.claims:
            head = f"{claim.verdict.upper():10s}{claim.source:10s}"
            numbers = " · ".join(f"{name}: {value}" for name, value in claim.numbers.items())
            lines += wrap(claim.text, width, initial_indent=head, subsequent_indent=indent)
            for part in (claim.condition, numbers):
                lines += wrap(part, width, initial_indent=indent, subsequent_indent=indent)
        passed = len(self.checks) - len(self.failed)
        lines += _rows_as_text(self.rows)
        return "\n".join([*lines, "", f"{passed} of {len(self.checks)} exact checks passed"])


def _rows_as_text(rows: tuple[Row, ...]) -> list[str]:
    """One line an estimator: bias in % and variance, over all pairs and drawn, at exact and wrong values.

    Behind a drawn bias, how many standard deviations the T test is off. A bias of 0 is rounding, or not seen in draws.
    """
    if not rows:
        return []
    by_name: dict[str, dict[Critic, Row]] = {}
    for row in rows:
        by_name.setdefault(row.estimator, {})[row.critic] = row
    summed, drawn = f"{'bias %':>8s}{'var':>6s}", f"{'bias %':>8s}{'test':>5s}{'var':>6s}"
    lines = [
        "",
        TABLE.upper(),
        f"{'':46s}{'two turns, every pair':>28s}{'twelve turns, drawn groups of eight':>38s}",
        f"{'':46s}{'exact':>14s}{'wrong':>14s}{'exact':>19s}{'wrong':>19s}",
        f"{'':46s}{2 * summed}{2 * drawn}",
    ]
    for name, found in by_name.items():
        cells = found.get("exact", found.get("none")), found.get("wrong")
        small = (f"{_share(x.bias):>8s}{x.variance:6.1f}" if x else " " * len(summed) for x in cells)
        large = (f"{_share(x.drawn_bias):>8s}{x.drawn_test:5.0f}{x.drawn_variance:6.0f}" if x else "" for x in cells)
        lines.append(f"{name:46s}{''.join(small)}{''.join(large)}")
    return lines


def _share(x: float) -> str:
    return "0" if x < 1e-12 else f"{100 * x:.1f}"


def verify(effort: Effort, say: Callable[[str], None]) -> Report:
    """Run all studies; `say` hears which one begins."""
    claims: list[Claim] = []
    checks: list[Check] = []
    rows: list[Row] = []
    tables: dict[str, dict[str, list[float]]] = {}
    studies = (*STUDIES, TRAINING) if effort.trainings else STUDIES
    for number, (name, study) in enumerate(studies, start=1):
        say(f"{number}/{len(studies)} {name}")
        findings = study(effort)
        claims += findings.claims
        checks += findings.checks
        rows += findings.rows
        tables |= findings.tables
    return Report(claims=tuple(claims), checks=tuple(checks), rows=tuple(rows), tables=tables)
