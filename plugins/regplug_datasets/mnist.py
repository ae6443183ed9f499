"""MNIST, Fashion-MNIST and KMNIST: 60,000 training and 10,000 test images uint8 `(1, 28, 28)` in ten classes.

The four idx files, packed with gzip or not, are read from `$REGPLUG_DATA_DIR/MNIST/raw`, `FashionMNIST/raw` or
`KMNIST/raw` there; where that variable is not set, torchvision downloads them once into the user's
cache.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from regplug.api import DataContext, Task
from regplug.data import Array, InputSpec, RawData, Split
from regplug.errors import DataError
from regplug_datasets import MNISTParams
from regplug_datasets.downloads import DATA_DIR_VARIABLE, choose_rows, data_folder

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

CHARACTERS = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")


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


def kmnist(params: MNISTParams, context: DataContext) -> RawData:
    """Returns cursive Japanese characters; `normalize=fixed` takes mean 0.1918 and deviation 0.3483 of [0, 1].

    Source: Clanuwat et al. 2018.
    """
    return _read("kmnist", "KMNIST", CHARACTERS, (0.1918, 0.3483), params, context)


def read_idx(path: Path) -> Array:
    """Returns the uint8 array of an idx file, packed with gzip where its name ends in `.gz`.

    torchvision's own reader takes no packed file, and to import it costs more than to read the images.

    Raises:
        DataError: It is no idx file of bytes, or cut short.
    """
    try:
        # Read into an array that may be written, which torch takes without a copy.
        data = _unpacked(path) if path.suffix == ".gz" else np.fromfile(path, dtype=np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Download the file again.") from error
    num_axes = int(data[3]) if len(data) > 3 else 0
    lengths = data[4 : 4 + 4 * num_axes].tobytes()
    shape = tuple(int(side) for side in np.frombuffer(lengths[: len(lengths) // 4 * 4], ">u4"))
    values = data[4 + 4 * num_axes :]
    # Two zero bytes, the type (8: unsigned bytes), the number of axes, the length of each, then the values.
    if data[:3].tobytes() != b"\0\0\x08" or len(shape) != num_axes or values.size != np.prod(shape):
        raise DataError(
            f"{path} is no whole idx file of bytes: {values.size} values for the shape {shape}.",
            hint="Download the file again.",
        )
    return values.reshape(shape)


def _unpacked(path: Path) -> Array:
    return np.frombuffer(bytearray(gzip.decompress(path.read_bytes())), dtype=np.uint8)


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
    train, valid = choose_rows(rows.y, params.validation, params.train_rows, context.data_seed)
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


def _read_split(folder: Path, prefix: str) -> Split:
    images_path, labels_path = (_find(folder, f"{prefix}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise DataError(
            f"{images_path} has the shape {images.shape} and {labels_path.name} beside it {labels.shape}, but images "
            "have 28x28 pixels and one label each.",
            hint="Download both files again.",
        )
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
    return data_folder(
        f"{folder_name}/raw",
        folder_name,
        is_whole=lambda folder: len(list(folder.glob("*-ubyte"))) == 4,
        wanted="the four idx files",
    )
