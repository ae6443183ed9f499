"""Generated data, of which the truth is known.

Shape letters: B rows, F features.
"""

from __future__ import annotations

import numpy as np

from regplug.api import DataContext, Task
from regplug.data import InputSpec, RawData, Split
from regplug.seeds import derive_seed
from regplug_datasets import LinearRegressionParams


def linear_regression(params: LinearRegressionParams, context: DataContext) -> RawData:
    """Returns rows of a noisy linear function, `y = bias + sum_i weight x_i + N(0, noise^2)`.

    Each split is drawn from a stream of its own, so the size of one never moves another.

    Source: Zhang et al., Dive into Deep Learning, section 3.7.
    """
    is_uniform = params.features == "uniform"
    return RawData(
        name="linear_regression",
        train=_draw(params, context.data_seed, "train", params.train_rows),
        valid=_draw(params, context.data_seed, "valid", params.validation_rows) if params.validation_rows else None,
        test=_draw(params, context.data_seed, "test", params.test_rows),
        task=Task(kind="regression", num_outputs=1),
        inputs=InputSpec(
            layout="row",
            shape=(params.num_features,),
            dtype="float32",
            low=0 if is_uniform else None,
            high=1 if is_uniform else None,
            names=tuple(f"x{number}" for number in range(1, params.num_features + 1)),
        ),
        normalize=params.normalize,
        source=f"generated from data seed {context.data_seed}",
    )


def _draw(params: LinearRegressionParams, data_seed: int, split: str, num_rows: int) -> Split:
    generator = np.random.default_rng(derive_seed(data_seed, "linear_regression", split))
    size = (num_rows, params.num_features)
    x_BF = generator.random(size) if params.features == "uniform" else generator.standard_normal(size)
    noise_B = params.noise * generator.standard_normal(num_rows)
    # float32 before the sum: the target belongs to the rows that the model will see.
    x_BF = x_BF.astype(np.float32)
    y_B = params.bias + params.weight * x_BF.sum(axis=1, dtype=np.float64) + noise_B
    return Split(x=x_BF, y=y_B.astype(np.float32)[:, None])
