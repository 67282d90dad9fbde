"""The random worlds that the studies share: each with an agent, exact tables, wrong tables and the true gradient."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

from hiper.lab.gradient import exact_signals, gradient_of
from hiper.lab.mdp import (
    Features,
    FloatArray,
    Policy,
    Sharing,
    Tables,
    World,
    exact_tables,
    make_policy,
    perturbed,
    random_features,
    random_task,
    random_world,
    small_world,
    visits,
)

SHARINGS: tuple[Sharing, ...] = get_args(Sharing)
LAMBDAS = (0.0, 0.5, 0.9, 0.95, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a study does."""

    seed: int  # of the first world; the others follow
    worlds: int  # of each sharing, where the answer is exact
    drawn_worlds: int  # of each sharing, where episodes are drawn
    episodes: int  # drawn in each of these
    trainings: int  # chains of each length on which agents are trained

    @staticmethod
    def quick(seed: int) -> "Effort":
        """Under a minute of one core."""
        return Effort(seed=seed, worlds=12, drawn_worlds=7, episodes=4000, trainings=0)

    @staticmethod
    def thorough(seed: int) -> "Effort":
        """Some minutes."""
        return Effort(seed=seed, worlds=24, drawn_worlds=24, episodes=8000, trainings=8)

    def seeds(self, count: int) -> range:
        return range(1000 * self.seed, 1000 * self.seed + count)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """One world and one agent."""

    seed: int
    sharing: Sharing
    world: World
    features: Features
    theta_D: FloatArray
    policy: Policy
    exact: Tables
    wrong: Tables  # errors of half the spread of V_low
    gradient_HD: FloatArray  # of J, through switch, subgoal and action

    @property
    def gradient_D(self) -> FloatArray:
        return np.asarray(self.gradient_HD.sum(axis=0), dtype=np.float64)

    def bias(self, gradient_HD: FloatArray) -> float:
        """|gradient - true gradient| / |true gradient|, of the whole."""
        return float(np.linalg.norm(gradient_HD.sum(axis=0) - self.gradient_D) / np.linalg.norm(self.gradient_D))

    def error(self, gradient_HD: FloatArray) -> float:
        """Largest absolute error, of any head and parameter."""
        return float(np.abs(gradient_HD - self.gradient_HD).max())

    def moved(self, step_D: FloatArray) -> "Case":
        """The same world and features at theta + step."""
        return make_case(self.seed, self.sharing, self.world, self.features, self.theta_D + step_D)

    def shift_from(self, before: "Case") -> float:
        """Mean total variation between the two executors, over the turns that this one plays."""
        _, act_TSO = visits(self.world, self.policy)
        distance_SO = 0.5 * np.abs(self.policy.action_SOA - before.policy.action_SOA).sum(axis=2)
        return float((act_TSO * distance_SO).sum() / act_TSO.sum())


def random_case(seed: int, sharing: Sharing) -> Case:
    """Six states, three subgoals, three actions, twelve turns."""
    return make_case(seed, sharing, random_world(seed), *random_features(seed, sharing))


def task_case(seed: int) -> Case:
    """The same sizes; nothing is random but the agent, and only success pays."""
    return make_case(seed, "shared", random_task(seed), *random_features(seed, "shared"))


def small_case(seed: int, sharing: Sharing, horizon: int = 3) -> Case:
    """Small enough to enumerate: two states and the goal, two subgoals, two actions, switching often."""
    features, theta_D = random_features(seed, sharing, sizes=(3, 2, 2), switch_bias=-0.5)
    return make_case(seed, sharing, small_world(seed, horizon), features, theta_D)


def make_case(seed: int, sharing: Sharing, world: World, features: Features, theta_D: FloatArray) -> Case:
    """Whatever world and agent it is."""
    policy = make_policy(features, theta_D)
    exact = exact_tables(world, policy)
    return Case(
        seed=seed,
        sharing=sharing,
        world=world,
        features=features,
        theta_D=theta_D,
        policy=policy,
        exact=exact,
        wrong=perturbed(exact, seed),
        gradient_HD=gradient_of(world, policy, exact_signals(world, policy, exact)),
    )


def cosine(a_D: FloatArray, b_D: FloatArray) -> float:
    """Of the angle between two gradients."""
    return float(a_D @ b_D / (np.linalg.norm(a_D) * np.linalg.norm(b_D)))
