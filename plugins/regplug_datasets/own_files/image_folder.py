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
from PIL import Image

from regplug.api import DataContext, Task
from regplug.data import InputSpec, LazyRows, RawData, Split, split_indices
from regplug.errors import DataError, some_of
from regplug_datasets.own_files import ImagesParams
from regplug_datasets.own_files.image_reading import (
    BROKEN,
    GREY_MODES,
    ImageReader,
    decoded,
    fault,
    num_workers,
    refuse_bad,
)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

SPLIT_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}
"""Names of a split's folder."""

MOST_BYTES = 0.5
"""Share of the machine's memory up to which images are kept in it."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """An image before it is decoded.

    Args:
        path: Of the file.
        label: Number of its class.
        size: Width and height as they are shown, EXIF orientation applied.
        is_grey: Whether it has no colours.
        has_frames: Whether it has several frames or pages.
    """

    path: Path
    label: int
    size: tuple[int, int]
    is_grey: bool
    has_frames: bool = False


def images(params: ImagesParams, context: DataContext) -> RawData:
    """Returns the images of a folder as uint8 `(C, H, W)`; the name of a class is that of its folder.

    Folders `train`, `valid` and `test` are kept as splits; what is missing of the last two is taken from `train`, with
    the same share of each class. Images are turned as their EXIF orientation says. Where they have several sizes and
    none is asked for, all get the most frequent one. Images that do not fit into memory are read while a run trains.

    Raises:
        DataError: There is no image, only one class, a class that training lacks, or a file that is no image.
    """
    root = Path(params.path).expanduser()
    folders = _split_folders(root)
    names = _class_names(root, folders)
    found = {split: _files(folder, names, split) for split, folder in folders.items()}
    every = [file for files in found.values() for file in files]
    shape = _shape(params, every)
    reader = ImageReader([file.path for file in every], shape, params.fit)
    train, valid, test = _parted(_splits(found, reader, params.workers), params, context.data_seed)
    if not _is_streamed(params, root, reader):
        train, valid, test = decoded(train, valid, test)
    return RawData(
        name="images",
        train=train,
        valid=valid,
        test=test,
        task=Task(kind="classification", num_outputs=len(names), class_names=names),
        inputs=InputSpec(layout="image", shape=shape, dtype="uint8", low=0, high=255),
        normalize=params.normalize,
        source=str(root),
        notes=(*_size_notes(params, every, shape), *_frame_notes(every)),
    )


def _split_folders(root: Path) -> dict[str, Path]:
    inner = {path.name.lower(): path for path in _folders(root)}
    named = {
        split: next((inner[name] for name in names if name in inner), None) for split, names in SPLIT_FOLDERS.items()
    }
    if named["train"] is None:
        for folder in named.values():
            if folder is not None and _folders(folder):
                raise DataError(
                    f"{root} has a folder {folder.name} with folders in it, but no folder train.",
                    hint="Put the images to train on into PATH/train/CLASS.",
                )
        return {"all": root}
    return {split: folder for split, folder in named.items() if folder is not None}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_names(root: Path, folders: Mapping[str, Path]) -> tuple[str, ...]:
    train = folders.get("train", root)
    names = tuple(path.name for path in _folders(train))
    if not names:
        raise _no_images(train, "it holds no folder")
    if len(names) < 2:
        raise DataError(
            f"{train} holds one folder, {names[0]}: a classification needs two classes or more.",
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
    if len(empty) == len(names) and split in ("all", "train"):
        raise _no_images(folder, f"no folder in it has a file that ends in {', '.join(SUFFIXES)}")
    if empty and split in ("all", "train"):
        raise DataError(
            f"{folder}: the class {empty[0]} has no image.", hint=f"Endings that count: {', '.join(SUFFIXES)}."
        )
    bad: list[str] = []
    with ThreadPoolExecutor(num_workers()) as pool:
        files = list(pool.map(lambda place: _header(place[0], place[1], bad), places))
    refuse_bad(bad)
    return [file for file in files if file is not None]


def _no_images(folder: Path, why: str) -> DataError:
    files = [path.name for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    inside = (
        f" It holds {some_of(files)}: a single file is named itself, --dataset {folder / files[0]}." if files else ""
    )
    return DataError(
        f"{folder} is no folder of images: {why}.",
        hint="Put the images of each class into a folder of its name, PATH/cat/1.png and PATH/dog/1.png; these may "
        f"stand in PATH/train, PATH/valid and PATH/test.{inside}",
    )


def _images_below(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _header(path: Path, label: int, bad: list[str]) -> _File | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
            # Orientations 5 to 8 turn the image by a quarter.
            # The method of PNG files would decode all pixels first.
            is_turned = Image.Image.getexif(image).get(0x0112, 1) in (5, 6, 7, 8)
            size = (height, width) if is_turned else (width, height)
            if image.mode == "F":
                bad.append(f"{path} (its pixels are floating-point numbers, which have no known range)")
                return None
            frames = bool(getattr(image, "is_animated", False))
            return _File(path=path, label=label, size=size, is_grey=image.mode in GREY_MODES, has_frames=frames)
    except BROKEN as error:
        bad.append(fault(path, error))
        return None


def _shape(params: ImagesParams, files: Sequence[_File]) -> tuple[int, int, int]:
    is_grey = params.channels == "grey" or (params.channels == "auto" and all(file.is_grey for file in files))
    if params.size:
        sides = (params.size,) if isinstance(params.size, int) else params.size
        height, width = sides[0], sides[-1]
    else:
        (width, height), _ = Counter(file.size for file in files).most_common(1)[0]
    return (1 if is_grey else 3), height, width


def _size_notes(params: ImagesParams, files: Sequence[_File], shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Says how many images are changed, where nobody has asked for a size."""
    _, height, width = shape
    changed = sum(file.size != (width, height) for file in files)
    if not changed or params.size:
        return ()
    how = "cropped" if params.fit == "crop" else "squashed"
    return (
        f"images: {changed} of {len(files)} have another size than {height}x{width} and are scaled and {how} to it. "
        "size=[HEIGHT,WIDTH] asks for another size.",
    )


