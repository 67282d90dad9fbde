"""Comparisons on paper: measures against slow twins, bounds where something was not reached, page and picture."""

import io
import itertools
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from hiper.records import ARENA_FILE
from hiper.report import ReportError, comparison_table, summary, write_comparison
from hiper.report.arena import Entry, read_arena, unequal_code, unequal_starts
from hiper.report.compare import ratio_cell, share_cell, trace, turns_cell
from hiper.report.measures import (
    DRAWS,
    POINTS,
    Estimate,
    crossing,
    curve,
    grid,
    levels,
    mean_interval,
    measure,
    monotone,
    ratio_interval,
    resamples,
    speed,
    trailing_mean,
)
from hiper.report.page import write_page
from hiper.report.scales import Floats
from hiper.report.slide import apart, slide
from tests.report.synthetic import write_rows
from tests.report.well_formed import parse, words

BUDGET = 10_000
TURNS = np.linspace(0.0, BUDGET, POINTS)
HOSTILE = '<b onclick="x">&\x1b[31m'


def write_run(folder: Path, rise: float, *, seed: int, steps: int = 20, stage: str = "train") -> None:
    """A run whose success climbs by `rise` over its budget from 30 %, with a little noise."""
    rng = np.random.default_rng(seed)
    rows = [
        {
            "stage": "train",
            "step": step,
            "total/turns": 500 * step,
            "rollout/success": 0.3 + rise * (step - 1) / steps + float(rng.normal(0, 0.01)),
            "rollout/switches": 3.0 + seed,
            "rollout/segment_turns": 4.0,
            "rollout/valid_rate": 0.7,
            "learn/grad_variance": 2.0 - rise,
            **({"guards": ["critic"]} if step == 12 and seed == 1 else {}),
        }
        for step in range(1, steps + 1)
    ]
    write_rows(folder / "metrics.jsonl", [{"stage": "sft", "step": 1}, *rows])
    by_task = {"heat": {"success": 0.2 + rise}, "chill": {"success": 0.4 + rise}}
    head = {"stage": stage, "step": steps, "final": True, "split": "valid_unseen"}
    write_rows(folder / "evals.jsonl", [{**head, "success": 0.3 + rise, "by_task": by_task}])


def write_arena(folder: Path, rises: dict[str, float], *, seeds: int = 3, threshold: Any = "baseline") -> Path:
    folder.mkdir(exist_ok=True)
    runs = []
    for task in ("k = 1", "k = 2"):
        for arm, rise in rises.items():
            for seed in range(seeds):
                place = f"runs/{task}/{list(rises).index(arm)}/{seed}"
                write_run(folder / place, rise, seed=seed)
                one = {"task": task, "arm": arm, "seed": seed, "folder": place, "state": "done", "reason": ""}
                runs.append(one)
    plan = {
        "arms": list(rises),
        "tasks": [{"name": f"k = {k}", "chain": k, "turns": BUDGET} for k in (1, 2)],
        "seeds": list(range(seeds)),
        "baseline": next(iter(rises)),
        "threshold": threshold,
        "gained": 0.75,
        "measure": "success",
        "runs": runs,
    }
    (folder / ARENA_FILE).write_text(json.dumps(plan), encoding="utf-8")
    return folder


def begin_from(arena: Path, place: int, /, *, start: str, made: str, **more: object) -> None:
    """The run's part in a shared imitation."""
    change_run(arena, place, start=start)
    folder = json.loads((arena / ARENA_FILE).read_text(encoding="utf-8"))["runs"][place]["folder"]
    (arena / folder / "environment.json").write_text(json.dumps({"started": made, **more}), encoding="utf-8")


def change_run(arena: Path, place: int, /, **more: object) -> None:
    plan = json.loads((arena / ARENA_FILE).read_text(encoding="utf-8"))
    plan["runs"][place] |= more
    (arena / ARENA_FILE).write_text(json.dumps(plan), encoding="utf-8")


def entry(success: list[float], *, state: str = "done") -> Entry:
    rows = tuple({"total/turns": 1000 * (i + 1), "rollout/success": value} for i, value in enumerate(success))
    return Entry(task="t", arm="a", seed=0, folder="", state=state, reason="", rows=rows, evals=())


# Curves


