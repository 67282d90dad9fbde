"""Environments by name, and the checker that says whether one keeps the contract."""

from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import gymnasium
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete, Text

import hiper
from hiper.envs import (
    About,
    CheckFailed,
    EnvError,
    UnknownName,
    about,
    check_env,
    make,
    make_vec,
    names,
    register,
    registry,
)


class Counting(gymnasium.Env[str, str]):
    """Says how often it was stepped; over after `limit`. The smallest environment that keeps the contract."""

    observation_space: gymnasium.Space[str] = Text(100)
    action_space: gymnasium.Space[str] = Text(100)

    def __init__(self, limit: int = 3) -> None:
        self.limit = limit
        self.count = limit

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return f"start{self.np_random.integers(1000)}", self.info()

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if self.count >= self.limit:
            raise ResetNeeded("over")
        if not isinstance(action, str):
            raise TypeError("no text")
        self.count += 1
        return f"step{self.count}", 0.0, self.count == self.limit, False, self.info()

    def info(self) -> dict[str, Any]:
        return {"admissible_commands": ["wait"]}


@pytest.fixture(autouse=True)
def _forget_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_told", {})


def test_a_registered_environment_is_made_by_name() -> None:
    register("counting", Counting)
    register("counting-by-name", f"{__name__}:Counting")
    for name in ("counting", "counting-by-name"):
        env = make(name, limit=5)
        assert type(env).__name__ == "Counting"
        assert env.get_wrapper_attr("limit") == 5
        assert name in names()
    assert make_vec("counting", num_envs=4).num_envs == 4


def test_a_package_may_offer_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = EntryPoint("offered", f"{__name__}:Counting", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [offered] if group == "hiper.envs" else [])
    assert "offered" in names()
    assert type(make("offered")).__name__ == "Counting"


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        make("alfwrld")
    assert str(caught.value) == "unknown environment 'alfwrld'; known: alfworld, webshop; did you mean 'alfworld'?"


# What an environment says of itself


def test_each_environment_has_the_splits_that_it_names() -> None:
    for name in ("alfworld", "webshop"):
        own = about(name)
        for split in (own.train_split, *own.eval_splits):
            make(name, split=split)
        for view in own.views.values():
            make(name, split=own.eval_splits[-1], **view)
    assert about("alfworld").eval_splits == ("valid_seen", "valid_unseen")
    assert about("webshop").eval_splits == ("test",)
    assert dict(about("webshop").views["verl-agent"]) == {"compat": "verl-agent"}


def test_a_registered_environment_tells_its_splits_or_has_them_told() -> None:
    class Telling(Counting):
        about = About(train_split="fit", eval_splits=("dev", "held-out"))

    register("silent", Counting)
    register("telling", Telling)
    register("told", Telling, About(eval_splits=("other",)))
    assert about("silent") == About(train_split="train", eval_splits=("test",))
    assert about("telling") is Telling.about
    assert about("told").eval_splits == ("other",)
    register("told", Telling)
    assert about("told") is Telling.about
    with pytest.raises(UnknownName, match="did you mean 'telling'"):
        about("teling")
    register("strange", type("Strange", (Counting,), {"about": "train"}))
    with pytest.raises(EnvError, match="`about` of environment 'strange' must be an About, not str"):
        about("strange")
    with pytest.raises(ValueError, match="must name a split at least"):
        About(eval_splits=())


def test_wrong_registrations_are_refused() -> None:
    with pytest.raises(ValueError, match="'alfworld' is built in"):
        register("alfworld", Counting)
    with pytest.raises(ValueError, match=r"reads 'package\.module:name', not 'Counting'"):
        register("counting", "Counting")
    register("nothing", f"{__name__}:Nothing")
    with pytest.raises(EnvError, match="has no 'Nothing'"):
        make("nothing")


def test_the_package_offers_all_of_it() -> None:
    assert (hiper.make, hiper.make_vec, hiper.register, hiper.check_env) == (
        make,
        make_vec,
        register,
        check_env,
    )


