"""Rules that see a batch of training data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from regplug.errors import CompositionError
from regplug.initializers import Layer
from regplug_initializers import LsuvParams


def lsuv(params: LsuvParams, layers: Sequence[Layer], batch: Tensor, generator: Generator) -> None:
    """Starts from orthonormal weights and scales each until its layer's output has variance 1.

    In the order of the forward pass, each weight is divided by the standard deviation of its layer's output until
    `|Var - 1| <= tol`, or `max_iterations` times. The variance is over all entries of the output, over n. A layer that
    is called several times is measured at its first call. Modules that do not have exactly one weight of two or more
    axes, or return no tensor, such as normalizations and attention, stay as torch starts them, with their biases.

    Source: Mishkin and Matas 2016, algorithm 1.

    Raises:
        CompositionError: There is no layer to scale, or a layer's output does not vary or is not finite.
    """
    found = [(layer, [weight for weight in layer.weights if weight.ndim >= 2]) for layer in layers if layer.has_output]
    scaled = [(layer, weights[0]) for layer, weights in found if len(weights) == 1]
    if not scaled:
        raise CompositionError(
            "init lsuv: none of its layers has one plain weight and an output that can be measured.",
            hint="Choose another initializer for these layers, or name other layers: --init lsuv:at=LAYER.",
        )
    for layer, weight in scaled:
        nn.init.orthogonal_(weight, generator=generator)
        if not isinstance(params.bias, str):
            for bias in layer.biases:
                bias.fill_(params.bias)
    for layer, weight in scaled:
        for _ in range(params.max_iterations):
            variance = _output_variance(layer, batch)
            if abs(variance - 1) <= params.tol:
                break
            weight.div_(math.sqrt(variance))


def _output_variance(layer: Layer, batch: Tensor) -> float:
    output = layer.output(batch)
    variance = output.double().var(correction=0).item()
    rounding = (torch.finfo(output.dtype).eps ** 2) * output.double().square().mean().item()
    if variance > rounding:
        return variance
    what = "has variance 0" if variance <= rounding else "is not finite"
    raise CompositionError(
        f"init lsuv: the output of layer {layer.name} {what} on {len(batch)} training rows, so it cannot be scaled.",
        hint="Check the layers before it: another initializer may have set them to zero, or their activation may be "
        "constant. Or leave the layer out: --init lsuv:at=LAYER names the layers to scale.",
    )
