"""Real processes that start at once, to be killed: children of one process that has imported everything already.

`Nursery` starts that process. It forks a child for every command line, which runs `hiper.cli.main` as the `hiper`
script does, and tells how it ended. A child can be made to halt at a chosen call, so that a test can kill it there
and nowhere else.
"""

import importlib
import json
import os
import signal
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

    def __init__(self, nursery: "Nursery", argv: Sequence[str], halt: str, nth: int) -> None:
        self._nursery = nursery
        self.stdout, self.stderr, self._reached, self._go = (
            nursery.folder / name for name in ("stdout", "stderr", "reached", "go")
        )
        self._reached.unlink(missing_ok=True)
        self._go.unlink(missing_ok=True)
        order = {"argv": list(argv), "folder": str(nursery.folder), "halt": halt, "nth": nth}
        self.pid = int(nursery.ask(order)["pid"])

    def wait(self) -> int:
        """The exit code, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(int(self._nursery.hear()["status"]))

    def send(self, number: int) -> bool:
        """Send a signal; False where it has ended by itself."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def kill(self) -> int:
        """Kill it at once; what `wait` says."""
        self.send(signal.SIGKILL)
        return self.wait()

    def wait_for_halt(self) -> None:
        """Until the call at which it was to halt."""
        end = time.monotonic() + PATIENCE
        while not self._reached.exists():
            assert self.send(0), f"it ended before that\n{self.said()}"
            assert time.monotonic() < end, f"it never came there\n{self.said()}"
            time.sleep(0.002)

    def go_on(self) -> None:
        """Let it do that call."""
        self._go.touch()

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.stderr.read_text(encoding="utf-8")


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

    def start(self, *argv: str, halt: str = "", nth: int = 1) -> Child:
        """Run `hiper ARGV` in `folder`. `halt`: "module:function" whose `nth` call waits for `go_on`."""
        return Child(self, argv, halt, nth)

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


def _halt(target: str, nth: int, folder: Path) -> None:
    """Replace a function: the `nth` call says that it was reached and waits."""
    module, _, name = target.partition(":")
    found = importlib.import_module(module)
    original, calls = getattr(found, name), 0

    def instead(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            (folder / "reached").touch()
            while not (folder / "go").exists():
                time.sleep(0.002)
        return original(*args, **kwargs)

    setattr(found, name, instead)


def _live(order: dict[str, Any]) -> NoReturn:
    """What a child does."""
    folder = Path(order["folder"])
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    from hiper.cli import main

    if order["halt"]:
        _halt(order["halt"], order["nth"], folder)
    sys.exit(main(order["argv"]))


def _serve() -> None:
    import hiper.report
    import hiper.runs.look
    import hiper.runs.run
    import tests.runs.tiny

    del hiper, tests  # imported for the children; `tiny` also registers its environment
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _live(json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        print(json.dumps({"status": os.waitpid(pid, 0)[1]}), flush=True)


if __name__ == "__main__":
    _serve()
