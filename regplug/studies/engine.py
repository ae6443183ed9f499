"""Runs a study: trains each run once, in stacks where possible, tracks the runs and compares them at the end."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

from regplug.config.params import params_to_dict
from regplug.errors import RegplugError, raise_after_start
from regplug.exporting import require_exportable
from regplug.registry import Registry, default_registry
from regplug.registry.components import Chosen
from regplug.runs.data_facts import overlap_ratio
from regplug.runs.request import check_places
from regplug.studies.background_process import Executor, InlineExecutor
from regplug.studies.concluding import Concluding
from regplug.studies.curves import curve_metrics, curves_of
from regplug.studies.delivery.delivering import Best, train_finals
from regplug.studies.design.config import Point, StudyConfig
from regplug.studies.design.request import check_study
from regplug.studies.design.soundness import (
    check_data,
    choose_metric,
    compared_metric,
    require_choosable,
    warn_of_choosers,
)
from regplug.studies.keeping import WINNER_TAG, Keeper
from regplug.studies.measuring import PointResult
from regplug.studies.observing import PluginsOfStudy
from regplug.studies.reporting import keep_conclusion
from regplug.studies.results import StudyObserver, StudyResult, StudyStarted
from regplug.studies.stacks.duration import Duration, estimate_duration
from regplug.studies.stacks.grouping import group_points
from regplug.studies.stacks.running import Chunks, GroupRunner
from regplug.studies.stacks.study_data import StudyData
from regplug.studies.telling import tell_end, tell_guessing, tell_stage, tell_warning
from regplug.tracking import open_store
from regplug.training.course import EpochRecord
from regplug.training.state_hash import state_sha256


class Study:
    """A planned and checked study.

    Args:
        config: The configuration of the study.
        kind: `sweep` or `cv`, for name and tags.
        registry: The available components; by default all that are installed.
        points: Its runs, if `check_study` has already checked them.

    Raises:
        RequestError: The study is not valid; the message lists all problems.
    """

    def __init__(
        self,
        config: StudyConfig,
        *,
        kind: str = "sweep",
        registry: Registry | None = None,
        points: Sequence[Point] | None = None,
    ) -> None:
        self.config, self.kind = config, kind
        self._registry = registry or default_registry()
        self.points = list(points or check_study(config, self._registry))
        self.data_of = StudyData(config, self._registry)
        datas = [self.data_of(point) for point in self.points]
        tasks = {data.task for data in datas}
        doubts = check_data(self.points, self.data_of.facts, tasks)
        self.task = datas[0].task
        losses = set(map(self.loss_of, self.points))
        self.metric = choose_metric(config.metric, datas[0], losses)
        self.compared = compared_metric(self.metric, datas[0], losses, is_folded=config.folds > 0)
        if config.best_of or config.tune:
            require_choosable(self.metric, self.points, datas[0])
        self.notes = self.data_of.notes(self.points)
        self._groups = group_points(self.points, self.data_of)
        keeps_rows = self.data_of.shares_test_rows(self.points)
        self._runners = [GroupRunner(group, self.data_of, keeps_rows=keeps_rows) for group in self._groups]
        made = [runner.check() for runner in self._runners]
        notices = (f"{notice.message} {notice.hint}".strip() for each in made for notice in each.network.notices)
        flattered = warn_of_choosers(made) if config.folds else ()
        self.warnings = tuple(dict.fromkeys((*doubts, *flattered, *notices)))
        self.content = {
            "data": self.data_of.digest(),
            "start": " ".join(state_sha256(each.program.model)[:16] for each in made),
        }

    def loss_of(self, point: Point) -> str:
        """Returns a run's loss with its parameters as text; `auto` becomes the task's default."""
        loss = cast(Chosen, self.data_of.components(point).for_task(self.task).loss)
        return str(loss.spec.with_values(params_to_dict(loss.params)))

    def run(
        self,
        observers: Sequence[StudyObserver] = (),
        tracking_uri: str | None = None,
        *,
        refit: bool = False,
        computing: Executor | None = None,
    ) -> StudyResult:
        """Trains every run that is not finished yet, and tracks runs while others train.

        Args:
            observers: Receive the events of the study.
            tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current
                folder.
            refit: Whether the best setting is trained again on the dataset's own splits, with as many seeds as
                `final_seeds` says, and exported if the base run is.
            computing: Computes statistics and figures; by default this process.

        Raises:
            RequestError: An unfinished study has this name and another configuration, or a setting that may be the best
                cannot be exported.
            FailedError: The refit failed; the study's runs are kept.
        """
        plugged = PluginsOfStudy(self._registry, observers, self.data_of)
        observers = [plugged, *observers] if plugged.is_listening else observers
        if refit:
            require_choosable(self.metric, self.points, self.data_of(self.points[0]))
            check_places(self.config.base, tracking_uri)
            tell_stage(observers, "checking that the best can be exported")
            self._require_exportable()
        tell_stage(observers, "opening the tracking store")
        keeper = Keeper(open_store(tracking_uri), self, self._registry)
        done = keeper.open()
        warnings: list[str] = []
        keeper.on_trouble(lambda message: tell_warning(observers, message, warnings))
        reached: list[StudyResult] = []
        try:
            with keeper, plugged:
                self._carry_out(keeper, done, observers, computing or InlineExecutor(), reached)
                if refit:
                    self._train_best(keeper, observers, tracking_uri, reached)
        except BaseException as error:
            tell_end(observers, keeper.ended(error))
            if isinstance(error, RegplugError):
                raise_after_start(error, reached[-1] if reached else None)
            raise
        tell_end(observers, keeper.ended(None))
        started = reached[-1].started
        guessing = tell_guessing(observers, reached[-1].results)
        told = (*started.warnings, *plugged.warnings, *warnings, *guessing)
        return replace(reached[-1], started=replace(started, warnings=told))

    def _carry_out(
        self,
        keeper: Keeper,
        done: dict[str, PointResult],
        observers: Sequence[StudyObserver],
        computing: Executor,
        reached: list[StudyResult],
    ) -> None:
        """Trains, compares and stores the results; appends the result to `reached` as soon as there is one."""
        info, plans = self._start(keeper, done, observers)
        began = time.perf_counter()
        done |= _by_key(self._train(plans, done, keeper, observers))
        seconds = time.perf_counter() - began
        concluding = self._compare(keeper, done, computing)
        done = keeper.with_run_ids(done)
        reached.append(self._conclude(concluding, info, done, seconds))
        tell_stage(observers, "writing the report")
        keep_conclusion(keeper, reached[-1])

    def _train_best(
        self, keeper: Keeper, observers: Sequence[StudyObserver], tracking_uri: str | None, reached: list[StudyResult]
    ) -> None:
        tell_stage(observers, "training the best setting again")
        result = reached[-1]
        point = result.best_point()
        if point is None:
            return
        best = Best(
            config=point.config,
            label=point.setting.label,
            study_id=result.study_id,
            study=result.started.name,
            experiment=result.started.experiment,
            metric=self.metric,
            minimize=self.config.minimize,
            seeds=self.config.final_seeds,
        )
        finals = train_finals(best, registry=self._registry, tracking_uri=tracking_uri)
        reached.append(replace(result, finals=finals))
        keeper.tracked.set_tags({WINNER_TAG: finals[0].run_id})
        known = {*self.warnings}
        for warning in dict.fromkeys(warning for final in finals for warning in final.warnings):
            if warning not in known:
                tell_warning(observers, warning)

    def planned(self) -> tuple[tuple[dict[str, Any], ...], Duration]:
        """Returns which runs would stack, in which groups and why, and how long it takes; trains a few steps."""
        finals = self.config.final_seeds if self.config.delivers(self.kind) else 0
        if finals:
            require_choosable(self.metric, self.points, self.data_of(self.points[0]))
        plans = [runner.chunks() for runner in self._runners]
        duration = estimate_duration(
            self._runners, plans, final_seeds=finals, exports=finals > 0 and self.config.base.export
        )
        return self._stacked_document(plans), duration

    def _start(
        self, keeper: Keeper, done: dict[str, PointResult], observers: Sequence[StudyObserver]
    ) -> tuple[StudyStarted, list[Chunks]]:
        plans = keeper.read_plans([len(group.points) for group in self._groups])
        if plans is None:
            tell_stage(observers, "measuring how many runs to stack")
            plans = [runner.chunks() for runner in self._runners]
            keeper.keep_plans(plans)
        info = StudyStarted(
            study_id=keeper.tracked.run_id,
            kind=self.kind,
            name=keeper.name,
            experiment=keeper.experiment,
            tracking_uri=keeper.store.location.shown,
            metric=self.metric,
            compared=self.compared,
            points=tuple(self.points),
            finished=tuple(done.values()),
            stacked=self._stacked_document(plans),
            notes=self.notes,
            warnings=self.warnings,
        )
        for observer in observers:
            observer.study_started(info)
        return info, plans

    def _train(
        self, plans: Sequence[Chunks], done: Collection[str], keeper: Keeper, observers: Sequence[StudyObserver]
    ) -> list[PointResult]:
        trained: list[PointResult] = []

        def on_epoch(record: EpochRecord, points: Sequence[Point]) -> None:
            for observer in observers:
                observer.epoch_ended(record, points)

        for group, runner, plan in zip(self._groups, self._runners, plans, strict=True):
            for observer in observers:
                observer.group_started(group, plan)
            for results in runner.run(plan, done, on_epoch):
                keeper.keep(results)
                trained += results
                for observer in observers:
                    observer.runs_finished(results)
        return trained

    def _compare(self, keeper: Keeper, done: dict[str, PointResult], computing: Executor) -> Concluding:
        results = [done[point.key] for point in self.points]
        shown = curve_metrics(self.compared, self.metric)
        return Concluding(
            self.config,
            keeper.name,
            results,
            metric=self.compared,
            selected_by=self.metric or None,
            test_to_train=self._overlap(),
            curves=curves_of(results, shown, None if keeper.tracked.is_lost else keeper.store),
            computing=computing,
        )

    def _conclude(
        self, concluding: Concluding, started: StudyStarted, done: dict[str, PointResult], seconds: float
    ) -> StudyResult:
        results = tuple(done[point.key] for point in self.points)
        conclusion = concluding.conclude(results)
        return StudyResult(started=started, config=self.config, results=results, conclusion=conclusion, seconds=seconds)

    def _require_exportable(self) -> None:
        """Checks that every network that may be the best can be exported; equal components give equal networks."""
        first = dict(
            reversed([(group.network, runner) for group, runner in zip(self._groups, self._runners, strict=True)])
        )
        for runner in first.values():
            require_exportable(runner.check())

    def _overlap(self) -> float | None:
        """Returns the ratio of evaluation rows to training rows, if folds or data seeds split the same rows."""
        runs = [(point.config.data_seed, self.data_of.facts(point)) for point in self.points]
        return overlap_ratio(runs, "valid" if self.config.folds else "test")

    def _stacked_document(self, plans: Sequence[Chunks]) -> tuple[dict[str, Any], ...]:
        return tuple(
            {
                "runs": sum(plan.sizes),
                "sizes": list(plan.sizes),
                "settings": list(dict.fromkeys(point.setting.label for point in group.points)),
                "why": plan.why,
            }
            for group, plan in zip(self._groups, plans, strict=True)
        )


def _by_key(results: Sequence[PointResult]) -> dict[str, PointResult]:
    return {result.point.key: result for result in results}
