"""Comparisons: planned and checked before they start, killed and taken up again, failures shown."""

import json
import shutil
import signal
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w

from hiper.cli import main
from hiper.records import read_jsonl
from hiper.report import ReportError
from hiper.report.arena import read_arena
from hiper.runs.arena import Job, Plan, choose, load_plan, slug
from hiper.runs.board import Board
from hiper.runs.checkpoint import CheckpointError, model_sha256
from hiper.runs.compare import Comparison, _how_it_died, finished
from hiper.runs.config import ConfigError, load_config
from hiper.runs.folder import RunFolder
from hiper.runs.worker import copy_start
from tests.runs.nursery import PATIENCE, Child, Nursery
from tests.runs.tiny import Row, contents, metrics, settings, tiny_model

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs").glob("arena*.toml"))


def document() -> dict[str, Any]:
    """A comparison of three arms, one of which cannot but fail, in a minute or less."""
    base = settings() | {"model": {"path": str(tiny_model())}}
    base["env"] = {"max_turns": 3, "options": {"size": "small", "room": "kitchen"}}
    base["eval"] = {"splits": ["valid_unseen"]}
    base["train"] |= {"episodes": 4, "max_turns": 3, "critic_warmup": 0}
    return {
        "base": base,
        "arena": {
            "seeds": [5],
            "turns": 30,
            "baseline": "flat",
            "task": [{"name": "k = 1"}],
            "arm": [
                {"name": "flat", "credit": {"estimator": "gae"}},
                {"name": "HAE", "credit": {"estimator": "hae", "lam_boundary": 0.5}},
                {"name": "broken", "train": {"max_logprob_gap": 0.0}},
            ],
        },
    }


def plan_of(tmp_path: Path, data: dict[str, Any], *overrides: str) -> Plan:
    file = tmp_path / "arena.toml"
    file.write_text(tomli_w.dumps(data), encoding="utf-8")
    return load_plan(file, overrides, tmp_path / "out")


class Silent:
    def say(self, text: str) -> None: ...
    def board(self, done: int, total: int, left_s: float | None, text: str) -> None: ...


# Plans


def test_arms_lie_over_tasks_and_tasks_over_the_base(tmp_path: Path) -> None:
    data = document()
    data["base"]["credit"] = {"gamma": 0.5, "lam_low": 0.5, "lam_high": 0.5}
    data["arena"]["task"] = [{"name": "a", "credit": {"lam_low": 0.6, "lam_high": 0.6}}, {"name": "b"}]
    data["arena"]["arm"][0]["credit"] |= {"lam_high": 0.7}
    plan = plan_of(tmp_path, data, "arena.seeds=[1, 2]", "train.episodes=8", "arena.turns=99")
    assert len(plan.entries) == 2 * 2 * 3
    credit = {(e.task, e.arm): e.job.config.credit for e in plan.entries}
    flat = credit["a", "flat"]
    assert (flat.estimator, flat.gamma, flat.lam_low, flat.lam_high) == ("gae", 0.5, 0.6, 0.7)
    assert (credit["b", "HAE"].lam_low, credit["b", "HAE"].lam_high) == (0.5, 0.5)
    assert {entry.job.config.seed for entry in plan.entries} == {1, 2}
    assert {(e.job.config.train.turns, e.job.config.train.episodes, e.job.config.threads) for e in plan.entries} == {
        (99, 8, 1)
    }
    assert len({entry.job.out for entry in plan.entries}) == len(plan.entries)


def test_an_imitation_is_shared_by_those_that_it_suits(tmp_path: Path) -> None:
    data = document()
    data["arena"]["arm"].append({"name": "act", "agent": {"interface": "act"}})
    data["arena"]["task"].append({"name": "k = 2", "env": {"options": {"chain": 2}}})
    plan = plan_of(tmp_path, data, "arena.seeds=[1, 2]")
    assert len(plan.starts) == 2 * 2 * 2  # tasks, interfaces, seeds
    starts = {(e.task, e.arm, e.seed): e.job.start for e in plan.entries}
    assert starts["k = 1", "flat", 1] == starts["k = 1", "HAE", 1] != starts["k = 1", "act", 1]
    assert starts["k = 1", "flat", 1] != starts["k = 2", "flat", 1]
    assert [(task.name, task.chain) for task in plan.tasks] == [("k = 1", None), ("k = 2", 2)]


