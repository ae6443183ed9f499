"""Rows that are drawn for a split: those that scikit-learn draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from regplug.data.drawing import distinct, draw_rows

RANDOM = np.random.default_rng(0)
LABELS = {
    "two classes": RANDOM.integers(0, 2, 1000),
    "equal classes, whose remainders are ties": np.arange(70) % 10,
    "rare classes": np.repeat(np.arange(4), [500, 30, 3, 2]),
    "absent classes": RANDOM.choice([1, 5, 9], 200),
    "text": RANDOM.choice(["no", "yes", "perhaps"], 99),
    "300 classes": RANDOM.permutation(np.arange(3000) % 300),
    "numbers far apart": RANDOM.choice([-4, 10**9], 60),
    "numbers of eight bits": RANDOM.integers(0, 250, 1000).astype(np.uint8) // 25,
    "none": None,
}


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("share", [0.17, 0.5])
def test_the_rows_are_those_that_scikit_learn_draws(name, share):
    labels = LABELS[name]
    num_rows = 41 if labels is None else len(labels)
    size = round(share * num_rows)
    for seed in (0, 7, 2**32 - 1):
        wanted = train_test_split(np.arange(num_rows), test_size=size, random_state=seed, stratify=labels)
        drawn = draw_rows(num_rows, size, seed, labels)
        assert all(np.array_equal(*pair) for pair in zip(wanted, drawn, strict=True))


def test_fewer_rows_than_classes_cannot_be_drawn():
    with pytest.raises(ValueError, match="a split of 4 rows is too small for 10 classes"):
        draw_rows(70, 4, 0, LABELS["equal classes, whose remainders are ties"])
    with pytest.raises(ValueError, match="a split of 4 rows is too small for 10 classes"):
        draw_rows(70, 66, 0, LABELS["equal classes, whose remainders are ties"])


@pytest.mark.parametrize("labels", [[], [3, 0, 3], [-1, 4], ["b", "a", "b"]], ids=["none", "small", "negative", "text"])
def test_distinct_labels_are_those_of_numpy(labels):
    given = np.asarray(labels, None if labels else np.int64)
    found = distinct(given)
    for each, expected in zip(found, np.unique(given, return_inverse=True, return_counts=True), strict=True):
        np.testing.assert_array_equal(each, expected)
