"""Bounds of a tolerance: the constants of its formula, and the measured rounding of a bundle's file. numpy only.

The formula is in `regplug.bundles.tolerance` and needs the model. Without the model, its lower bound is known. If a
tolerance is large relative to the outputs, its upper bound is measured: the effect of changing the last bits of every
operator's result on the outputs of the saved file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from regplug.bundles.cases import Reference
from regplug.bundles.formats import Array, Run

FACTOR = 16.0
"""A file may differ by this many times the model's rounding."""

EPS = float(np.finfo(np.float32).eps)

SEEDS = (0, 1, 2, 3)
"""Seeds of the perturbed runs of a file."""

_PLAIN = 1e-4
"""Share of the largest output up to which a tolerance is accepted without measurement; usually it is near 1e-5."""

_UNMEASURED = 1.0
"""The largest share if no file's rounding can be measured."""

_SLACK = 32.0
"""The model's rounding may have been this many times the rounding that is measured here."""


@dataclass(frozen=True, kw_only=True)
class Perturbed:
    """A saved file, and the same file with the last bits of every operator's result changed.

    Args:
        plain: The unchanged file.
        moved: One perturbed run for each of `SEEDS`.
    """

    plain: Run
    moved: Sequence[Run]

    def rounding(self, inputs: Array) -> float:
        """Returns the largest difference from changing the last bits; 0 if the file cannot be run."""
        try:
            still = self.plain(inputs)
            return max(_difference(run(inputs), still) for run in self.moved)
        except Exception:
            # The checks of the file report what is wrong with it.
            return 0.0


def largest(outputs: Array) -> float:
    """Returns the largest finite absolute output; 0 if there is none."""
    return float(np.abs(outputs[np.isfinite(outputs)]).max(initial=0.0))


def least_tolerance(outputs: Array) -> float:
    """Returns the smallest possible value of the formula, up to the rounding of this product."""
    return 0.999 * FACTOR * EPS * largest(outputs)


def most_tolerance(reference: Reference, scale: float, opened: Callable[[], Sequence[Perturbed]]) -> float:
    """Returns the largest allowed tolerance.

    Args:
        reference: The case.
        scale: The largest output of the case, or of the real rows if that is larger.
        opened: Opens the files whose rounding can be measured; called only if needed.
    """
    if reference.tolerance <= _PLAIN * scale:
        return _PLAIN * scale
    files = opened()
    if not files:
        return _UNMEASURED * scale
    measured = max(file.rounding(reference.inputs) for file in files)
    return max(_PLAIN * scale, _SLACK * FACTOR * measured)


def most_given_tolerance(given: Reference, real: Reference) -> float:
    """Returns the largest allowed tolerance of the real rows with live dropout, from the tolerance without noise.

    Args:
        given: The real rows with supplied noise.
        real: The real rows without noise, whose tolerance has already been bounded.
    """
    growth = largest(given.outputs) / (largest(real.outputs) or 1.0)
    return max(_PLAIN * largest(given.outputs), _SLACK * real.tolerance * max(1.0, growth))


def _difference(one: Array, other: Array) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    return float(np.abs(one[both].astype(np.float64) - other[both]).max(initial=0.0))
