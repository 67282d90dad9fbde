"""Which curves a report shows, and from which metrics they are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hiper.records import Ending
from hiper.report.charts import Bars, Chart, Line, Points, bar_chart, line_chart
from hiper.report.read import Row, Run, number
from hiper.report.results import Comparison, Result
from hiper.report.scales import Floats
from hiper.report.words import ENDINGS, duration, percent, plain

_WHOLE = (0.0, 1.0)
_PARTS_SHOWN = 5
_ENDING_HUES = {
    Ending.SUCCEEDED: 2,
    Ending.FAILED: 1,
    Ending.TURN_LIMIT: 5,
    Ending.TOKEN_LIMIT: 3,
    Ending.CRASHED: 4,
}
_POLICY_NOTE = "In nats a token. The gap is the distance between learner's and sampler's log-probabilities."
_TIMES = {
    "time/rollout_s": "playing",
    "time/values_s": "values",
    "time/credit_s": "credit",
    "time/learn_s": "learning",
    "time/between_s": "saving, evaluating",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Charts on one question; `more` are folded away until asked for."""

    title: str
    charts: tuple[Markup, ...]
    note: str = ""
    more: tuple[Markup, ...] = ()
    more_title: str = ""


@dataclass(frozen=True, slots=True)
class _Book:
    """The rows of one stage, and how a chart of them is made."""

    rows: Sequence[Row]

    def line(
        self,
        title: str,
        unit: str,
        key: str,
        *,
        floor: float | None = 0.0,
        bounds: tuple[float, float] | None = None,
        is_share: bool = False,
    ) -> Markup:
        """One metric as a chart of its own."""
        line = Line(name=title, values=column(self.rows, key), hue=0)
        x = column(self.rows, "step")
        chart = Chart(title=title, unit=unit, x=x, lines=[line], floor=floor, bounds=bounds, is_share=is_share)
        return line_chart(chart) if self.rows else Markup()

    def lines(
        self,
        title: str,
        unit: str,
        names: Mapping[str, str],
        *,
        floor: float | None = 0.0,
        cut: float | None = None,
    ) -> Markup:
        """Several metrics, by key and name, in one chart."""
        lines = [
            Line(name=name, values=column(self.rows, key), hue=hue) for hue, (key, name) in enumerate(names.items())
        ]
        chart = Chart(title=title, unit=unit, x=column(self.rows, "step"), lines=lines, floor=floor, cut=cut)
        return line_chart(chart) if self.rows else Markup()

    def keys(self, prefix: str) -> tuple[str, ...]:
        """The metrics under a prefix that are ever not zero."""
        found = sorted({key for row in self.rows for key in row if key.startswith(prefix)})
        return tuple(key for key in found if np.nansum(np.abs(column(self.rows, key))) > 0)


def column(rows: Sequence[Row], key: str) -> Floats:
    """The values under `key`, one a row; NaN where a row has none."""
    return np.array([number(row, key) for row in rows], dtype=np.float64)


def success_chart(run: Run, compared: Sequence[Comparison], *, width: int, height: int) -> Markup:
    """Success in training over steps, and every evaluation with its interval."""
    rows = run.training or run.imitation
    played = Line(name="training episodes", values=column(rows, "rollout/success"), hue=0)
    lines = [played] if np.isfinite(played.values).any() else []
    has_training = bool(run.training)
    points = [_evaluations(one, hue, has_training=has_training) for hue, one in enumerate(compared, start=1)]
    if not lines and sum(len(each.x) for each in points) < 2:
        return Markup()
    chart = Chart(
        title="Success",
        unit="share of episodes; bars are 95 % intervals" if points else "share of episodes",
        x=column(rows, "step") if lines else np.array([]),
        lines=lines,
        points=points,
        bounds=_WHOLE,
        is_share=True,
        width=width,
        height=height,
    )
    return line_chart(chart)


