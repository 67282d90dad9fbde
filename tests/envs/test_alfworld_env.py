"""The Gymnasium face of ALFWorld."""

import importlib
import math
import re
import warnings
from pathlib import Path

import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env

from hiper.envs import MissingExtra, check_env, make
from hiper.envs.alfworld.engine import NOTHING_HAPPENS
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.envs.alfworld.game import Goal
from hiper.envs.alfworld.ladder import ladder
from hiper.envs.errors import DataError, DataNotFound, UnknownName
from tests.envs.official_data import official_data
from tests.envs.official_files import game_file, write_tree
from tests.envs.small_games import ListGames, home, several

WIN = ["go to desk 1", "take pen 1 from desk 1", "open drawer 1", "move pen 1 to drawer 1"]


def one_game(**settings: object) -> AlfworldEnv:
    return AlfworldEnv(ListGames([home()]), **settings)  # type: ignore[arg-type]


def test_it_keeps_our_contract() -> None:
    for env in (one_game(), AlfworldEnv(several(), renumber=True), AlfworldEnv(several(), max_steps=1)):
        check_env(env)


def test_it_keeps_gymnasiums_contract() -> None:
    with warnings.catch_warnings():
        # The checker reminds of environments that are not made through gymnasium.make.
        warnings.filterwarnings("ignore", message=".*env.spec.*|.*not within the observation space.*")
        gymnasium_check_env(AlfworldEnv(several()), skip_render_check=True)


def test_an_episode_from_start_to_success() -> None:
    env = one_game()
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert observation.endswith("\n\nYour task is to: put a pen in drawer.")
    assert set(info) == {"admissible_commands", "won", "task_type", "game"}
    assert (info["task_type"], info["game"]) == ("pick_and_place_simple", "made/place/home")
    for command in WIN:
        assert command in info["admissible_commands"]
        assert env.action_space.contains(command)
        observation, reward, terminated, truncated, info = env.step(command)
        assert (reward, terminated, truncated) == (float(info["won"]), info["won"], False)
    assert info["won"]
    assert observation == "You move the pen 1 to the drawer 1."


def test_every_command_counts_toward_the_limit() -> None:
    env = one_game(max_steps=3)
    env.reset()
    for command, over in [("look", False), ("dance", False), ("", True)]:
        observation, reward, terminated, truncated, _ = env.step(command)
        assert (reward, terminated, truncated) == (0.0, False, over)
    assert observation == NOTHING_HAPPENS


def test_a_win_at_the_last_step_is_no_truncation() -> None:
    env = one_game(max_steps=len(WIN))
    env.reset()
    *_, (_, reward, terminated, truncated, _) = [env.step(command) for command in WIN]
    assert (reward, terminated, truncated) == (1.0, True, False)


@pytest.mark.parametrize("commands", [[], WIN, ["look"] * 50])
def test_a_step_outside_an_episode_is_an_error(commands: list[str]) -> None:
    env = one_game()
    if commands:
        env.reset()
        for command in commands:
            env.step(command)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step("look")
    env.reset()
    env.step("look")


def test_only_text_is_a_command() -> None:
    env = one_game()
    env.reset()
    with pytest.raises(TypeError, match="must be a str, not int"):
        env.step(3)  # type: ignore[arg-type]


def test_the_list_of_commands_is_the_callers_own() -> None:
    env = one_game()
    _, info = env.reset()
    info["admissible_commands"].clear()
    assert env.step("look")[4]["admissible_commands"]


def test_seeds_choose_the_game() -> None:
    def chosen(seed: int) -> list[str]:
        env = AlfworldEnv(several())
        return [env.reset(seed=seed)[1]["game"], *[env.reset()[1]["game"] for _ in range(5)]]

    assert chosen(3) == chosen(3)
    assert len({tuple(chosen(seed)) for seed in range(5)}) == 5


def test_a_game_can_be_asked_for() -> None:
    env = AlfworldEnv(several())
    for name in env.games.names():
        assert env.reset(options={"game": name})[1]["game"] == name
    with pytest.raises(UnknownName, match="unknown game 'made/nothing'"):
        env.reset(options={"game": "made/nothing"})
    with pytest.raises(UnknownName, match="unknown reset option 'gme'; known: 'game'; did you mean 'game'"):
        env.reset(options={"gme": "x"})


def test_renumbering_follows_the_seed() -> None:
    env = AlfworldEnv(several(1), renumber=True)
    plain = AlfworldEnv(several(1)).reset(seed=0)[0]

    def shown(seed: int) -> tuple[str, str]:
        return env.reset(seed=seed)[0], env.step("go to desk 1")[0]

    assert shown(1) == shown(1)
    assert len({shown(seed) for seed in range(10)}) > 1
    assert sorted(env.reset(seed=5)[0]) == sorted(plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_steps": 0}, "max_steps must be a whole number of at least 1, not 0"),
        ({"max_steps": 2.5}, "max_steps must be a whole number of at least 1, not 2.5"),
        ({"max_steps": math.nan}, "max_steps must be a whole number of at least 1, not nan"),
        ({"engine": "fast"}, "engine must be one of native, textworld, not 'fast'"),
        ({"engine": "textworld", "renumber": True}, "renumber=True needs engine='native'"),
        ({"size": "small"}, "are settings of generated games; data names others: "),
        ({"chain": 2}, "are settings of generated games; data names others: "),
        ({"render_mode": "human"}, "render_mode must be None or 'ansi', not 'human'"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        one_game(**settings)


def test_rendering_shows_the_last_observation() -> None:
    assert one_game().render() is None
    env = one_game(render_mode="ansi")
    assert env.reset()[0] == env.render()
    assert env.step("look")[0] == env.render()


def test_it_says_what_it_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path / "cache"))
    name = "train/pick_clean_then_place_in_recep-Mug-None-Desk-1/trial_1"
    env = make("alfworld", data=write_tree(tmp_path, {name: game_file()}), split="train")
    assert isinstance(env, AlfworldEnv)
    assert env.version == "alfworld-0.4.2/native/json_2.1.1"
    assert re.fullmatch("[0-9a-f]{64}", env.data_sha256)
    assert env.reset()[1]["game"] == name
    with pytest.raises(DataNotFound, match="no such file or folder"):
        make("alfworld", data=tmp_path / "nowhere")


