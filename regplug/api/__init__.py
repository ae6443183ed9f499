"""The names that plugin authors import: descriptors, markers and `hookimpl`.

A descriptor describes a component without importing its implementation: `target` is a string,
`"package.module:attribute"`, which is imported only when the component is built. So this module imports only the
standard library and pluggy, and a plugin's entry-point module should import no more.

A target is called with the component's parameters and, by kind:

| kind | target | called as |
|---|---|---|
| regularizer | a `regplug.regularizer.RegularizerFunctions` class | `target(params)` |
| activation | a function that returns a module | `target(params) -> nn.Module` |
| initializer | a function that fills one tensor | `target(params, role, tensor, generator) -> None` |
| initializer with `sees_batch` | a function that fills layers | `target(params, layers, batch, generator) -> None` |
| model | a function that returns a module | `target(params, context: ModelContext) -> nn.Module` |
| dataset | a function that returns the data | `target(params, context: DataContext) -> regplug.data.RawData` |
| loss | a `regplug.losses.LossFunction` class | `target(params)` |
| optimizer | a `regplug.optimizers.UpdateRule` class | `target(params)` |
| schedule | a function of one step, without torch | `target(params, step: ScheduleStep) -> float` |
| probe | a `regplug.probes.Probe` class | `target(params)` |
| format | a `regplug.bundles.formats.Format` class | `target(params)` |
| study | a function that runs the experiment | `target(lab: regplug.lab.Lab) -> regplug.lab.Findings` |
| command | a function whose arguments are the command's, or a `typer.Typer` | `target(**arguments)`, if called |
| observer | a class with some methods of `regplug.runs.results.Observer` | `target(params)`, once per process |
"""

from __future__ import annotations

from regplug.api.contexts import (
    DataContext,
    Feature,
    ModelContext,
    ScheduleStep,
    Task,
)
from regplug.api.descriptors import (
    KINDS,
    Activation,
    Command,
    Component,
    Dataset,
    Felt,
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
from regplug.api.markers import (
    PROJECT,
    InputFile,
    Layout,
    Needed,
    NoParams,
    Phase,
    Schedulable,
    Search,
    Stackable,
    TaskKind,
    hookimpl,
)
from regplug.api.parameters import Parameters

__all__ = [
    "KINDS",
    "PROJECT",
    "Activation",
    "Command",
    "Component",
    "DataContext",
    "Dataset",
    "Feature",
    "Felt",
    "Format",
    "Initializer",
    "InputFile",
    "Layout",
    "Loss",
    "Model",
    "ModelContext",
    "Needed",
    "NoParams",
    "Observer",
    "Optimizer",
    "Parameters",
    "Phase",
    "Probe",
    "Regularizer",
    "Schedulable",
    "Schedule",
    "ScheduleStep",
    "Search",
    "Stackable",
    "Study",
    "Task",
    "TaskKind",
    "hookimpl",
]
