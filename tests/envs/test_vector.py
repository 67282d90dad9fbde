"""Many environments in one process: the same results however many there are and however they are spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv

from hiper.envs import make_vec
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.envs.vector import TextVectorEnv
from tests.envs.small_games import ListGames, several

GAMES = several(9)
Trace = list[list[tuple[Any, ...]]]


def vector(num_envs: int, first_index: int = 0, **settings: Any) -> TextVectorEnv:
    mode = settings.pop("autoreset_mode", AutoresetMode.NEXT_STEP)
    return TextVectorEnv([lambda: AlfworldEnv(GAMES, **settings)] * num_envs, mode, first_index)


def commands_of(infos: dict[str, Any], turn: int) -> list[str]:
    """An admissible command for each environment, depending on its own state only."""
    return [listed[(7 * turn) % len(listed)] for listed in infos["admissible_commands"]]


def play(envs: TextVectorEnv, seed: int, turns: int = 40) -> Trace:
    """Per environment all that it showed."""
    observations, infos = envs.reset(seed=seed)
    traces: Trace = [[(observations[i], infos["game"][i])] for i in range(envs.num_envs)]
    for turn in range(turns):
        observations, rewards, terminated, truncated, infos = envs.step(commands_of(infos, turn))
        for i, trace in enumerate(traces):
            shown = (
                observations[i],
                rewards[i],
                terminated[i],
                truncated[i],
                infos["game"][i],
                infos["won"][i],
            )
            trace.append(shown)
    return traces


@pytest.mark.parametrize("renumber", [False, True])
def test_results_depend_on_seed_and_index_alone(renumber: bool) -> None:
    settings: dict[str, Any] = {"max_steps": 7, "renumber": renumber}
    whole = play(vector(12, **settings), seed=5)
    assert play(vector(12, **settings), seed=5) == whole
    assert play(vector(3, **settings), seed=5) == whole[:3]
    spread = [play(vector(4, first_index=start, **settings), seed=5) for start in (0, 4, 8)]
    assert [trace for part in spread for trace in part] == whole
    assert play(vector(12, **settings), seed=6) != whole


def test_a_vector_is_its_environments_one_by_one() -> None:
    for i, trace in enumerate(play(vector(5, max_steps=1000), seed=3, turns=10)):
        env = AlfworldEnv(GAMES, max_steps=1000)
        observation, info = env.reset(seed=3 + i)
        assert trace[0] == (observation, info["game"])
        for turn, shown in enumerate(trace[1:]):
            listed = info["admissible_commands"]
            observation, reward, terminated, truncated, info = env.step(listed[(7 * turn) % len(listed)])
            assert shown == (observation, reward, terminated, truncated, info["game"], info["won"])


def test_environments_play_different_games() -> None:
    assert len(set(vector(64).reset(seed=0)[1]["game"])) > 5


def test_five_hundred_environments_in_one_process() -> None:
    envs = vector(512, max_steps=10)
    observations, infos = envs.reset(seed=0)
    assert len(observations) == 512
    for turn in range(12):
        observations, rewards, terminated, truncated, infos = envs.step(commands_of(infos, turn))
        assert len(observations) == len(infos["game"]) == 512
        assert rewards.shape == terminated.shape == truncated.shape == (512,)
    assert vector(512).envs[0].get_wrapper_attr("games") is GAMES


def test_it_has_the_form_of_gymnasiums_vectors() -> None:
    envs = vector(3)
    assert isinstance(envs, VectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    observations, infos = envs.reset(seed=1)
    assert observations in envs.observation_space
    assert all(observation in envs.single_observation_space for observation in observations)
    assert infos["won"].dtype == np.bool_
    assert infos["admissible_commands"].dtype == object
    assert infos["_won"].tolist() == [True] * 3
    assert ("look",) * 3 in envs.action_space
    _, rewards, terminated, truncated, _ = envs.step(["look"] * 3)
    assert (rewards.dtype, terminated.dtype, truncated.dtype) == (np.float64, np.bool_, np.bool_)
    assert envs.get_attr("max_steps") == (50, 50, 50)
    assert envs.call("render") == envs.render() == (None, None, None)
    envs.close()


def test_the_step_after_an_ending_resets() -> None:
    envs = vector(2, max_steps=2)
    envs.reset(seed=0)
    envs.step(["look", "look"])
    *_, truncated, infos = envs.step(["look", "look"])
    assert truncated.all()
    observations, rewards, _, truncated, infos = envs.step(["ignored", "ignored"])
    assert not truncated.any()
    assert rewards.tolist() == [0.0, 0.0]
    assert all(observation.startswith("-= Welcome") for observation in observations)
    assert set(infos) == {key for name in infos if name[0] != "_" for key in (name, f"_{name}")}


def test_a_reset_in_the_same_step_keeps_what_was_last_seen() -> None:
    envs = vector(2, max_steps=1, autoreset_mode="SameStep")
    envs.reset(seed=0)
    observations, *_, truncated, infos = envs.step(["look", "inventory"])
    assert truncated.all()
    assert all(observation.startswith("-= Welcome") for observation in observations)
    assert infos["final_obs"][1] == "You are not carrying anything."
    assert infos["final_info"]["won"].tolist() == [False, False]


def test_without_autoreset_the_mask_says_which_to_reset() -> None:
    envs = vector(3, max_steps=2, autoreset_mode="Disabled")
    envs.reset(seed=0)
    envs.step(["look"] * 3)
    before, *_ = envs.step(["inventory"] * 3)
    with pytest.raises(ResetNeeded):
        envs.step(["look"] * 3)
    mask = np.array([True, False, True])
    observations, infos = envs.reset(options={"reset_mask": mask})
    assert infos["_game"].tolist() == mask.tolist()
    assert infos["game"][1] is None
    assert observations[1] == before[1]
    assert observations[0].startswith("-= Welcome")


def test_options_given_as_lists_go_one_to_each() -> None:
    envs = vector(3)
    names = list(GAMES.names()[2:5])
    assert envs.reset(options={"game": names})[1]["game"].tolist() == names
    assert envs.reset(options={"game": np.array(names)})[1]["game"].tolist() == names
    assert envs.reset(options={"game": names[0]})[1]["game"].tolist() == names[:1] * 3
    seeded = envs.reset(seed=[1, 2, 1])[0]
    assert seeded[0] == seeded[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1, 2]}, "seed has 2 entries for 3"),
        ({"options": {"game": ["x"]}}, "game has 1 entries for 3"),
        ({"options": {"reset_mask": np.array([True])}}, "reset_mask has 1 entries for 3"),
    ],
)
def test_wrong_lengths_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vector(3).reset(**arguments)


def test_wrong_numbers_are_refused() -> None:
    envs = vector(2)
    envs.reset()
    actions: Sequence[str] = ["look"]
    with pytest.raises(ValueError, match="1 actions for 2 environments"):
        envs.step(actions)
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        vector(0)


def test_vectors_are_made_by_name() -> None:
    envs = make_vec("alfworld", num_envs=2, data=ListGames([GAMES.game(GAMES.names()[0])]), max_steps=4)
    assert envs.num_envs == 2
    assert envs.get_attr("max_steps") == (4, 4)
    assert envs.reset(seed=0)[1]["game"].tolist() == [GAMES.names()[0]] * 2
