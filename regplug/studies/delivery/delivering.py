"""Trains the best setting of a study again and exports it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from regplug.config import RunConfig
from regplug.exporting import export_tracked
from regplug.exporting.kept import Kept
from regplug.measuring.metric_log import UNPLOTTED
from regplug.registry import Registry
from regplug.runs.doubts import GUESS_TAG, WARNINGS_TAG
from regplug.runs.earlier import earlier_of
from regplug.runs.request import check_request
from regplug.runs.results import RunResult
from regplug.runs.runner import execute
from regplug.statistics import is_lower_better
from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import FINAL_TAG
from regplug.training.state_hash import state_sha256


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best setting of a study, to be trained again.

    Args:
        config: Its first run.
        label: The setting.
        study_id: MLflow's id of the study.
        study: Name of the study.
        experiment: Its experiment.
        metric: The validation metric that chooses the exported one of several seeds; empty for the first seed.
        minimize: Whether lower values of the metric are better; `None` if its name decides.
        seeds: Number of seeds, from that of the first run.
    """

    config: RunConfig
    label: str
    study_id: str
    study: str
    experiment: str
    metric: str
    minimize: bool | None
    seeds: int

    def configs(self) -> list[RunConfig]:
        """Returns the runs to train."""
        name = f"{self.study}: best, {self.label}"
        return [
            self.config.replaced(
                name=f"{name}, seed {seed}" if self.seeds > 1 else name, experiment=self.experiment, seed=seed
            )
            for seed in range(self.config.seed, self.config.seed + self.seeds)
        ]


class Finals:
    """Trains the best setting of a study again with one seed or several, and exports one of the runs.

    Runs that an earlier attempt began are resumed, and those that it finished are kept.

    Args:
        best: The setting; exported if its run is.
        registry: The available components.
        store: The study's store.
        tracking_uri: As for `execute`.
        is_interrupted: As for `execute`.
    """

    def __init__(
        self,
        best: Best,
        *,
        registry: Registry,
        store: Store,
        tracking_uri: str | None,
        is_interrupted: Callable[[], bool] | None = None,
    ) -> None:
        self._best, self._registry, self._store = best, registry, store
        self._uri, self._is_interrupted = tracking_uri, is_interrupted
        found = store.runs(store.experiment_name(best.experiment), limit=None, tags={FINAL_TAG: best.study_id})
        self._earlier = {info.name: info for info in reversed(found)}

    def train(self) -> tuple[RunResult, ...]:
        """Trains the runs that are not finished.

        Returns:
            The runs, the exported one first: the best by the study's validation metric. None if it was interrupted.

        Raises:
            FailedError: A run failed, or the export.
        """
        configs = self._best.configs()
        is_single = len(configs) == 1
        runs: list[RunResult] = []
        for config in configs:
            run = self._run(config if is_single else config.replaced(export=False))
            if run.status == "KILLED":
                return ()
            runs.append(run)
        if is_single:
            return tuple(runs)
        first, *others = _best_first(runs, self._best)
        return (_exported(first, self._best.config, self._registry, self._uri), *others)

    def _run(self, config: RunConfig) -> RunResult:
        info = self._earlier.get(config.name)
        if info is not None and info.status == "FINISHED":
            return _exported(finished_run(self._store, info, self._registry), config, self._registry, self._uri)
        owner = "" if info is None else info.run_id
        return execute(
            check_request(config, self._registry, tracking_uri=self._uri, owner=owner),
            tracking_uri=self._uri,
            tags={FINAL_TAG: self._best.study_id},
            earlier=None if info is None else earlier_of(self._store, info),
            is_interrupted=self._is_interrupted,
        )


def finished_run(store: Store, info: RunInfo, registry: Registry) -> RunResult:
    """Returns the result of a tracked run that is finished, without its bundle.

    Args:
        store: Its store.
        info: The run.
        registry: The available components.

    Raises:
        DataError: The dataset has changed since the training.
        VerificationError: Its trained state is not the one that was tracked.
    """
    kept = Kept(store, info, registry, ())
    data = kept.load_data()
    model = kept.load_model(data)
    warnings = info.tags.get(WARNINGS_TAG, "")
    points = {name: store.metric_history(info.run_id, name) for name in info.metrics if not name.startswith(UNPLOTTED)}
    return RunResult(
        run_id=info.run_id,
        run_name=info.name,
        experiment=info.experiment,
        tracking_uri=store.location.shown,
        status=info.status,
        store_status=info.status,
        config=kept.config,
        metrics=dict(info.metrics),
        seconds={},
        state_sha256=state_sha256(model),
        model=model,
        warnings=(warnings,) if warnings else (),
        kept=data.kept,
        guess=info.tags.get(GUESS_TAG, ""),
        history={name: [(point.step, point.value) for point in history] for name, history in points.items()},
    )


def _best_first(runs: Sequence[RunResult], best: Best) -> list[RunResult]:
    """Returns the runs, the best by the validation metric first; in their order if they do not have it."""
    if not all(best.metric in run.metrics for run in runs):
        return list(runs)
    is_lower = is_lower_better(best.metric) if best.minimize is None else best.minimize
    return sorted(runs, key=lambda run: run.metrics[best.metric], reverse=not is_lower)


def _exported(run: RunResult, config: RunConfig, registry: Registry, tracking_uri: str | None) -> RunResult:
    if not config.export:
        return run
    exported = export_tracked(run.run_id, out=config.out or None, registry=registry, tracking_uri=tracking_uri)
    return replace(run, bundle_path=exported.path, bundle_files=exported.files, verification=exported.verification)