def time_chart(run: Run, *, width: int, height: int) -> Markup:
    """What the time of each training step was spent on; the legend has the sums over all steps."""
    spent = {name: column(run.training, key) for key, name in _TIMES.items()}
    total = sum(float(np.nansum(values)) for values in spent.values())
    parts = [
        Line(name=name, values=values, hue=hue, note=_spent(float(np.nansum(values)), total))
        for hue, (name, values) in enumerate(spent.items())
        if np.nansum(values) > 0
    ]
    x = column(run.training, "step")
    bars = Bars(title="Where the time goes", unit="seconds a step", x=x, parts=parts, width=width, height=height)
    return bar_chart(bars)


def sections(run: Run) -> tuple[Section, ...]:
    """All sections that have something to show."""
    training, imitation = _Book(run.training), _Book(run.imitation)
    made = (
        _behaviour(training),
        _replies(training),
        _policy(training),
        _critic(training),
        _imitation(imitation),
        _speed(training),
    )
    return tuple(section for section in made if section.charts or section.more)


def _behaviour(book: _Book) -> Section:
    charts = (
        book.line("Return", "rewards of an episode", "rollout/return", floor=None),
        book.line("Score", "at the end, of 1", "rollout/score", bounds=_WHOLE),
        book.line("Episode length", "turns an episode", "rollout/turns"),
        book.line("Switches", "SWITCH replies an episode", "rollout/switches"),
        book.line("Segment length", "turns a subgoal", "rollout/segment_turns"),
        _endings(book),
    )
    prefix = "rollout/success/"
    by_task = (
        book.line(plain(key.removeprefix(prefix)), "in training", key, bounds=_WHOLE, is_share=True)
        for key in book.keys(prefix)
    )
    return Section(
        title="Behaviour",
        note="Means over the episodes of a step.",
        charts=_drawn(*charts),
        more=_drawn(*by_task),
        more_title="Success by task type",
    )


def _replies(book: _Book) -> Section:
    charts = (
        book.line("Valid replies", "share of replies", "rollout/valid_rate", bounds=_WHOLE, is_share=True),
        _reasons(book),
        book.line("Reply length", "tokens a reply", "rollout/reply_tokens"),
    )
    note = "A reply that does not parse is never repaired: it counts, with its reason."
    return Section(title="Replies", note=note, charts=_drawn(*charts))


def _policy(book: _Book) -> Section:
    charts = (
        book.line("Entropy", "of the reply tokens", "learn/entropy"),
        book.line("KL", "to the policy that played, mean on the way", "learn/kl"),
        book.line("Clipped", "share of tokens", "learn/clip_fraction", is_share=True),
        book.line("Log-prob gap", "mean", "learn/logprob_gap_mean"),
        book.line("Largest gap", "in a step", "learn/logprob_gap_max"),
        book.line("Gradient norm", "before clipping", "learn/grad_norm"),
    )
    more = [
        book.line("Policy loss", "", "learn/policy_loss", floor=None),
        book.line("Value loss", "", "learn/value_loss"),
        book.line("Learning rate", "", "learn/lr"),
    ]
    if book.keys("learn/skipped"):
        more.append(book.line("Skipped updates", "", "learn/skipped"))
    if book.keys("shaping/"):
        more.append(book.line("Shaping", "added to an episode's rewards", "shaping/per_episode", floor=None))
    return Section(
        title="Policy",
        note=_POLICY_NOTE,
        charts=_drawn(*charts),
        more=_drawn(*more),
        more_title="Losses and learning rate",
    )


def _critic(book: _Book) -> Section:
    heads = {"U": "U", "high": "V_high", "low": "V_low"}
    explained = {f"learn/explained_variance/{key}": name for key, name in heads.items()}
    spread, mean = (
        {f"credit/{kind}_{moment}": kind for kind in ("switch", "subgoal", "action")} for moment in ("std", "mean")
    )
    charts = (
        book.lines("Explained variance", "1 is perfect", explained, floor=None, cut=-1.0),
        book.lines("Spread of advantages", "standard deviation", spread),
        book.lines("Mean of advantages", "by decision", mean, floor=None),
    )
    note = (
        "U is read before a switch, V_high before a subgoal, V_low before an action. Variance is explained of the "
        "targets that the estimator makes, so runs of different estimators cannot be compared by it."
    )
    return Section(title="Critic and credit", note=note, charts=_drawn(*charts))


