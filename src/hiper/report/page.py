"""The report of a run: one HTML page that needs nothing else, neither from the disk nor from the network."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hiper.records import REPORT_FILE, write_whole
from hiper.report.curves import column, sections, success_chart, time_chart
from hiper.report.episodes import episode_view
from hiper.report.guards import guard_lines
from hiper.report.marks import dumbbell
from hiper.report.read import Row, Run, number, read_run
from hiper.report.results import Comparison, Rate, comparisons, difference
from hiper.report.words import (
    DASH,
    STAGES,
    count,
    duration,
    figure,
    interval,
    percent,
    plain,
    points,
    visible,
)

_TEMPLATE = "page.html.j2"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateView:
    """A rate as text."""

    share: str
    interval: str
    episodes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A line of the result table; `change` is empty where there is nothing to compare."""

    name: str
    before: RateView | None
    after: RateView | None
    change: str
    change_interval: str
    plot: Markup


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultTable:
    """One evaluated split, all task types together in the first row."""

    title: str
    sampling: str
    held_out: bool
    before: str
    after: str
    rows: tuple[TaskRow, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A key figure."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A large number of the verdict; `kind` is "before", "after" or "change"."""

    kind: str
    name: str
    value: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the run comes to: the question, the numbers that answer it, and what they rest on."""

    question: str
    figures: tuple[Figure, ...]
    remark: str


def write_report(folder: str | Path, out: str | Path | None = None) -> Path:
    """Write the report of the run in `folder` to `out` (default: into the folder); returns its path."""
    folder = Path(folder)
    path = folder / REPORT_FILE if out is None else Path(out)
    page = render(read_run(folder))
    write_page(path, page)
    return path


def write_page(path: Path, page: str) -> None:
    """Whole, or not at all; where a pipe or a device stands there, into it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        path.write_text(page, encoding="utf-8", errors="replace")
        return
    write_whole(path, page, errors="replace")


def render(run: Run) -> str:
    """The page as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(_content(run))


def _content(run: Run) -> Mapping[str, object]:
    """Everything the template shows."""
    compared = comparisons(run.evals)
    episodes = [episode_view(episode) for episode in run.episodes]
    return {
        "name": visible(run.name),
        "stages": [STAGES[stage] for stage in run.stages],
        "gaps": [visible(gap) for gap in (*run.missing, *run.problems)],
        "guards": guard_lines(run.training),
        "verdict": _verdict(run, compared),
        "tables": [_table(one) for one in compared],
        "facts": _facts(run),
        "hero": success_chart(run, compared, width=1080, height=280),
        "hero_small": success_chart(run, compared, width=360, height=230),
        "sections": sections(run),
        "times": time_chart(run, width=1080, height=230),
        "times_small": time_chart(run, width=360, height=210),
        "episodes": episodes,
        "episodes_words": _chosen(run),
        "endings": sorted({episode.ending for episode in episodes}),
        "tasks": sorted({episode.task for episode in episodes}),
        "sources": list(dict.fromkeys(episode.step for episode in episodes)),
        "config": visible(run.config),
        "environment": [(visible(name), visible(value)) for name, value in _flat(run.environment)],
    }


def _verdict(run: Run, compared: Sequence[Comparison]) -> Verdict:
    """Success in evaluation, before and after; where there was none, success in training."""
    if compared:
        return _evaluated(compared[0])
    success = column(run.training, "rollout/success")
    success = success[np.isfinite(success)]
    if not len(success):
        return Verdict(question="No success rate was recorded.", figures=(), remark="Nothing to compare yet.")
    span = max(1, len(success) // 10)
    steps = f"{span} steps" if span > 1 else "step"
    figures = (
        Figure(
            kind="before",
            name=f"first {steps}",
            value=percent(float(success[:span].mean())),
            note="mean",
        ),
        Figure(kind="after", name=f"last {steps}", value=percent(float(success[-span:].mean())), note="mean"),
    )
    remark = "Success of the episodes that were trained on: no evaluation on held-out tasks was recorded."
    return Verdict(question="Success in training", figures=figures, remark=remark)


def _evaluated(compared: Comparison) -> Verdict:
    before, after = compared.rates()
    figures = [
        _large(kind, label, rate)
        for kind, label, rate in (
            ("before", f"before: {compared.before.label}" if compared.before else "", before),
            ("after", f"after: {compared.after.label}" if compared.before else compared.after.label, after),
        )
        if rate
    ]
    if before and after:
        change, low, high = difference(before, after)
        figures.append(Figure(kind="change", name="change, points", value=points(change), note=interval(low, high)))
    return Verdict(
        question=f"Success on {'held-out ' if compared.held_out else ''}tasks ({visible(compared.title)})",
        figures=tuple(figures),
        remark="Brackets are 95 % intervals." if before or not math.isnan(after.low if after else math.nan) else "",
    )


def _large(kind: str, label: str, rate: Rate) -> Figure:
    note = f"{interval(rate.low, rate.high)} of {count(rate.episodes)} episodes".strip()
    return Figure(kind=kind, name=label, value=percent(rate.share), note=note)


def _table(compared: Comparison) -> ResultTable:
    rows = [_row("all task types", *compared.rates())]
    if len(compared.tasks) > 1:
        rows += [_row(visible(plain(name)), *compared.rates(name)) for name in compared.tasks]
    return ResultTable(
        title=visible(compared.title),
        sampling="greedy replies" if compared.greedy else "sampled replies",
        held_out=compared.held_out,
        before=compared.before.label if compared.before else "",
        after=compared.after.label,
        rows=tuple(rows),
        remarks=_remarks(compared),
    )


def _row(name: str, before: Rate | None, after: Rate | None) -> TaskRow:
    change = difference(before, after) if before and after else None
    return TaskRow(
        name=name,
        before=_rate(before),
        after=_rate(after),
        change=points(change[0]) if change else "",
        change_interval=interval(change[1], change[2]) if change else "",
        plot=dumbbell(before, after),
    )


def _rate(rate: Rate | None) -> RateView | None:
    if rate is None:
        return None
    return RateView(share=percent(rate.share), interval=interval(rate.low, rate.high), episodes=count(rate.episodes))


def _remarks(compared: Comparison) -> tuple[str, ...]:
    """Invalid replies and episode length, before and after."""
    results = [result for result in (compared.before, compared.after) if result]
    invalid = " → ".join(percent(result.invalid_rate) for result in results)
    turns = " → ".join(figure(result.turns_mean) for result in results)
    said = (f"invalid replies {invalid}", f"turns an episode {turns}")
    return tuple(text for text in said if not text.endswith(DASH))


def _facts(run: Run) -> tuple[Fact, ...]:
    rows = run.training or run.imitation
    if not rows:
        return ()
    last = rows[-1]
    totals = [Fact(name=name, value=count(number(last, f"total/{name}"))) for name in ("episodes", "turns", "tokens")]
    facts = (
        Fact(name=f"steps of {STAGES['train' if run.training else 'sft']}", value=count(number(last, "step"))),
        *totals,
        Fact(name="wall time, all stages", value=duration(_wall_s(run))),
    )
    return tuple(fact for fact in facts if fact.value != DASH)


def _wall_s(run: Run) -> float:
    """Steps, what lay between them, and the evaluations that a stage ended with; NaN where the rows do not say."""
    steps = sum(number(rows[-1], "wall_s") for rows in (run.imitation, run.training) if rows)
    ended = [number(row, "time_s") for row in run.evals if row.get("final")]
    return steps + sum(spent for spent in ended if math.isfinite(spent))


def _chosen(run: Run) -> str:
    """Which of the recorded episodes are shown."""
    if len(run.episodes) == run.recorded:
        shown = f"{count(run.recorded)} recorded episodes"
    else:
        shown = f"{len(run.episodes)} of {count(run.recorded)} recorded episodes, of all task types and outcomes"
    skipped = f"; {run.files_read} of {run.files} files were read" if run.files_read < run.files else ""
    return shown + skipped


def _flat(row: Row, prefix: str = "") -> Sequence[tuple[str, str]]:
    """Nested settings as `a.b.c` and a text."""
    found: list[tuple[str, str]] = []
    for key, value in row.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))
    return found
