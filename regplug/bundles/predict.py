"""Predicts with a bundle, by default with onnxruntime and numpy: then it imports neither torch nor mlflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.calibration.answers import conformal_part, intervals_of, sets_of
from regplug.bundles.formats import Array, Run
from regplug.bundles.input_hints import merged_notes
from regplug.bundles.inputs import Input, InputForm, files_in, read_input
from regplug.bundles.layout import is_named
from regplug.bundles.named.predict import DECIDED, named_files, named_rows
from regplug.bundles.named.signature import Signature
from regplug.bundles.opening import OpenFile, open_file
from regplug.bundles.passes import mean_and_spread, not_finite, probabilities_or_values
from regplug.errors import BundleError, RequestError

PASSES = 20
"""Default number of random passes over which a stochastic bundle averages."""

_ROWS_AT_ONCE = 512
_PATTERN = "*?["
_FIELDS = {"classification": "top", "multilabel": "labels", "regression": "values"}
"""Task -> the field of a prediction that holds its answer."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The prediction for one row.

    Args:
        source: The row's file.
        row: Its index in the file, from 0.
        top: The most probable classes with their probabilities, in descending order; only of a classification.
        values: The values of a regression.
        labels: All labels with their probabilities, in the order of the manifest; only of a multilabel classification.
        spread: For a stochastic bundle: the standard deviation over the passes of each probability or value.
        prediction_set: For a conformal classification: the classes in the prediction set, the most probable first,
            which may be none; otherwise `None`.
        intervals: For a conformal regression: least and greatest plausible value, for each value.
        outputs: Every output by name, as numbers or nested lists; only of a bundle with named outputs. For a stochastic
            bundle: the mean over the passes.
        output_spreads: For a stochastic bundle with named outputs: the standard deviations of all outputs.
    """

    source: str
    row: int
    top: tuple[tuple[str, float], ...] = ()
    values: tuple[float, ...] = ()
    labels: tuple[tuple[str, float], ...] = ()
    spread: tuple[float, ...] = ()
    prediction_set: tuple[str, ...] | None = None
    intervals: tuple[tuple[float, float], ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    output_spreads: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The most probable class; an empty string for other tasks."""
        return self.top[0][0] if self.top else ""

    @property
    def present(self) -> tuple[str, ...]:
        """The labels with a probability above 0.5."""
        return tuple(name for name, probability in self.labels if probability > 0.5)

    def as_json(self) -> dict[str, Any]:
        """Returns the prediction as JSON."""
        answer = {"source": self.source, "row": self.row, **self._decided()}
        named = {"outputs": dict(self.outputs), "output_spreads": dict(self.output_spreads)}
        return answer | {name: value for name, value in named.items() if value}

    def _decided(self) -> dict[str, Any]:
        """Returns the answer to the task; nothing for a bundle without a task."""
        if self.values:
            more: dict[str, Any] = {"spread": list(self.spread)} if self.spread else {}
            more |= {"intervals": [list(ends) for ends in self.intervals]} if self.intervals else {}
            return {"values": list(self.values), **more}
        if self.labels:
            spreads = {"spread": dict(zip(dict(self.labels), self.spread, strict=True))} if self.spread else {}
            return {"labels": list(self.present), "probabilities": dict(self.labels), **spreads}
        if not self.top:
            return {}
        top = [{"label": label, "probability": probability} for label, probability in self.top]
        whole = {"label": self.label, "probability": self.top[0][1], "top": top}
        if self.prediction_set is not None:
            whole["set"] = list(self.prediction_set)
        if self.spread:
            whole["spread"] = self.spread[0]
            whole["top"] = [{**one, "spread": spread} for one, spread in zip(top, self.spread, strict=True)]
        return whole


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions for all rows of all files, in order.

    Args:
        task: `classification`, `multilabel` or `regression`; `None` for a bundle with named outputs and no classes.
        rows: One prediction per row.
        notes: Conversions of inputs, and warnings about them.
        passes: Number of averaged random passes; 0 if the bundle is not stochastic.
        coverage: Promised coverage of the prediction sets or intervals; 0 if the bundle is not conformal.
    """

    task: str | None
    rows: tuple[Prediction, ...]
    notes: tuple[str, ...] = ()
    passes: int = 0
    coverage: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Returns the document of `regplug predict --json`."""
        more = {"passes": self.passes} if self.passes else {"coverage": self.coverage} if self.coverage else {}
        rows = [row.as_json() for row in self.rows]
        return {"task": self.task, "predictions": rows, "notes": list(self.notes), **more}


