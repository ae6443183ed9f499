"""Runs a study: trains each run once, in stacks where possible, tracks the runs and compares them at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from regplug.config.params import params_to_dict
from regplug.exporting import require_exportable
from regplug.registry import Registry, default_registry
from regplug.registry.components import Chosen
from regplug.runs.background_process import Executor, InlineExecutor
from regplug.runs.data_facts import overlap_ratio
from regplug.runs.request import check_places
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point
from regplug.studies.design.request import check_study
from regplug.studies.design.soundness import (
    check_data,
    choose_metric,
    compared_metric,
    require_choosable,
    warn_of_choosers,
)
from regplug.studies.executing import Execution, Manner
from regplug.studies.keeping import Keeper
from regplug.studies.observing import PluginsOfStudy
from regplug.studies.results import StudyObserver, StudyResult
from regplug.studies.stacks.duration import Duration, estimate_duration
from regplug.studies.stacks.grouping import group_points
from regplug.studies.stacks.running import Chunks, GroupRunner, OnTrained
from regplug.studies.stacks.study_data import StudyData
from regplug.studies.telling import tell_stage
from regplug.tracking import open_store
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
        self.registry = registry or default_registry()
        self.points = list(points or check_study(config, self.registry))
        self.data_of = StudyData(config, self.registry)
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
        self.groups = group_points(self.points, self.data_of)
        keeps_rows = self.data_of.shares_test_rows(self.points)
        self.runners = [GroupRunner(group, self.data_of, keeps_rows=keeps_rows) for group in self.groups]
        made = [runner.check() for runner in self.runners]
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
        study_id: str = "",
        owner: str = "",
        is_soft: bool = False,
    ) -> StudyResult:
        """Trains every run that is not finished yet, and tracks runs while others train.

        Args:
            observers: Receive the events of the study.
            tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current
                folder.
            refit: Whether the best setting is trained again on the dataset's own splits, with as many seeds as
                `final_seeds` says, and exported if the base run is.
            computing: Computes statistics and figures; by default this process.
            study_id: The study that is continued; by default an unfinished one of the same name, else a new one.
            owner: The run that the continued study has exported, whose bundle may be replaced.
            is_soft: Whether Ctrl-C ends the training after the current epoch, and the result is KILLED. Else it raises
                `KeyboardInterrupt`.

        Raises:
            RequestError: An unfinished study has this name and another configuration, or a setting that may be the best
                cannot be exported.
            FailedError: The refit failed; the study's runs are kept.
        """
        plugged = PluginsOfStudy(self.registry, observers, self.data_of)
        observers = [plugged, *observers] if plugged.is_listening else observers
        if refit:
            require_choosable(self.metric, self.points, self.data_of(self.points[0]))
            check_places(self.config.base, tracking_uri, owner=owner)
            tell_stage(observers, "checking that the best can be exported")
            self._require_exportable()
        tell_stage(observers, "opening the tracking store")
        manner = Manner(
            tracking_uri=tracking_uri, refit=refit, is_soft=is_soft, computing=computing or InlineExecutor()
        )
        keeper = Keeper(open_store(tracking_uri), self, self.registry, study_id=study_id, refit=refit)
        return Execution(self, keeper, plugged, observers, manner).run()

    def on_trained(self, call: OnTrained) -> None:
        """Sets a function that is called after the training of each stack, with its runs and their networks.

        It is not called for runs that an earlier attempt finished.
        """
        for runner in self.runners:
            runner.on_trained = call

    def planned(self) -> tuple[tuple[dict[str, Any], ...], Duration]:
        """Returns which runs would stack, in which groups and why, and how long it takes; trains a few steps."""
        finals = self.config.final_seeds if self.config.delivers(self.kind) else 0
        if finals:
            require_choosable(self.metric, self.points, self.data_of(self.points[0]))
        plans = [runner.chunks() for runner in self.runners]
        duration = estimate_duration(
            self.runners, plans, final_seeds=finals, exports=finals > 0 and self.config.base.export
        )
        return self.stacked_document(plans), duration

    def _require_exportable(self) -> None:
        """Checks that every network that may be the best can be exported; equal components give equal networks."""
        first = dict(
            reversed([(group.network, runner) for group, runner in zip(self.groups, self.runners, strict=True)])
        )
        for runner in first.values():
            require_exportable(runner.check())

    def overlap(self) -> float | None:
        """Returns the ratio of evaluation rows to training rows, if folds or data seeds split the same rows."""
        runs = [(point.config.data_seed, self.data_of.facts(point)) for point in self.points]
        return overlap_ratio(runs, "valid" if self.config.folds else "test")

    def stacked_document(self, plans: Sequence[Chunks]) -> tuple[dict[str, Any], ...]:
        """Returns which runs train together, and why, as JSON."""
        return tuple(
            {
                "runs": sum(plan.sizes),
                "sizes": list(plan.sizes),
                "settings": list(dict.fromkeys(point.setting.label for point in group.points)),
                "why": plan.why,
            }
            for group, plan in zip(self.groups, plans, strict=True)
        )
