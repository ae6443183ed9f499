"""Reads files as raw inputs of a bundle with several inputs, or with symbolic axes. numpy only; Pillow for images."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from regplug.bundles.formats import Array
from regplug.bundles.inputs import IMAGE_SUFFIXES, Input, InputForm, checked, image_size, read_image
from regplug.bundles.named.signature import Axis, InputPart, Signature, label_of, sizes_in
from regplug.errors import BundleError, some_of

_SUFFIXES = (".npz", ".json")


def suffixes_of(signature: Signature) -> tuple[str, ...]:
    """Returns the suffixes of files that a bundle takes."""
    if len(signature.inputs) > 1:
        return _SUFFIXES
    return (*_SUFFIXES, ".npy", *(IMAGE_SUFFIXES if takes_images(signature) else ()))


def read_named(path: Path, signature: Signature) -> tuple[dict[str, Array], list[str]]:
    """Reads one file.

    Args:
        path: `.npz` with an array for each input; `.json` with an object of lists for each input, or a list of
            objects, one for each row; for a single input also `.npy` or an image.
        signature: The bundle's inputs and axes.

    Returns:
        Rows `(B, ...)` by input, and notes for the user.

    Raises:
        BundleError: The file cannot be read, or does not fit; the message says what is needed.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise BundleError(f"There is no file {path}.", hint=f"Give {', '.join(suffixes_of(signature))} files.")
    if suffix not in suffixes_of(signature):
        raise BundleError(
            f"{path} has a file type that this bundle does not take: it takes {form_words(signature)}.",
            hint=f"Give {', '.join(suffixes_of(signature))} files: an array for each input, by its name.",
        )
    if suffix in IMAGE_SUFFIXES:
        return read_named_image(path, signature)
    arrays = _json_arrays(path) if suffix == ".json" else _numpy_arrays(path, signature)
    return checked_inputs(str(path), arrays, signature)


def form_words(signature: Signature) -> str:
    """Returns all inputs in words."""
    return "; ".join(map(str, signature.inputs))


def _numpy_arrays(path: Path, signature: Signature) -> dict[str, Array]:
    known = {part.name for part in signature.inputs}
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {signature.inputs[0].name: loaded}
            # Other arrays are named in a note, not read.
            return {name: loaded[name] if name in known else np.zeros(0) for name in loaded.files}
    except MemoryError:
        raise BundleError(f"{path} does not fit into memory.", hint="Split it into several files.") from None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        reason = "it holds Python objects" if "Object arrays" in str(error) else str(error)
        reason = "it has another file header" if "pickle" in reason else reason
        raise BundleError(f"{path} is not an array file: {reason}.", hint="Write it with numpy.savez.") from None


def _json_arrays(path: Path) -> dict[str, Array]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not JSON: {error}.", hint='Give {"input": [row, row]} by name.') from None
    return json_arrays(str(path), document)


def json_arrays(where: str, document: Any) -> dict[str, Array]:
    """Returns the arrays of an object of lists by input, or of a list of objects, one for each row.

    Raises:
        BundleError: It is something else.
    """
    if isinstance(document, list) and document and all(isinstance(row, dict) for row in document):
        names = list(document[0])
        uneven = next((at for at, row in enumerate(document) if set(row) != set(names)), None)
        if uneven is not None:
            raise BundleError(f"{where}: row {uneven} has other inputs than row 0.", hint=f"Each row needs {names}.")
        document = {name: [row[name] for row in document] for name in names}
    if not isinstance(document, dict):
        raise BundleError(f"{where} is not a JSON object.", hint='Give {"input": [row, row]} by name.')
    return {name: _array(where, name, value) for name, value in document.items()}


def _array(where: str, name: str, value: Any) -> Array:
    try:
        return np.array(value)
    except (ValueError, OverflowError):
        raise BundleError(
            f"{where}: {name!r} is not an array: its rows have different shapes.",
            hint="All rows of one file need one size; write rows of other sizes to another file.",
        ) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def takes_images(signature: Signature) -> bool:
    """Returns whether a file of an image is a whole row: there is one input, and it is an image."""
    return len(signature.inputs) == 1 and signature.inputs[0].layout == "image"


def read_named_image(
    path: Path, signature: Signature, content: bytes | None = None
) -> tuple[dict[str, Array], list[str]]:
    """Reads an image as one row, at its own size if the axes are symbolic.

    Args:
        path: Its file, or its name for messages.
        signature: The bundle's only input, and its axes.
        content: The file's bytes; by default they are read from `path`.

    Raises:
        BundleError: It cannot be read, or does not fit.
    """
    part = signature.inputs[0]
    width, height = image_size(path, content)
    shape = tuple(
        size if isinstance(axis, str) else axis for axis, size in zip(part.shape, (0, height, width), strict=True)
    )
    _require_sizes(str(path), part, shape, signature.axes, {})
    read = read_image(path, _form(part, shape), content)
    rows = {part.name: read.rows}
    return rows, [*read.notes, *_unchecked(str(path), sizes_in(rows, signature.inputs), signature.axes)]


