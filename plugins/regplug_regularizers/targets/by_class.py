"""Losses of a row by its class, for targets that are classes or class probabilities.

Shape letters: B rows of the batch, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from regplug.regularizer import Notice, RunContext


def by_class(targets: Tensor, values_BK: Tensor) -> Tensor:
    """Returns each row's value at its class, `(B,)`; at soft targets the mean of its values under them.

    So what is computed here is linear in the targets, as cross entropy is: a mixed or smoothed target costs the same
    mixture of the costs of its classes.

    Args:
        targets: Classes `(B,)` int64, or class probabilities `(B, K)`.
        values_BK: A value for each class.
    """
    if targets.is_floating_point():
        return (targets * values_BK).sum(1)
    return values_BK.gather(1, targets[:, None])[:, 0]


def require_cross_entropy(name: str, context: RunContext) -> Iterator[Notice]:
    """Refuses another loss than the cross entropy, which the method changes."""
    if context.loss not in ("", "cross_entropy"):
        yield Notice(
            "refuse",
            f"{name} changes the cross entropy, and the loss is {context.loss}.",
            f"Use --loss cross_entropy, or leave {name} out.",
        )
