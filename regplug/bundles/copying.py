"""A copy of a module that shares nothing with it, and whose weights are plain parameters."""

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
    """Copies a module, without the wrappers that only training has a use for.

    Args:
        module: Any module; it is not changed.

    Raises:
        ExportError: It holds something that cannot be copied; the attribute is named.
    """
    module = _unwrapped(module)
    try:
        copied = copy.deepcopy(module, without_history(module))
    except Exception as error:
        raise ExportError(
            f"{type(module).__module__}.{type(module).__qualname__} cannot be copied{_culprit(module)}: {cause(error)}",
            hint="Take what is open or shared (a file, a lock, a generator) out of the module before it is exported.",
        ) from error
    for part in copied.modules():
        for name, child in part.named_children():
            part._modules[name] = _unwrapped(child)
    return copied


def _unwrapped(module: nn.Module) -> nn.Module:
    """What `torch.compile` and the data-parallel wrappers wrap."""
    compiled = module._modules.get("_orig_mod")
    inner = module.module if isinstance(module, _WRAPPERS) else compiled
    return module if inner is None else _unwrapped(inner)


def without_history(module: nn.Module) -> dict[int, Tensor]:
    """Copies of the tensors that a forward pass computed and left on a module, by their id: a memo for `copy.deepcopy`.

    Without it they are refused. Such are the weights of the old weight_norm and of pruning, and a loss or an attention
    map that is kept to be looked at.
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
    """Puts in plain parameters what parametrizations, pruning, weight_norm and spectral_norm compute.

    Args:
        network: In evaluation mode; changed in place.

    Returns:
        Which weights, in words.
    """
    baked = []
    with torch.no_grad():
        for place_name, part in list(network.named_modules()):
            for weight, bake in _bakers(part):
                bake()
                baked.append(f"{place(place_name)}: {weight}")
    return baked


def _bakers(part: nn.Module) -> Iterator[tuple[str, Callable[[], object]]]:
    """Names of a module's computed weights, with what makes each a plain parameter."""
    if parametrize.is_parametrized(part) and not isinstance(part, nn.RNNBase) and _is_settled(part):
        yield ", ".join(_parametrized(part)), partial(_bake_parametrized, part)
    # The last one first: what was put on later may act on what an earlier one made.
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
    """Whether parametrized weights are the same each time; random ones are left as they are, for the checks to find."""
    lists = _parametrized(part)
    if any(isinstance(module, LiveDropout) for each in lists.values() for module in each.modules()):
        return False
    return all(torch.equal(getattr(part, name), getattr(part, name)) for name in lists)


def _bake_parametrized(part: nn.Module) -> None:
    # torch's remove_parametrizations would take the weight off the class, which the user's own module shares.
    weights = {name: getattr(part, name).detach().clone() for name in _parametrized(part)}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    for name, weight in weights.items():
        setattr(part, name, nn.Parameter(weight, requires_grad=False))
