"""A comparison for people: a table, a picture, a page; and its numbers for programs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hiper.report.arena import ROWS_FILE, Arena, Entry, read_arena, unequal_code, unequal_starts, write_csv, write_rows
from hiper.report.charts import Chart, Line, line_chart
from hiper.report.measures import FEW, Estimate, Measured, grid, measure
from hiper.report.page import write_page
from hiper.report.read import Row, number
from hiper.report.scales import Floats
from hiper.report.slide import slide
from hiper.report.words import DASH, MINUS, count, figure, interval, plain, points, visible

PAGE_FILE = "compare.html"
SLIDE_FILE = "compare.svg"
RUNS_FILE = "runs.csv"

_TEMPLATE = "compare.html.j2"
_ESTIMATES = (
    "heldout", "gain", "final", "area", "area_gain", "turns", "ratio", "grad_variance", "variance_ratio", "switches",
    "segment_turns", "valid_rate",
)  # fmt: skip
_LEGEND = (
    "held out: success (or the score that is compared) in the final evaluation, below it each seed's, or from five "
    "seeds on a [95 % bootstrap interval] over them. gain: to the baseline, points. mean: in training, over the "
    "budget. turns: to the threshold, by the monotone fit of the training curve (> beyond the budget). speed: the "
    "baseline's turns through the arm's (≥ and ≤ bounds; –: the baseline does not rise, or an arm begins there). "
    "*: not the baseline's seeds; gain, turns and speed are over those that both have"
)
_SEEDS_A_LINE = 3
_TRACES = {
    "rollout/switches": ("Switches", "SWITCH replies an episode"),
    "rollout/segment_turns": ("Segment length", "turns a subgoal"),
    "rollout/valid_rate": ("Valid replies", "share of replies"),
    "learn/entropy": ("Entropy", "nats a token"),
    "learn/grad_variance": ("Gradient variance", "as training sees it"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A value and its interval, as text."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value}\n{self.interval}".strip()


class Written(NamedTuple):
    """A comparison that was written down: the page, what was measured, a line for each way in which runs do not compare
    (an imitation that was made more than once, other code), and the tasks of which no run has begun."""

    page: Path
    measured: tuple[Measured, ...]
    unequal: tuple[str, ...]
    waiting: tuple[str, ...]


def write_comparison(folder: str | Path, out: Path | None = None) -> Written:
    """Write rows, table of runs, picture and page into the folder of a comparison; or the page alone, to `out`."""
    arena = read_arena(folder)
    measured, unequal = measure(arena), (*unequal_starts(arena), *unequal_code(arena))
    picture = slide(arena, measured)
    if out is None:
        write_rows(arena, arena.folder / ROWS_FILE)
        write_csv([run_row(entry) for entry in arena.entries], arena.folder / RUNS_FILE)
        (arena.folder / SLIDE_FILE).write_text(picture + "\n", encoding="utf-8")
    page = out or arena.folder / PAGE_FILE
    write_page(page, _render(arena, measured, unequal, picture))
    return Written(page, measured, unequal, arena.waiting)


def run_row(entry: Entry) -> Row:
    """One run as a row: how it ended and what came out."""
    last = entry.last or {}
    late = entry.rows[-1] if entry.rows else {}
    return {
        "task": entry.task,
        "arm": entry.arm,
        "seed": entry.seed,
        "state": entry.state,
        "reason": entry.reason,
        "steps": len(entry.rows),
        "turns": number(late, "total/turns"),
        "success": number(last, "success"),
        "score": number(last, "score_mean"),
        "split": last.get("split", ""),
        "train_success": number(late, "rollout/success"),
        "train_score": number(late, "rollout/score"),
        "switches": number(late, "rollout/switches"),
        "segment_turns": number(late, "rollout/segment_turns"),
        "guards": " ".join(entry.guards),
        "folder": entry.folder,
    }


def summary(measured: Sequence[Measured]) -> list[dict[str, object]]:
    """What was measured, as plain data. null stands for what is not known, and for turns beyond the budget."""
    return [
        {
            "task": one.task,
            "arm": one.arm,
            "runs": one.runs,
            "seeds": list(one.seeds),
            "shared": list(one.shared),
            "planned": one.planned,
            "failed": one.failed,
            "by_seed": [_number(value) for value in one.by_seed],
            "threshold": _number(one.threshold),
            **{name: _plain(getattr(one, name)) for name in _ESTIMATES},
            "by_task": {kind: _plain(estimate) for kind, estimate in one.by_task.items()},
            "guards": dict(one.guards),
        }
        for one in measured
    ]


def comparison_table(measured: Sequence[Measured], waiting: Sequence[str] = ()) -> Group:
    """The comparison for the terminal: a table a task, seeds or an interval under what they are of."""
    parts: list[Table | Text] = []
    for task in dict.fromkeys(one.task for one in measured):
        rows = [one for one in measured if one.task == task]
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, title_justify="left")
        table.title = Text(f"{visible(task)}, threshold {_threshold(rows)} %", style="bold")
        table.add_column("arm", overflow="fold", min_width=12)
        for head in ("held out, %", "gain", "mean, %", "turns", "speed", "runs"):
            table.add_column(head, justify="right", no_wrap=True)
        for one in rows:
            if not one.runs:
                continue
            cells = (
                heldout_cell(one), points_cell(one.gain), share_cell(one.area).value,
                turns_cell(one.turns, one.budget).value, ratio_cell(one.ratio),
                f"{_count(one, rows)}\n{one.failed} failed" if one.failed else _count(one, rows),
            )  # fmt: skip
            table.add_row(*(Text(str(cell)) for cell in (visible(one.arm), *cells)))
        parts.append(table)
        if to_do := "; ".join(visible(one.arm) for one in rows if not one.runs):
            parts.append(Text(f"no runs yet: {to_do}"))
        parts.append(Text())
    if waiting:
        parts += [Text(f"no runs yet: {'; '.join(map(visible, waiting))}"), Text()]
    return Group(*parts, Text(_LEGEND, style="dim"))


def _threshold(rows: Sequence[Measured]) -> str:
    """Of the baseline, over all its seeds."""
    return next((_share(one.threshold) for one in rows if one.is_baseline), DASH)


def _count(one: Measured, rows: Sequence[Measured]) -> str:
    """How many seeds there are, marked where they are not the baseline's."""
    baseline = next((each.seeds for each in rows if each.is_baseline), ())
    return f"{one.runs} of {one.planned}" + ("*" if one.seeds != baseline else "")


