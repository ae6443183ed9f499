"""What a stochastic bundle keeps of torch's own draws, and what its manifest says. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from regplug.bundles.cases import REAL, Reference
from regplug.bundles.formats import Array

ROWS, RUNS, COPIES = 2, 8, 64
"""Rows that are asked, how often they are asked, and how often each stands in the batch that asks."""

PASSES = RUNS * COPIES
"""Answers to each row."""

KIND = "mc_dropout"
"""The only kind of stochastic bundle there is."""

GIVEN, LIVE = "given", "live"


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What the model itself answers with its dropout live.

    Args:
        given: The real rows with the numbers of `given_uniforms` in the place of drawn ones.
        passes: Live answers `(PASSES, ROWS, K)` to the first real rows.
    """

    given: Reference
    passes: Array


def stochastic_part(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a manifest says of a stochastic bundle; `None` for any other."""
    part: Mapping[str, Any] | None = manifest.get("stochastic")
    return part


def asked_rows(real: Array) -> Array:
    """The batch that is asked: each of the first rows `COPIES` times, copies side by side."""
    return np.repeat(np.resize(real, (ROWS, *real.shape[1:])), COPIES, axis=0)


def as_passes(outputs: Array) -> Array:
    """The answers to one batch of `asked_rows` `(ROWS * COPIES, K)` by pass: `(COPIES, ROWS, K)`."""
    passes: Array = outputs.reshape(-1, COPIES, outputs.shape[-1]).swapaxes(0, 1)
    return passes


def draws_arrays(draws: Draws, output_name: str) -> dict[str, Any]:
    """What goes into `sample_output.npz`."""
    return {
        f"{output_name}.{GIVEN}": draws.given.outputs,
        f"tolerance.{GIVEN}": np.float64(draws.given.tolerance),
        f"{output_name}.{LIVE}": draws.passes,
    }


def read_draws(outputs: Mapping[str, Array], output_name: str, real: Reference) -> Draws:
    """Reads what `draws_arrays` gave.

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