def predict(
    bundle: Path, inputs: Sequence[Path], top: int = 3, passes: int | None = None, file_format: str | None = None
) -> Predictions:
    """Runs a bundle's model on files.

    Args:
        bundle: The bundle's folder. Its manifest and model must be the verified files.
        inputs: `.npy`, `.npz`, `.csv` or image files with raw values, or folders of them; `*`, `?` and `[...]` in a
            name match several.
        top: Number of most probable classes in a prediction, at least 1.
        passes: For a stochastic bundle: number of random passes to average, at least 2; 20 by default.
        file_format: The format of the file that predicts; by default the ONNX file does, in onnxruntime.

    Raises:
        BundleError: The folder is not a bundle or has no file of that format, or an input does not fit it; the message
            says what is needed.
        VerificationError: The manifest or the model is not the verified file.
        RequestError: `top` is below 1, there is no input, or `passes` is given for a bundle that is not stochastic.
    """
    if top < 1:
        raise RequestError(f"--top {top} selects no class.", hint="Give 1 or more.")
    if not inputs:
        raise RequestError("No input was given.", hint="Give .npy, .npz, .csv or image files.")
    opened = open_file(Path(bundle), file_format)
    manifest = opened.manifest
    if is_named(manifest):
        return _predict_named(opened, inputs, top, check_passes(Path(bundle), manifest, passes))
    run = opened.run()
    count = check_passes(Path(bundle), manifest, passes)
    form = InputForm.from_manifest(manifest)
    files, notes = _files(inputs, form)
    # A file with fewer bits may share one scale in a batch; then each input file is computed by itself.
    is_alone = "may_lose" in manifest["files"][opened.path.name]
    rows: list[Prediction] = []
    told: list[tuple[str, str]] = []
    for chunk in _in_chunks(files, form, 1 if is_alone else _ROWS_AT_ONCE):
        rows += _answers(chunk, run, manifest, top, count)
        told += [(path.name, note) for path, given in chunk for note in given.notes]
    notes += merged_notes(told)
    return whole_answer(rows, manifest, notes, count)


def whole_answer(
    rows: Iterable[Prediction], manifest: Mapping[str, Any], notes: Sequence[str], passes: int
) -> Predictions:
    """Returns the answer to all rows of a request.

    Args:
        rows: The prediction for each row.
        manifest: The bundle's manifest.
        notes: Conversions of inputs, and warnings about them.
        passes: Number of averaged random passes; 0 if the bundle is not stochastic.
    """
    live = f"dropout is live: means and standard deviations over {passes} passes, which vary from call to call."
    return Predictions(
        task=manifest["task"],
        rows=tuple(rows),
        notes=(*notes, live) if passes else tuple(notes),
        passes=passes,
        coverage=float((conformal_part(manifest) or {}).get("coverage", 0.0)),
    )


def _predict_named(opened: OpenFile, inputs: Sequence[Path], top: int, passes: int) -> Predictions:
    manifest, run = opened.manifest, opened.named_run()
    signature = Signature.from_manifest(manifest)
    files, notes = named_files([path for given in inputs for path in _matching(given)], signature)
    rows = tuple(
        named_prediction(source, row, outputs, manifest, top, spreads if passes else None)
        for source, row, outputs, spreads in named_rows(files, run, manifest, notes, passes)
    )
    return whole_answer(rows, manifest, notes, passes)


def named_prediction(
    source: str,
    row: int,
    outputs: Mapping[str, Array],
    manifest: dict[str, Any],
    top: int,
    spreads: Mapping[str, Array] | None = None,
) -> Prediction:
    """Returns the prediction for a row of a bundle with named outputs.

    Args:
        source: The row's file.
        row: Its index in the file.
        outputs: Its outputs by name, without the batch; with a task also those of `decided`.
        manifest: The bundle's manifest.
        top: Number of most probable classes.
        spreads: Standard deviations of the outputs, for a stochastic bundle.
    """
    more: dict[str, Any] = {"outputs": _listed(outputs)}
    more |= {} if spreads is None else {"output_spreads": _listed(spreads)}
    if manifest["task"] is None:
        return Prediction(source=source, row=row, **more)
    spread = None if spreads is None else spreads[DECIDED][None]
    (decided,) = predictions([(source, row)], outputs[DECIDED][None], spread, manifest, top)
    return replace(decided, **more)


def _listed(outputs: Mapping[str, Array]) -> dict[str, Any]:
    return {name: output.tolist() for name, output in outputs.items() if name != DECIDED}


