"""WebShop the slow, obvious way, as the original does it: a page is rendered to HTML and read back at every step.

It shares no code with `hiper.envs.webshop` but the stemming analyzer, and takes the goals from it. It stands for
the original (Python 3.8, Java) in the benchmark, and the tests compare the two step by step.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
import numpy as np

from hiper.envs.webshop import Goal
from hiper.envs.webshop.analyzer import terms
from hiper.envs.webshop.reward import COLOURS

Nouns = Callable[[str], list[str]]
Json = dict[str, Any]
_HEAD: Final = """<html><body>
<div>
{% if page == "start" %}<h2>WebShop</h2>{% endif %}
<h4>Instruction:<br>{{ goal.text }}</h4>
</div>
{% if page != "start" %}<button>Back to Search</button>{% endif %}
"""
_TEMPLATES: Final = {
    "start": _HEAD + '<form><input id="search_input"><button>Search</button></form></body></html>',
    "results": _HEAD
    + """
<h3>Page {{ number }} (Total results: {{ total }})</h3>
{% if number > 1 %}<button>&lt; Prev</button>{% endif %}
<button>Next &gt;</button>
{% for item in items %}
<div>
  <h4><a>{{ item.asin }}</a></h4>
  <h4>{{ item.name }}</h4>
  <h5>{{ item.tag }}</h5>
</div>
{% endfor %}</body></html>""",
    "item": _HEAD
    + """
<button>&lt; Prev</button>
{% for name, values in product.options.items() %}
<h4>{{ name }}</h4>
{% for value in values %}<label>{{ value }}</label>{% endfor %}
{% endfor %}
<h2>{{ product.name }}</h2>
<h4>Price: {{ product.tag }}</h4>
<h4>Rating: N.A.</h4>
<button>Description</button>
<button>Features</button>
<button>Reviews</button>
<button>Buy Now</button></body></html>""",
    "description": _HEAD + "<button>&lt; Prev</button><p>{{ product.full_description }}</p></body></html>",
    "features": _HEAD
    + "<button>&lt; Prev</button>{% for b in product.bullets %}<li> {{ b }} </li>{% endfor %}</body></html>",
    "reviews": _HEAD + "<button>&lt; Prev</button></body></html>",
    "done": """<html><body>
