"""Which checks of the kit a component gets, by its kind and the phases in which it acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from regplug.api import Regularizer
from regplug.errors import RequestError, did_you_mean
from regplug.registry.usercode import derive_phases
from regplug.testing.checking import Check
from regplug.testing.checks import (
    activations,
    batch_initializers,
    batches,
    common,
    datasets,
    epochs,
    layer_noise,
    layer_state,
    layers,
    losses,
    models,
    objective,
    optimizers,
    row_losses,
    runs,
    schedules,
    settings,
    small_kinds,
    steps,
    studies,
)
from regplug.testing.subject import Subject

_BY_PHASE: Mapping[str, tuple[Check, ...]] = {
    "structure": (*layers.CHECKS, *layer_noise.CHECKS, *layer_state.CHECKS),
    "data": batches.CHECKS,
    "objective": (*objective.CHECKS, *row_losses.CHECKS),
    "gradient": steps.GRADIENT_CHECKS,
    "optimizer": steps.OPTIMIZER_CHECKS,
    "weights": steps.WEIGHT_CHECKS,
    "state": epochs.CHECKS,
    "epoch": epochs.CHECKS,
    "finish": epochs.CHECKS,
}
_BY_KIND: Mapping[str, tuple[Check, ...]] = {
    "regularizer": (*runs.CHECKS, *settings.CHECKS),
    "activation": activations.CHECKS,
    "model": models.CHECKS,
    "dataset": datasets.CHECKS,
    "initializer": (*small_kinds.INITIALIZER_CHECKS, *batch_initializers.CHECKS),
    "loss": losses.CHECKS,
    "optimizer": optimizers.CHECKS,
    "schedule": schedules.CHECKS,
    "probe": small_kinds.PROBE_CHECKS,
    "format": small_kinds.FORMAT_CHECKS,
    "study": studies.CHECKS,
    "command": (),
    "observer": (),
}


def checks_for(kind: str, phases: Sequence[str] | None = None) -> Iterator[Check]:
    """Yields the checks for a kind; each is a named function of a `Subject`.

    Args:
        kind: Kind of component.
        phases: For a regularizer, the phases in which it acts; `None` for all.

    Raises:
        RequestError: There is no such kind.
    """
    if kind not in _BY_KIND:
        raise RequestError(f"There are no components of kind {kind!r}.", hint=did_you_mean(kind, _BY_KIND))
    found = [*common.CHECKS, *_BY_KIND[kind]]
    if kind == "regularizer":
        found += [check for phase, own in _BY_PHASE.items() if phases is None or phase in phases for check in own]
    yield from dict.fromkeys(found)


def checks_of(subject: Subject) -> list[Check]:
    """Returns the checks for a component."""
    component = subject.component
    return list(checks_for(component.kind, _phases_of(subject) if isinstance(component, Regularizer) else None))


def _phases_of(subject: Subject) -> tuple[str, ...] | None:
    """The phases in which a regularizer's class acts; `None`, for all, where a function makes it.

    This does not build the component: a check of its own does.
    """
    try:
        target = subject.target
    except Exception:  # whatever a plugin's module raises; a check reports it
        return None
    return derive_phases(target) if isinstance(target, type) else None
