"""The commands at work: results on standard output, everything that people read on standard error."""

import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from hiper.cli import main
from hiper.cli.show import Screen
from hiper.runs.config import make_config, plain
from hiper.runs.look import Where, watch
from tests.envs.official_files import game_file, write_tree
from tests.envs.webshop_data import ASKED, item, write_files
from tests.runs.tiny import carry_out, config_file, saved, tiny_model

ROOT = Path(__file__).resolve().parents[2]
FIELDS = {"success", "success_ci95", "episodes", "by_task", "split", "seeds", "invalid_rate", "turns_mean"}
GAMES = {f"{split}/task/trial_{i}": game_file() for split in ("train", "valid_seen", "valid_unseen") for i in range(2)}
Typed = Callable[[str], None]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Puts a person's words on standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_demo_from_end_to_end(tmp_path: Path) -> None:
    small = [
        "threads=1",
        "env.max_turns=3",
        "model.vocabulary=400",
        "sft.steps=2",
        "sft.episodes=4",
        "train.steps=2",
        "train.episodes=4",
        "train.max_turns=3",
        "train.critic_warmup=0",
        "sampling.max_reply=8",
        "eval.splits=['valid_unseen']",
    ]
    code = "import sys; from hiper.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "demo", "--seed", "5", "--json", "-", *small],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"] == "runs/demo"
    assert [(row["stage"], row["step"], row["episodes"]) for row in result["evaluations"]] == [
        ("sft", 2, 200),
        ("train", 2, 200),
    ]
    assert all(set(row) > FIELDS for row in result["evaluations"])
    out = tmp_path / "runs" / "demo"
    assert "seed = 5\n" in (out / "config.toml").read_text(encoding="utf-8")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "</html>" in page
    assert "valid_unseen" in page
    assert saved(out) == ["sft-000002", "step-000002"]
    said_first, said_last = "imitation: 0 of 2 done", "report: runs/demo/rep"
    for said in (said_first, "HiPER 2/2", "after imitation: valid_unseen success", said_last):
        assert said in done.stderr
    assert "\x1b" not in done.stderr  # plain lines in a pipe


