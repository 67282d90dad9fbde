"""A shop without end, to browse without downloading any.

Products are made in the format of the official files, from word lists of our own (`words/`) and the statistics of
the official catalogue: how many options, attributes and words a product has, what it costs, how many are asked for.
They come in families of look-alikes: one differs from the next in an attribute, an option value or a few dollars, so
that a goal is met by looking closely and not by the title alone. All that an instruction asks for stands in the
product's own text.

A family depends on the seed and its own number alone: a longer catalogue begins like a shorter one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from hiper.envs.dice import Dice
from hiper.envs.webshop.families import (
    PLACES,
    Attribute,
    Draft,
    Place,
    draw_number,
    look_alikes,
    quantile,
    shared_words,
)

VERSION: Final = "generated-1"
ITEMS, ATTRIBUTES, HUMAN = "items_shuffle.json", "items_ins_v2.json", "items_human_ins.json"

Json = dict[str, Any]

_RANGES: Final = (1.02, 1.07, 1.15, 1.34, 2.06, 2.75, 4.0, 6.0)  # highest over lowest price
_BULLET_WORDS: Final = (1, 4, 10, 21, 35, 52, 80, 90)
_WITH_IMAGE: Final = frozenset({"Color", "Style", "Scent", "Flavor Name", "Flavor", "Pattern Name", "Item Shape"})
_SAYS_ATTRIBUTE_IN_TITLE: Final = 0.22
_HYPHENATED: Final = 0.12
_HUMAN_SHARE: Final = 0.03  # of the products that are asked for
_ID_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ID_COUNT: Final = 36**8
_ID_STEP: Final = 1_234_567_890_121  # shares no factor with 36, so that no id comes twice


class Listing(NamedTuple):
    """A product as the three official files hold it.

    `item` is an entry of items_shuffle.json, `asked` the one of items_ins_v2.json under its ASIN, and `human` the
    one of items_human_ins.json; [] where there is none.
    """

    item: Json
    asked: Json
    human: list[Json]


def products(seed: int, n: int) -> Iterator[Listing]:
    """The first `n` products of a seed, made one after another as they are asked for."""
    return islice(_all_products(seed), n)


def write_catalogue(folder: Path, *, seed: int = 0, products: int = 3000) -> None:
    """Write that many products as the three official files into `folder`, which is made if need be."""
    if products < 1:
        raise ValueError(f"products must be at least 1, not {products}")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        items, asked, human = (
            stack.enter_context((folder / name).open("w", encoding="utf-8")) for name in (ITEMS, ATTRIBUTES, HUMAN)
        )
        separator, human_separator = "", ""
        items.write("[")
        asked.write("{")
        human.write("{")
        for one in islice(_all_products(seed), products):
            asin = one.item["asin"]
            items.write(f"{separator}\n{json.dumps(one.item, ensure_ascii=False)}")
            asked.write(f'{separator}\n"{asin}": {json.dumps(one.asked)}')
            separator = ","
            if one.human:
                human.write(f'{human_separator}\n"{asin}": {json.dumps(one.human)}')
                human_separator = ","
        items.write("\n]\n")
        asked.write("\n}\n")
        human.write("\n}\n")


def _all_products(seed: int) -> Iterator[Listing]:
    """All products of a seed, family after family."""
    number = count()
    for family in count():
        dice = Dice(f"{VERSION}/{seed}/{family}")
        for draft in look_alikes(dice):
            yield _listing(draft, _asin(seed, next(number)), dice)


def _asin(seed: int, number: int) -> str:
    """An id that no other product of this seed has."""
    left = (number * _ID_STEP + seed * 7_919) % _ID_COUNT
    letters = []
    for _ in range(8):
        left, digit = divmod(left, 36)
        letters.append(_ID_LETTERS[digit])
    return "B0" + "".join(letters)


# Texts


def _listing(draft: Draft, asin: str, dice: Dice) -> Listing:
    """The product in all three files."""
    words = draft.kind.words
    title, description, bullets = _texts(draft, dice)
    item = {
        "asin": asin,
        "name": title,
        "full_description": description,
        "small_description": bullets,
        "pricing": _pricing(draft, dice),
        "images": [f"{asin}-{i + 1}.jpg" for i in range(1 + dice.below(8))],
        "product_category": draft.kind.path,
        "average_rating": "" if dice.chance(0.4) else (20 + dice.below(31)) / 10,
        "customization_options": _customization(draft, asin, dice),
        "category": words["category"],
        "query": draft.kind.query,
        "page": 1 + dice.below(400),
        "brand": f"Brand: {draft.brand}",
    }
    asked: Json = {"attributes": [one.name for one in (*draft.more, *draft.wanted)]}
    human: list[Json] = []
    if draft.wanted:
        asked["instruction"] = _instruction(draft, dice)
        asked["instruction_attributes"] = [one.name for one in draft.wanted]
        if dice.chance(_HUMAN_SHARE):
            human = [_human(draft, asin, dice)]
    return Listing(item, asked, human)


def _texts(draft: Draft, dice: Dice) -> tuple[str, str, list[str]]:
    """Title, description ("" at times) and bullets ([""] at times), which tell every attribute between them."""
    words = draft.kind.words
    has_bullets = not dice.chance(words["no_bullets"])
    has_description = not dice.chance(0.3)
    titled: list[tuple[Place, str]] = []
    bullets: list[str] = []
    description: list[str] = []
    for attribute in dice.shuffled((*draft.wanted, *draft.more)):
        form = _form(attribute, dice)
        if dice.chance(_SAYS_ATTRIBUTE_IN_TITLE) or not (has_bullets or has_description):
            titled.append((attribute.place, form))
            continue
        lines = bullets if has_bullets and (not has_description or dice.chance(0.75)) else description
        lines.append(_line(draft, attribute.place, form, dice))
    fillers = cycle(dice.shuffled([*words["fillers"], *shared_words()["fillers"]]))
    talk = (_filled(line, draft, "") for line in fillers)
    return (
        _title(draft, titled, dice),
        _text(description, draw_number(words["description_words"], dice), talk) if has_description else "",
        _bullets(bullets, draw_number(words["bullets"], dice), talk, dice) if has_bullets else [""],
    )


def _form(attribute: Attribute, dice: Dice) -> str:
    """How a text says it: in its own words, and now and then with a hyphen."""
    plain = attribute.text == attribute.name
    return attribute.text.replace(" ", "-", 1) if plain and dice.chance(_HYPHENATED) else attribute.text


def _line(draft: Draft, place: Place, form: str, dice: Dice) -> str:
    """A sentence about an attribute."""
    key = f"{'for' if place == 'more' else place}_lines"
    return _filled(dice.one(shared_words()[key]), draft, form)


def _filled(line: str, draft: Draft, form: str) -> str:
    return line.format(noun=draft.noun.lower(), brand=draft.brand, it=form, It=form[:1].upper() + form[1:])


def _title(draft: Draft, titled: Sequence[tuple[Place, str]], dice: Dice) -> str:
    """Brand, what it is, what it has and is good for, and then search words up to the usual length."""
    parts = {place: [_capitals(form) for p, form in titled if p == place] for place in ("front", "with", "for", "more")}
    start = " ".join([draft.brand, draft.style, *parts["front"], draft.noun])
    if parts["with"]:
        start += " with " + ", ".join(parts["with"])
    if parts["for"]:
        start += " for " + " and ".join(parts["for"])
    title = ", ".join([start, *parts["more"]])
    length = draw_number(draft.kind.words["title_words"], dice)
    for keyword in dice.shuffled(draft.kind.words["keywords"]):
        if title.count(" ") + 1 >= length:
            break
        title += f", {keyword}" if dice.chance(0.6) else f" {keyword}"
    return title


def _capitals(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _text(lines: Sequence[str], length: int, talk: Iterator[str]) -> str:
    """The lines, and talk up to about so many words."""
    text = " ".join(lines)
    while text.count(" ") + 4 < length or not text:
        text = f"{text} {next(talk)}".strip()
    return text


def _bullets(lines: Sequence[str], n: int, talk: Iterator[str], dice: Dice) -> list[str]:
    """So many bullets with the lines dealt out among them, and talk around them."""
    headings = shared_words()["headings"]
    found = []
    for i in range(n):
        length = draw_number(_BULLET_WORDS, dice)
        has_text = length > 4 or lines[i::n]
        text = _text(lines[i::n], length, talk) if has_text else dice.one(headings).title()
        found.append(f"{dice.one(headings)}: {text}" if dice.chance(0.4) else text)
    return found


def _pricing(draft: Draft, dice: Dice) -> str:
    """As the shop writes it: a price, two of them one after the other, or nothing."""
    words = draft.kind.words
    kind = dice.below(1000) / 1000
    if kind < words["no_price"]:
        return ""
    single = f"${draft.price:,.2f}"
    if kind >= words["no_price"] + words["range_price"]:
        return single
    highest = draft.price * quantile(_RANGES, dice.below(1_000_000) / 1_000_000)
    return f"{single}${highest:,.2f}"


def _customization(draft: Draft, asin: str, dice: Dice) -> Json | str:
    """The options: a list of values for each, None for one without choice; "" for none at all."""
    table: Json = {}
    for name, values in draft.options.items():
        rows = []
        for i, value in enumerate(values):
            row: Json = {"is_selected": i == 0, "value": value}
            if name in _WITH_IMAGE:
                row |= {"url": None, "price_string": "", "price": 0, "image": f"{asin}-{name[0].lower()}{i + 1}.jpg"}
            else:
                row |= {"is_available": True, "asin": asin}
            rows.append(row)
        table[name] = rows
    if dice.chance(0.1):
        table.setdefault(dice.one(["Color", "Size"]), None)
    return table or ""


# Instructions


def _instruction(draft: Draft, dice: Dice) -> str:
    """What is asked for, without options and price: "Find me non slip men's boots with rubber sole for long walks"."""
    told = {place: [one.name for one in draft.wanted if one.place == place] for place in PLACES}
    parts = [dice.one(shared_words()["openings"]), ", ".join(told["front"]), draft.kind.query]
    parts += [f"with {', '.join(told['with'])}" if told["with"] else "", f"for {', '.join(told['for'])}"]
    return " ".join(part for part in parts[: 5 if told["for"] else 4] if part)


def _human(draft: Draft, asin: str, dice: Dice) -> Json:
    """The same wish in a person's words, for one choice of options."""
    wanted = draft.wanted[: 1 + dice.below(2)]
    chosen = {name: dice.one(values).lower() for name, values in draft.options.items()}
    text = (
        f"{dice.one(shared_words()['human_openings'])} {draft.noun.lower()}, {' and '.join(one.name for one in wanted)}"
    )
    text += "".join(f", in {name.lower()} {value}" for name, value in chosen.items())
    return {
        "asin": asin,
        "instruction": f"{text}.",
        "attributes": [one.name for one in (*draft.more, *draft.wanted)],
        "options": [f"{name.lower()}: {value}" for name, value in chosen.items()],
        "instruction_attributes": [one.name for one in wanted],
        "instruction_options": list(chosen.values()),
        "assignment_id": "",
        "worker_id": "",
    }
