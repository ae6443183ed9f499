"""Resumes an interrupted run: the same run in the tracking store ends with the weights of an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from regplug.config import load_config
from regplug.errors import RequestError
from regplug.registry import Registry
from regplug.runs.checkpoints import read_checkpoint
from regplug.runs.earlier import CHECKPOINT_TAG, Earlier
from regplug.runs.request import check_request
from regplug.runs.results import Observer, RunResult
from regplug.runs.stored import CONFIG_FILE, asking_for_objects
from regplug.tracking import RunInfo, Store, open_store


def resume(
    text: str,
    registry: Registry,
    *,
    observers: Sequence[Observer] = (),
    tracking_uri: str | None = None,
    is_soft: bool = False,
) -> RunResult:
    """Resumes a run from its last checkpoint, or from its beginning if it has none.

    Args:
        text: The run's id, the beginning of its id, or its name.
        registry: The available components.
        observers: Receive the events of the run.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.
        is_soft: As for `execute`.

    Raises:
        RequestError: There is no such run, it cannot be resumed, or it is still being written; nothing was changed.
        FailedError: The run was continued and ended FAILED.
    """
    from regplug.runs.runner import execute

    store = open_store(tracking_uri, is_read=True)
    info = store.find_run(text)
    _require_unfinished(store, info)
    config = load_config(store.read_artifact(info.run_id, CONFIG_FILE))
    checkpoint = read_checkpoint(Path(info.tags[CHECKPOINT_TAG])) if CHECKPOINT_TAG in info.tags else None
    with asking_for_objects(info.name, "regplug.resume"):
        request = check_request(config, registry, tracking_uri=tracking_uri, owner=info.run_id)
    earlier = Earlier(
        run_id=info.run_id,
        checkpoint=checkpoint,
        digests=store.dataset_digests(info.run_id),
        points=_points(store, info),
    )
    return execute(request, observers=observers, tracking_uri=tracking_uri, earlier=earlier, is_soft=is_soft)


def _require_unfinished(store: Store, info: RunInfo) -> None:
    named = f"Run {info.name} ({info.run_id[:8]})"
    if info.parent_id is not None:
        raise RequestError(
            f"{named} belongs to a study.", hint="Repeat the command of the study: it continues where it stopped."
        )
    if info.status == "FINISHED":
        raise RequestError(f"{named} is finished.", hint="Train again with `regplug run --config config.toml`.")
    if info.status == "RUNNING" and not info.is_stale:
        raise RequestError(f"{named} is still running.", hint="Wait until it ends, or end its process.")
    if CONFIG_FILE not in store.artifact_names(info.run_id):
        raise RequestError(
            f"{named} has no {CONFIG_FILE}: it is a study, or it ended before its training began.",
            hint="Repeat its command; a study continues where it stopped.",
        )


def _points(store: Store, info: RunInfo) -> dict[str, dict[int, list[float]]]:
    found: dict[str, dict[int, list[float]]] = {}
    for name in info.metrics:
        steps = found.setdefault(name, {})
        for point in store.metric_history(info.run_id, name):
            steps.setdefault(point.step, []).append(point.value)
    return found
