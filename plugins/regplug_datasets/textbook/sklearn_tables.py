"""Tables that ship with scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import datasets

from regplug.api import DataContext, Task
from regplug.data import InputSpec, RawData, Split, split_indices
from regplug_datasets.textbook import TableParams


def iris(params: TableParams, context: DataContext) -> RawData:
    """Returns 150 flowers of three species.

    Source: Fisher 1936.
    """
    return _classes("iris", datasets.load_iris(), params, context)


def wine(params: TableParams, context: DataContext) -> RawData:
    """Returns 178 wines of three growers.

    Source: Forina et al. 1988, UCI Wine.
    """
    return _classes("wine", datasets.load_wine(), params, context)


def breast_cancer(params: TableParams, context: DataContext) -> RawData:
    """Returns 569 tumours, malignant or benign.

    Source: Street, Wolberg and Mangasarian 1993.
    """
    return _classes("breast_cancer", datasets.load_breast_cancer(), params, context)


def diabetes(params: TableParams, context: DataContext) -> RawData:
    """Returns 442 patients with unscaled measures; the target runs from 25 to 346.

    Source: Efron, Hastie, Johnstone and Tibshirani 2004.
    """
    bunch = datasets.load_diabetes(scaled=False)
    rows = Split(x=bunch.data.astype(np.float32), y=bunch.target.astype(np.float32)[:, None])
    return _parted("diabetes", rows, bunch, Task(kind="regression", num_outputs=1), params, context)


def _classes(name: str, bunch: Any, params: TableParams, context: DataContext) -> RawData:
    names = tuple(map(str, bunch.target_names))
    rows = Split(x=bunch.data.astype(np.float32), y=bunch.target.astype(np.int64))
    task = Task(kind="classification", num_outputs=len(names), class_names=names)
    return _parted(name, rows, bunch, task, params, context)


def _parted(name: str, rows: Split, bunch: Any, task: Task, params: TableParams, context: DataContext) -> RawData:
    labels = rows.y if task.is_classification else None
    train, valid, test = split_indices(
        len(rows), valid=params.validation, test=params.test, seed=context.data_seed, labels=labels
    )
    return RawData(
        name=name,
        train=rows.take(train),
        valid=rows.take(valid) if len(valid) else None,
        test=rows.take(test),
        task=task,
        inputs=InputSpec(
            layout="row", shape=rows.x.shape[1:], dtype="float32", names=tuple(map(str, bunch.feature_names))
        ),
        normalize=params.normalize,
        source=f"scikit-learn, load_{name}",
    )
