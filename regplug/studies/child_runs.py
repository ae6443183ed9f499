"""The runs of a study as child runs of the store: what is written of each, and the results read back from them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

from regplug.config import SHORTHANDS
from regplug.data import Prepared
from regplug.measuring.probing import is_of_layer
from regplug.runs.description import describe_run
from regplug.runs.doubts import GUESS_TAG
from regplug.runs.shown_params import off_values
from regplug.runs.stored import CONFIG_FILE
from regplug.studies.design.child_configs import POINT_TAG, config_alone
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point
from regplug.studies.measuring import PointResult
from regplug.tracking import ChildRun, RunInfo, UsedDataset
from regplug.tracking.naming import safe_key

if TYPE_CHECKING:
    from regplug.studies.engine import Study

EPOCHS_METRIC = "time/epochs"
SECONDS_METRIC = "time/run_s"

MOST_POINTS = 200
"""Most points per metric that a child run logs; its full curves are in a file of the study."""


class ChildRuns:
    """Turns the results of a study's runs into child runs.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self.shown = frozenset(map(safe_key, ("fold", "repeat", *_columns_of_axes(study.config))))
        """The parameters that are columns of the experiment because the study varies them."""
        self.off: dict[str, object] = {}
        """Value of a parameter at which it has no effect, for the runs to which it does not apply."""
        for point in study.points:
            self.off |= off_values(study.data_of.components(point))

    def of(self, result: PointResult) -> ChildRun:
        """Returns a finished run as it is written."""
        study, point = self._study, result.point
        config = config_alone(point, study.config.folds)
        components = study.data_of.components(point).for_task(study.task)
        told = describe_run(config, components, data=study.data_of.facts(point), fold=self._part(point))
        params = dict(told.params) | {"setting": point.setting.label}
        if point.fold is not None:
            params |= {"fold": point.fold[0], "repeat": point.fold[1]}
        end = int(time.time() * 1000)
        start = end - max(1, int(result.seconds * 1000))
        return ChildRun(
            name=told.name,
            params=params,
            shown=told.shown | self.shown & {*map(safe_key, params)},
            off={**self.off, **told.off},
            tags={**told.tags, **_tags(result)},
            metrics=_points(result, study.compared, start, end),
            status=cast("Any", result.status),
            start_ms=start,
            end_ms=end,
            dataset=_used(study.data_of(point)),
            files={CONFIG_FILE: config.to_toml()},
        )

    def _part(self, point: Point) -> str:
        """Returns which data of the study a run uses, for its name."""
        study = self._study.config
        data = f"data {point.config.data_seed}" if study.data_seeds > 1 else ""
        fold = "" if point.fold is None else f"fold {point.fold[0]}" + f".{point.fold[1]}" * (study.repeats > 1)
        return f"{data} {fold}".strip()


def finished_result(child: RunInfo, point: Point) -> PointResult:
    """Returns the result of a run that an earlier attempt finished."""
    metrics = dict(child.metrics)
    return PointResult(
        point=point,
        status=child.status,
        metrics={name: value for name, value in metrics.items() if name not in (SECONDS_METRIC, EPOCHS_METRIC)},
        history={},
        seconds=metrics.get(SECONDS_METRIC, 0.0),
        epochs=int(metrics.get(EPOCHS_METRIC, 0)),
        error=child.tags.get("regplug.error", ""),
        guess=child.tags.get(GUESS_TAG, ""),
        run_id=child.run_id,
    )


def _columns_of_axes(study: StudyConfig) -> list[str]:
    """Returns the parameters that the study varies."""
    paths = [axis.path for axis in (*study.crossed, *study.zipped)]
    seeds = ["data_seed"] if study.data_seeds > 1 else []
    columns = {"reg": "regularizers"} | {path: f"{owner}.{path}" for path, owner in SHORTHANDS.items()}
    return [*seeds, *(columns.get(path, path) for path in paths)]


def _used(data: Prepared) -> UsedDataset:
    rows = {split_name: len(split) for split_name, split in data.raw.splits()}
    return UsedDataset(name=data.raw.name, digest=data.digest, source=data.raw.source, profile={"rows": rows})


def _tags(result: PointResult) -> dict[str, str]:
    tags = {POINT_TAG: result.point.key}
    if result.guess:
        tags[GUESS_TAG] = result.guess
    if result.error:
        tags["regplug.error"] = result.error
    return tags


def _points(result: PointResult, first: str, start: int, end: int) -> list[tuple[str, float, int, int]]:
    """Returns at most `MOST_POINTS` points: the last epoch of each metric, and others evenly spread, also in time.

    Measurements of single layers are only in the study's file of curves. The study's metric comes first, because
    MLflow's parallel coordinates plot starts with the first metric.
    """
    epochs = max(1, result.epochs)
    histories = {name: each for name, each in result.history.items() if name == first or not is_of_layer(name)}
    num_curves = sum(len(history) > 1 for history in histories.values())
    each = max(2, (MOST_POINTS - len(histories)) // max(1, num_curves) - 1)
    points = []
    for name, history in sorted(histories.items(), key=lambda each: each[0] != first):
        stride = max(1, -(-len(history) // each))
        thinned = [*history[:-1][::stride], history[-1]]
        points += [(name, value, epoch, start + (end - start) * epoch // epochs) for epoch, value in thinned]
    return [
        *points,
        (SECONDS_METRIC, result.seconds, result.epochs, end),
        (EPOCHS_METRIC, float(result.epochs), result.epochs, end),
    ]
