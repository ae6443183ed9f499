"""The question of a study: what its settings are compared by, and with which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from regplug.statistics.analysis import Analysis, analyse
from regplug.statistics.nesting import Choice, average, choose_best
from regplug.statistics.records import Study


@dataclass(frozen=True, kw_only=True)
class Question:
    """How the settings of a study are compared.

    Args:
        metric: The metric to compare, such as `test/accuracy`.
        selected_by: The metric that chooses the best setting; `None` if none is chosen.
        reference: The setting with which the others are compared, chosen before the results; `None` if the best
            setting is the reference. The reference of groups is a group.
        all_pairs: Whether every setting is compared with every other.
        is_lower_better: The direction of a metric whose name does not imply it.
        best_of: Setting -> group of settings that is compared at its best, chosen by `selected_by`; empty for none.
        mean_of: Setting -> group of settings whose runs are averaged; empty for none.
    """

    metric: str
    selected_by: str | None = None
    reference: str | None = None
    all_pairs: bool = False
    is_lower_better: bool | None = None
    best_of: Mapping[str, str] = field(default_factory=dict)
    mean_of: Mapping[str, str] = field(default_factory=dict)

    def compared(self, study: Study) -> tuple[Study, tuple[Choice, ...]]:
        """Returns the study whose settings are compared, and which settings were chosen for it."""
        if self.mean_of:
            study = average(study, self.mean_of)
        if not self.best_of or self.selected_by is None:
            return study, ()
        return choose_best(study, self.best_of, self.selected_by, lower_is_better=self.is_lower_better)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a question.

    Args:
        study: The settings and runs that were compared.
        analysis: Their comparison.
    """

    study: Study
    analysis: Analysis

    @property
    def best(self) -> str | None:
        """The setting chosen by validation among all; of a group, the one that was chosen for it."""
        chosen = {choice.group: choice.setting for choice in self.analysis.choices}
        return None if self.analysis.selected is None else chosen.get(self.analysis.selected, self.analysis.selected)


def answer(study: Study, question: Question) -> Answer:
    """Returns the analysis that answers a question.

    Raises:
        RequestError: No run has the metric; its direction is unknown; or the reference is not a setting.
    """
    compared, choices = question.compared(study)
    analysis = analyse(
        compared,
        question.metric,
        selected_by=question.selected_by,
        baseline=question.reference,
        all_pairs=question.all_pairs,
        lower_is_better=question.is_lower_better,
        choices=choices,
    )
    return Answer(study=compared, analysis=analysis)
