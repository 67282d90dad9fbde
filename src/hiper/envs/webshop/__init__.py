"""WebShop, the benchmark of shopping by instruction: environment, catalogue, search, score, generator and expert."""

from hiper.envs.webshop.catalogue import Catalogue, open_catalogue
from hiper.envs.webshop.env import WebshopEnv
from hiper.envs.webshop.goals import Compat, Goals, open_goals
from hiper.envs.webshop.product import Product
from hiper.envs.webshop.reward import Goal, Nouns, Score, score

__all__ = [
    "Catalogue",
    "Compat",
    "Goal",
    "Goals",
    "Nouns",
    "Product",
    "Score",
    "WebshopEnv",
    "open_catalogue",
    "open_goals",
    "score",
]
