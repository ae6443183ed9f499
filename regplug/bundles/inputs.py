"""Reads files with arrays, tables and images as raw input of a bundle. numpy only; Pillow for images."""

from __future__ import annotations

import csv
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.archives import extent_in
from regplug.bundles.formats import Array
from regplug.bundles.input_hints import range_notes, raw_hint, shape_hint
from regplug.bundles.rows import extra_notes, preparation_of, prepare_cells, read_parquet
from regplug.errors import BundleError, some_of
from regplug.pixels import eight_bits
from regplug.tables.delimiters import ENCODING, first_line, likely_delimiter
from regplug.tables.preparation import Preparation

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_IMAGE_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_TURNED = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, struct.error, zlib.error)
"""What Pillow raises for files that are no whole images, apart from its own errors."""
_FULL_SCALE = 255.0
_MOST_OF_16_BITS = 65535


@dataclass(frozen=True, kw_only=True)
class InputForm:
    """The input of a bundle, from its manifest.

    Args:
        name: Name of the graph's input.
        layout: `image`, `row` or `array`.
        dtype: dtype of the raw input.
        shape: Shape without the batch axis.
        range: Smallest and largest raw value, or `None`.
        columns: Column names of rows; empty if unknown.
        preparation: What happens to a row of a table before the files take it; `None` if nothing does.
    """

    name: str
    layout: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    range: tuple[float, float] | None
    columns: tuple[str, ...]
    preparation: Preparation | None = None

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> InputForm:
        """Reads it from a manifest."""
        part, preparation = manifest["input"], preparation_of(manifest)
        columns = tuple(manifest.get("column_names") or ()) if preparation is None else preparation.names
        return cls(
            name=part["name"],
            layout=part["layout"],
            dtype=np.dtype(part["dtype"]),
            shape=tuple(part["shape"][1:]),
            range=None if part["range"] is None else (part["range"][0], part["range"][1]),
            columns=columns,
            preparation=preparation,
        )

    def __str__(self) -> str:
        if self.preparation is not None:
            return f"rows of {len(self.columns)} columns of a table, or of {self.shape[0]} prepared numbers"
        if self.layout == "image":
            return f"images of {self.dtype} (batch, {', '.join(map(str, self.shape))})"
        if self.layout == "array":
            return f"arrays of {self.dtype} (batch, {', '.join(map(str, self.shape))})"
        return f"rows of {self.shape[0]} {self.dtype} numbers"


@dataclass(frozen=True, kw_only=True)
class Input:
    """The content of one file.

    Args:
        rows: Raw rows `(B, ...)` in the bundle's dtype.
        notes: Conversions and warnings for the user.
    """

    rows: Array
    notes: tuple[str, ...] = ()


