"""The generated catalogue: format, determinism, likeness to the official one, and look-alikes."""

import hashlib
import json
import math
import os
import re
import statistics
from collections import Counter, defaultdict
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from hiper.envs.webshop.catalogue import open_catalogue
from hiper.envs.webshop.generate import ATTRIBUTES, HUMAN, ITEMS, Listing, products, write_catalogue
from hiper.envs.webshop.goals import open_goals
from hiper.envs.webshop.official import find, read_products
from hiper.envs.webshop.reward import colour_of

Item = dict[str, Any]


@cache
def catalogue() -> list[Listing]:
    return list(products(0, 3000))


def options(item: Item) -> dict[str, list[str]]:
    """The values of each option that has any, as the shop shows them."""
    table = item["customization_options"] or {}
    return {
        name.lower(): [row["value"].strip().replace("/", " | ").lower() for row in rows]
        for name, rows in table.items()
        if rows
    }


def text_of(item: Item) -> str:
    return " ".join([item["name"], *item["small_description"], item["full_description"]]).lower()


# The files


def test_the_files_hold_the_listings(tmp_path: Path) -> None:
    write_catalogue(tmp_path, seed=3, products=400)
    items, asked, human = (
        json.loads((tmp_path / name).read_text(encoding="utf-8")) for name in (ITEMS, ATTRIBUTES, HUMAN)
    )
    expected = list(products(3, 400))
    assert items == [one.item for one in expected]
    assert asked == {one.item["asin"]: one.asked for one in expected}
    assert human == {one.item["asin"]: one.human for one in expected if one.human}
    assert human


def test_the_engine_reads_the_files(tmp_path: Path) -> None:
    write_catalogue(tmp_path, products=300)
    read = list(read_products(find(tmp_path)))
    assert [one.asin for one in read] == [one.item["asin"] for one in products(0, 300)]
    for product, listing in zip(read, products(0, 300), strict=True):
        assert {name: list(values) for name, values in product.options.items()} == options(listing.item)


def test_one_product_makes_valid_files(tmp_path: Path) -> None:
    write_catalogue(tmp_path / "new" / "folder", products=1)
    assert len(json.loads((tmp_path / "new" / "folder" / ITEMS).read_text(encoding="utf-8"))) == 1


def test_a_catalogue_without_products_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="products must be at least 1, not 0"):
        write_catalogue(tmp_path, products=0)


def test_the_catalogue_of_a_seed_stays_what_it_is() -> None:
    # Whoever changes this changes the data of every run on generated products: VERSION goes up with it.
    text = json.dumps(list(products(0, 500)))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "eb1e3aaa160af4e8"


def test_a_longer_catalogue_begins_like_a_shorter_one() -> None:
    assert list(products(5, 40)) == list(islice(products(5, 1000), 40))


def test_seeds_differ() -> None:
    names = [{one.item["name"] for one in products(seed, 200)} for seed in (1, 2)]
    assert not names[0] & names[1]


def test_every_id_is_valid_and_its_own() -> None:
    ids = [one.item["asin"] for one in catalogue()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"B0[0-9A-Z]{8}", asin) for asin in ids)


# What is asked for


def test_all_that_is_asked_for_stands_in_the_products_text() -> None:
    for item, asked, _ in catalogue():
        words = set(re.findall(r"\w+", text_of(item)))
        for attribute in asked.get("instruction_attributes", []):
            assert set(attribute.split()) <= words, (item["asin"], attribute)


def test_an_instruction_names_its_query_and_attributes() -> None:
    for item, asked, _ in catalogue():
        assert ("instruction" in asked) == ("instruction_attributes" in asked)
        if "instruction" in asked:
            assert item["query"] in asked["instruction"]
            assert set(asked["instruction_attributes"]) <= set(asked["attributes"])
            for attribute in asked["instruction_attributes"]:
                assert re.search(rf"\b{re.escape(attribute)}\b", asked["instruction"])


def test_human_instructions_name_options_that_are_there() -> None:
    human = [(one, goal) for one in catalogue() for goal in one.human]
    assert human
    for (item, asked, _), goal in human:
        values = {row["value"].lower() for rows in (item["customization_options"] or {}).values() for row in rows or ()}
        assert set(goal["instruction_options"]) <= values
        assert set(goal["instruction_attributes"]) <= set(asked["attributes"])
        assert goal["asin"] == item["asin"]


def test_every_option_value_can_be_chosen() -> None:
    buttons = {"search", "back to search", "< prev", "next >", "description", "features", "reviews", "attributes"}
    for item, _, _ in catalogue():
        values = [value for row in options(item).values() for value in row]
        assert len(set(values)) == len(values), "a value under two names would be chosen for the last"
        assert not set(values) & (buttons | {"buy now"})
        assert not any("[" in value or "]" in value or not value for value in values)


# Look-alikes


def lacking(item: Item, asked: Item, other: Item, other_asked: Item) -> int:
    """How many of the things asked for another product lacks, with the last value of every option asked for."""
    wanted = [values[-1] for values in options(item).values()]
    offered = {value for values in options(other).values() for value in values}
    told, known = text_of(other), other_asked["attributes"]
    return sum(value not in offered for value in wanted) + sum(
        name not in known and name not in told for name in asked["instruction_attributes"]
    )


