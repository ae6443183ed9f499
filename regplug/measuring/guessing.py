"""Checks whether a model beats a constant prediction: the most frequent training class, or the training means.

Shape letters: B rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regplug.api import Task
from regplug.measuring.metrics import evaluate_predictions

Array = NDArray[Any]

ALPHA = 0.05
"""Significance level of the one-sided test of an accuracy."""

UNEVEN = 1.25
"""If the most frequent class has more than this many times 1/K of the rows, accuracy may hide what was learned."""

_Z = 2.33
"""The normal distribution's upper 1 % point: an untrained network prefers some classes, and so agrees with the targets
slightly more often than by chance."""

SMALL_RATE = 1e-3
"""A learning rate below this is more likely too small than too large."""

MOST_FITTED = 0.8
"""Share of the constant prediction's loss below which the training rows count as fitted."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A constant prediction that a model does not beat.

    Args:
        split: The evaluated split.
        metric: `accuracy`, `loss` or `r2`.
        value: The model's value.
        fixed: The constant prediction's value.
        answer: Description of the constant prediction.
        rows: Number of evaluated rows.
        is_hidden: Whether one class is so frequent that accuracy hides what the model learned: its predictions or
            probabilities still distinguish the classes.
    """

    split: str
    metric: str
    value: float
    fixed: float
    answer: str
    rows: int
    is_hidden: bool = False

    @property
    def figures(self) -> str:
        """Both values as text."""
        return f"{self.split}/{self.metric} {self.value:.4g}; always predicting {self.answer}: {self.fixed:.4g}"

    @property
    def sentence(self) -> str:
        """The warning as a sentence."""
        start = "Accuracy does not show what was learned" if self.is_hidden else "No better than guessing"
        is_above = self.metric == "accuracy" and self.value > self.fixed
        beyond = f"; on {self.rows} rows, chance alone can explain the difference" if is_above else ""
        return f"{start}: {self.figures}{beyond}."

    def advice(self, rate: float, *, has_fitted: bool) -> str:
        """Returns suggestions.

        Args:
            rate: The learning rate.
            has_fitted: Whether the model fits the training rows better than the constant prediction.
        """
        if self.is_hidden:
            return f"Look at {self.split}/balanced_accuracy, {self.split}/macro_f1 and {self.split}/auroc."
        if has_fitted:
            return (
                "It fits its training rows, so training works: try more rows or a stronger --reg, and check that the "
                "inputs contain information about the target."
            )
        change = "larger" if rate < SMALL_RATE else "smaller"
        return f"Try a {change} --lr (it is {rate:g}), another --init, or more --epochs."


def has_fitted(train_loss: float, loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor, task: Task) -> bool:
    """Returns whether the model fits the training rows clearly better than the best constant prediction.

    Args:
        train_loss: The model's loss on the training rows.
        loss: The mean loss of outputs `(B, K)` and targets.
        targets: Targets of the training rows.
        task: The task.
    """
    if task.is_classification:
        counts = torch.bincount(targets, minlength=task.num_outputs).double()
        fixed_K = (counts.clamp(min=1e-9) / counts.sum()).log()
    else:
        fixed_K = targets.double().mean(dim=0)
    if task.is_multilabel:
        fixed_K = fixed_K.clamp(1e-9, 1 - 1e-9).logit()
    typed = targets if task.is_classification else targets.double()
    return train_loss < MOST_FITTED * float(loss(fixed_K.expand(len(targets), -1), typed))


def find_guess(outputs_BK: Array, targets: Array, train_targets: Array, task: Task, split: str) -> Guess | None:
    """Returns the constant prediction that a model does not beat; `None` if it does, or if the rows cannot decide.

    Classification: the model is better if a one-sided binomial test at 5 % finds its accuracy above that of the most
    frequent training class on the same rows, and above 1/K. Multilabel: the model is better if its cross-entropy is
    below that of the shares of the labels in the training rows. Regression: the model is better if its R2 is above 0,
    or above that of the training mean.

    Args:
        outputs_BK: Logits or values `(B, K)` of the evaluated rows.
        targets: Their classes int `(B,)`, or values `(B, K)`.
        train_targets: The same for the training rows.
        task: The task.
        split: Name of the evaluated split.
    """
    if task.is_classification:
        return _fixed_class(outputs_BK, targets, train_targets, task, split)
    if task.is_multilabel:
        return _fixed_shares(outputs_BK, targets, train_targets, task, split)
    mean_BK = np.broadcast_to(np.asarray(train_targets, dtype=np.float64).mean(axis=0), np.shape(targets))
    model, fixed = (evaluate_predictions(each, targets, task).get("r2") for each in (outputs_BK, mean_BK))
    if model is None or fixed is None or model > min(0.0, fixed):
        return None
    answer = "the mean of the training rows"
    return Guess(split=split, metric="r2", value=model, fixed=fixed, answer=answer, rows=len(targets))


def _fixed_shares(logits_BK: Array, targets: Array, train_targets: Array, task: Task, split: str) -> Guess | None:
    # With one row more of each kind, a label that no training row has is not impossible.
    share_K = (np.asarray(train_targets, dtype=np.float64).sum(axis=0) + 1) / (len(train_targets) + 2)
    fixed_BK = np.broadcast_to(np.log(share_K) - np.log1p(-share_K), np.shape(targets))
    model, fixed = (evaluate_predictions(each, targets, task)["loss"] for each in (logits_BK, fixed_BK))
    if model < fixed:
        return None
    answer = "the share of each label in the training rows"
    return Guess(split=split, metric="loss", value=model, fixed=fixed, answer=answer, rows=len(targets))


def _fixed_class(logits_BK: Array, targets: Array, train_targets: Array, task: Task, split: str) -> Guess | None:
    from scipy.stats import binom

    counts_K = np.bincount(train_targets, minlength=task.num_outputs)
    frequent, rows = int(counts_K.argmax()), len(targets)
    predicted = np.asarray(logits_BK).argmax(axis=1)
    right, fixed = int((predicted == targets).sum()), float((targets == frequent).mean())
    # The alternative is a uniformly random prediction, which is right on 1/K of any rows.
    by_chance = max(fixed, 1 / task.num_outputs)
    if len(np.unique(targets)) < 2 or binom.sf(right - 1, rows, by_chance) <= ALPHA:
        return None
    name = task.class_names[frequent] if task.class_names else str(frequent)
    return Guess(
        split=split,
        metric="accuracy",
        value=right / rows,
        fixed=fixed,
        answer=f"{name!r}, the most frequent training class",
        rows=rows,
        is_hidden=fixed * task.num_outputs >= UNEVEN
        and (_agree(predicted, targets, task.num_outputs) or _are_likely(logits_BK, targets, counts_K)),
    )


def _agree(predicted: Array, targets: Array, num_classes: int) -> bool:
    """Returns whether predictions agree with the classes more often than the same predictions in random order.

    Under permutation, the number of matches has mean sum_k p_k t_k / n; its variance is the sum of squares of the
    doubly centred matrix of matches, divided by n - 1.
    """
    n = len(targets)
    p_K, t_K = (np.bincount(each, minlength=num_classes).astype(np.float64) for each in (predicted, targets))
    mean = float(p_K @ t_K) / n
    centred_KK = np.eye(num_classes) - t_K[:, None] / n - p_K[None, :] / n + mean / n
    variance = float(p_K @ centred_KK**2 @ t_K) / max(1, n - 1)
    return bool((predicted == targets).sum() - mean > _Z * variance**0.5)


def _are_likely(logits_BK: Array, targets: Array, counts_K: Array) -> bool:
    """Returns whether the model's probabilities fit the classes better than the class shares of the training rows."""
    from scipy.special import log_softmax

    log_share_K = np.log((counts_K + 1) / (counts_K + 1).sum())
    log_model_BK = log_softmax(np.asarray(logits_BK, dtype=np.float64), axis=1)
    gain = log_model_BK[np.arange(len(targets)), targets] - log_share_K[targets]
    return bool(gain.mean() > _Z * gain.std(ddof=1) / len(gain) ** 0.5)
