"""Reads the body of a request as raw rows, and checks them against the bundle's manifest."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from regplug.bundles.inputs import Input, InputForm, checked, read_image
from regplug.bundles.rows import extra_notes, prepare_cells
from regplug.errors import BundleError, some_of
from regplug.tables.preparation import Column

TOP = 3
"""Default number of most probable classes."""

_KEYS = ("rows", "inputs", "images")
_HINT = 'Give one of {"rows": [{"COLUMN": value}]}, {"inputs": [[numbers]]} or {"images": ["base64"]}.'
_MOST_DIGITS = 400
"""Digits of the longest number; Python refuses to read far longer ones, and no float needs as many."""
_MANY_DIGITS = re.compile(rb"[0-9]{%d}" % _MOST_DIGITS)


class MalformedError(ValueError):
    """The body is not what its content type says."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks.

    Args:
        rows: Raw rows `(B, ...)`; with several inputs rows of each of them.
        sources: The name of each row's file; empty strings if there are none.
        notes: Conversions, and warnings.
        top: Number of most probable classes.
    """

    rows: Any
    sources: Sequence[str]
    notes: Sequence[str]
    top: int = TOP


def read_json_body(body: bytes, form: InputForm) -> Asked:
    """Reads a JSON body.

    Args:
        body: The bytes.
        form: The input of the bundle.

    Raises:
        MalformedError: It is not JSON.
        BundleError: It does not fit the bundle.
    """
    document = parsed_object(body, _HINT)
    unknown = [key for key in document if key not in (*_KEYS, "top")]
    given = [key for key in _KEYS if key in document]
    if unknown or len(given) != 1:
        told = f"unknown keys: {some_of(unknown)}" if unknown else f"{', '.join(given) or 'none'} of the inputs"
        raise BundleError(f"The body has {told}; exactly one of {', '.join(_KEYS)} is needed.", hint=_HINT)
    key = given[0]
    if not isinstance(document[key], list):
        raise BundleError(f"{key} is not a list.", hint=_HINT)
    if not document[key]:
        raise BundleError(f"{key} is empty.", hint="Give at least one row.")
    top = top_of(document.get("top", TOP))
    read = {"rows": _rows, "inputs": _inputs, "images": _images}[key](document[key], form)
    return Asked(rows=read.rows, sources=[""] * len(read.rows), notes=read.notes, top=top)


def read_files(files: Sequence[tuple[str, bytes]], form: InputForm) -> Asked:
    """Reads image files.

    Args:
        files: Name and content of each.
        form: The input of the bundle.

    Raises:
        BundleError: There is none, or one does not fit the bundle.
    """
    if form.layout != "image":
        raise BundleError(f"Files were sent, but this bundle takes {form}.", hint="Send JSON.")
    if not files:
        raise BundleError("The form has no file.", hint="Send images as files: curl -F image=@1.png URL.")
    read = _joined([read_image(Path(name or "image"), form, content) for name, content in files])
    return Asked(rows=read.rows, sources=[name for name, _ in files], notes=read.notes)


def parsed_object(body: bytes, hint: str) -> dict[str, Any]:
    """Returns the JSON object of a body.

    Raises:
        MalformedError: It is not JSON.
        BundleError: It is not an object.
    """
    document = _parsed(body)
    if not isinstance(document, dict):
        raise BundleError("The body is not a JSON object.", hint=hint)
    return document


def _parsed(body: bytes) -> Any:
    try:
        # Calling a function for each number would take half of the time.
        whole = _whole if _MANY_DIGITS.search(body) else None
        return json.loads(body, object_pairs_hook=_mapping, parse_constant=_refuse, parse_int=whole)
    except RecursionError:
        raise MalformedError("it has too many levels") from None
    except ValueError as error:
        raise MalformedError(str(error)) from None


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("an object has a key twice")
    return mapping


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def top_of(value: Any) -> int:
    """Returns the number of most probable classes that a body asks for.

    Raises:
        BundleError: It is not a number of classes.
    """
    if type(value) is not int or value < 1:
        raise BundleError(f"top is {value!r}.", hint="Give a whole number of at least 1.")
    return value


def _inputs(values: list[Any], form: InputForm) -> Input:
    try:
        array = np.array(values)
    except (ValueError, OverflowError):
        raise BundleError(
            f"inputs is not an array; this bundle takes {form}.", hint="All rows need one shape."
        ) from None
    if array.dtype.kind not in "buif":
        raise BundleError(f"inputs holds more than numbers; this bundle takes {form}.", hint="Give finite numbers.")
    return checked(Path("inputs"), array, form)


def _images(texts: list[Any], form: InputForm) -> Input:
    return _joined([read_image(Path(name), form, content) for name, content in decoded_images(texts)])


def decoded_images(texts: Sequence[Any]) -> list[tuple[str, bytes]]:
    """Returns name and content of image files in base64.

    Raises:
        BundleError: One is not base64.
    """
    images = []
    for at, text in enumerate(texts):
        name = f"images[{at}]"
        try:
            content = base64.b64decode(text.encode() if isinstance(text, str) else b"?", validate=True)
        except (binascii.Error, ValueError):
            raise BundleError(f"{name} is not base64.", hint="Encode the bytes of a PNG or JPEG file.") from None
        images.append((name, content))
    return images


def has_images(body: bytes) -> bool:
    """Returns whether a JSON body may hold images in base64."""
    # With a backslash, or in UTF-16, their key is written in another way.
    return any(text in body for text in (b"images", b"\\", b"\0"))


def _rows(rows: list[Any], form: InputForm) -> Input:
    """Reads rows of a table by the names of their columns."""
    if form.layout != "row" or not form.columns:
        raise BundleError(f"The columns have no names; this bundle takes {form}.", hint='Use "inputs" or "images".')
    for at, row in enumerate(rows):
        _require_columns(at, row, form)
    extra = extra_notes(Path("rows"), dict.fromkeys(name for row in rows for name in row), form.columns)
    if form.preparation is None:
        numbers = [[_number(at, name, row[name]) for name in form.columns] for at, row in enumerate(rows)]
        read = checked(Path("rows"), np.array(numbers, np.float64), form)
        return Input(rows=read.rows, notes=(*extra, *read.notes))
    columns = [fitted.column for fitted in form.preparation.columns]
    cells = [[_cell(at, column, row[column.name]) for column in columns] for at, row in enumerate(rows)]
    prepared, notes = prepare_cells(Path("rows"), "rows[{}]".format, cells, form.preparation)
    return Input(rows=prepared, notes=(*extra, *notes))


def _require_columns(at: int, row: Any, form: InputForm) -> None:
    if not isinstance(row, Mapping):
        raise BundleError(f"rows[{at}] is not an object with the columns.", hint=_HINT)
    missing = [name for name in form.columns if name not in row]
    if missing:
        raise BundleError(
            f"rows[{at}] lacks the column{'s' if len(missing) > 1 else ''} {some_of(missing)}.",
            hint=f"This bundle takes the columns {some_of(form.columns)}, in any order.",
        )


def _number(at: int, name: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise BundleError(
            f"rows[{at}], column {name!r}: {json.dumps(value)} is not a number.", hint="Give a finite number."
        )
    try:
        return float(value)
    except OverflowError:
        raise BundleError(
            f"rows[{at}], column {name!r}: the number is too large.", hint="Give a finite number."
        ) from None


def _cell(at: int, column: Column, value: Any) -> str:
    """Returns a value as a table has it in text; null is an empty cell."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise BundleError(
            f"rows[{at}], column {column.name!r} is no text and no number.", hint="Give one value, or null."
        )
    return _truth(value, column) if isinstance(value, bool) else str(value)


def _truth(value: bool, column: Column) -> str:
    """Returns true or false as the training table had it, such as `True` of a data frame; else as JSON has it."""
    text = json.dumps(value)
    spellings = (text, text.capitalize(), text.upper())
    return next((spelling for spelling in spellings if spelling in column.categories), text)


def _joined(parts: Sequence[Input]) -> Input:
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return Input(rows=np.concatenate([part.rows for part in parts]), notes=tuple(notes))
