"""Keeps the graph of an untrained network, to use it for the trained one if nothing but numbers has changed.

Capturing takes as long for the trained network as for the untrained one, and gives the same graph unless the training
changed the structure: a module, a flag, a plain attribute, or the shape of a tensor. Code may also depend on values
elsewhere, such as global variables. Then the files differ from the trained model, which is captured after all.
"""

from __future__ import annotations

import enum
import types
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from regplug.bundles.outside_state import attributes

_SIMPLE = (type(None), bool, int, complex, str, bytes, torch.dtype, torch.device, torch.layout, torch.Size)
_NAMED = (type, types.FunctionType, types.BuiltinFunctionType, enum.Enum)


class UntrainedGraph:
    """The captured graph of an untrained network, without its weights.

    Args:
        known: Its structure right before the capture.
        program: Its captured graph, which is emptied.

    `is_used` tells whether a trained network got it.
    """

    is_used = False

    def __init__(self, known: Hashable | None, program: ExportedProgram) -> None:
        self._structure, self._program = known, program
        self._names = frozenset(program.state_dict)
        # They would take memory during the training.
        program.state_dict.clear()

    def of(self, deployed: nn.Module, example: Tensor) -> ExportedProgram | None:
        """Returns the graph with the numbers of a trained network, or `None` if that may have another graph.

        Args:
            deployed: The isolated network, prepared for export.
            example: Raw rows.
        """
        if self._structure is None or self._structure != structure(deployed, example):
            return None
        tensors: dict[str, Tensor] = dict(deployed.named_parameters(remove_duplicate=False))
        tensors |= dict(deployed.named_buffers(remove_duplicate=False))
        if not self._names <= set(tensors):
            return None
        self._program.state_dict.update({name: tensors[name] for name in self._names})
        # Buffers outside the state are among the constants.
        for name in set(self._program.constants) & set(tensors):
            self._program.constants[name] = tensors[name]
        self.is_used = True
        return self._program


def structure(deployed: nn.Module, example: Tensor) -> Hashable | None:
    """Returns what the graph of a module depends on, except the numbers in its parameters and buffers.

    Args:
        deployed: The module.
        example: Raw rows, whose number does not matter.

    Returns:
        A value that equals that of another module if their graphs are equal, or `None` if some plain attribute cannot
        be compared.
    """
    names = {id(module): name for name, module in deployed.named_modules()}
    names |= {id(value): name for name, value in (*deployed.named_parameters(), *deployed.named_buffers())}
    try:
        parts = tuple(_module(part, names) for part in deployed.modules())
    except (_UnknownError, RecursionError):
        return None
    return torch.get_default_dtype(), example.dtype, example.shape[1:], parts


class _UnknownError(Exception):
    """A value cannot be compared."""


def _module(part: nn.Module, names: Mapping[int, str]) -> Hashable:
    state = tuple(
        (kind, name, None if value is None else (names.get(id(value)), _form(value)))
        for kind, tensors in (("parameter", part._parameters), ("buffer", part._buffers))
        for name, value in tensors.items()
    )
    children = tuple((name, names.get(id(child))) for name, child in part._modules.items())
    plain = tuple((name, _value(value, names)) for name, value in attributes(part))
    unsaved = frozenset(part._non_persistent_buffers_set)
    return type(part), type(part).forward, part.training, state, children, plain, unsaved


def _form(value: Tensor) -> Hashable:
    if value.layout is not torch.strided:
        raise _UnknownError
    return type(value), value.dtype, value.shape, value.stride(), value.device, value.requires_grad


def _value(value: Any, names: Mapping[int, str]) -> Hashable:
    """Returns an attribute's value in a form in which 1, 1.0 and True differ, and 0.0 and -0.0."""
    kind = type(value)
    if id(value) in names:
        return "registered", names[id(value)]
    if kind in _SIMPLE:
        return kind, value
    if kind is float:
        return kind, value.hex()
    if isinstance(value, _NAMED) and not getattr(value, "__closure__", None):
        return kind, value
    if isinstance(value, Tensor):
        return _form(value), value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    if isinstance(value, nn.Module) and not value._modules and not value._parameters and not value._buffers:
        return _module(value, names)
    return kind, _container(value, names)


def _container(value: Any, names: Mapping[int, str]) -> Hashable:
    kind = type(value)
    if kind in (list, tuple):
        return tuple(_value(each, names) for each in value)
    if kind in (set, frozenset):
        return frozenset(_value(each, names) for each in value)
    if kind in (dict, OrderedDict):
        return tuple((_value(key, names), _value(each, names)) for key, each in value.items())
    raise _UnknownError
