"""Passes the events of a study's runs to the observers of plugins, as for single runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import TracebackType

from regplug.data import Prepared
from regplug.registry import Registry
from regplug.runs.observers import PluginObservers
from regplug.runs.results import RunEpoch, RunFinished, RunStarted
from regplug.studies.design.points import Point
from regplug.studies.measuring import PointResult
from regplug.studies.results import StudyEnded, StudyObserver, StudyStarted
from regplug.studies.stacks.grouping import Group
from regplug.studies.stacks.running import Chunks
from regplug.training.course import EpochRecord


class PluginsOfStudy(StudyObserver):
    """Reports every run to the observers of plugins; a context manager, so that each started run also ends.

    The runs of a stack start together, and their epochs are reported one after another, each with its run. A stack that
    fails is trained again run by run, and its epochs are reported again.

    Args:
        registry: The installed components.
        others: Observers that receive warnings.
        data_of: Returns the data of a run.
    """

    def __init__(
        self, registry: Registry, others: Sequence[StudyObserver], data_of: Callable[[Point], Prepared]
    ) -> None:
        self._plugged = PluginObservers(registry, others, of="study")
        self._data_of = data_of
        self._study: StudyStarted
        self._going: dict[str, tuple[RunStarted, Point]] = {}
        self._chunks: Iterator[list[Point]] = iter(())

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about exceptions that the observers raised."""
        return tuple(self._plugged.warnings)

    @property
    def is_listening(self) -> bool:
        """Whether there are any observers."""
        return any(map(self._plugged.hears, ("stage", "run_started", "epoch_ended", "run_finished")))

    def stage(self, name: str) -> None:
        """Passes the stage on."""
        self._plugged.stage(name)

    def study_started(self, info: StudyStarted) -> None:
        """Stores the study of the runs."""
        self._study = info

    def group_started(self, group: Group, chunks: Chunks) -> None:
        """Reports the start of the runs of the first stack."""
        done = {result.point.key for result in self._study.finished}
        points = iter(group.points)
        parts = [[point for point in islice(points, size) if point.key not in done] for size in chunks.sizes]
        self._chunks = iter([part for part in parts if part])
        self._start_next()

    def epoch_ended(self, record: EpochRecord, points: Sequence[Point]) -> None:
        """Reports the epoch to each run that trained in it."""
        if not self._plugged.hears("epoch_ended"):
            return
        seconds = record.seconds / len(points)
        for index, (point, is_active) in enumerate(zip(points, record.active, strict=True)):
            if is_active and point.key in self._going:  # an earlier attempt may have finished it
                metrics = {name: [numbers[index]] for name, numbers in record.metrics.items()}
                run, _ = self._going[point.key]
                self._plugged.epoch_ended(RunEpoch(run=run, epoch=record.epoch, metrics=metrics, seconds=seconds))

    def runs_finished(self, results: Sequence[PointResult]) -> None:
        """Reports the result of each run of a stack, and the start of the next stack's runs."""
        for result in results:
            run, _ = self._going.pop(result.point.key)
            self._plugged.run_finished(
                RunFinished(
                    run_id="",
                    run_name=run.name,
                    experiment=run.experiment,
                    tracking_uri=run.tracking_uri,
                    status=result.status,
                    config=result.point.config,
                    metrics=result.metrics,
                    seconds={"training": result.seconds},
                    error=result.error,
                    study_id=run.study_id,
                )
            )
        self._start_next()

    def warned(self, message: str) -> None:
        """Does nothing: plugins do not receive warnings about other plugins."""

    def study_ended(self, ended: StudyEnded) -> None:
        """Does nothing: plugins receive only the events of runs."""

    def __enter__(self) -> PluginsOfStudy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for run, point in self._going.values():  # after Ctrl-C, there is no error
            why = error or KeyboardInterrupt()
            ended = RunFinished.broken_off(run, why, config=point.config, metrics={}, seconds={})
            self._plugged.run_finished(ended)

    def _start_next(self) -> None:
        study = self._study
        for point in next(self._chunks, []):
            run = RunStarted(
                run_id="",
                name=point.key,
                experiment=study.experiment,
                tracking_uri=study.tracking_uri,
                epochs=point.config.epochs,
                steps_per_epoch=-(-len(self._data_of(point).train) // point.config.batch_size),
                warnings=study.warnings,
                study_id=study.study_id,
            )
            self._going[point.key] = run, point
            self._plugged.run_started(run)
