"""Checks that the functions of a plugin take the arguments of the contract, and names those that do not."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from regplug.errors import PluginError
from regplug.regularization.layers import ActingLayer
from regplug.regularizer import RegularizerFunctions


def require_signatures(functions: RegularizerFunctions, name: str) -> None:
    """Refuses a regularizer if one of its functions takes other arguments than the contract passes.

    Args:
        functions: The regularizer.
        name: What it is called in messages: its full name.

    Raises:
        PluginError: A function does not fit.
    """
    contract = [n for n, value in vars(RegularizerFunctions).items() if inspect.isfunction(value) and n[0] != "_"]
    _require(type(functions), RegularizerFunctions, contract, f"The regularizer {name}")


def require_layer_signatures(layer: ActingLayer) -> None:
    """Refuses a layer whose `act` or `evaluate` takes other arguments; see `require_signatures`."""
    _require(type(layer), ActingLayer, ("act", "evaluate"), f"{layer.owner}: the layer {type(layer).__name__}")


def _require(cls: type, contract: type, functions: Sequence[str], subject: str) -> None:
    for function in functions:
        wanted, own = _arguments(contract, function), getattr(cls, function)
        try:
            inspect.signature(own).bind(None, *wanted)
        except TypeError:
            taken = ", ".join(_arguments(cls, function))
            raise PluginError(
                f"{subject} does not fit this version of regplug: its function is {function}({taken}), and the "
                f"contract calls {function}({', '.join(wanted)}).",
                hint="It was written for another version, or an argument is missing. docs/contract.md has one example "
                "for each function.",
            ) from None


def _arguments(cls: type, function: str) -> list[str]:
    return [name for name in inspect.signature(getattr(cls, function)).parameters if name != "self"]
