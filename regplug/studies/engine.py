"""Runs a study: every run of it once, stacked where it can, tracked, and compared at the end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regplug.assembly import DTYPES, check_batch_size, find_components, find_device, load_data
from regplug.data import Prepared, prepare
from regplug.errors import DataError, RequestError
from regplug.registry import Registry, default_registry
from regplug.studies.concluding import Conclusion, conclude, keep_conclusion, overlap, run_document
from regplug.studies.config import Point, StudyConfig, points_of, settings_of
from regplug.studies.folds import fold_data
from regplug.studies.grouping import Group, group_points
from regplug.studies.keeping import Keeper
from regplug.studies.running import Chunks, GroupRunner, PointResult
from regplug.tracking import open_store
from regplug.training.loop import EpochRecord
from regplug.training.losses import make_loss


@dataclass(frozen=True, kw_only=True)
class StudyStarted:
    """What is known when the first run starts.

    Args:
        study_id: MLflow's id of the parent run.
        name: The study's name.
        experiment: The experiment it belongs to.
        tracking_uri: Where it is tracked.
        metric: What the best setting is chosen by.
        runs: Runs of the study.
        finished: Those that an earlier attempt has finished.
        stacked: Groups with the number of runs and the reason.
        notes: What a reader should know, such as trimmed folds.
    """

    study_id: str
    name: str
    experiment: str
    tracking_uri: str
    metric: str
    runs: int
    finished: tuple[PointResult, ...]
    stacked: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


class StudyObserver:
    """Looks at a study; every method does nothing until overridden."""

    def study_started(self, info: StudyStarted) -> None:
        """Called before the first run."""

    def group_started(self, group: Group, chunks: Chunks) -> None:
        """Called before the runs of a group are trained."""

    def epoch_ended(self, record: EpochRecord, runs: int) -> None:
        """Called after each epoch of a stack of that many runs."""

    def runs_finished(self, results: Sequence[PointResult]) -> None:
        """Called when the runs of a stack are done."""


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """What a study came to.

    Args:
        started: Name, place and plan.
        config: What was asked for.
        results: One for each run, in the order of the settings.
        conclusion: What it says.
        seconds: How long the training took.
    """

    started: StudyStarted
    config: StudyConfig
    results: tuple[PointResult, ...]
    conclusion: Conclusion
    seconds: float

    @property
    def failed(self) -> tuple[PointResult, ...]:
        """The runs that failed."""
        return tuple(result for result in self.results if result.status != "FINISHED")

    def best_point(self) -> Point | None:
        """The first run of the best setting: what to refit."""
        best = self.conclusion.best
        return next((result.point for result in self.results if result.point.setting.label == best), None)

    def document(self) -> dict[str, Any]:
        """The study as JSON knows it."""
        analysis = self.conclusion.analysis
        return {
            "study_id": self.started.study_id,
            "name": self.started.name,
            "experiment": self.started.experiment,
            "tracking_uri": self.started.tracking_uri,
            "stacked": list(self.started.stacked),
            "notes": list(self.started.notes),
            "best": self.conclusion.best,
            "selected_by": self.started.metric,
            "metric": self.conclusion.metric,
            "runs": [run_document(result) for result in self.results],
            "summary": [] if analysis is None else analysis.document()["summary"],
            "analysis": None if analysis is None else analysis.document(),
            "failed": len(self.failed),
            "seconds": self.seconds,
        }


class StudyData:
    """The data of a study's runs: read once for each data seed, parted once for each fold.

    Args:
        study: The study.
        registry: What is installed.
    """

    def __init__(self, study: StudyConfig, registry: Registry) -> None:
        self._study, self._registry = study, registry
        self._known: dict[tuple[Any, ...], Prepared] = {}

    def __call__(self, point: Point) -> Prepared:
        """The data of one run; runs with equal data get the same object."""
        config = point.config
        key = (config.dataset, config.dtype, config.device, config.data_seed, point.fold)
        if key not in self._known:
            whole = dataclasses.replace(point, fold=None)
            self._known[key] = self._read(point) if point.fold is None else self._part(point, self(whole))
        check_batch_size(config, self._known[key])
        return self._known[key]

    def notes(self, point: Point) -> tuple[str, ...]:
        """What a reader should know of the folds."""
        if point.fold is None:
            return ()
        rows = len(self(dataclasses.replace(point, fold=None)).train)
        valid = self(dataclasses.replace(point, fold=None)).valid
        rows += 0 if valid is None else len(valid)
        left_over = rows % self._study.folds
        if not left_over:
            return ()
        return (f"{rows} rows in {self._study.folds} folds: {left_over} rows are trimmed to make the folds equal.",)

    def _read(self, point: Point) -> Prepared:
        return load_data(point.config, find_components(point.config, self._registry))

    def _part(self, point: Point, whole: Prepared) -> Prepared:
        fold = point.fold or (0, 0)
        raw = fold_data(
            whole.raw,
            fold=fold[0],
            folds=self._study.folds,
            repeat=fold[1],
            data_seed=point.config.data_seed,
            groups=_groups(whole, self._study.group),
        )
        return prepare(raw, dtype=DTYPES[point.config.dtype], device=find_device(point.config.device))


def _groups(whole: Prepared, column: str) -> Any:
    if not column:
        return None
    groups = getattr(whole.raw, "groups", None)
    if groups is None:
        raise DataError(
            f"group={column}: the dataset {whole.raw.name} has no groups.", hint="Name the column as csv:group=COLUMN."
        )
    return groups


class Study:
    """A study that is planned and checked, ready to run.

    Args:
        config: What to run.
        kind: `sweep` or `cv`, for name and tags.
        registry: What is installed; by default all of it.

    Raises:
        RequestError: The study is wrong: all that is not allowed is told at once, before anything runs.
    """

    def __init__(self, config: StudyConfig, *, kind: str = "sweep", registry: Registry | None = None) -> None:
        self.config, self.kind = config, kind
        self._registry = registry or default_registry()
        self.points = points_of(config, self._registry)
        self.data_of = StudyData(config, self._registry)
        first = self.data_of(self.points[0])
        self.task = first.task
        self.loss = make_loss(self.points[0].config.loss, first.task).name
        self.metric = config.metric or _default_metric(first)
        self.notes = self.data_of.notes(self.points[0])
        for group in group_points(self.points, self._registry):
            self._runner(group).check()

    def run(self, observers: Sequence[StudyObserver] = (), tracking_uri: str | None = None) -> StudyResult:
        """Trains every run that is not finished yet, tracked beside the training.

        Args:
            observers: Who is told.
            tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` here.
        """
        keeper = Keeper(open_store(tracking_uri), self, self._registry)
        done = keeper.open()
        with keeper:
            left = [point for point in self.points if point.key not in done]
            runners = [self._runner(group) for group in group_points(left, self._registry)]
            plans = [runner.chunks() for runner in runners]
            info = StudyStarted(
                study_id=keeper.tracked.run_id,
                name=keeper.name,
                experiment=keeper.experiment,
                tracking_uri=keeper.store.location.uri,
                metric=self.metric,
                runs=len(self.points),
                finished=tuple(done.values()),
                stacked=stacked_document(plans),
                notes=self.notes,
            )
            for observer in observers:
                observer.study_started(info)
            began = time.perf_counter()
            _train(runners, plans, keeper, observers)
            seconds = time.perf_counter() - began
            done |= {result.point.key: result for result in keeper.kept()}
            results = tuple(done[point.key] for point in self.points)
            conclusion = conclude(
                self.config,
                keeper.name,
                settings_of(self.config),
                results,
                selected_by=self.metric,
                test_to_train=self._overlap(),
            )
            keep_conclusion(keeper.tracked, conclusion, results)
        return StudyResult(started=info, config=self.config, results=results, conclusion=conclusion, seconds=seconds)

    def _overlap(self) -> float | None:
        by_seed = {point.config.data_seed: point for point in self.points if point.fold == self.points[0].fold}
        datas = [self.data_of(point) for point in list(by_seed.values())[:2]]
        return overlap(datas[0], datas[1] if len(datas) > 1 else None)

    def stacked(self) -> tuple[dict[str, Any], ...]:
        """Which runs would stack, in what groups and why; measured."""
        return stacked_document([self._runner(g).chunks() for g in group_points(self.points, self._registry)])

    def _runner(self, group: Group) -> GroupRunner:
        return GroupRunner(group, self._registry, self.data_of)


def stacked_document(plans: Sequence[Chunks]) -> tuple[dict[str, Any], ...]:
    """The groups as `plan --json` tells them."""
    return tuple({"runs": sum(plan.sizes), "sizes": list(plan.sizes), "why": plan.why} for plan in plans)


def _train(
    runners: Sequence[GroupRunner], plans: Sequence[Chunks], keeper: Keeper, observers: Sequence[StudyObserver]
) -> None:
    def on_epoch(record: EpochRecord, runs: int) -> None:
        for observer in observers:
            observer.epoch_ended(record, runs)

    for runner, plan in zip(runners, plans, strict=True):
        for results in runner.run(plan, on_epoch):
            keeper.keep(results)
            for observer in observers:
                observer.runs_finished(results)


def _default_metric(data: Prepared) -> str:
    if data.valid is None:
        raise RequestError(
            f"The dataset {data.raw.name} has no validation split to choose the best setting by.",
            hint="Give it one, for example mnist:validation=5000, or use `regplug cv`. The test split never chooses.",
        )
    return "valid/accuracy" if data.task.is_classification else "valid/loss"
