"""What one regularizer may know of the shapes of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regplug.regularizer import Shapes
from regplug.sites import Place
from regplug.training.program import Program


def shapes_for(
    program: Program,
    places: Mapping[str, Sequence[Place]],
    settings: Mapping[str, Mapping[str, Any]],
    *,
    x: Sequence[int],
    y: Sequence[int],
    batch: int,
    rows: int,
) -> Callable[[str], Shapes]:
    """Says by a regularizer's key what it may know of one run: its places at a full batch, and the other shapes.

    Args:
        program: What the run computes.
        places: Regularizer's key -> its places, found on an example batch.
        settings: Regularizer's key -> parameter -> number.
        x: Shape of the training inputs, the rows first.
        y: Shape of the training targets, the rows first.
        batch: Rows of a full batch, if there are as many.
        rows: Rows of the training split.
    """
    size = min(batch, rows)
    params = {name: tuple(value.shape) for name, value in program.params.items()}
    weights = program.weight_shapes(settings)

    def of(key: str) -> Shapes:
        own = places.get(key, ())
        return Shapes(
            x=(size, *x[1:]),
            y=(size, *y[1:]),
            outputs=(size, program.task.num_outputs),
            places=tuple(p if p.is_weight else replace(p, shape=(size, *p.shape[1:])) for p in own),
            params=params,
            weights=weights,
            rows=rows,
        )

    return of
