"""Where published image datasets lie, and how torchvision downloads them where they are missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from regplug.data import Array, split_indices
from regplug.errors import DataError
from regplug.seeds import derive_seed

DATA_DIR_VARIABLE = "REGPLUG_DATA_DIR"


def data_folder(place: str, class_name: str, *, is_whole: Callable[[Path], bool], wanted: str) -> Path:
    """Returns a dataset's folder: under `REGPLUG_DATA_DIR` where that is set, else in the user's cache.

    torchvision downloads into the cache what is missing there, and holds each packed file to its published MD5.

    Args:
        place: The dataset's folder below one of these.
        class_name: torchvision's class for it.
        is_whole: Whether a folder has all files.
        wanted: What must lie there, in words.

    Raises:
        DataError: The download failed; says where to put the files.
    """
    if root := os.environ.get(DATA_DIR_VARIABLE):
        return Path(root).expanduser() / place
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regplug"
    if not is_whole(cache / place):
        _download(class_name, cache, place, wanted)
    return cache / place


def _download(class_name: str, cache: Path, place: str, wanted: str) -> None:
    from torchvision import datasets  # seconds to import, and needed once

    try:
        getattr(datasets, class_name)(root=cache, download=True)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{class_name} could not be downloaded into {cache}: {error}",
            hint=f"Set {DATA_DIR_VARIABLE} to a folder that has {place} with {wanted}.",
        ) from error


def choose_rows(labels: Array, validation: int, train_rows: int, data_seed: int) -> tuple[Array, Array]:
    """Returns the training images that are kept and those that validate, as ascending indices.

    Args:
        labels: Class of each training image.
        validation: Images that validate, with the same share of each class.
        train_rows: Training images to keep; 0 for all.
        data_seed: The data's seed.

    Raises:
        DataError: There are fewer.
    """
    train, valid, _ = split_indices(len(labels), valid=validation, test=0, seed=data_seed, labels=labels)
    if train_rows > len(train):
        raise DataError(
            f"train_rows={train_rows} asks for more than the {len(train)} images left to train on.",
            hint="0 keeps all.",
        )
    if train_rows:
        # The first of one order, so that the smaller of two subsets lies within the larger.
        shuffled = np.random.default_rng(derive_seed(data_seed, "train_rows")).permutation(train)
        train = np.sort(shuffled[:train_rows])
    return train, valid
