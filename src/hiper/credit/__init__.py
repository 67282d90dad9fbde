"""Who earned what: estimators of credit, as pure functions of float64 arrays.

Nothing here knows of text, tokens or models. Suffixes: `_B` episodes, `_T` turns; time runs along the
last axis.
"""

from hiper.credit.gae import GAECredit, gae
from hiper.credit.hae import HAECredit, hae

__all__ = ["GAECredit", "HAECredit", "gae", "hae"]
