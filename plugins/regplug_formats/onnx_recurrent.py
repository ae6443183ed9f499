"""nn.RNN as ONNX's own operator, for which torch.onnx has no translation.

Shape letters: T steps, D directions, B rows, H hidden units, E features of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnxscript import FLOAT, opset18

op: Any = opset18
"""The oldest operator set; torch.onnx converts to newer ones."""


def translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Returns translations of torch's operators, for `custom_translation_table`."""
    aten = torch.ops.aten
    return {aten.rnn_tanh.input: _translation("Tanh"), aten.rnn_relu.input: _translation("Relu")}


def _translation(activation: str) -> Callable[..., Any]:
    # torch.onnx reads the names and types of the arguments, which are those of the operator.
    def rnn(
        steps: FLOAT,
        hidden: FLOAT,
        params: Sequence[FLOAT],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        del dropout, train
        return _rnn(activation, steps, hidden, params, has_biases, num_layers, bidirectional, batch_first)

    return rnn


def _rnn(
    activation: str,
    steps: Any,
    hidden: Any,
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> Any:
    """Returns the outputs of all steps, and the last one of each layer and direction."""
    ways = 2 if bidirectional else 1
    each = len(params) // (num_layers * ways)
    output = op.Transpose(steps, perm=[1, 0, 2]) if batch_first else steps
    last = []
    for layer in range(num_layers):
        own = [params[each * at : each * (at + 1)] for at in range(layer * ways, (layer + 1) * ways)]
        output_TDBH, last_DBH = op.RNN(
            output,
            _joined([one[0] for one in own]),
            _joined([one[1] for one in own]),
            _joined([op.Concat(one[2], one[3], axis=0) for one in own]) if has_biases else None,
            None,
            op.Slice(hidden, [layer * ways], [(layer + 1) * ways], [0]),
            activations=[activation] * ways,
            direction="bidirectional" if bidirectional else "forward",
            hidden_size=hidden.shape[2],
        )
        output = op.Reshape(op.Transpose(output_TDBH, perm=[0, 2, 1, 3]), [0, 0, -1])
        last.append(last_DBH)
    return op.Transpose(output, perm=[1, 0, 2]) if batch_first else output, op.Concat(*last, axis=0)


def _joined(directions: Sequence[Any]) -> Any:
    """Puts the tensors of one or two directions side by side, along a new first axis."""
    return op.Concat(*[op.Unsqueeze(one, [0]) for one in directions], axis=0)
