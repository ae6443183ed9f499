"""Finds the sites of a model's forward pass, and the role of each parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from regplug.regularization.layers import ActingLayer, Augmented
from regplug.regularization.step import Role
from regplug.sites import NORMALIZATIONS, Site


@torch.no_grad()
def find_sites(model: nn.Module, example: Tensor) -> list[Site]:
    """Runs the model once in evaluation mode and lists its sites in the order of the forward pass.

    Args:
        model: The model; its modes are restored.
        example: Inputs `(B, ...)`.

    Returns:
        One site for each call of each named module that takes and returns a tensor; what was put around a module is no
        site of its own.
    """
    sites: list[Site] = []

    def record(name: str, call: int, module: nn.Module, given: Tensor, output: Tensor) -> None:
        shapes = tuple(given.shape), tuple(output.shape)
        sites.append(Site(name=name, call=call, module=module, input_shape=shapes[0], output_shape=shapes[1]))

    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with _watched(model, record):
            model(example)
    finally:
        for module, training in modes:
            module.training = training
    return sites


@contextmanager
def recorded_outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Records the output of each site by `module#call` while the model runs within the context."""
    outputs: dict[str, Tensor] = {}

    def record(name: str, call: int, module: nn.Module, given: Tensor, output: Tensor) -> None:  # noqa: ARG001
        outputs[f"{name}#{call}"] = output

    with _watched(model, record):
        yield outputs


@contextmanager
def _watched(model: nn.Module, record: Callable[[str, int, nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Calls `record` for each call of each named module that takes and returns a tensor."""
    calls: dict[str, int] = {}

    def hook_of(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                call = calls.get(name, 0)
                calls[name] = call + 1
                record(name, call, module, inputs[0], output)

        return hook

    holders = [m for m in model.modules() if isinstance(m, Augmented | parametrize.ParametrizationList)]
    inside = {part for holder in holders for part in holder.modules() if part is not holder}
    named = [(name, module) for name, module in model.named_modules() if name and module not in inside]
    hooks = [module.register_forward_hook(hook_of(name)) for name, module in named]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _is_spared(module: nn.Module) -> bool:
    """Whether a module's parameters scale what passes through: a normalization's, or an activation's own."""
    is_marked = any(getattr(module, mark, False) is True for mark in ("is_normalization", "is_activation"))
    return is_marked or isinstance(module, (*NORMALIZATIONS, nn.PReLU))


def find_roles(model: nn.Module) -> dict[str, Role]:
    """Says what each parameter is for.

    Returns:
        Name -> `norm` for parameters of normalization modules (torch's, or marked `is_normalization`) and of
        activations such as PReLU, `auxiliary` for those of layers that regularizers brought, `bias` for others named so
        or with fewer than two axes, else `weight`. A parametrized weight stands under its own name.
    """
    roles: dict[str, Role] = {}
    brought = [name for name, module in model.named_modules() if isinstance(module, ActingLayer)]
    for prefix, module in model.named_modules():
        is_spared = _is_spared(module)
        is_brought = any(f"{prefix}.".startswith(f"{name}.") for name in brought)
        for name, tensor in module.named_parameters(prefix, recurse=False):
            is_bias = name.rpartition(".")[2].startswith("bias") or tensor.ndim < 2
            roles[name] = "norm" if is_spared else "auxiliary" if is_brought else "bias" if is_bias else "weight"
    for prefix, module in model.named_modules():
        for name in getattr(module, "parametrizations", {}):
            path = f"{prefix}.{name}" if prefix else name
            roles[path] = "bias" if name.startswith("bias") else "weight"
    return roles
