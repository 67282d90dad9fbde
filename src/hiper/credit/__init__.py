"""Who earned what: estimators of credit, as pure functions of float64 arrays.

Nothing here knows of text, tokenizers or models. Suffixes: `_B` episodes, `_T` turns, `_L` tokens; time runs along
the last axis. `docs/credit.md` tells when to use which.
"""

from hiper.credit.fixed_hae import fixed_hae
from hiper.credit.gae import GAECredit, gae
from hiper.credit.gigpo import gigpo
from hiper.credit.groups import GroupCredit
from hiper.credit.grpo import grpo
from hiper.credit.hae import HAECredit, hae
from hiper.credit.hae_eb import hae_eb
from hiper.credit.lam_boundary import adaptive_lam_boundary
from hiper.credit.option_gae import option_gae
from hiper.credit.reinforce_pp import reinforce_pp
from hiper.credit.rloo import rloo
from hiper.credit.siblings import SiblingValues, sibling_hae, sibling_values
from hiper.credit.token_gae import TokenCredit, token_gae

__all__ = [
    "GAECredit",
    "GroupCredit",
    "HAECredit",
    "SiblingValues",
    "TokenCredit",
    "adaptive_lam_boundary",
    "fixed_hae",
    "gae",
    "gigpo",
    "grpo",
    "hae",
    "hae_eb",
    "option_gae",
    "reinforce_pp",
    "rloo",
    "sibling_hae",
    "sibling_values",
    "token_gae",
]
