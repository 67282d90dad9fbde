"""The environment: contract, rules by default and with compat, and random play against a slow twin."""

import random
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given, settings
from hypothesis import strategies as st

import hiper
from benchmarks.webshop_twin import Twin, commands
from hiper.envs import check_env
from hiper.envs.errors import MissingExtra, UnknownName
from hiper.envs.webshop import WebshopEnv, pages
from hiper.envs.webshop.nouns import rule_nouns, spacy_nouns
from hiper.envs.webshop.session import Page, State, click, clickables, parse_action, search
from tests.envs.webshop_data import item, own_cache, small, small_folder, webshop_data, write_files

__all__ = ["own_cache"]

QUERY = "search[<your query>]"
some_text = st.text(max_size=20)
argument = st.one_of(some_text, st.sampled_from(["buy now", "< prev", "next >", "back to search", "features", "mug"]))
action = st.one_of(
    some_text,
    st.builds("search[{}]".format, argument),
    st.builds("click[{}]".format, argument),
    st.integers(0, 30),  # one of the commands offered
)


def make(**settings: Any) -> WebshopEnv:
    return WebshopEnv(data=small_folder(), **{"split": "all", **settings})


@cache
def shared(compat: Any) -> tuple[WebshopEnv, WebshopEnv, WebshopEnv]:
    return make(compat=compat), make(compat=compat), make(compat=compat)


def chosen(text: str | int, offered: list[str]) -> str:
    """The action itself, or the command of that number."""
    if isinstance(text, str):
        return text
    return offered[text % len(offered)] if offered else "look"


def buy(env: WebshopEnv) -> tuple[float, dict[str, Any]]:
    """Buys the very thing that is asked for."""
    goal = env.goal
    env.step(f"search[{goal.product.title}]")
    while True:
        *_, info = env.step(f"click[{goal.product.asin}]")
        if "click[buy now]" in info["admissible_commands"]:
            break
        env.step("click[next >]")
    for _, value in goal.options:
        env.step(f"click[{value}]")
    _, reward, terminated, truncated, info = env.step("click[Buy Now]")
    assert (terminated, truncated) == (True, False)
    return reward, info


@pytest.mark.parametrize("compat", [None, "verl-agent", "princeton"])
def test_it_keeps_the_contract(compat: Any) -> None:
    check_env(make(compat=compat))
    check_env(make(compat=compat, expert=True))


def test_it_goes_by_its_name() -> None:
    env = hiper.make("webshop", data=small_folder(), split="test")
    observation, info = env.reset(seed=0, options={"goal": 3})
    assert observation.startswith("WebShop [SEP] Instruction: [SEP] ")
    assert info["admissible_commands"] == [QUERY]
    assert (info["won"], info["task_score"]) == (False, 0.0)
    _, reward, terminated, truncated, info = env.step("search[red mug]")
    assert (reward, terminated, truncated) == (0.0, False, False)
    assert info["admissible_commands"][0] == "click[back to search]"


