"""Analyses a whole study: summaries, ranks, comparisons and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from regplug.config.directions import check_selection, is_lower_better
from regplug.errors import RequestError, did_you_mean
from regplug.statistics.factorial import Effect, find_effects, find_factors
from regplug.statistics.nesting import Choice
from regplug.statistics.paired import Comparison, compare_pair, correct, differences, paired_t
from regplug.statistics.ranks import Ranks, rank
from regplug.statistics.records import Study, Values
from regplug.statistics.rows import RowTable, find_rows
from regplug.statistics.summary import Summary, summarise
from regplug.statistics.units import Units, find_units
from regplug.statistics.verdict import bootstrap_note, notes, verdict
from regplug.statistics.words import comparison_sentence


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The analysis of a study by one metric.

    Args:
        study: The study's name.
        metric: The compared metric.
        is_lower_better: Whether lower values are better.
        units: The units that count as one observation.
        rows: Number of test rows that intervals and tests cover beside the units; 0 if they cover the units alone.
        why_no_rows: Why they do not cover the test rows; empty if they do.
        selected_by: The metric that chose the best setting; `None` if none was chosen.
        selected: The best setting by that metric.
        reference: The setting with which the others are compared; `None` if all pairs are compared.
        summaries: Best mean first; settings without a value last.
        comparisons: In the order of the summaries.
        ranks: Ranks of the settings, if they share observations.
        verdict: The main conclusion.
        notes: The methods, and caveats.
        deciding: The mean of `selected_by` of each setting that has one.
        choices: Which setting stands for each setting that is a group of several.
        effects: Main effects and interactions, if the settings are a complete factorial of two levels each.
    """

    study: str
    metric: str
    is_lower_better: bool
    units: Units
    selected_by: str | None
    selected: str | None
    reference: str | None
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    ranks: Ranks | None
    verdict: str
    notes: tuple[str, ...]
    deciding: Mapping[str, float] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    effects: tuple[Effect, ...] = ()
    rows: int = 0
    why_no_rows: str = ""

    def comparison_of(self, label: str) -> Comparison | None:
        """Returns a setting's comparison with the reference."""
        return next((c for c in self.comparisons if self.reference == c.second and c.first == label), None)

    @property
    def ordered(self) -> tuple[Summary, ...]:
        """The summaries with the reference first, then by the metric that chooses, or else by the compared one."""
        place = {label: at for at, label in enumerate(self.deciding)}
        is_reference = {summary.label: summary.label == self.reference for summary in self.summaries}
        return tuple(
            sorted(self.summaries, key=lambda each: (not is_reference[each.label], place.get(each.label, len(place))))
        )

    @property
    def bootstrap_note(self) -> str:
        """Why there is no bootstrap interval; empty if there is one."""
        return bootstrap_note(self)

    def document(self) -> dict[str, Any]:
        """Returns the analysis as JSON."""
        return {
            "study": self.study,
            "metric": self.metric,
            "is_lower_better": self.is_lower_better,
            "unit": self.units.kind,
            "test_rows": self.rows,
            "why_no_test_rows": self.why_no_rows or None,
            "variance_ratio": self.units.variance_ratio,
            "selected_by": self.selected_by,
            "selected": self.selected,
            "reference": self.reference,
            "summary": [{**each.document(), "selected_by": self.deciding.get(each.label)} for each in self.summaries],
            "comparisons": [{**c.document(), "sentence": comparison_sentence(c)} for c in self.comparisons],
            "ranks": self.ranks and self.ranks.document(),
            "verdict": self.verdict,
            "notes": list(self.notes),
            "bootstrap_note": self.bootstrap_note or None,
            "choices": [choice.document() for choice in self.choices],
            "effects": [effect.document() for effect in self.effects],
        }


