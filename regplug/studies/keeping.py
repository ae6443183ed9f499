"""Writes a study to the store while it trains, and finds what an earlier attempt wrote."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regplug.config.directions import is_lower_better
from regplug.registry import Registry
from regplug.runs.checkpoints import read_checkpoint
from regplug.runs.doubts import WARNINGS_TAG
from regplug.runs.interrupted import checkpoint_file
from regplug.runs.results import status_after
from regplug.runs.row_files import keep_rows, read_rows
from regplug.studies.child_runs import ChildRuns, finished_result
from regplug.studies.design.child_configs import CONFIGS_FILE, POINT_TAG, configs_document
from regplug.studies.design.points import Point
from regplug.studies.earlier import FINGERPRINT_TAG, named_study, unfinished_study
from regplug.studies.measuring import PointResult
from regplug.studies.results import StudyEnded
from regplug.studies.stacks.running import Chunks
from regplug.tracking import ChildRun, RunInfo, Store, TrackedRun, address_of, runs_url
from regplug.tracking.kinds import STUDY_FILE, STUDY_TAG
from regplug.tracking.naming import safe_key
from regplug.tracking.views import study_view

if TYPE_CHECKING:
    from regplug.studies.engine import Study

STUDY_KINDS = ("sweep", "cv")
WINNER_TAG = "regplug.study.winner"
"""Tag of a study: id of the run that was trained again and exported."""

PLAN_FILE = "plan.json"

_ENDED = ("FINISHED", "FAILED")
"""Statuses of completely written child runs."""


class Keeper:
    """Writes a study to the store while it trains; a context manager that ends the parent run.

    Args:
        store: The store.
        study: The study.
        registry: The installed components.
        study_id: The study that is continued; empty for a new one, or for the unfinished one of the same name.
        refit: Whether the best setting will be trained again.
    """

    def __init__(
        self, store: Store, study: Study, registry: Registry, *, study_id: str = "", refit: bool = False
    ) -> None:
        self.store = store
        self._study_id, self._refit = study_id, refit
        self._study, self._kind, points = study.config, study.kind, study.points
        self._facts_of, self._warnings = study.data_of.facts, study.warnings
        self._content, self._metric = study.content, study.compared
        self._fingerprint = study.config.fingerprint(*study.content.values())
        base = study.config.base
        dataset = registry.locate("dataset", base.specs("dataset")[0]).name
        model = base.specs("model")[0].name
        self.experiment = store.experiment_name(base.experiment or f"{dataset}/{model}")
        axes = ", ".join(axis.path for axis in (*study.config.crossed, *study.config.zipped)) or "seeds"
        self.name = base.name or f"{study.kind} of {axes}"
        self._by_key = {point.key: point for point in points}
        self._children = ChildRuns(study)
        self.saved: Mapping[str, Any] | None = None
        """The stack that an earlier attempt was training; known once the study is open."""
        self._files: set[str] = set()
        self._known_metrics: Mapping[str, float] = {}
        self._run_ids: dict[str, str] = {}

    def open(self) -> dict[str, PointResult]:
        """Starts the parent run, or continues one that was killed.

        Returns:
            Results of the runs that an earlier attempt finished, by `Point.key`.

        Raises:
            RequestError: An unfinished study has this name and another configuration, or its checkpoint cannot be read.
        """
        earlier = self._earlier()
        if earlier is None:
            self.tracked: TrackedRun = self.store.start_run(
                experiment=self.experiment, name=self.name, params=self._params(), tags=self._tags()
            )
            return {}
        if self.store.catch_up(earlier.run_id):
            earlier = self.store.find_run(earlier.run_id)
        children = self.store.runs(earlier.experiment, limit=None, parent=earlier.run_id)
        known = [child for child in children if child.status in _ENDED and child.tags.get(POINT_TAG) in self._by_key]
        self.saved = read_checkpoint(checkpoint_file(self.store, earlier.run_id))
        self._files, self._known_metrics = set(self.store.artifact_names(earlier.run_id)), earlier.metrics
        rows = read_rows(self.store, earlier.run_id)
        self.tracked = self.store.resume_run(earlier.run_id, earlier)
        for child in children:
            if child.status not in _ENDED:  # half written when the process was killed
                self.store.delete_run(child.run_id)
        self._run_ids |= {child.tags[POINT_TAG]: child.run_id for child in known}
        results = [finished_result(child, self._by_key[child.tags[POINT_TAG]]) for child in known]
        return {each.point.key: replace(each, rows=rows.get(each.point.key)) for each in results}

    @property
    def checkpoint_file(self) -> Path:
        """The file with the stack in training."""
        return checkpoint_file(self.store, self.tracked.run_id)

    @property
    def runs_url(self) -> str:
        """The table of the study's runs in MLflow's UI."""
        return runs_url(address_of(self.store.location), self.tracked.experiment_id, self.tracked.run_id)

    def on_trouble(self, tell: Callable[[str], None]) -> None:
        """Sets a function that is called, from another thread, when the store is lost and when it is back."""
        self.tracked.on_trouble(tell)

    def rows_of(self, point: Point) -> Mapping[str, int]:
        """Returns the number of rows of one run's data, by split."""
        return self._facts_of(point).sizes

    def keep_plans(self, plans: Sequence[Chunks]) -> None:
        """Stores which runs train together, so that a continued study computes in the same order."""
        self.tracked.log_dict([{"sizes": list(plan.sizes), "why": plan.why} for plan in plans], PLAN_FILE)

    def read_plans(self, sizes: Sequence[int]) -> list[Chunks] | None:
        """Reads the plans of `keep_plans` for groups of these sizes; `None` if there are none that fit."""
        if PLAN_FILE not in self.store.artifact_names(self.tracked.run_id):
            return None
        text = self.store.read_artifact(self.tracked.run_id, PLAN_FILE).read_text(encoding="utf-8")
        try:
            plans = [Chunks(sizes=tuple(each["sizes"]), why=each["why"]) for each in json.loads(text)]
        except ValueError:  # killed while it was written
            return None
        return plans if [sum(plan.sizes) for plan in plans] == list(sizes) else None

    def keep(self, results: Sequence[PointResult]) -> None:
        """Writes finished runs in the background.

        Raises:
            TrackingError: The store refused earlier ones.
        """
        lock = threading.Lock()  # if the store is lost, another thread keeps them on disk

        @cache
        def waiting() -> list[tuple[PointResult, ChildRun]]:
            return [(result, self._children.of(result)) for result in results]

        def locked() -> list[tuple[PointResult, ChildRun]]:
            with lock:
                return waiting()

        rows = {result.point.key: result.rows for result in results if result.rows is not None}
        first = next(at for at, key in enumerate(self._by_key) if key == results[0].point.key)
        keep_rows(self.tracked, rows, f"{first:06d}")
        self.tracked.post_children(lambda: self._write(locked()), lambda: [child for _, child in list(locked())])

    @property
    def num_kept(self) -> int:
        """Number of runs of the study in the store."""
        return len(self._run_ids)

    @property
    def num_runs(self) -> int:
        """Number of runs of the study."""
        return len(self._by_key)

    def log_once(self, values: Mapping[str, float]) -> None:
        """Logs metrics of the study that an earlier attempt has not logged."""
        new = {name: value for name, value in values.items() if safe_key(name) not in self._known_metrics}
        self.tracked.log_metrics(new, 0)

    def ended(self, error: BaseException | None) -> StudyEnded:
        """Returns how the study ended, given the exception that ended it."""
        status = self.tracked.ends_as if error is None else status_after(error)
        return StudyEnded(status=status, store_status=self.tracked.status, kept=self.num_kept, runs=self.num_runs)

    def with_run_ids(self, results: Mapping[str, PointResult]) -> dict[str, PointResult]:
        """Waits until all is written; returns the results, with run ids for those in the store.

        Raises:
            TrackingError: The store refused some of them.
        """
        self.tracked.flush()
        return {key: replace(result, run_id=self._run_ids.get(key, "")) for key, result in results.items()}

    def __enter__(self) -> Keeper:
        self.tracked.__enter__()
        try:
            self._keep_request()
        except BaseException as error:
            self.tracked.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _keep_request(self) -> None:
        """Stores what the study needs to be resumed, unless an earlier attempt did."""
        if STUDY_FILE not in self._files:
            self.tracked.log_dict(self._document(), STUDY_FILE)
        if CONFIGS_FILE not in self._files:
            configs = configs_document(list(self._by_key.values()), self._study.folds)
            self.tracked.log_text(json.dumps(configs, ensure_ascii=False, separators=(",", ":")), CONFIGS_FILE)
            self.tracked.log_view(self._view())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Trained runs are written even after an error.
        self.tracked.__exit__(kind, error, traceback)

    def _view(self) -> dict[str, str]:
        name = self._metric.partition("/")[2]
        strengths = self._children.off if "regularizers" in self._children.shown else ()
        params = {*self._children.shown, *strengths, "seed"}.difference(() if self._study.folds else ("fold", "repeat"))
        metrics = dict.fromkeys((self._metric, f"valid/{name}", f"gap/{name}"))
        minimize = self._study.minimize
        ascending = is_lower_better(self._metric) if minimize is None else minimize
        return study_view(self.tracked.run_id, params, list(metrics), ascending=ascending)

    def _earlier(self) -> RunInfo | None:
        if self._study_id:
            return named_study(self.store, self._study_id, self._fingerprint, self._document())
        return unfinished_study(
            self.store,
            kind=self._kind,
            name=self.name,
            experiment=self.experiment,
            fingerprint=self._fingerprint,
            document=self._document(),
        )

    def _document(self) -> dict[str, Any]:
        settings = {point.setting.label: point.setting.document() for point in self._by_key.values()}
        content = {"content": self._content, "refit": self._refit, "chosen": sorted(self._study.base.chosen)}
        return {**self._study.to_dict(), **content, "settings": list(settings.values())}

    def _params(self) -> dict[str, object]:
        study = self._study
        return {
            "grid": " x ".join(study.grid) or "none",
            "zip": " with ".join(study.zip) or "none",
            "seeds": study.seeds,
            "data_seeds": study.data_seeds,
            "folds": study.folds,
            "repeats": study.repeats,
            "metric": study.metric,
            "model": study.base.model,
            "dataset": study.base.dataset,
        }

    def _tags(self) -> dict[str, str]:
        doubts = {WARNINGS_TAG: " ".join(self._warnings)} if self._warnings else {}
        return {STUDY_TAG: self._kind, FINGERPRINT_TAG: self._fingerprint, **doubts}

    def _write(self, waiting: list[tuple[PointResult, ChildRun]]) -> None:
        """Writes the waiting runs and takes each off the queue, so that a retry after a failure writes the rest."""
        for run_ids in self.store.log_children(self.tracked.run_id, self.experiment, [child for _, child in waiting]):
            for run_id in run_ids:
                result, _ = waiting.pop(0)
                self._run_ids[result.point.key] = run_id
