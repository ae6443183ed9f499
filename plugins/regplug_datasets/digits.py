"""Handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from regplug.api import DataContext, Task
from regplug.data import InputSpec, RawData, Split, split_indices
from regplug_datasets import DigitsParams

HIGHEST_COUNT = 16
"""A pixel counts the ink in a 4x4 block of the scan."""


def digits(params: DigitsParams, context: DataContext) -> RawData:
    """Returns 1,797 images uint8 `(1, 8, 8)` with values 0 to 16, parted with the same share of each digit.

    Source: Alpaydin and Kaynak 1998, the test part of UCI's Optical Recognition of Handwritten Digits.
    """
    bunch = load_digits()
    images = Split(x=bunch.images.astype(np.uint8)[:, None], y=bunch.target.astype(np.int64))
    train, valid, test = split_indices(
        len(images), valid=params.validation, test=params.test, seed=context.data_seed, labels=images.y
    )
    return RawData(
        name="digits",
        train=images.take(train),
        valid=images.take(valid) if len(valid) else None,
        test=images.take(test),
        task=Task(kind="classification", num_outputs=10, class_names=tuple("0123456789")),
        inputs=InputSpec(layout="image", shape=(1, 8, 8), dtype="uint8", low=0, high=HIGHEST_COUNT),
        normalize=params.normalize,
        source="scikit-learn, load_digits",
    )
