"""The capacity of a network against its error on training and test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regplug.lab import Findings, Lab, curves, greater, series

WIDTHS = (1, 2, 4, 8, 32, 128)

RECIPE: dict[str, Any] = {
    "dataset": "moons:train_rows=100,validation_rows=0,noise=0.35", "model": "mlp", "lr": 0.2, "momentum": 0.9,
    "batch_size": 20, "probe": (), "grid": ["model.hidden=" + ",".join(f"[{width}]" for width in WIDTHS)],
    "baseline": "model.hidden=[1]",
}  # fmt: skip

TEXT = """
A network of one unit cannot follow the two half moons: it underfits, and its error is high on training and test rows
alike. With more units the training error falls towards zero, and below the error of the noise. The test error falls
too, but not as far: what the larger networks learn in addition is the noise of their 100 rows. The test loss, which
punishes confident mistakes, is least for a network of a few units and rises again with the width. The error itself
hardly rises: a network may overfit its probabilities long before it overfits its decisions.
"""


def parameters(width: int) -> int:
    """Returns the number of parameters of 2 inputs, one hidden layer and 2 classes."""
    return (2 + 1) * width + (width + 1) * 2


def _at_best(loss: Mapping[int, Sequence[float]]) -> list[float]:
    """Returns each seed's loss at the width with the least mean loss over the other half of the seeds."""
    loss_SW = np.array(list(loss.values())).T
    halves = np.arange(len(loss_SW)) % 2
    # A sum is zero, not undefined, where a single seed leaves the other half empty.
    best = [int(loss_SW[halves != half].sum(0).argmin()) for half in (0, 1)]
    return [float(loss_W[best[half]]) for loss_W, half in zip(loss_SW, halves, strict=True)]


def capacity(lab: Lab) -> Findings:
    """Trains one hidden layer of growing width on noisy half moons."""
    epochs = lab.pick(300, 60)
    runs = lab.sweep(epochs=epochs, evaluate_every=max(1, epochs // 30), **RECIPE)
    each = {width: runs[f"model.hidden=[{width}]"] for width in WIDTHS}
    errors = {
        split: {width: [1 - value for value in each[width].values(f"{split}/accuracy")] for width in WIDTHS}
        for split in ("train", "test")
    }
    loss = {width: each[width].values("test/loss") for width in WIDTHS}
    gap = {width: list(np.subtract(errors["test"][width], errors["train"][width])) for width in WIDTHS}
    least, best, most = WIDTHS[0], 8, WIDTHS[-1]
    too_short = lab.shortened("60 epochs instead of 300")
    source = "Goodfellow, Bengio and Courville 2016, section 5.2"
    values = {f"{split}_error/{width}": errors[split][width] for split in errors for width in WIDTHS}
    return Findings(
        claims=[
            greater("fits", "More units fit the training rows better.", errors["train"][least], errors["train"][most],
                    source=source, undecided=too_short),
            greater("underfits", "One unit is worse on the test rows than eight.", errors["test"][least],
                    errors["test"][best], source=source, undecided=too_short),
            greater("gap", "The gap between test and training error grows with the number of units.", gap[most],
                    gap[least], source=source, undecided=too_short),
            greater("overfits", "The test loss of 128 units is higher than that of the best width, which is chosen on "
                    "the other half of the seeds.", loss[most], _at_best(loss), source=source, undecided=too_short),
        ],
        values={**values, **{f"test_loss/{width}": loss[width] for width in WIDTHS}},
        text=TEXT,
        figures=[
            series("capacity", "Error against the number of parameters", "Mean and range of the seeds.",
                   [parameters(width) for width in WIDTHS],
                   {"error": {split: np.array([by[width] for width in WIDTHS]).T for split, by in errors.items()},
                    "loss": {"train": np.array([each[width].values("train/loss") for width in WIDTHS]).T,
                             "test": np.array([loss[width] for width in WIDTHS]).T}},
                   x_name="parameters", log_x=True),
            curves("learning", "Test loss over the epochs", "Three of the widths; mean of the seeds and one standard "
                   "deviation.", {"test loss": {f"{width} unit{'s' * (width > 1)}": each[width].curves("test/loss")
                                                for width in (least, best, most)}}),
        ],
    )  # fmt: skip
