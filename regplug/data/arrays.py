"""Turns the user's arrays into a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from regplug.api import Task
from regplug.data.raw import Array, InputSpec, Normalization, RawData, Split
from regplug.data.splits import split_groups, split_indices
from regplug.errors import DataError


def raw_from_arrays(
    x: Any,
    y: Any,
    *,
    valid: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
    normalize: Normalization | None = None,
    name: str = "arrays",
    scale_targets: bool = True,
    groups: Any = None,
    weights: Any = None,
) -> RawData:
    """Returns arrays as a dataset, split at random; classes have the same share in each split.

    Args:
        x: Rows `(B, F)` or images `(B, C, H, W)`; NumPy's, torch's or nested lists. Images of uint8 stay uint8 with the
            range 0 to 255; all else becomes float32.
        y: Classes `(B,)` as integers, booleans or text; values of a floating type, `(B,)` or `(B, K)`; or several
            labels for each row, `(B, K)` of integers 0 and 1 or booleans.
        valid: Validation rows: a share below 1, or a number of rows; 0 for none.
        test: Test rows, likewise.
        seed: The data's seed.
        normalize: As in `RawData`; `None` for `unit` with uint8 images and `standard` else.
        name: Of the dataset.
        scale_targets: As in `RawData`.
        groups: The group of each row `(B,)`: rows of one group stay in one split, and in one fold.
        weights: Weight of each row in the training loss, `(B,)`, 0 or more. Weights of other rows are not used.

    Raises:
        DataError: The arrays have another number of axes or of rows, or are too few for the splits.

    >>> raw = raw_from_arrays([[0.0], [1.0], [2.0], [3.0]], [0.5, 1.5, 2.5, 3.5], valid=1, test=1)
    >>> raw.task.kind, len(raw.train)
    ('regression', 2)
    """
    inputs_x, inputs = _inputs(_to_numpy(x, "x"))
    targets, task = describe_targets(_to_numpy(y, "y"))
    if len(inputs_x) != len(targets):
        raise DataError(f"x has {len(inputs_x)} rows and y has {len(targets)}.", hint="Give one target for each row.")
    labels = targets if task.is_classification else None
    if groups is None:
        index = split_indices(len(targets), valid=valid, test=test, seed=seed, labels=labels)
    else:
        groups = _groups(groups, len(targets))
        index = split_groups(groups, valid=valid, test=test, seed=seed)
    train, validation, testing = (Split(x=inputs_x[rows], y=targets[rows]) for rows in index)
    return RawData(
        name=name,
        train=train,
        valid=validation if len(validation) else None,
        test=testing,
        task=task,
        inputs=inputs,
        normalize=normalize or ("unit" if inputs.dtype == "uint8" else "standard"),
        source="arrays in memory",
        scale_targets=scale_targets and task.kind == "regression",
        groups=None if groups is None else groups[np.concatenate(index[:2])],
        weights=None if weights is None else check_weights(weights, index, "weights")[np.concatenate(index[:2])],
        notes=_channel_notes(inputs_x.shape),
    )


def _channel_notes(shape: tuple[int, ...]) -> tuple[str, ...]:
    """Says how images are read whose channels seem to be last."""
    channels = (1, 3, 4)
    if len(shape) != 4 or shape[1] in channels or shape[3] not in channels:
        return ()
    _, first, height, width = shape
    return (
        f"x has shape {shape} and is read as {first} channels of {height}x{width} pixels. If its channels are last, "
        "pass x.transpose(0, 3, 1, 2).",
    )


def encode_classes(labels: Array) -> tuple[Array, tuple[str, ...]]:
    """Returns the labels' ranks as int64 `(B,)` and the sorted labels as text.

    >>> encode_classes(np.array(["b", "a", "b"]))
    (array([1, 0, 1]), ('a', 'b'))
    """
    names, classes = np.unique(labels, return_inverse=True)
    return classes.astype(np.int64), tuple(str(label) for label in names)


def check_weights(weights: Any, index: Sequence[Array], source: str) -> Array:
    """Returns the weight of each row, float64 `(B,)`.

    Args:
        weights: One number for each row.
        index: The rows of each split, training rows first.
        source: Where the weights come from, for messages.

    Raises:
        DataError: Their number is wrong, a weight is negative or not finite, or all training rows have weight 0.
    """
    rows = sum(map(len, index))
    known = _to_numpy(weights, source)
    if known.shape != (rows,) or known.dtype.kind not in "buif":
        raise DataError(
            f"{source}: {known.dtype} of shape {known.shape} for {rows} rows.", hint="Give one number for each row."
        )
    known = known.astype(np.float64)
    wrong = ~(np.isfinite(known) & (known >= 0))
    if wrong.any():
        raise DataError(
            f"{source}: the weight of row {int(wrong.argmax())} is {known[wrong.argmax()]:g}; rows are counted from 0.",
            hint="Weights must be finite and not negative.",
        )
    if not known[index[0]].any():
        raise DataError(f"{source}: every training row has weight 0.", hint="Give some training rows a weight.")
    return known


def _to_numpy(array: Any, name: str) -> Array:
    if isinstance(array, torch.Tensor):
        return array.detach().cpu().numpy()
    try:
        return np.asarray(array)
    except ValueError as error:
        raise DataError(
            f"{name} is no array of numbers: {error}", hint="All rows need the same number of values."
        ) from error


def _plain_labels(y: Array) -> Array:
    """Labels of text, as a column of a data frame has them."""
    missing = [row for row, label in enumerate(y) if label is None or label != label]
    if missing:
        raise DataError(f"y has no label in row {missing[0]}.", hint="Rows are counted from 0. Leave the row out.")
    return y.astype(str) if any(isinstance(label, str) for label in y) else np.array(y.tolist())


def _groups(groups: Any, rows: int) -> Array:
    known = np.asarray(groups)
    if known.shape != (rows,):
        raise DataError(f"group has shape {known.shape} for {rows} rows.", hint="Give the group of each row.")
    return known.astype(str) if known.dtype == object else known


def _inputs(x: Array) -> tuple[Array, InputSpec]:
    if x.ndim not in (2, 4) or x.dtype.kind not in "buif":
        raise DataError(
            f"x is {x.dtype} of shape {x.shape}; it must be numbers of shape (rows, features) or (rows, channels, "
            "height, width).",
            hint="Grey images (rows, height, width) need a channel axis: x[:, None].",
        )
    if 0 in x.shape[1:]:
        raise DataError(f"x has shape {x.shape}: its rows have no values.", hint="Each row needs at least one value.")
    spec = describe_inputs(x.shape[1:], x.dtype)
    try:
        with np.errstate(over="raise"):
            return x.astype(spec.dtype, copy=spec.dtype != "uint8"), spec
    except FloatingPointError as error:
        raise DataError("x has values beyond float32's range.", hint="Choose another unit for them.") from error


def describe_inputs(shape: tuple[int, ...], dtype: np.dtype[Any]) -> InputSpec:
    """Describes inputs of a shape: images of uint8 stay uint8 with the range 0 to 255, all else is float32."""
    if len(shape) == 3 and dtype == np.uint8:
        return InputSpec(layout="image", shape=shape, dtype="uint8", low=0, high=255)
    layout: Literal["image", "row", "array"] = "row" if len(shape) == 1 else "image" if len(shape) == 3 else "array"
    return InputSpec(layout=layout, shape=shape, dtype="float32")


def describe_targets(y: Array) -> tuple[Array, Task]:
    """Returns targets as a run learns them, and what is learned.

    Classes are int64 `(B,)`. Values, and labels of 0 and 1, are float32 `(B, K)`.

    Raises:
        DataError: They are neither classes, nor labels, nor values.
    """
    if y.ndim == 2 and y.shape[1] == 1 and y.dtype.kind != "f":
        y = y[:, 0]
    if y.dtype.kind == "f" and y.ndim in (1, 2):
        values = (y[:, None] if y.ndim == 1 else y).astype(np.float32)
        return values, Task(kind="regression", num_outputs=values.shape[1])
    if y.dtype == object and y.ndim == 1:
        y = _plain_labels(y)
    if y.dtype.kind in "biuU" and y.ndim == 1:
        classes, names = encode_classes(y)
        return classes, Task(kind="classification", num_outputs=len(names), class_names=names)
    if y.dtype.kind in "biu" and y.ndim == 2 and y.size and np.isin(y, (0, 1)).all():
        return _labels(y)
    raise DataError(
        f"y is {y.dtype} of shape {y.shape}; it must be classes (rows,) as integers or text, labels (rows, labels) of "
        "0 and 1, or floating values (rows,) or (rows, outputs).",
        hint="Values that are whole numbers must be of a floating type: y.astype(float).",
    )


def _labels(y_BK: Array) -> tuple[Array, Task]:
    if (y_BK.sum(axis=1) == 1).all():
        raise DataError(
            f"Each of the {len(y_BK)} rows of y has one 1: these are classes as one-hot rows, not labels.",
            hint="Pass the classes: y.argmax(axis=1).",
        )
    constant = [at for at, y_B in enumerate(y_BK.T) if (y_B == y_B[0]).all()]
    if constant:
        raise DataError(f"y, column {constant[0]}: the label is {int(y_BK[0, constant[0]])} in every row.")
    names = tuple(map(str, range(y_BK.shape[1])))
    return y_BK.astype(np.float32), Task(kind="multilabel", num_outputs=len(names), class_names=names)
