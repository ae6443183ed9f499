"""Hints for inputs that do not fit a bundle. numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regplug.bundles.formats import Array

if TYPE_CHECKING:
    from regplug.bundles.inputs import InputForm

_FULL_SCALE = 255.0


def shape_hint(array: Array, form: InputForm) -> str:
    """Returns how to turn an array of another shape into one that fits, if that is known."""
    if form.layout == "image" and array.shape[1:] == (*form.shape[1:], form.shape[0]) and form.shape[0] > 1:
        return "Its channels come last; they must come first: array.transpose(0, 3, 1, 2)."
    numbers = math.prod(form.shape)
    if array.size and numbers in (array.size, math.prod(array.shape[1:])):
        return f"If it holds {array.size // numbers} of them: array.reshape({(-1, *form.shape)})."
    return f"Give an array of shape (batch, {', '.join(map(str, form.shape))}), or of one row."


def raw_hint(rows: Array, form: InputForm) -> str:
    """Returns how to turn floating-point numbers into raw integer values."""
    limits = np.iinfo(form.dtype)
    low, high = form.range or (limits.min, limits.max)
    if limits.min <= rows.min() and rows.max() <= limits.max and (rows == np.rint(rows)).all():
        return f"If these are the raw values, {low:g} to {high:g}, convert them: array.astype('{form.dtype}')."
    return f"Give the raw values, {low:g} to {high:g}: normalisation is part of the model."


def range_notes(path: Path, rows: Array, form: InputForm) -> tuple[str, ...]:
    """Returns a warning about values outside the model's range, with a possible cause."""
    if form.range is None or (rows.min() >= form.range[0] and rows.max() <= form.range[1]):
        return ()
    low, high = form.range
    note = (
        f"{path.name}: values from {rows.min():.6g} to {rows.max():.6g} are outside the model's range "
        f"{low:g} to {high:g}"
    )
    if form.layout == "image" and rows.min() >= 0 and high < rows.max() <= _FULL_SCALE:
        scaled = f"array * {(high - low) / _FULL_SCALE:.6g}" + (f" + {low:g}" if low else "")
        whole = f"numpy.rint({scaled}).astype('{form.dtype}')" if form.dtype.kind in "ui" else scaled
        note += f"; pixels of 0 to 255 must be scaled to it: {whole}"
    return (f"{note}.",)


def merged_notes(notes: Sequence[tuple[str, str]]) -> list[str]:
    """Returns one note for all files of which the same is to be said.

    Args:
        notes: Name of a file, and a note that may start with it.

    >>> merged_notes([("a.png", "a.png: scaled."), ("b.png", "b.png: scaled."), ("c.png", "c.png: grey.")])
    ['a.png and 1 more: scaled.', 'c.png: grey.']
    """
    alike: dict[str, list[str]] = {}
    for name, note in notes:
        alike.setdefault(note.removeprefix(f"{name}: "), []).append(name if note.startswith(f"{name}: ") else "")
    merged = []
    for text, names in alike.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        merged.append(f"{names[0]}{more}: {text}" if names[0] else text)
    return merged
