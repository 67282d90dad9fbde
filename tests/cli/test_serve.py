"""`hiper serve webshop`: the address, the pages behind it, its end, and bad input in one line."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from hiper.cli import main
from hiper.runs.serve import Wanted, open_site
from tests.envs.webshop_data import small_folder

Refused = Callable[..., str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path_factory.getbasetemp() / "webshop-cache"))


@pytest.fixture
def serve(refused: Refused) -> Refused:
    return lambda *argv: refused("serve", "webshop", "--data", str(small_folder()), "--split", "all", *argv)


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    """A file as `hiper eval --save` leaves it, of four games of the expert."""
    file = tmp_path / "episodes.jsonl.zst"
    shop = ["--env", "webshop", "--data", str(small_folder()), "--split", "train"]
    assert main(["eval", "expert", *shop, "--episodes", "4", "--save", str(file)]) == 0
    return file


@pytest.mark.parametrize("replay", [False, True])
def test_it_serves_until_it_is_interrupted(replay: bool, episodes: Path) -> None:
    code = """
import signal, sys
from hiper.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have set it to be ignored
code = main(sys.argv[1:])
heavy = [name for name in ("torch", "transformers") if name in sys.modules]
sys.exit(f"loaded: {heavy}" if heavy else code)
"""
    argv = ["serve", "webshop", "--data", str(small_folder()), "--port", "0", "--split", "all"]
    argv += ["--replay", str(episodes), "--episode", "2"] if replay else ["--goal", "3"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        with urlopen(address) as page:
            assert page.url == address + ("replay/2/0" if replay else "goal/3")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, ""), err
    assert err.strip().endswith("; Ctrl-C ends it")
    assert ("4 recorded episodes; " in err) == replay


def test_bad_input(serve: Refused, refused: Refused, tmp_path: Path) -> None:
    assert serve("--goal", "999999").startswith("no goal 999999: split 'all' has goals 0 to ")
    assert serve("--game", "mug").startswith("a goal is called <ASIN>/<number>, not 'mug'")
    assert serve("--episode", "0").endswith("--episode needs --replay")
    assert serve("--replay", str(tmp_path / "none.jsonl")) == f"{tmp_path}/none.jsonl: No such file or directory"
    assert "unknown split 'tset'; known: test, validation, train, all; did you mean 'test'?" in serve("--split", "tset")
    assert "unknown key 'env.optoins'" in serve("env.optoins.products=3")
    assert "unexpected keyword argument 'produkts'" in serve("env.options.produkts=3")
    assert refused("serve", "webshop", "--data", str(tmp_path / "none")).startswith(f"{tmp_path}/none is no folder")


def test_a_port_in_use(serve: Refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert serve("--port", str(port)).startswith(f"port {port} is in use; give another --port, or 0")


def test_files_without_episodes_of_the_shop(serve: Refused, episodes: Path, tmp_path: Path) -> None:
    assert (
        serve("--replay", str(episodes), "--episode", "4") == f"{episodes} has no episode 4: they are numbered 0 to 3"
    )
    rooms = tmp_path / "rooms.jsonl"
    assert main(["eval", "expert", "--split", "valid_seen", "--episodes", "1", "--save", str(rooms)]) == 0
    assert f"{rooms}: episode 0 is of another environment" in serve("--replay", str(rooms))
    text = tmp_path / "notes.jsonl"
    text.write_text("a note\n", encoding="utf-8")
    assert f"{text}, line 1: not a trajectory record" in serve("--replay", str(text))


def test_the_settings_of_the_run_are_taken(episodes: Path, tmp_path: Path) -> None:
    """A file in a run's folder is replayed in the shop that the run played in, whatever the defaults are."""
    run = tmp_path / "run"
    (run / "trajectories").mkdir(parents=True)
    file = episodes.rename(run / "trajectories" / "step-1.jsonl.zst")
    (run / "config.toml").write_text(f"env.name = 'webshop'\nenv.data = '{small_folder()}'\n", encoding="utf-8")
    with open_site(Wanted(port=0, split="all", replay=file)) as site:
        assert site.app.name.startswith("4 recorded episodes; ")
        assert "differs" not in site.app.answer("GET", "/replay", {}, {}).body.decode()
    other = Wanted(port=0, split="all", replay=file, overrides=("env.options.goal_seed=9",))
    with open_site(other) as site:
        assert "differs" in site.app.answer("GET", "/replay", {}, {}).body.decode()


def test_a_run_of_another_environment(serve: Refused, episodes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "trajectories").mkdir(parents=True)
    file = episodes.rename(run / "trajectories" / "step-1.jsonl.zst")
    (run / "config.toml").write_text('env.name = "alfworld"\n', encoding="utf-8")
    assert "recorded in 'alfworld'; only webshop has a site" in serve("--replay", str(file))
    (run / "config.toml").write_text('env.name = "webshop"\nenv.options.produkts = 3\n', encoding="utf-8")
    assert "unexpected keyword argument 'produkts'" in serve("--replay", str(file))
