"""Renders the HTML report of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regplug.reports import figures, plots
from regplug.reports.curves import Curves
from regplug.statistics import (
    LEAST_BOOTSTRAPPED,
    Analysis,
    Comparison,
    Interval,
    Ranks,
    Study,
    Summary,
    comparison_sentence,
    number,
    p_text,
)

_NONE = "–"  # noqa: RUF001 - the dash for a missing value in a table


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
        study: Settings and runs.
        analysis: Their analysis.
        command: The command that repeats the study; empty for none.
        figures: The result of `draw_figures`.
        notes: Further notes, such as on trimmed rows.
        compare_url: Address of MLflow's compare page for the same runs; empty for none.
        details: Further facts by name, such as the store.
    """

    title: str
    study: Study
    analysis: Analysis
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


def render_report(report: StudyReport | ComparisonReport) -> str:
    """Returns a report as one self-contained HTML page.

    The page supports light and dark mode, phones and paper. All inserted text is escaped, and the page's security
    policy forbids scripts and network access.

    Args:
        report: The contents.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regplug.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    if isinstance(report, StudyReport):
        head = {"verdict": report.analysis.verdict, "facts": _facts(report), "notes": ()}
        parts: tuple[StudyReport, ...] = (report,)
    else:
        facts = {**_rank_facts(report.ranks), **report.details}
        head = {"verdict": report.verdict, "facts": facts, "notes": report.notes}
        parts = report.parts
    return environment.get_template("page.html").render(title=report.title, **head, parts=list(map(_part, parts)))


def _part(report: StudyReport) -> dict[str, Any]:
    from markupsafe import Markup

    analysis = report.analysis
    return {
        "report": report,
        "facts": _facts(report),
        "rows": [_row(report, place, summary) for place, summary in enumerate(analysis.summaries, start=1)],
        # matplotlib escapes text in an SVG.
        "figures": [(figure, Markup(figure.svg)) for figure in report.figures],  # noqa: S704
        "sentences": [comparison_sentence(comparison) for comparison in analysis.comparisons],
        "notes": [note for note in (*analysis.notes, analysis.bootstrap_note, *report.notes) if note],
        "compare_url": report.compare_url if report.compare_url.startswith(("http://", "https://")) else "",
    }


def _facts(report: StudyReport) -> dict[str, str]:
    analysis, runs = report.analysis, report.study.runs
    failed = sum(summary.failed for summary in analysis.summaries)
    return {
        "Metric": f"{analysis.metric} ({'lower' if analysis.is_lower_better else 'higher'} is better)",
        "Settings": str(len(analysis.summaries)),
        "Runs": f"{len(runs)}, of which {failed} failed" if failed else str(len(runs)),
        "Best by validation": f"{analysis.selected} ({analysis.selected_by})" if analysis.selected else "not chosen",
        "Compared with": analysis.reference or "each other",
        **_rank_facts(analysis.ranks),
        **report.details,
    }


def _rank_facts(ranks: Ranks | None) -> dict[str, str]:
    facts = {}
    if ranks and ranks.friedman_p is not None:
        facts["Friedman's test of ranks"] = f"{p_text(ranks.friedman_p)} over {ranks.n} {ranks.over}s"
    if ranks and ranks.critical_difference is not None:
        facts["Mean ranks"] = "; ".join(f"{label} {number(mean, 3)}" for label, mean in ranks.mean_ranks.items())
        groups = "; ".join(", ".join(group) for group in ranks.groups) or "none"
        facts["Critical difference of ranks"] = f"{number(ranks.critical_difference, 3)} (Nemenyi); equal: {groups}"
    return facts


def _row(report: StudyReport, place: int, summary: Summary) -> dict[str, Any]:
    analysis = report.analysis
    comparison = analysis.comparison_of(summary.label)
    return {
        "place": str(place) if summary.n else _NONE,
        "label": summary.label,
        "is_reference": summary.label == analysis.reference,
        "is_selected": summary.label == analysis.selected,
        "mean": _text(summary.mean),
        "interval": _interval(summary.t_interval),
        "bootstrap": _bootstrap(summary),
        "is_guessing": summary.is_guessing,
        "sd": _text(summary.sd, 2),
        "mean_rank": _text(summary.mean_rank, 3),
        "seconds": _text(summary.seconds, 3),
        "runs": str(summary.runs),
        "failed": summary.failed,
        **_comparison_cells(comparison),
    }


def _bootstrap(summary: Summary) -> str:
    is_left_out = summary.bootstrap_interval is None and 1 < summary.n < LEAST_BOOTSTRAPPED
    return f"from {LEAST_BOOTSTRAPPED} on" if is_left_out else _interval(summary.bootstrap_interval)


def _comparison_cells(comparison: Comparison | None) -> dict[str, str]:
    if comparison is None:
        return {**dict.fromkeys(("difference", "p", "wilcoxon", "effect", "says"), _NONE), "difference_interval": ""}
    return {
        "difference": _text(comparison.difference, 3),
        "difference_interval": _interval(comparison.interval, 3),
        "p": p_text(comparison.p_holm).removeprefix("p ").removeprefix("= ")
        if comparison.p_holm is not None
        else _NONE,
        "wilcoxon": _text(comparison.wilcoxon_p, 2),
        "effect": _text(comparison.d_z, 2),
        "says": _says(comparison),
    }


def _says(comparison: Comparison) -> str:
    if comparison.outcome != "tested":
        return {"too few": "too few pairs", "constant": "constant"}.get(comparison.outcome, comparison.outcome)
    if not comparison.is_different:
        return "no detectable difference"
    return "better" if comparison.is_first_better else "worse"


def _text(value: float | None, digits: int = 4) -> str:
    return _NONE if value is None else number(value, digits)


def _interval(interval: Interval | None, digits: int = 4) -> str:
    return _NONE if interval is None else f"[{number(interval[0], digits)}, {number(interval[1], digits)}]"


def draw_figures(study: Study, analysis: Analysis, curves: Curves) -> tuple[ReportFigure, ...]:
    """Draws the figures of a report.

    Args:
        study: Settings and runs.
        analysis: Their analysis.
        curves: Learning curves of the runs, by metric and setting.
    """
    return tuple(map(_drawn, figures.drawings(study, analysis, curves)))


def _drawn(drawing: figures.Drawing) -> ReportFigure:
    drawn = plots.svg(drawing.draw(), drawing.title)
    return ReportFigure(title=drawing.title, caption=drawing.caption, svg=drawn)
