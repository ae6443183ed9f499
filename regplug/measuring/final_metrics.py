"""Final metrics of one run or of each run of a stack, computed from the final weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.data import Prepared
from regplug.data.inputs import Inputs
from regplug.measuring.guessing import Guess, find_guess
from regplug.measuring.metrics import evaluate_predictions, row_metrics
from regplug.training.loop import Trainer

SPLITS = ("train", "valid", "test")
JUDGED = ("valid", "test")
"""Splits with all metrics; the training rows have only loss and accuracy."""


@dataclass(frozen=True, kw_only=True)
class Final:
    """Final metrics of one run, without its probes.

    Args:
        metrics: `loss` and `accuracy` of each split, `gap/...` as test minus train, for the validation and test rows
            all metrics of `evaluate_predictions`, and the number of trained parameters.
        outputs: Logits or values `(rows, K)` of the validation and test rows, by split.
        rows: The metrics that are means over rows, on each test row `(rows,)`: bool or floating point.
        guess: The constant prediction that the model does not beat, or `None`; `None` also before the first epoch.
    """

    metrics: Mapping[str, float]
    outputs: Mapping[str, NDArray[Any]]
    rows: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    guess: Guess | None = None


PARAMETERS = "model/parameters"
"""Metric with the number of trained parameters."""

CORRUPTED = "corrupted"
"""Prefix of the metrics of the noisy copy of the test rows."""


def measure_final(
    trainer: Trainer,
    datas: Sequence[Prepared],
    *,
    judged: str = "test",
    noisy: Sequence[Inputs] = (),
    keeps_rows: bool = True,
) -> dict[int, Final]:
    """Measures the final weights in evaluation mode, on every split that the data have.

    Args:
        trainer: The trainer of one run or of a stack, after training.
        datas: The data of each run, in the trainer's order.
        judged: The held-out split: `test`, or `valid` for a fold.
        noisy: Each run's test inputs with noise, if they are measured beside the clean ones.
        keeps_rows: Whether to return the metrics of each test row.

    Returns:
        Index of the run -> its final metrics; runs that diverged are left out.

    Raises:
        DivergedError: An output is not finite.
    """
    splits = [split for split in SPLITS if getattr(datas[0], split) is not None]
    measured = {name: numbers for split in splits for name, numbers in trainer.evaluate(split).items()}
    if noisy:
        for name, numbers in trainer.evaluate_at("test", noisy).items():
            measured[name.replace("test/", f"{CORRUPTED}/", 1)] = numbers
    tensors = {split: trainer.outputs(split) for split in splits if split in JUDGED}
    losses = trainer.row_losses("test", tensors["test"]).cpu().numpy() if keeps_rows else None
    outputs = {split: each.cpu().numpy() for split, each in tensors.items()}
    finals: dict[int, Final] = {}
    for run, (data, where) in enumerate(zip(datas, trainer.state.diverged, strict=True)):
        if not where:
            own = {split: data.in_units(each[run] if len(datas) > 1 else each) for split, each in outputs.items()}
            values = {name: numbers[run] for name, numbers in measured.items()}
            own_losses = losses[run] if losses is not None and len(datas) > 1 else losses
            finals[run] = Final(
                metrics=_judged(own, data) | values | _gaps(values) | {PARAMETERS: float(trainer.num_parameters)},
                outputs=own,
                rows={} if own_losses is None else _by_row(own["test"], own_losses, data),
                guess=_guess(own[judged], data, judged) if trainer.state.epoch else None,
            )
    return finals


def _guess(outputs: NDArray[Any], data: Prepared, split: str) -> Guess | None:
    targets, train_targets = (getattr(data.raw, name).y for name in (split, "train"))
    return find_guess(outputs, targets, train_targets, data.task, split)


def _judged(outputs: Mapping[str, NDArray[Any]], data: Prepared) -> dict[str, float]:
    found: dict[str, float] = {}
    for split, values in outputs.items():
        targets = getattr(data.raw, split).y
        told = evaluate_predictions(values, targets, data.task)
        found |= {f"{split}/{name}": value for name, value in told.items()}
    return found


def _by_row(outputs: NDArray[Any], losses: NDArray[Any], data: Prepared) -> dict[str, NDArray[Any]]:
    values = {"loss": losses, **row_metrics(outputs, data.raw.test.y, data.task)}
    return {f"test/{name}": compacted(each) for name, each in values.items()}


def compacted(values: NDArray[Any]) -> NDArray[Any]:
    """Returns values in half precision if that keeps their mean to a thousandth of their size, else in single.

    >>> [compacted(np.array(values)).dtype.name for values in ([True], [0.5, 2.5], [1e6, 2e6], [1e-9, 2e-9])]
    ['bool', 'float16', 'float32', 'float32']
    """
    if values.dtype == np.bool_:
        return values
    size = float(np.abs(values).mean(dtype=np.float64))
    if float(np.abs(values).max(initial=0)) < float(np.finfo(np.float16).max):
        half = values.astype(np.float16)
        if abs(float(np.abs(half).mean(dtype=np.float64)) - size) <= 1e-3 * size:
            return half
    return values.astype(np.float32)


def _gaps(values: Mapping[str, float]) -> dict[str, float]:
    names = [name for name in ("loss", "accuracy") if f"test/{name}" in values and f"train/{name}" in values]
    return {f"gap/{name}": values[f"test/{name}"] - values[f"train/{name}"] for name in names}
