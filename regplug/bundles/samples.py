"""The sample files: inputs and proven outputs of every case, so that a bundle can be proven again from itself.

`sample_input.npz` holds the real rows under the input's name and every other case as `NAME.CASE`; `sample_output.npz`
the outputs alike, and `tolerance` and `tolerance.CASE`. A stochastic bundle also has the outputs `NAME.given` and
`NAME.live`; see `regplug.bundles.stochastic.record`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.cases import REAL, Reference
from regplug.bundles.layout import SAMPLE_INPUT, SAMPLE_OUTPUT
from regplug.errors import VerificationError

_TOLERANCE = "tolerance"


def write_samples(
    folder: Path,
    references: Sequence[Reference],
    input_name: str,
    output_name: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes both sample files.

    Args:
        folder: Where they lie.
        references: What the model puts out.
        input_name: Name of the graph's input.
        output_name: Name of its output.
        more: Further arrays of outputs.
    """
    inputs = {_key(input_name, ref.case): ref.inputs for ref in references}
    outputs = {_key(output_name, ref.case): ref.outputs for ref in references}
    limits = {_key(_TOLERANCE, ref.case): np.float64(ref.tolerance) for ref in references}
    _save(folder / SAMPLE_INPUT, inputs)
    _save(folder / SAMPLE_OUTPUT, {**outputs, **limits, **(more or {})})


def read_samples(folder: Path, input_name: str, output_name: str) -> list[Reference]:
    """Reads what `write_samples` wrote, `real` first.

    Raises:
        VerificationError: A file is no archive of arrays, or an array is missing.
    """
    try:
        with (
            np.load(folder / SAMPLE_INPUT, allow_pickle=False) as inputs,
            np.load(folder / SAMPLE_OUTPUT, allow_pickle=False) as outputs,
        ):
            names = [name.removeprefix(input_name).removeprefix(".") or REAL for name in inputs.files]
            return [
                Reference(
                    case=case,
                    inputs=inputs[_key(input_name, case)],
                    outputs=outputs[_key(output_name, case)],
                    tolerance=float(outputs[_key(_TOLERANCE, case)]),
                )
                for case in sorted(names, key=lambda case: case != REAL)
            ]
    except Exception as error:
        raise VerificationError(
            f"{folder}: the samples cannot be read: {type(error).__name__}: {error}", hint="Export the run again."
        ) from error


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, **arrays)


def _key(name: str, case: str) -> str:
    return name if case == REAL else f"{name}.{case}"
