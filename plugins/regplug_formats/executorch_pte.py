"""ExecuTorch: `model.pte`, lowered from the captured program, run by ExecuTorch's own runtime.

A file reserves memory for the largest size of each symbolic axis, the batch included. executorch is imported only when
a file is written or read.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.formats import Captured, Format, NamedRun, Run, RunAll, parts_of
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check, at_most, holds
from regplug.errors import ExportError, MissingExtraError
from regplug_formats import PteParams
from regplug_formats.executorch_runtime import DTYPES, Contents, Opened, silenced
from regplug_formats.torch_named import named_run

_MANIFEST = "regplug_manifest"
_XNNPACK = "XnnpackBackend"
_RANDOM = ("dropout", "bernoulli", "rand", "multinomial", "normal_", "uniform")


class Pte(Format):
    """Writes, opens and reads `model.pte`.

    Raises:
        MissingExtraError: executorch is not installed.
    """

    holds_added_outputs = True
    holds_names = True

    def __init__(self, params: PteParams) -> None:
        if importlib.util.find_spec("executorch") is None:
            raise MissingExtraError("The format pte", "executorch", extra="executorch")
        self._largest = params.largest_batch

    def facts(self) -> Mapping[str, Any]:
        """The largest batch."""
        return {"largest_batch": self._largest}

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Lowers the program: to XNNPACK what it can run, the rest to ExecuTorch's portable kernels."""
        _require_known_types(captured)
        with silenced():
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(
                _copied(captured.program),
                partitioner=_partitioners(),
                constant_methods={_MANIFEST: canonical_json(manifest)},
            )
            _declare_sizes(lowered.exported_program(), self._sizes(captured, manifest))
            path.write_bytes(lowered.to_executorch().buffer)

    def _sizes(self, captured: Captured, manifest: Mapping[str, Any]) -> list[list[int]]:
        """The largest size of each axis of each input."""
        if captured.names is None:
            return [[self._largest, *captured.example.shape[1:]]]
        return [_largest_shape(axes, manifest, self._largest) for axes in captured.names.inputs.values()]

    def largest_batch(self, path: Path) -> int:
        """Most rows for which the file reserves memory."""
        return Opened.of(path).largest_batch

    def open(self, path: Path, *, optimised: bool) -> Run:
        """The loaded method; it has no optimiser to turn off."""
        run = self.open_outputs(path, optimised=optimised)
        return lambda rows: run(rows)[0]

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        """The same, with all outputs."""
        del optimised
        execute = Opened.of(path).runner(path)
        return lambda rows: [output.numpy() for output in execute(torch.from_numpy(rows))]

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        """The loaded method, whose inputs and outputs have the order of the manifest."""
        del optimised
        if seed is not None:
            raise NotImplementedError("the results of its operators cannot be changed")
        return named_run(Opened.of(path).runner(path), manifest, None)

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest in a method of the file that returns it."""
        document: Mapping[str, Any] = json.loads(Opened.of(path).constant(_MANIFEST))
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Checks shapes and types, the largest batch, and that no operator is random."""
        opened, contents = Opened.of(path), Contents.of(path)
        largest = manifest["files"][path.name]["largest_batch"]
        random = [name for name in contents.operators if any(word in name for word in _RANDOM)]
        foreign = sorted(set(contents.backends) - {_XNNPACK})
        wanted = _wanted(manifest, largest)
        found = [(list(one.shape), one.dtype) for one in (*opened.inputs, *opened.outputs)]
        return [
            holds("shapes", _agree(found, wanted), "; ".join(f"{dtype} {shape}" for shape, dtype in found)),
            holds("largest_batch", opened.largest_batch == largest, f"{opened.largest_batch} rows"),
            at_most("random_operators", len(random), 0, ", ".join(random) or f"none of {len(contents.operators)}"),
            at_most("known_backends", len(foreign), 0, ", ".join(contents.backends) or "portable kernels only"),
        ]