def test_a_curve_stands_at_the_turns_played_before() -> None:
    # Steps at 0, 1000, 2000, 3000; means of at most three: 0.1, 0.2, 0.3, 0.5.
    values = curve(entry([0.1, 0.3, 0.5, 0.7]), np.array([0.0, 1000, 1500, 2000, 3000, 9000]))
    assert values == pytest.approx([0.1, 0.2, 0.25, 0.3, 0.5, 0.5])


def test_after_a_failure_there_is_no_success() -> None:
    values = curve(entry([0.4, 0.4], state="failed"), np.array([0.0, 2000, 2001, 5000]))
    assert values == pytest.approx([0.4, 0.4, 0.0, 0.0])
    assert not curve(entry([], state="failed"), TURNS).any()
    assert np.isnan(curve(entry([]), TURNS)).all()  # its rows are lost: that is not the same as no success


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 5))
def test_trailing_means_against_their_definition(values: list[float], width: int) -> None:
    wanted = [np.mean(values[max(0, i - width + 1) : i + 1]) for i in range(len(values))]
    assert trailing_mean(np.array(values), width) == pytest.approx(wanted)


def slow_crossing(values: Floats, threshold: float, turns: Floats) -> float:
    """Walks along the curve."""
    if values[0] >= threshold:
        return 0.0
    for i in range(1, len(values)):
        if values[i] >= threshold:
            share = (threshold - values[i - 1]) / (values[i] - values[i - 1])
            return float(turns[i - 1] + share * (turns[i] - turns[i - 1]))
    return math.inf


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6), st.floats(0.05, 1))
def test_crossings_against_a_walk(values: list[float], threshold: float) -> None:
    turns, course = np.linspace(0, 100, 6), np.array(values)
    found = crossing(course[None], np.array([threshold]), turns)[0]
    assert found == pytest.approx(slow_crossing(course, threshold, turns))


# Intervals


def slow_interval(statistic: Any, runs: int) -> tuple[float, float]:
    """One draw after the other, in plain Python."""
    draws = sorted(statistic(list(places)) for places in itertools.product(range(runs), repeat=runs))
    low, high = levels(runs)
    return float(np.quantile(draws, low)), float(np.quantile(draws, high))


# .975 quantiles of Student's distribution, as every textbook has them
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 10: 2.262, 30: 2.045}


@pytest.mark.parametrize("runs", STUDENT)
def test_percentiles_are_those_that_make_an_interval_as_wide_as_students(runs: int) -> None:
    low, high = levels(runs)
    normal = NormalDist()
    assert low == pytest.approx(normal.cdf(-math.sqrt(runs / (runs - 1)) * STUDENT[runs]), rel=0.03, abs=2e-5)
    assert high == pytest.approx(1 - low)


def test_intervals_of_five_runs_hold_nearly_as_often_as_they_say() -> None:
    # As far as that goes: no draw leaves the range of the five, which holds in 94 of 100 cases. Plain percentiles: 85.
    rng = np.random.default_rng(0)
    found = [mean_interval(rng.normal(0.5, 0.1, size=5)) for _ in range(1000)]
    assert 0.91 < np.mean([each.low < 0.5 < each.high for each in found]) < 0.95


def test_draws_of_few_runs_are_all_there_are() -> None:
    draws = resamples(5)
    assert len({tuple(places) for places in draws}) == len(draws) == 5**5
    assert resamples(12).shape == (DRAWS, 12)


def test_means_against_a_slow_bootstrap() -> None:
    values = np.array([0.2, 0.5, 0.9, 0.4, 0.5])
    found = mean_interval(values)
    low, high = slow_interval(lambda places: sum(float(values[i]) for i in places) / 5, 5)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, low, high))


