"""Final metrics of one run or of each run of a stack, computed from the final weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from regplug.data import Prepared
from regplug.data.inputs import Inputs
from regplug.measuring.guessing import Guess, find_guess
from regplug.measuring.metrics import evaluate_predictions
from regplug.training.loop import Trainer

SPLITS = ("train", "valid", "test")
JUDGED = ("valid", "test")
"""Splits with all metrics; the training rows have only loss and accuracy."""


@dataclass(frozen=True, kw_only=True)
class Final:
    """Final metrics of one run, without its probes.

    Args:
        metrics: `loss` and `accuracy` of each split, `gap/...` as test minus train, and for the validation and test
            rows all metrics of `evaluate_predictions`.
        outputs: Logits or values `(rows, K)` of the validation and test rows, by split.
        guess: The constant prediction that the model does not beat, or `None`; `None` also before the first epoch.
    """

    metrics: Mapping[str, float]
    outputs: Mapping[str, NDArray[Any]]
    guess: Guess | None = None


CORRUPTED = "corrupted"
"""Prefix of the metrics of the noisy copy of the test rows."""


def measure_final(
    trainer: Trainer, datas: Sequence[Prepared], *, judged: str = "test", noisy: Sequence[Inputs] = ()
) -> dict[int, Final]:
    """Measures the final weights in evaluation mode, on every split that the data have.

    Args:
        trainer: The trainer of one run or of a stack, after training.
        datas: The data of each run, in the trainer's order.
        judged: The held-out split: `test`, or `valid` for a fold.
        noisy: Each run's test inputs with noise, if they are measured beside the clean ones.

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
    outputs = {split: trainer.outputs(split).cpu().numpy() for split in splits if split in JUDGED}
    finals: dict[int, Final] = {}
    for run, (data, where) in enumerate(zip(datas, trainer.state.diverged, strict=True)):
        if not where:
            own = {split: data.in_units(each[run] if len(datas) > 1 else each) for split, each in outputs.items()}
            values = {name: numbers[run] for name, numbers in measured.items()}
            finals[run] = Final(
                metrics=_judged(own, data) | values | _gaps(values),
                outputs=own,
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


def _gaps(values: Mapping[str, float]) -> dict[str, float]:
    names = [name for name in ("loss", "accuracy") if f"test/{name}" in values and f"train/{name}" in values]
    return {f"gap/{name}": values[f"test/{name}"] - values[f"train/{name}"] for name in names}
