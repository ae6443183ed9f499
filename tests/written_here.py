"""Regularizers that a test file writes for itself."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated

from annotated_types import Ge

from regplug.api import Regularizer, Stackable


@dataclasses.dataclass(frozen=True)
class Strength:
    """One number that may differ between the runs of a stack."""

    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.5
    "How much."


def here(functions, name=""):
    """A regularizer of a test file, named as its class."""
    return Regularizer(
        name=name or functions.__name__.lower(),
        target=f"{functions.__module__}:{functions.__name__}",
        summary="",
        **({"params": functions.Params} if hasattr(functions, "Params") else {}),
    )


def by_path(functions, strength):
    """The same with a number, by its file."""
    return f"{inspect.getfile(functions)}:{functions.__name__}:strength={strength}"
