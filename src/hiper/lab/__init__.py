"""Exact answers in small worlds: what is true of the estimators of `hiper.credit`, and what is not."""

from hiper.lab.cases import Effort
from hiper.lab.findings import Check, Claim, Row
from hiper.lab.verify import Report, verify

__all__ = ["Check", "Claim", "Effort", "Report", "Row", "verify"]