def files_in(folder: Path, form: InputForm) -> tuple[list[Path], int]:
    """Returns the files in a folder and its subfolders that a bundle may take, sorted, and the number of others.

    Hidden files and folders are passed over.

    Raises:
        BundleError: There is none.
    """
    visible = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path, folder)]
    tables = (".csv", ".tsv", *((".parquet", ".pq") if form.preparation is not None else ()))
    suffixes = (".npy", ".npz", *{"image": IMAGE_SUFFIXES, "row": tables}.get(form.layout, ()))
    found = [path for path in visible if path.suffix.lower() in suffixes]
    if not found:
        raise BundleError(
            f"The folder {folder} has no file that this bundle takes: {form}.",
            hint=f"Give {', '.join(suffixes)} files.",
        )
    return found, len(visible) - len(found)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def read_input(path: Path, form: InputForm) -> Input:
    """Reads one file as raw input.

    Args:
        path: `.npy`, `.npz`, `.csv`, or an image.
        form: The input of the bundle.

    Raises:
        BundleError: The file cannot be read, or does not fit; the message says what is needed.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise BundleError(f"There is no file {path}.", hint="Give .npy, .npz, .csv or image files.")
    if suffix in (".npy", ".npz"):
        return checked(path, _read_array(path, form), form)
    if suffix in (".csv", ".tsv"):
        return _read_csv(path, form)
    if suffix in (".parquet", ".pq") and form.preparation is not None:
        numbers, notes = read_parquet(path, form.preparation)
        return Input(rows=numbers, notes=notes)
    if suffix in IMAGE_SUFFIXES:
        return read_image(path, form)
    raise BundleError(
        f"{path} has a file type that predict does not read.", hint="Give .npy, .npz, .csv or image files."
    )


def _read_array(path: Path, form: InputForm) -> Array:
    try:
        return _loaded(path, form)
    except MemoryError:
        raise BundleError(f"{path} does not fit into memory.", hint="Split it into several files.") from None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        # numpy suggests loading pickled objects, which would run any code in the file.
        if "Object arrays" in str(error):
            message = f"{path} contains Python objects, not numbers; this bundle takes {form}."
            raise BundleError(message, hint="Save numbers: numpy.save(path, array.astype(float)).") from None
        reason = "it has another file header" if "pickle" in str(error) else str(error)
        raise BundleError(f"{path} is not an array file: {reason}.", hint="Write it with numpy.save.") from None


def _loaded(path: Path, form: InputForm) -> Array:
    # numpy does not close a file that it cannot read.
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else _chosen(path, loaded, form)


def _chosen(path: Path, loaded: Any, form: InputForm) -> Array:
    """Returns the only array of an archive, or the one with the name of the bundle's input."""
    names = list(loaded.files)
    wanted = names[0] if len(names) == 1 else form.name
    if wanted not in names:
        raise BundleError(
            f"{path} contains {', '.join(names) or 'no array'}; none is named {form.name!r}.",
            hint=f"Save a single array, or name it {form.name!r}.",
        )
    extent = extent_in(path, wanted)
    if extent.dtype.hasobject or form.shape in (extent.shape, extent.shape[1:]):
        array: Array = loaded[wanted]
        return array
    # Its shape is refused without unpacking gigabytes.
    return np.broadcast_to(np.zeros((), extent.dtype), extent.shape)


def checked(path: Path, array: Array, form: InputForm) -> Input:
    """Checks an array against the input of a bundle, and converts it to the input's dtype.

    Args:
        path: Where it comes from, for messages.
        array: Rows `(B, ...)`, or one row.
        form: The input of the bundle.

    Raises:
        BundleError: It does not fit.
    """
    rows = array[None] if array.shape == form.shape else array
    if rows.dtype.kind not in "buif":
        raise BundleError(f"{path} contains {rows.dtype}; this bundle takes {form}.", hint="Give numbers.")
    if rows.shape[1:] != form.shape or not rows.ndim:
        raise BundleError(f"{path} has shape {array.shape}; this bundle takes {form}.", hint=shape_hint(array, form))
    if not len(rows):
        raise BundleError(f"{path} has no rows: its shape is {array.shape}.", hint="Give at least one row.")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        row = int(np.argmax(~np.isfinite(rows).reshape(len(rows), -1).all(1)))
        raise BundleError(f"{path}: row {row} has NaN or infinity.", hint="Fill in a value, or leave the row out.")
    return Input(rows=_converted(path, rows, form), notes=range_notes(path, rows, form))


def _converted(path: Path, rows: Array, form: InputForm) -> Array:
    if rows.dtype == form.dtype:
        return np.ascontiguousarray(rows)
    if form.dtype.kind in "ui":
        limits = np.iinfo(form.dtype)
        if rows.dtype.kind == "f" or rows.min() < limits.min or rows.max() > limits.max:
            raise BundleError(
                f"{path} contains {rows.dtype} from {rows.min():.6g} to {rows.max():.6g}; this bundle takes {form}.",
                hint=raw_hint(rows, form),
            )
    with np.errstate(over="ignore"):
        converted = np.ascontiguousarray(rows.astype(form.dtype))
    if form.dtype.kind == "f" and not np.isfinite(converted).all():
        row = int(np.argmax(~np.isfinite(converted).reshape(len(rows), -1).all(1)))
        raise BundleError(f"{path}: row {row} has a number that {form.dtype} cannot hold.", hint="Check its unit.")
    return converted


