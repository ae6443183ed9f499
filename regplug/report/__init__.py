"""The HTML report of a study: one file, no network."""

from regplug.report.page import StudyReport, render_report

__all__ = ["StudyReport", "render_report"]
