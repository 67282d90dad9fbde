"""Episodes written by hand, whose ids tell where a token comes from, and random ones."""

from collections.abc import Sequence

import numpy as np

from hiper.records import Decision, Ending, Invalid, Span, Spans, Trajectory, Turn


def spans(**ranges: tuple[int, int]) -> Spans:
    return Spans(**{kind: Span(start=start, stop=stop) for kind, (start, stop) in ranges.items()})


def turn(
    index: int,
    context: Sequence[int],
    reply: Sequence[int],
    where: Spans,
    *,
    decision: Decision = Decision.KEEP,
    fresh: bool | None = None,
    logprobs: Sequence[float] = (),
    invalid: Invalid | None = None,
    reward: float = 0.0,
) -> Turn:
    return Turn(
        index=index,
        observation="",
        context="",
        fresh_context=index == 0 if fresh is None else fresh,
        reply="",
        decision=decision,
        subgoal="",
        action="",
        invalid=invalid,
        reward=reward,
        context_ids=tuple(context),
        reply_ids=tuple(reply),
        reply_logprobs=tuple(logprobs) or tuple(-id_ / 100 for id_ in reply),
        spans=where,
    )


def episode(
    *turns: Turn, ending: Ending = Ending.TURN_LIMIT, final: Sequence[int] = (50, 51), final_is_fresh: bool = False
) -> Trajectory:
    return Trajectory(
        game="hand",
        task_type="",
        seed=0,
        turns=turns,
        ending=ending,
        final_observation="",
        final_context_ids=tuple(final),
        final_context_is_fresh=final_is_fresh,
    )


def four_turns(*, ending: Ending = Ending.TURN_LIMIT, window: bool = False) -> Trajectory:
    """The first subgoal; KEEP with the subgoal copied by code; SWITCH; a reply that does not parse.

    Contexts are tens (10, 11, 12; 20, 21; 30; 40; at the end 50, 51), replies hundreds (100 + 10 t + place).
    """
    switch = Decision.SWITCH
    first = spans(subgoal=(0, 3), action=(3, 5))
    return episode(
        turn(0, [10, 11, 12], [100, 101, 102, 103, 104], first, decision=switch),
        turn(1, [20, 21], [110, 111, 112, 113], spans(switch=(0, 1), action=(2, 4)), fresh=window),
        turn(
            2, [30], [120, 121, 122], spans(switch=(0, 1), subgoal=(1, 2), action=(2, 3)), decision=switch, fresh=window
        ),
        turn(3, [40], [130, 131], spans(switch=(0, 2)), invalid=Invalid.NO_SWITCH_TAG, fresh=window),
        ending=ending,
        final_is_fresh=window,
    )


def random_episode(seed: int, *, ids: int = 300, layout: str = "mixed", longest: int = 4) -> Trajectory:
    """Any number of turns, replies that end in each of their parts; `layout`: "transcript", "window" or "mixed"."""
    rng = np.random.default_rng(seed)

    def some(low: int, high: int) -> list[int]:
        return rng.integers(1, ids, rng.integers(low, high + 1)).tolist()

    turns, plans, in_force = [], rng.random() < 0.9, False
    for index in range(rng.integers(1, longest + 1)):
        fresh = index == 0 or {"transcript": False, "window": True}.get(layout, bool(rng.random() < 0.3))
        is_switch = plans and (not in_force or rng.random() < 0.5)
        names = (
            (["switch"] if in_force else []) + (["subgoal"] if is_switch else ["gap"] if in_force else []) + ["action"]
        )
        is_valid = rng.random() < 0.8
        if not is_valid:
            names = names[: rng.integers(1, len(names) + 1)]
        parts = {name: int(rng.integers(1, 4)) for name in names}
        in_force |= is_switch and is_valid
        stops = np.cumsum(list(parts.values())).tolist()
        where = {
            kind: (stop - size, stop)
            for (kind, size), stop in zip(parts.items(), stops, strict=True)
            if size and kind != "gap"
        }
        turns.append(
            turn(
                index,
                some(1, 6),
                rng.integers(1, ids, stops[-1]).tolist(),
                spans(**where),
                decision=Decision.SWITCH if is_valid and is_switch else Decision.KEEP,
                fresh=fresh,
                logprobs=(-3 * rng.random(stops[-1])).tolist(),
                invalid=None if is_valid else Invalid.NO_ACTION_TAG,
                reward=float(rng.normal()),
            )
        )
    ending = list(Ending)[rng.integers(len(Ending))]
    fresh = layout == "window" or (layout == "mixed" and bool(rng.random() < 0.3))
    return episode(*turns, ending=ending, final=some(1, 5), final_is_fresh=fresh)