def test_the_example_of_the_page_runs() -> None:
    page = Path(__file__).parents[2] / "docs" / "webshop.md"
    code = page.read_text("utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["info"]["admissible_commands"][:2] == ["click[back to search]", "click[next >]"]


def test_many_in_one_process() -> None:
    envs = hiper.make_vec("webshop", 3, data=small_folder(), split="all", max_steps=3)
    observations, infos = envs.reset(seed=0)
    assert len(set(observations)) == 3
    for _ in range(8):
        observations, *_, infos = envs.step(["search[mug]", "click[< prev]", "look"])
    assert infos["admissible_commands"][0]


def test_it_runs_on_the_generated_catalogue() -> None:
    env = hiper.make("webshop", products=40, split="all")
    env.reset(seed=0)
    assert env.unwrapped.version == "webshop-1/fixed/generated-40-0"  # type: ignore[attr-defined]


def test_every_goal_that_is_kept_can_be_won() -> None:
    env = make()
    for name in env.games.names()[::9]:
        _, info = env.reset(options={"game": name})
        assert (info["game"], info["reachable"], info["task_type"]) == (name, True, env.goal.product.category)
        reward, info = buy(env)
        assert (reward, info["won"], info["task_score"], info["score_parts"]["total"]) == (1.0, True, 1.0, 1.0)
        assert info["admissible_commands"] == []


def test_a_purchase_that_is_not_quite_right() -> None:
    env = make()
    env.reset(seed=1)
    env.step(f"search[{env.goal.product.title}]")
    *_, info = env.step("click[next >]")
    env.step(info["admissible_commands"][-1])
    _, reward, terminated, _, info = env.step("click[buy now]")
    assert terminated
    assert 0 <= reward < 1
    assert (info["won"], info["task_score"], info["score_parts"]["total"]) == (False, reward, reward)


def test_goals_by_place_name_and_seed() -> None:
    env = make()
    _, by_place = env.reset(options={"goal": 17})
    assert env.reset(options={"goal": np.int64(17)})[1] == by_place
    assert env.reset(options={"game": by_place["game"]})[1] == by_place
    games = [env.reset(seed=seed)[1]["game"] for seed in (0, 1, 2, 0)]
    assert games[0] == games[3]
    assert len(set(games)) == 3


def test_a_step_limit_cuts_the_episode() -> None:
    env = make(max_steps=2)
    env.reset(seed=0)
    assert env.step("look")[2:4] == (False, False)
    assert env.step("look")[2:4] == (False, True)
    with pytest.raises(ResetNeeded):
        env.step("look")


def test_a_purchase_at_the_limit_counts() -> None:
    env = make(max_steps=3)
    env.reset(seed=0)
    *_, info = env.step(f"search[{env.goal.product.title}]")
    env.step(info["admissible_commands"][-1])
    assert env.step("click[buy now]")[2:4] == (True, False)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_steps": 0}, ValueError, "max_steps must be a whole number of at least 1"),
        ({"render_mode": "human"}, ValueError, "render_mode must be None or 'ansi'"),
        ({"compat": "original"}, ValueError, "compat must be None or one of verl-agent, princeton"),
        ({"nouns": "nltk"}, ValueError, "nouns must be 'rule', 'spacy' or a function"),
        ({"split": "tset"}, UnknownName, "did you mean 'test'"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(**settings)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"gaol": 1}, UnknownName, "unknown reset option 'gaol'; .* did you mean 'goal'"),
        ({"goal": -1}, UnknownName, "no goal -1: split 'all' has goals 0 to"),
        ({"goal": "17"}, TypeError, "must be an int, not '17'"),
        ({"goal": True}, TypeError, "must be an int"),
        ({"game": "B0/1"}, UnknownName, "no product 'B0'"),
        ({"game": "x", "goal": 1}, ValueError, "not both"),
    ],
)
def test_bad_reset_options(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make().reset(options=options)


def test_before_the_first_reset() -> None:
    env = make()
    with pytest.raises(ResetNeeded):
        env.step("look")
    with pytest.raises(ResetNeeded):
        _ = env.goal


def test_spacy_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(MissingExtra, match="nouns='spacy' needs spaCy and its model"):
        spacy_nouns()


def test_nouns() -> None:
    assert rule_nouns("The Extremely Soft Women's Padded T-Shirts for Running, 2 Pack") == [
        "women",
        "shirts",
        "running",
    ]


@pytest.mark.parametrize(
    ("text", "fixed", "official"),
    [
        ("click[Buy Now]", ("click", "buy now"), ("click", "buy now")),
        ("search[a [b] c]", ("search", "a [b] c"), None),
        ("click[x] and more]", ("click", "x] and more"), ("click", "x] and more")),
        ("search[x] tail", ("search", "x"), ("search", "x")),
        ("search[]", None, None),
        ("search[ ]", ("search", " "), ("search", " ")),
        ("Search[x]", None, None),
        (" search[x]", None, None),
        ("search [x]", None, None),
        ("search[x", None, None),
        ("click[a\nb]", ("click", "a\nb"), None),
        ("", None, None),
    ],
)
def test_the_grammar_of_actions(text: str, fixed: Any, official: Any) -> None:
    assert parse_action(text, official=False) == fixed
    assert parse_action(text, official=True) == official


@pytest.mark.parametrize("query", ["😀🎁", "x" * 10_000, "mug " * 2_500, " ", "<r>", "<a> x", "<c>", "[[]]", "\x00"])
def test_odd_queries_find_what_there_is(query: str) -> None:
    env = make()
    env.reset(seed=0)
    observation, *_, info = env.step(f"search[{query}]")
    assert "Page 1 (Total results: " in observation
    assert info["admissible_commands"][0] == "click[back to search]"


def test_random_products_stay_the_same_while_turning_pages() -> None:
    env = make()
    env.reset(seed=0)
    first, *_ = env.step("search[<r>]")
    env.step("click[next >]")
    assert env.step("click[< prev]")[0] == first


def test_what_is_chosen_can_be_seen() -> None:
    env = make()
    name = next(name for name in env.games.names() if len(env.games.game(name).options) == 2)
    env.reset(options={"game": name})
    (one, value), (two, _) = env.goal.options
    product = small().number_of(env.goal.product.asin)
    plain = State(page=Page.ITEM, product=product)
    half = click(small(), plain, value)
    text = pages.text(small(), half, "x", 0.0, official=False)
    assert text.endswith(f"Reviews [SEP] Chosen {one}: {value} [SEP] Buy Now")
    assert f"Chosen {two}" not in text
    assert value not in clickables(small(), half, official=False)
    assert value in clickables(small(), half, official=True)
    official = pages.text(small(), half, "x", 0.0, official=True)
    assert official == pages.text(small(), plain, "x", 0.0, official=True)


def test_every_click_that_is_offered_leads_somewhere() -> None:
    rng = random.Random(0)
    draw = np.random.default_rng(0)
    seen = set()
    state = State()
    for _ in range(1500):
        targets = clickables(small(), state, official=False)
        here = (pages.text(small(), state, "x", 0.0, official=False), targets)
        if not targets:
            state = search(small(), f"<c> {small().product(rng.randrange(150)).category}", draw)
            continue
        target = rng.choice(targets)
        after = click(small(), state, target)
        assert (
            pages.text(small(), after, "x", 0.0, official=False),
            clickables(small(), after, official=False),
        ) != here
        seen.add(state.page)
        state = State() if after.page is Page.DONE else after
    assert seen == set(Page) - {Page.START, Page.DONE}


def test_a_page_behind_the_last_one_is_offered_with_compat_only() -> None:
    for compat in (None, "verl-agent"):
        env = make(compat=compat)
        env.reset(seed=0)
        observation, *_, info = env.step("search[zzzz]")
        assert ("Next >" in observation) == ("click[next >]" in info["admissible_commands"]) == (compat is not None)
    observation, *_, info = env.step("click[next >]")
    assert "Page 2 (Total results: 0) [SEP] < Prev [SEP] Next >" in observation


def test_after_the_purchase_verl_agent_offers_the_next_start_page() -> None:
    for compat, offered in (("verl-agent", [QUERY, "click[search]"]), ("princeton", []), (None, [])):
        env = make(compat=compat)
        env.reset(options={"game": next(n for n in env.games.names() if env.games.game(n).reachable)})
        assert buy(env)[1]["admissible_commands"] == offered


def test_a_value_of_two_options_goes_to_the_last(tmp_path: Path) -> None:
    options = {"Color": [{"value": "Natural"}], "Scent": [{"value": "natural"}, {"value": "reviews"}, {"value": ""}]}
    env = WebshopEnv(write_files(tmp_path, [item(customization_options=options)]), split="all", compat="verl-agent")
    env.reset(seed=0)
    env.step("search[mug]")
    *_, info = env.step("click[b000000001]")
    assert info["admissible_commands"].count("click[natural]") == 1
    assert info["admissible_commands"].count("click[reviews]") == 1
    env.step("click[natural]")
    assert '{"scent": "natural"}' in env.step("click[buy now]")[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(action, max_size=25), st.integers(0, 50), st.sampled_from([None, "verl-agent"]))
def test_no_text_breaks_it_and_no_state_leaks(actions: list[str | int], goal: int, compat: Any) -> None:
    alone, beside, neighbour = shared(compat)
    seen = []
    for env in (alone, beside):
        answer: tuple[Any, ...] = env.reset(seed=goal, options={"goal": goal})
        told = [answer]
        for text in actions:
            if env is beside:  # a neighbour shops at the same time, in the same catalogue
                neighbour.reset(seed=goal + 1)
                neighbour.step(f"search[{text}]")
            answer = env.step(chosen(text, answer[-1]["admissible_commands"]))
            told.append(answer)
            assert env.observation_space.contains(answer[0])
            if answer[2]:
                break
        seen.append(told)
    assert seen[0] == seen[1]


@settings(max_examples=60, deadline=None)
@given(st.lists(action, max_size=25), st.integers(0, 50))
def test_it_admits_what_leads_somewhere(actions: list[str | int], goal: int) -> None:
    env = shared(None)[0]
    _, info = env.reset(options={"goal": goal})
    for text in actions:
        action = chosen(text, info["admissible_commands"])
        admitted, before = env.admits(action), env._state
        *_, over, _, info = env.step(action)
        assert admitted == (env._state is not before)
        if over:
            break


def test_it_admits_more_than_it_lists() -> None:
    for compat in (None, "verl-agent"):
        env = make(compat=compat)
        _, info = env.reset(seed=0)
        *_, info = env.step(f"search[{env.goal.product.title}]")
        product = info["admissible_commands"][-1]
        for other in ("search[mug]", product.upper().replace("CLICK", "click")):
            assert env.admits(other)
            assert other not in info["admissible_commands"]
        for nothing in ("search[]", "look", "click[buy now]", product.upper()):
            assert not env.admits(nothing)
    assert env.admits("click[next >]")  # of one page of results: it is offered, as in the original


def play_beside_the_twin(folder: Path, episodes: int, seed: int) -> int:
    """Random episodes in both; what they show must be the same. The number of steps."""
    env = WebshopEnv(data=folder, split="all", compat="verl-agent", max_steps=1000)
    asins = env.catalogue
    twin = Twin(folder, lambda asin: float(env.games.all.prices[asins.number_of(asin)]), rule_nouns)
    rng = random.Random(seed)
    steps = 0
    for _ in range(episodes):
        observation, info = env.reset(options={"goal": rng.randrange(len(env.games))})
        seen = twin.reset(env.goal)
        goal, over = env.goal, False
        while not over and rng.random() < 0.95:
            assert (observation, info["admissible_commands"]) == (seen.observation, commands(seen))
            text = rng.choice([goal.text, goal.product.query, f"<q> {goal.product.query}", "<c> fashion", "zzzz"])
            command = rng.choice([*info["admissible_commands"], f"search[{text}]"])
            seen = twin.step(command)
            observation, reward, over, _, info = env.step(command)
            assert (observation, over) == (seen.observation, seen.done)
            assert reward == pytest.approx(seen.reward, abs=1e-9)
            steps += 1
    return steps


def test_it_is_the_twin_of_the_obvious_shop() -> None:
    assert play_beside_the_twin(small_folder(), episodes=40, seed=0) > 200


def test_it_is_the_twin_of_the_obvious_shop_on_the_official_catalogue() -> None:
    assert play_beside_the_twin(webshop_data() / "official_1000", episodes=40, seed=1) > 200


def test_it_says_what_it_admits() -> None:
    env = hiper.make("webshop", products=60, split="all")
    _, info = env.reset(seed=0, options={"goal": 0})
    assert env.unwrapped.admits("search[mug]")
    assert not env.unwrapped.admits("click[buy now]")
    assert not env.unwrapped.admits("mug")
    _, _, _, _, info = env.step(f"search[{env.unwrapped.goal.text}]")
    product = info["admissible_commands"][-1]
    assert env.unwrapped.admits(product)
    assert env.unwrapped.admits(product.upper().replace("CLICK", "click"))
    assert env.unwrapped.admits("search[another mug]"), "the search works on every page, though it is offered on one"
