"""What one regularizer may know of the shapes of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from regplug.regularizer import Shapes
from regplug.sites import Place


def shapes_for(
    places: Sequence[Place],
    x: Sequence[int],
    y: Sequence[int],
    *,
    params: Mapping[str, tuple[int, ...]],
    batch: int,
    rows: int,
) -> Shapes:
    """The shapes of a full batch, of the regularizer's places at that batch, and of the parameters.

    Args:
        places: The regularizer's places, found on an example batch.
        x: Shape of the training inputs, the rows first.
        y: Shape of the training targets, the rows first.
        params: Name -> shape of each trained parameter.
        batch: Rows of a full batch, if there are as many.
        rows: Rows of the training split.
    """
    size = min(batch, rows)
    return Shapes(
        x=(size, *x[1:]),
        y=(size, *y[1:]),
        places=tuple(p if p.is_weight else replace(p, shape=(size, *p.shape[1:])) for p in places),
        params=params,
        rows=rows,
    )
