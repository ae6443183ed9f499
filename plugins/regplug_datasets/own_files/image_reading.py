"""Decodes images: orientation, colours, size.

Shape letters: B images, C channels, H height, W width.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from regplug.data import Array, LazyRows, Reader, Split
from regplug.errors import DataError, some_of
from regplug.pixels import eight_bits

GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")

BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are no whole images."""


class ImageReader(Reader):
    """Decodes image files as uint8 `(C, H, W)`.

    Args:
        paths: The files.
        shape: Shape of each decoded image.
        fit: How another size is changed: `crop` or `squash`.
    """

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int, int], fit: str) -> None:
        super().__init__(shape, np.uint8)
        self.paths, self._fit = list(map(str, paths)), fit

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int) -> Array:
        """Returns one image.

        Raises:
            DataError: The file is no whole image.
        """
        path = Path(self.paths[row])
        try:
            return pixels(path, self.shape, self._fit)
        except BROKEN as error:
            raise _refusal([fault(path, error)]) from error


def decoded(*splits: Split | None) -> tuple[Split, ...]:
    """Returns splits of lazy rows with their images in memory; `None` stays `None`.

    Raises:
        DataError: Files are no whole images; names all of them.
    """
    bad: list[str] = []
    kept = [split if split is None else Split(x=_images(split.x, bad), y=split.y) for split in splits]
    refuse_bad(bad)
    return tuple(kept)  # type: ignore[arg-type] # None stays where it was


def _images(rows: LazyRows, bad: list[str]) -> Array:
    x_BCHW = np.empty(rows.shape, np.uint8)

    def decode(at: int) -> None:
        try:
            x_BCHW[at] = rows.reader.read(int(rows.rows[at]))
        except DataError as error:
            bad.append(error.message.partition(": ")[2].rstrip("."))

    with ThreadPoolExecutor(num_workers()) as pool:
        list(pool.map(decode, range(len(rows))))
    return x_BCHW


def pixels(path: Path, shape: Sequence[int], fit: str) -> Array:
    """Returns one image `(C, H, W)`, turned upright."""
    with Image.open(path) as opened:
        return arranged(opened, shape, fit)


def arranged(opened: Image.Image, shape: Sequence[int], fit: str) -> Array:
    """Returns an image as uint8 `(C, H, W)`, turned upright, with these channels and of this size."""
    channels, height, width = shape
    image = ImageOps.exif_transpose(opened)
    image = eight_bits(image).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        bicubic = Image.Resampling.BICUBIC
        if fit == "crop":
            image = ImageOps.fit(image, (width, height), bicubic)
        else:
            image = image.resize((width, height), bicubic)
    array = np.asarray(image)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def fault(path: Path, error: Exception) -> str:
    """Names a file that cannot be decoded, and why."""
    return f"{path} ({'it is empty' if not path.stat().st_size else type(error).__name__})"


def refuse_bad(bad: Sequence[str]) -> None:
    """Raises one `DataError` for all files that cannot be decoded; none if there is no such file."""
    if bad:
        raise _refusal(bad)


def _refusal(bad: Sequence[str]) -> DataError:
    one = "file is no whole image" if len(bad) == 1 else "files are no whole images"
    return DataError(f"{len(bad)} {one}: {some_of(sorted(bad))}.", hint="Repair or remove them.")


def num_workers() -> int:
    """Returns the number of threads that decode."""
    return min(8, os.cpu_count() or 1)
