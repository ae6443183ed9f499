"""Refuses modules that cannot be exported, without running or changing them."""

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

_INT8 = "For an 8-bit file, export the float module with formats=['onnx', 'onnx_int8']."


def refuse_module(module: nn.Module) -> None:
    """Refuses a module that cannot be exported, whatever its weights.

    Args:
        module: Any module; only inspected.

    Raises:
        RequestError: It is lazy, quantized, TorchScript, on the meta device, or does not take exactly one input.
    """
    refuse_parts(module)
    _refuse_inputs(module)


def refuse_parts(module: nn.Module) -> None:
    """Refuses a module that cannot be exported, however many inputs it takes.

    Raises:
        RequestError: It is lazy, quantized, TorchScript or on the meta device.
    """
    for name, part in module.named_modules():
        _refuse_part(name, part)
    for name, value in _tensors(module):
        _refuse_tensor(name, value)


def _refuse_part(name: str, part: nn.Module) -> None:
    if isinstance(part, torch.jit.ScriptModule):
        which = "The module" if not name else f"{_capital(place(name))}"
        raise RequestError(f"{which} is already TorchScript.", hint="Export the original module.")
    if is_quantized(part):
        raise RequestError(
            f"{_capital(title(name, part))} is quantized: it computes with integers, for which only torch has kernels.",
            hint=f"No export format supports it. {_INT8}",
        )
    if _is_observer(part):
        raise RequestError(
            f"{_capital(title(name, part))} is a quantization observer: it measures or rounds activations, so that "
            "the module can be quantized later.",
            hint="torch.ao.quantization.convert(module) returns the quantized module, which only torch can run. "
            f"{_INT8}",
        )


def is_quantized(part: nn.Module) -> bool:
    """Returns whether it is one of torch's quantized modules, as from `torch.ao.quantization.convert`."""
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
            f"'{name}' has no shape yet: its layer is lazy and has not seen an input.",
            hint="Call the module on a batch once, then train it or load its weights.",
        )
    if value.is_meta:
        raise RequestError(
            f"'{name}' is on the meta device, which has no data.", hint="Load the trained weights first."
        )
    if value.is_quantized or value.is_nested or value.layout != torch.strided:
        kind = "quantized" if value.is_quantized else "nested" if value.is_nested else str(value.layout)
        raise RequestError(
            f"'{name}' is a tensor of kind {kind}, which no export format supports.",
            hint="Convert it to an ordinary tensor: value.to_dense() or value.dequantize().",
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
            f"{type(module).__qualname__} takes {len(needed)} inputs{names}, but the example is one input tensor.",
            hint="Give an example of each input by name: regplug.export(net, {'image': images, 'meta': rows}, ...). "
            "Store constants as buffers.",
        )


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
