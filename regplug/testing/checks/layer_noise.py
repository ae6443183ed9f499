"""Checks of a regularizer's layers: their random numbers, in training and in evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regplug.api import Regularizer
from regplug.testing.building import few_networks_of, make_rig, networks_of, rigs_of
from regplug.testing.checking import NotApplicable, expect
from regplug.testing.generators import generators_untouched, seeded_globally
from regplug.testing.rig import Rig
from regplug.testing.subject import Subject
from regplug.testing.tags import KEEPS_MEAN, STOCHASTIC

MEAN_DRAWS, PROJECTIONS, STANDARD_ERRORS = 400, 8, 5.0


def is_stochastic(subject: Subject) -> bool:
    """Returns whether its tags declare that it draws random numbers in training."""
    return STOCHASTIC in subject.component.tags


def require_stochastic(subject: Subject) -> None:
    """Skips a check of random layers for those that do not draw."""
    if not is_stochastic(subject):
        raise NotApplicable(f"it has no tag {STOCHASTIC}")


def same_seed_same_mask(subject: Subject) -> None:
    """Masks from NumPy's or torch's global generator: the run's seed would not decide them."""
    for rig in rigs_of(subject):
        outputs = []
        for seed in (1, 2):
            with seeded_globally(seed):
                outputs.append(rig.train_logits(rig.x(), rig.noise(seed=5)[0]))
        expect(torch.equal(*outputs), f"{rig.name}: the output in training follows a global generator")


def training_draws_nothing_itself(subject: Subject) -> None:
    """A layer that draws its own random numbers: a stack's runs would share them, and a resumed run would lose them."""
    for rig in rigs_of(subject):
        with generators_untouched(f"a training step of {rig.name}"):
            rig.train_logits(rig.x())


def other_noise_other_output(subject: Subject) -> None:
    """A random layer that ignores its noise: one mask for every step and every seed."""
    require_stochastic(subject)
    for rig in rigs_of(subject):
        one, other = (rig.train_logits(rig.x(), rig.noise(seed=seed)[0]) for seed in (1, 2))
        expect(not torch.equal(one, other), f"{rig.name}: two seeds give the same output in training")


def each_pass_has_its_own_mask(subject: Subject) -> None:
    """One mask for two passes: methods such as R-Drop would compare a network with itself and learn nothing."""
    require_stochastic(subject)
    for name in networks_of(subject):
        rig = make_rig(subject, name)
        rig.program.regularizer.passes = 2  # type: ignore[misc] # of this instance
        if not any(key.endswith("@1") for own in rig.noise()[0].values() for key in own):
            continue  # its noise belongs to no place
        noise = rig.noise()[0]
        first, second = (rig.train_logits(rig.x(), noise, number=number) for number in (0, 1))
        expect(not torch.equal(first, second), f"{name}: the second pass of a step uses the mask of the first")


def evaluation_is_repeatable(subject: Subject) -> None:
    """Random numbers in evaluation: no two measurements, and no two deployments, would agree."""
    for rig in rigs_of(subject):
        with generators_untouched(f"evaluating {rig.name}"):
            one = rig.eval_logits(rig.x())
        with seeded_globally(3):
            other = rig.eval_logits(rig.x())
        expect(torch.equal(one, other), f"{rig.name}: two evaluations of the same rows differ")


def evaluation_is_the_identity(subject: Subject) -> None:
    """A random layer that is always on: it also acts, or scales, in evaluation."""
    require_stochastic(subject)
    for rig in rigs_of(subject):
        if rig.acts_in_evaluation:
            raise NotApplicable("it says that it acts in evaluation, by a layer's evaluate")
        bare = make_rig(subject, rig.name, left_out=True)
        expect(
            torch.equal(rig.eval_logits(rig.x()), bare.eval_logits(rig.x())),
            f"{rig.name}: evaluation differs from that of the network without it",
        )


_DRAWS = 8
"""Number of steps; a random layer must act in at least one of them."""


def training_differs_from_evaluation(subject: Subject) -> None:
    """A random layer that is always off: it never acts."""
    require_stochastic(subject)
    for rig in rigs_of(subject):
        evaluated = rig.eval_logits(rig.x())
        # A layer may act only in some steps, for example when one of several is drawn for each step.
        acts = any(not torch.equal(rig.train_logits(rig.x(), noise), evaluated) for noise in rig.noise(steps=_DRAWS))
        expect(acts, f"{rig.name}: training computes the same outputs as evaluation")


def mean_is_kept(subject: Subject) -> None:
    """A wrong scale, such as dropout without 1 / (1 - p): activations would differ between training and evaluation.

    The mean over draws of random projections of each layer's output minus its input, within five standard errors.
    """
    if KEEPS_MEAN not in subject.descriptor(Regularizer).tags:
        raise NotApplicable(f"it has no tag {KEEPS_MEAN}")
    for name in few_networks_of(subject):
        rig = make_rig(subject, name)
        if not rig.layers():
            raise NotApplicable("it puts no layer into the network")
        gaps = _layer_gaps(rig)
        mean, error = gaps.mean(0), gaps.std(0) / MEAN_DRAWS**0.5
        worst = float((mean.abs() - STANDARD_ERRORS * error - 1e-9).max())
        expect(worst <= 0, f"{rig.name}: the mean moves by {float(mean.abs().max()):.3g}, but it declares to keep it")


def _layer_gaps(rig: Rig) -> Tensor:
    """`(draws, layers * projections)`: projections of output minus input."""
    rows: list[Tensor] = []

    def project(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001 - a hook's
        gap = (output - args[0]).detach().flatten()
        generator = torch.Generator().manual_seed(7)
        # The mean of the gap, and other mixtures: every entry counts in each.
        mixtures = torch.rand((PROJECTIONS - 1, gap.numel()), generator=generator, dtype=gap.dtype) - 0.5
        inputs = args[0].detach().flatten()
        rows.append(torch.cat([mixtures @ gap, (gap * inputs.sign()).sum().view(1)]))

    handles = [layer.register_forward_hook(project) for layer in rig.layers()]
    draws = []
    try:
        with torch.no_grad():
            for noise in rig.noise(steps=MEAN_DRAWS, seed=11):
                rows.clear()
                rig.train_logits(rig.x(), noise)
                draws.append(torch.cat(rows))
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(draws)


CHECKS = (
    same_seed_same_mask,
    training_draws_nothing_itself,
    other_noise_other_output,
    each_pass_has_its_own_mask,
    evaluation_is_repeatable,
    evaluation_is_the_identity,
    training_differs_from_evaluation,
    mean_is_kept,
)
