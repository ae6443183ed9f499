"""The conclusion of a study: statistics over its runs, stored as files of the parent run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regplug import statistics
from regplug.reports.curves import Curves
from regplug.reports.judging import Judged, judge
from regplug.runs.background_process import Executor
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point
from regplug.studies.design.settings import Setting
from regplug.studies.measuring import PointResult


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The conclusion of a study.

    Args:
        study: Its settings and runs.
        compared: The settings that were compared: each is one of the study's, or a group of them.
        judged: The comparison of the settings with its figure; `None` if no run finished.
        best: The setting chosen by the validation metric; `None` if no run finished.
        metric: The metric that compares the settings.
    """

    study: statistics.Study
    compared: statistics.Study
    judged: Judged | None
    best: str | None
    metric: str

    @property
    def analysis(self) -> statistics.Analysis | None:
        """The comparison of the settings; `None` if no run finished."""
        return None if self.judged is None else self.judged.analysis


class Concluding:
    """Compares the settings of a study, possibly in another process.

    The validation metric chooses the best setting. A cross-validation also compares by that metric, because each fold
    was held out. A sweep compares by the same quantity on the test split, which plays no part in the choice.

    Args:
        config: The study.
        name: Its name.
        results: One for each run.
        metric: The metric that compares the settings.
        selected_by: The validation metric; `None` if no setting is chosen.
        test_to_train: Ratio of evaluation rows to training rows of a run, if runs share rows.
        curves: Learning curves of the finished runs, by metric and setting.
        computing: Computes the comparison and draws the figure.
    """

    def __init__(
        self,
        config: StudyConfig,
        name: str,
        results: Sequence[PointResult],
        *,
        metric: str,
        selected_by: str | None,
        test_to_train: float | None,
        curves: Curves,
        computing: Executor,
    ) -> None:
        self._metric = metric
        settings = {each.point.setting.label: each.point.setting for each in results}
        self._study = study = statistics.Study(
            name=name,
            settings=tuple(statistics.Setting(label=s.label, varied=s.varied) for s in settings.values()),
            runs=tuple(map(_run, results)),
            test_to_train=test_to_train,
        )
        self._judged: Future[Judged] | None = None
        self._question: statistics.Question | None = None
        needed = [name for name in (metric, selected_by) if name is not None]
        if any(all(run.value(name) is not None for name in needed) for run in study.runs):
            self._question = question = _question(config, metric, selected_by, list(settings.values()))
            self._judged = computing.submit(judge, study, question, curves)

    def conclude(self, results: Sequence[PointResult]) -> Conclusion:
        """Waits for the comparison.

        Args:
            results: The same results, once they are tracked.
        """
        judged = None if self._judged is None else self._judged.result()
        study = replace(self._study, runs=tuple(map(_run, results)))
        only = study.labels[0] if len(study.labels) == 1 else None
        best = None if judged is None else judged.best or only
        compared = study if self._question is None else self._question.compared(study)[0]
        return Conclusion(study=study, compared=compared, judged=judged, best=best, metric=self._metric)


def _question(
    config: StudyConfig, metric: str, selected_by: str | None, settings: Sequence[Setting]
) -> statistics.Question:
    return statistics.Question(
        metric=metric,
        selected_by=selected_by,
        reference=next((each.group or each.label for each in settings if each.is_reference), None),
        all_pairs=config.all_pairs,
        is_lower_better=config.minimize,
        best_of={each.label: each.group for each in settings if each.group},
    )


def _run(result: PointResult) -> statistics.StudyRun:
    point = result.point
    fold, repeat = point.fold or (None, 0)
    return statistics.StudyRun(
        setting=point.setting.label,
        key=statistics.PairKey(
            point.config.seed, point.config.data_seed, fold, point.config.specs("dataset")[0].name, repeat
        ),
        metrics=result.metrics,
        status=result.status,
        seconds=result.seconds,
        run_id=result.run_id,
        is_guessing=bool(result.guess),
        rows=result.rows,
    )


def mean_metrics(results: Sequence[PointResult]) -> Mapping[str, float]:
    """Returns the mean of each final metric over the finished runs that have it."""
    finished = [result.metrics for result in results if result.is_finished]
    names = dict.fromkeys(name for metrics in finished for name in metrics)
    return {name: float(np.mean([m[name] for m in finished if name in m])) for name in names}


def curves_document(results: Sequence[PointResult]) -> dict[str, Any]:
    """Returns every metric of every run at every epoch."""
    return {
        result.point.key: {name: [list(point) for point in points] for name, points in result.history.items()}
        for result in results
        if result.history
    }


def run_document(result: PointResult) -> dict[str, Any]:
    """Returns one run of a study as JSON; a metric that is NaN or infinite is `null`."""
    point: Point = result.point
    return {
        "run_id": result.run_id,
        "setting": point.setting.label,
        "values": dict(point.setting.values),
        "seed": point.config.seed,
        "data_seed": point.config.data_seed,
        "fold": None if point.fold is None else list(point.fold),
        "status": result.status,
        "error": result.error or None,
        "warnings": [result.doubt] if result.doubt else [],
        "no_better_than_guessing": bool(result.guess),
        "config": point.config.to_dict(),
        "metrics": {name: value if math.isfinite(value) else None for name, value in result.metrics.items()},
        "epochs": result.epochs,
        "seconds": result.seconds,
    }
