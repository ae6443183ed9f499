"""Checks what the functions of a regularizer return, and names class and function where it does not fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn

from regplug.errors import PluginError
from regplug.regularizer import RegularizerFunctions, Tensors


class Returned:
    """One function of one regularizer, as its errors name it.

    Args:
        key: The regularizer's key in the run.
        functions: The regularizer.
        function: Name of the function.
    """

    __slots__ = ("_of",)

    def __init__(self, key: str, functions: RegularizerFunctions, function: str) -> None:
        self._of = f"{key}: {function} of {type(functions).__name__}"

    def names(self, new: Tensors, own: Tensors, what: str) -> None:
        """Requires one tensor for each name of the run's own, in any order; `what` is "parameters", say."""
        if new is own:
            return
        if not hasattr(new, "keys"):
            self.refuse(f"returns {kind_of(new)} as {what}", f"Return a dict of {what} by name.")
        if new.keys() != own.keys():
            lacking, unknown = _listed(own.keys() - new.keys()), _listed(new.keys() - own.keys())
            parts = [lacking and f"lacks {lacking}", unknown and f"has the unknown {unknown}"]
            self.refuse(
                f"returns {what} by other names than it received: the result {' and '.join(filter(None, parts))}",
                f"Return all {what} under their own names, those that it leaves alone too.",
            )

    def refuse(self, what: str, hint: str) -> NoReturn:
        """Raises the error; `what` continues the sentence after class and function."""
        raise PluginError(f"{self._of} {what}.", hint=hint)


def kind_of(value: Any) -> str:
    """Returns what a value is, for a message."""
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" if shape is None else f"a tensor of shape {tuple(shape)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(str, names)))
