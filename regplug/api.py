"""What a plugin author imports: descriptors, markers and `hookimpl`.

A descriptor says what a component is without importing what it is made of: `target` is a string,
`"package.module:attribute"`, imported when the component is built and never before. So this module needs the standard
library and pluggy, and a plugin's entry-point module should need no more.

A target is called with the component's parameters and, by kind:

| kind | target | called as |
|---|---|---|
| regularizer | a `regplug.regularizer.RegularizerFunctions` class | `target(params)` |
| activation | a function that returns a module | `target(params) -> nn.Module` |
| initializer | a function that fills one tensor | `target(params, role, tensor, generator) -> None` |
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
"""Where in a run a regularizer acts, in the order in which a run meets them."""

TaskKind = Literal["classification", "regression"]
Layout = Literal["image", "row", "array"]
"""What one input is: `(channels, height, width)`, `(features,)`, or any other shape, such as `(time, features)`."""


@dataclass(frozen=True)
class Stackable:
    """Marks a number that may differ between the runs of one stack.

    The component must then read it from `step.settings`, never from its parameters.

    Args:
        off: The value at which the component changes nothing, where there is one: what a run without the component is
            listed with, so that the columns of a comparison line up.
    """

    off: float | None = None


@dataclass(frozen=True)
class Schedulable:
    """Marks a number that may change over a run: `A..B` (linear), `A..B@cosine`, `A..B@step`.

    The component must then read it from `step.settings`, never from its parameters.
    """


@dataclass(frozen=True, kw_only=True)
class Search:
    """Marks the range in which a search looks for a number.

    Args:
        low: Least value, included.
        high: Greatest value, included.
        log: Whether to look on a logarithmic scale; `low` must then be positive.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Needed:
    """Marks a parameter that a user must give: its default only stands for "not given".

    Args:
        example: A value as it is typed, for messages.
    """

    example: str


@dataclass(frozen=True)
class InputFile:
    """Marks a path of a file or folder that must be there before the run starts."""


@dataclass(frozen=True)
class NoParams:
    """The parameters of a component that has none."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """What every component says of itself.

    Args:
        name: What a user types: lower case letters, digits and underscores, a letter first.
        target: `"package.module:attribute"`, imported when the component is built.
        summary: One line for lists.
        params: A frozen dataclass with a default for each field, bounds as `annotated_types` metadata and a line of
            text below each field.
        tags: Words that others refer to in `before`, `after`, `conflicts` and `requires`.
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
    """How a short training of a small network feels a regularizer: the kit and generated tests train it this way.

    Args:
        values: Parameters at which its effect is strong within a few steps, as a user types them:
            `strength=0.1,everything=true`. The others keep their defaults.
        branches: Whether it needs a network with residual connections.
        activation: Name of the activation that the network must have; empty for any.
        companions: Names of regularizers without which it does nothing, though it may be composed without them.
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
        conflicts: Names or tags of regularizers that it refuses to be composed with.
        requires: Names or tags of which one must be composed with it.
        tasks: The tasks that it understands.
        inputs: The layouts of inputs that it understands.
        one_of: Word of a group. Of the members of a group in one run, one acts on each batch, drawn anew each step.
        stackable: Whether the host may lift its functions over many runs (`torch.func.vmap`).
        felt: How a short training feels it, for tests. A value at which it changes nothing is `Stackable(off=...)`.
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
        range: Infimum and supremum of its values at the default parameters; `None` where they are not declared.
        kinks: Where the derivative jumps, at the default parameters.
        gain: `1 / sqrt(E f(z)^2)` for z ~ N(0, 1), at the default parameters: weights with standard deviation
            `gain / sqrt(fan_in)` keep the mean square of what passes through. `None` where it is not declared.
    """

    kind: ClassVar[str] = "activation"

    derivative: str = ""
    range: tuple[float, float] | None = None
    kinks: tuple[float, ...] = ()
    gain: float | None = None


@dataclass(frozen=True, kw_only=True)
class Initializer(Component):
    """A rule that fills a parameter tensor at the start of a run.

    Where its parameters have a field `at`, one glob of module names or a tuple of them, it fills those modules alone:
    `--init kaiming_normal --init normal:std=0.01,at=output`.
    """

    kind: ClassVar[str] = "initializer"


@dataclass(frozen=True, kw_only=True)
class Model(Component):
    """A network built for an input shape and a number of outputs.

    Args:
        tasks: The tasks that it is for.
        stackable: Whether many runs of it may train as one stack (`torch.func.vmap`).
    """

    kind: ClassVar[str] = "model"

    tasks: tuple[TaskKind, ...] = ("classification", "regression")
    stackable: bool = True


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """Data with a declared task and declared splits.

    Args:
        task: What is learned from it; where it depends on the parameters, the one at the defaults.
        reads: Patterns of the files and folders that `--dataset PATH` gives to its parameter marked `InputFile`:
            `*.csv` is a file, `*/` any folder, `*/info.json` a folder that holds such a file. The longest counts.
    """

    kind: ClassVar[str] = "dataset"

    task: TaskKind
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """A data loss: what each row costs, given the model's outputs and the targets.

    Args:
        tasks: The tasks that it is for.
        soft_targets: Whether a classification may give it class probabilities `(batch, classes)` as targets, as
            regularizers make them that mix or smooth targets.
        default_for: The tasks whose `--loss auto` it is. Where regplug has a default of its own, that one is used.
    """

    kind: ClassVar[str] = "loss"

    tasks: tuple[TaskKind, ...]
    soft_targets: bool = False
    default_for: tuple[TaskKind, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Optimizer(Component):
    """An update rule: how parameters move, given their gradients and a rate.

    Args:
        stackable: Whether it may move many stacked runs at once, each at its own rate.
    """

    kind: ClassVar[str] = "optimizer"

    stackable: bool = True


@dataclass(frozen=True, kw_only=True)
class Schedule(Component):
    """A schedule of the learning rate: the factor on it at each step."""

    kind: ClassVar[str] = "schedule"


@dataclass(frozen=True, kw_only=True)
class Probe(Component):
    """A measurement of a model in training that never changes the trained weights."""

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
    """A study with a question, settings, seeds and a verdict."""

    kind: ClassVar[str] = "study"


@dataclass(frozen=True, kw_only=True)
class Command(Component):
    """A command of `regplug`: `regplug NAME`. Its target is imported when the command is called."""

    kind: ClassVar[str] = "command"


@dataclass(frozen=True, kw_only=True)
class Observer(Component):
    """Somebody who is told of every run: `run_started`, `epoch_ended`, `run_finished`."""

    kind: ClassVar[str] = "observer"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is learned.

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
class ModelContext:
    """What a model is built for.

    Args:
        input_shape: Shape of one normalised input without the batch axis: `(features,)`, `(channels, height, width)` or
            `(time, features)`.
        task: What is learned; the model returns `(batch, task.num_outputs)` logits or values.
        activation: Makes a new module of the chosen activation at each call; `None` where the user chose none and the
            model takes its own default.
    """

    input_shape: tuple[int, ...]
    task: Task
    activation: Callable[[], Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DataContext:
    """What a dataset is read or generated for.

    Args:
        data_seed: Decides the split, and the data where they are generated.
    """

    data_seed: int = 0


@dataclass(slots=True)  # not frozen: one is made for each step, and that would take three times as long
class ScheduleStep:
    """What a schedule gets, to be read: one step of those that it rules, which a warm-up is not among.

    Args:
        index: Steps done before this one.
        count: Steps in all, at least one.
        steps_per_epoch: Steps of an epoch.
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
