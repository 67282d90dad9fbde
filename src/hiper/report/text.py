"""Results and turns for the terminal. Text of models and environments is never markup or a control code."""

import math
from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hiper.records import Decision, Turn
from hiper.report.read import Row
from hiper.report.results import Comparison, Rate, comparisons, difference
from hiper.report.words import DASH, REASONS, interval, plain, points, signed, visible


def result_table(evals: Iterable[Row]) -> Table:
    """Success by task type with 95 % intervals: before and after, where a split was evaluated repeatedly."""
    compared = comparisons(evals)
    has_before = any(one.before for one in compared)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, caption_justify="left")
    table.add_column("success", overflow="fold")
    for name in ("before, %", "after, %", "change") if has_before else ("result, %",):
        table.add_column(name, justify="right", no_wrap=True)
    for one in compared:
        _add_split(table, one, has_before=has_before)
    if compared:
        table.caption = Text("[95 % interval], n episodes" + ("; change in points" if has_before else ""))
    return table


def render_turn(turn: Turn) -> RenderableType:
    """A turn as it is watched: what was seen, what was decided, what it brought."""
    lines = [_decided(turn)]
    if turn.invalid:
        lines.append(Text(f"! invalid reply: {REASONS[turn.invalid]}", style="red"))
    if not turn.is_read:
        lines.append(Text(visible(turn.reply), style="dim"))
    if turn.reward:
        lines.append(Text(f"reward {signed(turn.reward)}", style="bold green" if turn.reward > 0 else "bold red"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(justify="right", min_width=3, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(str(turn.index), Text(visible(turn.observation)))
    grid.add_row("", Group(*lines))
    return grid


def _decided(turn: Turn) -> Text:
    text = Text()
    if turn.subgoal:
        switched = turn.decision is Decision.SWITCH
        text.append(str(turn.decision), style="bold magenta" if switched else "dim")
        text.append(f" {visible(turn.subgoal)}  ", style="magenta" if switched else "dim")
    text.append("> ", style="dim")
    text.append(visible(turn.action) or "(nothing)", style="bold cyan" if turn.action else "dim")
    return text


def _add_split(table: Table, one: Comparison, *, has_before: bool) -> None:
    names = (None, *one.tasks) if len(one.tasks) > 1 else (None,)
    for name in names:
        before, after = one.rates(name)
        label = f"{one.title} (n = {_episodes(before, after)})" if name is None else f" {plain(name)}"
        cells = (_cell(before), _cell(after), _change(before, after)) if has_before else (_cell(after),)
        table.add_row(Text(visible(label)), *cells, style="bold" if name is None else None)
    table.add_section()


def _cell(rate: Rate | None) -> Text:
    if rate is None or math.isnan(rate.share):
        return Text(DASH)
    return Text(f"{100 * rate.share:.1f} {interval(rate.low, rate.high, 0)}".strip())


def _change(before: Rate | None, after: Rate | None) -> Text:
    if before is None or after is None:
        return Text(DASH)
    change, low, high = difference(before, after)
    return Text(f"{points(change)} {interval(low, high, 0)}".strip())


def _episodes(before: Rate | None, after: Rate | None) -> str:
    counts = dict.fromkeys(str(rate.episodes) for rate in (before, after) if rate)
    return " → ".join(counts)
