"""The HTML report of a comparison of tracked runs."""

from __future__ import annotations

from dataclasses import replace

from regplug.reports.contents import ComparisonReport, StudyReport
from regplug.reports.page import render_report, report_figure
from regplug.studies.comparison.compared import Compared, Part


def comparison_page(found: Compared) -> str:
    """Returns the report of a comparison."""
    title, details = f"Comparison of {found.name}", {"Tracked in": found.tracking_uri}
    reports = tuple(_report(part, found.compare_url) for part in found.parts)
    if len(reports) == 1:
        notes = (*reports[0].notes, *found.notes)
        return render_report(replace(reports[0], title=title, notes=notes, details=details))
    return render_report(
        ComparisonReport(
            title=title,
            verdict=found.verdict,
            parts=reports,
            ranks=found.ranks,
            notes=found.notes,
            details=details,
        )
    )


def _report(part: Part, compare_url: str) -> StudyReport:
    return StudyReport(
        title=part.name,
        study=part.compared,
        whole=part.study,
        analysis=part.analysis,
        facts=part.facts(),
        figures=tuple(map(report_figure, part.drawings())),
        notes=part.notes,
        compare_url=compare_url,
    )