@pytest.mark.parametrize("runs", range(1, 5))
def test_of_fewer_than_five_runs_there_is_no_interval(runs: int) -> None:
    curves = ramps(*np.linspace(0.5, 0.6, runs))
    for found in (
        mean_interval(np.arange(runs)),
        ratio_interval(np.arange(1.0, runs + 1), np.ones(runs)),
        speed(curves + 0.1, curves, 0.4, TURNS).ratio,
    ):
        assert math.isfinite(found.value)
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_ratios_draw_the_same_seeds_above_and_below() -> None:
    below = np.array([1.0, 2.0, 4.0, 3.0, 2.0])
    assert ratio_interval(3 * below, below) == Estimate(
        value=pytest.approx(3.0), low=pytest.approx(3.0), high=pytest.approx(3.0)
    )
    above = np.array([1.0, 5.0, 2.0, 1.0, 3.0])
    found = ratio_interval(above, below)
    low, high = slow_interval(lambda p: sum(float(above[i]) for i in p) / sum(float(below[i]) for i in p), 5)
    assert (found.value, found.low, found.high) == pytest.approx((1.0, low, high))


def test_what_is_not_known_for_every_run_is_not_known() -> None:
    for found in (mean_interval(np.array([0.1, np.nan])), ratio_interval(np.array([1.0]), np.array([np.nan]))):
        assert all(math.isnan(value) for value in (found.value, found.low, found.high))
    one = mean_interval(np.array([0.3]))
    assert one.value == 0.3
    assert math.isnan(one.low)


def ramps(*ends: float) -> Floats:
    """Curves that rise from 0.2 in a straight line."""
    return np.array([np.linspace(0.2, end, POINTS) for end in ends])


def slow_monotone(values: Floats) -> list[float]:
    """The largest of the smallest means: over what begins here or before and ends here or after."""
    places = range(len(values))
    return [
        max(min(float(np.mean(values[i : j + 1])) for j in places[place:]) for i in places[: place + 1])
        for place in places
    ]


@given(st.lists(st.lists(st.floats(0, 1), min_size=7, max_size=7), min_size=1, max_size=4))
def test_monotone_fits_against_their_definition(curves: list[list[float]]) -> None:
    found = monotone(np.array(curves))
    assert found == pytest.approx(np.array([slow_monotone(np.array(values)) for values in curves]), abs=1e-12)


def test_speed_against_a_slow_bootstrap() -> None:
    ours, theirs = ramps(0.8, 0.9, 1.0, 0.7, 0.95), ramps(0.5, 0.6, 0.55, 0.7, 0.65)

    def ratio(places: list[int]) -> float:
        mine, its = (slow_crossing(np.mean([each[i] for i in places], axis=0), 0.4, TURNS) for each in (ours, theirs))
        return its / mine

    found = speed(ours, theirs, 0.4, TURNS)
    draws = sorted(ratio(list(places)) for places in itertools.product(range(5), repeat=5))
    low, high = levels(5)
    first, last = (int(np.floor(low * (len(draws) - 1))), int(np.ceil(high * (len(draws) - 1))))
    assert found.ratio.value == pytest.approx(ratio([0, 1, 2, 3, 4]))
    assert (found.ratio.low, found.ratio.high) == pytest.approx((draws[first], draws[last]))
    # 0.2 + 0.67 x = 0.4 at x = 20/67 of the budget; 0.2 + 0.4 x = 0.4 at a half.
    assert found.turns.value == pytest.approx(BUDGET * 20 / 67)
    assert found.ratio.value == pytest.approx(67 / 40)


def test_what_the_baseline_gains_gives_the_threshold_of_each_draw() -> None:
    theirs = ramps(0.5, 0.6, 0.55, 0.7, 0.65)
    found = speed(theirs, theirs, None, TURNS)
    assert found.threshold == pytest.approx(0.2 + 0.4 * 0.95)  # the mean of its last tenth
    assert (found.ratio.value, found.ratio.low, found.ratio.high) == pytest.approx((1.0, 1.0, 1.0))
    part = speed(theirs, theirs, None, TURNS, gained=0.75)
    assert part.threshold == pytest.approx(0.2 + 0.75 * 0.4 * 0.95)
    assert part.turns.value == pytest.approx(BUDGET * 0.75 * 0.95)


def test_a_baseline_that_does_not_rise_says_nothing_of_speed() -> None:
    for baseline in (ramps(0.0, 0.0), np.full((2, POINTS), 0.3)):  # falling, and still
        found = speed(ramps(0.5, 0.6), baseline, None, TURNS, gained=0.75)
        assert math.isnan(found.threshold)
        assert math.isnan(found.ratio.value)
        assert math.isnan(found.turns.value)


