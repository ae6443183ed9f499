"""Images in folders: one folder for each class, in folders for the splits or not.

Shape letters: B images, C channels, H height, W width.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from regplug.api import DataContext, Task
from regplug.data import Array, InputSpec, RawData, Split, split_indices
from regplug.errors import DataError, some_of
from regplug_datasets.own_files import ImagesParams

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
"""Names of a split's folder."""

MOST_BYTES = 0.5
"""Share of the machine's memory that the prepared images may take."""

_GREY_MODES = ("1", "L", "LA", "I", "I;16", "F")
_FLOAT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class _File:
    """An image before it is decoded.

    Args:
        path: Of the file.
        label: Number of its class.
        size: Width and height as they are shown, EXIF orientation applied.
        is_grey: Whether it has no colours.
    """

    path: Path
    label: int
    size: tuple[int, int]
    is_grey: bool


def images(params: ImagesParams, context: DataContext) -> RawData:
    """Returns the images of a folder as uint8 `(C, H, W)`; the name of a class is that of its folder.

    Folders `train`, `valid` and `test` are kept as splits; what is missing of the last two is taken from `train`, with
    the same share of each class. Images are turned as their EXIF orientation says. Where they have several sizes and
    none is asked for, all get the most frequent one.

    Raises:
        DataError: There is no image, only one class, a class that training lacks, a file that is no image, or more than
            the memory holds.
    """
    root = Path(params.path).expanduser()
    folders = _split_folders(root)
    names = _class_names(root, folders)
    found = {split: _files(folder, names, split) for split, folder in folders.items()}
    every = [file for files in found.values() for file in files]
    shape = _shape(params, every)
    _check_memory(root, len(every), shape)
    splits = {split: _decoded(files, shape, params.fit) for split, files in found.items()}
    train, valid, test = _parted(splits, params, context.data_seed)
    sizes = Counter(file.size for file in every)
    return RawData(
        name="images",
        train=train,
        valid=valid,
        test=test,
        task=Task(kind="classification", num_outputs=len(names), class_names=names),
        inputs=InputSpec(layout="image", shape=shape, dtype="uint8", low=0, high=255),
        normalize=params.normalize,
        source=f"{root}, {len(every)} images of {len(sizes)} size{'s' * (len(sizes) > 1)}, uint8 in memory",
    )


def _split_folders(root: Path) -> dict[str, Path]:
    inner = {path.name.lower(): path for path in _folders(root)}
    named = {
        split: next((inner[name] for name in names if name in inner), None) for split, names in SPLIT_FOLDERS.items()
    }
    if named["train"] is None:
        return {"all": root}
    return {split: folder for split, folder in named.items() if folder is not None}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_names(root: Path, folders: Mapping[str, Path]) -> tuple[str, ...]:
    train = folders.get("train", root)
    names = tuple(path.name for path in _folders(train))
    if len(names) < 2:
        has = f"one folder, {names[0]}" if names else "no folder"
        raise DataError(
            f"{train} holds {has}: a classification needs two classes or more.",
            hint="Put the images of each class into a folder of its name: PATH/cat/1.png, PATH/dog/1.png.",
        )
    for split, folder in folders.items():
        unknown = [path.name for path in _folders(folder) if path.name not in names]
        if unknown:
            raise DataError(
                f"{folder} has classes that {train} lacks: {some_of(unknown)}.",
                hint=f"Classes to train on: {some_of(names)}. The {split} split may have no others.",
            )
    return names


def _files(folder: Path, names: Sequence[str], split: str) -> list[_File]:
    """The images of a split, by class and name; headers are read, pixels not."""
    places = [(path, label) for label, name in enumerate(names) for path in _images_below(folder / name)]
    empty = [name for label, name in enumerate(names) if label not in {label for _, label in places}]
    if empty and split in ("all", "train"):
        raise DataError(
            f"{folder}: the class {empty[0]} has no image.", hint=f"Endings that count: {', '.join(SUFFIXES)}."
        )
    bad: list[str] = []
    with ThreadPoolExecutor(_workers()) as pool:
        files = list(pool.map(lambda place: _header(place[0], place[1], bad), places))
    _refuse_bad(bad)
    return [file for file in files if file is not None]


