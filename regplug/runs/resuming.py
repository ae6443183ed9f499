"""Resumes an interrupted run: the same run in the tracking store ends with the weights of an uninterrupted one."""

from __future__ import annotations

from collections.abc import Sequence

from regplug.config import load_config
from regplug.errors import RequestError
from regplug.registry import Registry
from regplug.registry.uncollected import uncollected
from regplug.runs.background_process import Executor
from regplug.runs.earlier import earlier_of
from regplug.runs.request import check_request
from regplug.runs.results import Observer, RunResult
from regplug.runs.stored import CONFIG_FILE, asking_for_objects
from regplug.tracking import RunInfo, Store, open_store
from regplug.tracking.kinds import study_of


def resume(
    text: str,
    registry: Registry,
    *,
    observers: Sequence[Observer] = (),
    tracking_uri: str | None = None,
    is_soft: bool = False,
    computing: Executor | None = None,
) -> RunResult:
    """Resumes a run from its last checkpoint, or from its beginning if it has none.

    Args:
        text: The run's id, the beginning of its id, or its name.
        registry: The available components.
        observers: Receive the events of the run.
        tracking_uri: An MLflow store; by default `MLFLOW_TRACKING_URI`, else `mlruns/mlflow.db` in the current folder.
        is_soft: As for `execute`.
        computing: As for `execute`.

    Raises:
        RequestError: There is no such run, it cannot be resumed, or it is still being written; nothing was changed.
        FailedError: The run was continued and ended FAILED.
    """
    with uncollected():
        from regplug.runs.runner import execute

    store = open_store(tracking_uri, is_read=True)
    info = store.find_run(text)
    if store.catch_up(info.run_id):
        info = store.find_run(info.run_id)
    _require_unfinished(store, info)
    config = load_config(store.read_artifact(info.run_id, CONFIG_FILE))
    earlier = earlier_of(store, info)
    with asking_for_objects(f"Run {info.name}", "regplug.resume"):
        request = check_request(config, registry, tracking_uri=tracking_uri, owner=info.run_id)
    return execute(
        request,
        observers=observers,
        tracking_uri=tracking_uri,
        earlier=earlier,
        is_soft=is_soft,
        computing=computing,
    )


def _require_unfinished(store: Store, info: RunInfo) -> None:
    named = f"Run {info.name} ({info.run_id[:8]})"
    require_alone(store, info)
    if info.status == "FINISHED":
        raise RequestError(f"{named} is finished.", hint="Train again with `regplug run --config config.toml`.")
    if info.status == "RUNNING" and not info.is_stale:
        raise RequestError(f"{named} is still running.", hint="Wait until it ends, or end its process.")
    if CONFIG_FILE not in store.artifact_names(info.run_id):
        raise RequestError(
            f"{named} has no {CONFIG_FILE}: it ended before its training began, or it is not a run of regplug.",
            hint="Repeat its command.",
        )


def require_alone(store: Store, info: RunInfo) -> None:
    """Checks that a run does not belong to a study, which is resumed instead of it.

    Raises:
        RequestError: It does; the hint names the study.
    """
    study_id = study_of(info)
    if study_id is None:
        return
    study = store.find_run(study_id)
    is_done = study.status == "FINISHED"
    raise RequestError(
        f"Run {info.name} ({info.run_id[:8]}) belongs to the study {study.name} ({study_id[:8]}).",
        hint="The study is finished." if is_done else f"Resume the study: regplug runs resume {study_id[:8]}",
    )
