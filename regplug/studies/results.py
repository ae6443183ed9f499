"""What a study tells while it goes and when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from regplug.runs.results import RunResult
from regplug.studies.concluding import Conclusion, run_document
from regplug.studies.config import Point, StudyConfig
from regplug.studies.grouping import Group
from regplug.studies.measuring import PointResult
from regplug.studies.running import Chunks
from regplug.training.loop import EpochRecord


@dataclass(frozen=True, kw_only=True)
class StudyStarted:
    """What is known when the first run starts.

    Args:
        study_id: MLflow's id of the parent run.
        kind: `sweep` or `cv`.
        name: The study's name.
        experiment: The experiment it belongs to.
        tracking_uri: Where it is tracked.
        metric: What the best setting is chosen by.
        points: All runs of the study.
        finished: Those that an earlier attempt has finished.
        stacked: Groups with the number of runs and the reason.
        notes: What a reader should know, such as trimmed folds.
        warnings: What is legal and doubtful in the runs.
    """

    study_id: str
    kind: str
    name: str
    experiment: str
    tracking_uri: str
    metric: str
    points: tuple[Point, ...]
    finished: tuple[PointResult, ...]
    stacked: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StudyEnded:
    """How a study ended.

    Args:
        status: `FINISHED`, `FAILED`, or `KILLED` where it was interrupted.
        store_status: What its store says of it: `RUNNING` where it could not be told of the end.
        kept: How many of its runs the store has.
        runs: How many runs it has.
    """

    status: str
    store_status: str
    kept: int
    runs: int


class StudyObserver(Protocol):
    """Looks at a study; every method does nothing until overridden."""

    def stage(self, name: str) -> None:
        """Called when a stage begins, such as `measuring how many runs to stack`."""

    def study_started(self, info: StudyStarted) -> None:
        """Called before the first run."""

    def group_started(self, group: Group, chunks: Chunks) -> None:
        """Called before the runs of a group are trained."""

    def epoch_ended(self, record: EpochRecord, points: Sequence[Point]) -> None:
        """Called after each epoch of a stack of these runs, in the order of the record's numbers."""

    def runs_finished(self, results: Sequence[PointResult]) -> None:
        """Called when the runs of a stack are done."""

    def warned(self, message: str) -> None:
        """Called when something went wrong that ends nothing: a plugin's observer raised, or the store is lost.

        That the store is lost is told from another thread.
        """

    def study_ended(self, ended: StudyEnded) -> None:
        """Called when everything is done, or when the study was broken off after it had begun."""


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study came to.

    Args:
        started: Name, place and plan.
        config: What was asked for.
        results: One for each run, in the order of the settings.
        conclusion: What it says.
        seconds: How long the training took.
        winner: The best setting, trained again on the run's own splits and exported; `None` where that was not asked.
    """

    started: StudyStarted
    config: StudyConfig
    results: tuple[PointResult, ...]
    conclusion: Conclusion
    seconds: float
    winner: RunResult | None = None

    @property
    def study_id(self) -> str:
        """MLflow's id of the parent run."""
        return self.started.study_id

    @property
    def best(self) -> str | None:
        """The setting that validation chose."""
        return self.conclusion.best

    @property
    def failed(self) -> tuple[PointResult, ...]:
        """The runs that failed."""
        return tuple(result for result in self.results if not result.is_finished)

    def best_point(self) -> Point | None:
        """The first run of the best setting: what to refit."""
        best = self.conclusion.best
        return next((result.point for result in self.results if result.point.setting.label == best), None)

    def document(self) -> dict[str, Any]:
        """The study as JSON knows it."""
        analysis = self.conclusion.analysis
        told = None if analysis is None else analysis.document()
        document = {
            "study_id": self.started.study_id,
            "name": self.started.name,
            "experiment": self.started.experiment,
            "tracking_uri": self.started.tracking_uri,
            "stacked": list(self.started.stacked),
            "notes": list(self.started.notes),
            "warnings": list(self.started.warnings),
            "best": self.conclusion.best,
            "selected_by": self.started.metric,
            "metric": self.conclusion.metric,
            "runs": [run_document(result) for result in self.results],
            "summary": told["summary"] if told else [],
            "analysis": told,
            "failed": len(self.failed),
            "seconds": self.seconds,
        }
        return document if self.winner is None else {**document, "winner": self.winner.document()}
