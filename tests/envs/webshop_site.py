"""A visitor without a browser: reads pages as text, and follows where the site leads."""

import html
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from threading import Thread
from urllib.parse import urlencode

from hiper.envs.webshop.site import App, SiteServer
from tests.report.well_formed import parse, words

Headers = Mapping[str, str]


@contextmanager
def served(app: App) -> Iterator[SiteServer]:
    """The site, answering on a free port."""
    with SiteServer(app, 0) as site:
        thread = Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            site.shutdown()
            thread.join()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Headers
    body: str

    @property
    def words(self) -> str:
        return words(self.body)

    @property
    def observation(self) -> str:
        """The exact text that an agent would see."""
        (found,) = re.findall(r'<pre class="observation">(.*?)</pre>', self.body, flags=re.DOTALL)
        return html.unescape(re.sub("</?i>", "", found))

    @property
    def commands(self) -> list[str]:
        (found,) = re.findall(r'<ul class="commands">(.*?)</ul>', self.body, flags=re.DOTALL)
        return [html.unescape(one) for one in re.findall("<li>(.*?)</li>", found, flags=re.DOTALL)]

    @property
    def buttons(self) -> dict[str, str]:
        """Number of the command by the label of each button that can be clicked."""
        found = re.findall(r'<button name="command" ([^>]*)>(.*?)</button>', self.body, flags=re.DOTALL)
        return {
            html.unescape(re.sub("<[^>]+>", " ", label)).strip(): re.findall('value="([0-9]+)"', attributes)[0]
            for attributes, label in found
            if "disabled" not in attributes
        }


class Visitor:
    """Somebody on the site. here: the page that was read last."""

    def __init__(self, site: SiteServer) -> None:
        self.port = int(site.server_address[1])
        self.path = "/"
        self.here = Answer(0, {}, "")

    def ask(self, method: str, path: str, body: str | None = None, headers: Headers | None = None) -> Answer:
        """One request."""
        line = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request(method, path, body, dict(headers or {}))
            got = line.getresponse()
            return Answer(got.status, dict(got.getheaders()), got.read().decode())
        finally:
            line.close()

    def get(self, path: str) -> Answer:
        """A page, with GET, wherever it has moved to."""
        answer = self.ask("GET", path)
        if answer.status == 303:
            return self.get(answer.headers["Location"])
        parse(answer.body)
        self.path, self.here = path, answer
        return answer

    def post(self, **fields: str) -> Answer:
        """Sends a form to the page here, and goes where that leads."""
        answer = self.ask("POST", self.path, urlencode(fields))
        if answer.status == 303:
            return self.get(answer.headers["Location"])
        parse(answer.body)
        return answer

    def search(self, query: str) -> Answer:
        return self.post(query=query)

    def click(self, label: str) -> Answer:
        """Clicks the button of that label, or the first that begins with it."""
        buttons = self.here.buttons
        found = [number for name, number in buttons.items() if name == label or name.startswith(f"{label} ")]
        assert found, f"no button {label!r}: {list(buttons)}"
        return self.post(command=found[0])