<h3>Thank you for shopping with us!</h3><p>Your code:</p><pre>None</pre><p>(Paste it in your MTurk interface.)</p>
<h4>Purchased</h4><p>asin</p><p>{{ product.asin }}</p><p>options</p><p>{{ options | tojson }}</p>
<p>attrs</p><p>None</p><p>category</p><p>None</p><p>query</p><p>None</p><p>product category</p><p>None</p>
<h4>Target</h4><p>asin</p><p>options</p><p>attrs</p><p>price upper</p><p>instuction text</p><p>category</p>
<p>product category</p><p>query</p><h4>Goal</h4><p>None</p><h4>Reward</h4>
<p>Your score (min 0.0, max 1.0)</p><pre>{{ score }}</pre><h4>Reward Details</h4><p>None</p></body></html>""",
}


class Seen(NamedTuple):
    """What a step shows."""

    observation: str
    clickables: list[str]
    has_search_bar: bool
    reward: float
    done: bool


class _Reader(HTMLParser):
    """The text nodes of a page, and which of them are buttons, links and options."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.marked: dict[str, list[str]] = defaultdict(list)
        self.has_search_bar = False
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes where the reader is."""
        self._inside = tag
        self.has_search_bar |= ("id", "search_input") in attrs

    def handle_endtag(self, tag: str) -> None:
        """Notes where the reader is."""
        self._inside = ""

    def handle_data(self, data: str) -> None:
        """Collects a text."""
        if data.strip() or "\n" not in data:
            self.texts.append(data.strip())
            self.marked[self._inside].append(data.strip())


class Twin:
    """One shop with one visitor, as with `compat="verl-agent"`. The page after a purchase has no buttons."""

    def __init__(self, folder: Path, prices: Callable[[str], float], nouns: Nouns) -> None:
        """folder: of the official files. prices: dollars by ASIN, as drawn."""
        (items,) = folder.glob("items_shuffle*.json")
        (about,) = folder.glob("items_ins_v2*.json")
        attributes = json.loads(about.read_text("utf-8"))
        self._products: dict[str, Json] = {}
        for row in json.loads(items.read_text("utf-8")):
            self._products.setdefault(row["asin"], _loaded(row, attributes[row["asin"]]))
        self._prices, self._nouns = prices, nouns
        self._index_all()
        self._goal: Goal

    def reset(self, goal: Goal) -> Seen:
        """The start page."""
        self._goal = goal
        self._state: Json = {"page": "start"}
        return self._show()

    def step(self, action: str) -> Seen:
        """Does an action."""
        match = re.match(r"(.+)\[(.+)\]", action)
        name, argument = (match[1], match[2].lower()) if match else ("", "")
        if name == "search":
            self._state = {"page": "results", "found": self._search(argument), "number": 1}
        elif name == "click" and argument in self._show().clickables:
            self._click(argument)
        return self._show()

    def _show(self) -> Seen:
        """The present page, rendered and read three times."""
        state = self._state
        product = self._products.get(state.get("asin", ""), {})
        score = self._score(product) if state["page"] == "done" else 0.0
        found = state.get("found", [])
        number = state.get("number", 1)
        template = jinja2.Environment(autoescape=True).from_string(_TEMPLATES[state["page"]])
        page = template.render(
            page=state["page"],
            goal=self._goal,
            number=number,
            total=len(found),
            items=[self._products[asin] for asin in found[10 * (number - 1) : 10 * number]],
            product=product,
            options=state.get("options", {}),
            score=score,
        )
        observation = " [SEP] ".join(_Reader(page).texts)
        marked = _Reader(page).marked
        clickables = [text.lower() for kind in ("button", "a", "label") for text in marked[kind]]
        has_search_bar = _Reader(page).has_search_bar
        return Seen(observation, list(dict.fromkeys(clickables)), has_search_bar, score, state["page"] == "done")

    def _click(self, target: str) -> None:
        """Goes where a button, link or option leads."""
        state = self._state
        page = state["page"]
        if target == "search":
            return
        if target == "back to search":
            self._state = {"page": "start"}
        elif target in {"next >", "< prev"} and page == "results":
            state["number"] += 1 if target == "next >" else -1
        elif page == "results":
            self._state = {**state, "page": "item", "asin": target.upper(), "options": {}}
        elif target == "< prev" and page == "item":
            self._state = {"page": "results", "found": state["found"], "number": state["number"]}
        elif target == "< prev":
            state["page"] = "item"
        elif target in {"description", "features", "reviews"}:
            state["page"] = target
        elif target == "buy now":
            state["page"] = "done"
        else:
            for name, values in self._products[state["asin"]]["options"].items():
                if target in values:
                    state["options"][name] = target

    def _index_all(self) -> None:
        """Notes which products have which term, and how often."""
        self._postings: dict[str, dict[str, int]] = defaultdict(dict)
        lengths = {}
        for asin, product in self._products.items():
            options = ", and ".join(f"{name}: {', '.join(values)}" for name, values in product["options"].items())
            first = product["bullets"][0] if product["bullets"] else ""
            text = f"{product['name']} {product['full_description']} {first} {options}".lower()
            counts = Counter(terms(text))
            lengths[asin] = sum(counts.values())
            for term, count in counts.items():
                self._postings[term][asin] = count
        f = np.float32
        average = f(sum(lengths.values()) / len(lengths))
        self._tempo = {
            asin: f(1) / (f(0.9) * ((f(1) - f(0.4)) + f(0.4) * f(_byte_length(length)) / average))
            for asin, length in lengths.items()
        }

    def _search(self, keywords: str) -> list[str]:
        """The ASINs found."""
        kind, _, rest = keywords.partition(" ")
        if kind in {"<c>", "<q>"}:
            key = {"<c>": "category", "<q>": "query"}[kind]
            wanted = rest.split(" ")[0] if kind == "<c>" else rest.strip()
            return [asin for asin, product in self._products.items() if product[key] == wanted]
        scores: dict[str, float] = defaultdict(float)
        for term, boost in Counter(terms(keywords)).items():
            having = self._postings.get(term, {})
            idf = np.float32(math.log(1 + (len(self._tempo) - len(having) + 0.5) / (len(having) + 0.5)))
            weight = np.float32(boost) * idf
            for asin, count in having.items():
                scores[asin] += float(weight - weight / (np.float32(1) + np.float32(count) * self._tempo[asin]))
        return sorted(scores, key=lambda asin: (-np.float32(scores[asin]), asin))[:50]

    def _score(self, product: Json) -> float:
        """The score of buying a product with the options chosen."""
        goal, wanted = self._goal, self._goal.product
        texts = [product["name"].lower(), " ".join(product["bullets"]).lower(), product["full_description"].lower()]
        met = 0
        for attribute in goal.attributes:
            listed = any(_ratio(attribute, other) > 85 for other in product["attributes"])
            met += listed or any(attribute in text for text in texts)
        for pair in goal.options:
            text = next((colour for colour in COLOURS if colour in pair), " ".join(pair))
            met += any(_ratio(text, _colour(value)) > 85 for value in self._state["options"].values())
        met += self._prices(product["asin"]) <= goal.price_upper
        score = met / (len(goal.attributes) + len(goal.options) + 1)
        goal_nouns, nouns = self._nouns(wanted.title), self._nouns(product["name"])
        title = len(set(goal_nouns) & set(nouns)) / len(goal_nouns) if goal_nouns else 0.2
        parts = [
            {part.strip() for part in c.split("›")} for c in (product["product_category"], wanted.product_category)
        ]
        same = product["query"] == wanted.query or len(parts[0] & parts[1]) >= 2
        factor = 1.0 if same or title > 0.2 else 0.5
        if title < 0.1:
            factor = 0.1
        return score * (0.0 if title == 0 else factor)


def _loaded(row: Json, about: Json) -> Json:
    """A product as the shop needs it."""
    bullets = row["small_description"]
    options = row["customization_options"] or {}
    prices = [float(re.sub(r"[^\d.]", "", part)) for part in (row["pricing"] or "$100.0").split("$")[1:]]
    return {
        **row,
        "bullets": bullets if isinstance(bullets, list) else [bullets] if bullets else [],
        "options": {
            name.lower(): [choice["value"].strip().replace("/", " | ").lower() for choice in choices]
            for name, choices in options.items()
            if choices is not None
        },
        "tag": f"${prices[0]}" if len(prices) == 1 else f"${prices[0]} to ${prices[1]}",
        "attributes": about.get("attributes", ["DUMMY_ATTR"]),
        "query": row["query"].lower().strip(),
    }


def _byte_length(length: int) -> int:
    """A length that fits in a byte: the largest of those below it."""
    codes: list[int] = list(range(24))
    codes += [24 + (i if i < 8 else (8 | i & 7) << (i >> 3) >> 1) for i in range(232)]
    return max(code for code in codes if code <= length)


def _colour(value: str) -> str:
    for colour in COLOURS:
        if colour in value:
            return colour
    return value


def _ratio(one: str, other: str) -> float:
    """How alike two texts are as sets of words, of 100, by the standard library."""
    a, b = (set(_plain(text).split()) for text in (one, other))
    if not a or not b:
        return 0.0
    common = " ".join(sorted(a & b))
    first, second = (f"{common} {' '.join(sorted(words))}".strip() for words in (a - b, b - a))

    def alike(x: str, y: str) -> float:
        return round(100 * difflib.SequenceMatcher(None, x, y).ratio()) if x and y else 0.0

    return max(alike(common, first), alike(common, second), alike(first, second))


def _plain(text: str) -> str:
    return re.sub(r"\W", " ", "".join(c for c in text if ord(c) < 128)).lower().strip()


def commands(seen: Seen) -> Sequence[str]:
    """What a step offers, as the environment writes it."""
    return [*(["search[<your query>]"] if seen.has_search_bar else []), *(f"click[{c}]" for c in seen.clickables)]
