"""Prints an analysis in the terminal: the table of settings, then its conclusions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regplug.cli.output import say, say_prose, say_table, width_of_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from regplug.statistics import Analysis, Interval, Summary

    Cell = Callable[[Summary], str]

_MOST_ROWS = 40
_MOST_SENTENCES = 12
_WIDE = 120
"""From this width on, the table has all columns."""


def tell_analysis(analysis: Analysis, *, is_whole: bool = False) -> None:
    """Writes table, verdict, comparisons, effects and notes to stdout.

    Args:
        analysis: The analysis.
        is_whole: Whether to print every setting and comparison, however many there are.
    """
    from regplug.statistics import comparison_sentence, effect_sentence

    _tell_table(analysis, is_whole=is_whole)
    say("")
    say_prose(analysis.verdict)
    sentences = [comparison_sentence(each) for each in analysis.comparisons]
    if len(sentences) > 1:
        told = sentences if is_whole else sentences[:_MOST_SENTENCES]
        say("")
        say_prose(*told, bullet="- ")
        if len(told) < len(sentences):
            say(f"- and {len(sentences) - len(told)} more: regplug compare shows them all")
    if analysis.effects:
        say("", "Effects of each factor and their interactions:")
        say_prose(*map(effect_sentence, analysis.effects), bullet="- ")
    say("")
    say_prose(*analysis.notes)


def _tell_table(analysis: Analysis, *, is_whole: bool) -> None:
    ordered = analysis.ordered
    shown = ordered if is_whole else ordered[:_MOST_ROWS]
    columns = _columns(analysis)
    better = "lower" if analysis.is_lower_better else "higher"
    chosen = f"; chosen and sorted by {analysis.selected_by}" if analysis.selected_by else ""
    say_prose(f"{analysis.metric} ({better} is better){chosen}; the difference is from the reference.")
    say_table(tuple(columns), [tuple(cell(each) for cell in columns.values()) for each in shown], folds="setting")
    if len(shown) < len(ordered):
        say(f"and {len(ordered) - len(shown)} more settings")
    if analysis.selected:
        say(f"* best {analysis.selected_by}")


def _columns(analysis: Analysis) -> dict[str, Cell]:
    """Returns heading -> cell of a setting; in a narrow terminal without the columns that explain the others."""
    from regplug.statistics import number

    width = width_of_terminal()
    is_wide = width is None or width >= _WIDE
    deciding, compared = _headings(analysis)
    found: dict[str, Cell] = {
        "setting": lambda each: f"{each.label}{' *' if each.label == analysis.selected else ''}",
    }
    if deciding:
        found[f">{deciding}"] = lambda each: _number(analysis.deciding.get(each.label))
    found[f">{compared}"] = lambda each: number(each.mean)
    if is_wide:
        found[">95 % interval"] = lambda each: _interval(each.interval)
        found[">sd"] = lambda each: _number(each.sd, 2)
    found[">difference"] = lambda each: _difference(analysis, each)
    found[">p"] = lambda each: _p_value(analysis, each)
    found[">runs"] = lambda each: f"{each.runs - each.failed} of {each.runs}" if each.failed else str(each.runs)
    if is_wide:
        found[">s/run"] = lambda each: _number(each.seconds, 2)
    return found


def _headings(analysis: Analysis) -> tuple[str, str]:
    """Returns the headings of the deciding and the compared metric: `valid` and `test` of one quantity."""
    compared = analysis.metric
    if analysis.selected_by in (None, compared):
        return "", compared
    first, _, quantity = str(analysis.selected_by).partition("/")
    second, _, other = compared.partition("/")
    return (first, second) if quantity == other else (str(analysis.selected_by), compared)


def _difference(analysis: Analysis, summary: Summary) -> str:
    from regplug.statistics import span

    if summary.label == analysis.reference:
        return "reference"
    found = analysis.comparison_of(summary.label)
    return "" if found is None or found.difference is None else span(found)


def _p_value(analysis: Analysis, summary: Summary) -> str:
    found = analysis.comparison_of(summary.label)
    if found is None or found.p_holm is None:
        return "" if found is None else found.outcome
    return "<0.001" if found.p_holm < 0.001 else f"{found.p_holm:.2g}"


def _number(value: float | None, digits: int = 4) -> str:
    from regplug.statistics import number

    return "" if value is None else number(value, digits)


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{_number(interval[0])} to {_number(interval[1])}"
