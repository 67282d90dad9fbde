"""The web site of the shop: it shows and pays what the environment does, and lets nobody else in."""

import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hiper.envs.webshop import WebshopEnv
from hiper.envs.webshop.env import QUERY
from hiper.envs.webshop.site import App, Shop, SiteError, SiteServer
from hiper.envs.webshop.site.shop import Visits
from tests.envs.webshop_data import ASKED, item, own_cache, small_folder, write_files
from tests.envs.webshop_site import Visitor, served
from tests.report.well_formed import parse

__all__ = ["own_cache"]

COMPATS = [None, "verl-agent", "princeton"]
HOSTILE = "</pre><script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


def make(**settings: Any) -> WebshopEnv:
    return WebshopEnv(data=small_folder(), **{"split": "all", **settings})


@pytest.fixture(scope="module")
def site() -> Iterator[SiteServer]:
    with served(App(Shop(make()))) as site:
        yield site


@pytest.fixture
def visitor(site: SiteServer) -> Visitor:
    return Visitor(site)


# Shopping


def test_a_whole_purchase(visitor: Visitor) -> None:
    env = make()
    env.reset(options={"goal": 3})
    goal = env.goal
    start = visitor.get("/goal/3")
    assert goal.text in start.words
    assert goal.product.category in start.words
    visitor.search(goal.product.title)
    while goal.product.title not in visitor.here.words:
        visitor.click("Next")
    page = visitor.click(goal.product.title)
    for _, value in goal.options:
        page = visitor.click(value)
        assert f'aria-pressed="true" disabled>{value}</button>' in page.body
    visitor.click("Description")
    assert " ".join(goal.product.description.split()) in visitor.here.words
    visitor.click("Back")
    done = visitor.click("Buy now")
    asked = len(goal.attributes) + len(goal.options) + 1
    assert "exactly what was wanted 1 of 1" in done.words
    assert f"{asked} of {asked} wishes met" in done.words
    assert "the same product" in done.words
    assert done.buttons == {}


@pytest.mark.parametrize("compat", COMPATS)
def test_it_shows_and_pays_what_the_environment_does(compat: Any) -> None:
    """Random visits: the text for an agent and the commands are the very same on every page, and so is the score."""
    env, rng = make(compat=compat, max_steps=12), random.Random(7)
    with served(App(Shop(make(compat=compat, max_steps=12)))) as site:
        for number in range(12):
            visitor = Visitor(site)
            page = visitor.get(f"/goal/{number}")
            observation, info = env.reset(seed=0, options={"goal": number})
            over, reward = False, 0.0
            while not over:
                assert (page.observation, page.commands) == (observation, info["admissible_commands"])
                place = rng.randrange(len(page.commands) + 1)
                if rng.random() < 0.1 and "click[buy now]" in page.commands:
                    place = page.commands.index("click[buy now]")
                if place == len(page.commands) or page.commands[place] == QUERY:
                    action = f"search[{env.goal.product.query}]"
                    page = visitor.search(env.goal.product.query)
                else:
                    action = page.commands[place]
                    page = visitor.post(command=str(place))
                observation, reward, terminated, truncated, info = env.step(action)
                over = terminated or truncated
            assert page.observation == observation
            assert (f"{reward:.3g} of 1" if terminated else "Out of steps.") in page.words


def test_the_points_are_those_of_the_score() -> None:
    """What the page counts as met gives the score by the formula, whatever was bought."""
    from hiper.envs.webshop.site.views import view

    env = make()
    shop = Shop(make())
    products = [env.catalogue.asin(number).lower() for number in range(0, 150, 5)]
    for number, asin in enumerate(products):
        goal = env.games.at(number)
        actions = ["search[mug]", f"search[<q> {env.catalogue.product(env.catalogue.number_of(asin.upper())).query}]"]
        for action in (f"click[{asin}]", "click[buy now]"):
            while action not in shop.scene(goal.name, actions).commands:
                actions.append("click[next >]")
            actions.append(action)
        scene = shop.scene(goal.name, actions)
        receipt = view(shop, scene).receipt
        assert receipt is not None
        assert receipt.met / receipt.asked * receipt.factor == pytest.approx(scene.reward, abs=1e-12)


def test_back_reload_and_another_choice(visitor: Visitor) -> None:
    visitor.get("/goal/0")
    visitor.search("<r>")
    results, found = visitor.path, visitor.here.body
    visitor.post(command=str(len(visitor.here.commands) - 1))
    item_page = visitor.path
    assert visitor.get(results).body == found  # the back button
    assert visitor.get(results).body == found  # reload
    visitor.click("Next")
    assert visitor.path not in {results, item_page}
    assert "2 of 50 steps" in visitor.here.words
    assert "2 of 50 steps" in visitor.get(item_page).words


