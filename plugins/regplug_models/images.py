"""Convolutional networks for images: LeNet and a small ResNet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import final

from torch import Tensor, nn

from regplug.api import ModelContext
from regplug.errors import ModelError
from regplug_models import LeNetParams, ResNetParams
from regplug_models.residual import Branch

LENET_SIDE = 12
"""Smallest side that leaves a pixel after LeNet's second pooling."""

Activation = Callable[[], nn.Module]


def lenet(params: LeNetParams, context: ModelContext) -> nn.Module:
    """Returns LeNet-5 for images `(C, H, W)`.

    Layers: `conv1` (6 channels, 5x5, padding 2), `pool1`, `conv2` (16 channels, 5x5), `pool2`, `flatten`, `hidden1`
    (120), `hidden2` (84), `output`; behind each layer but the last its `activation`, and with `norm=batch` a `norm`
    before that. The activation is the chosen one, else ReLU.

    Source: LeCun, Bottou, Bengio and Haffner 1998.

    Raises:
        ModelError: The input is no image, or one side of it is below 12.
    """
    channels, height, width = _image_shape("lenet", context.input_shape, LENET_SIDE)
    activation = context.activation or nn.ReLU
    pool = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}[params.pool]
    layers = OrderedDict[str, nn.Module]()

    def add(name: str, layer: nn.Module, number: int, norm: nn.Module) -> None:
        layers[name] = layer
        if params.norm == "batch":
            layers[f"norm{number}"] = norm
        layers[f"activation{number}"] = activation()

    add("conv1", nn.Conv2d(channels, 6, 5, padding=2), 1, nn.BatchNorm2d(6))
    layers["pool1"] = pool(2)
    add("conv2", nn.Conv2d(6, 16, 5), 2, nn.BatchNorm2d(16))
    layers["pool2"] = pool(2)
    layers["flatten"] = nn.Flatten()
    add("hidden1", nn.Linear(16 * _lenet_side(height) * _lenet_side(width), 120), 3, nn.BatchNorm1d(120))
    add("hidden2", nn.Linear(120, 84), 4, nn.BatchNorm1d(84))
    layers["output"] = nn.Linear(84, context.task.num_outputs)
    return nn.Sequential(layers)


def _lenet_side(side: int) -> int:
    return (side // 2 - 4) // 2


@final
class ConvBlock(nn.Module):
    """`f(shortcut(x) + branch(x))`; the branch is two 3x3 convolutions, each with a batch normalization behind it.

    Where the shape changes, the shortcut is a 1x1 convolution with a batch normalization.

    Args:
        channels: Of the input.
        filters: Of the output.
        stride: Of the first convolution.
        activation: Makes an activation module.
    """

    def __init__(self, channels: int, filters: int, stride: int, activation: Activation) -> None:
        super().__init__()
        layers = OrderedDict[str, nn.Module]()
        layers["conv1"] = nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False)
        layers["norm1"] = nn.BatchNorm2d(filters)
        layers["activation1"] = activation()
        layers["conv2"] = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        layers["norm2"] = nn.BatchNorm2d(filters)
        self.branch = Branch(layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != filters:
            conv = nn.Conv2d(channels, filters, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(filters)))
        self.activation2 = activation()

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Adds the branch to the shortcut and applies the activation."""
        y: Tensor = self.activation2(self.shortcut(x_BCHW) + self.branch(x_BCHW))
        return y


def resnet(params: ResNetParams, context: ModelContext) -> nn.Module:
    """Returns a residual network for small images `(C, H, W)`.

    Layers: `stem`, `norm`, `activation`, then the blocks `stage1_block1` and so on, of which the first of the second
    and third stage halves the sides, then `pool` (the mean of each channel), `flatten` and `output`. In a block,
    `branch` holds `conv1`, `norm1`, `activation1`, `conv2` and `norm2`. The activation is the chosen one, else ReLU.

    Source: He, Zhang, Ren and Sun 2016, section 4.2.

    Raises:
        ModelError: The input is no image.
    """
    channels, _, _ = _image_shape("resnet", context.input_shape, 1)
    activation = context.activation or nn.ReLU
    layers = OrderedDict[str, nn.Module]()
    layers["stem"] = nn.Conv2d(channels, params.width, 3, padding=1, bias=False)
    layers["norm"] = nn.BatchNorm2d(params.width)
    layers["activation"] = activation()
    width = params.width
    for stage in (1, 2, 3):
        filters = params.width * 2 ** (stage - 1)
        for block in range(1, params.blocks + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            layers[f"stage{stage}_block{block}"] = ConvBlock(width, filters, stride, activation)
            width = filters
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(width, context.task.num_outputs)
    return nn.Sequential(layers)


def _image_shape(name: str, input_shape: tuple[int, ...], least: int) -> tuple[int, ...]:
    if len(input_shape) != 3:
        raise ModelError(
            f"Model {name} needs images (channels, height, width); this dataset gives inputs of shape {input_shape}.",
            hint="Choose --model mlp for rows, or a dataset of images.",
        )
    if min(input_shape[1:]) < least:
        raise ModelError(
            f"Model {name} needs images of at least {least}x{least} pixels; this dataset gives "
            f"{input_shape[1]}x{input_shape[2]}.",
            hint="Choose --model resnet or mlp, or a dataset of larger images such as mnist.",
        )
    return input_shape
