"""How far an input may be moved."""

from __future__ import annotations

import torch
from torch import Tensor

from regplug.regularizer import Shapes, Tensors


def limits_of(shapes: Shapes, params: Tensors) -> dict[str, Tensor]:
    """Returns `low` and `high` of a normalised input for a component's state; infinite where none is declared."""
    like = next(iter(params.values()))
    low = like.new_full((), -torch.inf) if shapes.low is None else shapes.low.to(like.dtype, copy=True)
    high = like.new_full((), torch.inf) if shapes.high is None else shapes.high.to(like.dtype, copy=True)
    return {"low": low, "high": high}


def kept_within(moved: Tensor, x: Tensor, state: Tensors) -> Tensor:
    """Returns moved inputs, kept in the declared range; an input that is out of it already goes no further out.

    Args:
        moved: `(B, ...)`.
        x: The inputs before, of the same shape.
        state: `low` and `high`, of a shape that goes with one input.
    """
    return torch.clamp(moved, torch.minimum(x, state["low"]), torch.maximum(x, state["high"]))


def normalized_by_row(values: Tensor) -> Tensor:
    """Returns each row `(B, ...)` divided by its Euclidean norm; a row of zeros stays."""
    norms = values.flatten(1).norm(dim=1).clamp(min=torch.finfo(values.dtype).tiny)
    unit: Tensor = values / norms.view(-1, *[1] * (values.ndim - 1))
    return unit
