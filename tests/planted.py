"""Faults that are planted in what was proven: in an ONNX graph, or in a module before it is written again.

Each returns whether the network has what it needs. A fault that no check could see on principle - one that leaves
every output as it is - is none, so places are chosen where something changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

OnnxFault = Callable[[Any, np.random.Generator], bool]
ModuleFault = Callable[[nn.Module], bool]

_ACTIVATIONS = ("Relu", "Sigmoid", "Tanh", "Gelu", "LeakyRelu")


def _weights(model: Any, least_rank: int = 1) -> list[Any]:
    """Constants that are weights: floating, more than four numbers."""
    floats = [i for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT]
    return [i for i in floats if len(i.dims) >= least_rank and np.prod(i.dims) > 4]


def _change(constant: Any, change: Callable[[np.ndarray], np.ndarray]) -> bool:
    before = numpy_helper.to_array(constant)
    after = np.ascontiguousarray(change(before.copy())).reshape(before.shape).astype(before.dtype)
    constant.CopyFrom(numpy_helper.from_array(after, constant.name))
    return not np.array_equal(before, after)


def weight_nudged(model: Any, generator: np.random.Generator) -> bool:
    """One weight by a twentieth of its tensor's spread."""

    def nudge(array: np.ndarray) -> np.ndarray:
        array.reshape(-1)[generator.integers(array.size)] += 0.05 * array.std()
        return array

    return _change(generator.choice(np.array(_weights(model, 2), object)), nudge)


def tensor_scaled(model: Any, generator: np.random.Generator) -> bool:
    """A whole tensor by a thousandth."""
    return _change(generator.choice(np.array(_weights(model, 2), object)), lambda array: array * 1.001)


def weights_transposed(model: Any, generator: np.random.Generator) -> bool:
    """The numbers of a matrix laid out the other way round."""
    return _change(generator.choice(np.array(_weights(model, 2), object)), lambda array: array.swapaxes(0, 1))


def rows_swapped(model: Any, generator: np.random.Generator) -> bool:
    """The last layer's first two outputs."""

    def swap(array: np.ndarray) -> np.ndarray:
        array[[0, 1]] = array[[1, 0]]
        return array

    wide = [weight for weight in _weights(model, 2) if weight.dims[0] > 1]
    return _change(wide[-1], swap)


def byte_changed(model: Any, generator: np.random.Generator) -> bool:
    """One bit of one weight: the second of its mantissa, so a weight is off by an eighth to a quarter."""

    def flip(array: np.ndarray) -> np.ndarray:
        numbers = array.reshape(-1).view(np.uint32)
        numbers[generator.integers(numbers.size)] ^= np.uint32(1 << 21)
        return array

    return _change(generator.choice(np.array(_weights(model, 2), object)), flip)


def normalization_changed(model: Any, generator: np.random.Generator) -> bool:
    """The scale of the input: 256 for 255."""
    scale = next(node for node in model.graph.node if node.op_type == "Mul").input[1]
    constant = next(item for item in model.graph.initializer if item.name == scale)
    return _change(constant, lambda array: array * 255 / 256)


def activation_moved(model: Any, generator: np.random.Generator) -> bool:
    """An activation before the operator that it follows."""
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        before = makers.get(node.input[0]) if node.op_type in _ACTIVATIONS else None
        if before is None or before.op_type not in ("Conv", "Gemm", "Add"):
            continue
        kind, attributes = node.op_type, list(node.attribute)
        source, middle, last = before.input[0], before.output[0], node.output[0]
        moved = helper.make_node(kind, [source], [f"{middle}_moved"])
        moved.attribute.extend(attributes)
        before.input[0], before.output[0] = f"{middle}_moved", last
        nodes = [n for n in model.graph.node if n.output[0] != last or n is before]
        nodes = [n for n in nodes if n is not node]
        nodes.insert(next(i for i, n in enumerate(nodes) if n is before), moved)
        copies = [type(n).FromString(n.SerializeToString()) for n in nodes]
        del model.graph.node[:]
        model.graph.node.extend(copies)
        return True
    return False


def dropout_left_live(model: Any, generator: np.random.Generator) -> bool:
    """A dropout in training mode before the last operator; the runtime's optimiser hides it."""
    last = model.graph.node[-1]
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "is_training"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "rate"))
    dropout = helper.make_node("Dropout", [last.input[0], "rate", "is_training"], ["dropped"])
    last.input[0] = "dropped"
    nodes = [*model.graph.node[:-1], dropout, last]
    copies = [type(n).FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return True


ONNX_FAULTS: dict[str, OnnxFault] = {
    "a weight nudged": weight_nudged,
    "a tensor scaled by a thousandth": tensor_scaled,
    "weights transposed": weights_transposed,
    "two outputs swapped": rows_swapped,
    "a bit of a weight changed": byte_changed,
    "the normalisation changed": normalization_changed,
    "operators reordered": activation_moved,
    "dropout left live": dropout_left_live,
}

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _first(network: nn.Module, kinds: Any) -> Any:
    return next((part for part in network.modules() if isinstance(part, kinds)), None)


def statistics_replaced(network: nn.Module) -> bool:
    """A batch norm's running statistics as they were before training."""
    norm = _first(network, _NORMS)
    if norm is not None:
        norm.reset_running_stats()
    return norm is not None


def dropout_trained(network: nn.Module) -> bool:
    """Dropout that draws in evaluation."""
    part = _first(network, nn.modules.dropout._DropoutNd)
    if part is not None:
        part.forward = lambda x: nn.functional.dropout(x, 0.5, training=True)
    return part is not None


def tensors_swapped(network: nn.Module) -> bool:
    """Two parameters of one shape."""
    seen: dict[torch.Size, torch.Tensor] = {}
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.shape in seen:
            other = seen[parameter.shape]
            parameter.data, other.data = other.data.clone(), parameter.data.clone()
            return True
        seen[parameter.shape] = parameter
    return False


def bias_lost(network: nn.Module) -> bool:
    """The last layer without its offset."""
    heads = [part for part in network.modules() if getattr(part, "bias", None) is not None]
    heads[-1].bias.data.zero_()
    return True


def layers_reordered(network: nn.Module) -> bool:
    """An activation and the normalization, or the layer of as many outputs as inputs, before it."""
    for part in network.modules():
        for place in range(len(part) - 1) if isinstance(part, nn.Sequential) else ():
            first, second = part[place], part[place + 1]
            is_square = isinstance(first, nn.Linear) and first.in_features == first.out_features
            is_next = isinstance(second, nn.Tanh | nn.Sigmoid | nn.ReLU)
            if is_next and (is_square or isinstance(first, _NORMS)):
                part[place], part[place + 1] = second, first
                return True
    encoder = _first(network, nn.TransformerEncoderLayer)
    if encoder is not None:
        encoder.norm_first = True
    return encoder is not None


MODULE_FAULTS: dict[str, ModuleFault] = {
    "running statistics replaced": statistics_replaced,
    "dropout left live": dropout_trained,
    "two tensors swapped": tensors_swapped,
    "a bias lost": bias_lost,
    "layers reordered": layers_reordered,
}
