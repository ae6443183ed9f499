"""Which way a metric is better, known from its name."""

from __future__ import annotations

from regplug.errors import RequestError

_LOWER_ERRORS = ("loss", "objective", "error", "rmse", "mse", "mae", "mape", "nll", "perplexity", "brier", "ece")
_HIGHER_SHARES = ("accuracy", "auroc", "auc", "auprc", "f1", "precision", "recall", "sensitivity", "specificity")

LOWER = frozenset((*_LOWER_ERRORS, "deviance", "seconds", "bytes", "latency"))
HIGHER = frozenset((*_HIGHER_SHARES, "r2", "mcc", "kappa"))


def is_lower_better(metric: str) -> bool:
    """Returns whether a smaller value of the metric is better.

    The last part of the name decides, word by word: `valid/running_loss` is a loss, `test/macro_f1` an f1.

    Raises:
        RequestError: The name does not tell, as `norm/weight`; or the metric is a gap, which is best at no end.

    >>> is_lower_better("test/rmse"), is_lower_better("valid/balanced_accuracy")
    (True, False)
    """
    prefix, _, quantity = metric.rpartition("/")
    words = set(quantity.lower().split("_"))
    lower, higher = bool(words & LOWER), bool(words & HIGHER)
    if lower == higher or prefix.split("/")[0] == "gap":
        raise RequestError(
            f"Whether a lower or a higher {metric!r} is better cannot be told from its name.",
            hint=f"Say which. Lower is known for: {', '.join(sorted(LOWER))}. Higher for: {', '.join(sorted(HIGHER))}.",
        )
    return lower


def check_selection(metric: str) -> None:
    """Refuses to select by what the selected setting is judged by.

    Raises:
        RequestError: It is a metric of the test set.
    """
    if metric.split("/")[0] == "test":
        raise RequestError(
            f"The best setting must not be chosen by {metric!r}: the test set is there to judge the choice.",
            hint="Choose by a valid/ metric, such as valid/loss; give the data a validation part if they have none.",
        )
