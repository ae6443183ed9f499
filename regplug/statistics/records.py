"""The input of the statistics: settings, and runs with the key that pairs them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from regplug.errors import RequestError, did_you_mean
from regplug.statistics.rows import RowValues

FINISHED = "FINISHED"


class PairKey(NamedTuple):
    """The key that two runs of different settings must share to form a pair.

    Args:
        seed: Seed of the training.
        data_seed: Seed of the split, or of generated data.
        fold: Fold of a cross-validation; `None` without folds.
        dataset: Name of the dataset.
        repeat: Repetition of a repeated cross-validation; each draws new folds.
    """

    seed: int
    data_seed: int = 0
    fold: int | None = None
    dataset: str = ""
    repeat: int = 0


Values = Mapping[str, Mapping[PairKey, float]]
"""Label of a setting -> pair key -> value of one metric."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a study.

    Args:
        label: Its label; unique in the study.
        varied: Its value on each axis: `{"reg.l2.strength": 0.1}`.
    """

    label: str
    varied: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyRun:
    """One run of a setting.

    Args:
        setting: The setting's label.
        key: Seed, data seed, fold and dataset.
        metrics: Last value of each metric.
        status: `FINISHED` or another final status.
        seconds: Its training time.
        run_id: MLflow's run id.
        is_guessing: Whether it is no better than guessing.
        rows: Its metrics on each test row; `None` if they were not kept.
    """

    setting: str
    key: PairKey
    metrics: Mapping[str, float]
    status: str = FINISHED
    seconds: float = 0.0
    run_id: str = ""
    is_guessing: bool = False
    rows: RowValues | None = None

    def value(self, metric: str) -> float | None:
        """Returns a metric of a finished run; `None` if it failed, lacks the metric or the value is not finite."""
        found = self.metrics.get(metric, math.nan)
        return found if self.status == FINISHED and math.isfinite(found) else None


@dataclass(frozen=True, kw_only=True)
class Study:
    """Settings and their runs.

    Args:
        name: The study's name.
        settings: In the order of the study.
        runs: In any order.
        test_to_train: Ratio of evaluation rows to training rows, if folds or data seeds draw both from the same rows.
            By default 1 / (k - 1) for k folds, else 0, which means independent data.

    Raises:
        RequestError: A label or a run occurs twice, or a run has an unknown setting.
    """

    name: str
    settings: tuple[Setting, ...]
    runs: tuple[StudyRun, ...]
    test_to_train: float | None = None

    def __post_init__(self) -> None:
        labels = Counter(setting.label for setting in self.settings)
        _refuse_doubles("setting", labels)
        _refuse_doubles("finished run", Counter((r.setting, *r.key) for r in self.runs if r.status == FINISHED))
        for run in self.runs:
            if run.setting not in labels:
                raise RequestError(
                    f"Run {run.run_id or run.key} has the setting {run.setting!r}, which is not in the study.",
                    hint=did_you_mean(run.setting, labels),
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """The settings' labels in order."""
        return tuple(setting.label for setting in self.settings)

    def values(self, metric: str) -> dict[str, dict[PairKey, float]]:
        """Returns the finite values of a metric by setting and pair key.

        Raises:
            RequestError: No finished run has it.
        """
        found: dict[str, dict[PairKey, float]] = {label: {} for label in self.labels}
        for run in self.runs:
            value = run.value(metric)
            if value is not None:
                found[run.setting][run.key] = value
        if not any(found.values()):
            known = {name for run in self.runs if run.status == FINISHED for name in run.metrics}
            near = did_you_mean(metric, known)
            told = "" if near.startswith("Known") else f" The runs have: {', '.join(sorted(known)) or 'no metric'}."
            raise RequestError(f"No finished run of {self.name} has a finite {metric!r}.", hint=near + told)
        return found


def _refuse_doubles(what: str, counts: Mapping[Any, int]) -> None:
    doubled = [str(key) for key, count in counts.items() if count > 1]
    if doubled:
        raise RequestError(
            f"The same {what} occurs {max(counts.values())} times in the study: {', '.join(doubled[:5])}.",
            hint="Compare studies whose settings differ, or rename one.",
        )
