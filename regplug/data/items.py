"""Turns map-style datasets, such as `torch.utils.data.Dataset`, into a dataset: items (x, y), by number."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from regplug.api import Task
from regplug.data.arrays import describe_inputs, describe_targets
from regplug.data.lazy import LazyRows, Reader
from regplug.data.raw import Array, InputSpec, RawData, Split
from regplug.data.splits import split_indices
from regplug.errors import DataError, RequestError, some_of

MOST_BYTES = 0.5
"""Share of the machine's memory up to which the inputs are kept in it."""

_PARTS = {1: ("train",), 2: ("train", "test"), 3: ("train", "valid", "test")}


def is_items(value: Any) -> bool:
    """Returns whether a value is a dataset of items by number, and no array, table or plain sequence."""
    if isinstance(value, torch.utils.data.Dataset):
        return True
    plain = isinstance(value, str | bytes | Mapping | Sequence | np.ndarray | torch.Tensor)
    return not plain and hasattr(value, "__getitem__") and hasattr(value, "__len__") and not hasattr(value, "columns")


def as_items(value: Any) -> tuple[Any, ...]:
    """Returns map-style datasets: one, those to train and test, or those to train, validate and test; else nothing."""
    if is_items(value):
        return (value,)
    several = tuple(value) if isinstance(value, tuple | list) and len(value) in (2, 3) else ()
    return several if several and all(map(is_items, several)) else ()


def raw_from_items(
    parts: Sequence[Any] | Mapping[str, Any],
    *,
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    name: str = "items",
) -> RawData:
    """Returns map-style datasets as a dataset. Each item is read once: what is random in it stays as it was drawn.

    Args:
        parts: One dataset, which is split at random; or those for training and test; or for training, validation and
            test; or some of these by name: train, valid and test. An item is a pair: inputs (an array, a tensor or an
            image), and a class or values.
        valid: Share or number of validation rows, drawn from the training rows where they have no dataset of their own.
        test: Likewise, of the test rows.
        seed: The data's seed.
        name: Of the dataset.

    Raises:
        RequestError: A part is no map-style dataset.
        DataError: It is empty, or an item is no pair, cannot be read, or has another shape than the first.
    """
    own = parts if isinstance(parts, Mapping) else dict(zip(_PARTS[len(parts)], parts, strict=True))
    for which, part in own.items():
        _check_map_style(part, f"{name}, {which}" if len(own) > 1 else name)
    whole = {which: _read(part, f"{name}, {which}") for which, part in own.items()}
    targets, task = _task(whole, own["train"])
    splits = {which: Split(x=x, y=targets[which]) for which, (x, _) in whole.items()}
    labels = targets["train"] if task.is_classification else None
    index = split_indices(
        len(splits["train"]),
        valid=0 if "valid" in splits else valid,
        test=0 if "test" in splits else test,
        seed=seed,
        labels=labels,
    )
    train, validation, testing = (splits["train"].take(rows) for rows in index)
    inputs = _inputs(whole)
    return RawData(
        name=name,
        train=train,
        valid=splits.get("valid") or (validation if len(validation) else None),
        test=splits.get("test") or testing,
        task=task,
        inputs=inputs,
        normalize="unit" if inputs.dtype == "uint8" else "standard",
        source=f"{type(own['train']).__name__} of the caller's",
        scale_targets=task.kind == "regression",
        notes=_notes(own["train"], name),
    )


def _check_map_style(part: Any, name: str) -> None:
    if isinstance(part, torch.utils.data.IterableDataset) or not (hasattr(part, "__getitem__")):
        raise RequestError(
            f"dataset: {name} is an iterable dataset, whose rows have no numbers.",
            hint="Give a map-style dataset with __getitem__ and __len__, or the arrays (x, y).",
        )
    if not hasattr(part, "__len__"):
        raise RequestError(
            f"dataset: {name} is a {type(part).__name__} without a length.", hint="Give it a method __len__."
        )
    if len(part) == 0:
        raise DataError(f"Dataset {name}: it has no items.", hint="Every part needs at least one item.")


class ItemReader(Reader):
    """Reads the inputs of a map-style dataset again whenever they are needed."""

    def __init__(self, items: Any, first: Array, name: str) -> None:
        super().__init__(first.shape, _dtype_of(first))
        self._items, self._name = items, name

    def __len__(self) -> int:
        return len(self._items)

    def read(self, row: int) -> Array:
        """Returns the inputs of one item.

        Raises:
            DataError: They have another shape than those of the first item.
        """
        x, _ = _item(self._items, row, self._name)
        return _checked(x, row, self.shape, self._name).astype(self.dtype, copy=False)


