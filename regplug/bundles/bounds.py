"""How large a tolerance can be: constants of its formula, and what a bundle's file says of its rounding. numpy only.

The formula stands in `regplug.bundles.tolerance`, and needs the model. Without the model its lower bound is known. Its
upper bound is measured where a tolerance is large beside the outputs: what the last bits of every operator's result do
to the answers of the saved file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from regplug.bundles.cases import Reference
from regplug.bundles.formats import Array, Run

FACTOR = 16.0
"""How many times the model's rounding a file may be off."""

EPS = float(np.finfo(np.float32).eps)

SEEDS = (0, 1, 2, 3)
"""Of the perturbed runs of a file."""

_PLAIN = 1e-4
"""Share of the largest output up to which a tolerance needs no reason; that of most models is near 1e-5."""

_UNMEASURED = 1.0
"""The largest share where no file can tell its rounding."""

_SLACK = 32.0
"""How many times the rounding that is measured here the model's own may have been."""


@dataclass(frozen=True, kw_only=True)
class Perturbed:
    """A saved file, and the same with the last bits of every operator's result moved.

    Args:
        plain: The file as it is.
        moved: One run for each of `SEEDS`.
    """

    plain: Run
    moved: Sequence[Run]

    def rounding(self, inputs: Array) -> float:
        """The largest difference that the last bits make; 0 where the file does not answer."""
        try:
            still = self.plain(inputs)
            return max(_difference(run(inputs), still) for run in self.moved)
        except Exception:
            # The checks of the file tell what is wrong with it.
            return 0.0


def largest(outputs: Array) -> float:
    """The largest absolute output that is a number; 0 where none is."""
    return float(np.abs(outputs[np.isfinite(outputs)]).max(initial=0.0))


def least_tolerance(outputs: Array) -> float:
    """What the formula gives at least, but for the rounding of this product."""
    return 0.999 * FACTOR * EPS * largest(outputs)


def most_tolerance(reference: Reference, scale: float, opened: Callable[[], Sequence[Perturbed]]) -> float:
    """What a tolerance may be at most.

    Args:
        reference: The case.
        scale: The largest output of the case, or of the real rows if that is larger.
        opened: Opens the files whose rounding can be measured; called only where that is needed.
    """
    if reference.tolerance <= _PLAIN * scale:
        return _PLAIN * scale
    files = opened()
    if not files:
        return _UNMEASURED * scale
    measured = max(file.rounding(reference.inputs) for file in files)
    return max(_PLAIN * scale, _SLACK * FACTOR * measured)


def most_given_tolerance(given: Reference, real: Reference) -> float:
    """What the tolerance of the real rows with live dropout may be at most, from that without.

    Args:
        given: The real rows with given noise.
        real: The real rows without noise, whose tolerance is bounded already.
    """
    growth = largest(given.outputs) / (largest(real.outputs) or 1.0)
    return max(_PLAIN * largest(given.outputs), _SLACK * real.tolerance * max(1.0, growth))


def _difference(one: Array, other: Array) -> float:
    both = np.isfinite(one) & np.isfinite(other)
    return float(np.abs(one[both].astype(np.float64) - other[both]).max(initial=0.0))
