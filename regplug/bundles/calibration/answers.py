"""Prediction sets and intervals from a model's outputs. numpy only.

Shape letters: B rows, K classes or values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regplug.bundles.formats import Array, parts_of

SETS, INTERVALS = "sets", "intervals"
"""Names of the output that a conformal calibration adds to the graph."""


def conformal_part(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the manifest's part on a conformal calibration, or `None`."""
    part = manifest.get("calibration")
    return part if part and part["kind"] == "conformal" else None


def graph_outputs(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns all outputs of a graph in order: those of the manifest, then the one that a calibration adds."""
    added = conformal_part(manifest)
    return [*parts_of(manifest, "output"), *([added["output"]] if added else [])]


def softmax(logits: Array) -> Array:
    """exp(z) / sum exp(z) over the last axis, without overflow.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    powers: Array = np.exp(logits - logits.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares


def sets_of(probability_BK: Array, threshold: float) -> Array:
    """Returns which classes are in the prediction set of each row, booleans `(B, K)`.

    >>> sets_of(np.array([[0.7, 0.2, 0.1]]), 0.15)
    array([[ True,  True, False]])
    """
    return np.asarray(probability_BK >= np.float32(threshold))


def intervals_of(values_BK: Array, halves: Sequence[float]) -> Array:
    """Returns least and greatest plausible value, `(B, K, 2)`.

    >>> intervals_of(np.array([[5.0]]), [2.0])
    array([[[3., 7.]]])
    """
    half_K = np.asarray(halves, np.float32).astype(values_BK.dtype)
    return np.stack([values_BK - half_K, values_BK + half_K], axis=-1)


def interval_misses(values_BK: Array, targets_BK: Array, halves: Sequence[float]) -> Array:
    """Returns where a target is outside its interval, booleans `(B, K)`."""
    return np.asarray(np.abs(np.asarray(values_BK, np.float64) - targets_BK) > np.asarray(halves))


def added_answers(outputs_BK: Array, part: Mapping[str, Any]) -> Array:
    """Returns the output that the graph adds, from its first output.

    Args:
        outputs_BK: Probabilities of a classification, or values `(B, K)`.
        part: `calibration` of the manifest, conformal.
    """
    thresholds = part["thresholds"]
    return (
        sets_of(outputs_BK, thresholds[0]) if part["output"]["name"] == SETS else intervals_of(outputs_BK, thresholds)
    )