def _read(items: Any, name: str) -> tuple[Any, list[Any]]:
    """Inputs and targets; inputs that do not fit into memory are read again while a run trains."""
    first, _ = _item(items, 0, name)
    wanted = len(items) * math.prod(first.shape) * _dtype_of(first).itemsize
    is_kept = wanted <= MOST_BYTES * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kept = np.empty((len(items), *first.shape), _dtype_of(first)) if is_kept else None
    targets = []
    for row in range(len(items)):
        x, y = _item(items, row, name)
        _checked(x, row, first.shape, name)
        targets.append(y)
        if kept is not None:
            kept[row] = x
    return (LazyRows(ItemReader(items, first, name)) if kept is None else kept), targets


def _item(items: Any, row: int, name: str) -> tuple[Array, Any]:
    item = items[row]
    if not isinstance(item, tuple | list) or len(item) != 2:
        what = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
        raise DataError(f"Dataset {name}: item {row} is {what}.", hint="Return a pair: inputs and target.")
    x = _array(item[0])
    if x.dtype.kind not in "buif":
        raise DataError(
            f"Dataset {name}: the inputs of item {row} are a {type(item[0]).__name__}, which is no array of numbers.",
            hint="Return an array, a tensor or an image. Several inputs must be joined into one array.",
        )
    y = item[1]
    return x, y.detach().cpu().numpy() if isinstance(y, torch.Tensor) else y


def _array(x: Any) -> Array:
    if isinstance(x, torch.Tensor):
        return x.detach().cpu().numpy()
    try:
        array = np.asarray(x)
    except ValueError:  # ragged lists
        return np.asarray(None)
    # An image of Pillow has its channels last, or none.
    is_picture = hasattr(x, "getbands")
    return (array[None] if array.ndim == 2 else array.transpose(2, 0, 1)) if is_picture else array


def _checked(x: Array, row: int, shape: tuple[int, ...], name: str) -> Array:
    if x.shape != shape:
        raise DataError(
            f"Dataset {name}: the inputs of item {row} have shape {x.shape}, those of item 0 {shape}.",
            hint="All inputs need one shape: crop or pad them in __getitem__.",
        )
    return x


def _dtype_of(x: Array) -> np.dtype[Any]:
    return np.dtype(np.uint8 if x.dtype == np.uint8 and x.ndim == 3 else np.float32)


def _inputs(whole: Mapping[str, tuple[Any, Any]]) -> InputSpec:
    shapes = {which: x.shape[1:] for which, (x, _) in whole.items()}
    other = next((which for which, shape in shapes.items() if shape != shapes["train"]), None)
    if other is not None:
        raise DataError(
            f"The inputs of the {other} dataset have shape {shapes[other]}, those of the training dataset "
            f"{shapes['train']}.",
            hint="Give both the same shape.",
        )
    return describe_inputs(shapes["train"], whole["train"][0].dtype)


def _task(whole: Mapping[str, tuple[Any, list[Any]]], dataset: Any) -> tuple[dict[str, Array], Task]:
    """The targets of each part, encoded together, and what is learned."""
    values = {which: _stacked(which, targets) for which, (_, targets) in whole.items()}
    known = set(np.unique(values["train"]).tolist())
    every, task = describe_targets(np.concatenate(list(values.values())))
    if task.is_classification:
        for which, own in values.items():
            if unknown := sorted(set(np.unique(own).tolist()) - known, key=str):
                raise DataError(
                    f"The {which} dataset has classes that the training dataset lacks: {some_of(map(str, unknown))}.",
                    hint="Leave those rows out, or train on rows of these classes.",
                )
    if task.class_names:
        task = _named(task, dataset)
    cuts = np.cumsum([len(own) for own in values.values()])[:-1]
    return dict(zip(values, np.split(every, cuts), strict=True)), task


def _stacked(which: str, targets: list[Any]) -> Array:
    try:
        return np.asarray(targets)
    except ValueError as error:
        raise DataError(
            f"The targets of the {which} dataset have several shapes: {error}", hint="Return one class or one value."
        ) from error


def _named(task: Task, dataset: Any) -> Task:
    """Classes and labels under the names that a dataset declares, as torchvision's do, if it counts them from 0."""
    names = getattr(dataset, "classes", ())
    numbers = tuple(str(number) for number in range(task.num_outputs))
    if not isinstance(names, list | tuple) or len(names) != task.num_outputs or task.class_names != numbers:
        return task
    return Task(kind=task.kind, num_outputs=task.num_outputs, class_names=tuple(map(str, names)))


def _notes(items: Any, name: str) -> tuple[str, ...]:
    first, again = (_item(items, 0, name)[0] for _ in range(2))
    if first.shape == again.shape and np.array_equal(first, again):
        return ()
    return (
        f"Dataset {name}: item 0 differs each time it is read. Items are read once and kept as they were then. To "
        "change inputs at random in each epoch, choose a regularizer such as augment.",
    )
