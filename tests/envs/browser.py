"""A real browser for the tests: headless Chromium, spoken to through its debugging pipe."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

PATIENCE = 60.0  # seconds, on a machine that is busy
# Chromium reads messages from file descriptor 3 and writes them to 4.
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
    *(f"--disable-{name}" for name in ("gpu", "quic", "dev-shm-usage", "extensions", "sync", "component-update")),
    "--disable-background-networking",
    "--disable-features=BackForwardCache",  # going back asks the site again
]


def chromium() -> str:
    """The program; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium on this machine: no `chromium`, `chromium-browser` or `google-chrome` in PATH")
    return found


class Browser:
    """One page of a browser with an empty profile in `folder`.

    problems: what pages complained about: errors, and whatever their security policy stopped. requested: all
    addresses that were asked for.
    """

    def __init__(self, folder: Path, *, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        read_end, to_browser = os.pipe()
        from_browser, write_end = os.pipe()
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (read_end, write_end)]
        flags = [*_FLAGS, f"--user-data-dir={folder}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, high), chromium(), *flags],
            pass_fds=high,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in (read_end, write_end, *high):
            os.close(fd)
        self._to, self._from = to_browser, from_browser
        self._number, self._pages, self._heard, self._session = 0, 0, b"", ""
        self.problems: list[str] = []
        self.requested: list[str] = []
        target = self._say("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._say("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._say(f"{domain}.enable")
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._say("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._to)
        os.close(self._from)
        self._process.kill()
        self._process.wait()

    def resize(self, width: int, height: int) -> None:
        self._say("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, url: str) -> None:
        with self._page():
            self._say("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._say("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self) -> str:
        """What can be read on the page, white space made even."""
        return " ".join(str(self.evaluate("document.body.innerText")).split())

    def click(self, label: str) -> None:
        """Clicks the button or link of that label, and waits for the page that it leads to."""
        find = (
            f"[...document.querySelectorAll('button:enabled, a')].find(e => e.innerText.trim() === {json.dumps(label)})"
        )
        assert self.evaluate(f"Boolean({find})"), f"nothing to click is labelled {label!r} in: {self.text()}"
        with self._page():
            self.evaluate(f"{find}.click()")

    def search(self, words: str) -> None:
        """Types into the search field and sends the form as a person does, with the Enter key."""
        self.evaluate("document.querySelector('[name=query]').focus()")
        self._say("Input.insertText", text=words)
        with self._page():
            for kind in ("keyDown", "keyUp"):
                self._say("Input.dispatchKeyEvent", type=kind, key="Enter", text="\r", windowsVirtualKeyCode=13)

    def back(self) -> None:
        with self._page():
            self.evaluate("history.back()")

    def reload(self) -> None:
        with self._page():
            self._say("Page.reload")

    def picture(self, file: Path, *, whole: bool = True) -> None:
        """Writes what the page looks like."""
        picture = self._say("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(picture["data"]))

    def _say(self, method: str, **parameters: object) -> dict[str, Any]:
        """The answer to a message; waits for it."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        content = json.dumps(message).encode() + b"\0"
        while content:
            content = content[os.write(self._to, content) :]
        while True:
            heard = self._next()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                return dict(heard["result"])

    @contextmanager
    def _page(self) -> Iterator[None]:
        """Waits until a page is there that what is done inside leads to."""
        before = self._pages
        yield
        while self._pages == before:
            self._next()

    def _next(self) -> dict[str, Any]:
        """The next message of the browser."""
        while b"\0" not in self._heard:
            ready, _, _ = select.select([self._from], [], [], PATIENCE)
            assert ready, f"the browser said nothing for {PATIENCE} seconds"
            more = os.read(self._from, 1 << 16)
            assert more, "the browser is gone"
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        about = message.get("params", {})
        match message.get("method"):
            case "Page.loadEventFired":
                self._pages += 1
            case "Network.requestWillBeSent":
                self.requested.append(about["request"]["url"])
            case "Log.entryAdded":
                self.problems.append(about["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.problems.append(about["exceptionDetails"]["text"])
            case "Page.javascriptDialogOpening":
                self.problems.append(f"a dialogue opened: {about['message']}")
        return message
