"""TorchScript: traced under `no_grad`, frozen, saved, loaded again. The only module that calls torch.jit.

`torch.jit.script` would keep the dropout; `optimize_for_inference` writes convolutions that cannot be loaded.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public, but not listed by torch

from regplug.api import NoParams
from regplug.bundles.formats import Array, Captured, Format, Run
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check, at_most, holds
from regplug.errors import ExportError

_MANIFEST = "regplug.manifest.json"
_RANDOM = ("dropout", "bernoulli", "rand", "multinomial", "normal_", "uniform_", "rrelu")


class TorchScript(Format):
    """Writes, opens and walks through `model.ts`."""

    def __init__(self, params: NoParams) -> None:
        del params

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Traces and freezes the model: dropout is gone, batch norm folded, `.train()` changes nothing."""
        with _deprecated(), torch.no_grad():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error", TracerWarning)
                    traced = torch.jit.trace(captured.module, captured.example, check_trace=False)  # type: ignore[no-untyped-call]
            except TracerWarning as warning:
                raise ExportError(
                    f"Format torchscript cannot trace this model truly: {' '.join(str(warning).split())[:300]}",
                    hint="The forward takes a number out of a tensor, or branches on it: use torch's functions.",
                ) from warning
            frozen = torch.jit.freeze(traced)
            torch.jit.save(frozen, str(path), _extra_files={_MANIFEST: canonical_json(manifest)})

    def open(self, path: Path, *, optimised: bool) -> Run:
        """A loaded module, with the profiling executor's optimisation on or off."""
        module = _load(path)

        def run(rows: Array) -> Array:
            with _deprecated(), torch.no_grad(), torch.jit.optimized_execution(optimised):  # type: ignore[attr-defined]
                output: Array = module(torch.from_numpy(rows)).numpy()
            return output

        return run

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest among the extra files."""
        extra = {_MANIFEST: ""}
        _load(path, extra)
        document: Mapping[str, Any] = json.loads(extra[_MANIFEST])
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Walks through the frozen graph."""
        del manifest
        module = _load(path)
        operators = [node.kind() for node in module.inlined_graph.nodes()]
        random = sorted({op for op in operators if any(word in op for word in _RANDOM)})
        trained = [op for op in operators if "batch_norm" in op and _in_training(module, op)]
        parameters = len(list(module.parameters())) + len(list(module.buffers()))
        return [
            at_most(
                "no_random_operator", len(random), 0, f"{', '.join(random) or 'none'} of {len(operators)} operators"
            ),
            at_most("frozen", parameters, 0, "parameters and buffers that are not constants"),
            holds("constant_statistics", not trained, "no batch norm in training mode"),
        ]


def _in_training(module: Any, kind: str) -> bool:
    nodes = [node for node in module.inlined_graph.nodes() if node.kind() == kind]
    # aten::batch_norm(input, weight, bias, mean, var, training, ...)
    return any(list(node.inputs())[5].toIValue() is not False for node in nodes)


def _load(path: Path, extra: dict[str, Any] | None = None) -> Any:
    with _deprecated():
        return torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _deprecated() -> Iterator[None]:
    """torch.jit says at every call that it is deprecated; the format's summary says it once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        yield
