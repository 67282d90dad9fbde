"""The shop's site in a real browser: a purchase by hand, the back button, and recorded episodes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hiper.envs.webshop import WebshopEnv
from hiper.envs.webshop.site import App, Episode, Shop, SiteServer
from tests.envs.browser import Browser, chromium
from tests.envs.test_webshop_replay import recorded
from tests.envs.webshop_data import own_cache, small_folder
from tests.envs.webshop_site import served

__all__ = ["own_cache"]

SIZES = [(1200, 900), (390, 800)]  # a desk's, a telephone's


def make(**settings: Any) -> WebshopEnv:
    return WebshopEnv(data=small_folder(), **{"split": "all", **settings})


@pytest.fixture(scope="module")
def site() -> Iterator[SiteServer]:
    chromium()
    episodes = [Episode(recorded(number), Shop(make(max_steps=1000))) for number in (0, 1)]
    with served(App(Shop(make()), episodes=episodes, source="played.jsonl")) as site:
        yield site


@pytest.fixture(params=SIZES, ids=["wide", "narrow"])
def browser(request: pytest.FixtureRequest, site: SiteServer, tmp_path: Path) -> Iterator[Browser]:
    """A browser that must be content: no complaint, nothing asked of anybody else, nothing wider than the screen."""
    width, height = request.param
    with Browser(tmp_path / "profile", width=width, height=height) as browser:
        yield browser
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.problems == []
        assert {url for url in browser.requested if not url.startswith((site.address, "data:"))} <= {"about:blank"}


def test_a_purchase(browser: Browser, site: SiteServer) -> None:
    env = make()
    env.reset(seed=0, options={"goal": 3})
    goal = env.goal
    browser.open(f"{site.address}goal/3")
    assert goal.text in browser.text()
    browser.search(goal.product.title)
    env.step(f"search[{goal.product.title}]")
    assert f"page 1 · {len(env.state.found)} products" in browser.text()
    labels = browser.evaluate("[...document.querySelectorAll('.results button')].map(e => e.innerText.trim())")
    browser.click(next(label for label in labels if goal.product.asin in label))
    for _, value in goal.options:
        browser.click(value)
        chosen = browser.evaluate("[...document.querySelectorAll('.value[aria-pressed]')].map(e => e.innerText)")
        assert chosen[-1] == value
    before = browser.text()
    browser.click("Description")
    assert goal.product.description.split("\n")[0][:60] in browser.text()
    browser.back()
    assert browser.text() == before
    browser.click("Buy now")
    bought = browser.text()
    assert "exactly what was wanted 1 of 1" in bought
    browser.reload()
    assert browser.text() == bought
    browser.back()
    assert browser.text() == before


def test_colours_and_style_are_there(browser: Browser, site: SiteServer) -> None:
    browser.open(f"{site.address}goal/0")
    button = "getComputedStyle(document.querySelector('button.main'))"
    assert browser.evaluate(f"{button}.backgroundColor") == "rgb(35, 103, 181)"
    assert browser.evaluate("document.querySelector('.brand img').naturalWidth") > 0


def test_scripts_cannot_run(browser: Browser, site: SiteServer) -> None:
    """Should markup ever slip through: the policy of the pages stops it."""
    browser.open(f"{site.address}goal/0")
    browser.evaluate(
        "{ const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); }"
    )
    assert browser.evaluate("window.ran === undefined")
    assert len(browser.problems) == 1
    assert "Content Security Policy" in browser.problems.pop()


def test_recorded_episodes(browser: Browser, site: SiteServer) -> None:
    browser.open(f"{site.address}replay")
    assert "2 recorded episodes" in browser.text()
    browser.open(f"{site.address}replay/0/0")
    for turn in range(1, len(recorded().turns)):
        browser.click("Next")
        assert f"Turn {turn} " in browser.text()
    assert browser.evaluate("document.querySelector('.done').innerText") == "Buy now"
    browser.click("Last")
    assert "The end" in browser.text()
    browser.click("Next episode")
    assert "Episode 1 of 2" in browser.text()