def checked_inputs(where: str, arrays: Mapping[str, Array], signature: Signature) -> tuple[dict[str, Array], list[str]]:
    """Checks arrays against the inputs of a bundle, and converts them to the inputs' dtypes.

    Args:
        where: Where they come from, for messages.
        arrays: Rows `(B, ...)` by input.
        signature: The bundle's inputs and axes.

    Raises:
        BundleError: An input is missing or does not fit, or an axis is out of its range.
    """
    read = fitted_inputs(where, arrays, signature.inputs, signature.axes)
    extra = [name for name in arrays if name not in read]
    notes = [f"{where}: not used: {some_of(extra)}."] if extra else []
    notes += [note for one in read.values() for note in one.notes]
    rows = {name: one.rows for name, one in read.items()}
    return rows, [*notes, *_unchecked(where, sizes_in(rows, signature.inputs), signature.axes)]


def fitted_inputs(
    where: str, arrays: Mapping[str, Array], inputs: Sequence[InputPart], axes: Sequence[Axis]
) -> dict[str, Input]:
    """Checks arrays against inputs, and converts them to the inputs' dtypes.

    Args:
        where: Where they come from, for messages.
        arrays: Rows `(B, ...)` by input.
        inputs: The inputs.
        axes: The symbolic axes.

    Returns:
        The rows of each input by name, with notes.

    Raises:
        BundleError: An input is missing or does not fit, or an axis is out of its range.
    """
    names = [part.name for part in inputs]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise BundleError(
            f"{where} lacks the input{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}; it has "
            f"{some_of(list(arrays)) or 'nothing'}.",
            hint=f"Give an array for each input, by its name: {'; '.join(map(str, inputs))}.",
        )
    sizes: dict[str, int] = {}
    for part in inputs:
        _require_rank(where, part, arrays[part.name])
        _require_sizes(where, part, arrays[part.name].shape[1:], axes, sizes)
    rows = {name: len(arrays[name]) for name in names}
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise BundleError(f"{where}: the inputs have different numbers of rows: {told}.", hint="Give the same rows.")
    return {part.name: _checked(where, part, arrays[part.name]) for part in inputs}


def _checked(where: str, part: InputPart, array: Array) -> Input:
    return checked(Path(f"{where}[{part.name}]"), array, _form(part, array.shape[1:]))


def _form(part: InputPart, shape: Sequence[int]) -> InputForm:
    return InputForm(
        name=part.name, layout=part.layout, dtype=part.dtype, shape=tuple(shape), range=part.range, columns=()
    )


def _require_rank(where: str, part: InputPart, array: Array) -> None:
    if array.dtype.kind not in "buif":
        raise BundleError(f"{where}: {part.name!r} holds more than numbers; it takes {part}.", hint="Give numbers.")
    if array.ndim != 1 + len(part.shape):
        raise BundleError(
            f"{where}: {part.name!r} has shape {array.shape}, with {array.ndim} axes; this bundle takes {part}.",
            hint="The first axis is the batch, also for a single row: array[None].",
        )


def _require_sizes(
    where: str, part: InputPart, shape: Sequence[int], axes: Sequence[Axis], sizes: dict[str, int]
) -> None:
    """Checks the axes of an input, and collects the sizes of symbolic ones."""
    known = {axis.name: axis for axis in axes}
    for wanted, size in zip(part.shape, shape, strict=True):
        if isinstance(wanted, str) and not known[wanted].allows(size):
            raise BundleError(
                f"{where}: {part.name!r} has {size} along the axis {wanted!r}; {known[wanted].words} is allowed.",
                hint="Cut, pad or resize it yourself, or export the model with a wider range.",
            )
        if isinstance(wanted, str) and sizes.setdefault(wanted, size) != size:
            raise BundleError(
                f"{where}: the axis {wanted!r} has size {sizes[wanted]} in one input and {size} in {part.name!r}.",
                hint="Inputs that share an axis need the same size along it.",
            )
        if not isinstance(wanted, str) and wanted != size:
            raise BundleError(
                f"{where}: {part.name!r} has shape (batch, {', '.join(map(str, shape))}); this bundle takes {part}.",
                hint="Only named axes have a free size.",
            )


def _unchecked(where: str, sizes: Mapping[str, int], axes: Sequence[Axis]) -> list[str]:
    """Returns a note on sizes beyond those at which the files were checked."""
    beyond = {axis.name: sizes[axis.name] for axis in axes if sizes[axis.name] > max(axis.checked)}
    most = {axis.name: max(axis.checked) for axis in axes if axis.name in beyond}
    return [f"{where}: {label_of(beyond)}; the files were checked up to {label_of(most)}."] if beyond else []
