"""Events and result of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from regplug import statistics
from regplug.reports import figures
from regplug.reports.drawing import Drawing
from regplug.reports.judging import regroup_curves
from regplug.reports.table import Parts
from regplug.runs.results import RunResult
from regplug.studies.concluding import Conclusion, run_document
from regplug.studies.curves import curve_metrics, curves_of
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point
from regplug.studies.measuring import PointResult
from regplug.studies.presenting import Presented
from regplug.studies.stacks.grouping import Group
from regplug.studies.stacks.running import Chunks
from regplug.training.course import EpochRecord


@dataclass(frozen=True, kw_only=True)
class StudyStarted:
    """The state of a study when its first run starts.

    Args:
        study_id: MLflow's id of the parent run.
        kind: `sweep` or `cv`.
        name: The study's name.
        experiment: Its experiment.
        tracking_uri: Its store.
        metric: The metric that chooses the best setting; empty if there are no validation rows.
        compared: The metric that compares the settings.
        points: All runs of the study.
        finished: Runs that an earlier attempt finished.
        stacked: Groups with the number of runs and the reason.
        notes: Notes for the reader, such as trimmed folds.
        warnings: Warnings about doubtful settings.
        runs_url: Its runs in MLflow's UI, at the address of the server or of `regplug ui`.
    """

    study_id: str
    kind: str
    name: str
    experiment: str
    tracking_uri: str
    metric: str
    compared: str
    points: tuple[Point, ...]
    finished: tuple[PointResult, ...]
    stacked: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    runs_url: str = ""


@dataclass(frozen=True, kw_only=True)
class StudyEnded:
    """How a study ended.

    Args:
        status: `FINISHED`, `FAILED`, or `KILLED` if it was interrupted.
        store_status: Its status in the store: `RUNNING` if the final status could not be written.
        kept: Number of its runs in the store.
        runs: Number of its runs.
    """

    status: str
    store_status: str
    kept: int
    runs: int


class StudyObserver(Protocol):
    """Receives the events of a study; every method does nothing until overridden."""

    def stage(self, name: str) -> None:
        """Called when a stage starts, such as `measuring how many runs to stack`."""

    def study_started(self, info: StudyStarted) -> None:
        """Called before the first run."""

    def group_started(self, group: Group, chunks: Chunks) -> None:
        """Called before the runs of a group are trained."""

    def epoch_ended(self, record: EpochRecord, points: Sequence[Point]) -> None:
        """Called after each epoch of a stack of these runs, in the order of the record's values."""

    def runs_finished(self, results: Sequence[PointResult]) -> None:
        """Called when the runs of a stack have ended."""

    def warned(self, message: str) -> None:
        """Called after an error that does not end the study: a plugin's observer raised, or the store is lost.

        For a lost store it is called from another thread.
        """

    def study_ended(self, ended: StudyEnded) -> None:
        """Called at the end of the study, also if it was interrupted after the start."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StudyResult(Presented):
    """The result of a study.

    Args:
        started: Name, store and plan.
        config: The configuration of the study.
        results: One for each run, in the order of the settings.
        conclusion: The conclusion.
        seconds: Duration of the training.
        finals: The best setting, trained again on the dataset's own splits with one seed or several: first the
            exported one, which has the best validation metric. None without refit.
        status: `FINISHED`, or `KILLED` if Ctrl-C ended it early.
        untrained: The runs of an interrupted study that are not trained.
    """

    started: StudyStarted
    config: StudyConfig
    results: tuple[PointResult, ...]
    conclusion: Conclusion
    seconds: float
    finals: tuple[RunResult, ...] = ()
    status: str = "FINISHED"
    untrained: tuple[Point, ...] = ()

    @property
    def winner(self) -> RunResult | None:
        """The best setting, trained again and exported; `None` without refit."""
        return self.finals[0] if self.finals else None

    @property
    def study_id(self) -> str:
        """MLflow's id of the parent run."""
        return self.started.study_id

    @property
    def best(self) -> str | None:
        """The setting chosen by the validation metric."""
        return self.conclusion.best

    @property
    def failed(self) -> tuple[PointResult, ...]:
        """The runs that failed."""
        return tuple(result for result in self.results if not result.is_finished)

    def analyses(self) -> Parts:
        """See `Presented.analyses`; none if no run finished."""
        analysis = self.conclusion.analysis
        return [] if analysis is None else [("", analysis)]

    def studies(self) -> Sequence[tuple[str, statistics.Study]]:
        """See `Presented.studies`."""
        return [("", self.conclusion.study)]

    def drawings(self) -> list[Drawing]:
        """See `Presented.drawings`."""
        judged = self.conclusion.judged
        if judged is None:
            return []
        metrics = curve_metrics(judged.analysis.metric, judged.analysis.selected_by)
        curves = regroup_curves(curves_of(self.results, metrics), judged.question, judged.analysis)
        return figures.drawings(judged.study, judged.analysis, curves, whole=self.conclusion.study)

    @property
    def _heading(self) -> tuple[str, str]:
        analysis = self.conclusion.analysis
        return self.started.name, "No run finished." if analysis is None else analysis.verdict

    def best_point(self) -> Point | None:
        """The first run of the best setting, which is refitted."""
        best = self.conclusion.best
        return next((result.point for result in self.results if result.point.setting.label == best), None)

    def document(self) -> dict[str, Any]:
        """Returns the study as JSON."""
        analysis = self.conclusion.analysis
        told = None if analysis is None else analysis.document()
        document = {
            "study_id": self.started.study_id,
            "status": self.status,
            "name": self.started.name,
            "experiment": self.started.experiment,
            "tracking_uri": self.started.tracking_uri,
            "runs_url": self.started.runs_url,
            "stacked": list(self.started.stacked),
            "notes": list(self.started.notes),
            "warnings": list(self.started.warnings),
            "best": self.conclusion.best,
            "selected_by": self.started.metric or None,
            "metric": self.conclusion.metric,
            "runs": [run_document(result) for result in self.results],
            "summary": told["summary"] if told else [],
            "analysis": told,
            "failed": len(self.failed),
            "untrained": [point.key for point in self.untrained],
            "seconds": self.seconds,
        }
        if self.winner is None:
            return document
        return {**document, "winner": self.winner.document(), "finals": [final.document() for final in self.finals]}
