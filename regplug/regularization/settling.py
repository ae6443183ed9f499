"""Turns a trained model into ordinary modules: what regularizers added is removed, replaced or baked in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from regplug.regularization.layers import Augmented, SiteLayer, WeightLayer, replace_module
from regplug.regularization.structure import evaluating

Instead = Callable[[SiteLayer], nn.Module | None]


@torch.no_grad()
def settle(model: nn.Module, settings: Mapping[str, Mapping[str, Any]], instead: Instead | None = None) -> nn.Module:
    """Makes a trained model one of ordinary modules that computes in evaluation what the model computed.

    Layers that act only in training go, those that act in evaluation settle into ordinary modules, and weights that a
    regularizer parametrized become parameters with their final value.

    Args:
        model: Changed in place.
        settings: Regularizer's key -> parameter -> Python number, at the end of their schedules.
        instead: The ordinary module that takes a layer's place; where it gives `None`, what the layer settles into.
    """

    def ordinary(layer: SiteLayer) -> nn.Module | None:
        found = None if instead is None else instead(layer)
        return found or layer.settled(settings.get(layer.owner, {}))

    for module in reversed(list(model.modules())):
        if isinstance(module, Augmented):
            module.before, module.after = _kept(module.before, ordinary), _kept(module.after, ordinary)
            replace_module(model, module, _simplest(module))
    for module in list(model.modules()):
        if isinstance(module, SiteLayer):
            replace_module(model, module, ordinary(module) or nn.Identity())
    _bake_weights(model, settings)
    return model


def _bake_weights(model: nn.Module, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Makes plain parameters of the weights of each module that has a layer on one of them.

    By hand: `parametrize.remove_parametrizations` takes the property off the module's class, which copies share.
    """
    parametrized = [
        module
        for module in model.modules()
        if any(isinstance(layer, WeightLayer) for layers in _parametrizations(module).values() for layer in layers)
    ]
    if not parametrized:
        return
    with evaluating(settings, model):
        for module in parametrized:
            parametrizations = _parametrizations(module)
            for layers in parametrizations.values():
                layers.eval()
            values = {name: getattr(module, name).detach().clone() for name in parametrizations}
            module.__class__ = parametrize.type_before_parametrizations(module)
            del module._modules["parametrizations"]
            for name, value in values.items():
                module.register_parameter(name, nn.Parameter(value))


def _parametrizations(module: nn.Module) -> Mapping[str, Any]:
    """Name of a weight -> its list of parametrizations."""
    found: Mapping[str, Any] = module._modules.get("parametrizations") or {}  # type: ignore[assignment] # a ModuleDict
    return found


def _kept(side: Any, instead: Instead) -> nn.ModuleList:
    kept = [[instead(layer) if isinstance(layer, SiteLayer) else layer for layer in call] for call in side]
    return nn.ModuleList(nn.ModuleList(layer for layer in call if layer is not None) for call in kept)


def _simplest(module: Augmented) -> nn.Module:
    if module.calls == 1:
        stack = [*module.before[0], module.module, *module.after[0]]  # type: ignore[misc]
        return stack[0] if len(stack) == 1 else nn.Sequential(*stack)
    is_empty = not any(len(call) for side in (module.before, module.after) for call in side)  # type: ignore[arg-type]
    module.is_hidden = False
    return module.module if is_empty else module
