"""The contents of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from regplug.statistics import Analysis, Ranks, Study


@dataclass(frozen=True, kw_only=True)
class ReportFigure:
    """One figure of a report.

    Args:
        title: Its heading.
        caption: What it shows.
        svg: The drawing, with escaped text.
    """

    title: str
    caption: str
    svg: str


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """The contents of a report.

    Args:
        title: Its heading.
        study: The settings that were compared, and their runs.
        whole: All settings and runs, if those compared are groups of settings; else `None`.
        analysis: Their analysis.
        facts: What was trained, by name: dataset, rows, model, epochs, seeds.
        command: The command that repeats the study; empty for none.
        figures: The result of `draw_figures`.
        notes: Further notes, such as on trimmed rows.
        compare_url: Address of MLflow's compare page for the same runs; empty for none.
        details: Further facts by name, such as the store; folded away.
    """

    title: str
    study: Study
    analysis: Analysis
    whole: Study | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    figures: Sequence[ReportFigure] = ()
    notes: tuple[str, ...] = ()
    compare_url: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ComparisonReport:
    """Reports of several groups of runs that cannot be ranked together.

    Args:
        title: Its heading.
        verdict: The main conclusion over all groups.
        parts: The reports; the title of each names its group.
        ranks: Ranks of the settings over datasets, if the groups are datasets.
        notes: Why there are several groups.
        details: Further facts by name.
    """

    title: str
    verdict: str
    parts: tuple[StudyReport, ...]
    ranks: Ranks | None = None
    notes: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)
