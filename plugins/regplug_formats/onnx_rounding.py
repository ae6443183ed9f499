"""An ONNX graph in which the result of every operator is moved by its last bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

_FLOAT = onnx.TensorProto.FLOAT
_EPS = float(np.finfo(np.float32).eps)


def perturbed_model(model: Any, seed: int) -> Any:
    """A copy with a random factor near 1 behind each operator that gives floats.

    Args:
        model: An `onnx.ModelProto`; not changed.
        seed: Of the factors.
    """
    copied = shape_inference.infer_shapes(type(model).FromString(model.SerializeToString()))
    graph = copied.graph
    floats = {v.name for v in (*graph.value_info, *graph.output) if v.type.tensor_type.elem_type == _FLOAT}
    nodes = []
    for node in list(graph.node):
        names = [name for name in node.output if name in floats]
        moved = type(node).FromString(node.SerializeToString())
        moved.output[:] = [f"{name}_exact" if name in names else name for name in node.output]
        nodes.append(moved)
        for name in names:
            nodes += _factor(name, seed + 8 * len(nodes))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.append(numpy_helper.from_array(np.array(_EPS, np.float32), "last_bit"))
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "whole"))
    return copied


def _factor(name: str, seed: int) -> list[Any]:
    """The exact result times 1 + eps * uniform(-1, 1)."""
    exact, draw, share, factor = (f"{name}_{word}" for word in ("exact", "draw", "share", "factor"))
    return [
        helper.make_node("RandomUniformLike", [exact], [draw], low=-1.0, high=1.0, seed=float(seed)),
        helper.make_node("Mul", [draw, "last_bit"], [share]),
        helper.make_node("Add", [share, "whole"], [factor]),
        helper.make_node("Mul", [exact, factor], [name]),
    ]