def _require_known_types(captured: Captured) -> None:
    odd = [name for name in (str(one.dtype).removeprefix("torch.") for one in captured.examples) if _is_odd(name)]
    if odd:
        raise ExportError(
            f"ExecuTorch has no kernels for inputs of type {odd[0]}.",
            hint=f"Give the inputs as {', '.join(DTYPES.values())}, or leave the format pte out.",
        )


def _is_odd(dtype: str) -> bool:
    return dtype not in DTYPES.values()


def _copied(program: ExportedProgram) -> ExportedProgram:
    """A copy with its own symbolic sizes, whose ranges lowering narrows; other formats use the program, too."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    return torch.export.load(buffer)


def _partitioners() -> list[Any]:
    """What gives operators to XNNPACK, if this build of ExecuTorch has it."""
    from executorch.runtime import Runtime

    if not Runtime.get().backend_registry.is_available(_XNNPACK):
        return []
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return [XnnpackPartitioner()]


def _largest_shape(axes: Sequence[int | str], manifest: Mapping[str, Any], batch: int) -> list[int]:
    sizes = {"batch": batch, **{name: axis["most"] for name, axis in manifest["axes"].items()}}
    for axis in axes:
        if isinstance(axis, str) and sizes[axis] is None:
            raise ExportError(
                f"ExecuTorch reserves memory for the greatest size of the axis {axis!r}, and none is declared.",
                hint=f"Declare it: ({axis!r}, least, greatest) in dynamic.",
            )
    return [sizes[axis] if isinstance(axis, str) else axis for axis in axes]


def _declare_sizes(program: ExportedProgram, largest: Sequence[Sequence[int]]) -> None:
    """Sets the range of each symbolic size. Lowering narrows ranges to those of the kernel that torch would choose.

    Raises:
        ExportError: Lowering fixed the size of an axis.
    """
    from torch.utils._sympy.value_ranges import ValueRanges

    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    ranges: dict[Any, Any] = {}
    for name, sizes in zip(program.graph_signature.user_inputs, largest, strict=True):
        for at, (axis, size) in enumerate(zip(values[name].shape, sizes, strict=True)):
            fixed = axis.node.maybe_as_int() if isinstance(axis, torch.SymInt) else axis
            if fixed is None:
                ranges[axis.node.expr] = ValueRanges(1, size)
            elif at == 0 or fixed != size:
                raise ExportError(
                    f"ExecuTorch's lowering fixes axis {at} of {name} at {fixed}.", hint="Leave the format pte out."
                )
    for environment in _environments(values.values()):
        environment.var_to_range.update(ranges)


def _environments(values: Any) -> list[Any]:
    """The objects in which torch keeps the ranges of symbolic sizes."""
    tensors = (one for value in values for one in (value if isinstance(value, tuple | list) else [value]))
    sizes = (size for tensor in tensors for size in getattr(tensor, "shape", ()) if isinstance(size, torch.SymInt))
    return list({id(size.node.shape_env): size.node.shape_env for size in sizes}.values())


def _wanted(manifest: Mapping[str, Any], batch: int) -> list[tuple[list[int | str], str]]:
    """Largest shape and type of each input and output; the formula of an axis stays as it is."""
    sizes = {"batch": batch, **{name: axis["most"] for name, axis in manifest.get("axes", {}).items()}}
    parts = [*parts_of(manifest, "input"), *graph_outputs(manifest)]
    return [([sizes.get(axis, axis) for axis in part["shape"]], part["dtype"]) for part in parts]


def _agree(found: Sequence[tuple[list[int], str]], wanted: Sequence[tuple[list[int | str], str]]) -> bool:
    return len(found) == len(wanted) and all(
        dtype == wanted_dtype
        and len(shape) == len(axes)
        and all(isinstance(axis, str) or size == axis for size, axis in zip(shape, axes, strict=True))
        for (shape, dtype), (axes, wanted_dtype) in zip(found, wanted, strict=True)
    )