def check_passes(bundle: Path, manifest: dict[str, Any], asked: int | None) -> int:
    """Returns the number of random passes; 0 for a bundle that is not stochastic.

    Raises:
        RequestError: Passes are asked of a bundle that is not stochastic, or fewer than 2.
    """
    if not manifest.get("stochastic"):
        if asked is not None:
            raise RequestError(
                f"--passes {asked}: {bundle} is not stochastic, so all passes give the same output.",
                hint="Leave it out, or export the run with --stochastic to keep dropout live.",
            )
        return 0
    if asked is not None and asked < 2:
        raise RequestError(f"--passes {asked} gives no spread.", hint=f"Give 2 or more; {PASSES} by default.")
    return asked or PASSES


def _files(inputs: Sequence[Path], form: InputForm) -> tuple[list[Path], list[str]]:
    """Returns the files that are named, match a pattern or are in a folder, and a note for each folder."""
    files: list[Path] = []
    notes: list[str] = []
    for given in inputs:
        if given.is_dir():
            found, left = files_in(given, form)
            files += found
            notes += [f"{given}: {left} files that the model does not take were left out."] if left else []
        else:
            files += _matching(given)
    return files, notes


def _matching(given: Path) -> list[Path]:
    """Returns the files that match a pattern, sorted; the name of an existing file is not a pattern."""
    if given.exists() or not set(given.name) & set(_PATTERN):
        return [given]
    found = sorted(path for path in given.parent.glob(given.name) if path.is_file())
    if not found:
        raise BundleError(f"No file matches {given}.", hint="Give .npy, .npz, .csv or image files.")
    return found


def _in_chunks(files: Sequence[Path], form: InputForm, most_rows: int) -> Iterator[list[tuple[Path, Input]]]:
    """Yields the files in parts with at least so many rows, so that not all need to fit into memory."""
    chunk: list[tuple[Path, Input]] = []
    for path in files:
        chunk.append((path, read_input(path, form)))
        if sum(len(given.rows) for _, given in chunk) >= most_rows:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _answers(
    chunk: Sequence[tuple[Path, Input]], run: Run, manifest: dict[str, Any], top: int, passes: int
) -> Iterator[Prediction]:
    def answer(rows: Array) -> Array:
        return probabilities_or_values(run(rows), manifest)

    rows = np.concatenate([given.rows for _, given in chunk])
    starts = range(0, len(rows), _ROWS_AT_ONCE)
    parts = [mean_and_spread(answer, rows[start : start + _ROWS_AT_ONCE], passes) for start in starts]
    outputs, spreads = (np.concatenate(part) for part in zip(*parts, strict=True))
    places = [(str(path), row) for path, given in chunk for row in range(len(given.rows))]
    wrong = ~np.isfinite(outputs).all(axis=1)
    if wrong.any():
        raise not_finite(*places[int(np.argmax(wrong))])
    return predictions(places, outputs, spreads if passes else None, manifest, top)


def predictions(
    places: Sequence[tuple[str, int]], outputs: Array, spreads: Array | None, manifest: dict[str, Any], top: int
) -> Iterator[Prediction]:
    """Yields the prediction for each row.

    Args:
        places: The file of each row, and its index in the file.
        outputs: Probabilities or values `(B, K)`.
        spreads: Their standard deviations `(B, K)`, for a stochastic bundle.
        manifest: The bundle's manifest.
        top: Number of most probable classes.
    """
    task, field = manifest["task"], _FIELDS[manifest["task"]]
    names = manifest["class_names"] or [str(index) for index in range(outputs.shape[1])]
    conformal = conformal_part(manifest)
    for at, values in enumerate(outputs):
        kept = np.argsort(-values, kind="stable")[:top] if task == "classification" else np.arange(len(values))
        answers = tuple(float(values[c]) if task == "regression" else (names[c], float(values[c])) for c in kept)
        spread = () if spreads is None else tuple(float(spreads[at][c]) for c in kept)
        source, row = places[at]
        more = {} if conformal is None else _conformal(values, conformal["thresholds"], task, names)
        yield Prediction(source=source, row=row, spread=spread, **{field: answers}, **more)  # type: ignore[arg-type]


def _conformal(values: Array, thresholds: Sequence[float], task: str, names: Sequence[str]) -> dict[str, Any]:
    """Returns the prediction set or the intervals of one row, from its probabilities or values `(K,)`."""
    if task == "regression":
        return {
            "intervals": tuple((float(low), float(high)) for low, high in intervals_of(values[None], thresholds)[0])
        }
    is_in = sets_of(values[None], thresholds[0])[0]
    return {"prediction_set": tuple(names[c] for c in np.argsort(-values, kind="stable") if is_in[c])}
