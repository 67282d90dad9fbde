"""Recorded episodes on the site: played again, held against the record, and drawn turn by turn."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hiper.envs.webshop import WebshopEnv
from hiper.envs.webshop.site import App, Episode, Shop, SiteError, load_episodes
from hiper.envs.webshop.site.replay import BANDS
from hiper.records import Decision, Ending, FileError, Invalid, Trajectory, Turn, write_trajectories
from tests.envs.webshop_data import own_cache, small_folder
from tests.envs.webshop_site import Answer, Visitor, served

__all__ = ["own_cache"]

TOLD = "Your reply had no action block."
UNREADABLE = ("", "", Invalid.NO_ACTION_TAG)  # an action, a new subgoal, why the reply is invalid


def make(**settings: Any) -> WebshopEnv:
    return WebshopEnv(data=small_folder(), **{"split": "all", **settings})


def recorded(
    goal: int = 0, steps: Sequence[tuple[str, str, Invalid | None]] | None = None, seed: int = 3
) -> Trajectory:
    """An episode as the project's player records it: a search, a page that cannot be clicked, a purchase."""
    env = make(max_steps=60)
    observation, info = env.reset(seed=seed, options={"goal": goal})
    asin = env.goal.product.asin.lower()
    if steps is None:
        search = (f"search[{env.goal.product.title}]", "find it", None)
        wrong = ("click[buy now]", "", Invalid.NOT_ADMISSIBLE)
        steps = [search, UNREADABLE, wrong, (f"click[{asin}]", "look at it", None), ("click[Buy Now]", "", None)]
    turns: list[Turn] = []
    subgoal, over, reward = "", False, 0.0
    for action, new, invalid in steps:
        subgoal = new or subgoal
        turn = Turn(
            index=len(turns),
            observation=observation,
            context="the prompt",
            fresh_context=True,
            reply=f"<switch>{'SWITCH' if new else 'KEEP'}</switch><action>{action}</action>",
            decision=Decision.SWITCH if new else Decision.KEEP,
            subgoal=subgoal,
            action=action,
            invalid=invalid,
        )
        if invalid in {None, Invalid.NOT_ADMISSIBLE}:
            observation, reward, over, _, info = env.step(action)
            turn = replace(turn, reward=reward)
        else:
            observation = TOLD
        turns.append(turn)
    ending = Ending.TURN_LIMIT if not over else Ending.SUCCEEDED if info["won"] else Ending.FAILED
    return Trajectory(
        game=info["game"],
        task_type=info["task_type"],
        seed=seed,
        turns=tuple(turns),
        ending=ending,
        final_observation=observation,
        score=info["task_score"],
    )


def every_shop() -> Shop:
    return Shop(make(max_steps=1000))


def changed(played: Trajectory, index: int, **changes: Any) -> Trajectory:
    """The episode with one turn that says something else."""
    turns = list(played.turns)
    turns[index] = replace(turns[index], **changes)
    return replace(played, turns=tuple(turns))


@pytest.fixture(scope="module")
def pages() -> Iterator[Visitor]:
    played = recorded()
    shop = every_shop()
    stuck = recorded(1, [("search[<r>]", "find it", None)] * 60)
    odd = changed(played, 3, observation="Another page [SEP] <b>then</b>")
    lost = replace(played, game="B999999999/0")
    never = replace(played, turns=(), ending=Ending.CRASHED, final_observation="", score=0.0)
    episodes = [Episode(one, shop) for one in (played, stuck, odd, lost, never)]
    with served(App(Shop(make()), start="/replay", episodes=episodes, source="played.jsonl")) as site:
        yield Visitor(site)


def test_the_list(pages: Visitor) -> None:
    page = pages.get("/")
    assert "5 recorded episodes" in page.words
    assert make().games.at(0).text in page.words
    assert "turn limit" in page.words
    assert "differs: turn 3: the agent saw another page than the one here" in page.words
    assert page.words.count("differs:") == 2


def test_a_turn_beside_its_page(pages: Visitor) -> None:
    played = recorded()
    first = pages.get("/replay/0/0")
    assert first.observation == played.turns[0].observation
    assert all(said in first.words for said in ("Turn 0", "SWITCH", "find it", played.turns[0].action))
    assert '<form class="search done"' in first.body
    assert f'value="{played.turns[0].action[7:-1].lower()}"' in first.body.replace("&#39;", "'").replace("&amp;", "&")
    assert first.buttons == {}
    buy = pages.get("/replay/0/4")
    assert 'class="main buy done" disabled' in buy.body
    assert "KEEP" in buy.words
    assert f"reward {played.turns[4].reward:.3g}" in buy.words
    end = pages.get("/replay/0/5")
    assert f"{played.score:.3g} of 1" in end.words
    assert "The end" in end.words


def test_a_reply_that_could_not_be_read(pages: Visitor) -> None:
    """The shop stands still; the words the agent was told instead are no difference."""
    assert "Invalid reply: no action tag; the shop was sent nothing" in pages.get("/replay/0/1").words
    told = pages.get("/replay/0/2")
    assert f"Its last reply could not be read. It was told: {TOLD}" in told.words
    assert "Invalid reply: not admissible." in told.words
    assert "differs" not in told.words