def test_one_imitation_may_serve_all_tasks_and_seeds(tmp_path: Path) -> None:
    data = document()
    data["arena"]["arm"].append({"name": "act", "agent": {"interface": "act"}})
    data["arena"]["task"].append({"name": "k = 2", "env": {"max_turns": 9, "options": {"chain": 2}}})
    data["arena"]["start"] = {"seed": 7, "env": {"max_turns": 50, "options": {"chain": 4, "shortest": 1}}}
    plan = plan_of(tmp_path, data, "arena.seeds=[1, 2]")
    assert len(plan.starts) == 2  # interfaces
    env = plan.starts[0].config.env
    assert (plan.starts[0].config.seed, env.max_turns) == (7, 50)
    assert env.options == {"size": "small", "room": "kitchen", "chain": 4, "shortest": 1}
    assert {entry.job.config.env.max_turns for entry in plan.entries} == {3, 9}


def test_each_seed_may_have_its_own_imitation_for_all_tasks(tmp_path: Path) -> None:
    data = document()
    data["arena"]["task"].append({"name": "k = 2", "env": {"max_turns": 9, "options": {"chain": 2}}})
    data["arena"]["start"] = {"env": {"max_turns": 50}}
    plan = plan_of(tmp_path, data, "arena.seeds=[1, 2]")
    assert [start.config.seed for start in plan.starts] == [1, 2]
    assert all(len({e.job.start for e in plan.entries if e.seed == seed}) == 1 for seed in (1, 2))


def test_parts_of_a_comparison_can_be_chosen(tmp_path: Path) -> None:
    data = document()
    data["arena"]["task"].append({"name": "k = 2"})
    plan = plan_of(tmp_path, data)
    chosen = choose(plan, tasks=["k = 2"], arms=["HAE", "flat"])
    assert [(entry.task, entry.arm) for entry in chosen] == [("k = 2", "flat"), ("k = 2", "HAE")]
    assert choose(plan) == plan.entries
    with pytest.raises(ConfigError, match="unknown arm 'flatt'; did you mean 'flat'"):
        choose(plan, arms=["flatt"])


def test_a_task_may_have_a_budget_of_its_own(tmp_path: Path) -> None:
    data = document()
    data["arena"]["task"].append({"name": "k = 2", "turns": 70})
    plan = plan_of(tmp_path, data)
    assert [task.turns for task in plan.tasks] == [30, 70]
    assert {(entry.task, entry.job.config.train.turns) for entry in plan.entries} == {("k = 1", 30), ("k = 2", 70)}


