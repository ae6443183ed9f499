"""Trains the best setting of a study again and exports it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from regplug.config import RunConfig
from regplug.exporting import export_tracked
from regplug.registry import Registry
from regplug.runs.request import check_request
from regplug.runs.results import RunResult
from regplug.runs.runner import execute
from regplug.statistics import is_lower_better
from regplug.studies.config import Point, StudyConfig

if TYPE_CHECKING:
    from regplug.studies.results import StudyStarted

WINNER_TAG = "regplug.study.winner"
"""Tag of a study: id of the run that was exported."""

FINAL_TAG = "regplug.study.final_of"
"""Tag of a run: id of the study whose best setting it is, trained again."""


def train_finals(
    point: Point,
    study: StudyStarted,
    config: StudyConfig,
    *,
    registry: Registry,
    tracking_uri: str | None,
) -> tuple[RunResult, ...]:
    """Trains the best setting of a study again with one seed or several, and exports one of them.

    Args:
        point: The first run of the setting.
        study: The study.
        config: Its configuration.
        registry: The available components.
        tracking_uri: As for `execute`.

    Returns:
        The runs, the exported one first: the best by the study's validation metric.

    Raises:
        FailedError: A run failed, or the export.
    """

    def run(config: RunConfig) -> RunResult:
        request = check_request(config, registry, tracking_uri=tracking_uri)
        return execute(request, tracking_uri=tracking_uri, tags={FINAL_TAG: study.study_id})

    name = f"{study.name}: best, {point.setting.label}"
    configs = list(final_configs(point.config, name, study.experiment, config.final_seeds))
    if len(configs) == 1:
        return (run(configs[0]),)
    runs = [run(each.replaced(export=False)) for each in configs]
    is_lower = is_lower_better(study.metric) if config.minimize is None else config.minimize
    best, *others = _best_first(runs, study.metric, is_lower_better=is_lower)
    return (_exported(best, configs[0], registry, tracking_uri), *others)


def final_configs(config: RunConfig, name: str, experiment: str, seeds: int) -> Iterator[RunConfig]:
    """Yields the configurations with which a setting is trained again.

    Args:
        config: The first run of the setting.
        name: Name of the runs; with several seeds, each seed is added.
        experiment: Their experiment.
        seeds: Number of seeds.
    """
    for seed in range(config.seed, config.seed + seeds):
        own = f"{name}, seed {seed}" if seeds > 1 else name
        yield config.replaced(name=own, experiment=experiment, seed=seed)


def _best_first(runs: Sequence[RunResult], metric: str, *, is_lower_better: bool) -> list[RunResult]:
    """Returns the runs, the best by a validation metric first; in their order if they do not have it."""
    sign = 1 if is_lower_better else -1
    return sorted(runs, key=lambda run: sign * run.metrics[metric] if metric in run.metrics else math.inf)


def _exported(run: RunResult, config: RunConfig, registry: Registry, tracking_uri: str | None) -> RunResult:
    if not config.export:
        return run
    exported = export_tracked(run.run_id, out=config.out or None, registry=registry, tracking_uri=tracking_uri)
    return replace(run, bundle_path=exported.path, bundle_files=exported.files, verification=exported.verification)
