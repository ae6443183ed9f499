"""The graph walk: what an ONNX file must and must not hold, whatever its numbers say on one day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, shape_inference

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.causes import one_line
from regplug.bundles.formats import parts_of
from regplug.bundles.report import Check, at_most, holds
from regplug_formats.onnx_noise import random_nodes

_RANDOM = {"Dropout", "Bernoulli", "Multinomial"}
_DOMAINS = {"", "ai.onnx"}
_MOST_BYTES_OF_SHAPES = 4096
_REDUCTIONS_OVER_AXIS = {"Softmax", "LogSoftmax", "Hardmax", "ArgMax", "ArgMin", "CumSum", "TopK"}


def walk(model: Any, manifest: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Check]:
    """Walks through a model.

    Args:
        model: An `onnx.ModelProto`.
        manifest: What the bundle says of its input and output.
        facts: Opset and IR version that were asked for.
    """
    return [
        well_formed(model),
        opset(model, facts["opset"]),
        ir_version(model, facts["ir_version"]),
        interface(model, manifest),
        _random(model, manifest),
        constant_statistics(model),
        no_reduction_over_batch(model),
        weights_inside(model),
        no_local_trace(model),
    ]


def well_formed(model: Any) -> Check:
    """Onnx's own checker accepts it, with every shape inferred."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        return holds("well_formed", False, f"onnx.checker: {one_line(str(error))}")
    return holds("well_formed", True, "onnx.checker accepts it, shapes inferred")


def opset(model: Any, asked: int) -> Check:
    """Only the standard domain, at the version asked for, without functions of its own."""
    found = {entry.domain: entry.version for entry in model.opset_import}
    passed = set(found) <= _DOMAINS and set(found.values()) == {asked} and not model.functions
    return holds("opset", passed, f"domains and versions {found}; asked for {asked}")


def ir_version(model: Any, asked: int) -> Check:
    """The IR version asked for."""
    return holds("ir_version", model.ir_version == asked, f"{model.ir_version}; asked for {asked}")


def interface(model: Any, manifest: Mapping[str, Any]) -> Check:
    """The inputs and outputs have the names, dtypes and shapes of the manifest, and a batch axis named `batch`."""
    parts = (*parts_of(manifest, "input"), *graph_outputs(manifest))
    want = [(part["name"], part["dtype"], list(part["shape"])) for part in parts]
    found = [_interface(value) for value in (*model.graph.input, *model.graph.output)]
    return holds("interface", found == want, f"{found}" if found == want else f"{found}; the manifest says {want}")


def _interface(value: Any) -> tuple[str, str, list[int | str]]:
    tensor = value.type.tensor_type
    shape = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return value.name, str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)), shape


def _random(model: Any, manifest: Mapping[str, Any]) -> Check:
    part = manifest.get("stochastic")
    return random_nodes(model, _random_nodes(model), part["layers"]) if part else no_random_node(model)


def no_random_node(model: Any) -> Check:
    """No node draws random numbers, and no dropout is left, training or not."""
    found = sorted({node.op_type for node in _random_nodes(model)})
    detail = f"{', '.join(found) or 'none'} among {len(_nodes(model.graph))} nodes"
    return at_most("no_random_node", len(found), 0, detail)


def _random_nodes(model: Any) -> list[Any]:
    return [n for n in _nodes(model.graph) if n.op_type.startswith("Random") or n.op_type in _RANDOM]


def constant_statistics(model: Any) -> Check:
    """Every batch norm has statistics that no input reaches, and is not in training mode."""
    constants = _data_free(model.graph)
    norms = [node for node in _nodes(model.graph) if node.op_type == "BatchNormalization"]
    bad = [
        node.name
        for node in norms
        if not set(node.input[1:5]) <= constants or _attribute(node, "training_mode", 0) or len(node.output) > 1
    ]
    return at_most("constant_statistics", len(bad), 0, f"{', '.join(bad) or 'none'} of {len(norms)} batch norms")


def _data_free(graph: Any) -> set[str]:
    """Names of the values that depend on constants and shapes alone."""
    free = {initializer.name for initializer in graph.initializer} | {""}
    for node in graph.node:
        if node.op_type in ("Shape", "Size") or set(node.input) <= free:
            free |= set(node.output)
    return free


def no_reduction_over_batch(model: Any) -> Check:
    """No node reduces, sorts or normalises over an axis that is the batch."""
    shapes = _shapes(model)
    constants = {
        i.name: numpy_helper.to_array(i) for i in model.graph.initializer if i.data_type == onnx.TensorProto.INT64
    }
    bad = [
        f"{node.op_type} {node.name}"
        for node in _nodes(model.graph)
        if shapes.get(node.input[0] if node.input else "", [None])[:1] == ["batch"]
        and 0 in _axes(node, constants, len(shapes[node.input[0]]))
    ]
    return at_most("no_reduction_over_batch", len(bad), 0, ", ".join(bad) or "no node works across the batch")


def _axes(node: Any, constants: Mapping[str, Any], rank: int) -> set[int]:
    """The axes over which a node mixes its first input, counted from the front."""
    if node.op_type.startswith("Reduce"):
        given = (
            constants.get(node.input[1]) if len(node.input) > 1 and node.input[1] else _attribute(node, "axes", None)
        )
        if given is None:
            return set() if _attribute(node, "noop_with_empty_axes", 0) else set(range(rank))
        return {int(axis) % rank for axis in np.atleast_1d(given)}
    if node.op_type in _REDUCTIONS_OVER_AXIS:
        axis = (
            constants.get(node.input[1]) if node.op_type == "CumSum" else _attribute(node, "axis", _default_axis(node))
        )
        return {int(a) % rank for a in np.atleast_1d(axis)} if axis is not None else set()
    return set()


def _default_axis(node: Any) -> int:
    return 0 if node.op_type.startswith("Arg") else -1


def weights_inside(model: Any) -> Check:
    """All weights lie in this file, and none is NaN."""
    outside = [i.name for i in model.graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        return at_most("weights_inside", len(outside), 0, f"{', '.join(outside)} lie in another file")
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    bad = [name for name, array in arrays.items() if array.dtype.kind == "f" and np.isnan(array).any()]
    return at_most("weights_inside", len(bad), 0, f"{', '.join(bad)} hold NaN" if bad else f"{len(arrays)} constants")


def no_local_trace(model: Any) -> Check:
    """No node metadata, documentation or inferred shape, which would carry paths of the machine that made it."""
    graph = model.graph
    items = (*graph.node, *graph.input, *graph.output, *graph.initializer)
    left = sum(bool(item.metadata_props or item.doc_string) for item in items) + len(graph.value_info)
    return at_most("no_local_trace", left, 0, "entries that may carry local paths")


def _nodes(graph: Any) -> list[Any]:
    """All nodes, those of branches and loops included."""
    nodes = []
    for node in graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                nodes += _nodes(inner)
    return nodes


def _attribute(node: Any, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _without_weights(model: Any) -> Any:
    """A copy without the numbers of large weights, on which no shape depends: inference copies them several times."""
    light = type(model)()
    light.CopyFrom(model)
    for initializer in light.graph.initializer:
        if initializer.data_type == onnx.TensorProto.FLOAT and len(initializer.raw_data) > _MOST_BYTES_OF_SHAPES:
            initializer.ClearField("raw_data")
    return light


def _shapes(model: Any) -> dict[str, list[Any]]:
    try:
        graph = shape_inference.infer_shapes(_without_weights(model), data_prop=True).graph
    except Exception:
        # `well_formed` has failed already and says why.
        graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}
