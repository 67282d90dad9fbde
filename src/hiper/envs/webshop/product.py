"""A product, and how one is read from the official files' rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hiper.envs.errors import DataError

Row = Mapping[str, Any]  # an object of a JSON file
NO_PRICE: Final = 100.0  # what a product without a price costs
NO_ATTRIBUTE: Final = "DUMMY_ATTR"  # stands where a product has no list of attributes
MAX_ASIN: Final = 10
_NOT_A_NUMBER: Final = re.compile(r"[^\d.]")


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanGoal:
    """An instruction that a person wrote for a product. options: the values asked for, without their names."""

    instruction: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product as the shop shows it.

    options: values to choose from by the name of the option, all lower-case. prices: dollars; one, or more for
    a range. instruction: the synthetic goal's sentence, None where there is none; wanted: its attributes.
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    prices: tuple[float, ...]
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    query: str
    category: str
    product_category: str
    instruction: str | None
    wanted: tuple[str, ...]
    human_goals: tuple[HumanGoal, ...] = ()

    @property
    def price_tag(self) -> str:
        """The price as it is shown."""
        return f"${self.prices[0]}" if len(self.prices) == 1 else f"${self.prices[0]} to ${self.prices[1]}"

    def searched_text(self) -> str:
        """What search looks at: title, description, first bullet and options."""
        options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in self.options.items())
        first = self.bullets[0] if self.bullets else ""
        return f"{self.title} {self.description} {first} {options}".lower()


def to_bytes(product: Product) -> bytes:
    """The product as one stretch of bytes."""
    return json.dumps(asdict(product), separators=(",", ":")).encode("ascii")


def from_bytes(content: bytes) -> Product:
    """The product of these bytes."""
    row = json.loads(content)
    row["options"] = {name: tuple(values) for name, values in row["options"].items()}
    row["human_goals"] = tuple(
        HumanGoal(instruction=goal["instruction"], attributes=tuple(goal["attributes"]), options=tuple(goal["options"]))
        for goal in row["human_goals"]
    )
    for name in ("bullets", "prices", "attributes", "wanted"):
        row[name] = tuple(row[name])
    return Product(**row)


def parse_product(row: Row, about: Row, human: list[Row], where: str) -> Product:
    """The product of a row of the product file.

    about: its entry in the attribute file. human: its entries in the file of human instructions. where: the
    row's place, for messages. Raises DataError where something is missing or of the wrong kind.
    """
    bullets = row.get("small_description") or []
    wanted = _texts(about, "instruction_attributes", where) if "instruction" in about else []
    if "instruction" in about and not wanted:
        raise DataError(f"{where}: an 'instruction' needs at least one of 'instruction_attributes'")
    return Product(
        asin=_text(row, "asin", where),
        title=_text(row, "name", where),
        description=_text(row, "full_description", where),
        bullets=tuple(_texts({"small_description": bullets}, "small_description", where)),
        prices=_prices(row.get("pricing"), where),
        options=_options(row.get("customization_options"), where),
        attributes=tuple(_texts(about, "attributes", where)) if "attributes" in about else (NO_ATTRIBUTE,),
        query=_text(row, "query", where).lower().strip(),
        category=_text(row, "category", where),
        product_category=_text(row, "product_category", where),
        instruction=_text(about, "instruction", where) if "instruction" in about else None,
        wanted=tuple(wanted),
        human_goals=tuple(_human_goal(goal, where) for goal in human),
    )


def _text(row: Row, key: str, where: str) -> str:
    """A string of a row."""
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where}: {key!r} must be a string, not {_kind(row, key)}")
    return value


def _texts(row: Row, key: str, where: str) -> list[str]:
    """A list of strings of a row; a string alone is a list of one."""
    value = row.get(key)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{where}: {key!r} must be a list of strings, not {_kind(row, key)}")
    return value


def _kind(row: Row, key: str) -> str:
    """What a row has under a key, for messages."""
    return f"{json.dumps(row[key])[:40]}" if key in row else "absent"


def _prices(text: object, where: str) -> tuple[float, ...]:
    """One price, or the two ends of a range, in dollars. `$1,299.00$1,500.00` is a range."""
    if not text:
        return (NO_PRICE,)
    try:
        prices = tuple(float(_NOT_A_NUMBER.sub("", part)) for part in str(text).split("$")[1:])
    except ValueError:
        prices = ()
    if not prices:
        raise DataError(f"{where}: 'pricing' must be empty or read like '$19.99' or '$19.99$27.99', not {text!r}")
    return prices[:2]


def _options(given: object, where: str) -> dict[str, tuple[str, ...]]:
    """Option values by option name."""
    if not given:
        return {}
    if not isinstance(given, Mapping):
        raise DataError(f"{where}: 'customization_options' must be an object or empty, not {str(given)[:40]!r}")
    options: dict[str, tuple[str, ...]] = {}
    for name, choices in given.items():
        if choices is None:
            continue
        place = f"{where}, option {name!r}"
        if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
            raise DataError(f"{place}: must be a list of objects with a 'value'")
        values = [_text(choice, "value", place) for choice in choices]
        options[str(name).lower()] = tuple(value.strip().replace("/", " | ").lower() for value in values)
    return options


def _human_goal(row: Row, where: str) -> HumanGoal:
    """An entry of the file of human instructions."""
    return HumanGoal(
        instruction=_text(row, "instruction", where),
        attributes=tuple(_texts(row, "instruction_attributes", where)),
        options=tuple(_texts(row, "instruction_options", where)),
    )
