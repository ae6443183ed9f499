"""A folder that the Hugging Face library `datasets` saved with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regplug.api import DataContext
from regplug.data import Array, RawData, raw_from_items, raw_from_table
from regplug.errors import DataError, did_you_mean, some_of
from regplug.tables.options import TableOptions
from regplug.tables.taking import take_frame
from regplug_datasets.own_files import HuggingFaceParams
from regplug_datasets.own_files.image_reading import GREY_MODES, arranged

_PARTS = {"train": ("train",), "valid": ("validation", "valid", "val", "dev"), "test": ("test",)}
_USUAL_TARGETS = ("label", "labels", "target")


def huggingface(params: HuggingFaceParams, context: DataContext) -> RawData:
    """Returns a saved dataset: images or arrays of one column, or a table of numbers and texts.

    Its splits train, validation and test are kept; what is missing of the last two is taken from the training rows.

    Raises:
        DataError: The library is not installed, the folder cannot be read, or a column cannot be used.
    """
    path = Path(params.path).expanduser()
    parts = _parts(_load(path), path)
    train = parts["train"]
    target = _column(train, params.target, "target") or _usual_target(train)
    names = [_column(train, params.inputs, "inputs")] if params.inputs else _others(train, target)
    wholes = [name for name in names if not np.isscalar(train[0][name]) and train[0][name] is not None]
    if len(parts) == 1 and not wholes:
        return _table(train, names, target, params, context, path.name)
    if len(wholes) > 1 or (wholes and len(names) > 1):
        raise DataError(
            f"{path}: {some_of(names)} are several inputs.", hint="Name one: inputs=NAME, and target=NAME if need be."
        )
    items = {which: _Items(part, names, target, params, path) for which, part in parts.items()}
    ordered = [items[which] for which in ("train", "valid", "test") if which in items]
    if "valid" in items and "test" not in items:
        raise DataError(
            f"{path} has a validation split and no test split.", hint="Save it with a test split, or as one split."
        )
    return raw_from_items(
        ordered, valid=params.validation, test=params.test, seed=context.data_seed, name="huggingface"
    )


def _load(path: Path) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{path} was saved by the library datasets, which is not installed.",
            hint="pip install 'regplug[huggingface]'",
        ) from error
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataError(
            f"{path} cannot be read by the library datasets: {error}", hint="Save it again with save_to_disk."
        ) from error


def _parts(loaded: Any, path: Path) -> dict[str, Any]:
    if not isinstance(loaded, Mapping):
        return {"train": loaded}
    parts = {which: next((loaded[name] for name in names if name in loaded), None) for which, names in _PARTS.items()}
    if parts["train"] is None:
        raise DataError(f"{path} has the splits {some_of(loaded)}.", hint="One of them must be named train.")
    return {which: part for which, part in parts.items() if part is not None}


def _column(part: Any, name: str, role: str) -> str:
    if name and name not in part.column_names:
        raise DataError(f"The dataset has no column {name!r} for {role}.", hint=did_you_mean(name, part.column_names))
    return name


def _usual_target(part: Any) -> str:
    return next((name for name in _USUAL_TARGETS if name in part.column_names), part.column_names[-1])


def _others(part: Any, target: str) -> list[str]:
    return [name for name in part.column_names if name != target]


def _table(
    part: Any, names: list[str], target: str, params: HuggingFaceParams, context: DataContext, name: str
) -> RawData:
    frame = part.to_pandas()[[*names, target]]
    classes = getattr(part.features[target], "names", None)
    if classes:
        frame = frame.assign(**{target: [classes[number] for number in frame[target]]})
    options = TableOptions(target=target, validation=params.validation, test=params.test)
    return raw_from_table(take_frame(frame), options, seed=context.data_seed, name=name)


class _Items:
    """Rows of a saved split as items: the inputs and the target."""

    def __init__(self, part: Any, names: list[str], target: str, params: HuggingFaceParams, path: Path) -> None:
        self._part, self._names, self._target, self._path, self._fit = part, names, target, path, params.fit
        self.classes = tuple(getattr(part.features[target], "names", None) or ())
        first = part[0][names[0]]
        self._shape = _shape_of(first, params) if hasattr(first, "getbands") else None

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: int) -> tuple[Array, Any]:
        item = self._part[row]
        inputs = [item[name] for name in self._names]
        if self._shape is not None:
            return arranged(inputs[0], self._shape, self._fit), item[self._target]
        if any(value is None or isinstance(value, str) for value in inputs):
            raise DataError(
                f"{self._path}: {some_of(self._names)} hold text or gaps, which a folder with splits may not.",
                hint="Save it as one split, or as a csv file: categories and gaps are then prepared.",
            )
        return np.asarray(inputs[0] if len(inputs) == 1 else inputs), item[self._target]


def _shape_of(image: Any, params: HuggingFaceParams) -> tuple[int, int, int]:
    sides = (params.size,) if isinstance(params.size, int) else params.size or (image.height, image.width)
    return (1 if image.mode in GREY_MODES else 3), sides[0], sides[-1]