# The checker


def test_a_correct_environment_passes_and_is_left_reset() -> None:
    env = Counting()
    check_env(env)
    env.step("wait")


class NeverOver(Counting):
    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        if not isinstance(action, str):
            raise ValueError("no text")
        return "step", 0.0, False, False, self.info()


def test_an_endless_environment_passes() -> None:
    check_env(NeverOver())


def with_info(info: object) -> Callable[[Counting], Any]:
    return lambda self: info


def with_step(change: Callable[[tuple[Any, ...]], object]) -> Callable[[Counting, str], Any]:
    return lambda self, action: change(Counting.step(self, action))


def unseeded_reset(self: Counting, **_: object) -> Any:
    Counting.reset(self)
    unseeded_reset.calls += 1  # type: ignore[attr-defined]
    return f"start{unseeded_reset.calls}", self.info()  # type: ignore[attr-defined]


unseeded_reset.calls = 0  # type: ignore[attr-defined]


def forgetful_reset(self: Counting, seed: int | None = None, **_: object) -> Any:
    answer = Counting.reset(self, seed=seed)
    return unseeded_reset(self) if seed is None else answer


def frozen_step(self: Counting, action: str) -> Any:
    if self.count >= self.limit:
        return "over", 0.0, True, False, self.info()
    return Counting.step(self, action)


def careless_step(self: Counting, action: str) -> Any:
    return Counting.step(self, str(action))


FAULTS: list[tuple[dict[str, object], str]] = [
    ({"observation_space": Discrete(3)}, "observation_space must be a gymnasium.spaces.Text, not Discrete"),
    ({"action_space": Discrete(3)}, "action_space must be a gymnasium.spaces.Text, not Discrete"),
    ({"action_space": Text(2)}, "the admissible command 'wait' is not in action_space"),
    ({"observation_space": Text(2)}, "an observation of reset is not in observation_space: 'start"),
    ({"info": with_info({})}, "the info of reset must have 'admissible_commands', a list of str"),
    ({"info": with_info(None)}, "the info of reset must have 'admissible_commands', a list of str"),
    ({"info": with_info({"admissible_commands": ("a",)})}, "must have 'admissible_commands', a list of str"),
    ({"reset": lambda self, **_: "start"}, "reset must return (observation, info)"),
    ({"step": with_step(lambda answer: answer[:4])}, "step must return (observation, reward, terminated"),
    (
        {"step": with_step(lambda answer: (answer[0], "1", *answer[2:]))},
        "the reward must be a float, not str",
    ),
    (
        {"step": with_step(lambda answer: (*answer[:2], 1, 0, answer[4]))},
        "terminated and truncated must be bool",
    ),
    ({"step": with_step(lambda answer: (*answer[:2], True, True, answer[4]))}, "are both set"),
    ({"step": frozen_step}, "step after the end of an episode must raise gymnasium.error.ResetNeeded"),
    ({"step": careless_step}, "step(7) must raise TypeError or ValueError"),
    ({"admits": lambda self, action: False}, "admits('wait') must be True: it is an admissible command"),
    ({"reset": lambda self, *, options=None: ("start", self.info())}, "reset or step raised TypeError: "),
    ({"step": with_step(lambda answer: {}["x"])}, "reset or step raised KeyError: 'x'"),
    ({"reset": unseeded_reset}, "two episodes with seed 0 and the same actions differ"),
    ({"reset": forgetful_reset}, "the episode after that of seed 0, reset without a seed, is not the same"),
]


@pytest.mark.parametrize(("changes", "fault"), FAULTS, ids=[fault[:40] for _, fault in FAULTS])
def test_each_fault_is_found(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(CheckFailed) as caught:
        check_env(type("Faulty", (Counting,), changes)())
    assert any(fault in found for found in caught.value.faults), caught.value.faults
    assert str(caught.value).startswith("the environment breaks the contract:\n- ")
