"""Learning curves of a study's runs: of those at hand, and of those in the store."""

from __future__ import annotations

from collections.abc import Sequence

from regplug.reports.curves import Curve, Curves
from regplug.statistics import Study
from regplug.studies.measuring import PointResult
from regplug.tracking import RunInfo, Store


def curve_metrics(metric: str, selected_by: str | None) -> tuple[str, ...]:
    """Returns the metrics whose learning curves are shown."""
    names = (metric, selected_by, f"train/{metric.partition('/')[2]}")
    return tuple(dict.fromkeys(name for name in names if name))


def curves_of(results: Sequence[PointResult], metrics: Sequence[str], store: Store | None = None) -> Curves:
    """Returns the learning curves of a study's runs.

    Args:
        results: The runs.
        metrics: The metrics.
        store: The store, with the curves of runs that an earlier attempt finished; `None` without one.
    """
    curves: dict[str, dict[str, list[Curve]]] = {}
    for name in metrics:
        for each in results:
            curve = each.history.get(name) or (_read_curve(store, each.run_id, name) if store is not None else [])
            if each.is_finished and len(curve) > 1:
                curves.setdefault(name, {}).setdefault(each.point.setting.label, []).append(curve)
    return curves


def _read_curve(store: Store, run_id: str, metric: str) -> Curve:
    return [(point.step, point.value) for point in store.metric_history(run_id, metric)] if run_id else []


def read_curves(store: Store, study: Study, runs: Sequence[RunInfo], metrics: Sequence[str]) -> Curves:
    """Returns the learning curves of tracked runs.

    Args:
        store: The store.
        study: Gives the setting of each run.
        runs: The runs to read.
        metrics: The metrics.
    """
    setting = {run.run_id: run.setting for run in study.runs}
    curves: dict[str, dict[str, list[Curve]]] = {}
    for metric in metrics:
        for run in runs:
            curve = _read_curve(store, run.run_id, metric) if metric in run.metrics else []
            if len(curve) > 1:
                curves.setdefault(metric, {}).setdefault(setting[run.run_id], []).append(curve)
    return curves