def test_without_imitation_there_is_none(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, document(), "sft.steps=0")
    assert not plan.starts
    assert {entry.job.start for entry in plan.entries} == {None}


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_can_be_planned(file: Path, tmp_path: Path) -> None:
    plan = load_plan(file, (), tmp_path)
    assert len(plan.entries) == len(plan.arena.seeds) * len(plan.arena.arm) * len(plan.arena.task)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"arean": {}}, "unknown key 'arean'; did you mean 'arena'?"),
        ({"arena": {"seed": [1]}}, "unknown key 'arena.seed'; did you mean 'arena.seeds'?"),
        ({"arena": {"turns": 0}}, "arena.turns: Input should be greater than or equal to 1"),
        ({"arena": {"turns": None}}, "arena.turns: is missing"),
        ({"arena": {"seeds": []}}, "arena.seeds: Tuple should have at least 1 item"),
        ({"arena": {"seeds": [1, 1]}}, "arena.seeds: [1, 1] names a seed twice"),
        ({"arena": {"baseline": "flt"}}, "arena.baseline names an unknown arm 'flt'; did you mean 'flat'?"),
        ({"arena": {"threshold": 1.5}}, "arena.threshold"),
        ({"arena": {"arm": []}}, "arena.arm: Tuple should have at least 1 item"),
        ({"arena": {"arm": [{"train": {}}]}}, "arena.arm number 1 has no name"),
        (
            {"arena": {"arm": [{"name": "a b"}, {"name": "a, b"}]}},
            "arena.arm: 'a b' and 'a, b' would be one folder; choose another name",
        ),
        (
            {"arena": {"arm": [{"name": "flat", "credit": {"estimater": "gae"}}]}},
            "task 'k = 1', arm 'flat': unknown key 'credit.estimater'; did you mean 'credit.estimator'?",
        ),
        (
            {"arena": {"task": [{"name": "t", "env": {"max_turn": 3}}]}},
            "task 't', arm 'flat': unknown key 'env.max_turn'; did you mean 'env.max_turns'?",
        ),
        ({"arena": {"arm": [{"name": "flat", "turns": 3}]}}, "arm 'flat': a budget goes for all arms"),
        (
            {"arena": {"arm": [{"name": "flat", "train": {"turns": 3}}]}},
            "arm 'flat': train.turns: the budget goes for all arms; set arena.turns, or a task's turns",
        ),
        ({"arena": {"task": [{"name": "t", "seed": 3}]}}, "task 't': seed: each run of a comparison has its own"),
        (
            {"arena": {"task": [{"name": "t", "turns": -1}]}},
            "task 't': turns: expected a whole number",
        ),
        ({"base": {"trian": {}}}, "unknown key 'trian'; did you mean 'train'?"),
        ({"arena": {"threshold": "half"}}, "arena.threshold: Input should be a valid number, unable to parse"),
        ({"arena": {"threshold": "half"}}, "or 'baseline' (got 'half')"),
        ({"arena": {"start": {"sead": 1}}}, "unknown key 'arena.start.sead'"),
        ({"arena": {"arm": [{"name": ".."}]}}, "arena.arm number 1 has no name"),
        (
            {"arena": {"task": [{"name": "t", "turns": 0}]}},
            "task 't': turns: expected a whole number, 1 or",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    data = document()
    for section, values in change.items():
        data.setdefault(section, {}).update(values)
        data[section] = {key: value for key, value in data[section].items() if value is not None}
    with pytest.raises(ConfigError) as error:
        plan_of(tmp_path, data)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_files_and_overrides_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_plan(tmp_path / "none.toml", (), tmp_path)
    with pytest.raises(ConfigError, match=r"override 'arena.turns': expected key=value"):
        plan_of(tmp_path, document(), "arena.turns")
    with pytest.raises(ConfigError, match=r"base: expected a section, not a value \(got 3\)"):
        plan_of(tmp_path, document() | {"base": 3})
    start = plan_of(tmp_path, document(), "arena.start.seed=9").starts[0]
    assert start.config.seed == 9


@pytest.mark.parametrize("decided", ["seed=3", "train.turns=5", "train.steps=5"])
def test_what_a_comparison_decides_cannot_be_set(decided: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=decided.partition("=")[0] + ": .* set arena"):
        plan_of(tmp_path, document(), decided)


def test_runs_have_one_thread_unless_told(tmp_path: Path) -> None:
    assert {entry.job.config.threads for entry in plan_of(tmp_path, document(), "threads=3").entries} == {3}


def test_games_that_are_not_there_are_known_before_anything_starts(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, document(), "env.train_split=trian")
    with pytest.raises(ConfigError, match=r"k = 1 · imitation, plan_execute · seed 5: .*trian"):
        Comparison(plan, tmp_path / "out", 1, Silent()).execute()
    assert not (tmp_path / "out").exists()


def test_names_as_folders() -> None:
    assert slug("k = 1") == "k-1"
    assert slug("HAE, λ=0.5/..") == "HAE-λ-0.5-.."
    assert slug("/") == "x"


def test_time_left_is_told_by_kind_and_size(tmp_path: Path) -> None:
    data = document()
    data["arena"]["task"] = [{"name": "k = 1"}, {"name": "k = 2", "turns": 60}]
    plan = plan_of(tmp_path, data)
    start, (flat, hae, broken, longer, *_) = plan.starts[0], (entry.job for entry in plan.entries)
    assert (flat.config.train.turns, longer.config.train.turns) == (30, 60)
    board = Board([start, flat, hae, broken, longer], workers=2)
    board.advance(start, 0.0, 5.0)
    board.advance(start, 0.5, 10.0)
    assert board.left_s() is None  # nothing is known of training yet
    board.settle(start)
    board.advance(flat, 0.2, 3.0)  # it was taken up again at this share
    board.advance(flat, 0.6, 17.0)
    # 20 s for 0.4 of a run; 0.4 + 1 + 1 are left, and one of twice the turns: 220 s of work, on two cores.
    assert board.left_s() == pytest.approx(110.0)
    for job in (flat, hae, broken, longer):
        board.settle(job)
    assert board.left_s() == 0
    board = Board([start, flat, hae, broken, longer], workers=1)
    board.settle(start, 70.0)
    board.settle(flat, 50.0)  # done at another time: it tells the pace all the same
    assert board.left_s() == pytest.approx(50.0 * (1 + 1 + 2))
    board.advance(hae, 0.0, 1.0)
    board.settle(hae)  # it failed: nothing was done, so nothing is learnt of the pace
    assert board.left_s() == pytest.approx(51.0 * (1 + 2))


# At work


@pytest.fixture(scope="module")
def unkilled(nursery: Nursery) -> Path:
    """A comparison from beginning to end."""
    (nursery.folder / "arena.toml").write_text(tomli_w.dumps(document()), encoding="utf-8")
    child = nursery.start("compare", "arena.toml", "--out", "unkilled", "--jobs", "2", "--json", "unkilled.json")
    assert child.wait() == 1, child.said()  # one of the arms has failed
    (nursery.folder / "said").write_text(child.said(), encoding="utf-8")
    return nursery.folder / "unkilled"


def run_of(out: Path, arm: str) -> Path:
    return out / "runs" / "k-1" / arm / "seed-5"


def wait_for(child: Child, out: Path, pattern: str) -> None:
    """Until the comparison has come so far that there is such a file."""
    end = time.monotonic() + PATIENCE
    while not list(out.glob(pattern)):
        assert time.monotonic() < end, child.said()
        time.sleep(0.005)


def outcomes(out: Path) -> dict[str, Row]:
    return {run["arm"]: run for run in json.loads((out / "arena.json").read_text(encoding="utf-8"))["runs"]}


def test_every_run_is_an_ordinary_run_from_one_imitation(unkilled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (start,) = (unkilled / "starts").iterdir()
    imitated = contents(start / "checkpoints" / "sft-000003")
    for arm in ("flat", "HAE", "broken"):
        assert contents(run_of(unkilled, arm) / "checkpoints" / "sft-000003") == imitated
        assert metrics(run_of(unkilled, arm), "sft") == metrics(start, "sft")
    told = [(run_of(unkilled, arm) / "environment.json").read_text(encoding="utf-8") for arm in ("flat", "HAE")]
    assert [json.loads(one)["start_sha256"] for one in told] == [model_sha256(start / "checkpoints" / "sft-000003")] * 2
    first = [metrics(run_of(unkilled, arm), "train")[0]["rollout/success"] for arm in ("flat", "HAE")]
    assert first[0] == first[1]  # the same policy on the same games
    for arm in ("flat", "HAE"):
        assert metrics(run_of(unkilled, arm), "train")[-1]["total/turns"] >= 30
        assert main(["report", str(run_of(unkilled, arm))]) == 0
    capsys.readouterr()
    where = ["--split", "valid_unseen", "--episodes", "2"]
    assert main(["eval", str(run_of(unkilled, "HAE")), *where, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 2


def test_a_failed_run_is_shown_with_its_reason(unkilled: Path) -> None:
    found = outcomes(unkilled)
    assert {arm: run["state"] for arm, run in found.items()} == {"flat": "done", "HAE": "done", "broken": "failed"}
    assert found["broken"]["reason"].startswith("GapError: sampled and recomputed log-probabilities differ")
    said = (unkilled.parent / "said").read_text(encoding="utf-8")
    assert "failed: k = 1 · broken · seed 5: GapError: sampled" in said
    result = json.loads((unkilled.parent / "unkilled.json").read_text(encoding="utf-8"))
    assert list(result["failed"]) == ["k = 1 · broken · seed 5"]
    (broken,) = [row for row in result["results"] if row["arm"] == "broken"]
    assert (broken["runs"], broken["failed"], broken["heldout"]["value"]) == (1, 1, 0.0)
    page = (unkilled / "compare.html").read_text(encoding="utf-8")
    assert "<li>k = 1, broken, seed 5: GapError: sampled" in page


def test_rows_are_left_for_those_who_count_for_themselves(unkilled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = read_jsonl(unkilled / "rows.jsonl")
    played = [row for row in rows if (row["kind"], row["arm"]) == ("train", "HAE")]
    assert [row["total/turns"] for row in played] == [
        row["total/turns"] for row in metrics(run_of(unkilled, "HAE"), "train")
    ]
    assert {row["split"] for row in rows if row["kind"] == "eval"} == {"valid_unseen"}
    head, *lines = (unkilled / "runs.csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith("task,arm,seed,state,reason,steps,turns,success")
    assert len(lines) == 3
    assert (unkilled / "compare.svg").read_text(encoding="utf-8").startswith("<svg")
    page = (unkilled / "compare.html").read_bytes()
    (unkilled / "compare.html").unlink()
    assert main(["report", str(unkilled)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{unkilled}/compare.html\n"
    table = printed.err[printed.err.index("k = 1, threshold") :].strip()
    assert table in (unkilled.parent / "said").read_text(encoding="utf-8")
    assert (unkilled / "compare.html").read_bytes() == page


def test_killed_with_its_runs_it_goes_on_where_it_was(nursery: Nursery, unkilled: Path) -> None:
    command = ("compare", "arena.toml", "--out", "killed", "--jobs", "2")
    out = nursery.folder / "killed"
    child = nursery.start(*command)
    wait_for(child, out, "runs/*/HAE/*/checkpoints/step-*")
    assert child.kill() == -signal.SIGKILL
    assert not (out / "compare.html").exists()
    child = nursery.start(*command)
    assert child.wait() == 1, child.said()
    for arm in ("flat", "HAE", "broken"):
        assert metrics(run_of(out, arm)) == metrics(run_of(unkilled, arm))
    assert outcomes(out) == outcomes(unkilled)


def test_asked_to_stop_every_run_saves(nursery: Nursery, unkilled: Path) -> None:
    command = ("compare", "arena.toml", "--out", "stopped", "--jobs", "1", "sft.steps=30")
    out = nursery.folder / "stopped"
    child = nursery.start(*command)
    wait_for(child, out, "starts/*/metrics.jsonl")
    child.send(signal.SIGINT)
    assert child.wait() == 130
    assert (
        child.said().splitlines()[-1] == "stopped; what was done lies in stopped; the same command goes on from there"
    )
    (start,) = (out / "starts").iterdir()
    last = max(path.name for path in (start / "checkpoints").iterdir())
    assert int(last.removeprefix("sft-")) == metrics(start)[-1]["step"] < 30
    child = nursery.start(*command, "--dry-run")
    assert child.wait() == 0
    assert child.said().splitlines()[1] == "begun  k = 1 · imitation, plan_execute · seed 5"


def test_a_process_that_somebody_stops_is_a_failed_run(nursery: Nursery, unkilled: Path) -> None:
    """The others go on, and the same command takes it up."""
    command = ("compare", "arena.toml", "--out", "one-stopped", "--jobs", "1", "sft.steps=30")
    out = nursery.folder / "one-stopped"
    child = nursery.start(*command)
    wait_for(child, out, "starts/*/metrics.jsonl")
    (imitation,) = [one for one in psutil.Process(child.pid).children(recursive=True) if _writes(one, out)]
    imitation.send_signal(signal.SIGTERM)
    assert child.wait() == 1
    assert "its imitation failed: its process was told to stop; the same command goes on from there" in child.said()
    assert {run["state"] for run in outcomes(out).values()} == {"unfinished"}  # no agent that never succeeds


def _writes(process: psutil.Process, out: Path) -> bool:
    return any(Path(file.path).is_relative_to(out / "logs") for file in process.open_files())


def test_what_is_done_in_parts_may_leave_its_numbers_only(nursery: Nursery, unkilled: Path) -> None:
    command = ("compare", "arena.toml", "--out", "parts", "--jobs", "1", "arena.keep_weights=false")
    out = nursery.folder / "parts"
    child = nursery.start(*command, "--arm", "HAE")
    assert child.wait() == 0, child.said()
    assert {arm: run["state"] for arm, run in outcomes(out).items()} == {
        "flat": "unfinished", "HAE": "done", "broken": "unfinished",
    }  # fmt: skip
    assert sorted(file.name for file in run_of(out, "HAE").iterdir() if not file.name.startswith(".")) == [
        "config.toml", "done.json", "environment.json", "evals.jsonl", "metrics.jsonl",
    ]  # fmt: skip
    assert metrics(run_of(out, "HAE")) == metrics(run_of(unkilled, "HAE"))
    child = nursery.start(*command, "--dry-run")
    assert child.wait() == 0
    assert child.said().splitlines() == [
        "3 runs and 1 imitation, in parts",
        "done   k = 1 · imitation, plan_execute · seed 5",
        "to do  k = 1 · flat · seed 5",
        "done   k = 1 · HAE · seed 5",
        "to do  k = 1 · broken · seed 5",
    ]
    child = nursery.start(*command, "--arm", "flat")
    assert child.wait() == 0, child.said()
    assert {run["state"] for arm, run in outcomes(out).items() if arm != "broken"} == {"done"}
    # The numbers of a run that is done are not those of other settings, whatever is to be done now.
    for changed in ("train.episodes=2", "eval.episodes=1"):
        child = nursery.start(*command, changed, "--arm", "broken")
        assert child.wait() == 1
        assert f"holds a run with other settings ({changed.partition('=')[0]})" in child.said()
    for start in (out / "starts").iterdir():
        shutil.rmtree(start)
    child = nursery.start(*command, "--arm", "HAE", "--arm", "flat")  # no run needs the imitation any more
    assert child.wait() == 0, child.said()
    assert not list((out / "starts").iterdir())
    assert "not in the plan" not in child.said()
    (nursery.folder / "renamed.toml").write_text(
        (nursery.folder / "arena.toml").read_text(encoding="utf-8").replace('"HAE"', '"another"'), encoding="utf-8"
    )
    child = nursery.start("compare", "renamed.toml", *command[2:], "--arm", "flat")
    assert child.wait() == 0
    assert "not in the plan, and left out: 1 runs (runs/k-1/HAE/seed-5)" in child.said()


class TestAgain:
    @pytest.fixture
    def plan(self, unkilled: Path) -> Plan:
        return load_plan(unkilled.parent / "arena.toml", (), unkilled)

    def test_nothing_that_is_done_is_done_again(
        self, plan: Plan, unkilled: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        launched: list[str] = []

        def launch(self: Comparison, job: Any) -> None:
            launched.append(job.name)
            raise KeyboardInterrupt

        monkeypatch.setattr(Comparison, "_launch", launch)
        Comparison(plan, unkilled, 2, Silent(), choose(plan, arms=["flat"])).execute()
        assert outcomes(unkilled)["broken"]["state"] == "failed"  # until it is tried again
        before = (unkilled / "arena.json").read_bytes()
        config = run_of(unkilled, "broken") / "config.toml"
        as_it_was = config.read_text(encoding="utf-8")
        config.write_text(as_it_was.replace("max_logprob_gap = 0.0", "max_logprob_gap = 0.1"), encoding="utf-8")
        Comparison(plan, unkilled, 2, Silent(), choose(plan, arms=["flat"])).execute()
        assert outcomes(unkilled)["broken"]["state"] == "unfinished"  # what failed had other settings
        config.write_text(as_it_was, encoding="utf-8")
        (unkilled / "arena.json").write_bytes(before)
        with pytest.raises(KeyboardInterrupt):
            Comparison(plan, unkilled, 2, Silent()).execute()
        assert launched == ["k = 1 · broken · seed 5"]
        assert outcomes(unkilled)["broken"]["state"] == "unfinished"

    def test_a_wish_to_stop_reaches_what_is_being_started(self, plan: Plan, tmp_path: Path) -> None:
        (tmp_path / "logs").mkdir()
        start = replace(plan.starts[0], out=tmp_path / "start")
        comparison = Comparison(plan, tmp_path, 1, Silent())
        comparison._asked = 1  # while the launch was under way
        comparison._launch(start)
        (worker,) = comparison._running
        worker.ask_to_stop()  # and again: it must not be taken for the second wish, to break off
        worker.process.join(PATIENCE)
        assert worker.process.exitcode in (0, -signal.SIGTERM)
        assert finished(start) is None

    def test_runs_and_comparisons_do_not_share_a_folder(self, plan: Plan, unkilled: Path) -> None:
        with pytest.raises(ConfigError, match="unkilled holds a comparison; choose another --out"):
            RunFolder.create(unkilled, plan.entries[0].job.config)
        run = plan.entries[0].job.out
        with pytest.raises(ConfigError, match="seed-5 holds a run; choose another --out"):
            Comparison(plan, run, 1, Silent()).execute()

    def test_a_damaged_imitation_is_named_where_it_is_copied(self, unkilled: Path, tmp_path: Path) -> None:
        (begun,) = (unkilled / "starts").iterdir()
        start, job = tmp_path / "start", Job(name="", config=load_config(begun / "config.toml"), out=tmp_path / "run")
        shutil.copytree(begun, start)
        (start / "checkpoints" / "sft-000003" / "model.safetensors").write_bytes(b"damaged")
        with pytest.raises(CheckpointError, match=rf"is corrupt \(its hash differs\); remove {start}, and it is made"):
            copy_start(start, job)
        assert not job.out.exists()

    @pytest.mark.parametrize(("exit_code", "said"), [(-9, "killed (SIGKILL, perhaps"), (3, "exit code 3; see log")])
    def test_how_a_process_died(self, exit_code: int, said: str) -> None:
        assert said in _how_it_died(exit_code, Path("log"))

    @pytest.mark.parametrize("text", ["[]", "{}", '{"runs": [1]}', b"\xff"])
    def test_a_damaged_plan_is_written_anew(self, plan: Plan, tmp_path: Path, text: str | bytes) -> None:
        (tmp_path / "arena.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        assert Comparison(plan, tmp_path, 1, Silent())._failed_before() == {}
        with pytest.raises(ReportError):
            read_arena(tmp_path)

    def test_a_damaged_note_of_the_end_is_named(self, plan: Plan, tmp_path: Path) -> None:
        job = replace(plan.entries[0].job, out=tmp_path)
        (tmp_path / "done.json").write_text("{}", encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"done.json is damaged; remove {tmp_path}, and the run is made again"):
            finished(job)

    def test_an_evaluation_of_other_settings_is_made_anew(self, unkilled: Path, tmp_path: Path) -> None:
        (start,) = (unkilled / "starts").iterdir()
        config = load_config(start / "config.toml")
        rows = read_jsonl(start / "evals.jsonl")
        for episodes, known in ((config.eval.episodes, rows), (1, [])):
            out = tmp_path / str(episodes)
            own = config.model_copy(update={"eval": config.eval.model_copy(update={"episodes": episodes})})
            copy_start(start, Job(name="", config=own, out=out, start=start))
            assert read_jsonl(out / "evals.jsonl") == known

    def test_other_settings_are_refused(self, plan: Plan, unkilled: Path, capsys: pytest.CaptureFixture[str]) -> None:
        file = unkilled.parent / "arena.toml"
        assert main(["compare", str(file), "train.episodes=2", "--out", str(unkilled)]) == 1
        assert "holds a run with other settings (train.episodes)" in capsys.readouterr().err

    def test_two_at_once_are_refused(self, plan: Plan, unkilled: Path) -> None:
        comparison = Comparison(plan, unkilled, 1, Silent())
        with comparison._locked(), pytest.raises(ConfigError, match="another program is at work on this comparison"):
            Comparison(plan, unkilled, 1, Silent()).execute()


def test_the_shipped_quick_one_is_read_as_written() -> None:
    data = tomllib.loads((ROOT / "configs" / "arena_quick.toml").read_text(encoding="utf-8"))
    assert {arm["name"] for arm in data["arena"]["arm"]} >= {"flat GAE", "HAE, paper", "HAE, unbiased"}
