"""What the guards saw during training, as lines for people."""

from collections.abc import Sequence

from hiper.report.read import Row, number
from hiper.report.words import plain, visible


def guard_lines(rows: Sequence[Row]) -> list[str]:
    """One line for each guard that saw trouble: `entropy collapse: steps 12–20, 31`."""
    steps: dict[str, list[int]] = {}
    for row in rows:
        names = row.get("guards")
        for name in names if isinstance(names, list) else ():
            steps.setdefault(str(name), []).append(int(number(row, "step")))
    return [f"{visible(plain(name))}: {_stretches(found)}" for name, found in steps.items()]


def _stretches(steps: Sequence[int]) -> str:
    parts: list[list[int]] = []
    for step in steps:
        if parts and step == parts[-1][-1] + 1:
            parts[-1].append(step)
        else:
            parts.append([step])
    said = ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}–{part[-1]}" for part in parts)
    return f"step{'s' if len(steps) > 1 else ''} {said}"
