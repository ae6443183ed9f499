"""The hooks that a plugin can implement: one for each kind of component.

A hook takes no arguments and returns, or yields, descriptors of its kind. Each implementation is called separately, and
an exception in one does not affect the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pluggy

from regplug.api import (
    PROJECT,
    Activation,
    Command,
    Dataset,
    Format,
    Initializer,
    Loss,
    Model,
    Observer,
    Optimizer,
    Probe,
    Regularizer,
    Schedule,
    Study,
)

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def regplug_regularizers() -> Iterable[Regularizer]:  # type: ignore[empty-body]  # a specification has no body
    """Regularizers that the plugin offers."""


@hookspec
def regplug_activations() -> Iterable[Activation]:  # type: ignore[empty-body]  # a specification has no body
    """Activations that the plugin offers."""


@hookspec
def regplug_initializers() -> Iterable[Initializer]:  # type: ignore[empty-body]  # a specification has no body
    """Initializers that the plugin offers."""


@hookspec
def regplug_models() -> Iterable[Model]:  # type: ignore[empty-body]  # a specification has no body
    """Models that the plugin offers."""


@hookspec
def regplug_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]  # a specification has no body
    """Datasets that the plugin offers."""


@hookspec
def regplug_losses() -> Iterable[Loss]:  # type: ignore[empty-body]  # a specification has no body
    """Data losses that the plugin offers."""


@hookspec
def regplug_optimizers() -> Iterable[Optimizer]:  # type: ignore[empty-body]  # a specification has no body
    """Optimizers that the plugin offers."""


@hookspec
def regplug_schedules() -> Iterable[Schedule]:  # type: ignore[empty-body]  # a specification has no body
    """Schedules of the learning rate that the plugin offers."""


@hookspec
def regplug_probes() -> Iterable[Probe]:  # type: ignore[empty-body]  # a specification has no body
    """Probes that the plugin offers."""


@hookspec
def regplug_formats() -> Iterable[Format]:  # type: ignore[empty-body]  # a specification has no body
    """Export formats that the plugin offers."""


@hookspec
def regplug_studies() -> Iterable[Study]:  # type: ignore[empty-body]  # a specification has no body
    """Studies that the plugin offers."""


@hookspec
def regplug_commands() -> Iterable[Command]:  # type: ignore[empty-body]  # a specification has no body
    """Commands of `regplug` that the plugin offers; a name that regplug itself uses is reported as a problem."""


@hookspec
def regplug_observers() -> Iterable[Observer]:  # type: ignore[empty-body]  # a specification has no body
    """Observers that receive the events of every run, including each run of `regplug sweep` and `regplug cv`."""


HOOK_KINDS: Mapping[str, str] = {
    "regplug_regularizers": "regularizer",
    "regplug_activations": "activation",
    "regplug_initializers": "initializer",
    "regplug_models": "model",
    "regplug_datasets": "dataset",
    "regplug_losses": "loss",
    "regplug_optimizers": "optimizer",
    "regplug_schedules": "schedule",
    "regplug_probes": "probe",
    "regplug_formats": "format",
    "regplug_studies": "study",
    "regplug_commands": "command",
    "regplug_observers": "observer",
}
"""Hook -> kind of component that it yields."""
