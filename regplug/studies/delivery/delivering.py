"""Trains the best setting of a study again and exports it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from regplug.config import RunConfig
from regplug.exporting import export_tracked
from regplug.registry import Registry
from regplug.runs.request import check_request
from regplug.runs.results import RunResult
from regplug.runs.runner import execute
from regplug.statistics import is_lower_better
from regplug.studies.keeping import FINAL_TAG


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


def train_finals(best: Best, *, registry: Registry, tracking_uri: str | None) -> tuple[RunResult, ...]:
    """Trains the best setting of a study again with one seed or several, and exports one of them.

    Args:
        best: The setting; exported if its run is.
        registry: The available components.
        tracking_uri: As for `execute`.

    Returns:
        The runs, the exported one first: the best by the study's validation metric.

    Raises:
        FailedError: A run failed, or the export.
    """

    def run(config: RunConfig) -> RunResult:
        request = check_request(config, registry, tracking_uri=tracking_uri)
        return execute(request, tracking_uri=tracking_uri, tags={FINAL_TAG: best.study_id})

    configs = best.configs()
    if len(configs) == 1:
        return (run(configs[0]),)
    first, *others = _best_first([run(config.replaced(export=False)) for config in configs], best)
    return (_exported(first, best.config, registry, tracking_uri), *others)


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