def _speed(book: _Book) -> Section:
    charts = (
        book.line("Sampled", "tokens a second", "speed/sampled_tokens_s"),
        book.line("Trained", "tokens a second", "speed/trained_tokens_s"),
        book.line("Played", "turns a second", "speed/turns_s"),
    )
    return Section(title="Speed", charts=_drawn(*charts))


def _imitation(book: _Book) -> Section:
    charts = (
        book.line("Loss", "nats a token", "learn/loss"),
        book.line("Gradient norm", "before clipping", "learn/grad_norm"),
        book.line("Trained", "tokens a second", "speed/trained_tokens_s"),
    )
    note = "Supervised learning from demonstrations, counted in its own steps."
    return Section(title="Imitation", note=note, charts=_drawn(*charts))


def _drawn(*charts: Markup) -> tuple[Markup, ...]:
    return tuple(chart for chart in charts if chart)


def _endings(book: _Book) -> Markup:
    """How episodes ended, success at the bottom."""
    seen = book.keys("rollout/ending/")
    endings = [ending for ending in Ending if f"rollout/ending/{ending}" in seen]
    table = _shares(book, [f"rollout/ending/{ending}" for ending in endings])
    parts = [
        Line(name=ENDINGS[ending], values=values, hue=_ENDING_HUES[ending])
        for ending, values in zip(endings, table, strict=True)
    ]
    x = column(book.rows, "step")
    title, unit = "How episodes end", "share of episodes"
    return bar_chart(Bars(title=title, unit=unit, x=x, parts=parts, is_share=True, bounds=_WHOLE))


def _reasons(book: _Book) -> Markup:
    """Why replies were invalid: the parts of all that were."""
    prefix = "rollout/invalid/"
    keys = book.keys(prefix)
    table = _shares(book, keys) * np.nan_to_num(1 - column(book.rows, "rollout/valid_rate"))
    parts = _largest([plain(key.removeprefix(prefix)) for key in keys], table)
    x = column(book.rows, "step")
    unit = "share of replies, by reason"
    return bar_chart(Bars(title="Invalid replies", unit=unit, x=x, parts=parts, is_share=True))


def _shares(book: _Book, keys: Sequence[str]) -> Floats:
    """The metrics as shares of their sum, a row each, whether they were logged as counts or as shares."""
    table = np.array([np.nan_to_num(column(book.rows, key)) for key in keys]).reshape(len(keys), len(book.rows))
    total = table.sum(axis=0)
    shares: Floats = np.divide(table, total, out=np.zeros_like(table), where=total > 0)
    return shares


def _largest(names: Sequence[str], table: Floats) -> list[Line]:
    """The largest rows of the table as parts, and what remains as "other"."""
    order = np.argsort(-table.sum(axis=1), kind="stable")
    parts = [Line(name=names[row], values=table[row], hue=hue) for hue, row in enumerate(order[:_PARTS_SHOWN])]
    if len(order) > _PARTS_SHOWN:
        rest = table[order[_PARTS_SHOWN:]].sum(axis=0)
        parts.append(Line(name="other", values=rest, hue=_PARTS_SHOWN))
    return parts


def _spent(seconds: float, total: float) -> str:
    return f"{percent(seconds / total, 0)}, {duration(seconds)}"


def _evaluations(compared: Comparison, hue: int, *, has_training: bool) -> Points:
    results = compared.results
    return Points(
        name=compared.title,
        x=np.array([_place(result, has_training=has_training) for result in results], dtype=np.float64),
        values=np.array([result.overall.share for result in results]),
        low=np.array([result.overall.low for result in results]),
        high=np.array([result.overall.high for result in results]),
        hue=hue,
    )


def _place(result: Result, *, has_training: bool) -> float:
    """The step on the axis of training: what imitation ended with is where training starts."""
    return 0.0 if has_training and result.stage == "sft" else float(result.step)