def _read_csv(path: Path, form: InputForm) -> Input:
    if form.layout != "row":
        raise BundleError(f"{path} is a table; this bundle takes {form}.", hint="Give an image or an .npy file.")
    try:
        with path.open(newline="", encoding=ENCODING) as file:
            sign = likely_delimiter(first_line(file))
            file.seek(0)
            reader = csv.reader(file, delimiter=sign)
            lines = [(reader.line_num, line) for line in reader if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BundleError(f"{path} cannot be read as a table: {error}", hint="Give UTF-8 text with commas.") from error
    if not lines:
        raise BundleError(f"{path} is empty.", hint=f"This bundle takes {form}.")
    header = None if all(map(_is_number, lines[0][1])) else [cell.strip() for cell in lines[0][1]]
    body = lines if header is None else lines[1:]
    columns = _columns(path, header, len(lines[0][1]), form)
    if not body:
        raise BundleError(f"{path} has a header but no rows.", hint=f"This bundle takes {form}.")
    width = len(lines[0][1])
    _require_even(path, body, width, "column names" if header else "cells of the first line")
    extra = () if header is None or not form.columns else extra_notes(path, header, form.columns)
    if form.preparation is not None:
        cells = [[line[at] for at, _ in columns] for _, line in body]
        rows, notes = prepare_cells(path, lambda row: f"{path}, line {body[row][0]}", cells, form.preparation)
        return Input(rows=rows, notes=(*extra, *notes))
    read = checked(path, np.array([_numbers(path, number, line, columns) for number, line in body]), form)
    return Input(rows=read.rows, notes=(*extra, *read.notes))


def _require_even(path: Path, lines: Sequence[tuple[int, list[str]]], width: int, above: str) -> None:
    """Refuses a line with more or fewer cells than the first one, as training does."""
    uneven = next(((number, len(line)) for number, line in lines if len(line) != width), None)
    if uneven is not None:
        number, cells = uneven
        raise BundleError(
            f"{path}, line {number}: {cells} cell{'s' * (cells != 1)} under {width} {above}.",
            hint="Every line must have the same number of cells. Is the file cut off, or is there a decimal comma?",
        )


def _columns(path: Path, header: Sequence[str] | None, width: int, form: InputForm) -> list[tuple[int, str]]:
    """Returns position and name of each column of the model, in the model's order."""
    needed = form.shape[0] if form.preparation is None else len(form.columns)
    if header is not None and form.columns:
        missing = [name for name in form.columns if name not in header]
        if missing:
            raise BundleError(
                f"{path} lacks the column{'s' if len(missing) > 1 else ''} {some_of(missing)}.",
                hint=f"This bundle takes the columns {some_of(form.columns)}, in any order.",
            )
        twice = [name for name in form.columns if header.count(name) > 1]
        if twice:
            raise BundleError(f"{path} has the column {twice[0]!r} twice.", hint="Leave one of them out.")
        return [(header.index(name), name) for name in form.columns]
    if width != needed:
        raise BundleError(f"{path} has {width} columns; this bundle takes {form}.", hint=_columns_hint(form))
    names = header or form.columns or [str(position + 1) for position in range(width)]
    return list(enumerate(names))


def _columns_hint(form: InputForm) -> str:
    return f"They are {', '.join(form.columns)}." if form.columns else "Leave out the target and every index."


def _numbers(path: Path, number: int, line: Sequence[str], columns: Sequence[tuple[int, str]]) -> list[float]:
    values = []
    for position, name in columns:
        cell = line[position].strip()
        if not cell:
            raise BundleError(
                f"{path}, line {number}, column {name!r} is empty.", hint="Fill in a value, or leave the row out."
            )
        if not _is_number(cell):
            is_comma = _is_number(cell.replace(",", "."))
            hint = "Write decimals with a point: 1.5." if is_comma else "Every column must be a number."
            raise BundleError(f"{path}, line {number}, column {name!r}: {cell!r} is not a number.", hint=hint)
        values.append(float(cell))
    return values


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def read_image(path: Path, form: InputForm, content: bytes | None = None) -> Input:
    """Reads an image as one raw row.

    Args:
        path: Its file, or its name for messages.
        form: The input of the bundle.
        content: The file's bytes; by default they are read from `path`.

    Raises:
        BundleError: It cannot be read, or does not fit.
    """
    if form.layout != "image":
        raise BundleError(f"{path} is an image; this bundle takes {form}.", hint="Give a .csv or an .npy file.")
    channels, height, width = form.shape
    if channels not in _IMAGE_MODES:
        raise BundleError(f"No image file has {channels} channels.", hint=f"Give an .npy file: {form}.")
    # Only images need Pillow; predicting from a table must not import it.
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow only warns of an image that unpacks to gigabytes; its size is checked before it is unpacked.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path if content is None else io.BytesIO(content)) as image:
                upright = _upright(path, image, (width, height))
                pixels = np.asarray(_shallow(path, upright, form).convert(_IMAGE_MODES[channels]))
    except (*_BROKEN, Image.DecompressionBombError) as error:
        reason = "it is not an image" if content is not None and isinstance(error, UnidentifiedImageError) else error
        raise BundleError(f"{path} cannot be read as an image: {reason}", hint="Give a PNG or JPEG file.") from error
    return _scaled(path, pixels.reshape(height, width, channels).transpose(2, 0, 1)[None], form)