def test_metrics_that_are_lost_are_not_a_result(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4}, seeds=2)
    (tmp_path / "runs" / "k = 1" / "1" / "0" / "metrics.jsonl").write_text("", encoding="utf-8")
    page, measured, *_ = write_comparison(tmp_path)
    (new,) = [one for one in measured if (one.task, one.arm) == ("k = 1", "new")]
    assert (new.seeds, new.failed) == ((1,), 0)
    assert "it is done, but its metrics are lost (not counted)" in words(page.read_text(encoding="utf-8"))


def test_colours_are_those_of_the_picture_and_names_fit(tmp_path: Path) -> None:
    long = "an arm with a name that runs on and on"
    arena = read_arena(write_arena(tmp_path, {"flat": 0.2, long: 0.4}, seeds=1))
    drawn = slide(arena, measure(arena))
    assert "an arm with a name t…" in drawn
    assert long not in drawn
    assert "mean of one seed" in drawn
    page = write_comparison(tmp_path).page.read_text(encoding="utf-8")
    assert 'class="line h5"' in page
    assert 'class="line h0"' in page


def test_a_noisy_curve_is_not_faster_than_a_quiet_one() -> None:
    """Of one true curve, with the noise of steps of 8 and of 64 games. The first touch of the end came sooner."""
    rng = np.random.default_rng(0)
    course = 0.25 + 0.25 * (1 - np.exp(-3 * TURNS / BUDGET)) / (1 - np.exp(-3))
    found = []
    for _ in range(200):
        noisy, quiet = (
            trailing_mean(course + np.repeat(rng.normal(0, spread, 51), 2)[:POINTS], 6) for spread in (0.08, 0.048)
        )
        ratio = speed(noisy[None], quiet[None], None, TURNS, gained=0.75).ratio
        found.append(0.0 if ratio.bound == "≤" else ratio.value)
    assert 0.85 < np.nanmedian(found) < 1.1


@pytest.mark.parametrize(
    ("ours", "theirs", "value", "bound"),
    [
        # 0.6 is reached at 2/3 of the budget, or not at all.
        (ramps(0.8, 0.8), ramps(0.5, 0.5), 1.5, "≥"),
        (ramps(0.5, 0.5), ramps(0.8, 0.8), 2 / 3, "≤"),
        (ramps(0.5, 0.5), ramps(0.5, 0.5), math.nan, ""),
        (ramps(0.5), ramps(0.8), 2 / 3, "≤"),
        (ramps(0.8) + 0.5, ramps(0.8), math.nan, ""),  # it starts beyond the threshold
    ],
)
def test_what_was_not_reached_gives_bounds(ours: Floats, theirs: Floats, value: float, bound: str) -> None:
    found = speed(ours, theirs, 0.6, TURNS).ratio
    assert found.bound == bound
    assert found.value == pytest.approx(value, nan_ok=True)
    many = speed(np.repeat(ours[:1], 5, axis=0), np.repeat(theirs[:1], 5, axis=0), 0.6, TURNS).ratio
    assert many.bound == bound
    assert (many.low, many.high) == pytest.approx((0.0 if bound != "≥" else value, math.inf if bound != "≤" else value))


def test_cells() -> None:
    inf, nan = math.inf, math.nan
    assert str(turns_cell(Estimate(value=4000), BUDGET)) == "4,000"
    assert str(turns_cell(Estimate(value=inf), BUDGET)) == ">10 k"
    assert str(ratio_cell(Estimate(value=2.0, low=1.5, high=inf))) == "2×\n[1.5, ∞]"
    assert str(ratio_cell(Estimate(value=2.0, low=0.0, high=2.5, bound="≤"))) == "≤ 2×\n[0, 2.5]"
    assert str(ratio_cell(Estimate(value=nan))) == "–"
    assert str(share_cell(Estimate(value=0.5, low=0.4, high=0.6))) == "50.0\n[40.0, 60.0]"
    assert str(share_cell(Estimate(value=nan))) == "–"


# Whole comparisons


