"""What the original showed, found and paid, reproduced to the letter."""

from typing import Any

import pytest

from hiper.envs.webshop import Goal, WebshopEnv, open_goals, pages, score
from hiper.envs.webshop.analyzer import terms
from hiper.envs.webshop.nouns import rule_nouns
from hiper.envs.webshop.reward import COLOURS, option_met, title_overlap, type_factor
from hiper.envs.webshop.session import Page, State, clickables
from tests.envs.webshop_data import golden, official, own_cache, webshop_data

__all__ = ["own_cache"]


def number(asin: str) -> int:
    return official().number_of(asin)


def listed(nouns_by_title: dict[str, list[str]]) -> Any:
    """A noun finder that looks its answers up."""
    return nouns_by_title.__getitem__


def offered(step: dict[str, Any]) -> list[str]:
    """The commands of a trace's step, in the environment's words."""
    actions = step["available_actions"]
    bar = ["search[<your query>]"] if actions["has_search_bar"] else []
    return bar + [f"click[{target}]" for target in actions["clickables"]]


def nouns_of(trace: dict[str, Any]) -> dict[str, list[str]]:
    """The nouns of the titles of a trace's goal and purchase. Of the goal's own product any do."""
    purchase = trace.get("purchase") or {"asin": trace["goal_asin"]}
    pairs = ((trace["goal_asin"], "goal_nouns"), (purchase["asin"], "product_nouns"))
    return {official().product(number(asin)).title: purchase.get(nouns, ["mug"]) for asin, nouns in pairs}


def test_every_episode_is_replayed_to_the_letter() -> None:
    steps = 0
    env = WebshopEnv(data=webshop_data(), split="all", compat="verl-agent", goal_seed=0)
    for trace in golden("dev.jsonl.gz"):
        env._nouns = listed(nouns_of(trace))
        for step in trace["steps"]:
            if step["action"] is None:
                observation, info = env.reset(options={"goal": trace["goal_idx"]})
            else:
                observation, reward, terminated, _, info = env.step(step["action"])
                assert reward == pytest.approx(step["reward"], abs=1e-9)
                assert terminated == step["done"]
                assert info["won"] == step.get("won", False)
            where = (trace["goal_idx"], step["action"])
            assert observation == step["observation"], where
            assert info["admissible_commands"] == offered(step), where
            steps += 1
    assert steps > 1000


def test_the_view_of_the_manager_follows_from_observation_and_commands() -> None:
    env = WebshopEnv(data=webshop_data(), split="all", compat="verl-agent", goal_seed=0)
    for trace in golden("manager_view_dev.jsonl"):
        for step in trace["steps"]:
            if step["action"] is None:
                observation, info = env.reset(options={"goal": trace["goal_idx"]})
            else:
                observation, *_, info = env.step(step["action"])
            pieces = observation.split(" [SEP] ")
            task = trace["task"]
            shown = observation
            if task in pieces:
                shown = " [SEP] ".join(f"'{piece}'" for piece in pieces[pieces.index(task) + 1 :])
            assert shown == step["text_obs"]
            assert "\n".join(f"'{command}'," for command in info["admissible_commands"]) == step["admissible"]


def test_every_page_of_every_product() -> None:
    catalogue = official()
    kinds = (Page.ITEM, Page.DESCRIPTION, Page.FEATURES)
    for row in golden("pages_all_products.jsonl.gz"):
        states = [State(page=page, product=number(row["asin"])) for page in kinds]
        assert [pages.text(catalogue, state, "INSTR", 0.0, official=True) for state in states] == [
            row[page.value] for page in kinds
        ]
        assert clickables(catalogue, states[0], official=True) == row["clickables"]


def test_every_ranking_and_score_of_search() -> None:
    catalogue = official()
    for row in golden("search_dev.jsonl.gz"):
        found, scores = catalogue.index.scored(row["query"])
        assert [catalogue.asin(int(product)) for product in catalogue.by_asin[found]] == row["asins"], row["query"]
        assert scores.tolist() == pytest.approx(row["scores"], abs=1e-4)


