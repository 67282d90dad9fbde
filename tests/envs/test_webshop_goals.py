"""Goals: their names, splits, prices and reachability."""

from collections import Counter
from itertools import product as combinations
from pathlib import Path

import pytest

from hiper.envs.errors import DataError, UnknownName
from hiper.envs.webshop import Goals, open_catalogue, open_goals, score
from hiper.envs.webshop.goals import NO_BOUND
from tests.envs.webshop_data import ASKED, item, own_cache, small, write_files

__all__ = ["own_cache"]

HUMAN = {"instruction": "a mug for tea.", "instruction_attributes": ["stone ware"], "instruction_options": ["red"]}


def open_files(folder: Path, split: str = "all", *, human: bool = False) -> Goals:
    return open_goals(open_catalogue(folder), split, human=human, compat="verl-agent")


def test_the_splits_share_no_product_and_no_title() -> None:
    splits = {split: open_goals(small(), split) for split in ("train", "validation", "test")}
    products = {split: {name.split("/")[0] for name in goals.names()} for split, goals in splits.items()}
    titles = {split: {goals.game(name).product.title for name in goals.names()} for split, goals in splits.items()}
    assert sum(map(len, products.values())) == len(set().union(*products.values()))
    assert sum(map(len, titles.values())) == len(set().union(*titles.values()))
    assert Counter(name for goals in splits.values() for name in goals.names()) == Counter(
        open_goals(small(), "all").names()
    )


def test_products_of_one_title_stay_together(tmp_path: Path) -> None:
    items = [item(f"B{number:09}", name=f"Mug {number // 4}") for number in range(80)]
    goals = open_goals(open_catalogue(write_files(tmp_path, items)), "test")
    counts = Counter(goals.game(name).product.title for name in goals.names())
    assert set(counts.values()) == {4 * 2}  # four products, in two colours each


def test_what_is_left_out_by_default_is_what_cannot_be_reached() -> None:
    every = open_goals(small(), "all", compat="verl-agent")
    kept = set(open_goals(small(), "all").names())
    for name in every.names():
        goal = every.game(name)
        chosen = dict(goal.options)
        price = float(every.all.prices[small().number_of(goal.product.asin)])
        found = score(goal, goal.product, chosen, price, lambda title: [title])
        assert (found.total == 1.0) == goal.reachable == (name in kept), name
    assert 0 < len(kept) <= len(every)


def test_a_name_belongs_to_the_splits_that_list_it() -> None:
    every = list(open_goals(small(), "all", compat="verl-agent").names())
    for compat, split in ((None, "test"), (None, "all"), ("princeton", "test")):
        goals = open_goals(small(), split, compat=compat)  # type: ignore[arg-type]
        listed = set(goals.names())
        for name in every:
            assert goals.all.holds(split, goals.compat, goals.all.number(name)) == (name in listed)


def test_a_goal_keeps_its_name_whatever_the_order() -> None:
    one, other = (open_goals(small(), "all", seed=seed, compat="verl-agent") for seed in (0, 1))
    assert list(one.names()) != list(other.names())
    assert set(one.names()) == set(other.names())
    name = one.names()[3]
    assert one.names()[1:4][-1] == name
    assert one.game(name) == one.at(3)
    assert one.game(name).options == other.game(name).options


def test_places_in_the_splits_of_the_original(tmp_path: Path) -> None:
    items = [item(f"B{number:09}") for number in range(800)]  # with two colours each: 1600 goals
    catalogue = open_catalogue(write_files(tmp_path, items))
    for compat, sizes in (
        ("verl-agent", {"test": 500, "train": 1100}),
        ("princeton", {"test": 500, "validation": 1000}),
    ):
        every = list(open_goals(catalogue, "all", compat=compat).names())  # type: ignore[arg-type]
        first = 0
        for split, size in sizes.items():
            goals = open_goals(catalogue, split, compat=compat)  # type: ignore[arg-type]
            assert list(goals.names()) == every[first : first + size]
            held = [name for name in every if goals.all.holds(split, goals.compat, goals.all.number(name))]
            assert held == every[first : first + size]
            first += size


