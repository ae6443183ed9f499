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
| command | a function whose arguments are the command's, or a `typer.Typer` | `target(**arguments)`, if called |
| observer | a class with some methods of `regplug.runs.results.Observer` | `target(params)`, once per process |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pluggy

PROJECT = "regplug"
"""Name of the pluggy project and of the entry-point group."""

hookimpl = pluggy.HookimplMarker(PROJECT)

Phase = Literal[
    "structure", "noise", "state", "data", "objective", "gradient", "optimizer", "weights", "epoch", "finish"
]
"""The phases of a run in which a regularizer can act, in order."""

TaskKind = Literal["classification", "regression"]
Layout = Literal["image", "row", "array"]
"""Layout of one input: `(channels, height, width)`, `(features,)`, or any other shape, such as `(time, features)`."""


@dataclass(frozen=True)
class Stackable:
    """Marks a number that may differ between the runs of one stack.

    The component must then read it from `step.settings`, never from its parameters.

    Args:
        off: The value at which the component has no effect, or `None`. Runs without the component are listed with this
            value, so that the columns of a comparison line up.
    """

    off: float | None = None


@dataclass(frozen=True)
class Schedulable:
    """Marks a number that may change over a run: `A..B` (linear), `A..B@cosine`, `A..B@step`.

    The component must then read it from `step.settings`, never from its parameters.
    """


@dataclass(frozen=True, kw_only=True)
class Search:
    """Marks the range in which a search varies a number.

    Args:
        low: Smallest value, included.
        high: Largest value, included.
        log: Whether to search on a logarithmic scale; `low` must then be positive.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Needed:
    """Marks a required parameter, whose default only means "not given".

    Args:
        example: A value as it is typed, for messages.
    """

    example: str


@dataclass(frozen=True)
class InputFile:
    """Marks the path of a file or folder that must exist before the run starts."""


@dataclass(frozen=True)
class NoParams:
    """The parameters of a component that has none."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """The fields that all descriptors share.

    Args:
        name: The name that users type: lower case letters, digits and underscores, starting with a letter.
        target: `"package.module:attribute"`, imported when the component is built.
        summary: One sentence for lists.
        params: A frozen dataclass with a default for each field, bounds as `annotated_types` metadata and a help string
            below each field.
        tags: Words that other components can name in `before`, `after`, `conflicts` and `requires`.
        source: Paper with year, or textbook section.
        family: Word that groups it with others of its kind in lists; empty for none.
        formula: What it computes, in one line of plain text, such as `loss + strength * sum |w|`.
        example: Arguments of `regplug run` to copy, where its name and defaults alone would not do.
    """

    kind: ClassVar[str] = ""

    name: str
    target: str
    summary: str
    params: type = NoParams
    tags: tuple[str, ...] = ()
    source: str = ""
    family: str = ""
    formula: str = ""
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class Felt:
    """How to see the effect of a regularizer in a short training of a small network, for the kit and generated tests.

    Args:
        values: Parameters with a strong effect within a few steps, as a user types them:
            `strength=0.1,everything=true`. The others keep their defaults.
        branches: Whether it needs a network with residual connections.
        activation: Name of the activation that the network must have; empty for any.
        companions: Names of regularizers without which it has no effect, although it works without them.
    """

    values: str = ""
    branches: bool = False
    activation: str = ""
    companions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Regularizer(Component):
    """A regularizer: a handful of pure functions of one run.

    Args:
        before: Names or tags of regularizers that must come after this one, within each phase.
        after: Names or tags of regularizers that must come before this one, within each phase.
        conflicts: Names or tags of regularizers that it cannot be combined with.
        requires: Names or tags, at least one of which must be combined with it.
        tasks: The tasks that it supports.
        inputs: The layouts of inputs that it supports.
        one_of: Word of a group. For each batch, one member of the group, drawn at random, acts.
        stackable: Whether the host may lift its functions over many runs (`torch.func.vmap`).
        felt: How to see its effect in a short training, for tests. A value without effect is `Stackable(off=...)`.
    """

    kind: ClassVar[str] = "regularizer"

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    tasks: tuple[TaskKind, ...] = ("classification", "regression")
    inputs: tuple[Layout, ...] = ("image", "row", "array")
    one_of: str = ""
    stackable: bool = True
    felt: Felt = Felt()


@dataclass(frozen=True, kw_only=True)
class Activation(Component):
    """An elementwise activation function.

    Args:
        derivative: `"package.module:attribute"` of a function `(params, x) -> dy/dx`, or empty.
        range: Infimum and supremum of its values, at the default parameters; `None` if not declared.
        kinks: Points where the derivative jumps, at the default parameters.
        gain: `1 / sqrt(E f(z)^2)` for z ~ N(0, 1), at the default parameters: weights with standard deviation
            `gain / sqrt(fan_in)` preserve the mean square of activations. `None` if not declared.
    """

    kind: ClassVar[str] = "activation"

    derivative: str = ""
    range: tuple[float, float] | None = None
    kinks: tuple[float, ...] = ()
    gain: float | None = None


@dataclass(frozen=True, kw_only=True)
class Initializer(Component):
    """A rule that fills a parameter tensor at the start of a run, or all its layers with a view of training data.

    Where its parameters have a field `at`, one glob of module names or a tuple of them, it fills those modules alone:
    `--init kaiming_normal --init normal:std=0.01,at=output`.

    Args:
        sees_batch: Whether it is called once, after all initializers that fill one tensor, with its layers (a list of
            `regplug.initializers.Layer`) and 256 normalised training rows.
    """

    kind: ClassVar[str] = "initializer"

    sees_batch: bool = False


@dataclass(frozen=True, kw_only=True)
class Model(Component):
    """A network built for an input shape and a number of outputs.

    Args:
        tasks: The tasks that it supports.
        stackable: Whether many runs of it may train as one stack (`torch.func.vmap`).
    """

    kind: ClassVar[str] = "model"

    tasks: tuple[TaskKind, ...] = ("classification", "regression")
    stackable: bool = True


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """Data with a declared task and declared splits.

    Args:
        task: Its task; if that depends on the parameters, the task at the default parameters.
        reads: Patterns of the files and folders that `--dataset PATH` passes to its parameter marked `InputFile`:
            `*.csv` is a file, `*/` any folder, `*/info.json` a folder that contains such a file. The longest match
            wins.
    """

    kind: ClassVar[str] = "dataset"

    task: TaskKind
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """A data loss: one number per row, from the model's outputs and the targets.

    Args:
        tasks: The tasks that it supports.
        soft_targets: Whether, for a classification, it accepts class probabilities `(batch, classes)` as targets.
            Regularizers that mix or smooth targets need this.
        default_for: The tasks for which `--loss auto` selects it, unless regplug has its own default.
    """

    kind: ClassVar[str] = "loss"

    tasks: tuple[TaskKind, ...]
    soft_targets: bool = False
    default_for: tuple[TaskKind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Optimizer(Component):
    """An update rule, which computes new parameters from their gradients and a learning rate.

    Args:
        stackable: Whether it can update many stacked runs at once, each with its own learning rate.
    """

    kind: ClassVar[str] = "optimizer"

    stackable: bool = True


@dataclass(frozen=True, kw_only=True)
class Schedule(Component):
    """A schedule: the factor on the learning rate at each step."""

    kind: ClassVar[str] = "schedule"


@dataclass(frozen=True, kw_only=True)
class Probe(Component):
    """A measurement of a model during training that never changes the trained weights."""

    kind: ClassVar[str] = "probe"


@dataclass(frozen=True, kw_only=True)
class Format(Component):
    """An export format.

    Args:
        filename: The file that it writes into a bundle.
    """

    kind: ClassVar[str] = "format"

    filename: str


@dataclass(frozen=True, kw_only=True)
class Study(Component):
    """A predefined study: a question with settings, seeds and a conclusion."""

    kind: ClassVar[str] = "study"


@dataclass(frozen=True, kw_only=True)
class Command(Component):
    """A command of `regplug`: `regplug NAME`. Its target is imported when the command is called."""

    kind: ClassVar[str] = "command"


@dataclass(frozen=True, kw_only=True)
class Observer(Component):
    """A receiver of the events of every run: `run_started`, `epoch_ended`, `run_finished`."""

    kind: ClassVar[str] = "observer"


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task of a dataset.

    Args:
        kind: `classification` or `regression`.
        num_outputs: Classes of a classification, columns of a regression target.
        class_names: One name for each class; empty for a regression.
    """

    kind: TaskKind
    num_outputs: int
    class_names: tuple[str, ...] = ()

    @property
    def is_classification(self) -> bool:
        """Whether the targets are classes."""
        return self.kind == "classification"