def test_the_analyzer_gives_the_original_terms() -> None:
    for row in golden("analyzer_tokens.jsonl.gz"):
        text = row["text"] if "text" in row else official().product(number(row["asin_doc"])).searched_text()
        assert terms(text) == row["tokens"]


@pytest.mark.parametrize("seed", [0, 1])
def test_every_goal_of_a_seed_in_order(seed: int) -> None:
    goals = open_goals(official(), "all", seed=seed, compat="verl-agent")
    rows = golden(f"goals_seed{seed}.jsonl.gz")
    assert len(goals) == len(rows) == 6910
    for row in rows:
        goal = goals.at(row["idx"])
        assert goal.product.asin == row["asin"]
        assert goal.text == row["instruction_text"]
        assert list(goal.attributes) == row["attributes"]
        assert goal.options == tuple(row["goal_options"].items())
        assert goal.price_upper == row["price_upper"]
    (prices,) = golden(f"range_prices_seed{seed}.json")
    assert prices == {asin: goals.all.prices[number(asin)] for asin in prices}


def test_every_score_and_its_parts() -> None:
    for row in golden("rewards_dev.jsonl.gz"):
        wanted, bought = (official().product(number(row[key])) for key in ("goal_asin", "purchased_asin"))
        goal = Goal(
            name="",
            product=wanted,
            text=row["goal"]["instruction_text"],
            attributes=tuple(row["goal"]["attributes"]),
            options=tuple(row["goal"]["goal_options"].items()),
            price_upper=row["goal"]["price_upper"],
            reachable=True,
        )
        nouns = listed({wanted.title: row["goal_nouns"], bought.title: row["product_nouns"]})
        found = score(goal, bought, row["options"], row["price"], nouns)
        assert found.total == pytest.approx(row["total"], abs=1e-9)
        assert found.type == pytest.approx(row["r_type"], abs=1e-9)
        assert found.attributes == pytest.approx(row["r_att"], abs=1e-9)
        assert found.options == (None if row["r_option"] is None else pytest.approx(row["r_option"], abs=1e-9))
        assert found.title == pytest.approx(row["title_score"], abs=1e-9)
        assert (found.price, found.same_query, found.same_category) == (
            row["r_price"],
            row["query_match"],
            row["category_match"],
        )


def test_the_noun_rule_seldom_changes_a_score() -> None:
    changed = won_or_lost = 0
    rows = golden("rewards_dev.jsonl.gz")
    for row in rows:
        titles = (official().product(number(row[key])).title for key in ("goal_asin", "purchased_asin"))
        overlap = title_overlap(*map(rule_nouns, titles))
        factor = type_factor(overlap, row["query_match"] or row["category_match"])
        total = row["total"] / row["r_type"] * factor if row["r_type"] else 0.0
        changed += factor != row["r_type"]
        won_or_lost += (total == 1.0) != (row["total"] == 1.0)
    assert changed <= len(rows) * 0.05
    assert won_or_lost <= len(rows) * 0.01


def test_every_edge_case_of_option_matching() -> None:
    for row in golden("option_edge_cases.jsonl"):
        wanted = row["goal_options"]
        pairs = list(wanted.items()) if isinstance(wanted, dict) else [("", value) for value in wanted]
        matches = sum(option_met(name, value, row["options"].values()) for name, value in pairs)
        assert matches == row["matches"], row
        assert (row["r_option"] or 0) == pytest.approx(matches / max(1, len(pairs)))


def test_the_colour_words_are_those_of_the_original() -> None:
    (words,) = golden("color_words.json")
    assert list(COLOURS) == words


def test_the_goals_that_nobody_can_reach() -> None:
    goals = open_goals(official(), "all", compat="verl-agent")
    out_of_reach = [number for number in goals.numbers.tolist() if not goals.all.reachable[number]]
    assert len(out_of_reach) == 458
    assert len({goals.all.goal(number).product.asin for number in out_of_reach}) == 17
    assert sum(not goals.at(place).reachable for place in range(500)) == 29
    assert len(open_goals(official(), "all")) == 6910 - 458
