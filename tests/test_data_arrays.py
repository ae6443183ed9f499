"""A user's own arrays as a dataset."""

import numpy as np
import pytest
import torch

from regplug.data import prepare, raw_from_arrays
from regplug.errors import DataError

RNG = np.random.default_rng(0)


def test_floating_targets_make_a_regression_and_rows_keep_their_targets():
    x = RNG.normal(size=(50, 3))
    raw = raw_from_arrays(x, x.sum(axis=1))
    assert (raw.task.kind, raw.task.num_outputs) == ("regression", 1)
    assert [len(split) for _, split in raw.splits()] == [30, 10, 10]
    for _, split in raw.splits():
        assert split.y == pytest.approx(split.x.sum(axis=1, keepdims=True), rel=1e-4)
    assert prepare(raw).train.x.mean(dim=0).abs().max() < 1e-6


def test_several_floating_columns_are_several_outputs():
    assert raw_from_arrays(np.zeros((10, 2)), np.zeros((10, 3))).task.num_outputs == 3


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.arange(30) % 3, ("0", "1", "2")),
        ([7, 9, 7] * 10, ("7", "9")),
        (["no", "yes", "yes"] * 10, ("no", "yes")),
        (np.arange(30) % 2 == 0, ("False", "True")),
        (torch.arange(30) % 2, ("0", "1")),
    ],
)
def test_integers_text_and_booleans_are_classes(labels, names):
    raw = raw_from_arrays(np.arange(60.0).reshape(30, 2), labels)
    assert raw.task.class_names == names
    for _, split in raw.splits():
        rows = (split.x[:, 0] / 2).astype(int)
        assert [names[label] for label in split.y] == [str(np.asarray(labels)[row]) for row in rows]
    prepare(raw)


def test_uint8_images_stay_bytes_and_are_scaled_by_their_range():
    raw = raw_from_arrays(RNG.integers(0, 100, (20, 1, 4, 4), dtype=np.uint8), np.arange(20) % 2)
    assert (raw.inputs.dtype, raw.inputs.layout, raw.normalize) == ("uint8", "image", "unit")
    assert prepare(raw).train.x.max() < 0.4


def test_a_tensor_that_learns_is_taken_and_left_as_it_is():
    x = torch.randn(10, 2, requires_grad=True)
    raw = raw_from_arrays(x, torch.randn(10), normalize="none", valid=0)
    prepare(raw).train.x.zero_()
    assert raw.valid is None
    assert x.abs().sum() > 0


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((5, 4, 4)), np.zeros(5), r"x is float64 of shape \(5, 4, 4\)"),
        (np.zeros(5), np.zeros(5), "it must be numbers of shape"),
        (np.array([["a"], ["b"]]), np.zeros(2), "it must be numbers of shape"),
        (np.zeros((5, 2)), np.zeros(4), "x has 5 rows and y has 4"),
        (np.zeros((5, 2)), np.eye(5, dtype=int), "these are classes as one-hot rows"),
        (np.zeros((0, 2)), np.zeros(0), "0 rows cannot be split"),
    ],
)
def test_arrays_of_another_shape_or_type_are_refused(x, y, message):
    with pytest.raises(DataError, match=message):
        raw_from_arrays(x, y)
