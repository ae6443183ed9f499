"""Finds the module that causes a failure, and names it in messages."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Same: TypeAlias = Callable[[Tensor, Tensor], bool]

STOCHASTIC_HINT = (
    "To keep it random (MC dropout), write it as nn.Dropout or another of torch's dropout modules and use "
    "`regplug export RUN --stochastic`, or regplug.export(..., stochastic=True)."
)

_HERE = Path(__file__).parents[1]
_TORCH = str(Path(torch.__file__).parent)
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_CONVERTERS = ("/onnxscript/", "/onnx_ir/", "/site-packages/onnx/")


def title(name: str, module: nn.Module) -> str:
    """Names a module by its path and class: `module 'layers.3' (mypkg.nets.Noise)`."""
    kind = type(module)
    where = place(name)
    return f"{where} ({kind.__module__}.{kind.__qualname__})"


def place(name: str) -> str:
    """Returns the user's name for a dotted path inside the deployed model."""
    if name in ("", "network"):
        return "the model"
    return f"module '{name.removeprefix('network.')}'"


def user_line(error: BaseException) -> str:
    """Returns the last line of the user's own code in a traceback as `file:line`, or an empty string."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def is_users(filename: str) -> bool:
    """Returns whether a file is the user's own, and not of a library or of regplug."""
    is_standard = filename.startswith(_STANDARD_LIBRARY) and "site-packages" not in filename
    is_torch = filename.startswith((_TORCH, "<")) or any(part in filename for part in _CONVERTERS)
    return not is_standard and not is_torch and _HERE not in Path(filename).parents


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    inputs: list[Tensor]
    outputs: list[Tensor]


def where_they_part(module: nn.Module, first: Tensor, second: Tensor, same: Same) -> str:
    """Names the innermost module with equal inputs and different outputs in two runs.

    Args:
        module: The model; run twice, with hooks that are removed again.
        first: Input of one run.
        second: Input of the other.
        same: Whether two tensors of the two runs count as equal.
    """
    for one, other in zip(_calls(module, first), _calls(module, second), strict=False):
        alike = all(map(same, one.inputs, other.inputs))
        if alike and not all(map(same, one.outputs, other.outputs)):
            return title(one.name, one.module)
    return "the model"


def where_it_broke(module: nn.Module, raw: Tensor) -> str:
    """Names the innermost module in which a forward pass raises."""
    entered: list[str] = []
    known = dict(module.named_modules())
    handles = []
    for name, child in known.items():
        handles.append(child.register_forward_pre_hook(lambda *_, name=name: entered.append(name)))
        handles.append(child.register_forward_hook(lambda *_, name=name: _leave(entered, name)))
    try:
        with torch.no_grad():
            module(raw)
    except Exception:
        return title(entered[-1], known[entered[-1]]) if entered else "the model"
    finally:
        for handle in handles:
            handle.remove()
    return "the model"


class _DropoutWatch(TorchFunctionMode):
    """Detects calls of torch's dropout functions in training mode."""

    seen = False

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if "dropout" in getattr(function, "__name__", ""):
            self.seen |= bool(given.get("training", args[2] if len(args) > 2 else True))
        return function(*args, **given)


def dropout_hint(module: nn.Module, raw: Tensor) -> str:
    """Returns a hint if the noise is dropout that acts in evaluation, else an empty string."""
    with torch.no_grad(), _DropoutWatch() as watch:
        module(raw)
    return f" {STOCHASTIC_HINT}" if watch.seen else ""


def _leave(entered: list[str], name: str) -> None:
    while entered and entered.pop() != name:
        pass


def _calls(module: nn.Module, raw: Tensor) -> list[_Call]:
    calls: list[_Call] = []

    def record(child: nn.Module, inputs: Any, outputs: Any, name: str) -> None:
        calls.append(_Call(name, child, _tensors(inputs), _tensors(outputs)))

    handles = [
        child.register_forward_hook(lambda m, i, o, name=name: record(m, i, o, name))
        for name, child in module.named_modules()
    ]
    try:
        with torch.no_grad():
            module(raw)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value.detach().clone()]
    if isinstance(value, (tuple, list)):
        return [tensor for item in value for tensor in _tensors(item)]
    return []
