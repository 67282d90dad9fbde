"""How numbers and codes are written for people: one place, so that the page and the terminal say the same."""

import math
from collections.abc import Mapping

from hiper.records import Ending, Invalid

ENDINGS: Mapping[Ending, str] = {
    Ending.SUCCEEDED: "succeeded",
    Ending.FAILED: "failed",
    Ending.TURN_LIMIT: "turn limit",
    Ending.TOKEN_LIMIT: "token limit",
    Ending.CRASHED: "crashed",
}

REASONS: Mapping[Invalid, str] = {
    Invalid.CUT_BY_LIMIT: "the reply ran into the token limit",
    Invalid.NO_SWITCH_TAG: "no switch block",
    Invalid.UNKNOWN_SWITCH_WORD: "the switch block says neither KEEP nor SWITCH",
    Invalid.KEEP_WITHOUT_SUBGOAL: "KEEP, but no subgoal is in force",
    Invalid.NO_SUBGOAL_TAG: "SWITCH without a subgoal block",
    Invalid.EMPTY_SUBGOAL: "the subgoal is empty",
    Invalid.KEEP_CHANGED_SUBGOAL: "KEEP, but with another subgoal than the one in force",
    Invalid.NO_ACTION_TAG: "no action block",
    Invalid.EMPTY_ACTION: "the action is empty",
    Invalid.TEXT_OUTSIDE_TAGS: "text before or between the blocks",
    Invalid.TEXT_AFTER_ACTION: "text after the action",
    Invalid.NOT_ADMISSIBLE: "an action that is not possible now",
}

STAGES: Mapping[str, str] = {"sft": "imitation", "train": "training", "eval": "evaluation"}

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"

_HELD_OUT = {"valid", "valid_seen", "valid_unseen", "validation", "val", "test", "eval", "dev"}
_CONTROLS = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}
_UNSHOWABLE = dict.fromkeys((*range(0x80, 0xA0), *range(0xD800, 0xE000)), 0xFFFD)


def visible(text: str) -> str:
    """`text` with control characters as their pictures, so that it drives neither terminal nor browser."""
    return text.translate(_CONTROLS | _UNSHOWABLE)


def is_held_out(split: str) -> bool:
    """True for the splits that are not trained on, by their usual names."""
    return split in _HELD_OUT


def plain(code: str) -> str:
    """A code name (a task type, an ending, a reason) as words."""
    return code.replace("_", " ").replace("-", " ")


def percent(share: float, digits: int = 1) -> str:
    """`0.814 -> "81.4 %"`; a dash where there is no number."""
    return DASH if math.isnan(share) else f"{100 * share:.{digits}f} %".replace("-", MINUS)


def points(share: float, digits: int = 1) -> str:
    """A difference of shares in percentage points, always with its sign."""
    return signed(100 * share, digits)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign written out; a zero (also one by rounding) has none."""
    if math.isnan(value):
        return DASH
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def interval(low: float, high: float, digits: int = 1) -> str:
    """`[74.0, 87.3]` in percent, from shares; empty where a bound is missing."""
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{100 * low:.{digits}f}, {100 * high:.{digits}f}]".replace("-", MINUS)


def figure(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits, without needless zeros."""
    if not math.isfinite(value):
        return DASH
    return count(value) if abs(value) >= 1_000 else f"{value:.{digits}g}".replace("-", MINUS)


def count(value: float) -> str:
    """`1234567 -> "1.23 M"`; below ten thousand in full."""
    if not math.isfinite(value):
        return DASH
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g} {unit}".replace("-", MINUS)
    return f"{value:,.0f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """`4000 -> "1 h 7 min"`."""
    if not math.isfinite(seconds):
        return DASH
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
