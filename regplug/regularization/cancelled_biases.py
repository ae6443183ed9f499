"""Finds biases that the following normalization cancels.

A batch or instance normalization subtracts the mean of each channel, and so does a group normalization with one group
for each channel. A bias directly before it, of a linear layer, a convolution or another normalization, has no effect
and no gradient but rounding noise. SGD leaves it where it is. Adam divides the gradient by its size, so the bias
drifts, differently alone and in a stack, and the running mean lags behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regplug.regularization.layers import ActingLayer

_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)
"""Modules whose bias runs along the last axis, which is the channel axis of `(B, C)` only."""

_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.GroupNorm, nn.modules.batchnorm._NormBase)
"""Modules whose bias runs along the axis after the batch axis, which is the channel axis of a normalization."""

_INSTANCE_NORMS = ((nn.InstanceNorm1d, 3), (nn.InstanceNorm2d, 4), (nn.InstanceNorm3d, 5))
"""With their inputs' axes; they take one axis fewer for one input without a batch axis, and the rows for channels."""


def cancelled_biases(model: nn.Module, example: Tensor) -> list[str]:
    """Returns the names of the biases that have no effect: their module's output goes into a normalization only.

    The model runs once, in training mode, because what stands between the two may act in training only; its buffers
    and torch's generators are restored.

    Args:
        model: In training mode, within a pass where its layers need one.
        example: Inputs `(B, ...)`.
    """
    normalizing = {module for module in model.modules() if module.training and _is_normalizing(module)}
    if not normalizing:
        return []
    made: dict[int, tuple[nn.Module, Tensor, Any]] = {}
    into_norm: list[tuple[nn.Module, Any]] = []
    spoiled: set[nn.Module] = set()

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        x: Any = inputs[0] if inputs else None
        source, _, node = made.get(id(x), (None, None, None))
        if source is None or x.grad_fn is not node:  # an operation in place has changed the output
            return
        if module in normalizing and _subtracts_means(module, x):
            into_norm.append((source, node))
        elif isinstance(module, ActingLayer):
            spoiled.add(source)  # it acts in training, or somebody looks there

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 - a hook's arguments
        if isinstance(output, Tensor) and _has_plain_bias(module, output):
            made[id(output)] = module, output, output.grad_fn  # the tensor is kept, so that its id stays its own

    with _hooked(model, before, after), _run_undone(model, example), torch.enable_grad():
        try:
            uses = _uses(model(example))
        except Exception:  # two rows may be too few for this model; else the first step reports it
            return []
    uses_of_tensor = {id(node.variable): count for node, count in uses.items() if hasattr(node, "variable")}
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    # Each is used once: a module that is called twice, or a bias that the model also reads elsewhere, has an effect.
    return sorted(
        names[id(module.bias)]
        for module, node in into_norm
        if module not in spoiled and uses[node] == 1 and uses_of_tensor.get(id(module.bias)) == 1
    )


def _is_normalizing(module: nn.Module) -> bool:
    """Whether it subtracts from each channel a mean of that channel alone."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels
    return isinstance(module, nn.modules.batchnorm._NormBase)


def _subtracts_means(module: nn.Module, x: Tensor) -> bool:
    """Whether a normalization takes the axis after the batch axis for the channels of this input."""
    return all(x.ndim == axes for kind, axes in _INSTANCE_NORMS if isinstance(module, kind))


def _has_plain_bias(module: nn.Module, output: Tensor) -> bool:
    """Whether it adds a trained number to each channel of its output."""
    bias = module._parameters.get("bias")
    if bias is None or not bias.requires_grad:
        return False
    if isinstance(module, _CHANNELS_LAST):
        return bias.ndim == 1 and output.ndim == 2
    return isinstance(module, _CHANNELS_FIRST)


def _uses(output: Tensor) -> Counter[Any]:
    """How many operations take each operation's result, over the graph of an output."""
    uses: Counter[Any] = Counter()
    waiting, seen = [output.grad_fn], {output.grad_fn}
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions if node is not None else ():
            uses[following] += 1
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return uses


@contextmanager
def _hooked(model: nn.Module, before: Any, after: Any) -> Iterator[None]:
    hooks = [module.register_forward_pre_hook(before) for module in model.modules()]
    hooks += [module.register_forward_hook(after) for module in model.modules()]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def _run_undone(model: nn.Module, example: Tensor) -> Iterator[None]:
    """Restores buffers and generators afterwards; meanwhile layers that need a run's noise are in evaluation mode.

    So are normalizations, which may refuse a batch as small as the example.
    """
    modes = [(module, module.training) for module in model.modules()]
    held = [(module, dict(module._buffers)) for module in model.modules() if module._buffers]
    copies = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.random.fork_rng(devices=[example.device] if example.is_cuda else []):
            for module, _ in modes:
                if isinstance(module, ActingLayer | nn.modules.batchnorm._NormBase):
                    module.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for module, own in held:
            module._buffers.update(own)
        with torch.no_grad():
            for buffer, copy in copies:
                buffer.copy_(copy)
