"""Captures a model with several inputs or outputs once, with symbolic axes; errors name the axis."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from regplug.bundles.capture import EXAMPLE_ROWS, explained, judge, quiet_capture
from regplug.bundles.named.axes import Declared, capture_sizes
from regplug.bundles.named.signature import BATCH, Axis, InputPart, sized_inputs
from regplug.bundles.recurrence import symbolic_recurrence
from regplug.bundles.report import Check
from regplug.errors import ExportError
from regplug.registry.uncollected import uncollected

_ATTEMPTS = 4
_LARGEST = 600
"""Largest size for which torch's condition on an axis is evaluated."""

_VIOLATED = re.compile(r"Constraints violated \(([^)]*)\)")
_FIXED = re.compile(r"marked (\w+) as dynamic but your code specialized it to be a constant \((\d+)\)")
_GUARD = re.compile(r"Not all values of (\w+) = .* satisfy the generated guard (.+?)\.?$", re.MULTILINE)
_SUGGESTED = re.compile(r"^\s*(\w+) = Dim\('\w+'(?:, min=(\d+))?(?:, max=(\d+))?\)\s*$", re.MULTILINE)
_SIZE = re.compile(r"L\['\w+'\](?:\[\d+\])*\.size\(\)\[\d+\]")
_SAFE = re.compile(r"[\w\s()+\-*/%<>=!,]*")

_LENGTH_HINT = (
    "Take sizes from the input, without a loop over the axis; use pooling, such as x.mean(1) or "
    "nn.AdaptiveAvgPool2d(1), before a linear layer. Or leave the axis out of dynamic."
)
_SAME_SIZE_HINT = (
    "Tensors that the model combines have the same size only for some sizes of the axis. Take the size from one of "
    "them, such as F.interpolate(x, size=skip.shape[2:]) for an upsampling by 2. Or leave the axis out of dynamic."
)


@dataclass(frozen=True, kw_only=True)
class CapturedProgram:
    """A captured model.

    Args:
        program: The graph.
        example: The inputs of the capture.
        axes: The symbolic axes; those without a declared range have the one that the model allows.
        shapes: Axes of each output, in order; an axis is a size, a name or a formula.
        checks: The checks of the graph.
    """

    program: ExportedProgram
    example: tuple[Tensor, ...]
    axes: Mapping[str, Axis]
    shapes: Sequence[Sequence[int | str]]
    checks: Sequence[Check]


def capture_named(
    model: nn.Module, inputs: Sequence[InputPart], samples: Mapping[str, Any], declared: Declared, draws: int = 0
) -> CapturedProgram:
    """Captures a model and checks its graph.

    Args:
        model: The isolated model: maps raw inputs to one tensor, or to a tuple of several.
        inputs: Its inputs.
        samples: Real rows of each, three or more.
        declared: The symbolic axes.
        draws: Expected number of operators that draw uniform random numbers, for live dropout.

    Raises:
        ExportError: It cannot be captured, or fixes the size of an axis, which the message names.
    """
    axes = dict(declared.axes)
    sizes = capture_sizes(axes, declared.sizes)
    few = {part.name: samples[part.name][:EXAMPLE_ROWS] for part in inputs}
    example = tuple(torch.from_numpy(array) for array in sized_inputs(few, inputs, sizes).values())
    program, axes = _captured(model, example, inputs, axes, declared)
    checks = [replace(check, name=f"capture.{check.name}") for check in judge(program, draws)]
    return CapturedProgram(
        program=program, example=example, axes=axes, shapes=_output_shapes(program, inputs), checks=checks
    )


def _captured(
    model: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[InputPart],
    axes: dict[str, Axis],
    declared: Declared,
    attempts: int = _ATTEMPTS,
) -> tuple[ExportedProgram, dict[str, Axis]]:
    """Returns the graph, and the axes with ranges that the model allows."""
    try:
        return _exported(model, example, inputs, axes), axes
    except Exception as error:
        narrowed = _narrowed(str(error), axes, declared) if attempts else {}
        if not narrowed:
            raise _refusal(error, axes) from error
    return _captured(model, example, inputs, narrowed, declared, attempts - 1)


