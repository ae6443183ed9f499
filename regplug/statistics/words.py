"""Numbers and comparisons as text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from regplug.statistics.paired import ALPHA, Comparison

if TYPE_CHECKING:
    from regplug.statistics.nesting import Choice


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number as readable text.

    >>> number(0.123456), number(12345.6), number(None), number(0.0)
    ('0.1235', '12350', 'none', '0')
    """
    if value is None:
        return "none"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        decimals = digits - 1 - (math.floor(math.log10(abs(value))) if value else 0)
        text = f"{round(value, decimals):.{max(0, decimals)}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits - 1}e}"


def p_text(p_value: float | None) -> str:
    """Returns `p = 0.031`, `p < 0.001`."""
    if p_value is None:
        return "p unknown"
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def comparison_sentence(comparison: Comparison) -> str:
    """Returns a comparison as a sentence in plain English."""
    first, second = comparison.first, comparison.second
    if comparison.outcome == "too few":
        return f"{first} and {second} share {_pairs(comparison)}: a test needs two or more. Add {comparison.unit}s."
    if comparison.outcome == "identical":
        return f"{first} and {second} are identical on {_pairs(comparison)}."
    if comparison.outcome == "constant":
        return (
            f"{first} and {second} differ by exactly {number(abs(comparison.difference or 0))} on "
            f"{_pairs(comparison)}: without variation, the difference cannot be tested."
        )
    return f"{_tested_sentence(comparison)}{_wilcoxon_remark(comparison)}"


def _tested_sentence(comparison: Comparison) -> str:
    p_value = f"{p_text(comparison.p_holm)}{' after Holm' if comparison.family > 1 else ''}"
    over = f"{_pairs(comparison)}{_rows(comparison)}"
    if not comparison.is_different:
        return (
            f"No detectable difference between {comparison.first} and {comparison.second} ({span(comparison)}, "
            f"{p_value}, {over})."
        )
    better, worse = comparison.first, comparison.second
    if not comparison.is_first_better:
        better, worse = worse, better
    return f"{better} is better than {worse} by {span(comparison, is_advantage=True)}, {p_value}, {over}."


def span(comparison: Comparison, *, is_advantage: bool = False) -> str:
    """Returns `0.12 [0.05, 0.19]`, the difference and its interval; `0.12` alone if there is no interval.

    Args:
        comparison: The comparison.
        is_advantage: Whether to turn the sign so that the difference is positive.
    """
    difference = comparison.difference or 0.0
    sign = -1.0 if is_advantage and difference < 0 else 1.0
    if comparison.interval is None:
        return number(sign * difference, 3)
    low, high = sorted(sign * end for end in comparison.interval)
    return f"{number(sign * difference, 3)} [{number(low, 3)}, {number(high, 3)}]"


def _wilcoxon_remark(comparison: Comparison) -> str:
    # The signed-rank test judges the pairs alone.
    if comparison.rows or comparison.wilcoxon_can_tell or comparison.wilcoxon_least_p is None:
        return ""
    return (
        f" Wilcoxon's signed-rank test cannot reach {ALPHA} with so few pairs "
        f"(its smallest p is {number(comparison.wilcoxon_least_p, 3)})."
    )


def _pairs(comparison: Comparison) -> str:
    return f"{comparison.n} {comparison.unit}{'' if comparison.n == 1 else 's'}"


def choice_sentence(choice: Choice) -> str:
    """Returns which setting stands for a group, and how often the observations chose it."""
    total = sum(choice.counts.values())
    counts = ", ".join(f"{label} {count}" for label, count in choice.counts.items())
    if choice.is_per_unit:
        by = "by the other folds" if choice.unit == "fold" else "by its own validation rows"
        return (
            f"{choice.group} is the best by {choice.selected_by}, chosen for each {choice.unit} {by} "
            f"({counts}); over all: {choice.setting}."
        )
    alone = f"{choice.counts.get(choice.setting, 0)} of {total} {choice.unit}s alone would choose it"
    return f"{choice.group} is {choice.setting}, the best by {choice.selected_by} ({alone})."


def _rows(comparison: Comparison) -> str:
    """Returns the number of test rows, and p over the pairs alone; empty if the rows are not covered."""
    if not comparison.rows:
        return ""
    alone = (
        "" if comparison.pairs_p_value is None else f"; {comparison.unit}s alone: {p_text(comparison.pairs_p_value)}"
    )
    return f" x {comparison.rows} test rows{alone}"
