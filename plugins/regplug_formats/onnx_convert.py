"""The captured program as an ONNX model, without what only its maker's machine knows."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch.export import ExportedProgram

from regplug.bundles.capture import where
from regplug.bundles.causes import cause, root_cause
from regplug.bundles.formats import Captured, Names
from regplug.bundles.recurrence import symbolic_recurrence
from regplug.errors import ExportError
from regplug_formats.onnx_recurrent import translations
from regplug_formats.onnx_written_out import without_untranslated
from regplug_formats.quiet import quiet

_NODE = re.compile(r"Error when translating node %(\w+)")
_UNSUPPORTED = re.compile(r"(?:No decompositions registered for|No ONNX function found for)[^']*'?([\w.:]+)", re.DOTALL)


def convert(captured: Captured, opset: int) -> Any:
    """Converts a captured program.

    Args:
        captured: Captured once, with a symbolic batch axis.
        opset: Version of the operator set.

    Returns:
        An `onnx.ModelProto` with all weights inside; its batch axis is named `batch`.

    Raises:
        ExportError: An operator has no translation; it is named.
    """
    _require_fixed_pooling(captured.program)
    with torch.no_grad(), quiet("torch.onnx", "onnxscript", "onnx_ir"), symbolic_recurrence(captured.program):
        given = without_untranslated(captured.program)
        try:
            program = torch.onnx.export(
                given,
                (),
                dynamo=True,
                opset_version=opset,
                input_names=list(captured.names.inputs) if captured.names else [captured.input_name],
                output_names=list(captured.names.outputs)
                if captured.names
                else [captured.output_name, *captured.added_outputs],
                external_data=False,
                custom_translation_table=translations(),
                verbose=False,
            )
        except Exception as error:
            raise _explained(error, given) from error
        if program is None:
            raise ExportError("torch.onnx.export returned no program.", hint="Leave the format out, or report it.")
        _keep_names_apart(program.model)
        return stripped(program.model_proto, captured)


def _keep_names_apart(model: Any) -> None:
    """Renames inner values that have the name of an input or output, such as an output `embedding` of nn.Embedding.

    Args:
        model: The `onnx_ir.Model`; changed in place.
    """
    outer = {id(value) for value in (*model.graph.inputs, *model.graph.outputs)}
    taken = {value.name for value in (*model.graph.inputs, *model.graph.outputs)}
    made = (value for node in model.graph.all_nodes() for value in node.outputs)
    for value in (*made, *list(model.graph.initializers.values())):
        if value.name in taken and id(value) not in outer:
            value.name = f"inner.{value.name}"


def _require_fixed_pooling(program: ExportedProgram) -> None:
    """Refuses adaptive pooling of a symbolic size to more than one value, which torch.onnx translates wrongly."""
    for node in program.graph.nodes:
        if "adaptive_avg_pool" not in str(node.target):
            continue
        wanted = node.args[1] if isinstance(node.args[1], list | tuple) else [node.args[1]]
        sizes = node.args[0].meta["val"].shape[-len(wanted) :]
        if any(want != 1 and not isinstance(size, int) for want, size in zip(wanted, sizes, strict=True)):
            raise ExportError(
                f"ONNX has no adaptive pooling of a symbolic size to {' x '.join(map(str, wanted))} values "
                f"({where(node)}).",
                hint="Pool to one value, such as nn.AdaptiveAvgPool2d(1), or leave the axis out of dynamic.",
            )


def stripped(model: Any, captured: Captured) -> Any:
    """Takes out node metadata and inferred shapes, which carry local paths, and names the symbolic axes.

    Args:
        model: An `onnx.ModelProto`; changed in place.
        captured: Has the name of the input whose first axis is the batch, or the names of all axes.
    """
    graph = model.graph
    del graph.value_info[:]
    del graph.metadata_props[:]
    del model.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
    if captured.names is not None:
        _name_axes(graph, captured.names)
        return model
    values = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.output)}
    symbol = values[captured.input_name][0].dim_param
    for dim in (dim for dims in values.values() for dim in dims):
        if dim.dim_param == symbol:
            dim.dim_param = "batch"
    return model


def _name_axes(graph: Any, names: Names) -> None:
    for value in (*graph.input, *graph.output):
        axes = {**names.inputs, **names.outputs}[value.name]
        for dim, axis in zip(value.type.tensor_type.shape.dim, axes, strict=True):
            if dim.dim_param and isinstance(axis, str):
                dim.dim_param = axis


def _explained(error: Exception, program: ExportedProgram) -> ExportError:
    text = _whole_text(error)
    found = _UNSUPPORTED.search(text)
    if found:
        in_what = "in simpler ones" if found[1].startswith(("aten", "prims")) else "with torch's own operations"
        return ExportError(
            f"ONNX has no operator for {found[1]} (format onnx, plugin regplug_formats).",
            hint=f"Write the operation {in_what}, or leave ONNX out: `--format torchscript`.",
        )
    named = _NODE.search(text)
    nodes = [node for node in program.graph.nodes if named and node.name == named[1]]
    what = f"{nodes[0].target} of {where(nodes[0])}" if nodes else "this model"
    return ExportError(
        f"Format onnx (plugin regplug_formats) cannot write {what}: {cause(root_cause(error))}",
        hint="Write the operation in simpler ones, or leave ONNX out: `--format torchscript`.",
    )


def _whole_text(error: BaseException | None) -> str:
    parts = []
    while error is not None:
        parts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    return " <- ".join(parts)
