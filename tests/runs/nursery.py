"""Real processes that start at once, to be killed: children of one process that has imported everything already.

`Nursery` starts that process. It forks a child for every command line, which runs `hiper.cli.main` as the `hiper`
script does, and tells how it ended. A child can be made to stop for ever at a chosen call, so that a test can kill
it there and nowhere else.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds; machines can be busy


class Child:
    """One command at work."""

    def __init__(self, nursery: "Nursery", argv: Sequence[str], stall: str, nth: int) -> None:
        self._nursery = nursery
        self.stdout, self.stderr, self.reached = (nursery.folder / name for name in ("stdout", "stderr", "reached"))
        self.reached.unlink(missing_ok=True)
        order = {"argv": list(argv), "folder": str(nursery.folder), "stall": stall, "nth": nth}
        self.pid = int(nursery.ask(order)["pid"])

    def wait(self) -> int:
        """The exit code, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(int(self._nursery.hear()["status"]))

    def send(self, number: int) -> int:
        """Send a signal; what came of it. A child that had ended by itself is let go."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait()

    def wait_for(self, file: Path, lines: int = 1) -> None:
        """Until the file has so many lines."""
        end = time.monotonic() + PATIENCE
        while not file.exists() or file.read_bytes().count(b"\n") < lines:
            assert time.monotonic() < end, f"{file} never got {lines} lines: {self.stderr.read_text()}"
            time.sleep(0.002)

    def wait_until_reached(self) -> None:
        """Until the call at which it was to stop."""
        self.wait_for(self.reached)


class Nursery:
    """Starts children, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.runs.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def start(self, *argv: str, stall: str = "", nth: int = 1) -> Child:
        """Run `hiper ARGV` in `folder`. `stall`: "module:function" whose `nth` call never begins."""
        return Child(self, argv, stall, nth)

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def _stall(target: str, nth: int, reached: Path) -> None:
    """Replace a function: the `nth` call says that it was reached and sleeps."""
    module, _, name = target.partition(":")
    found = importlib.import_module(module)
    original, calls = getattr(found, name), 0

    def instead(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        while calls == nth:
            reached.write_text("here\n", encoding="utf-8")
            time.sleep(PATIENCE)
        return original(*args, **kwargs)

    setattr(found, name, instead)


def _live(order: dict[str, Any]) -> NoReturn:
    """What a child does."""
    folder = Path(order["folder"])
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    from hiper.cli import main

    if order["stall"]:
        _stall(order["stall"], order["nth"], folder / "reached")
    sys.exit(main(order["argv"]))


def _serve() -> None:
    import hiper.report
    import hiper.runs.look
    import hiper.runs.run

    del hiper
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _live(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"status": os.waitpid(pid, 0)[1]}), flush=True)


if __name__ == "__main__":
    _serve()