def test_arms_are_measured(tmp_path: Path) -> None:
    arena = read_arena(write_arena(tmp_path, {"flat": 0.2, "new": 0.4}))
    flat, new = measure(arena)[:2]
    assert (flat.task, flat.arm, flat.runs, flat.failed) == ("k = 1", "flat", 3, 0)
    assert (flat.heldout.value, new.heldout.value) == pytest.approx((0.5, 0.7))
    assert new.gain.value == pytest.approx(0.2)
    assert (new.seeds, new.shared, new.planned) == ((0, 1, 2), (0, 1, 2), 3)
    assert new.by_seed == pytest.approx((0.7, 0.7, 0.7))
    assert new.by_task["heat"].value == pytest.approx(0.6)
    assert new.variance_ratio.value == pytest.approx(1.6 / 1.8)
    assert new.switches.value == pytest.approx(4.0)  # 3, 4 and 5
    assert 1.7 < new.ratio.value < 2.3  # it climbs twice as fast
    assert flat.ratio.value == 1.0
    assert new.guards == {"critic": 1}
    assert new.area.value == pytest.approx(float(np.trapezoid(new.curve, grid(arena, "k = 1"))) / BUDGET)


def test_a_page_elsewhere_leaves_the_folder_as_it_is(tmp_path: Path) -> None:
    arena = write_arena(tmp_path / "arena", {"flat": 0.2, "new": 0.4}, seeds=1)
    before = {file: file.read_bytes() for file in arena.rglob("*") if file.is_file()}
    page, *_ = write_comparison(arena, tmp_path / "elsewhere" / "page.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [file.name for file in page.parent.iterdir()] == ["page.html"]
    assert {file: file.read_bytes() for file in arena.rglob("*") if file.is_file()} == before


def test_a_page_goes_into_a_device_and_does_not_replace_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text, encoding="utf-8")
        write_page(pipe, "<p>")
        assert read.result(timeout=60) == "<p>"
    assert pipe.is_fifo()


def test_a_comparison_may_be_of_scores(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4})
    plan = json.loads((tmp_path / ARENA_FILE).read_text(encoding="utf-8"))
    (tmp_path / ARENA_FILE).write_text(json.dumps(plan | {"measure": "score"}), encoding="utf-8")
    for run in plan["runs"]:
        for name in ("metrics.jsonl", "evals.jsonl"):
            file = tmp_path / run["folder"] / name
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            file.write_text("".join(json.dumps(_half_scored(row)) + "\n" for row in rows), encoding="utf-8")
    arena = read_arena(tmp_path)
    flat, new = measure(arena)[:2]
    assert (flat.heldout.value, new.heldout.value) == pytest.approx((0.25, 0.35))
    assert new.by_task["heat"].value == pytest.approx(0.6)  # success, as ever
    assert "Score in training against turns played" in str(slide(arena, measure(arena)))


def _half_scored(row: dict[str, Any]) -> dict[str, Any]:
    """With a score that is half the success."""
    if "rollout/success" in row:
        return row | {"rollout/score": row["rollout/success"] / 2}
    return row | {"score_mean": row["success"] / 2} if "success" in row else row


def test_a_failed_run_counts_as_no_success(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4})
    change_run(tmp_path, 3, state="failed", reason=f"boom {HOSTILE}")
    new = measure(read_arena(tmp_path))[1]
    assert (new.runs, new.failed) == (3, 1)
    assert new.heldout.value == pytest.approx(0.7 * 2 / 3)
    page, *_ = write_comparison(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "k = 1, new, seed 0: boom <b onclick" in words(text)
    assert "onclick" not in {name for _, attributes in parse(text).tags for name in attributes}


def test_what_compares_is_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    """Seed 0 is easy for both. The new arm has no other yet: its mean is higher than the baseline's, not its gain."""
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4})
    plan = json.loads((tmp_path / ARENA_FILE).read_text(encoding="utf-8"))["runs"]
    for place, rise in ((0, 0.6), (3, 0.5)):
        write_run(tmp_path / plan[place]["folder"], rise, seed=0)
    for place in (4, 5):
        change_run(tmp_path, place, state="unfinished", folder="runs/none")
    flat, new = measure(read_arena(tmp_path))[:2]
    assert (flat.seeds, new.seeds, new.shared) == ((0, 1, 2), (0,), (0,))
    assert new.heldout.value > flat.heldout.value
    assert new.gain.value == pytest.approx(-0.1)
    assert new.area_gain.value < 0
    assert new.threshold > flat.threshold + 0.1
    assert new.ratio.value < 1
    page, measured, *_ = write_comparison(tmp_path)
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(comparison_table(measured))
    table = console.export_text()
    assert f"k = 1, threshold {100 * flat.threshold:.1f} %" in table
    assert "1 of 3*" in table
    assert "1 of 3*" in words(page.read_text(encoding="utf-8"))
    picture = (tmp_path / "compare.svg").read_text(encoding="utf-8")
    assert "mean of 1 to 3 of 3 seeds<" in picture
    assert ">new (1)<" in picture
    # And the other way round: the baseline lacks seeds that the arm has.
    for place in (4, 5):
        change_run(tmp_path, place, state="done", folder=plan[place]["folder"])
    change_run(tmp_path, 0, state="unfinished", folder="runs/none")
    flat, new = measure(read_arena(tmp_path))[:2]
    assert (flat.seeds, new.seeds, new.shared) == ((1, 2), (0, 1, 2), (1, 2))
    assert new.gain.value == pytest.approx(0.2)
    assert new.variance_ratio.value == pytest.approx(1.6 / 1.8)


