"""Renders the HTML report of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regplug.reports import figures, plots
from regplug.reports.cells import named, row_of, soft
from regplug.reports.contents import ComparisonReport, ReportFigure, StudyReport
from regplug.reports.curves import Curves
from regplug.reports.drawing import Drawing
from regplug.reports.sentences import answer_of, question_of
from regplug.statistics import Analysis, Ranks, Study, comparison_sentence, effect_sentence, number, p_text

EXPLANATIONS: Mapping[str, str] = {
    "runs": "Runs that count: those that finished with a finite value.",
    "over seeds": "95 % interval of the mean over seeds or folds alone, by Student's t. It leaves out what other test "
    "rows would change.",
    "sd": "Standard deviation over seeds or folds (n - 1): how much a single run varies.",
    "p (t-test)": "p-value of the difference from the reference by a paired t-test after Holm's correction: how often "
    "chance alone would give such a difference or a larger one. It covers the test rows if their values were kept.",
    "p (Wilcoxon)": "The same by the signed-rank test, which assumes no normal distribution; not corrected.",
    "d": "Cohen's d of the pairs: the mean difference over the standard deviation of the differences.",
    "mean rank": "Mean place among the settings over seeds or folds; 1 is the best.",
    "bootstrap": "95 % interval of the mean by resampling (BCa), which assumes no normal distribution.",
}
"""Expert statistic -> what it says, in a line."""


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
    environment.filters |= {"soft": soft, "named": named}
    parts = [_part(part) for part in (report.parts if isinstance(report, ComparisonReport) else (report,))]
    head = _head(report) if isinstance(report, ComparisonReport) else parts[0]
    return environment.get_template("page.html").render(
        title=report.title, head=head, parts=parts, explanations=EXPLANATIONS
    )


def _head(report: ComparisonReport) -> dict[str, Any]:
    """The header over several parts."""
    drawn = report.ranks and report.ranks.critical_difference
    return {
        "question": f"How do the settings compare in {len(report.parts)} groups of runs?",
        "answer": report.verdict,
        "labels": {label for part in report.parts for label in part.study.labels},
        "facts": {**_rank_facts(report.ranks), **report.details},
        "notes": report.notes,
        "figures": _marked(
            [report_figure(figures.ranks_drawing(report.ranks, drawn))] if report.ranks and drawn else []
        ),
    }


def _part(report: StudyReport) -> dict[str, Any]:
    analysis = report.analysis
    return {
        "report": report,
        "labels": {*report.study.labels, *(report.whole or report.study).labels},
        "question": question_of(report.study, analysis),
        "answer": answer_of(analysis),
        "facts": _facts(report),
        "rows": [row_of(analysis, place, summary) for place, summary in enumerate(analysis.summaries, start=1)],
        "figures": _marked(report.figures),
        "effects": [effect_sentence(effect) for effect in analysis.effects],
        "sentences": [comparison_sentence(comparison) for comparison in analysis.comparisons],
        "notes": [note for note in (*analysis.notes, analysis.bootstrap_note, *report.notes) if note],
        "details": {**_rank_facts(analysis.ranks), **report.details},
        "compare_url": report.compare_url if report.compare_url.startswith(("http://", "https://")) else "",
    }


def _marked(drawn: Sequence[ReportFigure]) -> list[tuple[ReportFigure, Any]]:
    from markupsafe import Markup

    # matplotlib escapes text in an SVG.
    return [(figure, Markup(figure.svg)) for figure in drawn]  # noqa: S704


def _facts(report: StudyReport) -> dict[str, str]:
    analysis, runs = report.analysis, (report.whole or report.study).runs
    failed = sum(run.value(analysis.metric) is None for run in runs)
    seconds = [run.seconds for run in runs if run.seconds]
    cost = f"{number(sum(seconds) / len(seconds), 2)} s per run, {number(sum(seconds), 3)} s in all" if seconds else ""
    facts = {
        **report.facts,
        "Metric": f"{analysis.metric}, {'lower' if analysis.is_lower_better else 'higher'} is better",
        "Settings": str(len(analysis.summaries)),
        "Runs": f"{len(runs)}, of which {failed} failed" if failed else str(len(runs)),
        "Compared with": analysis.reference or "each other",
        "Best by validation": f"{analysis.selected} ({analysis.selected_by})" if analysis.selected else "",
        "Training time": cost,
    }
    return {name: text for name, text in facts.items() if text}


def _rank_facts(ranks: Ranks | None) -> dict[str, str]:
    facts = {}
    if ranks and ranks.friedman_p is not None:
        facts["Friedman's test of ranks"] = f"{p_text(ranks.friedman_p)} over {ranks.n} {ranks.over}s"
    if ranks and ranks.critical_difference is not None:
        facts["Mean ranks"] = "; ".join(f"{label} {number(mean, 3)}" for label, mean in ranks.mean_ranks.items())
        groups = "; ".join(", ".join(group) for group in ranks.groups) or "none"
        facts["Critical difference of ranks"] = f"{number(ranks.critical_difference, 3)} (Nemenyi); equal: {groups}"
    return facts


def draw_figures(
    study: Study, analysis: Analysis, curves: Curves, *, whole: Study | None = None
) -> tuple[ReportFigure, ...]:
    """Draws the figures of a report; see `figures.drawings`."""
    return tuple(map(report_figure, figures.drawings(study, analysis, curves, whole=whole)))


def report_figure(drawing: Drawing) -> ReportFigure:
    """Draws one figure of a report."""
    return ReportFigure(title=drawing.title, caption=drawing.caption, svg=plots.svg(drawing.draw(), drawing.title))