def test_many_visitors_at_once(site: SiteServer) -> None:
    """Each sees what it would see alone."""
    env = make()
    queries = [env.games.at(number).product.query for number in range(6)]

    def visit(number: int) -> list[str]:
        visitor = Visitor(site)
        seen = [visitor.get(f"/goal/{number}").body, visitor.search(f"<q> {queries[number]}").body]
        for _ in range(3):
            seen.append(visitor.post(command=str(len(visitor.here.commands) - 1)).body)
            seen.append(visitor.click("Back to search").body)
            seen.append(visitor.search("<r>").body)
        return seen

    alone = [visit(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(visit, range(6))) == alone


@pytest.mark.parametrize(
    "query", ["", " ", "🛒🧦" * 5000, "stainless steel " * 625, "[x] [y", "a]b", "<c> garden", "%00 &=+;"]
)
def test_any_query(query: str, visitor: Visitor) -> None:
    env = make()
    env.reset(seed=0, options={"goal": 0})
    observation, *_ = env.step(f"search[{query}]")
    visitor.get("/goal/0")
    assert visitor.search(query).observation == observation
    assert ("Nothing happened." in visitor.here.words) == (query == "")


def test_an_action_as_text(visitor: Visitor) -> None:
    visitor.get("/goal/0")
    assert "Nothing happened." in visitor.post(action="look").words
    assert "Page 1 (Total results: " in visitor.post(action="search[<r>]").observation
    assert visitor.post(action="click[next >]").observation.split(" [SEP] ")[3].startswith("Page 2")


def test_an_episode_that_is_over_takes_no_action(visitor: Visitor) -> None:
    visitor.get("/goal/0")
    for action in ("search[<r>]", None, "click[buy now]"):
        visitor.post(action=action or visitor.here.commands[-1])
    done = visitor.path
    visitor.post(action="search[mug]")
    assert visitor.path == done


def test_goals(visitor: Visitor) -> None:
    env = make()
    page = visitor.get("/goals?page=1")
    goal = env.games.at(20)
    assert goal.text in page.words
    assert visitor.get(f"/find?goal={goal.name}").body == visitor.get("/find?goal=20").body
    assert goal.text in visitor.here.words
    assert visitor.get("/random").status == 200
    last = (len(env.games) - 1) // 20
    for page_asked in ("x", "-1", "9" * 5000, "999999999"):
        assert visitor.get(f"/goals?page={page_asked}").status == 200
    assert f"page {last + 1} of {last + 1}" in visitor.here.words


@pytest.mark.parametrize("compat", COMPATS)
def test_a_place_is_where_the_goal_of_that_name_is(compat: Any) -> None:
    goals = make(compat=compat).games
    assert [goals.place(name) for name in goals.names()[::7]] == list(range(0, len(goals), 7))


def test_the_latest_visits_are_remembered() -> None:
    visits = Visits(kept=3)
    keys = [visits.add("A/0", ("search[mug]",) * number) for number in range(1, 5)]
    assert len(visits) == 3
    assert visits.find(keys[0]) is None
    assert visits.find(keys[1]) == ("A/0", ("search[mug]",) * 2)
    visits.add("B/0", ())
    assert [visits.find(key) is None for key in keys] == [True, False, True, False]
    assert visits.add("A/0", ("a", "b")) != visits.add("A/0", ("ab",)) != visits.add("A/0", ("a\ud800",))


# What goes wrong


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nope", "There is no such page."),
        ("/goal/999999", "No goal 999999: split 'all' has goals 0 to "),
        ("/goal/" + "9" * 5000, "There is no such page."),
        ("/goal/-1", "There is no such page."),
        ("/find?goal=nosuch", "A goal is called <ASIN>/<number>, not 'nosuch'."),
        ("/find", "A goal is called <ASIN>/<number>, not ''."),
        ("/find?goal=B000000000/1", "No product 'B000000000' in the catalogue"),
        ("/at/" + "0" * 24, "This page is not known, or no longer"),
        ("/replay/0/0", "There is no episode 0"),
        ("/style.css/../app.py", "There is no such page."),
        ("/%2e%2e/app.py", "There is no such page."),
        ("/<script>alert(1)</script>", "There is no such page."),
    ],
)
def test_what_is_not_there(path: str, said: str, visitor: Visitor) -> None:
    answer = visitor.get(path)
    assert answer.status == 404
    assert said in answer.words
    assert "script" not in {tag for tag, _ in parse(answer.body).tags}


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/goal/0", "", {}, 400),
        ("POST", "/goal/0", "command=999", {}, 400),
        ("POST", "/goal/0", "query=" + "x" * 20_000, {}, 413),
        ("POST", "/goal/0", "query=" + "x" * 300_000, {}, 413),
        ("POST", "/goal/0", None, {"Content-Length": "-1"}, 411),
        ("POST", "/goal/0", None, {"Content-Length": "1e3"}, 411),
        ("POST", "/goal/999999", "query=x", {}, 404),
        ("POST", "/goals", "query=x", {}, 405),
        ("PUT", "/goal/0", "", {}, 501),
        ("GET", "/" + "x" * 70_000, None, {}, 414),
        ("GET", "/", None, {f"X-{number}": "x" for number in range(200)}, 431),
        ("GET", "/", None, {"Host": "shop.example"}, 403),
        ("GET", "/", None, {"Host": "shop.example:8080"}, 403),
        ("GET", "/", None, {"Host": "127.0.0.1.example"}, 403),
        ("GET", "/", None, {"Host": ""}, 403),
        ("POST", "/goal/0", "query=x", {"Origin": "http://shop.example"}, 403),
        ("POST", "/goal/0", "query=x", {"Origin": "null"}, 403),
        ("POST", "/goal/0", "query=x", {"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_requests_that_are_refused(
    method: str, path: str, body: str | None, headers: dict[str, str], status: int, visitor: Visitor
) -> None:
    answer = visitor.ask(method, path, body, headers)
    assert answer.status == status
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'; ")
    parse(answer.body)
    assert visitor.get("/").status == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9000"])
def test_names_of_this_machine(host: str, visitor: Visitor) -> None:
    """Also with another port: it may have been forwarded."""
    assert visitor.ask("GET", "/goal/0", headers={"Host": host}).status == 200
    answer = visitor.ask("POST", "/goal/0", "query=x", {"Host": host, "Origin": f"http://{host}"})
    assert answer.status == 303


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.0", 403),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nHost: shop.example", 403),
        ("GET http://[ HTTP/1.1\r\nHost: localhost", 400),
        ("GET / HTTP/x", 400),
        ("hello", 400),
    ],
)
def test_what_no_browser_sends(head: str, status: int, site: SiteServer) -> None:
    with socket.create_connection(("127.0.0.1", site.server_address[1])) as line:
        line.sendall(f"{head}\r\n\r\n".encode())
        with line.makefile(encoding="utf-8") as answer:
            assert f"{status} {HTTPStatus(status).phrase}" in answer.read()