def heldout_cell(one: Measured) -> Cell:
    """The mean and its interval; where there is none, what each seed came to."""
    cell = share_cell(one.heldout)
    if cell.interval or one.runs < 2:
        return cell
    seeds = [DASH if math.isnan(value) else f"{100 * value:.3g}" for value in one.by_seed]
    lines = [", ".join(seeds[at : at + _SEEDS_A_LINE]) for at in range(0, len(seeds), _SEEDS_A_LINE)]
    return Cell(value=cell.value, interval=",\n".join(lines))


def share_cell(estimate: Estimate) -> Cell:
    return Cell(value=_share(estimate.value), interval=interval(estimate.low, estimate.high))


def points_cell(estimate: Estimate) -> Cell:
    value = DASH if math.isnan(estimate.value) else points(estimate.value)
    return Cell(value=value, interval=interval(estimate.low, estimate.high))


def turns_cell(estimate: Estimate, budget: int) -> Cell:
    """Turns; what was not reached lies beyond the budget."""
    return Cell(value=f">{count(budget)}" if math.isinf(estimate.value) else count(estimate.value))


def ratio_cell(estimate: Estimate) -> Cell:
    """A ratio, or the bound of it that was seen."""
    value = DASH if math.isnan(estimate.value) else f"{estimate.bound} {figure(estimate.value)}×".strip()
    if math.isnan(estimate.low):
        return Cell(value=value)
    high = "∞" if math.isinf(estimate.high) else figure(estimate.high)
    return Cell(value=value, interval=f"[{figure(estimate.low)}, {high}]")


def number_cell(estimate: Estimate) -> Cell:
    known = not math.isnan(estimate.low)
    bounds = f"[{figure(estimate.low)}, {figure(estimate.high)}]" if known else ""
    return Cell(value=figure(estimate.value), interval=bounds)


def _render(arena: Arena, measured: Sequence[Measured], unequal: Sequence[str], picture: Markup) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(_content(arena, measured, unequal, picture))


def _content(
    arena: Arena, measured: Sequence[Measured], unequal: Sequence[str], picture: Markup
) -> Mapping[str, object]:
    """Everything the template shows."""
    return {
        "name": visible(arena.folder.resolve().name),
        "facts": _facts(arena),
        "measure": arena.measure,
        "picture": picture,
        "tables": [_table(arena, task, [one for one in measured if one.task == task]) for task in arena.tasks],
        "across": _across(arena, measured) if len(arena.tasks) > 1 else [],
        "tasks": [visible(_with_chain(arena, task)) for task in arena.tasks],
        "kinds": [_kinds(task, [one for one in measured if one.task == task]) for task in arena.tasks],
        "traces": [(visible(task), _traces(arena, task)) for task in arena.tasks],
        "runs": [_run(entry, arena.measure) for entry in arena.entries],
        "failed": [_run(entry, arena.measure) for entry in arena.entries if entry.reason],
        "unequal": [visible(line) for line in unequal],
        "threshold": f"where the baseline has made {_share(arena.gained)} % of its way"
        if arena.threshold is None
        else f"{_share(arena.threshold)} %",
        "few": FEW,
    }


def _facts(arena: Arena) -> list[tuple[str, str]]:
    states = [entry.state for entry in arena.entries]
    unfinished = states.count("unfinished")
    return [
        ("arms", count(len(arena.arms))),
        ("tasks", count(len(arena.tasks))),
        ("seeds", count(len(arena.seeds))),
        ("held out", "; ".join(dict.fromkeys(_evaluation(entry.last) for entry in arena.entries if entry.last))),
        ("turns a run", " · ".join(dict.fromkeys(count(turns) for turns in arena.turns.values()))),
        ("runs failed", f"{states.count('failed')} of {len(states)}"),
        *([("runs not finished", count(unfinished))] if unfinished else []),
        *([("not begun", ", ".join(map(visible, arena.waiting)))] if arena.waiting else []),
    ]


