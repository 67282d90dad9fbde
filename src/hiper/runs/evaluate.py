"""Evaluation: every game of a split, once, with honest intervals."""

from collections.abc import Callable

from hiper.agents import Sampler
from hiper.records import Ending, Trajectory
from hiper.rollout import Limits, of_tries, play, success_table, summary
from hiper.runs.config import Config
from hiper.runs.setup import build_interface, build_layout
from hiper.runs.world import World

Row = dict[str, object]


def evaluate(
    config: Config,
    world: World,
    sampler: Sampler,
    split: str,
    *,
    seed: int = 0,
    limit: int = 0,
    tries: int = 1,
    expert: bool = False,
    on_done: Callable[[Trajectory], None] | None = None,
) -> tuple[Row, list[Trajectory]]:
    """Play all games of a split (or `limit` of them), `tries` times each. `hiper eval --json` prints the row."""
    more = {"expert": True} if expert else {}
    episodes = play(
        lambda: world.make(split, **more),
        sampler,
        build_interface(config.agent),
        build_layout(config.agent),
        world.all_tasks(split, limit=limit, seed=seed, tries=tries),
        limits=Limits(turns=config.env.max_turns),
        on_done=on_done,
    )
    table = success_table(episodes, tries)
    figures = summary(episodes)
    row: Row = {
        "env": config.env.name,
        "split": split,
        **table,
        **(of_tries(episodes) if tries > 1 else {}),
        "seeds": [seed],
        "invalid_rate": 1.0 - figures["rollout/valid_rate"],
        "turns_mean": figures["rollout/turns"],
        "switches_mean": figures["rollout/switches"],
        "score_mean": figures["rollout/score"],
        "crashed": sum(one.ending is Ending.CRASHED for one in episodes),
        "crashes": sum(one.crashes for one in episodes),
        "max_turns": config.env.max_turns,
        **world.identity(split),
    }
    return row, episodes
