"""Finds biases that a following batch or instance normalization cancels.

The normalization subtracts the batch's mean, so a bias directly before it has no effect and no gradient but rounding
noise. SGD leaves it where it is; Adam divides by the gradient's size and walks it about, differently alone and in a
stack, where the running mean then trails behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regplug.regularization.layers import ActingLayer

_PER_CHANNEL = (
    nn.Linear,
    nn.modules.conv._ConvNd,
    nn.GroupNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)
"""Modules whose bias is one number for each channel."""


def cancelled_biases(model: nn.Module, example: Tensor) -> list[str]:
    """Returns the names of the biases whose module's output goes into a batch normalization and nowhere else.

    Args:
        model: In training mode; runs once in evaluation mode, within a pass where its layers need one.
        example: Inputs `(B, ...)`.
    """
    normalizing = {module for module in model.modules() if module.training and _cancels(module)}
    if not normalizing:
        return []
    names = {module: name for name, module in model.named_modules()}
    made: dict[int, tuple[nn.Module, Tensor]] = {}
    into_norm: list[nn.Module] = []
    spoiled: set[nn.Module] = set()

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        source, _ = made.get(id(inputs[0]) if inputs else 0, (None, None))
        if source is not None and module in normalizing:
            into_norm.append(source)
        elif source is not None and isinstance(module, ActingLayer):
            spoiled.add(source)  # it acts in training, or somebody looks there

    def after(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:  # noqa: ARG001 - a hook's arguments
        if isinstance(output, Tensor) and _has_plain_bias(module, output):
            made[id(output)] = module, output  # the tensor is kept, so that its id stays its own

    with _hooked(model, before, after), torch.enable_grad():
        logits = model(example)
    uses = _uses(logits)
    outputs = dict(made.values())
    return sorted(
        f"{names[module]}.bias" if names[module] else "bias"
        for module in set(into_norm) - spoiled
        if into_norm.count(module) == 1 and uses[outputs[module].grad_fn] == 1
    )


def _cancels(module: nn.Module) -> bool:
    """Whether it subtracts from each channel a mean of that channel alone."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups == module.num_channels
    return isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.instancenorm._InstanceNorm)


def _has_plain_bias(module: nn.Module, output: Tensor) -> bool:
    """Whether it adds a trained number to each channel of its output."""
    bias = module._parameters.get("bias")
    if bias is None or not bias.requires_grad:
        return False
    if isinstance(module, nn.LayerNorm):
        return bias.ndim == 1 and output.ndim == 2
    return isinstance(module, _PER_CHANNEL)


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
    modes = [(module, module.training) for module in model.modules()]
    hooks = [module.register_forward_pre_hook(before) for module in model.modules()]
    hooks += [module.register_forward_hook(after) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
        for module, mode in modes:
            module.training = mode
