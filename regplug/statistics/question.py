"""The question of a study: what its settings are compared by, and with which."""

from __future__ import annotations

from dataclasses import dataclass

from regplug.statistics.analysis import Analysis, analyse
from regplug.statistics.records import Study


@dataclass(frozen=True, kw_only=True)
class Question:
    """How the settings of a study are compared.

    Args:
        metric: The metric to compare, such as `test/accuracy`.
        selected_by: The metric that chooses the best setting; `None` if none is chosen.
        reference: The setting with which the others are compared, chosen before the results; `None` if the best
            setting is the reference.
        all_pairs: Whether every setting is compared with every other.
        is_lower_better: The direction of a metric whose name does not imply it.
    """

    metric: str
    selected_by: str | None = None
    reference: str | None = None
    all_pairs: bool = False
    is_lower_better: bool | None = None


def answer(study: Study, question: Question) -> Analysis:
    """Returns the analysis that answers a question.

    Raises:
        RequestError: No run has the metric; its direction is unknown; or the reference is not a setting.
    """
    return analyse(
        study,
        question.metric,
        selected_by=question.selected_by,
        baseline=question.reference,
        all_pairs=question.all_pairs,
        lower_is_better=question.is_lower_better,
    )
