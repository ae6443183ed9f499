"""Chooses the figures of a study and prepares their data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from regplug.errors import RequestError, did_you_mean
from regplug.reports import plots
from regplug.reports.curves import Curves, leading, mean_curve
from regplug.reports.drawing import Drawing, ends_of, first_of, mean_of
from regplug.reports.factors import responses_of
from regplug.reports.plots import Row
from regplug.reports.responses import heat_map_drawings, strength_drawings
from regplug.reports.scatter import cost_drawings, gap_drawings
from regplug.statistics import Analysis, Comparison, Ranks, Study, StudyRun, Summary, find_rows, summarise

MOST_ROWS = 30
"""Most rows in a figure of rows, which shows the best ones."""


def drawings(study: Study, analysis: Analysis, curves: Curves, *, whole: Study | None = None) -> list[Drawing]:
    """Returns the figures of a study that its settings and runs allow, in the order of the report.

    Args:
        study: The settings that were compared, and their runs.
        analysis: Their analysis.
        curves: Learning curves of the runs, by metric and setting.
        whole: All settings and runs, if those compared are groups of settings.
    """
    shown = {summary.label: summary for summary in analysis.summaries if summary.n}
    each = _summaries(whole, analysis) | shown if whole is not None else shown
    return [
        *_differences(analysis),
        *_effects(analysis),
        *_settings(study, analysis, shown),
        *strength_drawings(whole or study, analysis, each),
        *heat_map_drawings(whole or study, analysis, each),
        *_ranks(analysis.ranks),
        *_learning(analysis, curves),
        *gap_drawings(study, analysis, shown),
        *cost_drawings(analysis, shown),
    ]


def _summaries(study: Study, analysis: Analysis) -> dict[str, Summary]:
    """Returns the summaries of settings that were not compared one by one."""
    known = {summary.label for summary in analysis.summaries}
    by_label: dict[str, list[StudyRun]] = {label: [] for label in study.labels if label not in known}
    for run in study.runs:
        if run.setting in by_label:
            by_label[run.setting].append(run)
    rows, _ = find_rows(study, analysis.metric, analysis.units)
    found = [
        summarise(label, runs, analysis.metric, analysis.units, seed=None, rows=rows)
        for label, runs in by_label.items()
    ]
    return {summary.label: summary for summary in found if summary.n}


def find(drawn: Sequence[Drawing], name: str) -> Drawing:
    """Returns the figure of this name; the first if the name is empty.

    Raises:
        RequestError: There is none.
    """
    names = [drawing.name for drawing in drawn]
    if not drawn:
        raise RequestError("There is nothing to draw: no run has the metric.")
    if name and name not in names:
        raise RequestError(f"There is no figure {name}.", hint=did_you_mean(name, names))
    return drawn[names.index(name) if name else 0]


def settings_png(study: Study, analysis: Analysis) -> bytes:
    """Returns the metric against the strength that varies, or else by setting, as PNG, for the study's run."""
    shown = {summary.label: summary for summary in analysis.summaries if summary.n}
    chosen = [*strength_drawings(study, analysis, shown)]
    if len(chosen) != 1:
        chosen = [_rows(analysis, shown)]
    return plots.png(chosen[0].draw())


def _differences(analysis: Analysis) -> Iterator[Drawing]:
    known = [comparison for comparison in analysis.comparisons if comparison.interval is not None]
    if not known:
        return
    is_common = analysis.reference is not None
    caption = "Mean difference of the pairs with its 95 % interval, not corrected for multiple comparisons. "
    caption += "Filled circle: better; filled square: worse; hollow: no detectable difference."
    yield Drawing(
        name="differences",
        title=f"Differences from {analysis.reference}" if is_common else "Differences",
        caption=caption + first_of(MOST_ROWS, known),
        draw=lambda: plots.rows_figure(
            f"difference in {analysis.metric}",
            [_difference_row(each, is_common=is_common) for each in known[:MOST_ROWS]],
            zero="left of zero is better" if analysis.is_lower_better else "right of zero is better",
        ),
    )


def _effects(analysis: Analysis) -> Iterator[Drawing]:
    known = [effect for effect in analysis.effects if effect.comparison.interval is not None]
    if known:
        yield Drawing(
            name="effects",
            title="Main effects and interactions",
            caption="Mean effect on the metric with its 95 % interval. An interaction is what factors do together "
            "beyond the sum of what each does alone.",
            draw=lambda: plots.rows_figure(
                f"effect on {analysis.metric}",
                [replace(_difference_row(each.comparison, is_common=True), label=each.name) for each in known],
                zero="left of zero is better" if analysis.is_lower_better else "right of zero is better",
            ),
        )


def _difference_row(comparison: Comparison, *, is_common: bool) -> Row:
    low, high = comparison.interval or (math.nan, math.nan)
    found = "better" if comparison.is_first_better else "worse"
    return Row(
        label=comparison.first if is_common else f"{comparison.first} minus {comparison.second}",
        mean=comparison.difference or 0.0,
        low=low,
        high=high,
        style="open" if not comparison.is_different else "better" if found == "better" else "worse",
    )


def _settings(study: Study, analysis: Analysis, shown: Mapping[str, Summary]) -> Iterator[Drawing]:
    """The means by setting, unless one response shows them all."""
    if shown and not any(set(shown) <= response.labels for response in responses_of(study)):
        yield _rows(analysis, shown)


def _rows(analysis: Analysis, shown: Mapping[str, Summary]) -> Drawing:
    summaries = list(shown.values())
    rows = [
        Row(label=s.label, mean=mean_of(s), low=low, high=high)
        for s in summaries[:MOST_ROWS]
        for low, high in [ends_of(s)]
    ]
    return Drawing(
        name="settings",
        title=f"{analysis.metric} by setting",
        caption="Mean of each setting with its 95 % interval." + first_of(MOST_ROWS, summaries),
        draw=lambda: plots.rows_figure(analysis.metric, rows),
    )


def _ranks(ranks: Ranks | None) -> Iterator[Drawing]:
    if ranks is not None and ranks.critical_difference is not None:
        yield ranks_drawing(ranks, ranks.critical_difference)


def ranks_drawing(ranks: Ranks, critical_difference: float) -> Drawing:
    """Returns the critical-difference diagram of ranks over datasets."""
    return Drawing(
        name="ranks",
        title=f"Mean ranks over {ranks.n} {ranks.over}s",
        caption="Mean ranks that are closer than the critical difference (Nemenyi, 5 %) are not told apart.",
        draw=lambda: plots.ranks_figure(ranks.mean_ranks, critical_difference, ranks.groups),
    )


def _learning(analysis: Analysis, curves: Curves) -> Iterator[Drawing]:
    for metric, by_setting in curves.items():
        labels = leading(analysis, by_setting)
        if labels:
            yield Drawing(
                name=f"curves-{metric.replace('/', '-')}",
                title=f"Learning curves: {metric}",
                caption="Mean over the runs of the best settings, plus and minus one standard deviation.",
                draw=lambda m=metric, s=by_setting, names=labels: plots.bands_figure(  # type: ignore[misc]
                    "epoch", m, [mean_curve(label, s[label]) for label in names]
                ),
            )
