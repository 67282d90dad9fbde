"""HTTP for the site: one address, the loopback, and nothing that another site's page could reach.

A page elsewhere can make a browser send requests here. It cannot read what comes back, but a name that its owner
lets point to 127.0.0.1 could, so only requests that name this machine are answered; and an action is only taken
from a form of this site.
"""

from __future__ import annotations

import errno
import socketserver
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from hiper.envs.webshop.site.app import App, Response
from hiper.envs.webshop.site.shop import SiteError

HOST: Final = "127.0.0.1"
MAX_BODY: Final = 1 << 18  # bytes; 10,000 emoji in a form are 120,000
IDLE: Final = 30.0  # seconds that a connection is kept open without a request
_NAMES: Final = {"localhost", HOST}
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class SiteServer(ThreadingHTTPServer):
    """Serves an app on the loopback address until `shutdown`."""

    def __init__(self, app: App, port: int) -> None:
        """port: 0 for any that is free. Raises SiteError where it cannot be had."""
        self.app = app
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SiteError(f"port {port} is in use; give another --port, or 0 for any that is free") from error
            raise SiteError(f"port {port} cannot be used: {error.strerror}") from error

    @property
    def address(self) -> str:
        """Where a browser finds the site."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def server_bind(self) -> None:
        """Binds without asking the network for the name of this machine, as the standard library does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that hangs up is no error; anything else is a defect and shows its trace."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """One connection of a browser."""

    server: SiteServer
    protocol_version = "HTTP/1.1"
    timeout = IDLE

    def do_GET(self) -> None:
        """Shows a page."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Says what GET would, without the page."""
        self._answer(body=False)

    def do_POST(self) -> None:
        """Takes an action."""
        self._answer(body=True)

    def version_string(self) -> str:
        """Nobody needs to know versions."""
        return "hiper"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: the person at the browser sees what happens."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The page for a request that the standard library could not read."""
        self.close_connection = True
        said = message or HTTPStatus(code).phrase
        self._send(self.server.app.error(HTTPStatus(code), f"{said}."), body=True)

    def _answer(self, *, body: bool) -> None:
        refused = self._refused()
        if refused is None:
            form = self._form() if self.command == "POST" else {}
            if isinstance(form, Response):
                refused = form
            else:
                target = urlsplit(self.path)
                asked = "GET" if self.command == "HEAD" else self.command
                self._send(self.server.app.answer(asked, target.path, _fields(target.query), form), body=body)
                return
        self.close_connection = True  # a body may be waiting that nobody reads
        self._send(refused, body=body)

    def _refused(self) -> Response | None:
        """The answer to who should not be here; None where nothing is wrong."""
        app = self.server.app
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].split(":")[0].lower() not in _NAMES:
            return app.error(HTTPStatus.FORBIDDEN, f"This site answers to {' and '.join(sorted(_NAMES))} only.")
        if self.command == "POST":
            origin = self.headers.get("Origin", f"http://{hosts[0]}")
            if origin != f"http://{hosts[0]}" or self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
                return app.error(HTTPStatus.FORBIDDEN, "Actions are taken from the pages of this site only.")
        try:
            urlsplit(self.path)
        except ValueError:
            return app.error(HTTPStatus.BAD_REQUEST, "That is no address.")
        return None

    def _form(self) -> dict[str, str] | Response:
        """The fields of a form that was sent, or the answer to one that cannot be read."""
        app, length = self.server.app, self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) <= 12):
            return app.error(HTTPStatus.LENGTH_REQUIRED, "A form must say how long it is.")
        if int(length) > MAX_BODY:
            return app.error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A form may have {MAX_BODY:,} bytes, no more.")
        return _fields(self.rfile.read(int(length)).decode("utf-8", "replace"))

    def _send(self, response: Response, *, body: bool) -> None:
        self.send_response(response.status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Cache-Control", response.cache)
        if response.location:
            self.send_header("Location", response.location)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(response.body)


def _fields(text: str) -> dict[str, str]:
    """The fields of a query string or a form; of one that is given twice the first."""
    found = parse_qs(text, keep_blank_values=True, errors="replace", max_num_fields=None)
    return {name: values[0] for name, values in found.items()}