def test_a_record_that_differs_is_said_to(pages: Visitor) -> None:
    assert "The record differs" not in pages.get("/replay/2/2").words
    page = pages.get("/replay/2/3")
    assert "The record differs: the agent saw another page than the one here." in page.words
    assert "Another page [SEP] <b>then</b>" in page.words
    lost = pages.get("/replay/3/0")
    assert "The record differs: no product 'B999999999' in the catalogue" in lost.words
    assert recorded().turns[0].observation in lost.words


def test_every_turn_can_be_reached(pages: Visitor) -> None:
    for turn in range(61):
        page: Answer = pages.get(f"/replay/1/{turn}")
        assert page.status == 200
        assert (f'href="/replay/1/{turn + 1}" accesskey="n"' in page.body) == (turn < 60)
        assert (f'href="/replay/1/{turn - 1}" accesskey="p"' in page.body) == (turn > 0)
        assert "differs" not in page.words
    assert pages.get("/replay/1/61").words.count("Episode 1 has no turn 61.") == 1
    assert "There is no episode 5: played.jsonl has 5, numbered from 0." in pages.get("/replay/5/0").words
    assert pages.ask("POST", "/replay/1/3", "command=0").status == 405


def test_an_episode_that_never_began(pages: Visitor) -> None:
    page = pages.get("/replay/4/0")
    assert "(never begun)" in page.words
    assert "crashed after 0 turns" in page.words
    assert "differs" not in page.words


def test_the_goal_of_an_episode_can_be_played(pages: Visitor) -> None:
    place = make().games.place(recorded(1).game)
    assert f'<a href="/goal/{place}">Play it yourself</a>' in pages.get("/replay/1/0").body
    assert "Play it yourself" not in pages.get("/replay/3/0").words


def test_the_goals_can_be_played_as_ever(pages: Visitor) -> None:
    pages.get("/goal/0")
    assert "1 of 50 steps" in pages.search("mug").words


@pytest.mark.parametrize("name", ["played.jsonl", "played.jsonl.zst"])
def test_a_file_of_episodes(name: str, tmp_path: Path) -> None:
    played = [recorded(number) for number in range(5)]
    played[0] = changed(played[0], 0, reply_ids=(1, 2), reply_logprobs=(0.0, 0.0), context_ids=(3,))
    write_trajectories(tmp_path / name, played)
    episodes = load_episodes(tmp_path / name, every_shop())
    assert [one.problem for one in episodes] == [""] * 5
    assert [one.wish for one in episodes] == [make().games.at(number).text for number in range(5)]
    assert episodes[0].trajectory.turns[0].reply == played[0].turns[0].reply
    assert episodes[0].trajectory.turns[0].reply_ids == ()


def test_the_colours_of_segments() -> None:
    steps = [("search[<r>]", "a" if number % 2 == 0 else "", None) for number in range(10)]
    found = Episode(recorded(0, steps), every_shop()).steps
    assert [step.band for step in found] == [number // 2 % BANDS for number in range(10)]
    assert [step.opens for step in found] == [True, False] * 5


@pytest.mark.parametrize(
    ("index", "changes", "problem"),
    [
        (4, {"reward": 0.123}, "turn 5: the agent was paid 0.123, here it is "),
        (0, {"action": "search[nothing of this kind]"}, "turn 1: the agent saw another page"),
        (3, {"action": "click[back to search]"}, "turn 4: the agent saw another page"),
    ],
)
def test_what_differs(index: int, changes: dict[str, Any], problem: str) -> None:
    episode = Episode(changed(recorded(), index, **changes), every_shop())
    assert episode.problem.startswith(problem)


def test_an_episode_that_is_over_earlier_here() -> None:
    played = recorded()
    more = replace(played.turns[4], index=5, observation=played.final_observation)
    longer = replace(played, turns=(*played.turns, more))
    assert Episode(longer, every_shop()).problem == "turn 6: the episode went on, but here it is over already"


def test_files_that_cannot_be_replayed(tmp_path: Path) -> None:
    file = tmp_path / "played.jsonl"
    shop = every_shop()
    with pytest.raises(FileNotFoundError):
        load_episodes(file, shop)
    write_trajectories(file, [])
    with pytest.raises(SiteError, match="no episodes in this file"):
        load_episodes(file, shop)
    write_trajectories(file, [recorded(), changed(recorded(), 0, observation="You are in a room.")])
    with pytest.raises(SiteError, match=r"played.jsonl: episode 1 is of another environment"):
        load_episodes(file, shop)
    write_trajectories(file, [replace(recorded(), game="valid_seen/pick_and_place/trial_1")])
    with pytest.raises(SiteError, match="its game is 'valid_seen/pick"):
        load_episodes(file, shop)
    file.write_text("{}\n", encoding="utf-8")
    with pytest.raises(FileError, match="schema is None"):
        load_episodes(file, shop)
