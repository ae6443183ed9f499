"""Networks for rows of a table.

Shape letters: B rows, F columns, K features, J tokens, D width, H heads, E width of a head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import final

import torch
from torch import Tensor, nn

from regplug.api import ModelContext
from regplug.errors import ModelError
from regplug_models import FTTransformerParams, TabularResNetParams
from regplug_models.residual import Branch

INNER = 2
"""Units within a block over units between blocks."""


@final
class Residual(nn.Module):
    """`x + branch(x)`.

    Args:
        layers: Of the branch, by name.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        super().__init__()
        self.branch = Branch(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Adds the branch to its input."""
        added: Tensor = self.branch(x)
        return x + added


def tabular_resnet(params: TabularResNetParams, context: ModelContext) -> nn.Module:
    """Returns a residual network on the flattened input.

    Layers: `flatten`, `stem`, then `block1`, `block2` and so on, then `norm`, `activation` and `output`. In a block,
    `branch` holds `norm`, `linear1`, `activation` and `linear2`. The paper's dropout is left to regularizers. The
    activation is the chosen one, else ReLU.

    Source: Gorishniy, Rubachev, Khrulkov and Babenko 2021, section 3.2.
    """
    activation = context.activation or nn.ReLU
    layers = OrderedDict[str, nn.Module]()
    layers["flatten"] = nn.Flatten()
    layers["stem"] = nn.Linear(prod(context.input_shape), params.width)
    for number in range(1, params.blocks + 1):
        branch = OrderedDict[str, nn.Module]()
        branch["norm"] = nn.BatchNorm1d(params.width)
        branch["linear1"] = nn.Linear(params.width, INNER * params.width)
        branch["activation"] = activation()
        branch["linear2"] = nn.Linear(INNER * params.width, params.width)
        layers[f"block{number}"] = Residual(branch)
    layers["norm"] = nn.BatchNorm1d(params.width)
    layers["activation"] = activation()
    layers["output"] = nn.Linear(params.width, context.task.num_outputs)
    return nn.Sequential(layers)


@final
class Tokens(nn.Module):
    """A token for each feature, behind a token of its own from which the output is made.

    The token of a feature is `b_k + sum_j x_j W_j` over its columns j: for a number its multiple of a vector, for a
    category in one-hot columns the vector of that category, which is an embedding.

    Args:
        columns: F.
        width: D.
        features: First and last column (exclusive) of each feature; by default each column is a feature.
    """

    owner: Tensor | None

    def __init__(self, columns: int, width: int, features: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        bound = 1 / sqrt(width)
        self.weight = nn.Parameter(torch.empty(columns, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(len(features) or columns, width).uniform_(-bound, bound))
        self.bias_output = nn.Parameter(torch.empty(1, width).uniform_(-bound, bound))
        # (K, F): 1 where a feature has the column.
        self.register_buffer("owner", _owners(columns, features) if features else None)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Returns `(B, 1 + K, D)` for K features."""
        tokens_BKD = x_BF.unsqueeze(-1) * self.weight
        if self.owner is not None:
            tokens_BKD = self.owner @ tokens_BKD
        first_B1D = self.bias_output.expand(x_BF.shape[0], 1, -1)
        return torch.cat([first_B1D, tokens_BKD + self.bias], dim=1)


def _owners(columns: int, features: Sequence[tuple[int, int]]) -> Tensor:
    owner = torch.zeros(len(features), columns)
    for row, (start, stop) in zip(owner, features, strict=True):
        row[start:stop] = 1
    return owner


@final
class Attention(nn.Module):
    """Self-attention of several heads: `softmax(Q K^T / sqrt(E)) V`, then a linear layer.

    Args:
        width: D.
        heads: H, a divisor of D.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        # A tensor's shape is no plain number while torch.jit traces.
        self.heads, self.head_width = heads, width // heads
        self.query, self.key, self.value, self.merge = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x_BJD: Tensor) -> Tensor:
        """Returns `(B, J, D)`."""
        q_BHJE, k_BHJE, v_BHJE = (self._split(layer(x_BJD)) for layer in (self.query, self.key, self.value))
        share_BHJJ = (q_BHJE @ k_BHJE.transpose(-1, -2) / sqrt(self.head_width)).softmax(dim=-1)
        merged: Tensor = self.merge((share_BHJJ @ v_BHJE).transpose(1, 2).flatten(2))
        return merged

    def _split(self, x_BJD: Tensor) -> Tensor:
        return x_BJD.reshape(x_BJD.shape[0], x_BJD.shape[1], self.heads, -1).transpose(1, 2)


@final
class FirstToken(nn.Module):
    """The first token of each row."""

    def forward(self, x_BJD: Tensor) -> Tensor:
        """Returns `(B, D)`."""
        return x_BJD[:, 0]


def ft_transformer(params: FTTransformerParams, context: ModelContext) -> nn.Module:
    """Returns a transformer in which each feature of a row is a token: a number, or all columns of a category.

    Layers: `tokens`, then `attention1`, `feedforward1` and so on, each a residual `branch` with a layer normalization
    at its start, then `first`, `norm`, `activation` and `output`. The paper's dropout is left to regularizers, and its
    ReGLU is the chosen activation, else ReLU.

    Source: Gorishniy, Rubachev, Khrulkov and Babenko 2021, section 3.3.

    Raises:
        ModelError: The inputs are no rows.
    """
    if len(context.input_shape) != 1:
        raise ModelError(
            f"Model ft_transformer needs rows of columns; this dataset gives inputs of shape {context.input_shape}.",
            hint="Choose --model resnet for images, gru for sequences, or mlp.",
        )
    activation, width = context.activation or nn.ReLU, params.heads * params.head_width
    layers = OrderedDict[str, nn.Module]()
    features = [(one.start, one.stop) for one in context.features]
    layers["tokens"] = Tokens(context.input_shape[0], width, features)
    for number in range(1, params.blocks + 1):
        layers[f"attention{number}"] = Residual(
            OrderedDict(norm=nn.LayerNorm(width), attention=Attention(width, params.heads))
        )
        layers[f"feedforward{number}"] = Residual(_feedforward(width, activation))
    layers["first"] = FirstToken()
    layers["norm"] = nn.LayerNorm(width)
    layers["activation"] = activation()
    layers["output"] = nn.Linear(width, context.task.num_outputs)
    return nn.Sequential(layers)


def _feedforward(width: int, activation: Callable[[], nn.Module]) -> OrderedDict[str, nn.Module]:
    layers = OrderedDict[str, nn.Module]()
    layers["norm"] = nn.LayerNorm(width)
    layers["linear1"] = nn.Linear(width, INNER * width)
    layers["activation"] = activation()
    layers["linear2"] = nn.Linear(INNER * width, width)
    return layers
