"""Executes a study: trains the runs that are not finished, tracks, compares and delivers them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from regplug.errors import RegplugError, raise_after_start
from regplug.runs.background_process import Executor
from regplug.runs.checkpoints import Checkpoints
from regplug.runs.interrupting import interrupted_softly
from regplug.studies.concluding import Concluding
from regplug.studies.curves import curve_metrics, curves_of
from regplug.studies.delivery.delivering import Best, Finals
from regplug.studies.design.points import Point
from regplug.studies.keeping import WINNER_TAG, Keeper
from regplug.studies.measuring import PointResult
from regplug.studies.observing import PluginsOfStudy
from regplug.studies.reporting import keep_conclusion
from regplug.studies.results import StudyObserver, StudyResult, StudyStarted
from regplug.studies.stacks.progress import Progress
from regplug.studies.stacks.running import Chunks
from regplug.studies.telling import interruption_of, tell_end, tell_guessing, tell_stage, tell_warning
from regplug.training.course import EpochRecord

if TYPE_CHECKING:
    from regplug.studies.engine import Study


_NOT_DELIVERED = (
    "The best setting is not trained again and exported, because its run cannot be tracked now. When the tracking "
    "store can be written: `regplug runs sync`, and then `regplug export` with the id of the study."
)


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a study is executed.

    Args:
        tracking_uri: As for `Study.run`.
        refit: As for `Study.run`.
        is_soft: As for `Study.run`.
        computing: Computes statistics and figures.
    """

    tracking_uri: str | None
    refit: bool
    is_soft: bool
    computing: Executor