@dataclass(frozen=True, kw_only=True)
class Feature:
    """The columns of a row that are one column of the user's table.

    Args:
        name: Of the user's column.
        kind: `category`: one column for each category and one for all others, of which one is 1 and the others are 0;
            `number`: the number, and where cells were empty an indicator.
        start: First column.
        stop: The column after the last one.
    """

    name: str
    kind: Literal["number", "category"]
    start: int
    stop: int


@dataclass(frozen=True, kw_only=True)
class ModelContext:
    """The context in which a model is built.

    Args:
        input_shape: Shape of one normalised input without the batch axis: `(features,)`, `(channels, height, width)` or
            `(time, features)`.
        task: The task; the model returns `(batch, task.num_outputs)` logits or values.
        activation: Returns a new module of the chosen activation at each call; `None` if the user chose none, so that
            the model uses its own default.
        features: Which columns of a row belong together, so that a model may embed a category; empty if every column
            is a feature of its own.
    """

    input_shape: tuple[int, ...]
    task: Task
    activation: Callable[[], Any] | None = None
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DataContext:
    """The context in which a dataset is read or generated.

    Args:
        data_seed: Seed of the split, and of generated data.
    """

    data_seed: int = 0


@dataclass(slots=True)  # not frozen: one is created for each step, and a frozen one takes three times as long
class ScheduleStep:
    """The read-only argument of a schedule: one step. Warm-up steps do not count.

    Args:
        index: Steps done before this one.
        count: Total number of steps, at least one.
        steps_per_epoch: Steps per epoch.
    """

    index: int
    count: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """Epochs done before this step."""
        return self.index // self.steps_per_epoch


KINDS: Mapping[str, type[Component]] = {
    cls.kind: cls
    for cls in (
        Regularizer,
        Activation,
        Initializer,
        Model,
        Dataset,
        Loss,
        Optimizer,
        Schedule,
        Probe,
        Format,
        Study,
        Command,
        Observer,
    )
}
"""Descriptor class by kind."""

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