def _shallow(path: Path, image: Any, form: InputForm) -> Any:
    """Returns an image with 8 bits per pixel, as in training, which has no conversion for other deep images."""
    if not image.mode.startswith(("I", "F")):
        return image
    is_16_bits = image.mode.startswith("I;16") or (image.mode == "I" and _is_within_16_bits(image))
    if form.dtype != np.uint8 or not is_16_bits:
        raise BundleError(
            f"{path} has more than {16 if form.dtype == np.uint8 else 8} bits per pixel ({image.mode}).",
            hint="Give an 8-bit image or an .npy file.",
        )
    return eight_bits(image)


def _is_within_16_bits(image: Any) -> bool:
    low, high = image.getextrema()
    return bool(low >= 0 and high <= _MOST_OF_16_BITS)


def _upright(path: Path, image: Any, size: tuple[int, int]) -> Any:
    """Turns an image as its EXIF orientation says, as in training; its size is checked before it is unpacked."""
    from PIL import ImageOps

    if image.size != size[::-1]:
        _require_size(path, image.size, size)
    upright = ImageOps.exif_transpose(image)
    _require_size(path, upright.size, size)
    return upright


def image_size(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """Returns width and height of an image, turned upright, without unpacking it.

    Args:
        path: Its file, or its name for messages.
        content: The file's bytes; by default they are read from `path`.

    Raises:
        BundleError: It is not an image.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path if content is None else io.BytesIO(content)) as image:
                width, height = image.size
                # The method of its own that a PNG file has would unpack the image.
                orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except (*_BROKEN, Image.DecompressionBombError) as error:
        reason = "it is not an image" if content is not None and isinstance(error, UnidentifiedImageError) else error
        raise BundleError(f"{path} cannot be read as an image: {reason}", hint="Give a PNG or JPEG file.") from error
    return (height, width) if orientation in _TURNED else (width, height)


def _require_size(path: Path, size: tuple[int, int], wanted: tuple[int, int]) -> None:
    if size != wanted:
        raise BundleError(
            f"{path} is {size[0]} x {size[1]} pixels; this bundle takes {wanted[0]} x {wanted[1]} (width x height).",
            hint="Crop or resize it yourself: cropping or blurring changes the prediction.",
        )


def _scaled(path: Path, pixels: Array, form: InputForm) -> Input:
    """Scales pixels to the model's raw units: 255 in a file is the largest value of the model's range."""
    if form.range is None or form.range == (0.0, _FULL_SCALE):
        return Input(rows=np.ascontiguousarray(pixels.astype(form.dtype)))
    low, high = form.range
    values = low + pixels * ((high - low) / _FULL_SCALE)
    rows = np.rint(values) if form.dtype.kind in "ui" else values
    note = f"{path.name}: pixels of 0 to 255 were scaled to the model's range {low:g} to {high:g}."
    return Input(rows=np.ascontiguousarray(rows.astype(form.dtype)), notes=(note,))
