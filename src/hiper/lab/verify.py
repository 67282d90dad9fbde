"""All studies in one go, and the table they end in."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from textwrap import wrap

from hiper.lab import bias, noise, pairs, pitfalls, siblings, training
from hiper.lab.cases import Effort
from hiper.lab.findings import Check, Claim, Findings

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
    ("comparing the episodes of a task", pairs.comparisons),
    ("siblings, pair by pair", pairs.heard),
    ("siblings, in groups of eight", siblings.groups),
)
TRAINING = ("learning", training.training)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `verify` found."""

    claims: tuple[Claim, ...]
    checks: tuple[Check, ...]
    tables: dict[str, dict[str, list[float]]]

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, object]:
        """Plain lists and dicts."""
        return {
            "claims": [asdict(claim) for claim in self.claims],
            "checks": [{**asdict(check), "passed": check.passed} for check in self.checks],
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
        return "\n".join([*lines, "", f"{passed} of {len(self.checks)} exact checks passed"])


def verify(effort: Effort, say: Callable[[str], None]) -> Report:
    """Run all studies; `say` hears which one begins."""
    claims: list[Claim] = []
    checks: list[Check] = []
    tables: dict[str, dict[str, list[float]]] = {}
    studies = (*STUDIES, TRAINING) if effort.trainings else STUDIES
    for number, (name, study) in enumerate(studies, start=1):
        say(f"{number}/{len(studies)} {name}")
        findings = study(effort)
        claims += findings.claims
        checks += findings.checks
        tables |= findings.tables
    return Report(claims=tuple(claims), checks=tuple(checks), tables=tables)
