"""torch's own draws in a stochastic bundle, and its part of the manifest. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from regplug.bundles.cases import REAL, Reference
from regplug.bundles.formats import Array

ROWS, RUNS, COPIES = 2, 8, 64
"""Number of tested rows, of runs, and of copies of each row in a batch."""

PASSES = RUNS * COPIES
"""Random outputs for each row."""

KIND = "mc_dropout"
"""The only kind of stochastic bundle."""

GIVEN, LIVE = "given", "live"


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The model's own outputs with live dropout.

    Args:
        given: The real rows with the numbers of `given_uniforms` instead of drawn ones.
        passes: Random outputs `(PASSES, ROWS, K)` for the first real rows.
    """

    given: Reference
    passes: Array


def stochastic_part(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Returns a manifest's part on stochastic bundles; `None` for other bundles."""
    part: Mapping[str, Any] | None = manifest.get("stochastic")
    return part


def asked_rows(real: Array) -> Array:
    """Returns the test batch: `COPIES` adjacent copies of each of the first rows."""
    return np.repeat(np.resize(real, (ROWS, *real.shape[1:])), COPIES, axis=0)


def as_passes(outputs: Array) -> Array:
    """Reshapes the outputs of one batch of `asked_rows` `(ROWS * COPIES, K)` by pass: `(COPIES, ROWS, K)`."""
    passes: Array = outputs.reshape(-1, COPIES, outputs.shape[-1]).swapaxes(0, 1)
    return passes


def draws_arrays(draws: Draws, output_name: str) -> dict[str, Any]:
    """Returns the arrays for `sample_output.npz`."""
    return {
        f"{output_name}.{GIVEN}": draws.given.outputs,
        f"tolerance.{GIVEN}": np.float64(draws.given.tolerance),
        f"{output_name}.{LIVE}": draws.passes,
    }


def read_draws(outputs: Mapping[str, Array], output_name: str, real: Reference) -> Draws:
    """Reads the arrays of `draws_arrays`.

    Args:
        outputs: The arrays of `sample_output.npz`.
        output_name: Name of the graph's output.
        real: The case of real rows.
    """
    given = Reference(
        case=REAL,
        inputs=real.inputs,
        outputs=outputs[f"{output_name}.{GIVEN}"],
        tolerance=float(outputs[f"tolerance.{GIVEN}"]),
    )
    return Draws(given=given, passes=outputs[f"{output_name}.{LIVE}"])
