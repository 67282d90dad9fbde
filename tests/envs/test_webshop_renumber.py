"""The shop under other names: what has to be copied is another in every episode, and the shop stays whole."""

import random
import re
from typing import Any

import pytest

import hiper
from hiper.envs.webshop.catalogue import open_catalogue
from hiper.envs.webshop.renumber import Names, RenumberedShop


def shop(**more: Any) -> Any:
    return hiper.make("webshop", products=300, split="train", renumber=True, **more)


def start(env: Any, seed: int, place: int = 3) -> str:
    observation, _ = env.reset(seed=seed, options={"game": env.unwrapped.games.names()[place]})
    return str(observation)


def test_the_same_seed_gives_the_same_names_and_another_others() -> None:
    env = shop()
    texts = {seed: start(env, seed) for seed in (1, 2, 3, 4, 5, 6)}
    assert start(env, 1) == texts[1]
    assert len(set(texts.values())) > 3
    pages = set()
    for seed in (1, 1, 2):
        start(env, seed)
        pages.add(env.step(f"search[{env.unwrapped.goal.text}]")[0])
    assert len(pages) == 2


@pytest.mark.parametrize("products", [1, 2, 12, 300])
def test_products_exchange_their_asins(products: int) -> None:
    catalogue = open_catalogue(products=products)
    own = [catalogue.asin(number) for number in range(products)]
    exchanged = [[RenumberedShop(catalogue, Names([]), seed).asin(n) for n in range(products)] for seed in range(9)]
    assert all(sorted(asins) == sorted(own) for asins in exchanged)
    assert len({tuple(asins) for asins in exchanged}) >= min(products, 6)


def test_values_made_up_look_like_the_old_ones_and_are_as_many() -> None:
    catalogue = open_catalogue(products=300)
    products = [catalogue.product(number) for number in range(300)]
    names = Names(products)
    dice = random.Random(0)
    made_up = {names.make_up(["b16-black (pack of 2)"], dice)[0] for _ in range(200)}
    assert len(made_up) > 190
    assert all(re.fullmatch(r"[^\W\d_]+\d\d-[^\W\d_]+ \([^\W\d_]+ [^\W\d_]+ \d\)", one) for one in made_up)
    for _ in range(20):
        one, two, three = names.make_up(["b16-black", "b16-red", "16x20"], dice)
        assert one.split("-")[0] == two.split("-")[0], "what they share they go on sharing"
        assert one.split("-")[0][-2:] == three[:2]
    known = {value for values in names.values.values() for value in values}
    new = 0
    for seed in range(5):
        shop = RenumberedShop(catalogue, names, seed)
        for number, product in enumerate(products):
            options = shop.product(number).options
            assert {name: len(set(values)) for name, values in options.items()} == {
                name: len(set(values)) for name, values in product.options.items()
            }
            new += sum(value not in known for values in options.values() for value in values)
    assert new > 500


def test_the_wanted_product_is_found_and_scores_by_its_new_names() -> None:
    """Bought with the options asked for, it is worth what it always was."""
    env, bought = shop(expert=True, expert_search="quick", max_steps=30), 0
    for place in range(0, 60, 2):
        start(env, place, place)
        goal = env.unwrapped.goal
        *_, info = env.step(f"search[{goal.text}]")
        wanted = f"click[{goal.product.asin.lower()}]"
        if wanted not in info["admissible_commands"]:
            continue
        env.step(wanted)
        for _, value in goal.options:
            *_, info = env.step(f"click[{value}]")
        _, _, over, _, info = env.step("click[buy now]")
        assert over
        assert info["task_score"] == 1.0 or not goal.reachable
        bought += 1
    assert bought >= 20, "the search knows the new names"


def test_half_of_the_episodes_show_what_is_chosen() -> None:
    env, shown = shop(expert=True, expert_search="quick", max_steps=15), []
    for seed in range(60):
        observation, info = env.reset(seed=seed)
        over, says = False, False
        while not over:
            observation, _, terminated, truncated, info = env.step(info["expert_action"])
            says = says or "Chosen " in observation
            over = terminated or truncated
        shown.append(says)
    assert 15 < sum(shown) < 45


def test_what_people_wrote_cannot_be_renamed() -> None:
    with pytest.raises(ValueError, match="renumber goes with synthetic goals only"):
        hiper.make("webshop", products=60, split="all", human_goals=True, renumber=True)
