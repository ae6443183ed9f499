"""The sample files of a bundle with several inputs or outputs.

`sample_input.npz` contains the real rows under the names of the inputs, every other case as `NAME.CASE`, and a few real
rows at the other sizes of the axes as `NAME.AXIS=SIZE,...`. `sample_output.npz` contains the outputs in the same way,
and `tolerance.OUTPUT`, `tolerance.OUTPUT.CASE`, ... A stochastic bundle also has `OUTPUT.given` and `OUTPUT.live` of
each output, and `tolerance.given`; see `regplug.bundles.stochastic.record`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.archives import Extent, most_bytes_of
from regplug.bundles.cases import EXTREME_ROWS, REAL, Reference
from regplug.bundles.formats import Array
from regplug.bundles.layout import SAMPLE_INPUT, SAMPLE_OUTPUT
from regplug.bundles.named.cases import named_case_rows
from regplug.bundles.named.signature import Signature, Sizes, flat, label_of, pack
from regplug.bundles.samples import read_file
from regplug.bundles.stochastic.record import GIVEN, LIVE, ROWS, Draws, stochastic_part

_TOLERANCE = "tolerance"
_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything that is known at one setting of the axes.

    Args:
        at: Its index.
        sizes: The sizes.
        inputs: Arrays by input by case; at other sizes than the example's only the case `real`.
        known: The model's outputs by name: `Reference`s of packed rows, `real` first.
    """

    at: int
    sizes: Sizes
    inputs: Mapping[str, Mapping[str, Array]]
    known: Mapping[str, Sequence[Reference]]

    @property
    def label(self) -> str:
        """Its name in checks and samples; empty for the sizes of the example."""
        return label_of(self.sizes) if self.at else ""


def write_named_samples(
    folder: Path, signature: Signature, settings: Sequence[Setting], draws: Draws | None = None
) -> None:
    """Writes both sample files.

    Args:
        folder: The bundle's folder.
        signature: Its inputs and outputs.
        settings: What is known.
        draws: The outputs with live dropout, side by side.
    """
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    for setting in settings:
        for case, arrays in setting.inputs.items():
            inputs |= {_key(name, case, setting.label): array for name, array in arrays.items()}
        for part in signature.outputs:
            for reference in setting.known[part.name]:
                key = _key(part.name, reference.case, setting.label)
                outputs[key] = reference.outputs.reshape(-1, *part.checked[setting.at])
                outputs[f"{_TOLERANCE}.{key}"] = np.float64(reference.tolerance)
    if draws is not None:
        outputs |= _draws_arrays(signature, draws)
    np.savez(folder / SAMPLE_INPUT, **inputs)
    np.savez(folder / SAMPLE_OUTPUT, **outputs)


def _draws_arrays(signature: Signature, draws: Draws) -> dict[str, Any]:
    ends = np.cumsum([part.width(0) for part in signature.outputs])[:-1]
    arrays: dict[str, Any] = {f"{_TOLERANCE}.{GIVEN}": np.float64(draws.given.tolerance)}
    for kind, whole in ((GIVEN, draws.given.outputs), (LIVE, draws.passes)):
        for part, own in zip(signature.outputs, np.split(whole, ends, axis=-1), strict=True):
            arrays[f"{part.name}.{kind}"] = own.reshape(*whole.shape[:-1], *part.checked[0])
    return arrays


def _read_draws(signature: Signature, outputs: Mapping[str, Array], inputs: Array) -> Draws:
    def joined(kind: str, lead: int) -> Array:
        arrays = [outputs[f"{part.name}.{kind}"] for part in signature.outputs]
        return np.concatenate([array.reshape(*array.shape[:lead], -1) for array in arrays], axis=-1)

    tolerance = float(outputs[f"{_TOLERANCE}.{GIVEN}"])
    given = Reference(case=REAL, inputs=inputs, outputs=joined(GIVEN, 1), tolerance=tolerance)
    return Draws(given=given, passes=joined(LIVE, 2))


