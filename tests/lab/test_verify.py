"""The whole run, small; and what the command does with what it finds."""

import doctest
import json

import pytest

from hiper import lab
from hiper.cli import main
from hiper.lab import Check, Claim, Effort, Report, Row, findings, training, verify

FAILED = Check(text="two and two", found=5.0, limit=4.0)
PASSED = Check(text="one and one", found=2.0, limit=2.0)
ROW = Row(
    estimator="gae, λ 1",
    critic="wrong",
    bias=0.25,
    cosine=1.0,
    variance=2.7,
    drawn_bias=1e-16,
    drawn_test=1.2,
    drawn_variance=107.0,
)
CLAIM = Claim(source="ours", text="it works", verdict="holds if", condition="it does", numbers={"share": "3 %"})


def test_all_studies_run_on_any_seed_and_their_checks_pass() -> None:
    said: list[str] = []
    report = verify(Effort(seed=417, worlds=1, drawn_worlds=1, episodes=400, trainings=0), said.append)
    assert report.failed == ()
    assert len(report.checks) > 15
    assert len(said) == len({line.split()[0] for line in said})
    assert {claim.source for claim in report.claims} == {"paper", "practice", "ours"}
    again = json.loads(json.dumps(report.as_json()))
    assert [one["verdict"] for one in again["claims"]] == [claim.verdict for claim in report.claims]
    assert all(one["passed"] for one in again["checks"])


def test_a_check_that_fails_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(claims=(CLAIM,), checks=(PASSED, FAILED), rows=(ROW,), tables={})
    monkeypatch.setattr(lab, "verify", lambda effort, say: report)
    assert main(["verify", "--quick", "--json", "-"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["checks"][1] == {"text": "two and two", "found": 5.0, "limit": 4.0, "passed": False}
    assert json.loads(out)["bias and variance of every estimator, exact and perturbed values"][0]["variance"] == 2.7
    (line,) = (line for line in err.splitlines() if line.startswith("gae, λ 1"))
    assert line.split() == ["gae,", "λ", "1", "25.0", "2.7", "0", "1", "107"]
    assert err.splitlines()[-1] == "hiper: failed: two and two: 5, expected at most 4"
    assert "HOLDS IF  ours      it works" in err
    assert "1 of 2 exact checks passed" in err


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(findings) == (0, 4)
    assert doctest.testmod(training) == (0, 1)


def test_a_check_that_is_not_a_number_fails() -> None:
    assert not Check(text="nothing", found=float("nan"), limit=1.0).passed
