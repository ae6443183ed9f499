"""The main conclusion of a study, and its notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regplug.statistics.summary import LEAST_BOOTSTRAPPED
from regplug.statistics.words import choice_sentence, comparison_sentence, number

if TYPE_CHECKING:
    from regplug.statistics.analysis import Analysis

_MOST_NAMED = 4


def verdict(analysis: Analysis) -> str:
    """Returns the main conclusion: the setting chosen by validation, and the result of the comparison on the metric."""
    parts = [_selected(analysis)] if analysis.selected else []
    if len(analysis.summaries) < 2:
        only = analysis.summaries[0]
        parts.append(f"One setting, {only.label}: {analysis.metric} {number(only.mean)}. There is nothing to compare.")
    elif len(analysis.comparisons) == 1:
        parts.append(comparison_sentence(analysis.comparisons[0]))
    else:
        parts.append(_many(analysis))
    return " ".join(parts)


def _selected(analysis: Analysis) -> str:
    chosen = next(summary for summary in analysis.summaries if summary.label == analysis.selected)
    but = ", and is no better than guessing" if chosen.is_guessing else ""
    return f"{analysis.selected} has the best {analysis.selected_by}{but}."


def _many(analysis: Analysis) -> str:
    found = [comparison for comparison in analysis.comparisons if comparison.is_different]
    if analysis.reference is None:
        return f"{len(found)} of {len(analysis.comparisons)} pairs of settings differ detectably in {analysis.metric}."
    reference = analysis.reference
    if not found and all(comparison.outcome == "identical" for comparison in analysis.comparisons):
        return f"All settings are identical to {reference} in {analysis.metric}."
    if not found and all(comparison.outcome in ("tested", "identical") for comparison in analysis.comparisons):
        return f"No detectable difference in {analysis.metric} between {reference} and any other setting."
    better = [comparison.first for comparison in found if comparison.is_first_better]
    worse = [comparison.first for comparison in found if not comparison.is_first_better]
    alike = [c.first for c in analysis.comparisons if c.outcome in ("tested", "identical") and not c.is_different]
    untested = [c.first for c in analysis.comparisons if c.outcome in ("too few", "constant")]
    sentences = [
        f"{reference} is better than {_named(worse)} in {analysis.metric}." if worse else "",
        f"{_named(better)} {'is' if len(better) == 1 else 'are'} better than {reference} in {analysis.metric}."
        if better
        else "",
        f"No detectable difference from {reference}: {_named(alike)}." if alike else "",
        f"No test against {reference} was possible for {_named(untested)}." if untested else "",
    ]
    return " ".join(filter(None, sentences))


def _named(labels: list[str]) -> str:
    if len(labels) > _MOST_NAMED:
        return f"{', '.join(labels[: _MOST_NAMED - 1])} and {len(labels) - _MOST_NAMED + 1} others"
    return " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))


def bootstrap_note(analysis: Analysis) -> str:
    """Returns why there is no bootstrap interval; empty if every setting has one, or only one value."""
    counts = [summary.n for summary in analysis.summaries if summary.n > 1]
    if not counts or min(counts) >= LEAST_BOOTSTRAPPED:
        return ""
    return (
        f"Below {LEAST_BOOTSTRAPPED} {analysis.units.kind}s there is no bootstrap interval: it would be too narrow "
        "(with 5, its 95 % covered 83 % in simulation)."
    )


def notes(analysis: Analysis, is_baseline_named: bool) -> tuple[str, ...]:
    """Returns the methods of the comparison and its caveats, one or two sentences each."""
    return tuple(
        filter(
            None,
            (
                *map(choice_sentence, analysis.choices),
                _test(analysis),
                _unit(analysis),
                _source(analysis),
                _holm(analysis, is_baseline_named),
                _undecided(analysis),
                *_warnings(analysis, is_baseline_named),
            ),
        )
    )


def _test(analysis: Analysis) -> str:
    if analysis.units.variance_ratio:
        return (
            "Corrected resampled t-test (Nadeau and Bengio 2003): the training rows overlap, so the variance of a "
            f"mean is the sample variance times 1/n + {number(analysis.units.variance_ratio, 3)}. Wilcoxon's test "
            "and the bootstrap have no such correction."
        )
    if analysis.rows:
        return (
            f"Intervals and tests cover both seeds and test rows: two-way analysis of variance of {analysis.metric} on "
            f"{analysis.rows} rows, paired by row. They do not cover other training rows, as --data-seeds and "
            "regplug cv do."
        )
    return "Two-sided paired t-test, with Wilcoxon's signed-rank test in addition."


def _unit(analysis: Analysis) -> str:
    kind = analysis.units.kind
    if all(summary.runs == summary.n for summary in analysis.summaries):
        return f"One {kind} is one observation; pairs are formed by {kind}."
    return f"One {kind} is one observation: runs within it share their data and were averaged first."


def _source(analysis: Analysis) -> str:
    """Returns which source of variation is covered, if the test rows are not covered explicitly."""
    if analysis.rows:
        return ""
    if analysis.units.kind == "seed":
        return f"They cover the seeds alone, not other test rows: {analysis.why_no_rows}."
    if analysis.units.kind == "dataset":
        return "They cover other datasets of the same kind."
    return f"They cover new draws of training and test rows, one for each {analysis.units.kind}, and the seeds."


def _holm(analysis: Analysis, is_baseline_named: bool) -> str:
    family = max((comparison.family for comparison in analysis.comparisons), default=0)
    if family < 2:
        return ""
    why = (
        ""
        if is_baseline_named or analysis.reference is None
        else ", every pair of settings, because the reference was chosen by its results"
    )
    return f"p-values after Holm's correction over {family} comparisons{why}; the 95 % intervals are not corrected."


def _undecided(analysis: Analysis) -> str:
    """Returns what an undetected difference means, and what would narrow its interval.

    The number of pairs that would be enough is not estimated: it depends on the square of the unknown difference. With
    5 seeds and a true number of 34, the estimate ranged from 9 to over 1,000 (5 % to 95 % of 4,000 simulated studies),
    and its 80 % range spanned a factor of 80 and had no upper end in four studies of five.
    """
    if not any(comparison.outcome == "tested" and not comparison.is_different for comparison in analysis.comparisons):
        return ""
    kind = analysis.units.kind
    if analysis.units.variance_ratio:
        more = f"More {kind}s of the same rows narrow it only slightly; more rows narrow it."
    elif analysis.rows:
        more = "Four times as many seeds and test rows would halve it."
    else:
        more = f"Four times as many {kind}s would halve it."
    return f"No detectable difference does not prove equality: any difference in the interval remains plausible. {more}"


def _warnings(analysis: Analysis, is_baseline_named: bool) -> list[str]:
    failed = sum(summary.failed for summary in analysis.summaries)
    absent = [summary.label for summary in analysis.summaries if summary.n == 0]
    return [
        f"{failed} run{'' if failed == 1 else 's'} failed and {'is' if failed == 1 else 'are'} not in the means."
        if failed
        else "",
        f"Without a value: {_named(absent)}." if absent else "",
        _guessing(analysis),
        _reference(analysis) if not is_baseline_named and analysis.reference != analysis.selected else "",
    ]


def _guessing(analysis: Analysis) -> str:
    found = [summary for summary in analysis.summaries if summary.guessing]
    told = [f"{summary.label} ({summary.guessing} of {summary.runs} runs)" for summary in found]
    return f"No better than guessing: {_named(told)}." if told else ""


def _reference(analysis: Analysis) -> str:
    if analysis.selected is None:
        return "No setting was chosen by validation: the reference has the best mean of the metric itself."
    return "The setting chosen by validation has no value here: the reference has the best mean of the metric itself."
