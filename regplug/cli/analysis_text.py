"""Prints an analysis in the terminal: the table of settings, then its conclusions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regplug.cli.output import say, say_table

if TYPE_CHECKING:
    from regplug.statistics import Analysis, Interval, Summary

_MOST_ROWS = 40
_MOST_SENTENCES = 12


def tell_analysis(analysis: Analysis, *, is_whole: bool = False) -> None:
    """Writes table, verdict, comparisons and notes to stdout.

    Args:
        analysis: The analysis.
        is_whole: Whether to print every setting and comparison, however many there are.
    """
    from regplug.statistics import comparison_sentence

    shown = analysis.summaries if is_whole else analysis.summaries[:_MOST_ROWS]
    columns = ("setting", f">{analysis.metric}", ">95 % interval", ">sd", ">rank", ">p", ">runs", ">failed", ">s/run")
    say_table(columns, [_row(analysis, summary) for summary in shown], folds="setting")
    if len(shown) < len(analysis.summaries):
        say(f"and {len(analysis.summaries) - len(shown)} more settings")
    say("", analysis.verdict)
    sentences = [comparison_sentence(each) for each in analysis.comparisons]
    if len(sentences) > 1:
        told = sentences if is_whole else sentences[:_MOST_SENTENCES]
        say("", *(f"- {sentence}" for sentence in told))
        if len(told) < len(sentences):
            say(f"- and {len(sentences) - len(told)} more: regplug compare shows them all")
    say("", *analysis.notes)


def _row(analysis: Analysis, summary: Summary) -> tuple[str, ...]:
    from regplug.statistics import number

    found = analysis.comparison_of(summary.label)
    p_value = "" if found is None or found.p_holm is None else f"{found.p_holm:.2g}"
    mark = " *" if summary.label == analysis.selected else ""
    return (
        f"{summary.label}{mark}",
        number(summary.mean),
        _interval(summary.interval),
        "" if summary.sd is None else number(summary.sd, 2),
        "" if summary.mean_rank is None else number(summary.mean_rank, 3),
        p_value,
        str(summary.runs),
        str(summary.failed),
        "" if summary.seconds is None else number(summary.seconds, 2),
    )


def _interval(interval: Interval | None) -> str:
    from regplug.statistics import number

    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"