def analyse(
    study: Study,
    metric: str,
    *,
    selected_by: str | None = None,
    baseline: str | None = None,
    all_pairs: bool = False,
    lower_is_better: bool | None = None,
    bootstrap_seed: int | None = 0,
    choices: tuple[Choice, ...] = (),
) -> Analysis:
    """Returns the analysis of a study by one metric.

    The reference is the baseline if one is given, else the best setting by `selected_by`, else the setting with the
    best mean of the metric itself. A reference that was chosen by its results is compared under Holm's correction over
    *all* pairs, because the best of many differs from the others by chance more often than a predefined one.

    Args:
        study: Settings and runs.
        metric: The metric to compare, such as `test/accuracy`.
        selected_by: The metric that chooses the best setting: one of the validation set, never of the test set.
        baseline: A predefined reference.
        all_pairs: Whether to compare every setting with every other.
        lower_is_better: The direction of a metric whose name does not imply it.
        bootstrap_seed: Seed of the bootstrap intervals; `None` skips them, which saves most of the time.
        choices: Which setting stands for each setting that is a group of several.

    Raises:
        RequestError: No run has the metric; its direction is unknown; the baseline is not a setting; or the best
            setting would be chosen by the test set.
    """
    values = study.values(metric)
    is_lower = is_lower_better(metric) if lower_is_better is None else lower_is_better
    units = find_units(values, study.test_to_train)
    chosen = _selection(study, selected_by, lower_is_better) if selected_by else ()
    selected = chosen[0].label if chosen else None
    ranks = rank(values, units, is_lower_better=is_lower)
    rows, why_no_rows = find_rows(study, metric, units)
    summaries = _summaries(study, metric, units, ranks, is_lower, bootstrap_seed, rows=rows)
    _check_baseline(study, baseline)
    reference = None if all_pairs else baseline or (selected if selected and values[selected] else summaries[0].label)
    order = [summary.label for summary in summaries]
    comparisons = _comparisons(values, units, order, reference, is_lower, is_named=baseline is not None, rows=rows)
    bare = Analysis(
        study=study.name,
        metric=metric,
        is_lower_better=is_lower,
        units=units,
        selected_by=selected_by,
        selected=selected,
        reference=reference,
        summaries=summaries,
        comparisons=comparisons,
        ranks=ranks,
        verdict="",
        notes=(),
        deciding={summary.label: summary.mean for summary in chosen if summary.mean is not None},
        choices=choices,
        effects=find_effects(study, metric, find_factors(study.settings), units, is_lower_better=is_lower),
        rows=rows.rows if rows is not None else 0,
        why_no_rows=why_no_rows,
    )
    return replace(bare, verdict=verdict(bare), notes=notes(bare, baseline is not None))


def select(study: Study, metric: str, *, lower_is_better: bool | None = None) -> str:
    """Returns the label of the best setting: the best mean of a metric that is not the test set's.

    A setting with failed runs is ranked below those without, because the mean of its other runs is too optimistic. Of
    equal means, the first in the study's order is chosen.

    Raises:
        RequestError: The metric is one of the test set, no run has it, or its direction is unknown.
    """
    return _selection(study, metric, lower_is_better)[0].label


def _selection(study: Study, metric: str, lower_is_better: bool | None) -> tuple[Summary, ...]:
    """Returns the summaries of the metric that chooses, the best first."""
    check_selection(metric)
    values = study.values(metric)
    is_lower = is_lower_better(metric) if lower_is_better is None else lower_is_better
    units = find_units(values, study.test_to_train)
    return _summaries(study, metric, units, None, is_lower, None, failed_last=True)


def _check_baseline(study: Study, baseline: str | None) -> None:
    if baseline is not None and baseline not in study.labels:
        raise RequestError(
            f"The baseline {baseline!r} is not a setting of {study.name}.", hint=did_you_mean(baseline, study.labels)
        )


def _summaries(
    study: Study,
    metric: str,
    units: Units,
    ranks: Ranks | None,
    is_lower: bool,
    bootstrap_seed: int | None,
    *,
    failed_last: bool = False,
    rows: RowTable | None = None,
) -> tuple[Summary, ...]:
    by_label = {label: [run for run in study.runs if run.setting == label] for label in study.labels}
    mean_ranks = ranks.mean_ranks if ranks else {}
    found = [
        summarise(label, runs, metric, units, mean_rank=mean_ranks.get(label), seed=bootstrap_seed, rows=rows)
        for label, runs in by_label.items()
    ]

    def place(summary: Summary) -> tuple[bool, bool, float]:
        mean = summary.mean or 0.0
        return summary.mean is None, failed_last and summary.failed > 0, mean if is_lower else -mean

    return tuple(sorted(found, key=place))


def _comparisons(
    values: Values,
    units: Units,
    order: Sequence[str],
    reference: str | None,
    is_lower: bool,
    *,
    is_named: bool,
    rows: RowTable | None,
) -> tuple[Comparison, ...]:
    pairs = list(combinations(order, 2)) if reference is None else [(x, reference) for x in order if x != reference]
    bare = [compare_pair(first, second, values, units, is_lower_better=is_lower, rows=rows) for first, second in pairs]
    others = [x for x in order if x != reference and values[x]] if reference is not None and not is_named else []
    return correct(bare, rows.p_values(others) if rows is not None else _p_values(values, units, others))


def _p_values(values: Values, units: Units, labels: Sequence[str]) -> list[float]:
    """Returns p of every pair of these settings that shares two observations and varies."""
    found = []
    for first, second in combinations(labels, 2):
        shared = differences(values[first], values[second], units)
        if len(shared.values) > 1 and not shared.are_constant:
            found.append(paired_t(shared.values, units.variance_ratio)[1])
    return found