def test_combinations_count_up_with_the_last_option_fastest(tmp_path: Path) -> None:
    options = {"Size": [{"value": "S"}, {"value": "L"}], "Color": [{"value": "Red"}, {"value": "Blue"}]}
    goals = open_files(write_files(tmp_path, [item(customization_options=options)]))
    found = [goals.game(f"B000000001/{k}") for k in range(4)]
    assert [tuple(value for _, value in goal.options) for goal in found] == list(
        combinations(("red", "blue"), ("s", "l"))
    )
    assert found[1].text.startswith("Find me a mug with color: red, and size: l, and price lower than ")


def test_a_dear_product_has_no_bound_on_its_price(tmp_path: Path) -> None:
    goal = open_files(write_files(tmp_path, [item(pricing="$985.00", customization_options="")])).at(0)
    assert (goal.text, goal.price_upper) == ("Find me a mug", NO_BOUND)


def test_instructions_written_by_people(tmp_path: Path) -> None:
    human = {
        "B000000001": [HUMAN, {**HUMAN, "instruction_attributes": []}, {**HUMAN, "instruction_options": ["purple"]}],
        "B000000009": [HUMAN],  # of no product here
    }
    goals = open_files(write_files(tmp_path, [item()], human=human), human=True)
    assert sorted(goals.names()) == ["B000000001/0", "B000000001/1"]
    first, second = (goals.game(name) for name in sorted(goals.names()))
    assert first.text.startswith("a mug for tea, and price lower than ")
    assert first.options == (("", "red"),)
    assert (first.reachable, second.reachable) == (True, False)


def test_a_person_may_ask_for_two_values_of_one_option(tmp_path: Path) -> None:
    human = {"B000000001": [{**HUMAN, "instruction_options": ["red", "blue"]}]}
    goals = open_files(write_files(tmp_path, [item()], human=human), human=True)
    assert not goals.at(0).reachable


def test_no_goals(tmp_path: Path) -> None:
    asked = {"B000000001": {"attributes": ["stone ware"]}}
    with pytest.raises(DataError, match="no product has an instruction"):
        open_files(write_files(tmp_path, [item()], asked))
    with pytest.raises(DataError, match="written by a person"):
        open_files(tmp_path, human=True)


def test_a_split_without_goals(tmp_path: Path) -> None:
    catalogue = open_catalogue(write_files(tmp_path, [item()]))  # its one product belongs to the training split
    assert len(open_goals(catalogue, "train")) == 2
    with pytest.raises(DataError, match="split 'test' of items_shuffle has no goals: the catalogue is too small"):
        open_goals(catalogue, "test")


def test_unknown_names() -> None:
    goals = open_goals(small(), "test")
    known = goals.names()[0].split("/")[0]
    outside = open_goals(small(), "train").names()[0]
    for name, message in (
        ("mug", "is called <ASIN>/<number>"),
        (f"{known}/999999", "are numbered 0 to"),
        ("B999999999/0", "no product 'B999999999'"),
        (outside, "in split 'test'"),
    ):
        with pytest.raises(UnknownName, match=message):
            goals.game(name)
    with pytest.raises(UnknownName, match="has goals 0 to"):
        goals.at(len(goals))
    with pytest.raises(UnknownName, match="did you mean 'validation'"):
        open_goals(small(), "valid")
    with pytest.raises(UnknownName, match="known: test, train, all"):
        open_goals(small(), "validation", compat="verl-agent")
    with pytest.raises(ValueError, match="compat must be None or one of"):
        open_goals(small(), "test", compat="original")  # type: ignore[arg-type]


def test_nobody_asks_for_this_product(tmp_path: Path) -> None:
    items = [item(), item("B000000002")]
    asked = {"B000000001": ASKED, "B000000002": {"attributes": []}}
    goals = open_files(write_files(tmp_path, items, asked))
    with pytest.raises(UnknownName, match="nobody asks for product B000000002"):
        goals.game("B000000002/0")
