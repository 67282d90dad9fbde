"""ALFWorld, the text benchmark of household tasks: environment, engine, data, generator and expert."""

from hiper.envs.alfworld.data import SPLITS, GameSource, OfficialGames, open_games
from hiper.envs.alfworld.engine import NOTHING_HAPPENS, Engine
from hiper.envs.alfworld.env import AlfworldEnv
from hiper.envs.alfworld.game import Game

__all__ = [
    "NOTHING_HAPPENS",
    "SPLITS",
    "AlfworldEnv",
    "Engine",
    "Game",
    "GameSource",
    "OfficialGames",
    "open_games",
]