def test_variances_are_compared_over_the_steps_that_both_measured(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4}, seeds=1)
    file = tmp_path / "runs" / "k = 1" / "1" / "0" / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows[1]["learn/grad_variance"] = 100.0  # the first step of training, which the baseline did not measure
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    other = tmp_path / "runs" / "k = 1" / "0" / "0" / "metrics.jsonl"
    rows = [json.loads(line) for line in other.read_text(encoding="utf-8").splitlines()]
    del rows[1]["learn/grad_variance"]
    other.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    new = measure(read_arena(tmp_path))[1]
    assert new.variance_ratio.value == pytest.approx(1.6 / 1.8)
    assert new.grad_variance.value > 5


def test_held_out_is_the_first_split_of_the_last_evaluation(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2}, seeds=1)
    for task in ("k = 1", "k = 2"):
        file = tmp_path / "runs" / task / "0" / "0" / "evals.jsonl"
        row = json.loads(file.read_text(encoding="utf-8"))
        seen, before = row | {"split": "valid_seen", "success": 0.9}, row | {"final": False, "success": 0.1}
        write_rows(file, [before, row, seen, row])
    page, measured, *_ = write_comparison(tmp_path)
    assert measured[0].heldout.value == pytest.approx(0.5)
    assert "games of valid_unseen" in words(page.read_text(encoding="utf-8"))


def test_what_is_unfinished_is_listed_but_not_measured(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4})
    for place in (3, 4, 5):
        change_run(tmp_path, place, state="unfinished")
    page, measured, *_ = write_comparison(tmp_path)
    assert measured[1].runs == 0
    assert math.isnan(measured[1].heldout.value)
    assert "runs not finished 3" in words(page.read_text(encoding="utf-8"))


def test_arms_of_one_task_that_began_from_unequal_imitations_are_told_apart(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4}, seeds=1)
    for place, made in enumerate(("2026-01-01", "2026-02-02", "2026-03-03", "2026-03-03")):
        begin_from(tmp_path, place, start="all-0", made=made)
    (line,) = unequal_starts(read_arena(tmp_path))
    assert line == "k = 1, seed 0: all-0 came out in 2 versions; 2026-01-01: flat; 2026-02-02: new"
    page, *_ = write_comparison(tmp_path)
    assert "Runs that differ by more than their arms" in words(page.read_text(encoding="utf-8"))


def test_runs_of_other_code_are_named(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4}, seeds=1)
    assert not unequal_code(read_arena(tmp_path))  # written before code was noted: all alike
    for place, code in enumerate((["a" * 64], ["a" * 64], ["a" * 64, "b" * 64, "a" * 64], ["a" * 64, "a" * 64])):
        begin_from(tmp_path, place, start="", made="", sessions=[{"code_sha256": one} for one in code])
    (line,) = unequal_code(read_arena(tmp_path))
    assert line == ("k = 2, seed 0: trained by 2 versions of the code; aaaaaaaa then bbbbbbbb: flat; aaaaaaaa: new")
    page, _, unequal, _ = write_comparison(tmp_path)
    assert unequal == (line,)
    assert "2 versions of the code" in words(page.read_text(encoding="utf-8"))


