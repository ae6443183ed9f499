"""Lets torch capture recurrent layers and nn.MaxPool1d without fixing the length of their sequences.

Shape letters: T steps, B rows, H hidden units, E features of a step.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import CodeType
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.nn import functional as F

Implementation = Callable[..., Any]


@contextlib.contextmanager
def symbolic_recurrence(program: ExportedProgram | None = None) -> Iterator[None]:
    """Decomposes nn.RNN, nn.GRU and nn.LSTM into loops over a symbolic number of steps, and nn.MaxPool1d into 2d.

    Args:
        program: The context has an effect only if it has symbolic axes besides the batch; `None` for always.
    """
    _forget_compiled_loops()
    if program is not None and len(program.range_constraints) < 2:
        yield
        return
    with contextlib.ExitStack() as stack:
        for operator, implementation in _loops().items():
            stack.enter_context(_replaced(operator, implementation))
        yield


def _loops() -> Mapping[Any, Implementation]:
    # torch has no public function for it; torch.onnx.export uses these itself. For nn.RNN torch has none.
    from torch.export import _patches

    aten = torch.ops.aten
    return {
        aten.gru.input: _patches.gru_while_loop_impl,
        aten.lstm.input: _patches.lstm_while_loop_impl,
        aten.rnn_tanh.input: partial(_rnn, torch.tanh),
        aten.rnn_relu.input: partial(_rnn, torch.relu),
        aten.max_pool1d.default: _max_pool1d,
    }


def _max_pool1d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> Tensor:
    """Pools in two dimensions, of which the first has one step; torch's pooling in one dimension fixes the length."""
    steps = stride or kernel_size
    pooled = F.max_pool2d(
        x.unsqueeze(-2), (1, *kernel_size), (1, *steps), (0, *padding), (1, *dilation), ceil_mode=ceil_mode
    )
    return pooled.squeeze(-2)


@contextlib.contextmanager
def _replaced(operator: Any, implementation: Implementation) -> Iterator[None]:
    """Replaces the decomposition of an operator, and drops what torch has cached of it, before and afterwards."""
    from torch._decomp import decomposition_table

    key = torch._C.DispatchKey.CompositeImplicitAutograd
    places: list[tuple[dict[Any, Any], Any]] = [(decomposition_table, operator), (operator.py_kernels, key)]
    before = [(table, at, table.get(at)) for table, at in places]
    for table, at, _ in before:
        table[at] = implementation
    _forget(operator)
    try:
        yield
    finally:
        for table, at, known in before:
            table[at] = known
            if known is None:
                del table[at]
        _forget(operator)


def _forget(operator: Any) -> None:
    operator._dispatch_cache.clear()


def _forget_compiled_loops() -> None:
    """Drops what torch has compiled of `while_loop`, also for sequences of fixed length.

    Its guards would compare a symbolic length with the fixed one, and where the example's are equal, torch would fix
    the length in a graph that was already checked.
    """
    from torch._higher_order_ops.while_loop import while_loop

    for code in inspect.unwrap(while_loop).__code__.co_consts:
        if isinstance(code, CodeType):
            torch._C._dynamo.eval_frame.reset_code(code)


def _rnn(
    activation: Callable[[Tensor], Tensor],
    steps: Tensor,
    hidden: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """Computes nn.RNN with a loop; the arguments are those of `aten.rnn_tanh.input`."""
    from torch._decomp import decompositions

    torchs: Any = decompositions
    layer = partial(_rnn_layer, activation)
    gathered = torchs.gather_params(params, has_biases, False)
    output, last = torchs._rnn_helper(
        steps, hidden.unbind(0), gathered, has_biases, num_layers, dropout, train, bidirectional, batch_first, layer
    )
    return output, torch.stack(last, 0)


def _rnn_layer(
    activation: Callable[[Tensor], Tensor],
    steps_TBE: Tensor,
    hidden_BH: Tensor,
    params: Sequence[Tensor],
    has_biases: bool,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """h_t = activation(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh); returns all h_t, and the last one."""
    from torch._higher_order_ops.while_loop import while_loop

    loop: Any = while_loop
    bias, hidden_bias = params[2:4] if has_biases else (None, None)
    inputs_TBH = F.linear(steps_TBE, params[0], bias)
    if reverse:
        inputs_TBH = inputs_TBH.flip(0)
    length = inputs_TBH.shape[0]
    # while_loop refuses inputs that share storage, as a layer's flattened weights may.
    hidden_HH, hidden_bias = params[1].clone(), None if hidden_bias is None else hidden_bias.clone()

    def body(at: Tensor, output_TBH: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        index: Any = at.item()
        torch._check_is_size(index, max=length - 1)
        hidden_BH = activation(F.linear(hidden_BH, hidden_HH, hidden_bias) + inputs_TBH[index])
        output_TBH = output_TBH.clone()
        output_TBH[index] = hidden_BH
        return at + 1, output_TBH, hidden_BH

    start = torch.tensor(0, dtype=torch.int64), torch.empty_like(inputs_TBH), hidden_BH.clone()
    _, output_TBH, last_BH = loop(lambda at, *_: at < length, body, start)
    return output_TBH.flip(0) if reverse else output_TBH, last_BH