def read_named_samples(
    folder: Path, signature: Signature, stochastic: Mapping[str, Any] | None
) -> tuple[list[Setting], Draws | None]:
    """Reads what `write_named_samples` wrote.

    Args:
        folder: The bundle's folder.
        signature: Its inputs and outputs.
        stochastic: The manifest's part on live dropout, or `None`.

    Raises:
        VerificationError: A file is not an archive of exactly these arrays.
    """
    inputs = read_file(folder, SAMPLE_INPUT, _input_extents(signature))
    outputs = read_file(folder, SAMPLE_OUTPUT, _output_extents(signature, stochastic))
    settings = [_setting(signature, at, sizes, inputs, outputs) for at, sizes in enumerate(signature.settings)]
    real = settings[0].known[signature.outputs[0].name][0].inputs
    return settings, _read_draws(signature, outputs, real) if stochastic else None


def _setting(
    signature: Signature, at: int, sizes: Sizes, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Setting:
    label = label_of(sizes) if at else ""
    arrays = {
        case: {part.name: inputs[_key(part.name, case, label)] for part in signature.inputs}
        for case in _cases(signature, at)
    }
    packed = {case: pack(given, signature.inputs) for case, given in arrays.items()}
    known = {part.name: _known(part.name, label, packed, outputs) for part in signature.outputs}
    return Setting(at=at, sizes=sizes, inputs=arrays, known=known)


def _known(name: str, label: str, packed: Mapping[str, Array], outputs: Mapping[str, Array]) -> list[Reference]:
    keys = {case: _key(name, case, label) for case in packed}
    return [
        Reference(
            case=case,
            inputs=rows,
            outputs=flat(outputs[keys[case]]),
            tolerance=float(outputs[f"{_TOLERANCE}.{keys[case]}"]),
        )
        for case, rows in packed.items()
    ]


def most_bytes_named(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Returns the maximum size of each sample file in bytes."""
    signature = Signature.from_manifest(manifest)
    return {
        SAMPLE_INPUT: most_bytes_of(_input_extents(signature)),
        SAMPLE_OUTPUT: most_bytes_of(_output_extents(signature, stochastic_part(manifest))),
    }


def _cases(signature: Signature, at: int) -> dict[str, int]:
    return {REAL: EXTREME_ROWS} if at else named_case_rows(signature.inputs)


def _input_extents(signature: Signature) -> dict[str, Extent]:
    return {
        _key(part.name, case, label_of(sizes) if at else ""): Extent((rows, *part.sized(sizes)), part.dtype)
        for at, sizes in enumerate(signature.settings)
        for case, rows in _cases(signature, at).items()
        for part in signature.inputs
    }


def _output_extents(signature: Signature, stochastic: Mapping[str, Any] | None) -> dict[str, Extent]:
    extents = {}
    if stochastic:
        extents[f"{_TOLERANCE}.{GIVEN}"] = Extent((), _DOUBLE)
        rows = _cases(signature, 0)[REAL]
        for part in signature.outputs:
            extents[f"{part.name}.{GIVEN}"] = Extent((rows, *part.checked[0]), _SINGLE)
            extents[f"{part.name}.{LIVE}"] = Extent((stochastic["passes"], ROWS, *part.checked[0]), _SINGLE)
    for at, sizes in enumerate(signature.settings):
        for case, rows in _cases(signature, at).items():
            for part in signature.outputs:
                key = _key(part.name, case, label_of(sizes) if at else "")
                extents[key] = Extent((rows, *part.checked[at]), _SINGLE)
                extents[f"{_TOLERANCE}.{key}"] = Extent((), _DOUBLE)
    return extents


def _key(name: str, case: str, label: str) -> str:
    """Returns the name of an array; an input or output has no dot in its name."""
    return f"{name}.{label}" if label else name if case == REAL else f"{name}.{case}"
