"""The objective phase: what a regularizer does to the loss of each row."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from regplug.regularization.composition import overrides
from regplug.regularizer import Outputs
from regplug.testing import bench
from regplug.testing.building import make_rig, networks_of
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched
from regplug.testing.rig import KEY, Rig
from regplug.testing.subject import Subject
from regplug.testing.trainings import same_bits


def _rigs(subject: Subject) -> Iterator[Rig]:
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        if not overrides(rig.functions, "sample_losses"):
            raise NotApplicable("it has no function `sample_losses`")
        yield rig


def _called(rig: Rig, rows: int = bench.BATCH) -> tuple[Tensor, Tensor, Outputs]:
    """What it makes of the losses of a batch, the losses, and the outputs that it saw."""
    params = {name: value.requires_grad_() for name, value in rig.params.items()}
    step = rig.step(rig.noise(rows=rows)[0], params=params)
    step.batch = rig.batch(rows)
    rig.model.train()
    outputs = rig.program.forward(params, rig.buffers, step, step.batch.x)
    losses = rig.program.loss.per_sample(outputs.logits, step.batch.y, {})
    with attempting(f"sample_losses of {rows} rows"):
        made = rig.functions.sample_losses(step.child(KEY), losses, outputs)
    expect(isinstance(made, Tensor), f"{rig.name}: sample_losses returns a {type(made).__name__}")
    return made, losses, outputs


def each_row_keeps_a_loss(subject: Subject) -> None:
    """Losses that are averaged, reshaped or NaN: the host takes the mean over rows, once, after the last component."""
    for rig in _rigs(subject):
        for rows in (2, bench.BATCH):
            made, losses, _ = _called(rig, rows)
            like = made.shape == losses.shape and made.dtype == losses.dtype
            expect(like, f"{rig.name}: the losses of {rows} rows become {made.dtype} {tuple(made.shape)}")
            expect(torch.isfinite(made).all(), f"{rig.name}: a loss is not finite")


def row_losses_keep_their_gradient(subject: Subject) -> None:
    """Losses cut from the graph, by `.detach()`, `.data` or `.item()`: the network would not learn from the data."""
    for rig in _rigs(subject):
        made, _, outputs = _called(rig)
        expect(made.requires_grad, f"{rig.name}: the losses have no gradient")
        (grad,) = torch.autograd.grad(made.sum(), outputs.logits, allow_unused=True)
        # A curriculum may leave out every row of a batch.
        reaches = grad is not None and bool((grad != 0).any() or not made.any())
        expect(reaches, f"{rig.name}: no gradient reaches the logits")
        expect(torch.isfinite(grad).all(), f"{rig.name}: the gradient of the losses is not finite")


def row_losses_are_not_written(subject: Subject) -> None:
    """Losses or logits that are changed in place: components after it, and metrics, would see others."""
    for rig in _rigs(subject):
        with torch.no_grad(), generators_untouched("sample_losses"):
            _, losses, outputs = _called(rig)
            again = rig.program.loss.per_sample(outputs.logits, rig.y(), {})
        expect(same_bits([again], [losses]), f"{rig.name}: sample_losses wrote to the losses or to the logits")


CHECKS = (each_row_keeps_a_loss, row_losses_keep_their_gradient, row_losses_are_not_written)
