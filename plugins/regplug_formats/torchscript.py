"""TorchScript: traced under `no_grad`, frozen, saved, loaded again. The only module that calls torch.jit.

`torch.jit.script` would keep the dropout; `optimize_for_inference` writes convolutions that cannot be loaded.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # public, but not listed by torch
from torch.overrides import TorchFunctionMode

from regplug.api import NoParams
from regplug.bundles.blame import is_users
from regplug.bundles.causes import one_line
from regplug.bundles.formats import Array, Captured, Format, NamedNoiseRuns, NamedRun, NoiseRuns, Run, RunAll
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check, at_most
from regplug.errors import ExportError
from regplug_formats.torch_named import named_run
from regplug_formats.torch_noise import draws_of, named_noise_runs, noise_runs
from regplug_formats.torch_operators import require_torchs_operators
from regplug_formats.torch_outputs import all_of, first_of
from regplug_formats.torch_rounding import perturbed_run
from regplug_formats.torchscript_code import require_computation

_MANIFEST = "regplug.manifest.json"
_DRAWS = "aten::rand_like"
_CONSTANT = "registered as constants in the trace"
_MAKE_CONSTANTS = (torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray, torch.Tensor.new_tensor)
_PYTHON_CALL = re.compile(r"Could not export Python function call '(\w+)'")
_RANDOM = ("dropout", "bernoulli", "rand", "multinomial", "normal_", "uniform_", "rrelu")


class TorchScript(Format):
    """Writes, opens and walks through `model.ts`."""

    holds_noise = True
    holds_added_outputs = True
    holds_names = True

    def __init__(self, params: NoParams) -> None:
        del params

    def write(self, captured: Captured, path: Path, manifest: Mapping[str, Any]) -> None:
        """Traces and freezes the model: dropout is gone, batch norm has constants, `.train()` changes nothing."""
        require_torchs_operators(captured.program, "torchscript")
        with _deprecated(), torch.no_grad():
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", TracerWarning)
                traced = torch.jit.trace(captured.module, captured.example, check_trace=False)  # type: ignore[no-untyped-call]
            _require_true_trace(said, captured)
            # Its optimizations fold a batch norm into the linear layer before it, also where others use that output.
            frozen = torch.jit.freeze(traced, optimize_numerics=False)
            content = io.BytesIO()  # torch ends the process if it writes a file itself and the disk is full
            try:
                torch.jit.save(frozen, content, _extra_files={_MANIFEST: canonical_json(manifest)})
            except RuntimeError as error:
                raise _explained(error) from error
        path.write_bytes(content.getbuffer())

    def open(self, path: Path, *, optimised: bool) -> Run:
        """A loaded module, with the profiling executor's optimisation on or off."""
        run = self.open_outputs(path, optimised=optimised)
        return lambda rows: run(rows)[0]

    def open_outputs(self, path: Path, *, optimised: bool) -> RunAll:
        """The same, with all outputs."""
        module = _load(path)

        def run(rows: Array) -> Sequence[Array]:
            with _deprecated(), torch.no_grad(), torch.jit.optimized_execution(optimised):  # type: ignore[attr-defined]
                return [output.numpy() for output in all_of(module(torch.from_numpy(rows)))]

        return run

    def open_noise(self, path: Path, *, optimised: bool) -> NoiseRuns:
        """The loaded module, its operators watched as they run."""
        return noise_runs(_first_of(path, optimised))

    def open_named_noise(self, path: Path, manifest: Mapping[str, Any], *, optimised: bool) -> NamedNoiseRuns:
        """The same, with inputs and outputs by name."""
        return named_noise_runs(self.open_named(path, manifest, optimised=optimised))

    def open_named(
        self, path: Path, manifest: Mapping[str, Any], *, optimised: bool, seed: int | None = None
    ) -> NamedRun:
        """The loaded module, whose inputs and outputs have the order of the manifest."""
        return named_run(_run_of(path, optimised), manifest, seed)

    def open_perturbed(self, path: Path, *, seed: int) -> Run:
        """The loaded module, its operators' results moved as they run."""
        return perturbed_run(_first_of(path, False), seed)

    def manifest(self, path: Path) -> Mapping[str, Any]:
        """The manifest among the extra files."""
        extra = {_MANIFEST: ""}
        _load(path, extra)
        document: Mapping[str, Any] = json.loads(extra[_MANIFEST])
        return document

    def inspect(self, path: Path, manifest: Mapping[str, Any]) -> Sequence[Check]:
        """Walks through the frozen graph."""
        module = _load(path)
        nodes = list(_nodes(module.inlined_graph))
        trained = sorted(
            {node.kind() for node in nodes if "batch_norm" in node.kind() and _training(node) is not False}
        )
        parameters = len(list(module.parameters())) + len(list(module.buffers()))
        return [
            _random_operators(nodes, draws_of(manifest)),
            at_most("frozen", parameters, 0, "parameters and buffers that are not constants"),
            at_most("constant_statistics", len(trained), 0, "batch norms in training mode"),
        ]


