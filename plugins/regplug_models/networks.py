"""Networks as chains of named modules.

Each activation is a module of its own and used once: regularizers find their sites by hooks on modules. Nothing here
regularizes; dropout and normalization layers are put in by regularizers. Weights start as torch starts them; an
initializer may fill them anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from regplug.api import ModelContext, NoParams
from regplug.errors import ModelError
from regplug_models import DeepMLPParams, LinearParams, MLPParams, PolynomialParams

KERNEL_SIZE = 3
POOL_SIZE = 2
CHANNELS = (32, 64)
HIDDEN = 128


def linear(params: LinearParams, context: ModelContext) -> nn.Module:
    """Returns one linear layer on the flattened input: `y = W x + b`.

    Layers: `flatten`, `output`.
    """
    layers = OrderedDict[str, nn.Module]()
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(prod(context.input_shape), context.task.num_outputs, bias=params.bias)
    return nn.Sequential(layers)


def mlp(params: MLPParams, context: ModelContext) -> nn.Module:
    """Returns a multilayer perceptron on the flattened input.

    Layers: `flatten`, then `hidden1`, `activation1`, `hidden2`, `activation2` and so on, then `output`. The activation
    is the chosen one, else ReLU.
    """
    activation = _activation(context)
    layers = OrderedDict[str, nn.Module]()
    layers["flatten"] = nn.Flatten()
    width = prod(context.input_shape)
    for number, units in enumerate(params.hidden, start=1):
        layers[f"hidden{number}"] = nn.Linear(width, units)
        layers[f"activation{number}"] = activation()
        width = units
    layers["output"] = nn.Linear(width, context.task.num_outputs)
    return nn.Sequential(layers)


def deep_mlp(params: DeepMLPParams, context: ModelContext) -> nn.Module:
    """Returns a multilayer perceptron of `depth` hidden layers of one width; its layers are named as those of `mlp`."""
    return mlp(MLPParams(hidden=(params.width,) * params.depth), context)


class Powers(nn.Module):
    """Powers of each input, `x^i / i!` for i = 1, ..., count - 1, behind one constant 1.

    Args:
        count: Basis functions of one input, the constant among them.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x_BF: Tensor) -> Tensor:
        """Returns `(B, 1 + F (count - 1))`: the constant, then the powers of degree 1, of degree 2 and so on."""
        terms, power = [torch.ones_like(x_BF[:, :1])], torch.ones_like(x_BF)
        for degree in range(1, self.count):
            power = power * x_BF / degree
            terms.append(power)
        return torch.cat(terms, dim=1)


def polynomial(params: PolynomialParams, context: ModelContext) -> nn.Module:
    """Returns a polynomial without mixed terms: `y = w_0 + sum_i w_i x^i / i!`, by input.

    Layers: `flatten`, `basis`, `output`. The constant is one of the features, so `output` has no bias.

    Source: Zhang et al., Dive into Deep Learning, section 3.6.
    """
    layers = OrderedDict[str, nn.Module]()
    layers["flatten"] = nn.Flatten()
    layers["basis"] = Powers(params.features)
    width = 1 + prod(context.input_shape) * (params.features - 1)
    layers["output"] = nn.Linear(width, context.task.num_outputs, bias=False)
    return nn.Sequential(layers)


def cnn(params: NoParams, context: ModelContext) -> nn.Module:  # noqa: ARG001 - every model is called with parameters
    """Returns a small convolutional network for images `(C, H, W)`.

    Two 3x3 convolutions without padding, of 32 and 64 channels, each with activation and 2x2 max pooling, then a hidden
    layer of 128. 28x28 images give 64 * 5 * 5 = 1600 features after `flatten`.

    Layers: `conv1`, `activation1`, `pool1`, `conv2`, `activation2`, `pool2`, `flatten`, `hidden`, `activation3`,
    `output`. The activation is the chosen one, else ReLU.

    Raises:
        ModelError: The input is no image, or one side of it is below 10.
    """
    channels, height, width = _image_shape(context.input_shape)
    activation = _activation(context)
    layers = OrderedDict[str, nn.Module]()
    for number, filters in enumerate(CHANNELS, start=1):
        layers[f"conv{number}"] = nn.Conv2d(channels, filters, KERNEL_SIZE)
        layers[f"activation{number}"] = activation()
        layers[f"pool{number}"] = nn.MaxPool2d(POOL_SIZE)
        channels, height, width = filters, _side_after_block(height), _side_after_block(width)
    layers["flatten"] = nn.Flatten()
    layers["hidden"] = nn.Linear(channels * height * width, HIDDEN)
    layers["activation3"] = activation()
    layers["output"] = nn.Linear(HIDDEN, context.task.num_outputs)
    return nn.Sequential(layers)


def _activation(context: ModelContext) -> Callable[[], nn.Module]:
    return context.activation or nn.ReLU


def _side_after_block(side: int) -> int:
    return (side - KERNEL_SIZE + 1) // POOL_SIZE


def _image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(input_shape) != 3:
        raise ModelError(
            f"Model cnn needs images (channels, height, width); this dataset gives inputs of shape {input_shape}.",
            hint="Choose --model mlp for rows, or a dataset of images.",
        )
    channels, height, width = input_shape
    if min(_side_after_block(_side_after_block(side)) for side in (height, width)) < 1:
        raise ModelError(
            f"Model cnn needs images of at least 10x10 pixels; this dataset gives {height}x{width}.",
            hint="Choose --model mlp, or a dataset of larger images such as mnist.",
        )
    return channels, height, width