def _exported(
    model: nn.Module, example: tuple[Tensor, ...], inputs: Sequence[InputPart], axes: Mapping[str, Axis]
) -> ExportedProgram:
    dims = {name: Dim(name, min=axis.least, max=axis.most) for name, axis in axes.items()}
    batch = Dim(BATCH, min=1)
    shapes = tuple(
        {0: batch, **{at: dims[axis] for at, axis in enumerate(part.shape, start=1) if isinstance(axis, str)}}
        for part in inputs
    )
    with torch.no_grad(), quiet_capture(), uncollected(), symbolic_recurrence():
        return torch.export.export(model, example, dynamic_shapes=(shapes,))


def _output_shapes(program: ExportedProgram, inputs: Sequence[InputPart]) -> list[list[int | str]]:
    """Returns the axes of each output, with the names of the inputs' axes instead of torch's symbols."""
    values = {node.name: node.meta["val"] for node in program.graph.nodes if "val" in node.meta}
    names = {}
    for part, given in zip(inputs, program.graph_signature.user_inputs, strict=True):
        for axis, size in zip((BATCH, *part.shape), values[given].shape, strict=True):
            if isinstance(axis, str):
                names[str(size)] = axis
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b")
    return [
        [size if isinstance(size, int) else pattern.sub(lambda found: names[found[1]], str(size)) for size in shape]
        for shape in (values[given].shape for given in program.graph_signature.user_outputs)
    ]


def _narrowed(text: str, axes: Mapping[str, Axis], declared: Declared) -> dict[str, Axis]:
    """Returns axes whose undeclared ranges fit the model, or nothing if torch's error does not tell such ranges."""
    if not _VIOLATED.search(text) or _FIXED.search(text):
        return {}
    found = _suggested(text)
    for name, guard in _GUARD.findall(text):
        if name not in found and name in axes:
            found[name] = _allowed(name, guard, axes[name])
    narrowed = {}
    for name, (least, most) in found.items():
        if name not in declared.bare or least is None:
            return {}
        axis = replace(axes[name], least=max(least, axes[name].least), most=most or axes[name].most)
        if not axis.allows(declared.sizes[name]) or axis == axes[name]:
            return {}
        narrowed[name] = axis
    return {**axes, **narrowed} if narrowed else {}


def _suggested(text: str) -> dict[str, tuple[int | None, int | None]]:
    return {name: (int(least or 1), int(most) if most else None) for name, least, most in _SUGGESTED.findall(text)}


def _allowed(name: str, guard: str, axis: Axis) -> tuple[int | None, int | None]:
    """Returns the least size from which torch's condition holds for all larger ones, if there is one."""
    condition = _condition(name, guard)
    if condition is None:
        return None, None
    try:
        failing = [size for size in range(axis.least, _LARGEST) if not condition(size)]
    except Exception:
        return None, None
    least = max(failing, default=0) + 1
    return (least, None) if least < _LARGEST // 2 else (None, None)


def _condition(name: str, guard: str) -> Callable[[int], bool] | None:
    text = _SIZE.sub(name, guard).replace("IntInfinity()", "10**9")
    if not _SAFE.fullmatch(text):
        return None
    functions = {"Mod": operator.mod, "Eq": operator.eq, "Ne": operator.ne, "Max": max, "Min": min}
    # The text is torch's own; it holds nothing but names, numbers and operators.
    return lambda size: bool(eval(text, {"__builtins__": {}}, {**functions, name: size}))  # noqa: S307


def _refusal(error: Exception, axes: Mapping[str, Axis]) -> ExportError:
    text = str(error)
    violated = _VIOLATED.search(text)
    names = [name for name in re.split(r",\s*", violated[1]) if name in axes] if violated else []
    if not names:
        return explained(error)
    fixed = {name: size for name, size in _FIXED.findall(text) if name in axes}
    if fixed:
        name, size = next(iter(fixed.items()))
        return ExportError(
            f"The model fixes the size of the axis {name!r}: the captured graph holds only for {name} = {size}.",
            hint=_LENGTH_HINT,
        )
    told = "; ".join(f"{_SIZE.sub(name, guard)}" for name, guard in _GUARD.findall(text) if name in names)
    ranges = "; ".join(f"{name} is {axes[name].words}" for name in names)
    return ExportError(
        f"The model does not take every size of the axis {', '.join(map(repr, names))} ({ranges}): it needs "
        f"{told or ' '.join(text.split())[:200]}.",
        hint=_SAME_SIZE_HINT
        if re.search(r"//|%|Mod", told)
        else f"Declare the range that it takes: dynamic={{'input': {{axis: ({names[0]!r}, least, greatest)}}}}.",
    )
