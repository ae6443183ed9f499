"""MNIST and Fashion-MNIST: 60,000 training and 10,000 test images uint8 `(1, 28, 28)` in ten classes.

The four idx files, packed with gzip or not, are read from `$REGPLUG_DATA_DIR/MNIST/raw` or
`$REGPLUG_DATA_DIR/FashionMNIST/raw`; where that variable is not set, torchvision downloads them once into the user's
cache.
"""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import numpy as np

from regplug.api import DataContext, Task
from regplug.data import Array, InputSpec, RawData, Split, split_indices
from regplug.errors import DataError
from regplug.seeds import derive_seed
from regplug_datasets import MNISTParams

DATA_DIR_VARIABLE = "REGPLUG_DATA_DIR"

CLOTHING = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def mnist(params: MNISTParams, context: DataContext) -> RawData:
    """Returns handwritten digits; `normalize=fixed` takes mean 0.1307 and deviation 0.3081 of the range [0, 1].

    Source: LeCun, Bottou, Bengio and Haffner 1998.
    """
    return _read("mnist", "MNIST", tuple("0123456789"), (0.1307, 0.3081), params, context)


def fashion_mnist(params: MNISTParams, context: DataContext) -> RawData:
    """Returns pictures of clothing; `normalize=fixed` takes mean 0.2860 and deviation 0.3530 of the range [0, 1].

    Source: Xiao, Rasul and Vollgraf 2017.
    """
    return _read("fashion_mnist", "FashionMNIST", CLOTHING, (0.2860, 0.3530), params, context)


def read_idx(path: Path) -> Array:
    """Returns the uint8 array of an idx file, packed with gzip where its name ends in `.gz`.

    torchvision's own reader takes no packed file, and to import it costs more than to read the images.

    Raises:
        DataError: It is no idx file of bytes, or cut short.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Get the file anew.") from error
    num_axes = data[3] if len(data) > 3 else 0
    shape = tuple(int(side) for side in np.frombuffer(data[4 : 4 + 4 * num_axes], dtype=">u4"))
    values = np.frombuffer(data, dtype=np.uint8)[4 + 4 * num_axes :]
    # Two zero bytes, the type (8: unsigned bytes), the number of axes, the length of each, then the values.
    if data[:3] != b"\0\0\x08" or len(shape) != num_axes or values.size != np.prod(shape):
        raise DataError(
            f"{path} is no whole idx file of bytes: {values.size} values for the shape {shape}.",
            hint="Get the file anew.",
        )
    return values.reshape(shape)


def _read(
    name: str,
    folder_name: str,
    class_names: tuple[str, ...],
    unit_constants: tuple[float, float],
    params: MNISTParams,
    context: DataContext,
) -> RawData:
    folder = _folder(folder_name)
    rows = _read_split(folder, "train")
    train, valid = _choose_rows(rows.y, params, context.data_seed)
    mean, std = unit_constants
    return RawData(
        name=name,
        train=rows.take(train) if len(train) < len(rows) else rows,
        valid=rows.take(valid) if len(valid) else None,
        test=_read_split(folder, "t10k"),
        task=Task(kind="classification", num_outputs=len(class_names), class_names=class_names),
        inputs=InputSpec(layout="image", shape=(1, 28, 28), dtype="uint8", low=0, high=255),
        normalize=params.normalize,
        fixed=(255 * mean, 255 * std),
        source=str(folder),
    )


def _choose_rows(labels: Array, params: MNISTParams, data_seed: int) -> tuple[Array, Array]:
    train, valid, _ = split_indices(len(labels), valid=params.validation, test=0, seed=data_seed, labels=labels)
    if params.train_rows > len(train):
        raise DataError(
            f"train_rows={params.train_rows} asks for more than the {len(train)} images left to train on.",
            hint="0 keeps all.",
        )
    if params.train_rows:
        # The first of one order, so that the smaller of two subsets lies within the larger.
        shuffled = np.random.default_rng(derive_seed(data_seed, "train_rows")).permutation(train)
        train = np.sort(shuffled[: params.train_rows])
    return train, valid


def _read_split(folder: Path, prefix: str) -> Split:
    images = read_idx(_find(folder, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(folder, f"{prefix}-labels-idx1-ubyte"))
    return Split(x=images[:, None], y=labels.astype(np.int64))


def _find(folder: Path, filename: str) -> Path:
    candidates = [folder / filename, folder / f"{filename}.gz"]
    for path in candidates:
        if path.is_file():
            return path
    raise DataError(
        f"Neither {candidates[0]} nor {candidates[1].name} beside it exists.",
        hint=f"Put the four idx files into {folder}, or unset {DATA_DIR_VARIABLE} to have them downloaded.",
    )


def _folder(folder_name: str) -> Path:
    if root := os.environ.get(DATA_DIR_VARIABLE):
        return Path(root).expanduser() / folder_name / "raw"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regplug"
    _download(folder_name, cache)
    return cache / folder_name / "raw"


def _download(folder_name: str, cache: Path) -> None:
    """Lets torchvision get what is missing; it holds each packed file to its published MD5."""
    if len(list((cache / folder_name / "raw").glob("*-ubyte"))) == 4:
        return
    from torchvision import datasets  # seconds to import, and needed once

    try:
        getattr(datasets, folder_name)(root=cache, download=True)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{folder_name} could not be downloaded into {cache}: {error}",
            hint=f"Set {DATA_DIR_VARIABLE} to a folder that has {folder_name}/raw with the four idx files.",
        ) from error
