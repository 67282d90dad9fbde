"""From a request to a page. Knows nothing of sockets."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hiper.envs.errors import UnknownName
from hiper.envs.webshop.env import MAX_ACTION
from hiper.envs.webshop.site.replay import Episode
from hiper.envs.webshop.site.shop import Scene, Shop, Visits
from hiper.envs.webshop.site.views import view

GOALS_PER_PAGE: Final = 20
EPISODES_PER_PAGE: Final = 20
_HTML: Final = "text/html; charset=utf-8"
_FOLDER: Final = Path(__file__).parent / "templates"
_FILES: Final = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What goes back to the browser. kind: its content type. location: where to go on, else empty."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    kind: str = _HTML
    location: str = ""
    cache: str = "no-store"


class _Refused(Exception):
    """A request that gets an error page."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class App:
    """The site: a shop to visit, and recorded episodes where there are any."""

    def __init__(
        self, shop: Shop, *, start: str = "/goal/0", episodes: Sequence[Episode] = (), source: str = ""
    ) -> None:
        """start: the page that `/` leads to. source: name of the file that the episodes are from."""
        self._shop, self._start = shop, start
        self._episodes, self._source = episodes, source
        self._visits = Visits()
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._files = {name: (_FOLDER / name).read_bytes() for name in _FILES}
        number = "([0-9]{1,9})"
        self._gets: list[tuple[re.Pattern[str], Callable[..., Response]]] = [
            (re.compile(pattern), answer)
            for pattern, answer in (
                ("/", lambda fields: _go(self._start)),
                ("/goals", self._goals),
                ("/find", self._find),
                ("/random", self._random),
                (f"/goal/{number}", self._goal),
                ("/at/([0-9a-f]{24})", self._at),
                ("/replay", self._replay),
                (f"/replay/{number}", lambda fields, number: _go(f"/replay/{number}/0")),
                (f"/replay/{number}/{number}", self._moment),
                (r"/(style\.css|icon\.svg)", self._file),
            )
        ]
        self._posts = [(re.compile(f"/goal/{number}"), self._act_first), (re.compile("/at/([0-9a-f]{24})"), self._act)]

    @property
    def name(self) -> str:
        """What there is to see, for people."""
        shown = f"{len(self._episodes):,} recorded episodes; " if self._episodes else ""
        return f"{shown}{len(self._shop.goals):,} goals, {self._shop.name}"

    def answer(self, method: str, path: str, query: Fields, form: Fields) -> Response:
        """The answer to a request. query: fields of the address; form: fields that were sent along."""
        routes = self._posts if method == "POST" else self._gets
        try:
            for pattern, answer in routes:
                match = pattern.fullmatch(path)
                if match:
                    return answer(form if method == "POST" else query, *match.groups())
        except _Refused as refused:
            return self.error(refused.status, refused.message)
        except UnknownName as unknown:
            return self.error(HTTPStatus.NOT_FOUND, f"{str(unknown)[:1].upper()}{str(unknown)[1:]}.")
        if method == "POST" and any(pattern.fullmatch(path) for pattern, _ in self._gets):
            return self.error(HTTPStatus.METHOD_NOT_ALLOWED, "There is nothing to send to this page.")
        return self.error(HTTPStatus.NOT_FOUND, "There is no such page.")

    def error(self, status: HTTPStatus, message: str) -> Response:
        """The page that says what is wrong."""
        return self._page("error.html.j2", status=status, code=int(status), phrase=status.phrase, message=message)

    # The shop

    def _goals(self, fields: Fields) -> Response:
        goals = self._shop.goals
        page, last = _page_of(fields, len(goals), GOALS_PER_PAGE)
        places = range(GOALS_PER_PAGE * page, min(len(goals), GOALS_PER_PAGE * (page + 1)))
        rows = [(place, goals.at(place)) for place in places]
        return self._page("goals.html.j2", rows=rows, page=page, last=last)

    def _find(self, fields: Fields) -> Response:
        """A goal by place or name."""
        wanted = fields.get("goal", "").strip()
        if re.fullmatch("[0-9]{1,9}", wanted):
            self._shop.goals.at(int(wanted))
            return _go(f"/goal/{int(wanted)}")
        return _go(f"/goal/{self._shop.goals.place(wanted)}")

    def _random(self, fields: Fields) -> Response:
        return _go(f"/goal/{random.randrange(len(self._shop.goals))}")

    def _goal(self, fields: Fields, place: str) -> Response:
        return self._show(self._shop.scene(self._shop.goals.at(int(place)).name, ()))

    def _at(self, fields: Fields, key: str) -> Response:
        return self._show(self._shop.scene(*self._known(key)))

    def _act_first(self, form: Fields, place: str) -> Response:
        return self._step(self._shop.goals.at(int(place)).name, (), form)

    def _act(self, form: Fields, key: str) -> Response:
        return self._step(*self._known(key), form)

    def _known(self, key: str) -> tuple[str, tuple[str, ...]]:
        found = self._visits.find(key)
        if found is None:
            raise _Refused(
                HTTPStatus.NOT_FOUND,
                "This page is not known, or no longer: it was left long ago, or the site was started anew. "
                "Begin again with a goal.",
            )
        return found

    def _step(self, game: str, actions: tuple[str, ...], form: Fields) -> Response:
        """One more action, and on to the page that it leads to."""
        scene = self._shop.scene(game, actions)
        if not scene.over:
            actions = (*actions, _action(scene, form))
        return _go(self._address(game, actions))

    def _address(self, game: str, actions: tuple[str, ...]) -> str:
        """Of the page that these actions lead to."""
        if not actions:
            return f"/goal/{self._shop.goals.place(game)}"
        return f"/at/{self._visits.add(game, actions)}"

    def _show(self, scene: Scene) -> Response:
        game, actions = scene.goal.name, scene.actions
        trail = [(action, self._address(game, actions[:number])) for number, action in enumerate(actions)]
        return self._page(
            "visit.html.j2",
            view=view(self._shop, scene),
            place=self._shop.goals.place(game),
            here=self._address(game, actions),
            trail=trail,
            max_steps=self._shop.max_steps,
        )

    # Recorded episodes

    def _replay(self, fields: Fields) -> Response:
        page, last = _page_of(fields, len(self._episodes), EPISODES_PER_PAGE)
        first = EPISODES_PER_PAGE * page
        rows = list(enumerate(self._episodes[first : first + EPISODES_PER_PAGE], start=first))
        return self._page("episodes.html.j2", rows=rows, page=page, last=last, total=len(self._episodes))

    def _moment(self, fields: Fields, number: str, turn: str) -> Response:
        if int(number) >= len(self._episodes):
            raise _Refused(
                HTTPStatus.NOT_FOUND,
                f"There is no episode {int(number)}: {self._source} has {len(self._episodes)}, numbered from 0.",
            )
        episode = self._episodes[int(number)]
        moments = episode.moments()
        if int(turn) >= len(moments):
            raise _Refused(HTTPStatus.NOT_FOUND, f"Episode {int(number)} has no turn {int(turn)}.")
        moment = moments[int(turn)]
        action = moment.turn.action if moment.turn else ""
        return self._page(
            "moment.html.j2",
            number=int(number),
            episode=episode,
            moment=moment,
            last=len(moments) - 1,
            view=moment.scene and view(episode.shop, moment.scene, next_action=action),
            total=len(self._episodes),
            place=self._place(episode.trajectory.game),
        )

    def _place(self, game: str) -> int | None:
        """Where a recorded goal stands among those to be played here; None where it is not one of them."""
        try:
            return self._shop.goals.place(game)
        except UnknownName:
            return None

    # All pages

    def _file(self, fields: Fields, name: str) -> Response:
        return Response(body=self._files[name], kind=_FILES[name], cache="max-age=60")

    def _page(self, template: str, *, status: HTTPStatus = HTTPStatus.OK, **content: object) -> Response:
        text = self._templates.get_template(template).render(
            shop=self._shop.name,
            goals=len(self._shop.goals),
            replaying=bool(self._episodes),
            source=self._source,
            **content,
        )
        return Response(body=text.encode("utf-8", "replace"), status=status)


def _go(where: str) -> Response:
    """On to another page, with GET."""
    return Response(body=b"", status=HTTPStatus.SEE_OTHER, location=quote(where))


def _page_of(fields: Fields, items: int, size: int) -> tuple[int, int]:
    """The page of a list that is asked for, the nearest there is, and the last one; both from 0."""
    asked, last = fields.get("page", "0"), max(0, (items - 1) // size)
    return min(int(asked), last) if re.fullmatch("[0-9]{1,9}", asked) else 0, last


def _action(scene: Scene, form: Fields) -> str:
    """The action that a form asks for: a command by its number, a search, or any action as text.

    Raises _Refused where it asks for none.
    """
    number = form.get("command", "")
    if re.fullmatch("[0-9]{1,9}", number) and int(number) < len(scene.commands):
        return scene.commands[int(number)]
    action = f"search[{form['query']}]" if "query" in form else form.get("action", "")
    if not action:
        raise _Refused(HTTPStatus.BAD_REQUEST, "That is nothing that can be done here.")
    if len(action) > MAX_ACTION:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"An action may have {MAX_ACTION:,} characters, no more.")
    return action