def test_runs_that_share_an_imitation_need_no_word(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2, "new": 0.4}, seeds=1)
    for place in range(4):  # made anew for each run, and the same to the last digit
        begin_from(tmp_path, place, start="all-0", made=f"2026-01-0{1 + place}", start_sha256="c" * 64)
    assert not unequal_starts(read_arena(tmp_path))
    page, *_ = write_comparison(tmp_path)
    assert "differ by more than their arms" not in words(page.read_text(encoding="utf-8"))


def test_a_comparison_before_its_first_run_is_over(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2}, seeds=1)
    for place in range(2):
        change_run(tmp_path, place, state="unfinished", folder="runs/none")
    page, measured, *_ = write_comparison(tmp_path)
    parse(page.read_text(encoding="utf-8"))
    assert summary(measured)[0]["turns"] == {"value": None, "low": None, "high": None}


def test_tasks_of_which_no_run_has_begun_are_left_out(tmp_path: Path) -> None:
    write_arena(tmp_path, {"flat": 0.2}, seeds=1)
    assert read_arena(tmp_path).tasks == ("k = 1", "k = 2")
    change_run(tmp_path, 1, state="unfinished", folder="runs/none")
    assert read_arena(tmp_path).tasks == ("k = 1",)
    assert read_arena(tmp_path).waiting == ("k = 2",)
    console = Console(width=100, record=True, file=io.StringIO())
    written = write_comparison(tmp_path)
    console.print(comparison_table(written.measured, written.waiting))
    assert "no runs yet: k = 2" in console.export_text()
    assert "not begun k = 2" in words(written.page.read_text(encoding="utf-8"))
    change_run(tmp_path, 0, state="unfinished", folder="runs/none")
    assert read_arena(tmp_path).tasks == ("k = 1", "k = 2")


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("threshold", ["baseline", 0.45])
def test_page_table_picture_and_numbers(tmp_path: Path, seeds: int, threshold: Any) -> None:
    rises = {"flat": 0.2, f"new {HOSTILE}": 0.4, **{f"arm {i}": 0.1 * i for i in range(11)}}
    write_arena(tmp_path, rises, seeds=seeds, threshold=threshold)
    page, measured, *_ = write_comparison(tmp_path)
    text = page.read_text(encoding="utf-8")
    reader = parse(text)
    assert not [value for _, attributes in reader.tags for key, value in attributes.items() if key in ("src", "href")]
    for said in (
        "k = 1 (one at a time)",
        "k = 2 (2 chained)",
        "arm 10",
        "held out, %",
        "Every run",
    ):
        assert said in words(text)
    json.dumps(summary(measured), allow_nan=False)
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(comparison_table(measured))
    table = console.export_text()
    assert "k = 2, threshold" in table
    assert "\x1b[31m" not in table
    assert table.count("arm 10") == 2


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_terminal_table_fits_80_columns(tmp_path: Path, seeds: int) -> None:
    """An interval, or the seeds', stands whole under its value; arms that have not run yet are named, not tabled."""
    write_arena(tmp_path, {"flat": 0.2, "a name of some length": 0.4, "worse": -0.2, "later": 0.3}, seeds=seeds)
    for index, run in enumerate(json.loads((tmp_path / "arena.json").read_text("utf-8"))["runs"]):
        if run["arm"] == "later":
            change_run(tmp_path, index, state="unfinished", folder="runs/none")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(measure(read_arena(tmp_path))))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("held out: success"))]
    assert all(line.count("[") == line.count("]") for line in table)
    assert sum(line.count("[") for line in table) == (0 if seeds < 5 else 2 * (3 + 3 + 2))
    assert sum("70, 70, 70" in line for line in table) == (2 if seeds < 5 else 0)
    assert [line.rstrip() for line in table if "later" in line] == ["no runs yet: later"] * 2


def test_names_stay_whole_where_a_seed_has_not_come_to_its_end(tmp_path: Path) -> None:
    """Without an interval the seeds stand there, some to a line; what is not known is a dash."""
    write_arena(tmp_path, {"flat": 0.2, "a longer name": 0.4}, seeds=5)
    file = tmp_path / "runs" / "k = 1" / "1" / "4" / "evals.jsonl"
    file.write_text("", encoding="utf-8")
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(measure(read_arena(tmp_path))))
    lines = console.export_text().splitlines()
    assert sum(line.startswith("a longer name ") for line in lines) == 2
    assert sum("70, 70, 70," in line for line in lines) == sum("70, –" in line for line in lines) == 1


