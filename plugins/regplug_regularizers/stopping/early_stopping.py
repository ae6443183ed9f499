"""Early stopping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

import torch
from torch import Tensor

from regplug.regularizer import EpochEnd, Member, Notice, RegularizerFunctions, RunContext, Shapes, Step, Tensors


@final
class EarlyStopping(RegularizerFunctions):
    """Stops after `patience` epochs whose validation loss did not fall by `min_delta`, and keeps the best weights.

    Source: Prechelt 1998; Goodfellow et al. 2016, algorithm 7.1.
    """

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Refuses to stop without a validation split, or to keep best weights that nobody measured."""
        if not context.has_validation:
            yield Notice(
                "refuse",
                "early_stopping needs a validation split, and the dataset has none.",
                "Give the dataset one, for example mnist:validation=5000. The test split is never used to choose.",
            )
        averaging = context.others("averaging")
        if averaging and self.params.keep == "best":
            yield Notice(
                "refuse",
                f"early_stopping with {', '.join(averaging)}: the validation loss is that of the average, so the "
                "weights of the best epoch were never measured.",
                "Say early_stopping:keep=last to end with the average at the stop.",
            )

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Nothing seen yet."""
        first = next(iter(params.values()))
        kept = {f"best.{name}": value.clone() for name, value in self._kept(params, buffers).items()}
        return {"loss": first.new_full((), torch.inf), "waited": first.new_zeros(()), **kept}

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Compares, remembers, and stops where patience is at its end."""
        state, loss = step.state, metrics["valid/loss"]
        improved = loss < state["loss"] - step.settings["min_delta"]
        waited = torch.where(improved, 0.0, state["waited"] + 1)
        kept = {
            f"best.{name}": torch.where(improved, value, state[f"best.{name}"])
            for name, value in self._kept(params, buffers).items()
        }
        new = {"loss": torch.where(improved, loss, state["loss"]), "waited": waited, **kept}
        return EpochEnd(params, buffers, new, stop=waited >= step.settings["patience"])

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Member:
        """The weights and running statistics of the best epoch."""
        if self.params.keep != "best":
            return params, buffers
        best = {name: step.state[f"best.{name}"] for name in self._kept(params, buffers)}
        return {name: best[name] for name in params}, {name: best[name] for name in buffers}

    def _kept(self, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        return {**params, **buffers} if self.params.keep == "best" else {}
