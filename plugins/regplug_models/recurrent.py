"""A recurrent network for sequences.

Shape letters: B rows, T times, F features, D width.
"""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from regplug.api import ModelContext
from regplug.errors import ModelError
from regplug_models import GRUParams


@final
class GRU(nn.Module):
    """Gated recurrent units, then a linear layer on the last state.

    Args:
        features: F.
        params: Width and layers.
        num_outputs: Outputs.
    """

    def __init__(self, features: int, params: GRUParams, num_outputs: int) -> None:
        super().__init__()
        self.gru = nn.GRU(features, params.width, params.layers, batch_first=True)
        self.output = nn.Linear(params.width, num_outputs)

    def forward(self, x_BTF: Tensor) -> Tensor:
        """Returns `(B, outputs)`."""
        states_BTD, _ = self.gru(x_BTF)
        y: Tensor = self.output(states_BTD[:, -1])
        return y


def gru(params: GRUParams, context: ModelContext) -> nn.Module:
    """Returns a network of gated recurrent units for sequences `(time, features)`.

    Layers: `gru` and `output`. Its activations are its own, sigmoid and tanh.

    Source: Cho et al. 2014.

    Raises:
        ModelError: The inputs are no sequences, or an activation was chosen.
    """
    if len(context.input_shape) != 2:
        raise ModelError(
            f"Model gru needs sequences (time, features); this dataset gives inputs of shape {context.input_shape}.",
            hint="Choose --model mlp for rows, cnn for images, or a dataset of sequences.",
        )
    if context.activation is not None:
        raise ModelError("Model gru has activations of its own, sigmoid and tanh.", hint="Leave --activation out.")
    return GRU(context.input_shape[1], params, context.task.num_outputs)
