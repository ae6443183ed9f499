"""Descriptors: what a plugin says of each component that it offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from regplug.api.markers import ALL_TASKS, Layout, NoParams, TaskKind


@dataclass(frozen=True, kw_only=True)
class Component:
    """The fields that all descriptors share.

    Args:
        name: The name that users type: lower case letters, digits and underscores, starting with a letter.
        target: `"package.module:attribute"`, imported when the component is built.
        summary: One sentence for lists.
        params: A subclass of `Parameters`, or another frozen dataclass, with a default for each field, bounds as
            `annotated_types` metadata and a help string below each field.
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
        needs_weights: Whether it acts on weights alone, so that a model without any is refused. With a parameter
            `everything` that is on, it also acts on biases, and no model is refused.
        stackable: Whether the host may lift its functions over many runs (`torch.func.vmap`).
        felt: How to see its effect in a short training, for tests. A value without effect is `Stackable(off=...)`.
    """

    kind: ClassVar[str] = "regularizer"

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    tasks: tuple[TaskKind, ...] = ALL_TASKS
    inputs: tuple[Layout, ...] = ("image", "row", "array")
    one_of: str = ""
    needs_weights: bool = False
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
        why_single: Why not, in a few words, which a plan shows; only if `stackable` is false.
    """

    kind: ClassVar[str] = "model"

    tasks: tuple[TaskKind, ...] = ALL_TASKS
    stackable: bool = True
    why_single: str = ""


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """Data with a declared task and declared splits.

    Args:
        task: Its task; if that depends on the parameters, the task at the default parameters.
        reads: Patterns of the files and folders that `--dataset PATH` passes to its parameter marked `InputFile`:
            `*.csv` is a file, `*/` any folder, `*/info.json` a folder that contains such a file. The longest match
            wins.
        settings: Fields of a run that suit the data, as texts such as `"optimizer=adam"`. They replace the defaults of
            a run that gives none of `optimizer`, `lr`, `momentum` and `nesterov`.
    """

    kind: ClassVar[str] = "dataset"

    task: TaskKind
    reads: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


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
    """A study of `regplug lab`: a question that an experiment answers with claims, values and figures.

    Its name is typed with hyphens: `weight_decay` is `regplug lab run weight-decay`. It has no parameters.

    Args:
        question: The question, in one sentence.
        section: Chapter or section of a book that it belongs to; studies of one section are shown together.
        seconds: Approximate duration in full and in quick mode, on one core of a usual machine.
        rows: Rows of a table of reference values that it covers, such as `A1`.
        seeds: Seeds in full mode; more than ten where they cost little.
    """

    kind: ClassVar[str] = "study"

    question: str
    section: str = ""
    seconds: tuple[float, float] = (0.0, 0.0)
    rows: tuple[str, ...] = ()
    seeds: int = 10


@dataclass(frozen=True, kw_only=True)
class Command(Component):
    """A command of `regplug`: `regplug NAME`. Its target is imported when the command is called."""

    kind: ClassVar[str] = "command"


@dataclass(frozen=True, kw_only=True)
class Observer(Component):
    """A receiver of the events of every run: `run_started`, `epoch_ended`, `run_finished`."""

    kind: ClassVar[str] = "observer"


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