def _images_below(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _header(path: Path, label: int, bad: list[str]) -> _File | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Orientations 5 to 8 turn the image by a quarter.
            is_turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            size = (height, width) if is_turned else (width, height)
            return _File(path=path, label=label, size=size, is_grey=image.mode in _GREY_MODES)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        bad.append(_fault(path, error))
        return None


def _fault(path: Path, error: Exception) -> str:
    return f"{path} ({'it is empty' if not path.stat().st_size else type(error).__name__})"


def _refuse_bad(bad: Sequence[str]) -> None:
    if bad:
        one = "file is no whole image" if len(bad) == 1 else "files are no whole images"
        raise DataError(f"{len(bad)} {one}: {some_of(sorted(bad))}.", hint="Repair or remove them.")


def _shape(params: ImagesParams, files: Sequence[_File]) -> tuple[int, int, int]:
    is_grey = params.channels == "grey" or (params.channels == "auto" and all(file.is_grey for file in files))
    if params.size:
        sides = (params.size,) if isinstance(params.size, int) else params.size
        height, width = sides[0], sides[-1]
    else:
        (width, height), _ = Counter(file.size for file in files).most_common(1)[0]
    return (1 if is_grey else 3), height, width


def _check_memory(root: Path, number: int, shape: tuple[int, int, int]) -> None:
    # uint8 as they are, and the numbers that are trained on.
    wanted = number * int(np.prod(shape)) * (1 + _FLOAT_BYTES)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if wanted > MOST_BYTES * there:
        gib = 2**30
        raise DataError(
            f"{root}: {number} images of {shape} take {wanted / gib:.1f} GiB, and this machine has {there / gib:.1f} "
            "GiB of memory.",
            hint="Give a smaller size, such as size=64.",
        )


def _decoded(files: Sequence[_File], shape: tuple[int, int, int], fit: str) -> Split:
    x_BCHW = np.empty((len(files), *shape), np.uint8)
    bad: list[str] = []

    def decode(at: int) -> None:
        try:
            x_BCHW[at] = _pixels(files[at].path, shape, fit)
        except (OSError, ValueError, SyntaxError) as error:
            bad.append(_fault(files[at].path, error))

    with ThreadPoolExecutor(_workers()) as pool:
        list(pool.map(decode, range(len(files))))
    _refuse_bad(bad)
    return Split(x=x_BCHW, y=np.array([file.label for file in files], dtype=np.int64))


def _pixels(path: Path, shape: tuple[int, int, int], fit: str) -> Array:
    """One image `(C, H, W)`, turned upright."""
    channels, height, width = shape
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        image = _eight_bits(image).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        bicubic = Image.Resampling.BICUBIC
        if fit == "crop":
            image = ImageOps.fit(image, (width, height), bicubic)
        else:
            image = image.resize((width, height), bicubic)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Pillow cuts 16 bits off at 255 instead of scaling them."""
    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))


def _parted(splits: Mapping[str, Split], params: ImagesParams, seed: int) -> tuple[Split, Split | None, Split]:
    """The splits that the folders make; what they lack is taken from the training images."""
    rows = splits["all"] if "all" in splits else splits["train"]
    valid_share = 0.0 if "valid" in splits else params.validation
    test_share = 0.0 if "test" in splits else params.test
    train, valid, test = split_indices(len(rows), valid=valid_share, test=test_share, seed=seed, labels=rows.y)
    validation = splits.get("valid") or (rows.take(valid) if len(valid) else None)
    return rows.take(train), validation, splits.get("test") or rows.take(test)


def _workers() -> int:
    return min(8, os.cpu_count() or 1)
