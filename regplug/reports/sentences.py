"""The question of a study and its answer, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from regplug.reports.factors import responses_of, short
from regplug.statistics import Analysis, Comparison, Study, number, p_text, span

_MOST_NAMED = 4


def question_of(study: Study, analysis: Analysis) -> str:
    """Returns the question that an analysis answers."""
    labels, metric, reference = list(study.labels), analysis.metric, analysis.reference
    if len(labels) == 1:
        return f"How good is {labels[0]} in {metric}?"
    if len(labels) == 2:
        return f"Do {labels[0]} and {labels[1]} differ in {metric}?"
    responses = responses_of(study)
    if len(responses) == 1 and responses[0].labels >= set(labels) - {reference}:
        return f"Which {short(responses[0].factor)} gives the best {metric}, and does it help?"
    if reference is None:
        return f"Which of {len(labels)} settings differ in {metric}?"
    if is_chosen_by_results(analysis):
        return f"Which of {len(labels)} settings has the best {metric}?"
    others = [label for label in labels if label != reference]
    named = _joined(others, "or") if len(others) <= _MOST_NAMED else f"{len(others)} settings"
    return f"Is any of {named} better than {reference} in {metric}?"


def answer_of(analysis: Analysis) -> str:
    """Returns the answer to the question."""
    best = analysis.summaries[0]
    if len(analysis.summaries) == 1 or not analysis.comparisons:
        return f"{best.label} has {analysis.metric} {_mean(analysis, best.label)}."
    found = [comparison for comparison in analysis.comparisons if comparison.is_different]
    if analysis.reference is None:
        return (
            f"{len(found)} of {len(analysis.comparisons)} pairs differ detectably; {best.label} has the best mean, "
            f"{_mean(analysis, best.label)}."
        )
    if len(analysis.comparisons) == 1:
        return _of_two(analysis.comparisons[0], analysis.metric)
    return _of_chosen(analysis, found) if is_chosen_by_results(analysis) else _of_reference(analysis, found)


def is_chosen_by_results(analysis: Analysis) -> bool:
    """Returns whether the reference is the best setting, so that p-values are corrected over all pairs."""
    family = max((comparison.family for comparison in analysis.comparisons), default=0)
    return family > sum(comparison.p_value is not None for comparison in analysis.comparisons)


def _of_two(comparison: Comparison, metric: str) -> str:
    if comparison.outcome == "tested" and comparison.is_different:
        first, second = comparison.first, comparison.second
        better, worse = (first, second) if comparison.is_first_better else (second, first)
        gain = span(comparison, is_advantage=True)
        return f"Yes: {better} is better than {worse} in {metric} by {gain}, {_p(comparison)}."
    if comparison.outcome == "tested":
        return f"No difference was detected: {comparison.first} minus {comparison.second} is {_with_p(comparison)}."
    return f"It could not be tested: {comparison.first} minus {comparison.second} is {span(comparison)}."


def _of_reference(analysis: Analysis, found: Sequence[Comparison]) -> str:
    better = [comparison for comparison in found if comparison.is_first_better]
    tested = [comparison for comparison in analysis.comparisons if comparison.difference is not None]
    worse = len(found) - len(better)
    also = f"; {worse} {'is' if worse == 1 else 'are'} worse" if worse else ""
    count = f"{len(better)} of {len(tested)} settings {'is' if len(better) == 1 else 'are'}"
    reference = analysis.reference
    if better:
        top = _best(better)
        most = "" if len(better) == 1 else "most of all "
        gain = span(top, is_advantage=True)
        return f"Yes: {count} better than {reference}, {most}{top.first}, by {gain}, {_p(top)}{also}."
    if not tested:
        return f"It could not be tested: no setting shares runs with {reference}."
    top = _best(tested)
    best = f"the best of the others is {top.first}, with a difference of {_with_p(top)}"
    return f"No improvement over {reference} was detected{also}; {best}."


def _of_chosen(analysis: Analysis, found: Sequence[Comparison]) -> str:
    reference = analysis.reference or ""
    worse = [comparison for comparison in found if not comparison.is_first_better]
    others = len(analysis.comparisons)
    chosen = f"{reference} was chosen by {analysis.selected_by}" if reference == analysis.selected else reference
    beats = f"is better than {len(worse)} of the {others} others" if worse else "is not told apart from any other"
    return f"{chosen}, with {analysis.metric} {_mean(analysis, reference)}; it {beats}."


def _best(comparisons: Sequence[Comparison]) -> Comparison:
    sign = 1.0 if comparisons[0].is_lower_better else -1.0
    return min(comparisons, key=lambda comparison: sign * (comparison.difference or 0.0))


def _mean(analysis: Analysis, label: str) -> str:
    summary = next(summary for summary in analysis.summaries if summary.label == label)
    ends = summary.interval
    return number(summary.mean) + (f" [{number(ends[0])}, {number(ends[1])}]" if ends else "")


def _p(comparison: Comparison) -> str:
    return f"{p_text(comparison.p_holm)}{' after Holm' if comparison.family > 1 else ''}"


def _with_p(comparison: Comparison) -> str:
    return f"{span(comparison)}, {_p(comparison)}" if comparison.p_holm is not None else span(comparison)


def _joined(labels: Sequence[str], word: str) -> str:
    return f"{', '.join(labels[:-1])} {word} {labels[-1]}" if len(labels) > 1 else labels[0]