def _evaluation(row: Row) -> str:
    return visible(f"{row.get('episodes', DASH)} games of {row.get('split', DASH)}")


def _table(arena: Arena, task: str, measured: Sequence[Measured]) -> Mapping[str, object]:
    """Every arm on one task."""
    rows = [
        {
            "arm": visible(one.arm),
            "is_baseline": one.arm == arena.baseline,
            "cells": {
                "held out, %": heldout_cell(one),
                "to baseline, points": points_cell(one.gain),
                "end of training, %": share_cell(one.final),
                "mean over budget, %": share_cell(one.area),
                "that to baseline, points": points_cell(one.area_gain),
                "turns to threshold": turns_cell(one.turns, one.budget),
                "faster than baseline": ratio_cell(one.ratio),
                "gradient variance": ratio_cell(one.variance_ratio),
                "switches an episode": number_cell(one.switches),
                "turns a segment": number_cell(one.segment_turns),
            },
            "runs": _count(one, measured) + (f", {one.failed} failed" if one.failed else ""),
            "guards": ", ".join(f"{plain(name)} ({runs})" for name, runs in one.guards.items()),
        }
        for one in measured
    ]
    return {"title": visible(_with_chain(arena, task)), "threshold": _threshold(measured), "rows": rows}


def _across(arena: Arena, measured: Sequence[Measured]) -> list[Mapping[str, object]]:
    """Arms by tasks: held out beside the baseline, and speed."""
    rows: list[Mapping[str, object]] = []
    for arm in arena.arms:
        mine = [one for one in measured if one.arm == arm]
        cells = [(share_cell(one.heldout), points_cell(one.gain), ratio_cell(one.ratio)) for one in mine]
        rows.append({"arm": visible(arm), "is_baseline": arm == arena.baseline, "cells": cells})
    return rows


def _kinds(task: str, measured: Sequence[Measured]) -> Mapping[str, object]:
    """Held-out success by type of task."""
    kinds = sorted({kind for one in measured for kind in one.by_task})
    rows = [
        (
            visible(one.arm),
            [share_cell(one.by_task[kind]) if kind in one.by_task else Cell(value=DASH) for kind in kinds],
        )
        for one in measured
    ]
    return {"title": visible(task), "kinds": [visible(plain(kind)) for kind in kinds], "rows": rows}


def _traces(arena: Arena, task: str) -> list[Markup]:
    """What the policy did over training: a line an arm, the mean over its runs."""
    turns = grid(arena, task)
    hues = {arena.baseline: 5, **{arm: place % 5 for place, arm in enumerate(arena.others)}}  # grey, as in the picture
    drawn = []
    for key, (title, unit) in _TRACES.items():
        lines = [
            Line(name=visible(arm), values=trace(arena.of(task, arm), key, turns), hue=hues[arm]) for arm in arena.arms
        ]
        lines = [line for line in lines if np.isfinite(line.values).any()]
        drawn.append(line_chart(Chart(title=title, unit=unit, x=turns, lines=lines, over="turn", height=220)))
    return [chart for chart in drawn if chart]


def trace(entries: Sequence[Entry], key: str, turns: Floats) -> Floats:
    """Mean of a column over the runs that have it, at these turns; NaN where none has measured."""
    found = []
    for entry in entries:
        values = np.array([number(row, key) for row in entry.rows])
        known = np.isfinite(values)
        if known.any():
            after = values[-1] if known[-1] and entry.state == "done" else np.nan  # the last step goes on to its end
            found.append(np.interp(turns, entry.played_before[known], values[known], left=np.nan, right=after))
    table = np.array(found).reshape(len(found), len(turns))
    counts = np.isfinite(table).sum(axis=0)
    means: Floats = np.divide(np.nansum(table, axis=0), counts, out=np.full(len(turns), np.nan), where=counts > 0)
    return means


def _run(entry: Entry, measure: str) -> Mapping[str, str]:
    row = run_row(entry)
    texts = {key: DASH if isinstance(value, float) and math.isnan(value) else str(value) for key, value in row.items()}
    texts["heldout"], texts["late"] = (_share(number(row, key)) for key in (measure, f"train_{measure}"))
    for key in ("turns", "switches", "segment_turns"):
        texts[key] = figure(number(row, key))
    return {key: visible(text) for key, text in texts.items()} | {"guards": ", ".join(map(plain, entry.guards))}


def _with_chain(arena: Arena, task: str) -> str:
    chain = arena.chains[task]
    return task if chain is None else f"{task} ({chain} chained)" if chain > 1 else f"{task} (one at a time)"


def _share(share: float) -> str:
    return DASH if math.isnan(share) else f"{100 * share:.1f}".replace("-", MINUS)


def _plain(estimate: Estimate) -> dict[str, float | None]:
    return {name: _number(getattr(estimate, name)) for name in ("value", "low", "high")}


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
