"""The values of an epoch's steps, and the metrics of the epoch that they give."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from regplug.training.feed import FedBatch


@dataclass(frozen=True, kw_only=True)
class StepValues:
    """The values of each step, `(steps,)`, or `(steps, runs)` of a stack.

    Args:
        total: Objective.
        loss: Data loss.
        hits: Number of rows that were classified correctly; `None` for a regression.
        sizes: Number of rows, `(steps,)`.
    """

    total: Tensor
    loss: Tensor
    hits: Tensor | None
    sizes: Tensor

    @classmethod
    def collect(
        cls, steps: Iterable[tuple[FedBatch, tuple[Tensor, Tensor, Tensor]]], *, is_classification: bool
    ) -> StepValues:
        """Runs the steps of an epoch.

        Args:
            steps: Yields each batch with its objective, loss and logits.
            is_classification: Whether the targets are classes.
        """
        totals, losses, hits, sizes = [], [], [], []
        for batch, (total, loss, logits) in steps:
            totals.append(total)
            losses.append(loss)
            sizes.append(batch.size)
            if is_classification:
                hits.append((logits.argmax(-1) == batch.y).sum(-1))
        loss_values = torch.stack(losses)
        return cls(
            total=torch.stack(totals),
            loss=loss_values,
            hits=torch.stack(hits) if hits else None,
            sizes=torch.tensor(sizes, dtype=loss_values.dtype, device=loss_values.device),
        )

    def metrics(self) -> dict[str, Tensor]:
        """Returns the means over the epoch's rows, a scalar each, or `(runs,)` of a stack."""
        share = self.sizes / self.sizes.sum()
        share = share.view(-1, *[1] * (self.total.ndim - 1))
        metrics = {
            "train/objective": (self.total * share).sum(0),
            "train/running_loss": (self.loss * share).sum(0),
        }
        if self.hits is not None:
            metrics["train/running_accuracy"] = self.hits.sum(0) / self.sizes.sum()
        return metrics
