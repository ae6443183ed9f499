"""The configurations of a study's runs: one file of the study, from which each run's `config.toml` is made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from regplug.config import Fold, RunConfig, load_config
from regplug.runs.stored import CONFIG_FILE
from regplug.studies.design.points import Point
from regplug.tracking import RunInfo, Store

CONFIGS_FILE = "configs.json"
POINT_TAG = "regplug.study.point"


def config_alone(point: Point, folds: int) -> RunConfig:
    """Returns the configuration with which `regplug run` repeats a run of a study.

    Args:
        point: The run.
        folds: Folds of the study; 0 for none.
    """
    fold = "" if point.fold is None else str(Fold(point.fold[0], folds, point.fold[1]))
    return point.config.replaced(name="", out="", **({"fold": fold} if fold else {}))


def configs_document(points: Sequence[Point], folds: int) -> dict[str, Any]:
    """Returns the configurations of all runs of a study.

    Args:
        points: The runs.
        folds: Folds of the study; 0 for none.

    Returns:
        `base`, the fields of the first run; `settings`, what each setting changes in it, with `null` for a field that
        is left out; `runs`, for each run its setting's number, its seed, its data seed and its fold.
    """
    base = config_alone(points[0], folds).to_dict()
    numbers: dict[str, int] = {}
    settings: list[dict[str, Any]] = []
    runs: dict[str, list[Any]] = {}
    for point in points:
        label = point.setting.label
        if label not in numbers:
            numbers[label] = len(settings)
            own = config_alone(point, folds).to_dict()
            settings.append({k: own.get(k) for k in {**base, **own} if base.get(k) != own.get(k)})
        fold = "" if point.fold is None else str(Fold(point.fold[0], folds, point.fold[1]))
        runs[point.key] = [numbers[label], point.config.seed, point.config.data_seed, fold]
    return {"base": base, "settings": settings, "runs": runs}


def config_from_document(document: Mapping[str, Any], key: str) -> RunConfig | None:
    """Returns the configuration of one run from the result of `configs_document`; `None` if it has no such run."""
    if key not in document["runs"]:
        return None
    setting, seed, data_seed, fold = document["runs"][key]
    fields = {**document["base"], **document["settings"][setting]}
    fields |= {"seed": seed, "data_seed": data_seed, "fold": fold or document["base"]["fold"]}
    return RunConfig(**{name: value for name, value in fields.items() if value is not None})


def tracked_config(store: Store, info: RunInfo) -> RunConfig | None:
    """Returns the configuration of a tracked run: its own file, or the one made from its study's.

    Args:
        store: Its store.
        info: The run.

    Returns:
        The configuration; `None` for a run that regplug did not write, and for a run of a study of an older version.
    """
    if CONFIG_FILE in store.artifact_names(info.run_id):
        return load_config(store.read_artifact(info.run_id, CONFIG_FILE))
    if info.parent_id is None or CONFIGS_FILE not in store.artifact_names(info.parent_id):
        return None
    text = store.read_artifact(info.parent_id, CONFIGS_FILE).read_text(encoding="utf-8")
    return config_from_document(json.loads(text), info.tags.get(POINT_TAG, ""))
