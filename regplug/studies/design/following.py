"""The question that follows a study: whether its two best regularizers do more together than each alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from regplug.statistics import Analysis
from regplug.studies.design.config import StudyConfig
from regplug.studies.results import StudyResult


def factorial_of_best(result: StudyResult) -> StudyConfig | None:
    """Returns the factorial of the two best regularizers of a study, each at its best strength.

    Args:
        result: The study.

    Returns:
        The study that follows; `None` unless two single regularizers are better than the reference by the metric that
        chooses.
    """
    analysis = result.conclusion.analysis
    if analysis is None or analysis.effects or {axis.path for axis in result.config.crossed} != {"reg"}:
        return None
    values = {each.point.setting.label: each.point.setting.values["reg"] for each in result.results}
    best = [values[label] for label in _better(analysis, result) if label in values and "+" not in values[label]]
    if len(best) < 2:
        return None
    factorial = ",".join(f"'{text}'" if "," in text else text for text in best[:2])
    base = result.config.base.replaced(name="", out="")
    return dataclasses.replace(result.config, base=base, grid=(), best_of="", baseline="", factorial=factorial)


def _better(analysis: Analysis, result: StudyResult) -> Iterator[str]:
    """Yields the settings that are better than the reference on validation, the best first."""
    chosen = {choice.group: choice.setting for choice in analysis.choices}
    groups = {each.point.setting.group: each.point.setting.label for each in result.results}
    for label in analysis.deciding:
        if label == analysis.reference:
            return
        yield chosen.get(label, groups.get(label, label))
