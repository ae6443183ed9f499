"""CIFAR-10 and CIFAR-100: 50,000 training and 10,000 test images uint8 `(3, 32, 32)`.

The published folders `cifar-10-batches-py` and `cifar-100-python` are read from `REGPLUG_DATA_DIR`; where that variable
is not set, torchvision downloads them once into the user's cache. torchvision is not imported to read them.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regplug.api import DataContext, Task
from regplug.data import InputSpec, RawData, Split
from regplug.errors import DataError
from regplug_datasets import CIFARParams
from regplug_datasets.downloads import DATA_DIR_VARIABLE, choose_rows, data_folder

SHAPE = (3, 32, 32)

_ARRAY_PARTS = (("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"))
"""Last part of the module, and name, of what a pickled array is rebuilt from."""

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))


def cifar10(params: CIFARParams, context: DataContext) -> RawData:
    """Returns images of ten kinds of animals and vehicles.

    Source: Krizhevsky 2009.
    """
    files = (_BATCHES, "test_batch", "batches.meta")
    return _read("cifar10", "cifar-10-batches-py", "CIFAR10", files, ("labels", "label_names"), params, context)


def cifar100(params: CIFARParams, context: DataContext) -> RawData:
    """Returns images of a hundred kinds of things; the twenty coarse classes are not used.

    Source: Krizhevsky 2009.
    """
    files = (("train",), "test", "meta")
    keys = ("fine_labels", "fine_label_names")
    return _read("cifar100", "cifar-100-python", "CIFAR100", files, keys, params, context)


def _read(
    name: str,
    place: str,
    class_name: str,
    files: tuple[Sequence[str], str, str],
    keys: tuple[str, str],
    params: CIFARParams,
    context: DataContext,
) -> RawData:
    train_files, test_file, meta_file = files
    labels_key, names_key = keys

    def is_whole(folder: Path) -> bool:
        return all((folder / one).is_file() for one in (*train_files, test_file, meta_file))

    folder = data_folder(place, class_name, is_whole=is_whole, wanted="the files of the published archive")
    rows = _split([folder / one for one in train_files], labels_key)
    train, valid = choose_rows(rows.y, params.validation, params.train_rows, context.data_seed)
    names = tuple(map(str, _load(folder / meta_file, names_key)[names_key]))
    return RawData(
        name=name,
        train=rows.take(train) if len(train) < len(rows) else rows,
        valid=rows.take(valid) if len(valid) else None,
        test=_split([folder / test_file], labels_key),
        task=Task(kind="classification", num_outputs=len(names), class_names=names),
        inputs=InputSpec(layout="image", shape=SHAPE, dtype="uint8", low=0, high=255),
        normalize=params.normalize,
        source=str(folder),
    )


def _split(paths: Sequence[Path], labels_key: str) -> Split:
    batches = [_load(path, "data", labels_key) for path in paths]
    images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, *SHAPE)
    labels = [label for batch in batches for label in batch[labels_key]]
    return Split(x=images, y=np.array(labels, dtype=np.int64))


class _Unpickler(pickle.Unpickler):
    """Reads arrays and plain values; a pickle may otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what an array is rebuilt from, and nothing else."""
        if (module.rpartition(".")[2], name) in _ARRAY_PARTS:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _load(path: Path, *keys: str) -> dict[str, Any]:
    """A file of the published archive: a pickled dictionary."""
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except FileNotFoundError as error:
        raise DataError(
            f"No file {path}.",
            hint=f"Unpack the published archive there, or unset {DATA_DIR_VARIABLE} to have it downloaded.",
        ) from error
    except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Get the archive anew.") from error
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise DataError(f"{path} has no {' and '.join(keys)}.", hint="Get the archive anew.")
    return content
