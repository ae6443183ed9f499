"""The image files of MNIST and Fashion-MNIST, for studies that look at single batches or at all training images."""

from __future__ import annotations

import functools
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.api import DataContext, Dataset, NoParams, Task
from regplug.data import InputSpec, RawData, Split

HEADERS = {"images": 16, "labels": 8}
"""Bytes before the data of an idx file."""

BATCH = 64

MEAN, STD = np.float32(0.1307), np.float32(0.3081)
"""Mean and standard deviation of the pixels of MNIST's training images, in [0, 1]."""


@functools.lru_cache(maxsize=2)
def training_images(folder: Path) -> NDArray[np.uint8]:
    """Returns the training images, uint8 `(60000, 784)`.

    Args:
        folder: The folder with `raw/train-images-idx3-ubyte.gz`.
    """
    return _read(folder, "images", 3).reshape(-1, 784)


def _read(folder: Path, what: str, axes: int) -> NDArray[Any]:
    with gzip.open(folder / "raw" / f"train-{what}-idx{axes}-ubyte.gz") as stream:
        return np.frombuffer(stream.read(), np.uint8, offset=HEADERS[what])


def one_batch(params: NoParams, context: DataContext) -> RawData:  # noqa: ARG001 - the call of every dataset
    """Returns 64 random training images of MNIST, standardized, to train and to test on."""
    folder = Path(os.environ["REGPLUG_DATA_DIR"]).expanduser() / "MNIST"
    images, labels = training_images(folder), _read(folder, "labels", 1)
    rows = np.random.default_rng(context.data_seed).choice(len(images), BATCH, replace=False)
    x_BF = (images[rows].astype(np.float32) / 255 - MEAN) / STD
    split = Split(x=x_BF, y=labels[rows].astype(np.int64))
    task = Task(kind="classification", num_outputs=10, class_names=tuple(map(str, range(10))))
    inputs = InputSpec(layout="row", shape=(784,), dtype="float32")
    return RawData(name="one_batch", train=split, test=split, task=task, inputs=inputs)


ONE_BATCH = Dataset(
    name="one_batch",
    target="regplug_lab.pictures:one_batch",
    task="classification",
    summary="64 random training images of MNIST, standardized.",
)
