"""Objects that the caller passes instead of component names: a module, arrays or a descriptor."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from regplug.api import Component, DataContext, Dataset, Model, ModelContext, NoParams
from regplug.bundles.copying import without_history
from regplug.config import KIND_BY_FIELD
from regplug.data import RawData, raw_from_arrays, raw_from_items, raw_from_table
from regplug.data.accepted import ACCEPTED
from regplug.data.items import as_items
from regplug.errors import RequestError
from regplug.registry import Origin, Registered, Registry
from regplug.tables.options import SUITED_SETTINGS, TableOptions, join_targets
from regplug.tables.taking import is_frame, take_frame, with_column, with_target

_GROUP, _WEIGHT = "(group)", "(weight)"

DISTRIBUTION = "yours"
"""Distribution name for objects that the caller passed."""


def take_over(values: Mapping[str, Any], registry: Registry) -> tuple[dict[str, Any], Registry]:
    """Replaces objects by names of components in a registry of their own.

    Args:
        values: Configuration fields as the caller gave them.
        registry: What is installed.

    Returns:
        The fields with names in the place of objects, and the registry with the objects in it.

    Raises:
        RequestError: An object is nothing that a run can take.
    """
    fields, taken = dict(values), list(registry.collected)

    def named(registered: Registered) -> str:
        taken.append(registered)
        return registered.full_name

    if isinstance(fields.get("target"), tuple | list):
        fields["target"] = join_targets(map(str, fields["target"]))
    weights = _take_weights(fields)
    groups = _take_groups(fields)
    for field, make in (("model", _model), ("dataset", partial(_dataset, groups=groups, weights=weights))):
        if field in fields and not isinstance(fields[field], str):
            fields[field] = named(make(fields[field]))
    for field in KIND_BY_FIELD:
        value = fields.get(field)
        many = list(value) if isinstance(value, list | tuple) else None
        if many is not None:
            fields[field] = tuple(named(_descriptor(one)) if isinstance(one, Component) else one for one in many)
        elif isinstance(value, Component):
            fields[field] = named(_descriptor(value))
    return fields, dataclasses.replace(registry, collected=tuple(taken))


def _take_weights(fields: dict[str, Any]) -> Any:
    """Takes an array of weights out of the fields."""
    weights, data = fields.pop("weights", None), fields.get("dataset")
    if weights is not None and not is_frame(data) and not isinstance(data, tuple | list):
        raise RequestError(
            "weights is an array, but dataset is not a data frame or (x, y).",
            hint="For a file name the column: --set dataset.weight=NAME.",
        )
    return weights


def _take_groups(fields: dict[str, Any]) -> Any:
    """Takes an array of groups out of the fields; with a data frame, it becomes a column of the frame."""
    groups, data = fields.get("group"), fields.get("dataset")
    if groups is None or isinstance(groups, str):
        return None
    if is_frame(data):
        fields["dataset"], fields["group"] = with_column(data, _GROUP, groups), _GROUP
        return None
    if isinstance(data, tuple | list) and len(data) == 2 and is_frame(data[0]):
        fields["dataset"], fields["group"] = (with_column(data[0], _GROUP, groups), data[1]), _GROUP
        return None
    if not isinstance(data, tuple | list):
        raise RequestError(
            "group is an array, and dataset is no data of the caller's.", hint="Name the column: group=NAME."
        )
    del fields["group"]
    return groups


def _registered(component: Component, given: Any = None) -> Registered:
    origin = Origin(distribution=DISTRIBUTION, version="", entry="", module="", location="")
    return Registered(component=component, origin=origin, given=given)


def _descriptor(component: Component) -> Registered:
    return _registered(component)


def _model(value: Any) -> Registered:
    if isinstance(value, Model):
        return _registered(value)
    if not callable(value):
        raise RequestError(
            f"model={value!r} is a {type(value).__name__}.",
            hint="Give a component's name, a torch.nn.Module, or a function without arguments that makes one.",
        )

    def build(params: NoParams, context: ModelContext) -> nn.Module:  # noqa: ARG001 - as every model is built
        # A copy is trained, so the caller's module does not change.
        return copy.deepcopy(value, without_history(value)) if isinstance(value, nn.Module) else value()

    name = type(value).__name__ if isinstance(value, nn.Module) else getattr(value, "__name__", "module")
    return _registered(Model(name=_component_name(name), target="", summary="Handed over by the caller."), build)


def _frame(frame: Any, options: TableOptions | None = None) -> Registered:
    """A data frame as a dataset whose parameters are those of a table."""

    def load(params: TableOptions, context: DataContext) -> RawData:
        defaults = TableOptions()
        given = dataclasses.asdict(options or defaults).items()
        known = {name: value for name, value in given if value != getattr(defaults, name)}
        return raw_from_table(
            take_frame(frame), dataclasses.replace(params, **known), seed=context.data_seed, name="frame"
        )

    component = Dataset(
        name="frame",
        target="",
        summary="A data frame of the caller's.",
        task="classification",
        params=TableOptions,
        settings=SUITED_SETTINGS,
    )
    return _registered(component, load)


def _weighted(frame: Any, options: TableOptions, weights: Any) -> Registered:
    """A data frame with the weights as one more column."""
    if weights is None:
        return _frame(frame, options)
    return _frame(with_column(frame, _WEIGHT, weights), dataclasses.replace(options, weight=_WEIGHT))


def _dataset(value: Any, groups: Any = None, weights: Any = None) -> Registered:
    if isinstance(value, Dataset):
        return _registered(value)
    if is_frame(value):
        return _weighted(value, TableOptions(), weights)
    if isinstance(value, tuple | list) and len(value) == 2 and is_frame(value[0]):
        return _weighted(*with_target(*value), weights)
    if hasattr(value, "dtype"):
        raise RequestError(
            f"dataset is a {type(value).__name__}, which has inputs or targets alone.",
            hint=f"Give both, such as dataset=(x, y); or {ACCEPTED}.",
        )
    if isinstance(value, RawData):
        return _read(value.name, lambda context: value)  # noqa: ARG005 - as every dataset is read
    if items := as_items(value):
        return _of_items(items, weights)
    if not (isinstance(value, tuple | list) and len(value) == 2):
        raise RequestError(
            f"dataset is a {type(value).__name__}.",
            hint=f"Give a component's name, a path, {ACCEPTED}.",
        )

    def load(context: DataContext) -> RawData:
        return raw_from_arrays(*value, seed=context.data_seed, groups=groups, weights=weights)

    return _read("arrays", load, SUITED_SETTINGS if _has_rows(value[0]) else ())


def _of_items(items: tuple[Any, ...], weights: Any) -> Registered:
    if weights is not None:
        raise RequestError("Items of a Dataset have no weights.", hint="Pass (x, y) arrays with weights.")
    name = type(items[0]).__name__
    return _read(name, lambda context: raw_from_items(items, seed=context.data_seed, name=_component_name(name)))


def _read(name: str, read: Callable[[DataContext], RawData], settings: tuple[str, ...] = ()) -> Registered:
    """A dataset of the caller's without parameters."""

    def load(params: NoParams, context: DataContext) -> RawData:  # noqa: ARG001 - as every dataset is read
        return read(context)

    component = Dataset(
        name=_component_name(name),
        target="",
        summary="Handed over by the caller.",
        task="classification",
        settings=settings,
    )
    return _registered(component, load)


def _has_rows(x: Any) -> bool:
    """Whether inputs are rows of numbers, not images."""
    try:
        return bool((x.ndim if hasattr(x, "ndim") else np.ndim(x)) == 2)
    except ValueError:  # ragged lists, which are refused where they are read
        return False


def _component_name(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|\W+", "_", name).strip("_").lower()
    return words if re.match(r"[a-z]", words) else f"given_{words}"
