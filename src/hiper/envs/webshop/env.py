"""WebShop as a Gymnasium environment: a shop of text, and an instruction that says what to buy in it.

Actions are `search[words]` and `click[something]`; observations are the visible text of a page, its pieces
joined by ` [SEP] `. The reward is the score of the purchase, between 0 and 1, and 0 before it; `info` always
holds:

- `admissible_commands`: list of str; `["search[<your query>]"]` on the start page, clicks elsewhere
- `won`: bool; bought, with a score of exactly 1
- `task_score`: float; the score of the purchase, 0 before it
- `task_type`: str, the category of the product that is wanted
- `game`: str, the name of the goal
- `reachable`: bool; whether the wanted product itself can score 1
- `score_parts`: dict; only after the purchase: where the score comes from (`reward.Score`)
- `expert_action`, `expert_decision`, `expert_subgoal`: only with `expert=True`: what the scripted expert would
  do now, whether it would KEEP its subgoal or SWITCH, and the subgoal it would act under
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Text

from hiper.envs.about import About
from hiper.envs.errors import UnknownName, nearest
from hiper.envs.webshop import pages
from hiper.envs.webshop.about import ABOUT, version
from hiper.envs.webshop.catalogue import Stock, open_catalogue
from hiper.envs.webshop.goals import Compat, open_goals
from hiper.envs.webshop.nouns import rule_nouns, spacy_nouns
from hiper.envs.webshop.renumber import RenumberedShop
from hiper.envs.webshop.reward import Goal, Nouns, score
from hiper.envs.webshop.session import Page, State, click, clickables, parse_action, search

if TYPE_CHECKING:
    from hiper.envs.webshop.expert import Expert

Info = dict[str, Any]  # Gymnasium's own type of `info`
Search = Literal["best", "varied", "quick", "trying"]
MAX_OBSERVATION: Final = 1_000_000  # characters
MAX_ACTION: Final = 16_384
QUERY: Final = "search[<your query>]"  # stands for any search
_OPTIONS: Final = ("game", "goal")


class _AnyText(Text):
    """Strings of any characters: a shop is full of ★."""

    def contains(self, x: Any) -> bool:
        """Whether x is a string that is not too long."""
        return isinstance(x, str) and self.min_length <= len(x) <= self.max_length


class WebshopEnv(gymnasium.Env[str, str]):
    """One purchase at a time. An episode ends as *terminated* at the purchase, as *truncated* after `max_steps`.

    An action that is none, or not possible now, changes nothing and counts as a step. Searching is possible on
    every page, though offered on the start page only.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi"]}  # type: ignore[misc]
    about: ClassVar[About] = ABOUT

    def __init__(
        self,
        data: str | Path | None = None,
        split: str = "test",
        compat: Compat | None = None,
        goal_seed: int = 0,
        human_goals: bool = False,
        nouns: Nouns | str = "rule",
        products: int = 3000,
        catalogue_seed: int = 0,
        max_steps: int = 50,
        expert: bool = False,
        expert_search: Search = "best",
        renumber: bool = False,
        render_mode: str | None = None,
    ) -> None:
        """data: folder of the official files; None for a catalogue of `products` made from `catalogue_seed`.

        compat: None, or the program whose goal order, splits and quirks to keep: see docs/webshop.md. goal_seed: draws
        price bounds and the order of the goals. human_goals: instructions written by people. nouns: how the score finds
        the nouns of a title: `rule`, `spacy` or a function. expert: put the expert's advice into info; expert_search:
        "best" or "varied", see `expert.Expert`; "quick" or "trying", see `quick`. renumber: at every reset call
        products and options by other names, by the seed: see `renumber`; half of these episodes show pages as the
        original does, where what is chosen has to be kept in mind. render_mode: None or `ansi`.
        Raises ValueError for a bad setting, DataError or UnknownName for data that is not there.
        """
        if type(max_steps) is not int or max_steps < 1:
            raise ValueError(f"max_steps must be a whole number of at least 1, not {max_steps!r}")
        if render_mode not in {None, "ansi"}:
            raise ValueError(f"render_mode must be None or 'ansi', not {render_mode!r}")
        if renumber and human_goals:
            raise ValueError(
                "renumber goes with synthetic goals only: what people wrote names options in words of their own"
            )
        self.observation_space = _AnyText(min_length=1, max_length=MAX_OBSERVATION)
        self.action_space = _AnyText(min_length=0, max_length=MAX_ACTION)
        self.render_mode = render_mode
        self.max_steps = max_steps
        self.catalogue = open_catalogue(data, seed=catalogue_seed, products=products)
        self.games = open_goals(self.catalogue, split, seed=goal_seed, human=human_goals, compat=compat)
        self._names = self.games.names_to_draw() if renumber else None
        self._stock: Stock = self.catalogue
        self._compat = compat
        self._is_official = compat is not None
        self._nouns = _noun_finder(nouns)
        self._expert = _make_expert(expert_search) if expert else None
        self._goal: Goal | None = None
        self._state = State()
        self._targets: list[str] = []
        self._observation = ""
        self._result: Info = {}
        self._steps = 0
        self._over = True

    @property
    def version(self) -> str:
        """Rules and data in one string, for reports."""
        return version(self.catalogue, self._compat)

    @property
    def data_sha256(self) -> str:
        """Hash of the files of the catalogue."""
        return self.catalogue.sha256

    @property
    def goal(self) -> Goal:
        """What is to be bought now."""
        if self._goal is None:
            raise ResetNeeded("no episode was begun: call reset() first")
        return self._goal

    @property
    def compat(self) -> Compat | None:
        """The program whose quirks are kept; None: they are mended."""
        return self._compat

    @property
    def state(self) -> State:
        """Where the visitor is. An action that does nothing leaves the very same object."""
        return self._state

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, Info]:
        """Starts with a goal: `options={"goal": index}`, a place in the order of the split, or
        `options={"game": name}`, or without either one chosen uniformly by the seed.

        Raises UnknownName where there is no such goal or option.
        """
        super().reset(seed=seed)
        self._goal = self._chosen(options or {})
        if self._names is not None:
            self._stock = shop = RenumberedShop(self.catalogue, self._names, int(self.np_random.integers(2**63)))
            self._goal = self.games.renumbered(self._goal.name, shop)
            self._is_official = self._compat is not None or bool(self.np_random.integers(2))
        self._steps = 0
        self._over = False
        self._result = {"won": False, "task_score": 0.0}
        self._go(State())
        info = self._info()
        if self._expert is not None:
            self._expert.reset(self._observation, info["admissible_commands"], seed=seed)
        return self._observation, self._advised(info)

    def step(self, action: str) -> tuple[str, float, bool, bool, Info]:
        """Does one action.

        Raises ResetNeeded before the first reset and after the end of an episode, TypeError for a non-string.
        """
        if self._over:
            raise ResetNeeded("the episode is over (or none was begun): call reset() before step()")
        if not isinstance(action, str):
            raise TypeError(f"an action must be a str, not {type(action).__name__}")
        self._steps += 1
        state = self._after(action)
        reward = 0.0
        if state.page is Page.DONE:
            reward = self._buy(state)
        if state is not self._state:
            self._go(state)
        terminated = state.page is Page.DONE
        truncated = not terminated and self._steps >= self.max_steps
        self._over = terminated or truncated
        info = self._info()
        if self._expert is not None:
            self._expert.observe(action, self._observation, info["admissible_commands"])
        return self._observation, reward, terminated, truncated, self._advised(info)

    def admits(self, action: str) -> bool:
        """Whether an action leads somewhere now: a search on any page, or a click on what is there, in any case.

        So more than `admissible_commands` lists. With `compat` also the clicks that it lists though they do nothing.
        """
        parsed = parse_action(action, self._is_official)
        return parsed is not None and (parsed[0] == "search" or parsed[1] in self._targets)

    def render(self) -> str | None:
        """The last observation with `render_mode="ansi"`, else None."""
        return self._observation if self.render_mode == "ansi" else None

    def _after(self, action: str) -> State:
        """The state that an action leads to; the very same object where it leads nowhere."""
        parsed = parse_action(action, self._is_official)
        if parsed is None:
            return self._state
        verb, argument = parsed
        if verb == "search":
            return search(self._stock, argument, self.np_random)
        return click(self._stock, self._state, argument) if argument in self._targets else self._state

    def _go(self, state: State) -> None:
        """Shows another page."""
        self._state = state
        self._targets = clickables(self._stock, state, self._is_official)
        bought = self._result["task_score"]
        self._observation = pages.text(self._stock, state, self.goal.text, bought, self._is_official)

    def _buy(self, state: State) -> float:
        """Scores the purchase of the product that is looked at."""
        product = self._stock.product(state.product)
        price = float(self.games.all.prices[state.product])
        found = score(self.goal, product, state.options, price, self._nouns)
        self._result = {"won": found.total == 1.0, "task_score": found.total, "score_parts": asdict(found)}
        return found.total

    def _chosen(self, options: Mapping[str, Any]) -> Goal:
        """The goal to play."""
        for key in options:
            if key not in _OPTIONS:
                raise UnknownName(f"unknown reset option {key!r}; known: 'game', 'goal'{nearest(key, _OPTIONS)}")
        if "game" in options and "goal" in options:
            raise ValueError("give either options['game'] or options['goal'], not both")
        if "game" in options:
            return self.games.game(str(options["game"]))
        index = options.get("goal", None)
        if index is None:
            index = self.np_random.integers(len(self.games))
        if not isinstance(index, int | np.integer) or isinstance(index, bool):
            raise TypeError(f"options['goal'] must be an int, not {index!r}; a goal's name goes into options['game']")
        return self.games.at(int(index))

    def _info(self) -> Info:
        """The info of the present state. The list is the caller's own."""
        page, goal = self._state.page, self.goal
        commands = [f"click[{target}]" for target in self._targets]
        if page is Page.DONE and self._compat == "verl-agent":
            commands = [QUERY, "click[search]"]  # it shows the next episode's already
        elif page is Page.START:
            commands.insert(0, QUERY)
        fixed = {"task_type": goal.product.category, "game": goal.name, "reachable": goal.reachable}
        return {"admissible_commands": commands, **self._result, **fixed}

    def _advised(self, info: Info) -> Info:
        """Adds the expert's advice, if it is asked for."""
        if self._expert is not None:
            advice = self._expert.advise()
            info["expert_action"] = advice.action
            info["expert_decision"] = advice.decision
            info["expert_subgoal"] = advice.subgoal
        return info


def _noun_finder(nouns: Nouns | str) -> Nouns:
    """The function that finds nouns."""
    if not isinstance(nouns, str):
        return nouns
    if nouns not in {"rule", "spacy"}:
        raise ValueError(f"nouns must be 'rule', 'spacy' or a function, not {nouns!r}")
    return rule_nouns if nouns == "rule" else spacy_nouns()


def _make_expert(search: Search) -> Expert:
    """The scripted expert. Loaded only when asked for. Raises ValueError for an unknown search."""
    from hiper.envs.webshop.expert import Expert
    from hiper.envs.webshop.quick import QuickExpert, TryingExpert

    if search not in get_args(Search):
        raise ValueError(f"search must be one of {', '.join(get_args(Search))}; not {search!r}")
    if search == "quick":
        return QuickExpert()
    if search == "trying":
        return TryingExpert()
    return Expert(varied=search == "varied")
