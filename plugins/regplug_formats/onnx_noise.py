"""An ONNX file with live dropout, changed in memory so that its noise is off, given, or seen; its graph's own check."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import onnx
from onnx import numpy_helper

from regplug.bundles.formats import Array, NamedNoiseRuns, NoiseRuns
from regplug.bundles.report import Check, at_most, holds

_DRAWS = "RandomUniformLike"
_RANGE = {"low": 0.0, "high": 1.0}
_COMPARES = "GreaterOrEqual"

Open = Callable[[Any, Sequence[str]], Callable[[Mapping[str, Array]], list[Array]]]
"""Opens a model of which some further values are wanted: names to arrays, to the outputs and then those."""


def noise_runs(model: Any, open_model: Open) -> NoiseRuns:
    """The ways in which a verifier runs a stochastic model.

    Args:
        model: An `onnx.ModelProto`; not changed.
        open_model: Opens a model.

    Raises:
        ValueError: Noise takes part in something else than a product or a sum.
    """
    named, name, output = named_noise_runs(model, open_model), model.graph.input[0].name, model.graph.output[0].name
    return NoiseRuns(
        off=lambda rows: named.off({name: rows})[output],
        given=lambda rows, numbers: named.given({name: rows}, numbers)[output],
        drawn=lambda rows: named.drawn({name: rows}),
    )


def named_noise_runs(model: Any, open_model: Open) -> NamedNoiseRuns:
    """The same for inputs and outputs by name.

    Raises:
        ValueError: Noise takes part in something else than a product or a sum.
    """
    outputs, draws = [output.name for output in model.graph.output], drawing_nodes(model.graph)
    rates = [compared_with(model.graph, node.output[0]) for node in draws]
    names = [node.output[0] for node in draws]
    off, given, seen = (
        open_model(without_noise(model), []),
        open_model(with_inputs(model), []),
        open_model(model, names),
    )

    def run_given(arrays: Mapping[str, Array], numbers: Sequence[Array]) -> dict[str, Array]:
        return dict(zip(outputs, given({**arrays, **dict(zip(names, numbers, strict=True))}), strict=True))

    def drawn(arrays: Mapping[str, Array]) -> list[tuple[Array, float]]:
        return list(zip(seen(arrays)[len(outputs) :], rates, strict=True))

    return NamedNoiseRuns(off=lambda arrays: dict(zip(outputs, off(arrays), strict=True)), given=run_given, drawn=drawn)


def drawing_nodes(graph: Any) -> list[Any]:
    """The nodes that draw uniform numbers, in the order in which they stand."""
    return [node for node in graph.node if node.op_type == _DRAWS]


def compared_with(graph: Any, name: str) -> float:
    """The constant below which a drawn number drops its entry; NaN where it goes elsewhere."""
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != _COMPARES or readers[0].input[0] != name:
        return math.nan
    constant = constants.get(readers[0].input[1])
    return math.nan if constant is None or constant.size != 1 else float(constant.reshape(()))


def with_inputs(model: Any) -> Any:
    """A copy in which inputs stand in the place of the nodes that draw."""
    copied = _copied(model)
    for node in drawing_nodes(copied.graph):
        copied.graph.input.append(onnx.helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None))
    _keep(copied.graph, [node for node in copied.graph.node if node.op_type != _DRAWS])
    return copied


def without_noise(model: Any) -> Any:
    """A copy in which what noise is multiplied with, or added to, passes as it is.

    Raises:
        ValueError: Noise takes part in something else.
    """
    copied = _copied(model)
    graph = copied.graph
    constant = {i.name for i in graph.initializer} | {""}
    noise: set[str] = set()
    kept = []
    for node in graph.node:
        names = set(node.input)
        if node.op_type == _DRAWS or (names & noise and names <= noise | constant):
            noise |= set(node.output)
            continue
        if names & noise:
            node = _passed_on(node, noise)
        elif names <= constant and names:
            constant |= set(node.output)
        kept.append(node)
    _keep(graph, kept)
    return copied


def _passed_on(node: Any, noise: set[str]) -> Any:
    data = [name for name in node.input if name not in noise]
    if node.op_type not in ("Mul", "Add") or len(data) != 1:
        raise ValueError(f"noise takes part in a {node.op_type} ({node.name}), not in a product or a sum")
    return onnx.helper.make_node("Identity", data, list(node.output))


def random_nodes(model: Any, nodes: Sequence[Any], layers: Sequence[Mapping[str, Any]]) -> Check:
    """Only live dropout draws: as many uniform numbers in [0, 1) as there are calls, with no seed in the file.

    Args:
        model: An `onnx.ModelProto`.
        nodes: All of its nodes that are random, those of branches and loops included.
        layers: `stochastic.layers` of the manifest.
    """
    found = drawing_nodes(model.graph)
    others = [node.op_type for node in nodes if node.op_type != _DRAWS]
    odd = [node.name for node in found if _attributes(node) != _RANGE]
    if others or odd or len(nodes) != len(found) + len(others):
        reason = f"besides draw {', '.join(others)}" if others else f"{', '.join(odd)} have a seed or another range"
        return holds("random_nodes", False, reason)
    detail = f"nodes that draw, and no other random one; {len(layers)} calls of dropout layers are live"
    missing = abs(len(found) - len(layers))
    return at_most("random_nodes", missing, 0, f"{len(found)} {detail}")


def _attributes(node: Any) -> dict[str, float]:
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {**_RANGE, **{name: value for name, value in given.items() if name != "dtype" or value != 1}}


def _copied(model: Any) -> Any:
    return type(model).FromString(model.SerializeToString())


def _keep(graph: Any, nodes: Sequence[Any]) -> None:
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
