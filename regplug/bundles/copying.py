"""Copies a module without sharing anything, and turns computed weights into plain parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from regplug.bundles.blame import place
from regplug.bundles.causes import cause
from regplug.bundles.outside_state import attributes, values_in
from regplug.bundles.stochastic.layers import LiveDropout
from regplug.errors import ExportError

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def own_copy(module: nn.Module) -> nn.Module:
    """Copies a module without wrappers that only training needs.

    Args:
        module: Any module; not changed.

    Raises:
        ExportError: It contains something that cannot be copied; the message names the attribute.
    """
    module = _unwrapped(module)
    try:
        copied = copy.deepcopy(module, without_history(module))
    except Exception as error:
        raise ExportError(
            f"{type(module).__module__}.{type(module).__qualname__} cannot be copied{_culprit(module)}: {cause(error)}",
            hint="Remove open or shared objects (a file, a lock, a generator) from the module before exporting it.",
        ) from error
    for part in copied.modules():
        for name, child in part.named_children():
            part._modules[name] = _unwrapped(child)
    return copied


def _unwrapped(module: nn.Module) -> nn.Module:
    """Returns the module inside `torch.compile` and the data-parallel wrappers."""
    compiled = module._modules.get("_orig_mod")
    inner = module.module if isinstance(module, _WRAPPERS) else compiled
    return module if inner is None else _unwrapped(inner)


def without_history(module: nn.Module) -> dict[int, Tensor]:
    """Copies tensors that a forward pass stored on a module, by their id: a memo for `copy.deepcopy`.

    `copy.deepcopy` itself refuses them. Examples are the weights of the old weight_norm and of pruning, and stored
    losses or attention maps.
    """
    kept = [value for _, value in values_in(module, Tensor) if value.grad_fn is not None]
    return {id(value): value.detach().clone() for value in kept}


def _culprit(module: nn.Module) -> str:
    for name, part in module.named_modules():
        for attribute, value in attributes(part):
            try:
                copy.deepcopy(value)
            except Exception:
                return f" because of {place(name)}: {attribute}"
    return ""


def bake_weights(network: nn.Module) -> list[str]:
    """Replaces weights that parametrizations, pruning, weight_norm and spectral_norm compute by plain parameters.

    Args:
        network: In evaluation mode; changed in place.

    Returns:
        The names of these weights.
    """
    baked = []
    with torch.no_grad():
        for place_name, part in list(network.named_modules()):
            for weight, bake in _bakers(part):
                bake()
                baked.append(f"{place(place_name)}: {weight}")
    return baked


def _bakers(part: nn.Module) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields the names of a module's computed weights, with a function that makes each a plain parameter."""
    if parametrize.is_parametrized(part) and not isinstance(part, nn.RNNBase) and _is_settled(part):
        yield ", ".join(_parametrized(part)), partial(_bake_parametrized, part)
    # In reverse order, because a later one may act on the result of an earlier one.
    for hook in reversed(list(part._forward_pre_hooks.values())):
        if isinstance(hook, WeightNorm):
            yield hook.name, partial(remove_weight_norm, part, hook.name)
        elif isinstance(hook, SpectralNorm):
            yield hook.name, partial(remove_spectral_norm, part, hook.name)
        elif isinstance(hook, prune.BasePruningMethod):
            yield hook._tensor_name, partial(prune.remove, part, hook._tensor_name)


def _parametrized(part: nn.Module) -> dict[str, nn.Module]:
    parametrizations: Any = part.parametrizations
    return dict(parametrizations.items())


def _is_settled(part: nn.Module) -> bool:
    """Returns whether parametrized weights are deterministic; random ones are left for the checks to find."""
    lists = _parametrized(part)
    if any(isinstance(module, LiveDropout) for each in lists.values() for module in each.modules()):
        return False
    return all(torch.equal(getattr(part, name), getattr(part, name)) for name in lists)


def _bake_parametrized(part: nn.Module) -> None:
    # torch's remove_parametrizations would remove the weight from the class, which the user's own module shares.
    weights = {name: getattr(part, name).detach().clone() for name in _parametrized(part)}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    for name, weight in weights.items():
        setattr(part, name, nn.Parameter(weight, requires_grad=False))
