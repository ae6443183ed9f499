"""Inference from a bundle with onnxruntime and numpy: neither torch nor mlflow is imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from regplug.bundles.formats import Array, Run
from regplug.bundles.inputs import Input, InputForm, read_input
from regplug.bundles.layout import MANIFEST, MODEL_ONNX, read_manifest, require_bundle, require_unchanged
from regplug.errors import BundleError, RequestError, VerificationError

_ROWS_AT_ONCE = 512
_WARNINGS_AND_ABOVE = 3
_PATTERN = "*?["


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer to one row.

    Args:
        source: The file that it was read from.
        row: Its place in the file, from 0.
        top: The likeliest classes with their probabilities, likeliest first; empty for a regression.
        values: The values of a regression; empty for a classification.
    """

    source: str
    row: int
    top: tuple[tuple[str, float], ...] = ()
    values: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The likeliest class, or the empty text for a regression."""
        return self.top[0][0] if self.top else ""

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON."""
        answer: dict[str, Any] = {"source": self.source, "row": self.row}
        if self.values:
            return {**answer, "values": list(self.values)}
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        return {**answer, "label": self.label, "probability": self.top[0][1], "top": top}


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The answers to all rows of all files, in order.

    Args:
        task: `classification` or `regression`.
        rows: One answer a row.
        notes: What was done to an input, or looks doubtful about it.
    """

    task: str
    rows: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of `regplug predict --json`."""
        return {"task": self.task, "predictions": [row.as_json() for row in self.rows], "notes": list(self.notes)}


def predict(bundle: Path, inputs: Sequence[Path], top: int = 3) -> Predictions:
    """Runs a bundle's ONNX model on files.

    Args:
        bundle: The bundle's folder. Its manifest and model must be the bytes that were proven.
        inputs: `.npy`, `.npz`, `.csv` or image files with raw values; `*`, `?` and `[...]` in a name mean several.
        top: How many classes an answer names, at least 1.

    Raises:
        BundleError: The folder is no bundle, or an input does not fit it; says what is needed.
        VerificationError: The manifest or the model is not what was proven.
        RequestError: `top` is below 1, or there is no input.
    """
    if top < 1:
        raise RequestError(f"--top {top} asks for no class.", hint="Give 1 or more.")
    if not inputs:
        raise RequestError("No input was given.", hint="Give .npy, .npz, .csv or image files.")
    manifest, run = _open(Path(bundle))
    form = InputForm.from_manifest(manifest)
    read = [(path, read_input(path, form)) for given in inputs for path in _matching(Path(given))]
    rows = tuple(answer for path, given in read for answer in _answers(path, given, run, manifest, top))
    return Predictions(task=manifest["task"], rows=rows, notes=tuple(note for _, given in read for note in given.notes))


def _matching(given: Path) -> list[Path]:
    """The files that a pattern means, sorted; a file is itself, whatever its name holds."""
    if given.exists() or not set(given.name) & set(_PATTERN):
        return [given]
    found = sorted(path for path in given.parent.glob(given.name) if path.is_file())
    if not found:
        raise BundleError(f"No file matches {given}.", hint="Give .npy, .npz, .csv or image files.")
    return found


def _open(bundle: Path) -> tuple[dict[str, Any], Run]:
    require_bundle(bundle)
    require_unchanged(bundle, [MANIFEST])
    manifest = read_manifest(bundle)
    # A bundle without the whole file may have one of fewer bits.
    name = next((n for n in (MODEL_ONNX, *sorted(manifest["files"])) if n in manifest["files"] and _is_onnx(n)), None)
    if name is None:
        raise BundleError(f"{bundle} has no {MODEL_ONNX}.", hint="Export the run with `--format onnx`.")
    require_unchanged(bundle, [name])
    file = bundle / name
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _WARNINGS_AND_ABOVE
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise VerificationError(
            f"onnxruntime {onnxruntime.__version__} cannot open {file}: {error}",
            hint="Update onnxruntime, or export the run again with a lower opset.",
        ) from error
    given = manifest["input"]["name"]
    return manifest, lambda rows: session.run(None, {given: rows})[0]


def _is_onnx(filename: str) -> bool:
    return filename.endswith(".onnx")


def _answers(path: Path, given: Input, run: Run, manifest: dict[str, Any], top: int) -> Iterator[Prediction]:
    starts = range(0, len(given.rows), _ROWS_AT_ONCE)
    outputs = np.concatenate([run(given.rows[start : start + _ROWS_AT_ONCE]) for start in starts])
    if manifest["task"] != "classification":
        for row, values in enumerate(outputs):
            yield Prediction(source=str(path), row=row, values=tuple(float(value) for value in values))
        return
    names = manifest["class_names"] or [str(index) for index in range(outputs.shape[1])]
    shares = outputs if manifest["output"]["name"] == "probabilities" else softmax(outputs)
    best = np.argsort(-shares, axis=1, kind="stable")[:, :top]
    for row, classes in enumerate(best):
        yield Prediction(source=str(path), row=row, top=tuple((names[c], float(shares[row, c])) for c in classes))


def softmax(logits: Array) -> Array:
    """exp(z) / sum exp(z) over the last axis, without overflow.

    >>> softmax(np.array([[1000.0, 1000.0]]))
    array([[0.5, 0.5]])
    """
    powers: Array = np.exp(logits - logits.max(-1, keepdims=True))
    shares: Array = powers / powers.sum(-1, keepdims=True)
    return shares
