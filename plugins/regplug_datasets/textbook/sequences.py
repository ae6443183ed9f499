"""Generated sequences.

Shape letters: B rows, T times.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from regplug.api import DataContext, Task
from regplug.data import InputSpec, RawData, Split
from regplug_datasets.textbook import AddingParams
from regplug_datasets.textbook.drawing import draw_splits


def adding(params: AddingParams, context: DataContext) -> RawData:
    """Returns sequences of a random number from [0, 1) and a mark at each time; the target is the sum of two numbers.

    One of the two marked times lies in the first half and one in the second.

    Source: Hochreiter and Schmidhuber 1997, section 5.4.
    """
    half = params.length // 2

    def draw(split: str, rows: int, generator: Generator) -> Split:  # noqa: ARG001 - all splits are alike
        values_BT = generator.random((rows, params.length)).astype(np.float32)
        marks_BT = np.zeros_like(values_BT)
        for low, high in ((0, half), (half, params.length)):
            marks_BT[np.arange(rows), generator.integers(low, high, rows)] = 1
        sums_B = (values_BT * marks_BT).sum(axis=1, keepdims=True)
        return Split(x=np.stack([values_BT, marks_BT], axis=2), y=sums_B)

    return draw_splits(
        "adding",
        params,
        context,
        draw,
        task=Task(kind="regression", num_outputs=1),
        inputs=InputSpec(layout="array", shape=(params.length, 2), dtype="float32", low=0, high=1),
    )
