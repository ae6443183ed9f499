"""`regplug.resume`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regplug.registry import default_registry

if TYPE_CHECKING:
    from regplug.api import Component
    from regplug.functions.arguments import DatasetLike, GroupLike, ModelLike
    from regplug.registry import Registry
    from regplug.runs.results import RunResult
    from regplug.studies.results import StudyResult


def resume(
    run: str,
    *,
    model: ModelLike | None = None,
    dataset: DatasetLike | None = None,
    group: GroupLike | None = None,
    weights: Any = None,
    components: Sequence[Component] = (),
    observers: Sequence[Any] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
) -> RunResult | StudyResult:
    """Resumes an interrupted run or study: `regplug runs resume` from Python.

    The same MLflow run continues from its last checkpoint, and ends with the weights of an uninterrupted run. The
    finished runs of a study are kept.

    Args:
        run: The id of the run or study, the beginning of its id, or its name.
        model: The same Python object again, if it was started with one.
        dataset: The same Python object again, if it was started with one.
        group: The same array of groups again, if it was started with one.
        weights: The same array of weights again, if it was started with one.
        components: The same descriptors again, if it was started with descriptors of components.
        observers: Receive the events: observers of a run, or of a study.
        tracking_uri: As for `run`.
        registry: As for `run`.

    Returns:
        The result, as of `run`, `sweep` or `cross_validate`.

    Raises:
        RequestError: There is no such run or study, or it cannot be resumed; nothing was changed.
        FailedError: It was continued and ended FAILED.

    >>> result = resume("3f2a")  # doctest: +SKIP
    """
    from regplug.runs.caller_objects import take_over
    from regplug.runs.resuming import resume as resume_run
    from regplug.studies.resuming import resume_study
    from regplug.tracking import open_store
    from regplug.tracking.kinds import STUDY_TAG

    given = {"model": model, "dataset": dataset, "group": group, "weights": weights, "reg": tuple(components) or None}
    objects = {name: value for name, value in given.items() if value is not None}
    _, known = take_over(objects, registry or default_registry())
    store = open_store(tracking_uri, is_read=True)
    info = store.find_run(run)
    if STUDY_TAG in info.tags:
        return resume_study(store, info, known, observers=observers, tracking_uri=tracking_uri)
    return resume_run(info.run_id, known, observers=observers, tracking_uri=tracking_uri)