def test_every_answer_forbids_what_is_not_of_the_site(visitor: Visitor) -> None:
    for path in ("/goal/0", "/goals", "/style.css", "/icon.svg", "/nope", "/"):
        headers = visitor.ask("GET", path).headers
        assert "script-src" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert visitor.ask("HEAD", path).body == ""
        assert visitor.ask("HEAD", path).headers["Content-Length"] == headers["Content-Length"]
    assert visitor.ask("GET", "/style.css").headers["Content-Type"] == "text/css; charset=utf-8"


def test_a_port_that_is_taken(site: SiteServer) -> None:
    port = site.server_address[1]
    with pytest.raises(SiteError, match=rf"port {port} is in use; give another --port, or 0"):
        SiteServer(site.app, int(port))


def test_it_listens_on_the_loopback_address_only(site: SiteServer) -> None:
    assert site.server_address[0] == "127.0.0.1"
    assert site.address == f"http://127.0.0.1:{site.server_address[1]}/"


def test_nothing_of_a_product_becomes_markup(tmp_path: Path) -> None:
    options = {HOSTILE: [{"value": HOSTILE}, {"value": "a\nb"}, {"value": "plain"}], "Size": [{"value": "plain"}]}
    rows = [
        item(
            name=HOSTILE,
            full_description=HOSTILE,
            small_description=[HOSTILE, ""],
            customization_options=options,
            category=HOSTILE,
        ),
        item("B000000002", name="", customization_options=None, small_description=[]),
    ]
    asked = {**ASKED, "instruction": f"Find {HOSTILE}", "instruction_attributes": [HOSTILE]}
    folder = write_files(tmp_path, rows, {row["asin"]: asked for row in rows})
    with served(App(Shop(WebshopEnv(data=folder, split="all")))) as site:
        visitor = Visitor(site)
        pages = [visitor.get("/goals"), visitor.get("/find?goal=B000000001/0"), visitor.search(HOSTILE)]
        pages += [visitor.click("Back to search"), visitor.search(HOSTILE), visitor.click(HOSTILE)]
        for label in (HOSTILE.replace("/", " | "), "a\nb", "Description", "Back", "Features", "Back", "Buy now"):
            pages.append(visitor.click(label))
            assert "Nothing happened." not in visitor.here.words
    for page in pages:
        assert not {"script", "object", "iframe"} & {tag for tag, _ in parse(page.body).tags}
        assert all(tag != "img" or values["src"] == "/icon.svg" for tag, values in parse(page.body).tags)
        assert HOSTILE in page.words
    assert "a\nb" in pages[6].observation
