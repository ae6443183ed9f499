"""Checks that the functions of a plugin have the names and arguments of the contract, and names those that do not."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence

from regplug.errors import PluginError
from regplug.regularization.layers import ActingLayer
from regplug.regularizer import RegularizerFunctions

_SPELLING = 0.85
"""How similar a name must be to that of a function to count as misspelt."""


def require_signatures(functions: RegularizerFunctions, name: str) -> None:
    """Refuses a regularizer if a function takes other arguments than the contract passes, or has a misspelt name.

    Args:
        functions: The regularizer.
        name: What it is called in messages: its full name.

    Raises:
        PluginError: A function does not fit.
    """
    contract = [n for n, value in vars(RegularizerFunctions).items() if inspect.isfunction(value) and n[0] != "_"]
    _require_spelling(type(functions), contract, f"The regularizer {name}")
    _require(type(functions), RegularizerFunctions, contract, f"The regularizer {name}")


def require_layer_signatures(layer: ActingLayer) -> None:
    """Refuses a layer whose `act` or `evaluate` takes other arguments; see `require_signatures`."""
    _require(type(layer), ActingLayer, ("act", "evaluate"), f"{layer.owner}: the layer {type(layer).__name__}")


def _require_spelling(cls: type, contract: Sequence[str], subject: str) -> None:
    """Refuses a public method whose name is close to a function that the class lacks: regplug would never call it."""
    own = [name for name, value in inspect.getmembers(cls, inspect.isroutine) if name[0] != "_"]
    for name in own:
        near = [] if name in contract else difflib.get_close_matches(name, contract, n=1, cutoff=_SPELLING)
        if near and getattr(cls, near[0]) is getattr(RegularizerFunctions, near[0]):
            raise PluginError(
                f"{subject}: {cls.__name__} has a function {name}, which regplug never calls. Did you mean {near[0]}?",
                hint=f"Rename it; if it is a helper of your own, call it _{name}.",
            )


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
