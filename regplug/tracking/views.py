"""Views of MLflow's table of runs: which columns it shows, and which runs.

MLflow 3 keeps a shared view as a tag of the experiment, and a link opens it with `viewStateShareKey`. The column choice
cannot be part of a link itself. MLflow ignores the view if a link also has a filter or an order, so that these are part
of the view. A view with a name is in the menu "Views" of the page.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence

VIEW_TAG = "mlflow.sharedViewState."
"""Beginning of the experiment's tags with views."""

EXPERIMENT_VIEW = "regplug"
"""Key of the view with all runs of an experiment, and its name in the menu."""

_METRICS = (
    *("test/accuracy", "valid/accuracy", "gap/accuracy", "best/test/accuracy"),
    *("test/rmse", "valid/rmse", "test/r2", "best/test/rmse"),
)
"""Columns of the view of an experiment; the page leaves out those that no run has."""

_LEFT_OUT = ("model", "dataset", "setting")  # part of the name of a run or of its experiment
_MOST_PARAMS = 24


def experiment_view(columns: Iterable[str]) -> dict[str, str]:
    """Returns the tag with the view of an experiment.

    Args:
        columns: Parameters that its runs log.

    >>> tag = experiment_view(["lr", "model"])
    >>> json.loads(json.loads(tag["mlflow.sharedViewState.regplug"])["state"])["selectedColumns"][-1]
    'params.`lr`'
    """
    params = [name for name in columns if name not in _LEFT_OUT]
    now = int(time.time() * 1000)
    state = json.dumps(_state(_METRICS, params))
    named = {"name": EXPERIMENT_VIEW, "createdAt": now, "updatedAt": now, "state": state}
    return {f"{VIEW_TAG}{EXPERIMENT_VIEW}": json.dumps(named)}


def study_view(study_id: str, params: Iterable[str], metrics: Sequence[str], *, ascending: bool) -> dict[str, str]:
    """Returns the tag with the view of a study: its runs, the best first. Its key is the study's id.

    Args:
        study_id: The study's run.
        params: Parameters that it varies.
        metrics: Metrics; the first one sorts.
        ascending: Whether lower is better.

    >>> tag = study_view("abc", ["seed"], ["test/loss"], ascending=True)
    >>> json.loads(tag["mlflow.sharedViewState.abc"])["orderByKey"]
    'metrics.`test/loss`'
    """
    state = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{study_id}'",
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": ascending,
        **_state(metrics, params),
    }
    return {f"{VIEW_TAG}{study_id}": json.dumps(state)}


def _state(metrics: Sequence[str], params: Iterable[str]) -> Mapping[str, object]:
    chosen = [f"params.`{name}`" for name in sorted(params)[:_MOST_PARAMS]]
    return {"selectedColumns": ["attributes.`Duration`", *(f"metrics.`{name}`" for name in metrics), *chosen]}
