"""The structure phase: the layers that a regularizer inserts into a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError

from regplug.regularizer import Step, Tensors
from regplug.testing import bench
from regplug.testing.building import activation_of, make_rig, networks_of, put_in, rigs_of
from regplug.testing.checking import CheckFailed, NotApplicable, attempting, expect
from regplug.testing.checks.layer_noise import is_stochastic
from regplug.testing.generators import generators_untouched, seeded_globally, torch_seeded
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import OTHER_GRADIENT
from regplug.testing.trainings import same_bits
from regplug.testing.watched import StopsGradients


def network_is_changed(subject: Subject) -> None:
    """A structural regularizer that silently acts nowhere."""
    for rig in rigs_of(subject):
        network = rig.network.built(rig.dtype, activate=activation_of(subject))
        bare = {name: type(module) for name, module in network.named_modules()}
        now = {name: type(module) for name, module in rig.model.named_modules()}
        expect(bare != now, f"restructure did not change the network {rig.name}")


def new_weights_follow_the_seed(subject: Subject) -> None:
    """New weights from NumPy or Python, or a reseeded generator: the run's seed would not decide them."""
    for name in networks_of(subject):
        with generators_untouched("restructure"):
            one = make_rig(subject, name).params
        with seeded_globally(5):
            again = make_rig(subject, name).params
        expect(same_bits(list(one.values()), list(again.values())), f"{name}: the same seed gives two sets of weights")
        ends = []
        for seed in (1, 2):
            with torch_seeded(seed):
                put_in(subject, name)
                ends.append(torch.get_rng_state())
        expect(not torch.equal(*ends), f"{name}: restructure seeds torch's generator, so the run's seed is lost")


def shapes_and_dtypes_are_kept(subject: Subject) -> None:
    """A layer that changes shape or number format, or fails on one row, a last small batch or an empty one."""
    for name in networks_of(subject):
        for dtype in (torch.float32, torch.float64):
            rig = make_rig(subject, name, dtype=dtype)
            for rows in (1, 2, 7, 0):
                output = rig.eval_logits(rig.x(rows))
                _expect_like(output, rows, rig, f"evaluation of {name} with {rows} rows")
            # Zero rows or one have no batch statistics.
            takes_few = is_stochastic(subject) and not bench.has_batch_norm(rig.model)
            for rows in (2, 7, *((0, 1) if takes_few else ())):
                with attempting(f"training of {name} with {rows} rows"):
                    output = rig.train_logits(rig.x(rows), rig.noise(rows=rows)[0])
                _expect_like(output, rows, rig, f"training of {name} with {rows} rows")


def _expect_like(output: Tensor, rows: int, rig: Rig, what: str) -> None:
    expect(tuple(output.shape) == (rows, rig.task.num_outputs), f"{what} gives the shape {tuple(output.shape)}")
    expect(output.dtype == rig.dtype, f"{what} in {rig.dtype} gives {output.dtype}")
    expect(torch.isfinite(output).all(), f"{what} gives numbers that are not finite")


def inputs_are_not_written(subject: Subject) -> None:
    """A layer that modifies its input in place: an earlier layer may still need it, or it is the user's data."""
    for rig in rigs_of(subject):
        for training in (True, False):
            changed = _written(rig, training=training)
            expect(not changed, f"{rig.name}: {changed} modified its input in place, training={training}")


