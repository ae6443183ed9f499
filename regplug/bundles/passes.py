"""Probabilities from logits, and means over random passes. numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from regplug.bundles.calibration.answers import softmax
from regplug.bundles.formats import Array
from regplug.bundles.schema import output_kind
from regplug.errors import BundleError


def probabilities_or_values(outputs: Array, manifest: Mapping[str, Any]) -> Array:
    """Returns probabilities of classes or labels, or the values of a regression.

    Args:
        outputs: The first output `(B, K)` of one pass.
        manifest: The bundle's manifest.
    """
    if output_kind(manifest) != "logits":
        return outputs
    return sigmoid(outputs) if manifest["task"] == "multilabel" else softmax(outputs)


def mean_and_spread(run: Callable[[Any], Array], rows: Any, passes: int) -> tuple[Array, Array]:
    """Returns the mean of several passes and their standard deviation (n - 1); for 0 passes, one output and zeros.

    Args:
        run: Maps raw rows to outputs.
        rows: Raw rows `(B, ...)`, or those of several inputs.
        passes: Number of passes: 0 or at least 2.
    """
    first = run(rows)
    if not passes:
        return first, np.zeros_like(first)
    # Welford 1962: stores no passes, and loses no precision if the spread is small relative to the mean.
    mean, squares = first.astype(np.float64), np.zeros(first.shape)
    for number in range(2, passes + 1):
        answer = run(rows)
        gap = answer - mean
        mean += gap / number
        squares += gap * (answer - mean)
    return mean, np.sqrt(squares / (passes - 1))


def sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-z)), without overflow.

    >>> sigmoid(np.array([-1000.0, 0.0]))
    array([0. , 0.5])
    """
    probabilities: Array = np.exp(-np.logaddexp(0, -logits))
    return probabilities


def not_finite(source: str, row: int) -> BundleError:
    """Returns the error for a row whose outputs are NaN or infinite.

    Args:
        source: The row's file.
        row: Its index in the file.
    """
    message = f"{source}: the model's output for row {row} is not finite."
    return BundleError(message, hint="Check the size of its values, or leave the row out.")