def test_imitation_then_training_then_everything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = tmp_path / "run", str(config_file(tmp_path, "eval.splits=['valid_unseen']"))
    assert main(["sft", file, "--out", str(run), "--json", str(tmp_path / "deep" / "sft.json")]) == 0
    assert saved(run) == ["sft-000002", "sft-000003"]
    assert main(["train", file, "--out", str(run), "--json", "-"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in result["evaluations"]] == ["sft", "train"]
    first = json.loads((tmp_path / "deep" / "sft.json").read_text(encoding="utf-8"))
    assert first["evaluations"] == result["evaluations"][:1]

    where = ["--env", "few", "--split", "valid_unseen"]
    assert main(["eval", str(run), *where, "--json", "-", "--save", str(tmp_path / "played.jsonl")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["model"] == str(run)
    for key in ("success", "by_task", "turns_mean", "invalid_rate", "max_turns", "data_sha256"):
        assert row[key] == result["evaluations"][1][key]  # the same model, settings and games as at the run's end
    assert (tmp_path / "played.jsonl").read_text(encoding="utf-8").count("\n") == 1 + 6

    assert main(["play", str(run), "--watch", *where, "--max-turns", "2"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("turn_limit after 2 turns")

    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}/report.html\n"
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_bytes() == (run / "report.html").read_bytes()


def test_a_dry_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(config_file(tmp_path)), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    assert "[train.optim]" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_run_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = tmp_path / "run", str(config_file(tmp_path))
    carry_out(run, only_imitation=True)
    with (run / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["train", file, "--out", str(run)]) == 1
    assert capsys.readouterr().err.endswith(f"hiper: {run}: another program is writing to this run\n")


def test_eval_prints_one_row_or_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["eval", "random", "--env", "few", "--max-turns", "2", "--json", "-"]
    assert main([*few, "--split", "valid_seen"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "valid_seen"
    assert main(few) == 0
    assert [row["split"] for row in json.loads(capsys.readouterr().out)] == ["valid_seen", "valid_unseen"]


def test_each_environment_has_splits_of_its_own(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    shop = ["--env", "webshop", "env.options.products=60"]
    assert main(["eval", "expert", *shop, "--episodes", "2", "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["env"], row["split"], row["episodes"]) == ("webshop", "test", 2)
    assert main(["play", "expert", *shop]) == 0
    assert "succeeded after" in capsys.readouterr().out.splitlines()[-1]
    typed("\nq\n")
    assert main(["play", *shop]) == 0
    assert "search[<your query>]" in capsys.readouterr().out


def test_eval_of_several_tries_says_what_rl_can_choose_from(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--env", "few", "--split", "valid_seen", "--episodes", "2", "--max-turns", "3"]
    assert main(["eval", str(tiny_model()), *few, "--tries", "2", "--temperature", "1", "threads=1"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "valid_seen: in 2 tries 0.0% of the games were won at least once, 0.0% always." in said
    assert "it has 0.0% of the games to learn from" in said


def test_eval_in_every_view_of_the_environment(capsys: pytest.CaptureFixture[str], refused: Callable[..., str]) -> None:
    shop = ["eval", "expert", "--env", "webshop", "env.options.products=60", "--episodes", "3"]
    assert main([*shop, "--compat", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [(row["view"], row["split"], row["episodes"]) for row in rows] == [
        ("default", "test", 3),
        ("verl-agent", "test", 3),
    ]
    assert ["/fixed/" in row["env_version"] for row in rows] == [True, False]
    assert "/verl-agent/" in rows[1]["env_version"]
    assert "webshop test, default (n = 3)" in err
    assert "webshop test, verl-agent (n = 3)" in err
    assert main([*shop, "--json", "-"]) == 0
    (row,) = [json.loads(capsys.readouterr().out)]
    assert "view" not in row
    assert {**row, "view": "default"} == rows[0]

    said = refused(*shop, "--compat", "env.options.compat=princeton")
    assert said == "env.options.compat is what the views differ in: leave out either the setting or the views"
    said = refused("eval", "random", "--env", "few", "--compat")
    assert said == "environment 'few' has one view only: there is nothing to compare it with"


def test_eval_of_a_model_folder_with_settings(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["agent.header=none", "threads=1", "agent.layout=window"]
    settings += ["--max-turns", "2", "--episodes", "3", "--split", "train", "--temperature", "1", "--capacity", "2"]
    assert main(["eval", str(tiny_model()), "--env", "few", *settings, "--json", "-"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["episodes"], row["max_turns"], row["temperature"], row["turns_mean"]) == (3, 2, 1.0, 2.0)


def test_webshop_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("hiper.runs.setup.TOKENIZER_EPISODES", 12)
    file, run = tmp_path / "shop.toml", str(tmp_path / "run")
    file.write_text(
        """
        threads = 1
        env = { name = "webshop", max_turns = 2, options = { products = 30 } }
        model = { preset = "tiny-0.4m", vocabulary = 400 }
        agent = { header = "none" }
        sampling = { max_reply = 6 }
        sft = { steps = 1, episodes = 2 }
        train = { steps = 1, episodes = 4, minibatches = 1 }
        """,
        encoding="utf-8",
    )
    assert main(["sft", str(file), "--out", run]) == 0
    assert main(["train", str(file), "--out", run, "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)["evaluations"]
    assert [(row["stage"], row["env"], row["split"]) for row in rows] == [
        (s, "webshop", "test") for s in ("sft", "train")
    ]
    assert 'splits = [\n    "test",\n]' in (Path(run) / "config.toml").read_text(encoding="utf-8")
    assert main(["eval", run, "--compat", "--episodes", "2", "--json", "-"]) == 0
    assert [row["view"] for row in json.loads(capsys.readouterr().out)] == ["default", "verl-agent"]
    assert main(["play", run, "--watch"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("turn_limit after 2 turns")
    assert main(["report", run]) == 0
    assert "webshop" in (Path(run) / "report.html").read_text(encoding="utf-8")


def test_an_agent_trained_in_one_view_is_evaluated_in_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Path(shutil.copytree(tiny_model(), tmp_path / "model"))
    options = {"products": 30, "compat": "verl-agent"}
    config = make_config({"env": {"name": "webshop", "max_turns": 1, "options": options}})
    (model / "run_config.json").write_text(json.dumps(plain(config)), encoding="utf-8")
    assert main(["eval", str(model), "--compat", "--episodes", "1", "--json", "-"]) == 0
    versions = [row["env_version"] for row in json.loads(capsys.readouterr().out)]
    assert versions == ["webshop-1/fixed/generated-30-0", "webshop-1/verl-agent/generated-30-0"]


def test_buying_the_wrong_thing_oneself(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    shop = ["--env", "webshop", "env.options.products=30"]
    typed("search[<r> ]\n\n")
    assert main(["play", *shop]) == 0
    product = re.findall(r"^click\[(b\w{9})\]$", capsys.readouterr().out, flags=re.MULTILINE)[-1]
    typed(f"search[<r> ]\nclick[{product}]\nclick[buy now]\n")
    assert main(["play", *shop]) == 0
    assert re.search(r"\nThat was not all of it: score 0\.\d\d\.\n$", capsys.readouterr().out)


def test_watching_the_expert(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", "--watch", "expert", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("generated/valid_unseen/")
    assert "succeeded after" in out.splitlines()[-1]
    assert main(["play", "expert", "--watch", "--seed", "3"]) == 0
    assert capsys.readouterr().out == out


def test_playing_oneself(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    episode = watch("expert", Where(), "valid_seen", game=None, seed=0, temperature=0.0)
    game = ["play", "--split", "valid_seen", "--game", episode.game]
    typed("\n" + "".join(f"{turn.action}\n" for turn in episode.turns))
    assert main(game) == 0
    out = capsys.readouterr().out
    assert "Your task is to: " in out
    assert "\ninventory\nlook\n" in out  # the empty line asked for the list
    assert out.endswith("You did it.\n")
    typed("look\ndance\n")
    assert main([*game, "--max-turns", "2"]) == 0
    assert capsys.readouterr().out.endswith("Nothing happens.\n\nOut of turns.\n")
    for leaving in ("q\n", ""):
        typed(leaving)
        assert main(game) == 0


def test_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--json", "-"]) == 0
    generated = json.loads(capsys.readouterr().out)
    assert {split: row["games"] for split, row in generated["splits"].items()} == {
        "train": 10_000,
        "valid_seen": 200,
        "valid_unseen": 200,
    }
    tree = write_tree(tmp_path, GAMES)
    assert main(["data", str(tree), "--json", str(tmp_path / "data.json")]) == 0
    official = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    assert [row["games"] for row in official["splits"].values()] == [2, 2, 2]
    assert official["absent"] == ["valid_train: not there; neither training nor evaluation needs it"]
    assert official["splits"]["train"]["env_version"].endswith("/json_2.1.1")
    assert capsys.readouterr().err.count("sha256") == 3
    assert any((Path(os.environ["HIPER_CACHE"]) / "alfworld").iterdir())


def test_data_of_another_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*argv: str) -> dict[str, Any]:
        assert main(["data", *argv, "--json", "-"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    ranged, human = item("B000000002", pricing="$5.00$8.00"), {"B000000001": [{**ASKED, "instruction_options": []}]}
    bare = {**ASKED, "instruction_attributes": ["nowhere to be found"]}
    asked = {"B000000001": ASKED, "B000000002": ASKED, "B000000003": bare}
    shop = write_files(tmp_path / "shop", [item(), ranged, item("B000000003", name="Cup")], asked, human)
    found = said("webshop", str(shop))
    splits = {split: row.pop("games") for split, row in found["splits"].items()}
    assert sum(splits.values()) == 4
    assert list(splits) == ["train", "validation", "test"]
    assert set(found.pop("files_bytes")) == {f"items_{name}.json" for name in ("shuffle", "ins_v2", "human_ins")}
    row = {"env_version": "webshop-1/fixed/items_shuffle", "data_sha256": found.pop("sha256")}
    assert found == {
        "env": "webshop",
        "path": str(shop),
        "products": 3,
        "products_with_a_price_range": 1,
        "goals": 6,  # three products with two colours each
        "goals_reachable": 4,
        "goals_unreachable": 2,
        "human_goals": 1,
        "human_goals_reachable": 1,
        "human_goals_unreachable": 0,
        "absent": [],
        "splits": dict.fromkeys(("train", "validation", "test"), row),
    }
    (shop / "items_human_ins.json").unlink()
    assert main(["data", "webshop", str(shop)]) == 0
    assert "items_human_ins.json is not there: no goals written by people" in capsys.readouterr().err
    generated = said("webshop")
    assert (generated["path"], generated["products"]) == (None, 3000)
    assert (
        said("few")["splits"]["train"]["games"] == 50
    )  # of one that says nothing, as of ALFWorld, each split is opened


def test_how_far_a_long_import_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter(range(0, 600, 6))
    monkeypatch.setattr("hiper.cli.show.time.monotonic", lambda: float(next(now)))
    screen = Screen()
    for done in range(6):
        screen.work("reading", done, 5)
    assert capsys.readouterr().err.splitlines()[0].startswith("reading: 20%  left ")


@pytest.mark.parametrize("width", [70, 80, 140])
def test_the_bar_of_a_run_fits_and_says_what_is_left(width: int) -> None:
    screen = Screen()
    screen.console, screen.is_live = Console(file=io.StringIO(), force_terminal=True, width=width), True
    screen.stage("train", 0, 250)
    row = {"rollout/success": 0.79, "rollout/turns": 11.5, "rollout/switches": 2.8, "rollout/valid_rate": 0.8}
    screen.step("train", 240, 250, row)
    screen.close()
    bar = Text.from_ansi(screen.console.file.getvalue()).plain.splitlines()[-1]
    assert re.search(r"HiPER .* 240/250 success 79%  turns 11\.5 .*left [\d:-]+$", bar.rstrip())
    assert "…" not in bar


def test_brackets_in_names_are_shown_as_they_are() -> None:
    screen = Screen()
    screen.console, screen.is_live = Console(file=io.StringIO(), force_terminal=True, width=140), True
    screen.say("GRPO [/b] [group 4]")
    screen.board(0, 2, None, "GRPO [/b] [red]x")
    screen.close()
    shown = Text.from_ansi(screen.console.file.getvalue()).plain
    assert "GRPO [/b] [group 4]" in shown
    assert "at GRPO [/b] [red]x" in shown


def test_doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--json", "-"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert {"python", "torch", "cpus", "gpu", "disk_free_gb", "folder_is_writable"} <= set(found)
    assert all(name in err for name in found)
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main(["doctor"]) == 1
