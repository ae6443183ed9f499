"""Finds plain attributes of a module, which are not in its state and which `.to()` and `.eval()` do not reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from regplug.bundles.blame import place
from regplug.bundles.stochastic.layers import KINDS
from regplug.errors import ExportError

Kind = TypeVar("Kind")

_OWN = frozenset(vars(nn.Module()))
"""Attributes of every module: parameters, buffers, children and hooks."""

_DEEPEST = 4
"""Depth of nested containers to search."""


def attributes(part: nn.Module) -> list[tuple[str, Any]]:
    """Returns the plain attributes of one module. Skips properties, because they may compute and write."""
    return [(name, value) for name, value in vars(part).items() if name not in _OWN]


def values_in(module: nn.Module, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Yields values of a type in plain attributes, including lists, tuples, sets and dicts, with their locations."""
    for name, part in module.named_modules():
        for attribute, value in attributes(part):
            for found in _within(value, kind, _DEEPEST):
                yield f"{place(name)}: {attribute}", found


def _within(value: Any, kind: type[Kind], depth: int) -> Iterator[Kind]:
    if isinstance(value, kind):
        yield value
    elif depth:
        inner = value.values() if isinstance(value, Mapping) else value
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            for each in inner:
                yield from _within(each, kind, depth - 1)


def loose_modules(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Returns modules in plain lists and dicts that are not registered anywhere, with their locations."""
    registered = set(module.modules())
    return [(where, each) for where, each in values_in(module, nn.Module) if each not in registered]


def loose_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Returns floating-point tensors outside the state, including those of loose modules, with their locations."""
    state = {id(value) for value in (*module.parameters(), *module.buffers())}
    found = [(where, value) for where, value in values_in(module, Tensor) if id(value) not in state]
    for where, each in loose_modules(module):
        found += [(where, value) for value in (*each.parameters(), *each.buffers())]
    return [(where, value) for where, value in found if value.is_floating_point()]


def refuse_loose_modules(deployed: nn.Module, raw: Tensor) -> None:
    """Refuses a module in a plain list that affects the output.

    Activations without tensors or modes are allowed anywhere.

    Args:
        deployed: The copy that is exported.
        raw: A few raw rows.

    Raises:
        ExportError: There is one; the message names the attribute.
    """
    suspects = [(where, each) for where, each in loose_modules(deployed) if _needs_registering(each)]
    if not suspects:
        return
    called: list[str] = []
    handles = [each.register_forward_pre_hook(lambda *_, where=where: called.append(where)) for where, each in suspects]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            deployed(raw)
    except Exception:  # noqa: S110 - other checks report whether it can run
        pass
    finally:
        for handle in handles:
            handle.remove()
    if called:
        raise ExportError(
            f"The model uses modules that are not registered ({called[0]}): torch does not look into a plain "
            "list or dict, so they are neither trained, nor saved, nor put into evaluation mode.",
            hint="Use nn.ModuleList or nn.ModuleDict: self.layers = nn.ModuleList([...]); then train again.",
        )


def _needs_registering(module: nn.Module) -> bool:
    has_numbers = any(True for _ in (*module.parameters(), *module.buffers()))
    return has_numbers or any(isinstance(part, KINDS) for part in module.modules())