def _written(rig: Rig, *, training: bool) -> str:
    before: dict[int, Tensor] = {}
    changed: list[str] = []

    def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        before[id(module)] = args[0].detach().clone()

    def compare(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001 - a hook's arguments
        if not same_bits([args[0].detach()], [before[id(module)]]):
            changed.append(type(module).__name__)

    handles = [layer.register_forward_pre_hook(look) for layer in (*rig.layers(), rig.model)]
    handles += [layer.register_forward_hook(compare) for layer in (*rig.layers(), rig.model)]
    x = rig.x()
    try:
        with torch.no_grad(), attempting("a forward pass"):
            rig.train_logits(x) if training else rig.eval_logits(x)
    finally:
        for handle in handles:
            handle.remove()
    return ", ".join(changed)


def gradient_flows(subject: Subject) -> None:
    """A layer that breaks the graph: earlier layers, or its own parameters, would never learn."""
    for rig in rigs_of(subject):
        x = rig.x().requires_grad_()
        params = {name: value.requires_grad_() for name, value in rig.params.items()}
        output = rig.program.forward(params, rig.buffers, rig.step(), x).logits
        weights = torch.linspace(0.5, 1.5, output.numel(), dtype=rig.dtype).view_as(output)
        grads = torch.autograd.grad((output * weights).square().sum(), [x, *params.values()], allow_unused=True)
        for name, grad in zip(("its input", *params), grads, strict=True):
            expect(grad is not None, f"{rig.name}: no gradient reaches {name}")
            if grad is not None:
                expect(torch.isfinite(grad).all(), f"{rig.name}: the gradient of {name} is not finite")
                # A bias before a normalization has no gradient, which is correct.
                is_dead = name == "its input" and not bool((grad != 0).any())
                expect(not is_dead, f"{rig.name}: the gradient of {name} is zero everywhere")


def gradient_is_true(subject: Subject) -> None:
    """A backward pass that is not the derivative of the forward pass (`torch.autograd.gradcheck`, float64)."""
    if OTHER_GRADIENT in subject.component.tags:
        raise NotApplicable(f"it has the tag {OTHER_GRADIENT}")
    for rig in rigs_of(subject):
        step, params, buffers, stops = rig.step(rig.noise(rows=4)[0]), rig.params, rig.buffers, StopsGradients()

        def forward(
            x: Tensor,
            rig: Rig = rig,
            step: Step = step,
            stops: StopsGradients = stops,
            params: Tensors = params,
            buffers: Tensors = buffers,
        ) -> Tensor:
            own = {name: value.clone() for name, value in buffers.items()}
            with stops:
                return rig.program.forward(params, own, step, x).logits

        rig.model.train()
        check_gradient(forward, (rig.x(4).requires_grad_(),), f"gradcheck on {rig.name}", stops)


def check_gradient(function: Callable[..., Tensor], inputs: Sequence[Tensor], what: str, stops: StopsGradients) -> None:
    """Compares a gradient with the numerical one, away from kinks.

    Args:
        function: Function of the inputs.
        inputs: Point at which it is differentiated.
        what: Description for the message.
        stops: Observer of the component's own part of the function.

    Raises:
        CheckFailed: They differ.
        NotApplicable: They differ because the function stops a gradient on purpose.
    """
    try:
        with attempting(what):
            torch.autograd.gradcheck(function, inputs, atol=1e-6, rtol=1e-4, fast_mode=True)
    except CheckFailed as failure:
        if not (stops.seen and isinstance(failure.__cause__, GradcheckError)):
            raise
        raise NotApplicable("it stops a gradient, by detach or no_grad") from None


def nan_is_not_hidden(subject: Subject) -> None:
    """A layer that replaces NaN, as `where(mask, x, 0)` does: a diverged run would look healthy."""
    for rig in rigs_of(subject):
        seen: list[tuple[str, bool]] = []

        def look(
            module: nn.Module,
            args: tuple[Tensor, ...],  # noqa: ARG001 - a hook's
            output: Tensor,
            seen: list[tuple[str, bool]] = seen,
        ) -> None:
            seen.append((type(module).__name__, bool(torch.isnan(output).all())))

        handles = [layer.register_forward_hook(look) for layer in rig.site_layers()]
        try:
            poisoned = torch.full_like(rig.x(), torch.nan)
            outputs = rig.train_logits(poisoned), rig.eval_logits(poisoned)
        finally:
            for handle in handles:
                handle.remove()
        hiding = [name for name, is_nan in seen if not is_nan]
        expect(not hiding, f"{rig.name}: {', '.join(hiding)} replaces NaN by numbers")
        expect(all(torch.isnan(output).all() for output in outputs), f"{rig.name}: NaN in the input is lost")


CHECKS = (
    network_is_changed,
    new_weights_follow_the_seed,
    shapes_and_dtypes_are_kept,
    inputs_are_not_written,
    gradient_flows,
    gradient_is_true,
    nan_is_not_hidden,
)