def test_the_picture_stands_alone_and_names_every_line(tmp_path: Path) -> None:
    arena = read_arena(write_arena(tmp_path, {"flat": 0.2, "new": 0.4, "other": 0.3}))
    drawn = parse(slide(arena, measure(arena)))
    names = [tag for tag, _ in drawn.tags]
    assert names.count("title") == 1
    texts = "".join(drawn.text)
    assert all(texts.count(arm) == 2 for arm in ("flat", "new", "other"))
    lines = [a for tag, a in drawn.tags if tag == "path" and a.get("stroke-width") == "2.4"]
    assert len(lines) == 6
    assert len({a["stroke"] for a in lines}) == 3
    assert {a["stroke-dasharray"] != "" for a in lines} == {True, False}
    assert not [a for _, a in drawn.tags if "class" in a or "style" in a]


@pytest.mark.parametrize(("arms", "bands"), [(4, 8), (5, 2)])
def test_bands_are_left_to_the_baseline_where_there_are_many(arms: int, bands: int, tmp_path: Path) -> None:
    rises = {"flat": 0.2} | {f"arm {n}": 0.3 for n in range(1, arms)}
    arena = read_arena(write_arena(tmp_path, rises, seeds=5))
    drawn = parse(slide(arena, measure(arena)))
    shaded = [a["fill"] for tag, a in drawn.tags if tag == "path" and "fill-opacity" in a]
    assert len(shaded) == bands
    assert len(set(shaded)) == bands // 2  # a colour each, on two tasks
    assert ("interval of the baseline over seeds" in "".join(drawn.text)) == (bands == 2)


@given(st.lists(st.floats(0, 300), max_size=12))
def test_names_do_not_overlap_and_keep_their_order(wanted: list[float]) -> None:
    places = apart(wanted, 14, low=0, high=300)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    gaps = np.diff([places[i] for i in order])
    assert (gaps >= 14 - 1e-9).all()
    assert all(-1e-9 <= place <= 300 + 1e-9 for place in places)
    if len(wanted) == 1:
        assert places == wanted


def test_traces_are_means_of_the_runs_that_have_them() -> None:
    def run(values: dict[int, float]) -> Entry:
        rows = tuple({"total/turns": turns, "x": value} for turns, value in values.items())
        return Entry(task="t", arm="a", seed=0, folder="", state="done", reason="", rows=rows, evals=())

    found = trace(
        [run({100: 1.0, 200: 3.0}), run({50: 5.0, 100: 5.0}), run({})], "x", np.array([0.0, 50.0, 100.0, 150.0])
    )
    assert found == pytest.approx([3.0, 3.5, 4.0, 4.0])  # the last step goes on to the run's end
    late = run({100: math.nan, 200: 3.0, 300: math.nan})
    assert trace([late], "x", np.array([0.0, 100.0, 150.0, 200.0])) == pytest.approx(
        [math.nan, 3.0, math.nan, math.nan], nan_ok=True
    )


def test_what_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"not the folder of a comparison; arena\.json is missing or damaged"):
        read_arena(tmp_path)
    (tmp_path / ARENA_FILE).write_text('{"arms"', encoding="utf-8")
    with pytest.raises(ReportError, match="missing or damaged"):
        read_arena(tmp_path)
    write_arena(tmp_path, {"flat": 0.2}, seeds=1)
    plan = json.loads((tmp_path / ARENA_FILE).read_text(encoding="utf-8"))
    (tmp_path / ARENA_FILE).write_text(json.dumps({**plan, "runs": [{}]}), encoding="utf-8")
    with pytest.raises(ReportError, match=r"is damaged, or of another version \(KeyError"):
        read_arena(tmp_path)
    (tmp_path / ARENA_FILE).write_text(json.dumps(plan), encoding="utf-8")
    (tmp_path / "runs" / "k = 1" / "0" / "0" / "metrics.jsonl").write_text("{\n{}\n", encoding="utf-8")
    with pytest.raises(ReportError, match=r"metrics\.jsonl, line 1: not JSON"):
        read_arena(tmp_path)
