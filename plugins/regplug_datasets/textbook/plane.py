"""Two classes of points in the plane that no line separates. Rows alternate between the classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from regplug.api import DataContext, Task
from regplug.data import Array, InputSpec, RawData, Split
from regplug_datasets.textbook import PlaneParams
from regplug_datasets.textbook.drawing import draw_splits

TURNS = 1.5
"""Turns of a spiral."""

INNER_RADIUS = 0.5


def moons(params: PlaneParams, context: DataContext) -> RawData:
    """Returns an upper half circle around (0, 0) and a lower one around (1, 0.5), both of radius 1.

    Source: scikit-learn, make_moons.
    """

    def place(t_B: Array, is_second_B: Array) -> tuple[Array, Array]:
        x, y = np.cos(np.pi * t_B), np.sin(np.pi * t_B)
        return np.where(is_second_B, 1 - x, x), np.where(is_second_B, 0.5 - y, y)

    return _points("moons", place, params, context)


def spirals(params: PlaneParams, context: DataContext) -> RawData:
    """Returns two spirals of one and a half turns; the radius grows with the angle, up to 1.

    Source: Lang and Witbrock 1988.
    """

    def place(t_B: Array, is_second_B: Array) -> tuple[Array, Array]:
        # The root spreads the points evenly along the spiral.
        radius = 0.1 + 0.9 * np.sqrt(t_B)
        angle = 2 * np.pi * TURNS * radius + np.pi * is_second_B
        return radius * np.cos(angle), radius * np.sin(angle)

    return _points("spirals", place, params, context)


def rings(params: PlaneParams, context: DataContext) -> RawData:
    """Returns a circle of radius 1 and one of radius 0.5 around the origin.

    Source: scikit-learn, make_circles.
    """

    def place(t_B: Array, is_second_B: Array) -> tuple[Array, Array]:
        radius = np.where(is_second_B, INNER_RADIUS, 1.0)
        return radius * np.cos(2 * np.pi * t_B), radius * np.sin(2 * np.pi * t_B)

    return _points("rings", place, params, context)


def _points(
    name: str, place: Callable[[Array, Array], tuple[Array, Array]], params: PlaneParams, context: DataContext
) -> RawData:
    def draw(split: str, rows: int, generator: Generator) -> Split:  # noqa: ARG001 - all splits are alike
        classes_B = np.arange(rows) % 2
        clean = np.stack(place(generator.random(rows), classes_B == 1), axis=1)
        x_B2 = clean + params.noise * generator.standard_normal((rows, 2))
        return Split(x=x_B2.astype(np.float32), y=classes_B.astype(np.int64))

    return draw_splits(
        name,
        params,
        context,
        draw,
        task=Task(kind="classification", num_outputs=2, class_names=("first", "second")),
        inputs=InputSpec(layout="row", shape=(2,), dtype="float32", names=("x1", "x2")),
    )
