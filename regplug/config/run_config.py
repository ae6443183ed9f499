"""The configuration of one run."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le, Lt

from regplug.config.fold import Fold
from regplug.config.literals import write_value
from regplug.config.params import check_fields, describe_params, params_to_dict
from regplug.config.spec import ComponentSpec
from regplug.errors import CompositionError, RequestError

RUN_HINT = "`regplug run --help` lists all options with their defaults."

KIND_BY_FIELD: Mapping[str, str] = {
    "model": "model",
    "dataset": "dataset",
    "reg": "regularizer",
    "activation": "activation",
    "init": "initializer",
    "loss": "loss",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "probe": "probe",
    "format": "format",
}
"""Kind of component by the field that names it."""

REPEATED_FIELDS = ("reg", "init", "probe", "format")
"""Fields that name any number of components."""

NO_COMPONENT: Mapping[str, str] = {"activation": "", "loss": "auto"}
"""The value of a field that names no component, so that a suitable one is chosen."""

SHORTHANDS: Mapping[str, str] = {"momentum": "optimizer", "nesterov": "optimizer", "target": "dataset"}
"""Shorthand fields -> the field whose component has the parameter of that name."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run, complete: what is trained, on what, how, and where the results go.

    A field that names components takes texts, as `regplug.config.spec` reads them, or `ComponentSpec`s. It holds the
    text; `specs` returns what was read from it, once.

    Raises:
        RequestError: A value is not allowed, or a component cannot be read.
    """

    model: str = "mlp"
    "The network."
    dataset: str = "digits"
    "What it is trained and tested on; or the path of a file or folder of data."
    target: str = ""
    "Short for the dataset's target: the column to predict, or several: a,b,c."
    reg: tuple[str, ...] = ()
    "Regularizers; they compose."
    activation: str = ""
    "The network's activation; empty for its own default."
    init: tuple[str, ...] = ()
    "How parameters are filled at the start; none: as torch starts each layer. at=GLOB fills some layers alone."
    probe: tuple[str, ...] = ("weight_norm",)
    "Measurements in addition to the metrics."
    loss: str = "auto"
    "Data loss; auto is the default for the task."
    optimizer: str = "sgd"
    "Update rule; weight decay is a regularizer."
    lr: Annotated[float, Ge(0), Le(1e38)] = 0.2
    "Learning rate."
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    "Short for the optimizer's momentum."
    nesterov: bool = False
    "Short for the optimizer's nesterov, a momentum that looks ahead."
    schedule: str = "constant"
    "How the learning rate changes."
    warmup: Annotated[int, Ge(0)] = 0
    "Epochs in which the learning rate rises from nothing."
    epochs: Annotated[int, Ge(0)] = 30
    "Passes over the training data."
    batch_size: Annotated[int, Ge(1)] = 32
    "Examples in a step."
    shuffle: bool = True
    "Whether each epoch has its own order."
    seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0
    "Decides what happens in training: start, order, noise."
    data_seed: Annotated[int, Ge(0), Le(2**63 - 1)] = 0
    "Decides the split, and the data where they are generated."
    fold: str = ""
    "One fold of a cross-validation as the validation split: FOLD/FOLDS, from 0; empty for the dataset's own splits."
    train_rows: Annotated[int, Ge(0)] = 0
    "Training rows to keep, drawn at random; 0 for all."
    label_noise: Annotated[float, Ge(0), Lt(1)] = 0.0
    "Share of the training labels that are replaced by another class."
    test_noise: Annotated[float, Ge(0), Le(1e6)] = 0.0
    "Noise on a second copy of the test inputs, over the deviation of the data; 0 for no such copy."
    dtype: Literal["float32", "float64"] = "float32"
    "Number format of the training."
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    "Where it is trained; auto takes a GPU if there is one."
    threads: Annotated[int, Ge(0)] = 0
    "Threads that torch may use; 0 leaves it as it is."
    evaluate_every: Annotated[int, Ge(1)] = 1
    "Epochs between two evaluations; the last epoch is always evaluated."
    checkpoint_every: Annotated[float, Ge(0)] = 30.0
    "Seconds between two checkpoints, from which an interrupted run can be resumed; 0 for none."
    keep_predictions: bool = False
    "Whether the predictions of the test rows are stored as predictions.csv, with a reliability diagram."
    system_metrics: bool = False
    "Whether processor, memory, disk, network and GPUs are measured meanwhile; needs regplug[system]."
    experiment: str = ""
    "The question that the run belongs to; empty for dataset/model."
    name: str = ""
    "Name of the run; empty for one that says what differs."
    format: tuple[str, ...] = ("onnx", "torchscript")
    "Formats in which the model is exported."
    export: bool = True
    "Whether it is exported and verified."
    calibrate: Literal["none", "temperature"] = "none"
    "Whether the bundle divides its logits by a temperature, fitted on validation rows."
    conformal: Annotated[float, Ge(0), Lt(1)] = 0.0
    "Coverage of the bundle's prediction sets or intervals, fitted on validation rows; 0 for none."
    out: str = ""
    "Folder for the bundle; empty for bundles/ and the start of the run id."

    _read: ClassVar[Mapping[str, tuple[ComponentSpec, ...]]]
    """Of each instance: field -> its components as they were read, without shorthands."""

    chosen: ClassVar[frozenset[str]] = frozenset()
    """Of each instance: fields and parameters that were given by an option or argument, also at their defaults: `lr`,
    `model.hidden`, `reg.dropout.at`. It is not part of the run itself."""

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in REPEATED_FIELDS:
            given[name] = (given[name],) if isinstance(given[name], str | ComponentSpec) else given[name]
        texts = {name: _as_texts(given[name]) for name in KIND_BY_FIELD}
        for name, value in check_fields(RunConfig, {**given, **texts}, subject="The run", hint=RUN_HINT).items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_read", {name: self._read_field(name, given[name]) for name in KIND_BY_FIELD})
        for name in KIND_BY_FIELD:
            self._check_keys(name, self.specs(name))
        if self.fold:
            Fold.parse(self.fold)

    def _read_field(self, field: str, given: Any) -> tuple[ComponentSpec, ...]:
        value = getattr(self, field)
        if value in ("", NO_COMPONENT.get(field)):
            return ()
        texts = (value,) if isinstance(value, str) else value
        items = given if isinstance(given, list | tuple) else (given,)
        return tuple(
            item if isinstance(item, ComponentSpec) else ComponentSpec.parse(text, is_data=field == "dataset")
            for item, text in zip(items, texts, strict=True)
        )

    def replaced(self, **changes: Any) -> RunConfig:
        """Returns the run with other fields; the components that stay are not read again."""
        kept = {
            name: read if name in REPEATED_FIELDS else read[0]
            for name, read in self._read.items()
            if read and name not in changes
        }
        return dataclasses.replace(self, **{**kept, **changes}).choosing(self.chosen)

    def choosing(self, names: Iterable[str]) -> RunConfig:
        """Returns the run with the names of what was chosen."""
        chosen = copy.copy(self)
        object.__setattr__(chosen, "chosen", frozenset(names))
        return chosen

    def specs(self, field: str) -> tuple[ComponentSpec, ...]:
        """Returns the components that a field names, with shorthands applied; empty if it names none, such as `auto`.

        Raises:
            RequestError: A component has another value than its shorthand.
        """
        return tuple(self._with_shorthands(field, spec) for spec in self._read[field])

    def _with_shorthands(self, field: str, spec: ComponentSpec) -> ComponentSpec:
        short = {name: getattr(self, name) for name, owner in SHORTHANDS.items() if owner == field}
        given = {name: value for name, value in short.items() if value != RunConfig.__dataclass_fields__[name].default}
        for name, value in given.items():
            if spec.values.get(name, value) != value:
                raise RequestError(
                    f"{name}={write_value(value)} and {field}={spec} contradict each other.", hint=f"Give {name} once."
                )
        return spec.with_values({**spec.values, **given}) if given else spec

    def _check_keys(self, field: str, specs: tuple[ComponentSpec, ...]) -> None:
        keys = [spec.key for spec in specs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise CompositionError(
                f"{field} names {twice} twice.", hint=f"Tell them apart: {twice} and {twice}@second:param=value."
            )
        if not getattr(self, field) and field not in (*REPEATED_FIELDS, *NO_COMPONENT):
            raise RequestError(f"{field} is empty.", hint=RUN_HINT)

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields as JSON types; shorthands only if they were given."""
        return {name: value for name, value in params_to_dict(self).items() if self._says(name)}

    def _says(self, name: str) -> bool:
        """Returns whether a field is not a shorthand, or is one that was given."""
        return name not in SHORTHANDS or getattr(self, name) != RunConfig.__dataclass_fields__[name].default

    def to_toml(self) -> str:
        """Returns `to_dict` as a TOML file with a line of explanation above each field."""
        infos = [info for info in describe_params(RunConfig) if self._says(info.name)]
        return "\n".join(f"# {info.doc}\n{info.name} = {_toml(getattr(self, info.name))}" for info in infos) + "\n"


def _as_texts(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_as_texts, value))
    return str(value) if isinstance(value, ComponentSpec) else value


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    # A JSON string is a TOML basic string, except that TOML requires DEL to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