class Execution:
    """One execution of a study, which may continue an earlier one.

    Args:
        study: The study.
        keeper: Its store.
        plugged: The observers of plugins.
        observers: All observers.
        manner: How it is executed.
    """

    def __init__(
        self,
        study: Study,
        keeper: Keeper,
        plugged: PluginsOfStudy,
        observers: Sequence[StudyObserver],
        manner: Manner,
    ) -> None:
        self._study, self._keeper, self._plugged, self._observers = study, keeper, plugged, observers
        self._manner = manner
        self._warnings: list[str] = []
        self._reached: StudyResult | None = None
        self._progress = Progress()

    def run(self) -> StudyResult:
        """Executes it, and reports how it ended.

        Raises:
            FailedError: The refit failed; the study's runs are kept.
        """
        keeper = self._keeper
        done = keeper.open()
        keeper.on_trouble(self._warn)
        if self._study.config.base.system_metrics:
            keeper.tracked.measure_system()
        try:
            with keeper, self._plugged:
                result = self._carry_out(done)
                keeper.tracked.ends_as = result.status
        except BaseException as error:
            tell_end(self._observers, keeper.ended(error))
            if isinstance(error, RegplugError):
                raise_after_start(error, self._reached)
            raise
        tell_end(self._observers, keeper.ended(None))
        guessing = tell_guessing(self._observers, result.results)
        told = (*result.started.warnings, *self._plugged.warnings, *self._warnings, *guessing)
        return replace(result, started=replace(result.started, warnings=told))

    def _carry_out(self, done: dict[str, PointResult]) -> StudyResult:
        """Trains and delivers, and saves the progress meanwhile."""
        keeper, manner = self._keeper, self._manner
        every_s = self._study.config.base.checkpoint_every
        with (
            Checkpoints(keeper.checkpoint_file, every_s, self._warn) as checkpoints,
            interrupted_softly(self._warn, is_on=manner.is_soft, what="study") as is_interrupted,
        ):
            self._progress = Progress(checkpoints, keeper.saved, is_interrupted)
            result = self._train_and_compare(done)
            if manner.refit and not result.untrained and keeper.tracked.is_lost:
                self._warn(_NOT_DELIVERED)
            elif manner.refit and not result.untrained:
                result = self._train_best(result, is_interrupted)
            if result.status == "FINISHED":
                checkpoints.remove()
            else:
                self._warn(interruption_of(result))
        return result

    def _train_and_compare(self, done: dict[str, PointResult]) -> StudyResult:
        """Trains, compares and stores the results."""
        info, plans = self._start(done)
        began = time.perf_counter()
        done |= {result.point.key: result for result in self._train(plans, done)}
        seconds = time.perf_counter() - began
        concluding = self._compare(done)
        done = self._keeper.with_run_ids(done)
        self._reached = result = self._conclude(concluding, info, done, seconds)
        if not result.untrained:
            tell_stage(self._observers, "writing the report")
            keep_conclusion(self._keeper, result)
        return result

    def _start(self, done: Mapping[str, PointResult]) -> tuple[StudyStarted, list[Chunks]]:
        study, keeper = self._study, self._keeper
        plans = keeper.read_plans([len(group.points) for group in study.groups])
        if plans is None:
            tell_stage(self._observers, "measuring how many runs to stack")
            plans = [runner.chunks() for runner in study.runners]
            keeper.keep_plans(plans)
        info = StudyStarted(
            study_id=keeper.tracked.run_id,
            kind=study.kind,
            name=keeper.name,
            experiment=keeper.experiment,
            tracking_uri=keeper.store.location.shown,
            metric=study.metric,
            compared=study.compared,
            points=tuple(study.points),
            finished=tuple(done.values()),
            stacked=study.stacked_document(plans),
            notes=study.notes,
            warnings=study.warnings,
            runs_url=keeper.runs_url,
        )
        for observer in self._observers:
            observer.study_started(info)
        return info, plans

    def _train(self, plans: Sequence[Chunks], done: Collection[str]) -> list[PointResult]:
        trained: list[PointResult] = []

        def on_epoch(record: EpochRecord, points: Sequence[Point]) -> None:
            for observer in self._observers:
                observer.epoch_ended(record, points)

        for group, runner, plan in zip(self._study.groups, self._study.runners, plans, strict=True):
            if self._progress.is_interrupted():
                break
            for observer in self._observers:
                observer.group_started(group, plan)
            for results in runner.run(plan, done, on_epoch, self._progress):
                self._keeper.keep(results)
                trained += results
                for observer in self._observers:
                    observer.runs_finished(results)
        return trained

    def _compare(self, done: Mapping[str, PointResult]) -> Concluding:
        study, keeper = self._study, self._keeper
        results = self._present(done)
        shown = curve_metrics(study.compared, study.metric)
        return Concluding(
            study.config,
            keeper.name,
            results,
            metric=study.compared,
            selected_by=study.metric or None,
            test_to_train=study.overlap(),
            curves=curves_of(results, shown, None if keeper.tracked.is_lost else keeper.store),
            computing=self._manner.computing,
        )

    def _conclude(
        self, concluding: Concluding, started: StudyStarted, done: Mapping[str, PointResult], seconds: float
    ) -> StudyResult:
        results = self._present(done)
        untrained = tuple(point for point in self._study.points if point.key not in done)
        return StudyResult(
            started=started,
            config=self._study.config,
            results=results,
            conclusion=concluding.conclude(results),
            seconds=seconds,
            status="KILLED" if untrained else "FINISHED",
            untrained=untrained,
        )

    def _present(self, done: Mapping[str, PointResult]) -> tuple[PointResult, ...]:
        """Returns the results in the order of the settings; those of an interrupted study are not all there."""
        return tuple(done[point.key] for point in self._study.points if point.key in done)

    def _train_best(self, result: StudyResult, is_interrupted: Callable[[], bool]) -> StudyResult:
        tell_stage(self._observers, "training the best setting again")
        point = result.best_point()
        if point is None:
            return result
        best = Best(
            config=point.config,
            label=point.setting.label,
            study_id=result.study_id,
            study=result.started.name,
            experiment=result.started.experiment,
            metric=self._study.metric,
            minimize=self._study.config.minimize,
            seeds=self._study.config.final_seeds,
        )
        finals = Finals(
            best,
            registry=self._study.registry,
            store=self._keeper.store,
            tracking_uri=self._manner.tracking_uri,
            is_interrupted=is_interrupted,
        ).train()
        if not finals:
            return replace(result, status="KILLED")
        self._reached = replace(result, finals=finals)
        self._keeper.tracked.set_tags({WINNER_TAG: finals[0].run_id})
        known = {*self._study.warnings}
        for warning in dict.fromkeys(warning for final in finals for warning in final.warnings):
            if warning not in known:
                tell_warning(self._observers, warning)
        return self._reached

    def _warn(self, message: str) -> None:
        tell_warning(self._observers, message, self._warnings)
