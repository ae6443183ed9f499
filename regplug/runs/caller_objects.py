"""Objects that the caller passes instead of component names: a module, arrays or a descriptor."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from regplug.api import Component, DataContext, Dataset, Model, ModelContext, NoParams
from regplug.bundles.copying import without_history
from regplug.config import KIND_BY_FIELD
from regplug.data import RawData, raw_from_arrays
from regplug.errors import RequestError
from regplug.registry import Origin, Registered, Registry

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

    for field, make in (("model", _model), ("dataset", _dataset)):
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


def _dataset(value: Any) -> Registered:
    if isinstance(value, Dataset):
        return _registered(value)
    raw = value if isinstance(value, RawData) else None
    if raw is None and not (isinstance(value, tuple | list) and len(value) == 2):
        raise RequestError(
            f"dataset is a {type(value).__name__}.",
            hint="Give a component's name, (x, y) arrays, or a regplug.data.RawData.",
        )

    def load(params: NoParams, context: DataContext) -> RawData:  # noqa: ARG001 - as every dataset is read
        return raw if raw is not None else raw_from_arrays(*value, seed=context.data_seed)

    name = raw.name if raw is not None else "arrays"
    component = Dataset(
        name=_component_name(name), target="", summary="Handed over by the caller.", task="classification"
    )
    return _registered(component, load)


def _component_name(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|\W+", "_", name).strip("_").lower()
    return words if re.match(r"[a-z]", words) else f"given_{words}"
