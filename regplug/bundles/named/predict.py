"""Predicts with a bundle of several inputs or outputs, using onnxruntime and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from regplug.bundles.formats import Array, NamedRun
from regplug.bundles.named.inputs import form_words, read_named, suffixes_of
from regplug.bundles.named.signature import OutputPart, Signature, flat
from regplug.bundles.passes import mean_and_spread, not_finite, probabilities_or_values
from regplug.errors import BundleError, VerificationError

_ROWS_AT_ONCE = 512
Outputs: TypeAlias = dict[str, Array]
"""Outputs by name."""

DECIDED = ""
"""Name of the probabilities or values of the first output among the outputs."""


def checked_named_run(raw: NamedRun, file: Path, signature: Signature, hint: str) -> NamedRun:
    """Returns a function from inputs to outputs by name that checks both.

    Args:
        raw: Runs the file without checks.
        file: Its file, for messages.
        signature: The bundle's inputs and outputs.
        hint: Hint for a file that differs from its manifest.
    """

    def run(arrays: Mapping[str, Array]) -> dict[str, Array]:
        try:
            outputs = raw(arrays)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise VerificationError(f"{file} cannot run on inputs as in its manifest: {reason}", hint=hint) from None
        rows = len(next(iter(arrays.values())))
        for part in signature.outputs:
            if not _fits(outputs[part.name], part, rows):
                found = outputs[part.name]
                raise VerificationError(
                    f"{file} gives {part.name} {found.dtype} {found.shape}; its manifest says {part.shape}.", hint=hint
                )
        # A calibration adds an output, which predictions compute themselves.
        return {part.name: outputs[part.name] for part in signature.outputs}

    return run


def _fits(output: Array, part: OutputPart, rows: int) -> bool:
    axes = zip(part.shape, output.shape[1:], strict=False)
    fits = output.ndim == 1 + len(part.shape) and len(output) == rows and output.dtype == np.float32
    return fits and all(isinstance(axis, str) or axis == size for axis, size in axes)


def decided(run: NamedRun, manifest: Mapping[str, Any]) -> NamedRun:
    """Returns a run whose outputs also have, under an empty name, the probabilities or values of the first output."""
    if manifest["task"] is None:
        return run
    first = manifest["outputs"][0]["name"]

    def answer(arrays: Mapping[str, Array]) -> dict[str, Array]:
        outputs = run(arrays)
        return {**outputs, DECIDED: probabilities_or_values(outputs[first], manifest)}

    return answer


def named_mean_and_spread(run: NamedRun, arrays: Mapping[str, Array], passes: int) -> tuple[Outputs, Outputs]:
    """Returns the mean of each output over several passes, and the standard deviations; zeros for 0 passes.

    Args:
        run: Maps arrays by input to outputs by name.
        arrays: Raw rows `(B, ...)` by input.
        passes: Number of passes: 0 or at least 2.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def joined(given: Any) -> Array:
        outputs = run(given)
        shapes.update({name: output.shape for name, output in outputs.items()})
        return np.hstack([flat(output) for output in outputs.values()])

    both = mean_and_spread(joined, arrays, passes)
    ends = np.cumsum([int(np.prod(shape[1:])) for shape in shapes.values()])[:-1]
    mean, spread = (
        {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), np.split(one, ends, 1), strict=True)}
        for one in both
    )
    return mean, spread


def named_files(inputs: Sequence[Path], signature: Signature) -> tuple[list[Path], list[str]]:
    """Returns the files to read: those that are named, and those in folders; and a note for each folder.

    Raises:
        BundleError: A folder has no file that the bundle takes.
    """
    files: list[Path] = []
    notes: list[str] = []
    for given in inputs:
        if not given.is_dir():
            files.append(given)
            continue
        visible = [
            path
            for path in sorted(given.rglob("*"))
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(given).parts)
        ]
        found = [path for path in visible if path.suffix.lower() in suffixes_of(signature)]
        if not found:
            raise BundleError(
                f"The folder {given} has no file that this bundle takes: {form_words(signature)}.",
                hint=f"Give {', '.join(suffixes_of(signature))} files.",
            )
        files += found
        left = len(visible) - len(found)
        notes += [f"{given}: {left} files that the model does not take were left out."] if left else []
    return files, notes


def named_rows(
    files: Sequence[Path], run: NamedRun, manifest: Mapping[str, Any], notes: list[str], passes: int = 0
) -> Iterator[tuple[str, int, Outputs, Outputs]]:
    """Yields file, index, outputs and their spreads of each row.

    Args:
        files: The files.
        run: Runs the model.
        manifest: The bundle's manifest.
        notes: Receives the notes on each file.
        passes: Number of random passes.
    """
    signature = Signature.from_manifest(manifest)
    for path in files:
        arrays, told = read_named(path, signature)
        notes += told
        count = len(next(iter(arrays.values())))
        for start in range(0, count, _ROWS_AT_ONCE):
            part = {name: array[start : start + _ROWS_AT_ONCE] for name, array in arrays.items()}
            both = named_mean_and_spread(decided(run, manifest), part, passes)
            for at in range(len(next(iter(both[0].values())))):
                outputs, spreads = ({name: output[at] for name, output in one.items()} for one in both)
                if not all(np.isfinite(output).all() for output in outputs.values()):
                    raise not_finite(str(path), start + at)
                yield str(path), start + at, outputs, spreads