def test_most_goals_have_a_look_alike_and_most_look_alikes_fall_short() -> None:
    by_query = defaultdict(list)
    for one in catalogue():
        by_query[one.item["query"]].append(one)
    short, full, goals = 0, 0, 0
    for item, asked, _ in catalogue()[:1000]:
        if "instruction" not in asked:
            continue
        goals += 1
        others = [one for one in by_query[item["query"]] if one.item is not item]
        gaps = Counter(lacking(item, asked, one.item, one.asked) for one in others)
        short += gaps[1] > 0
        full += gaps[0] > 0
    assert short > 0.6 * goals
    assert full < 0.4 * goals


# Likeness to the official catalogue


def figures(items: list[Item], asked: dict[str, Item]) -> dict[str, float]:
    """What makes a catalogue easy or hard, in numbers."""
    wanted = [item for item in items if "instruction" in asked[item["asin"]]]
    goals = [math.prod(len(values) for values in options(item).values()) for item in wanted]
    n_options = Counter[int]()
    for item, n in zip(wanted, goals, strict=True):
        n_options[len(options(item))] += n
    priced = [item["pricing"] for item in items if item["pricing"]]
    lowest = [float(text.split("$")[1].replace(",", "")) for text in priced]
    told = [item for item in items if item["full_description"]]
    return {
        "share with an instruction": len(wanted) / len(items),
        "share with options": sum(bool(options(item)) for item in items) / len(items),
        "goals per instruction": sum(goals) / len(wanted),
        "share of goals with two options": n_options[2] / sum(goals),
        "share of goals with three options": n_options[3] / sum(goals),
        "colours": statistics.mean(len(options(item)["color"]) for item in items if "color" in options(item)),
        "sizes": statistics.mean(len(options(item)["size"]) for item in items if "size" in options(item)),
        "attributes asked for": statistics.mean(len(asked[item["asin"]]["instruction_attributes"]) for item in wanted),
        "attributes": statistics.mean(len(asked[item["asin"]]["attributes"]) for item in items),
        "median price": statistics.median(lowest),
        "share without price": 1 - len(priced) / len(items),
        "share with a range of prices": sum(text.count("$") == 2 for text in priced) / len(items),
        "words in a title": statistics.mean(len(item["name"].split()) for item in items),
        "words in a description": statistics.mean(len(item["full_description"].split()) for item in told),
        "share without description": 1 - len(told) / len(items),
        "share without bullets": sum(item["small_description"] == [""] for item in items) / len(items),
    }


def official_catalogue() -> tuple[list[Item], dict[str, Item]]:
    folder = os.environ.get("HIPER_WEBSHOP_DATA")
    if not folder:
        pytest.skip("HIPER_WEBSHOP_DATA is not set: it names the folder with the official catalogue")
    files = find(Path(folder) / "official_1000")
    return json.loads(files.items.read_text(encoding="utf-8")), json.loads(files.attributes.read_text(encoding="utf-8"))


def test_the_statistics_are_those_of_the_official_catalogue() -> None:
    official = figures(*official_catalogue())
    ours = figures([one.item for one in catalogue()], {one.item["asin"]: one.asked for one in catalogue()})
    off = {name: (ours[name], value) for name, value in official.items() if not 0.7 < ours[name] / value < 1.4}
    assert not off


def test_no_text_of_the_official_catalogue_is_used() -> None:
    official, _ = official_catalogue()
    known = {line.strip().lower() for item in official for line in item["small_description"] if len(line) > 25}
    known |= {item["name"].lower() for item in official if len(item["name"]) > 25}
    known |= {item["full_description"].lower() for item in official}
    for item, _, _ in catalogue():
        assert item["name"].lower() not in known
        assert not {line.lower() for line in item["small_description"] if len(line) > 25} & known


def test_entries_have_the_official_keys_and_types() -> None:
    items, asked = official_catalogue()
    kinds = defaultdict(set)
    for item in items:
        for key, value in item.items():
            kinds[key].add(type(value))
    known = {key for entry in asked.values() for key in entry}
    for item, entry, _ in catalogue():
        assert set(entry) <= known
        for key, value in item.items():
            assert type(value) in kinds[key], (key, value)
    in_every_official_one = set.intersection(*(set(item) for item in items))
    assert all(in_every_official_one <= set(one.item) for one in catalogue())


# Goals


def test_a_goal_is_out_of_reach_only_where_a_colour_is_part_of_a_word() -> None:
    goals = open_goals(open_catalogue(seed=0, products=800), "all").all
    out_of_reach = [goals.goal(number) for number in range(len(goals)) if not goals.reachable[number]]
    assert 0.01 < len(out_of_reach) / len(goals) < 0.09
    for goal in out_of_reach:
        hidden = [value for _, value in goal.options if colour_of(value) not in re.findall(r"\w+", value)]
        assert hidden, goal.text  # e.g. "black" in "blacka1", "tan" in "with stand"
