"""A folder that the Hugging Face library `datasets` saved with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from regplug.api import DataContext
from regplug.data import Array, RawData, raw_from_items, raw_from_table
from regplug.errors import DataError, did_you_mean, some_of
from regplug.tables.options import TableOptions, join_targets, split_targets
from regplug.tables.taking import take_splits
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
    targets = _targets(train, params.target)
    names = [_column(train, params.inputs, "inputs")] if params.inputs else _others(train, targets)
    _check_parts(parts, [*names, *targets], path)
    if not any(_is_whole(train[0][name]) for name in names):
        return _table(parts, [*names, *targets], join_targets(targets), params, context)
    if len(names) > 1:
        raise DataError(
            f"{path}: {some_of(names)} are several inputs.", hint="Name one: inputs=NAME, and target=NAME if need be."
        )
    _refuse_table_options(params, path)
    items = {which: _Items(part, names[0], targets[0], params) for which, part in parts.items()}
    return raw_from_items(items, valid=params.validation, test=params.test, seed=context.data_seed, name="huggingface")


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


def _targets(part: Any, text: str) -> tuple[str, ...]:
    if text:
        return tuple(_column(part, name, "target") for name in split_targets(text, part.column_names))
    usual = (name for name in _USUAL_TARGETS if name in part.column_names)
    return (next(usual, part.column_names[-1]),)


def _others(part: Any, targets: Sequence[str]) -> list[str]:
    return [name for name in part.column_names if name not in targets]


def _is_whole(value: Any) -> bool:
    """Whether a cell is an input of its own: an image or an array, not one number or text of a row."""
    return hasattr(value, "getbands") or (
        isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)
    )


def _table(
    parts: Mapping[str, Any], names: list[str], target: str, params: HuggingFaceParams, context: DataContext
) -> RawData:
    path = Path(params.path).expanduser()
    table = take_splits({which: _frame(part, names) for which, part in parts.items()}, str(path))
    own = {one.name: getattr(params, one.name) for one in fields(TableOptions)}
    return raw_from_table(table, TableOptions(**{**own, "target": target}), seed=context.data_seed, name=path.name)


def _check_parts(parts: Mapping[str, Any], names: Sequence[str], path: Path) -> None:
    for which, part in parts.items():
        if not len(part):
            raise DataError(f"{path}: the {which} split has no rows.", hint="Save it with rows, or without that split.")
        if missing := [name for name in names if name not in part.column_names]:
            raise DataError(
                f"{path}: the {which} split has no column {missing[0]}, which the training rows have.",
                hint="Save all splits with the same columns.",
            )


def _frame(part: Any, names: list[str]) -> Any:
    frame = part.to_pandas()[names]
    classes = {name: getattr(part.features[name], "names", None) for name in names}
    return frame.assign(**{name: _named(frame[name], known) for name, known in classes.items() if known})


def _named(numbers: Any, names: Sequence[str]) -> list[str | None]:
    """The names of classes; -1 and gaps, as in a test split whose classes are not published, are no class."""
    return [names[int(number)] if number >= 0 else None for number in numbers]


def _refuse_table_options(params: HuggingFaceParams, path: Path) -> None:
    own, plain = ("target", "validation", "test"), TableOptions()
    given = [one.name for one in fields(TableOptions) if getattr(params, one.name) != getattr(plain, one.name)]
    if idle := [name for name in given if name not in own]:
        raise DataError(
            f"{path} has images or arrays, for which {idle[0]}= has no effect.",
            hint="Leave it out; it is for tables of numbers and text.",
        )


class _Items:
    """Rows of a saved split as items: the inputs and the target."""

    def __init__(self, part: Any, name: str, target: str, params: HuggingFaceParams) -> None:
        self._part, self._name, self._target, self._fit = part, name, target, params.fit
        self.classes = tuple(getattr(part.features[target], "names", None) or ())
        first = part[0][name]
        self._shape = _shape_of(first, params) if hasattr(first, "getbands") else None

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, row: int) -> tuple[Array, Any]:
        item = self._part[row]
        inputs, target = item[self._name], item[self._target]
        return (np.asarray(inputs) if self._shape is None else arranged(inputs, self._shape, self._fit)), target


def _shape_of(image: Any, params: HuggingFaceParams) -> tuple[int, int, int]:
    sides = (params.size,) if isinstance(params.size, int) else params.size or (image.height, image.width)
    return (1 if image.mode in GREY_MODES else 3), sides[0], sides[-1]
