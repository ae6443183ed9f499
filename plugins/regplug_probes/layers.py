"""What several probes need: numbers that can be logged, names of layers, histograms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from regplug.errors import CompositionError
from regplug.probes import Histogram, ProbeView

BINS = 50
"""Bins of a histogram."""


def finite(values: Mapping[str, float | Tensor]) -> dict[str, float]:
    """Returns the values that are finite, as numbers.

    >>> finite({"a": torch.tensor(2.0), "b": float("nan")})
    {'a': 2.0}
    """
    numbers = {name: float(value) for name, value in values.items()}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def joined(named: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    """Returns the entries of several tensors as one vector."""
    return torch.cat([named[name].detach().flatten() for name in names])


def outputs_of_functions(view: ProbeView, probe: str) -> Iterator[tuple[str, Tensor]]:
    """Yields the name and the outputs of each activation in the order of the forward pass.

    A second call of one module gets the name `activation-2`.

    Raises:
        CompositionError: The model has no activation module.
    """
    if not view.function_outputs:
        called = ", ".join(dict.fromkeys(key.partition("#")[0] for key in view.activations)) or "none"
        raise CompositionError(
            f"{probe} found no activation function in the model. Its modules: {called}.",
            hint="Use a model with activation modules, such as mlp; a functional activation is not found.",
        )
    for key, output in view.function_outputs.items():
        name, _, call = key.rpartition("#")
        yield name if call == "0" else f"{name}-{int(call) + 1}", output


def histogram(values: Tensor, bins: int = BINS) -> Histogram:
    """Returns the histogram of values over their range; equal values are in the middle of a range of width 1.

    >>> histogram(torch.tensor([0.0, 1.0, 1.0, 2.0]), bins=2)
    Histogram(edges=(0.0, 1.0, 2.0), counts=(1, 3))
    """
    flat = values.detach().flatten().to("cpu", torch.float64)
    flat = flat[flat.isfinite()]
    low, high = (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 0.0)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    counts, edges = torch.histogram(flat, bins=bins, range=(low, high))
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(int(count) for count in counts))
