"""Arrays in an npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from regplug.api import DataContext
from regplug.data import Array, RawData, raw_from_arrays
from regplug.errors import DataError
from regplug_datasets.own_files import NpzParams

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def npz(params: NpzParams, context: DataContext) -> RawData:
    """Returns the arrays of a file: inputs `(B, F)`, `(B, H, W)` or `(B, C, H, W)`, and targets.

    Raises:
        DataError: It is no npz file, lacks an array, or the arrays do not fit together.
    """
    path = Path(params.path).expanduser()
    arrays = _read(path)
    for name, key in (("inputs", params.inputs), ("target", params.target)):
        if key not in arrays:
            known = ", ".join(f"{each} {array.shape}" for each, array in arrays.items())
            raise DataError(f"{path} has no array {key!r}.", hint=f"It has {known}. Give {name}=NAME.")
    x = arrays[params.inputs]
    return raw_from_arrays(
        x[:, None] if x.ndim == 3 else x,
        arrays[params.target],
        valid=params.validation,
        test=params.test,
        seed=context.data_seed,
        name="npz",
    )


def _read(path: Path) -> dict[str, Array]:
    try:
        # Objects would be unpickled, which may run any code.
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except TypeError as error:
        raise DataError(
            f"{path} holds one array, as numpy.save writes it.",
            hint="Save it as numpy.savez(FILE, x=inputs, y=targets).",
        ) from error
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as npz: {error}", hint="Save it as numpy.savez(FILE, x=inputs, y=targets)."
        ) from error
