"""Noisy values of a known function of one number."""

from __future__ import annotations

from math import factorial

import numpy as np
from numpy.random import Generator

from regplug.api import DataContext, Task
from regplug.data import Array, InputSpec, RawData, Split
from regplug_datasets.textbook import NoisyLineParams, PolynomialParams
from regplug_datasets.textbook.drawing import draw_splits

_TASK = Task(kind="regression", num_outputs=1)


def noisy_line(params: NoisyLineParams, context: DataContext) -> RawData:
    """Returns points of `y = slope x + N(0, noise^2)` with x from -1 to 1; those to train on are evenly spaced."""

    def draw(split: str, rows: int, generator: Generator) -> Split:
        x_B = np.linspace(-1, 1, rows) if split == "train" else generator.uniform(-1, 1, rows)
        return _split(x_B, params.slope * x_B, params.noise, generator)

    inputs = InputSpec(layout="row", shape=(1,), dtype="float32", low=-1, high=1, names=("x",))
    return draw_splits("noisy_line", params, context, draw, task=_TASK, inputs=inputs)


def polynomial(params: PolynomialParams, context: DataContext) -> RawData:
    """Returns points of `y = sum_i coefficients[i] x^i / i! + N(0, noise^2)` with x from N(0, 1).

    Source: Zhang et al., Dive into Deep Learning, section 3.6.
    """

    def draw(split: str, rows: int, generator: Generator) -> Split:  # noqa: ARG001 - all splits are alike
        x_B = generator.standard_normal(rows)
        terms = (weight * x_B**degree / factorial(degree) for degree, weight in enumerate(params.coefficients))
        return _split(x_B, sum(terms, np.zeros(rows)), params.noise, generator)

    inputs = InputSpec(layout="row", shape=(1,), dtype="float32", names=("x",))
    return draw_splits("polynomial", params, context, draw, task=_TASK, inputs=inputs)


def _split(x_B: Array, clean_B: Array, noise: float, generator: Generator) -> Split:
    y_B = clean_B + noise * generator.standard_normal(len(x_B))
    return Split(x=x_B.astype(np.float32)[:, None], y=y_B.astype(np.float32)[:, None])