def _frame_notes(files: Sequence[_File]) -> tuple[str, ...]:
    several = [file.path.name for file in files if file.has_frames]
    return (f"images: of files with several frames, the first is used: {some_of(several)}.",) if several else ()


def _is_streamed(params: ImagesParams, root: Path, reader: ImageReader) -> bool:
    if params.keep == "stream":
        return True
    wanted = len(reader) * int(np.prod(reader.shape))
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    does_fit = wanted <= MOST_BYTES * there
    if params.keep == "memory" and not does_fit:
        gib = 2**30
        raise DataError(
            f"{root}: {len(reader)} images of {reader.shape} take {wanted / gib:.1f} GiB, and this machine has "
            f"{there / gib:.1f} GiB of memory.",
            hint="Give a smaller size, such as size=64, or keep=stream to read them while the run trains.",
        )
    return not does_fit


def _splits(found: Mapping[str, Sequence[_File]], reader: ImageReader, workers: int) -> dict[str, Split]:
    """Each folder's images, not read yet; the reader has the images of all folders in turn."""
    splits, start = {}, 0
    for name, files in found.items():
        rows = np.arange(start, start + len(files))
        labels = np.array([file.label for file in files], dtype=np.int64)
        splits[name] = Split(x=LazyRows(reader, rows, workers=workers or None), y=labels)
        start += len(files)
    return splits


def _parted(splits: Mapping[str, Split], params: ImagesParams, seed: int) -> tuple[Split, Split | None, Split]:
    """The splits that the folders make; what they lack is taken from the training images."""
    rows = splits["all"] if "all" in splits else splits["train"]
    valid_share = 0.0 if "valid" in splits else params.validation
    test_share = 0.0 if "test" in splits else params.test
    train, valid, test = split_indices(len(rows), valid=valid_share, test=test_share, seed=seed, labels=rows.y)
    validation = splits.get("valid") or (rows.take(valid) if len(valid) else None)
    return rows.take(train), validation, splits.get("test") or rows.take(test)
