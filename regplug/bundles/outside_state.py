"""What a module keeps as plain attributes, where neither its state nor `.to()`, `.eval()` and `.parameters()` reach."""

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
"""What every module has: its parameters, buffers, children and hooks."""

_DEEPEST = 4
"""Containers within containers that are looked into."""


def attributes(part: nn.Module) -> list[tuple[str, Any]]:
    """The plain attributes of one module. Properties are not asked, for they may compute and write."""
    return [(name, value) for name, value in vars(part).items() if name not in _OWN]


def values_in(module: nn.Module, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Values of a kind among plain attributes, also in lists, tuples, sets and dicts, with where they are."""
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
    """Modules in plain lists and dicts that are not registered anywhere, with where they are."""
    registered = set(module.modules())
    return [(where, each) for where, each in values_in(module, nn.Module) if each not in registered]


def loose_tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Floating tensors outside the state, those of loose modules included, with where they are."""
    state = {id(value) for value in (*module.parameters(), *module.buffers())}
    found = [(where, value) for where, value in values_in(module, Tensor) if id(value) not in state]
    for where, each in loose_modules(module):
        found += [(where, value) for value in (*each.parameters(), *each.buffers())]
    return [(where, value) for where, value in found if value.is_floating_point()]


def refuse_loose_modules(deployed: nn.Module, raw: Tensor) -> None:
    """Refuses a module in a plain list that takes part in the answer.

    Activations, which hold no numbers and know no mode, may lie where they want.

    Args:
        deployed: The copy that is exported.
        raw: A few raw rows.

    Raises:
        ExportError: One does; the attribute is named.
    """
    suspects = [(where, each) for where, each in loose_modules(deployed) if _needs_registering(each)]
    if not suspects:
        return
    called: list[str] = []
    handles = [each.register_forward_pre_hook(lambda *_, where=where: called.append(where)) for where, each in suspects]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            deployed(raw)
    except Exception:  # noqa: S110 - whether it can answer is asked by other checks
        pass
    finally:
        for handle in handles:
            handle.remove()
    if called:
        raise ExportError(
            f"The model answers with modules that are not registered ({called[0]}): torch does not look into a plain "
            "list or dict, so they are neither trained, nor saved, nor put into evaluation mode.",
            hint="Use nn.ModuleList or nn.ModuleDict: self.layers = nn.ModuleList([...]); then train again.",
        )


def _needs_registering(module: nn.Module) -> bool:
    has_numbers = any(True for _ in (*module.parameters(), *module.buffers()))
    return has_numbers or any(isinstance(part, KINDS) for part in module.modules())
