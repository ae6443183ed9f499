"""The HTML report of a study: one file, no network."""

from regplug.report.judging import Judged, get_ready, judge
from regplug.report.page import Curves, ReportFigure, StudyReport, draw_figures, render_report

__all__ = [
    "Curves",
    "Judged",
    "ReportFigure",
    "StudyReport",
    "draw_figures",
    "get_ready",
    "judge",
    "render_report",
]
