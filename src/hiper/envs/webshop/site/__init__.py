"""The shop as a local web site: for a person to shop in, and to look at recorded episodes."""

from hiper.envs.webshop.site.app import App
from hiper.envs.webshop.site.replay import Episode, load_episodes
from hiper.envs.webshop.site.server import SiteServer
from hiper.envs.webshop.site.shop import Shop, SiteError

__all__ = ["App", "Episode", "Shop", "SiteError", "SiteServer", "load_episodes"]
