"""What a person sees while something runs: bars with time left on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Mapping
from typing import cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Row = dict[str, object]
STAGES = {"sft": "imitation", "train": "HiPER"}


class Screen:
    """Implements `hiper.runs.run.Watcher`. Everything goes to standard error, so that results can be piped."""

    def __init__(self, head: str = "") -> None:
        """head: said before anything else, so not at all where nothing is: a bad setting is one line."""
        self.head = head
        self.console = Console(stderr=True)
        self.is_live = self.console.is_terminal
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._begin = time.monotonic()
        self._done_before = 0
        self._last_line = 0.0
        self._working = ""

    @property
    def _is_narrow(self) -> bool:
        """Too narrow for all that a step has to say."""
        return self.console.width < 130

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage of a run begins (or is taken up at step `done`)."""
        self.begin(STAGES[name], done, total)

    def begin(self, name: str, done: int, total: int) -> None:
        """Something that is counted begins."""
        self.close()
        self._say_head()
        self._begin, self._done_before = time.monotonic(), done
        if self.is_live:
            text = TextColumn("{task.fields[text]}", markup=False)
            if self._is_narrow:
                self._open_bar(name, done, total, BarColumn(8), MofNCompleteColumn(), text)
            else:
                self._open_bar(name, done, total, BarColumn(), MofNCompleteColumn(), text, TimeElapsedColumn())
        else:
            self.say(f"{name}: {done} of {total} done")

    def step(self, stage: str, step: int, total: int, row: Row) -> None:
        """One step is done."""
        figures = _digest(stage, row)
        text = "  ".join(figures)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, text="  ".join(figures[:2]) if self._is_narrow else text)
            return
        if stage == "train" or step == total or time.monotonic() - self._last_line > 10:
            self._last_line = time.monotonic()
            per_step = (time.monotonic() - self._begin) / max(1, step - self._done_before)
            left = _duration(per_step * (total - step))
            self.say(f"{STAGES.get(stage, stage)} {step}/{total}  {text}  left {left}")

    def _open_bar(self, name: str, done: int, total: int, *columns: ProgressColumn) -> None:
        """A bar between what is counted and the time that is left."""
        around = (TextColumn("{task.description}", markup=False), *columns, TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*around, console=self.console)
        self._bar.start()
        self._task = self._bar.add_task(name, total=total, completed=done, text="")

    def tick(self) -> None:
        """One more of what the present stage counts."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task)

    def work(self, name: str, done: int, total: int) -> None:
        """How far a long piece of work has come; a new name begins a new one. In a pipe, a line every ten seconds."""
        if name != self._working:
            self.close()
            self._working, self._begin, self._last_line = name, time.monotonic(), time.monotonic()
            if self.is_live:
                self._open_bar(name, 0, total, BarColumn(), TaskProgressColumn())
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif time.monotonic() - self._last_line > 10 and done:
            self._last_line = time.monotonic()
            left = (self._last_line - self._begin) / done * (total - done)
            self.say(f"{name}: {done / total:.0%}  left {_duration(left)}")

    def board(self, done: int, total: int, left_s: float | None, text: str) -> None:
        """How far a comparison has come. In a pipe, a line every half minute."""
        left = "?" if left_s is None else _duration(left_s)
        line = f"{done}/{total} done  left {left}" + (f"  at {text}" if text else "")
        if not self.is_live:
            if time.monotonic() - self._last_line > 30:
                self._last_line = time.monotonic()
                self.say(line)
            return
        if self._bar is None or self._task is None:
            self._bar = Progress(BarColumn(), TextColumn("{task.fields[text]}", markup=False), console=self.console)
            self._bar.start()
            self._task = self._bar.add_task("", total=total, text="")
        self._bar.update(self._task, completed=done, text=line)

    def evaluation(self, row: Row) -> None:
        """An evaluation is done."""
        low, high = cast("tuple[float, float]", row["success_ci95"])
        if row.get("stage") == "sft":
            head = "after imitation" if row.get("step") else "at the start"
        else:
            head = f"after HiPER step {row.get('step')}" if row.get("step") else "before HiPER"
        head += f", model of step {row['model_step']}" if "model_step" in row else ""
        rate = float(str(row["success"]))
        self.say(
            f"{head}: {row['split']} success {rate:.1%} [{low:.1%}, {high:.1%}] of {row['episodes']} games, "
            f"{float(str(row['turns_mean'])):.1f} turns"
        )

    def _say_head(self) -> None:
        if self.head:
            head, self.head = self.head, ""
            self.say(head)

    def say(self, text: str) -> None:
        self._say_head()
        if self.is_live:
            self.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _digest(stage: str, row: Row) -> list[str]:
    """The few figures that tell whether it is going well, the most telling first."""
    if stage == "sft":
        return [f"loss {_number(row, 'learn/loss'):.3f}"]
    return [
        f"success {_number(row, 'rollout/success'):.0%}",
        f"turns {_number(row, 'rollout/turns'):.1f}",
        f"switches {_number(row, 'rollout/switches'):.1f}",
        f"valid {_number(row, 'rollout/valid_rate'):.0%}",
    ]


def shown(value: object) -> str:
    """A fact for people: numbers with commas, several things side by side."""
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {shown(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def timed(row: Row) -> list[str]:
    """What `hiper bench` measured, for people: a line a stage, and where a step's time goes."""
    lines = [f"{int(str(row['parameters'])):,} parameters on {row['device']}"]
    for stage in STAGES:
        figures = row.get(stage)
        if isinstance(figures, Mapping):
            step_s, whole_s = _number(figures, "step_s"), _number(figures, "whole_s")
            steps = f"{figures['steps']} steps of {figures['step_turns']:g} turns"
            lines.append(f"{STAGES[stage]}: {step_s:.2f} s a step; {steps}: {_duration(whole_s)}")
            for name, figure in figures.items():
                if name.endswith(("_per_s", "_s")) and name not in ("step_s", "whole_s"):
                    lines.append(f"    {name.replace('_per_s', '/s').replace('_s', ' s'):18s} {figure:12,.2f}")
    return lines


def _number(row: Mapping[str, object], key: str) -> float:
    return float(str(row.get(key, "nan")))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s"
