"""Reads run folders and shows them: an HTML page, and tables and turns for the terminal. Imports no torch."""

from hiper.report.arena import is_comparison
from hiper.report.compare import Written, comparison_table, summary, write_comparison
from hiper.report.page import write_report
from hiper.report.read import Credit, Episode, ReportError, Run, read_run
from hiper.report.text import render_turn, result_table

__all__ = [
    "Credit",
    "Episode",
    "ReportError",
    "Run",
    "Written",
    "comparison_table",
    "is_comparison",
    "read_run",
    "render_turn",
    "result_table",
    "summary",
    "write_comparison",
    "write_report",
]
