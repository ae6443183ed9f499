"""Further passes of one run's model within a step; they return their buffers and write none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from regplug.errors import PluginError
from regplug.regularizer import Outputs, Step, Tensors

if TYPE_CHECKING:
    from regplug.training.program import Program


class RunPasses:
    """See `regplug.regularization.step.Passes`.

    Args:
        program: What the run computes.
        params: The parameters of this phase.
        buffers: The run's buffers.
        sample: Batches of training rows for `recompute_statistics`, each a step.
    """

    __slots__ = ("_buffers", "_params", "_program", "sample")

    def __init__(
        self, program: Program, params: Tensors, buffers: Tensors, sample: Iterable[Step] | None = None
    ) -> None:
        self._program, self._params, self._buffers, self.sample = program, params, buffers, sample

    def run(
        self,
        step: Step,
        *,
        x: Tensor,
        params: Tensors | None,
        buffers: Tensors | None,
        number: int,
        training: bool,
    ) -> Outputs:
        """See `Step.run`."""
        if training:
            self._require_noise(step, number)
        own = {name: value.clone() for name, value in (self._buffers if buffers is None else buffers).items()}
        with in_mode(self._program.model, training=training):
            return self._program.forward(self._params if params is None else params, own, step.root, x, number)

    def _require_noise(self, step: Step, number: int) -> None:
        """Refuses a training pass that has no noise for its layers."""
        regularizer = self._program.regularizer
        if not regularizer.acting("noise"):
            return
        if step.batch is None:
            raise PluginError(
                f"{step.owner} runs the model in training mode in a phase that has no noise.",
                hint="Run it with training=False, or act in a function that is called at each step.",
            )
        if number >= regularizer.passes:
            raise PluginError(
                f"{step.owner} runs pass {number} of a step, for which there is no noise.",
                hint=f"Set passes = {number + 1} in its class.",
            )

    def gradient(self, function: Callable[[Tensor], Any], x: Tensor, *, has_aux: bool) -> Any:
        """See `Step.gradient`.

        Buffers are arguments of the differentiated function: batch normalization writes to copies of them, and may not
        write to a tensor that the transform does not know.
        """

        def of(x: Tensor, buffers: Tensors) -> Any:
            kept, self._buffers = self._buffers, buffers
            try:
                return function(x)
            finally:
                self._buffers = kept

        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.grad(of, has_aux=has_aux)(x, dict(self._buffers))

    def weights(self, step: Step, params: Tensors, buffers: Tensors | None) -> Tensors:
        """See `Step.weights`."""
        return self._program.weights(params, self._buffers if buffers is None else buffers, step.root)

    def recompute_statistics(
        self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step] | None
    ) -> Tensors:
        """See `Step.recompute_statistics`: the mean over the batches of each batch's own statistics."""
        norms = _norms(self._program.model)
        chosen = self.sample if batches is None else batches
        if not norms:
            return buffers
        if chosen is None:
            raise PluginError(
                f"{step.owner} recomputes statistics in a phase without batches.",
                hint="Act in evaluated, or in finalize and pass its batches on.",
            )
        sums: dict[str, Tensor] = {}
        count = 0
        with _newest_batch_alone(norms):
            for each in chosen:
                seen = self._seen(each, params, buffers)
                moved = {name: value for name, value in seen.items() if _is_statistic(name)}
                sums = {name: sums[name] + value for name, value in moved.items()} if sums else moved
                count += 1
        averaged = {name: value / count for name, value in sums.items()}
        counts = {n: torch.full_like(v, count) for n, v in buffers.items() if n.endswith("num_batches_tracked")}
        return {**buffers, **averaged, **counts}

    def _seen(self, step: Step, params: Tensors, buffers: Tensors) -> Tensors:
        """Returns the buffers after one training pass on a batch from the data phase."""
        batch = step.require_batch()
        if self._program.mixes:
            x, y = self._program.regularizer.batch(step.replaced(), batch.x, batch.y)
            batch = batch._replace(x=x, y=y)
        seen = step.replaced(batch=batch)
        return self.run(seen, x=batch.x, params=params, buffers=buffers, number=0, training=True).buffers


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Puts a model into a mode and restores the mode of every module."""
    if model.training is training:
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]


@contextmanager
def _newest_batch_alone(norms: list[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Makes the running statistics those of the newest batch: their mean over batches is torch's cumulative average."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _is_statistic(name: str) -> bool:
    return name.rpartition(".")[2] in ("running_mean", "running_var")
