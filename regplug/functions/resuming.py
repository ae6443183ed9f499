"""`regplug.resume`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regplug.registry import default_registry

if TYPE_CHECKING:
    from regplug.functions.arguments import DatasetLike, ModelLike
    from regplug.registry import Registry
    from regplug.runs.results import Observer, RunResult


def resume(
    run: str,
    *,
    model: ModelLike | None = None,
    dataset: DatasetLike | None = None,
    observers: Sequence[Observer] = (),
    tracking_uri: str | None = None,
    registry: Registry | None = None,
) -> RunResult:
    """Resumes an interrupted run: `regplug runs resume` from Python.

    The same MLflow run continues from its last checkpoint, and ends with the weights of an uninterrupted run.

    Args:
        run: The run's id, the beginning of its id, or its name.
        model: The same Python object again, if the run was started with one.
        dataset: The same Python object again, if the run was started with one.
        observers: Receive the events of the run.
        tracking_uri: As for `run`.
        registry: As for `run`.

    Returns:
        The result, as of `run`.

    Raises:
        RequestError: There is no such run, or it cannot be resumed; nothing was changed.
        FailedError: The run was continued and ended FAILED.

    >>> result = resume("3f2a")  # doctest: +SKIP
    """
    from regplug.runs.caller_objects import take_over
    from regplug.runs.resuming import resume as resume_run

    given: dict[str, Any] = {"model": model, "dataset": dataset}
    objects = {name: value for name, value in given.items() if value is not None}
    _, known = take_over(objects, registry or default_registry())
    return resume_run(run, known, observers=observers, tracking_uri=tracking_uri)
