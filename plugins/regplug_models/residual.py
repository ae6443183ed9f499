"""A residual network of fully connected layers, whose branches are modules of their own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import prod
from typing import final

from torch import Tensor, nn

from regplug.api import ModelContext
from regplug_models import ResidualMLPParams


@final
class Branch(nn.Sequential):
    """What a residual connection adds. Regularizers find it by `is_branch`."""

    is_branch = True


@final
class Block(nn.Module):
    """`x + branch(x)`, with `branch(x) = W2 f(W1 f(x) + b1) + b2`: activations first (He et al. 2016).

    Args:
        width: Units of its input, its output and the layer between.
        activation: Makes an activation module.
    """

    def __init__(self, width: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        layers = OrderedDict[str, nn.Module]()
        for number in (1, 2):
            layers[f"activation{number}"] = activation()
            layers[f"linear{number}"] = nn.Linear(width, width)
        self.branch = Branch(layers)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Adds the branch to its input."""
        added: Tensor = self.branch(x_BF)
        return x_BF + added


def residual_mlp(params: ResidualMLPParams, context: ModelContext) -> nn.Module:
    """Returns a residual network on the flattened input.

    Layers: `flatten`, `stem`, then `block1`, `block2` and so on, then `activation` and `output`. In a block, `branch`
    holds `activation1`, `linear1`, `activation2` and `linear2`. The activation is the chosen one, else ReLU.

    Source: He et al. 2016, Identity Mappings in Deep Residual Networks.
    """
    activation = context.activation or nn.ReLU
    layers = OrderedDict[str, nn.Module]()
    layers["flatten"] = nn.Flatten()
    layers["stem"] = nn.Linear(prod(context.input_shape), params.width)
    for number in range(1, params.blocks + 1):
        layers[f"block{number}"] = Block(params.width, activation)
    layers["activation"] = activation()
    layers["output"] = nn.Linear(params.width, context.task.num_outputs)
    return nn.Sequential(layers)