def test_without_data_it_plays_generated_games() -> None:
    env = make("alfworld", split="train")
    check_env(env)
    assert isinstance(env, AlfworldEnv)
    other = make("alfworld", split="train")
    assert isinstance(other, AlfworldEnv)
    assert other.games is env.games  # shared, like all that is known about a game
    ladder = make("alfworld", split="train", size="small", chain=2)
    assert ladder.reset(seed=0)[1]["task_type"] == "chain_2"


def test_the_expert_advises_only_when_asked_for() -> None:
    env = make("alfworld", split="train", expert=True)
    _, info = env.reset(seed=1)
    won = False
    for _ in range(50):
        assert info["expert_action"] in info["admissible_commands"]
        *_, won, truncated, info = env.step(info["expert_action"])
        if won or truncated:
            break
    assert won


def test_the_official_engine_plays_official_games_only() -> None:
    env = one_game(engine="textworld")
    with pytest.raises(DataError, match="official games only"):
        env.reset()


def test_a_missing_official_engine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path / "cache"))
    module = importlib.import_module("hiper.envs.alfworld.textworld")

    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(module, "import_module", missing)
    name = "train/pick_clean_then_place_in_recep-Mug-None-Desk-1/trial_1"
    env = AlfworldEnv(write_tree(tmp_path, {name: game_file()}), "train", engine="textworld")
    with pytest.raises(MissingExtra, match=re.escape("pip install 'hiper[alfworld]'")):
        env.reset()


def test_the_official_engine_agrees() -> None:
    pytest.importorskip("alfworld", reason="the official engine (pip install 'hiper[alfworld]') is not installed")
    official = AlfworldEnv(official_data(), engine="textworld")
    native = AlfworldEnv(official_data())
    assert official.reset(seed=0) == native.reset(seed=0)
    for command in native.games.game(native.reset(seed=0)[1]["game"]).walkthrough:
        assert official.step(command) == native.step(command)


def test_a_chain_may_pay_stage_by_stage() -> None:
    paid: dict[bool, list[float]] = {}
    for pay_stages in (False, True):
        env = make("alfworld", size="tiny", room="kitchen", chain=4, pay_stages=pay_stages, expert=True, max_steps=99)
        _, info = env.reset(seed=1)
        rewards, over = [], False
        while not over:
            _, reward, terminated, truncated, info = env.step(info["expert_action"])
            rewards.append(float(reward))
            over = terminated or truncated
            if pay_stages:
                assert info["task_score"] == pytest.approx(sum(rewards))
        assert info["won"]
        paid[pay_stages] = [reward for reward in rewards if reward]
    assert paid[False] == [1.0]
    assert paid[True] == pytest.approx([0.25] * 4)


def situation_after(env: AlfworldEnv, *commands: str) -> object:
    env.reset(seed=0)
    for command in commands:
        observation, *_ = env.step(command)
        assert observation != NOTHING_HAPPENS, command
    return env.situation()


def test_situations_differ_in_what_counts_for_the_goal_and_in_nothing_else() -> None:
    env = AlfworldEnv(ListGames([home(Goal("clean", "mug", "cabinet"))]))
    counter = situation_after(env, "go to countertop 1")
    assert counter == situation_after(env, "go to fridge 1", "open fridge 1", "go to countertop 1", "look")
    assert counter == situation_after(  # where the knife lies makes no odds
        env, "go to countertop 1", "take knife 1 from countertop 1", "go to sinkbasin 1", "move knife 1 to sinkbasin 1",
        "go to countertop 1",
    )  # fmt: skip
    assert counter != situation_after(env)  # the player is elsewhere
    take = ("go to countertop 1", "take mug 2 from countertop 1", "go to sinkbasin 1")
    dirty = situation_after(env, *take)
    clean = situation_after(env, *take, "clean mug 2 with sinkbasin 1")
    assert dirty != clean  # of which neither place nor commands tell
    assert dirty != situation_after(env, "go to sinkbasin 1")
    assert situation_after(env, *take, "move mug 2 to sinkbasin 1") != situation_after(env, "go to sinkbasin 1")


def test_situations_of_a_chain_tell_its_stages_apart() -> None:
    stages = (Goal("place", "pen", "drawer"), Goal("place", "mug", "sinkbasin"))
    env = AlfworldEnv(ListGames([ladder(home(), stages, "Your task is to: do both.")]))
    before = situation_after(env, *WIN[:-1])
    first_done = situation_after(env, *WIN)
    assert first_done != before
    # The pen is back in the hand, where it was before, but the first task is done for good.
    assert situation_after(env, *WIN, "take pen 1 from drawer 1") != before
    # A thing of a task to come counts already.
    home_again = situation_after(env, "go to countertop 1", "take mug 2 from countertop 1")
    assert home_again != situation_after(env, "go to countertop 1")


def test_before_the_first_reset_there_is_no_situation() -> None:
    env = one_game()
    assert env.situation() is None
    env.reset()
    assert env.situation() is not None