def _explained(error: RuntimeError) -> RuntimeError | ExportError:
    called = _PYTHON_CALL.search(str(error))
    if called is None:
        return error
    return ExportError(
        f"Format torchscript cannot hold {called[1]}, a torch.autograd.Function: it is Python.",
        hint="Let the forward call it only where self.training is true, or leave the format out: `--format onnx`.",
    )


class _ConstantsWatch(TorchFunctionMode):
    """Notes whether a constant is made out of a tensor, which a trace then no longer follows.

    The tracer warns of `torch.tensor([0.5, 0.2])` all the same, which is sound.
    """

    from_tensors: bool = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if function in _MAKE_CONSTANTS:
            self.from_tensors |= _has_tensor((args, list(given.values())))
        return function(*args, **given)


def _has_tensor(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_tensor, value))
    return isinstance(value, torch.Tensor)


def _require_true_trace(said: Sequence[warnings.WarningMessage], captured: Captured) -> None:
    """Refuses what the tracer warned of in the user's code.

    torch's own layers branch on shapes (group norm, GRU); what that does is judged at four batch sizes.
    """
    own = [w for w in said if issubclass(w.category, TracerWarning) and is_users(w.filename)]
    if any(_CONSTANT in str(warning.message) for warning in own) and not _makes_constants_of_tensors(captured):
        own = [warning for warning in own if _CONSTANT not in str(warning.message)]
    for warning in own:
        raise ExportError(
            f"Format torchscript cannot trace this model truly, because of {warning.filename}:{warning.lineno}: "
            f"{one_line(str(warning.message))}",
            hint="The forward takes a number out of a tensor, or branches on it: use torch's functions.",
        )


def _makes_constants_of_tensors(captured: Captured) -> bool:
    watch = _ConstantsWatch()
    with torch.no_grad(), watch:
        captured.module(*captured.examples)
    return watch.from_tensors


def _nodes(block: Any) -> Iterator[Any]:
    """All nodes of a graph, those of branches and loops included."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def _random_operators(nodes: Sequence[Any], draws: int) -> Check:
    """No operator is random but the uniform draws of live dropout, of which there are as many as there shall be."""
    random = [node.kind() for node in nodes if _is_random(node)]
    if not draws:
        found = sorted(set(random))
        return at_most("no_random_operator", len(found), 0, f"{', '.join(found) or 'none'} of {len(nodes)}")
    others = sorted(set(random) - {_DRAWS})
    detail = f"besides {', '.join(others)}" if others else f"of {len(nodes)} draw uniform numbers; so shall {draws}"
    passed = not others and len(random) == draws
    return Check(name="random_operators", passed=passed, figure=float(len(random)), limit=float(draws), detail=detail)


def _is_random(node: Any) -> bool:
    return any(word in node.kind() for word in _RANDOM) and _training(node) is not False


def _training(node: Any) -> object:
    """What an operator is told of training, or `None` where it does not ask or it is no constant."""
    arguments = node.schema().partition("(")[2].rpartition(") ->")[0].split(", ")
    names = [argument.partition("=")[0].split(" ")[-1] for argument in arguments]
    told = [value for name, value in zip(names, node.inputs(), strict=False) if name in ("train", "training")]
    return told[0].toIValue() if told else None


def _first_of(path: Path, optimised: bool) -> Callable[[torch.Tensor], torch.Tensor]:
    run = _run_of(path, optimised)
    return lambda rows: first_of(run(rows))


def _run_of(path: Path, optimised: bool) -> Callable[..., Any]:
    module = _load(path)

    def run(*rows: torch.Tensor) -> Any:
        with _deprecated(), torch.jit.optimized_execution(optimised):  # type: ignore[attr-defined]
            return module(*rows)

    return run


def _load(path: Path, extra: dict[str, Any] | None = None) -> Any:
    require_computation(path)
    with _deprecated():
        return torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _deprecated() -> Iterator[None]:
    """torch.jit says at every call that it is deprecated; the format's summary says it once."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        yield
