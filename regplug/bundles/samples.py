"""The sample files: inputs and verified outputs of every case, from which a bundle can be verified again.

`sample_input.npz` contains the real rows under the input's name and every other case as `NAME.CASE`.
`sample_output.npz` contains the outputs in the same way, and `tolerance` and `tolerance.CASE`. A stochastic bundle also
has the outputs `NAME.given` and `NAME.live`; see `regplug.bundles.stochastic.record`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.archives import Extent, most_bytes_of, read_arrays
from regplug.bundles.cases import REAL, Reference, case_rows
from regplug.bundles.formats import Array
from regplug.bundles.layout import SAMPLE_INPUT, SAMPLE_OUTPUT
from regplug.bundles.reading import COPY_AGAIN, require_plain
from regplug.bundles.stochastic.record import GIVEN, LIVE, ROWS, Draws, read_draws, stochastic_part
from regplug.errors import VerificationError

_TOLERANCE = "tolerance"
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def write_samples(
    folder: Path,
    references: Sequence[Reference],
    input_name: str,
    output_name: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes both sample files.

    Args:
        folder: The bundle's folder.
        references: The model's outputs.
        input_name: Name of the graph's input.
        output_name: Name of its output.
        more: Further arrays of outputs.
    """
    inputs = {_key(input_name, ref.case): ref.inputs for ref in references}
    outputs = {_key(output_name, ref.case): ref.outputs for ref in references}
    limits = {_key(_TOLERANCE, ref.case): np.float64(ref.tolerance) for ref in references}
    _save(folder / SAMPLE_INPUT, inputs)
    _save(folder / SAMPLE_OUTPUT, {**outputs, **limits, **(more or {})})


def read_samples(folder: Path, manifest: Mapping[str, Any]) -> tuple[list[Reference], Draws | None]:
    """Reads the files of `write_samples`.

    Args:
        folder: The bundle's folder.
        manifest: Determines the arrays with their shapes and types.

    Returns:
        The cases, `real` first, and the outputs with live dropout, or `None`.

    Raises:
        VerificationError: A file is not an archive of exactly these arrays.
    """
    given, answer = manifest["input"]["name"], manifest["output"]["name"]
    inputs = read_file(folder, SAMPLE_INPUT, _input_extents(manifest))
    outputs = read_file(folder, SAMPLE_OUTPUT, _output_extents(manifest))
    known = [
        Reference(
            case=case,
            inputs=inputs[_key(given, case)],
            outputs=outputs[_key(answer, case)],
            tolerance=float(outputs[_key(_TOLERANCE, case)]),
        )
        for case in case_rows(np.dtype(manifest["input"]["dtype"]))
    ]
    return known, read_draws(outputs, answer, known[0]) if stochastic_part(manifest) else None


def most_bytes(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Returns the maximum size of each sample file in bytes."""
    return {
        SAMPLE_INPUT: most_bytes_of(_input_extents(manifest)),
        SAMPLE_OUTPUT: most_bytes_of(_output_extents(manifest)),
    }


def read_file(folder: Path, name: str, extents: Mapping[str, Extent]) -> dict[str, Array]:
    """Reads a file of samples.

    Args:
        folder: The bundle.
        name: The file.
        extents: Shape and dtype of each array.

    Raises:
        VerificationError: It does not contain such arrays.
    """
    require_plain(folder, name)
    try:
        return read_arrays(folder / name, extents)
    except Exception as error:
        raise VerificationError(
            f"{folder}: {name} does not contain the samples of such a bundle: {error or type(error).__name__}.",
            hint=COPY_AGAIN,
        ) from error


def _input_extents(manifest: Mapping[str, Any]) -> dict[str, Extent]:
    part = manifest["input"]
    dtype, shape = np.dtype(part["dtype"]), tuple(part["shape"][1:])
    return {_key(part["name"], case): Extent((rows, *shape), dtype) for case, rows in case_rows(dtype).items()}


def _output_extents(manifest: Mapping[str, Any]) -> dict[str, Extent]:
    name, width = manifest["output"]["name"], manifest["num_outputs"]
    rows = case_rows(np.dtype(manifest["input"]["dtype"]))
    extents = {_key(name, case): Extent((count, width), _SINGLE) for case, count in rows.items()}
    extents |= {_key(_TOLERANCE, case): Extent((), _DOUBLE) for case in rows}
    if stochastic_part(manifest):
        extents[f"{name}.{GIVEN}"] = Extent((rows[REAL], width), _SINGLE)
        extents[f"{_TOLERANCE}.{GIVEN}"] = Extent((), _DOUBLE)
        extents[f"{name}.{LIVE}"] = Extent((manifest["stochastic"]["passes"], ROWS, width), _SINGLE)
    return extents


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, **arrays)


def _key(name: str, case: str) -> str:
    return name if case == REAL else f"{name}.{case}"
