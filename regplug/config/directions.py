"""The direction of a metric, derived from its name."""

from __future__ import annotations

from regplug.errors import RequestError

_LOWER_ERRORS = ("loss", "objective", "error", "rmse", "mse", "mae", "mape", "nll", "perplexity", "brier", "ece")
_HIGHER_SHARES = ("accuracy", "auroc", "auc", "auprc", "f1", "precision", "recall", "sensitivity", "specificity")

LOWER = frozenset((*_LOWER_ERRORS, "deviance", "seconds", "bytes", "latency"))
HIGHER = frozenset((*_HIGHER_SHARES, "match", "r2", "mcc", "kappa"))


def is_lower_better(metric: str) -> bool:
    """Returns whether a smaller value of the metric is better.

    The words of the last part of the name decide: `valid/running_loss` is a loss, `test/macro_f1` an f1.

    Raises:
        RequestError: The name does not imply a direction, as for `norm/weight` or a gap.

    >>> is_lower_better("test/rmse"), is_lower_better("valid/balanced_accuracy")
    (True, False)
    """
    prefix, _, quantity = metric.rpartition("/")
    words = set(quantity.lower().split("_"))
    lower, higher = bool(words & LOWER), bool(words & HIGHER)
    if lower == higher or prefix.split("/")[0] == "gap":
        raise RequestError(
            f"Whether a lower or a higher {metric!r} is better is unknown.",
            hint="Say so with --minimize or --maximize, or choose another metric. Lower is better for: "
            f"{', '.join(sorted(LOWER))}. Higher is better for: {', '.join(sorted(HIGHER))}.",
        )
    return lower


def check_direction(metric: str, minimize: bool | None) -> None:
    """Checks that a stated direction has an effect, and does not contradict the name of the metric.

    Args:
        metric: The metric, or empty if none was named.
        minimize: Whether lower values are better; `None` if that was not stated.

    Raises:
        RequestError: No metric was named, or its name implies the other direction.
    """
    if minimize is None:
        return
    flag = "--minimize" if minimize else "--maximize"
    if not metric:
        raise RequestError(f"{flag} needs a metric.", hint="Add --metric NAME.")
    try:
        known = is_lower_better(metric)
    except RequestError:
        return
    if known != minimize:
        raise RequestError(
            f"{flag} contradicts the metric {metric!r}, of which a {'lower' if known else 'higher'} value is better.",
            hint=f"Leave out {flag}.",
        )


def check_selection(metric: str) -> None:
    """Checks that a metric may choose the best setting.

    Raises:
        RequestError: It is a metric of the test set.
    """
    if metric.split("/")[0] == "test":
        raise RequestError(
            f"The best setting must not be chosen by {metric!r}: the test set only evaluates the chosen setting.",
            hint="Use a valid/ metric, such as valid/loss; add a validation split if the dataset has none.",
        )
