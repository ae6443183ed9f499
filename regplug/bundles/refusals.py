"""Modules that no bundle can be made from, told from the module alone: it is neither run nor changed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from regplug.bundles.blame import place, title
from regplug.errors import RequestError

_QUANTIZED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.", "torch.ao.nn.sparse.quantized.")
_REFERENCES = "torch.ao.nn.quantized.reference."
_FLOAT_STAND_INS = ("FloatFunctional", "FXFloatFunctional")
_WATCHING = ("observer", "fake_quantize")

_INT8 = "For a file of 8 bits, export the float module with formats=['onnx', 'onnx_int8']."


def refuse_module(module: nn.Module) -> None:
    """Refuses a module that cannot be exported whatever its numbers are.

    Args:
        module: Any module; it is only looked at.

    Raises:
        RequestError: It is lazy, quantized, TorchScript, without numbers, or takes other than one input.
    """
    for name, part in module.named_modules():
        _refuse_part(name, part)
    for name, value in _tensors(module):
        _refuse_tensor(name, value)
    _refuse_inputs(module)


def _refuse_part(name: str, part: nn.Module) -> None:
    if isinstance(part, torch.jit.ScriptModule):
        which = "The module" if not name else f"{_capital(place(name))}"
        raise RequestError(f"{which} is TorchScript already.", hint="Export the module that it was made from.")
    if is_quantized(part):
        raise RequestError(
            f"{_capital(title(name, part))} is quantized: it computes with integers, for which only torch has kernels.",
            hint=f"No format here holds it. {_INT8}",
        )
    if _is_observer(part):
        raise RequestError(
            f"{_capital(title(name, part))} is an observer of quantization: it measures or rounds what passes, so that "
            "the module can be quantized later.",
            hint="torch.ao.quantization.convert(module) makes the quantized module that you deploy; only torch runs "
            f"that one. {_INT8}",
        )


def is_quantized(part: nn.Module) -> bool:
    """Whether it is one of torch's quantized modules, as `torch.ao.quantization.convert` makes them."""
    return any(
        kind.__module__.startswith(_QUANTIZED)
        and not kind.__module__.startswith(_REFERENCES)
        and kind.__name__ not in _FLOAT_STAND_INS
        for kind in type(part).__mro__
    )


def _is_observer(part: nn.Module) -> bool:
    modules = (kind.__module__ for kind in type(part).__mro__)
    return any("quantization" in module and module.rpartition(".")[2] in _WATCHING for module in modules)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _refuse_tensor(name: str, value: Tensor) -> None:
    if is_lazy(value):
        raise RequestError(
            f"'{name}' has no shape yet: its layer is lazy and has seen no input.",
            hint="Call the module on a batch once, then train it or load its weights. An export would make them up.",
        )
    if value.is_meta:
        raise RequestError(
            f"'{name}' lies on the meta device, which holds no numbers.", hint="Load the trained weights first."
        )
    if value.is_quantized or value.is_nested or value.layout != torch.strided:
        kind = "quantized" if value.is_quantized else "nested" if value.is_nested else str(value.layout)
        raise RequestError(
            f"'{name}' is a tensor of kind {kind}, which no format here holds.",
            hint="Keep it as an ordinary tensor: value.to_dense() or value.dequantize().",
        )


def _refuse_inputs(module: nn.Module) -> None:
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    takes_one = any(p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters)
    if len(needed) > 1 or not takes_one:
        names = f" ({', '.join(needed)})" if needed else ""
        raise RequestError(
            f"{type(module).__qualname__} takes {len(needed)} inputs{names}; modules with one input tensor are "
            "supported.",
            hint="Wrap it in a module whose forward takes one tensor (batch, ...): it can cut that into parts, and "
            "hold what is constant as buffers.",
        )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
