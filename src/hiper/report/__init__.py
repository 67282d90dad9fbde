"""Reads run folders and shows them: an HTML page, and tables and turns for the terminal. Imports no torch."""

from hiper.report.arena import ARENA_FILE
from hiper.report.compare import comparison_table, summary, write_comparison
from hiper.report.measures import Measured
from hiper.report.page import write_report
from hiper.report.read import Credit, Episode, ReportError, Run, read_run
from hiper.report.text import render_turn, result_table

__all__ = [
    "ARENA_FILE",
    "Credit",
    "Episode",
    "Measured",
    "ReportError",
    "Run",
    "comparison_table",
    "read_run",
    "render_turn",
    "result_table",
    "summary",
    "write_comparison",
    "write_report",
]
