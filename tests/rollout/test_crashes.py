"""Environments that fail: thrown away whole, played anew, counted, never dropped."""

import logging
from collections.abc import Callable

import pytest

from hiper.agents import make_layout
from hiper.records import Ending, Trajectory
from hiper.rollout import Limits, Task, play
from tests.rollout.toy import PLAN, Corridor, Puppet, walk, wander

# With these seeds a wanderer takes at least four steps in each corridor.
TASKS = [Task(seed=seed, options={"game": f"corridor-{3 + index}"}) for index, seed in enumerate((0, 5, 2, 3))]
_LAYOUT = make_layout("transcript", PLAN)


class Workshop:
    """Makes corridors that fail where `fails(game, attempt, step)`; attempts count over all of them."""

    def __init__(self, fails: Callable[[str, int, int], bool]) -> None:
        self.made: list[Corridor] = []
        self.fails = fails

    def __call__(self) -> Corridor:
        self.made.append(Corridor(self._crash_on))
        return self.made[-1]

    def _crash_on(self, game: str, attempt: int, step: int) -> bool:
        return self.fails(game, sum(env.attempts.get(game, 0) for env in self.made), step)


def rollout(workshop: Workshop, puppet: Puppet, retries: int = 3) -> list[Trajectory]:
    played = play(workshop, puppet, PLAN, _LAYOUT, TASKS, limits=Limits(turns=9), retries=retries)
    assert all(env.is_closed for env in workshop.made)
    return played


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("capacity", [1, 3])
def test_an_episode_that_crashed_is_the_same_but_for_the_count(step: int, capacity: int) -> None:
    calm = rollout(Workshop(lambda game, attempt, at: False), Puppet(wander))
    workshop = Workshop(lambda game, attempt, at: game == "corridor-4" and attempt <= 2 and at == step)
    shaken = rollout(workshop, Puppet(wander, capacity=capacity, shuffle=0))
    assert [trajectory.crashes for trajectory in shaken] == [0, 2, 0, 0]
    assert [uncounted(trajectory) for trajectory in shaken] == [uncounted(trajectory) for trajectory in calm]


def uncounted(trajectory: Trajectory) -> tuple[object, ...]:
    return (trajectory.game, trajectory.turns, trajectory.ending, trajectory.final_context_ids)


def test_the_failed_environment_is_replaced() -> None:
    workshop = Workshop(lambda game, attempt, at: game == "corridor-4" and attempt == 1 and at == 2)
    puppet = Puppet(walk, capacity=1)
    rollout(workshop, puppet)
    assert len(workshop.made) == 2
    assert puppet.closed == [0, 0, 0, 0, 0]  # four episodes, and once the sampler had to forget half of one


def test_after_too_many_failures_what_there_is_gets_recorded() -> None:
    workshop = Workshop(lambda game, attempt, at: game == "corridor-4" and at == 2)
    played = rollout(workshop, Puppet(walk, capacity=2), retries=2)
    crashed = played[1]
    assert (crashed.ending, crashed.crashes, crashed.score) == (Ending.CRASHED, 3, 0.0)
    assert [turn.action for turn in crashed.turns] == ["forward"]
    assert (crashed.final_observation, crashed.final_context) == ("Place 1.", "\nPlace 1.\n")
    assert [trajectory.ending for trajectory in played].count(Ending.SUCCEEDED) == 3


@pytest.mark.parametrize("retries", [0, 2])
def test_a_game_that_cannot_be_opened_is_recorded_without_turns(retries: int) -> None:
    workshop = Workshop(lambda game, attempt, at: game != "corridor-6" and at == 0)
    played = rollout(workshop, Puppet(walk, capacity=1), retries=retries)
    assert [trajectory.ending for trajectory in played] == [Ending.CRASHED] * 3 + [Ending.SUCCEEDED]
    assert [trajectory.game for trajectory in played] == [f"corridor-{length}" for length in (3, 4, 5, 6)]
    assert [trajectory.crashes for trajectory in played] == [retries + 1] * 3 + [0]
    assert (played[0].turns, played[0].final_observation) == ((), "")


def test_a_game_that_cannot_be_opened_again_does_not_hold_up_the_rest() -> None:
    def fails(game: str, attempt: int, at: int) -> bool:
        return game == "corridor-4" and at == (2 if attempt == 1 else 0)

    played = rollout(Workshop(fails), Puppet(walk, capacity=1), retries=1)
    assert [trajectory.ending for trajectory in played].count(Ending.SUCCEEDED) == 3
    assert (played[1].ending, played[1].crashes, played[1].turns) == (Ending.CRASHED, 2, ())


def test_a_failure_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="hiper.rollout"):
        rollout(
            Workshop(lambda game, attempt, at: game == "corridor-4" and attempt == 1 and at == 2),
            Puppet(walk),
        )
    (record,) = caplog.records
    assert "corridor-4" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], OSError)


def test_an_environment_that_cannot_even_be_closed_harms_nobody() -> None:
    class Stubborn(Corridor):
        def close(self) -> None:
            raise OSError("no")

    played = play(Stubborn, Puppet(walk), PLAN, _LAYOUT, TASKS, limits=Limits())
    assert all(trajectory.succeeded for trajectory in played)


def test_an_interrupt_goes_through_and_leaves_nothing_open() -> None:
    class Interrupted(Puppet):
        def poll(self) -> list[object]:  # type: ignore[override]
            raise KeyboardInterrupt

    workshop = Workshop(lambda game, attempt, at: False)
    with pytest.raises(KeyboardInterrupt):
        rollout(workshop, Interrupted(walk))
    assert len(workshop.made) == 4
    assert all(env.is_closed for env in workshop.made)
