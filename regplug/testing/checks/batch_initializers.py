"""Initializers that see a batch of training data."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import Tensor, nn

from regplug.api import Initializer
from regplug.errors import CompositionError
from regplug.initializers import layers_of, neutral
from regplug.testing.bench import Network
from regplug.testing.building import all_networks
from regplug.testing.checking import CouldNotRun, NotApplicable, attempting, expect
from regplug.testing.generators import generators_untouched, seeded_globally
from regplug.testing.subject import Subject
from regplug.testing.tags import DETERMINISTIC
from regplug.testing.trainings import same_bits

ROWS = 32


def _started(
    subject: Subject, network: Network, names: Collection[str] | None = None, *, seed: int = 0, global_seed: int = 0
) -> nn.Module:
    """Returns a network whose parameters of these names, or all, were initialized."""
    model, batch = network.built(torch.float64), network.inputs(ROWS)
    before = batch.clone()
    every = {name for name, _ in model.named_parameters()}
    with seeded_globally(global_seed), generators_untouched("initializing"), neutral(model, seed=0):
        layers = layers_of(model, every if names is None else names, batch[:2])
        subject.make(layers, batch, torch.Generator().manual_seed(seed))
    expect(same_bits([before], [batch]), "it writes to the batch")
    return model


def _networks(subject: Subject) -> Iterator[tuple[str, Network, nn.Module]]:
    """Yields each network that it does not refuse: name, network, and its start from seed 0."""
    if not subject.descriptor(Initializer).sees_batch:
        raise NotApplicable("it fills one tensor and sees no batch")
    accepted = 0
    for name, network in all_networks(subject).items():
        with attempting(f"{name}: initializing"):
            try:
                model = _started(subject, network)
            except CompositionError:
                continue
        accepted += 1
        yield name, network, model
    if not accepted:
        raise CouldNotRun("it refuses every network of the kit")


def _params(model: nn.Module) -> list[Tensor]:
    return [param.detach() for param in model.parameters()]


def batch_start_is_finite(subject: Subject) -> None:
    """A rule that divides by a variance of zero, or fills with NaN or infinity."""
    for name, _, model in _networks(subject):
        for own, param in model.named_parameters():
            expect(torch.isfinite(param).all(), f"{name}: {own} is not finite")


def generator_decides_batch_start(subject: Subject) -> None:
    """Weights drawn from torch's global generator, or equal for every seed: the run's seed would not decide them."""
    for name, network, model in _networks(subject):
        again = _started(subject, network, global_seed=9)
        expect(same_bits(_params(model), _params(again)), f"{name}: the same generator and batch give two results")
        if DETERMINISTIC not in subject.component.tags:
            other = _started(subject, network, seed=1)
            reason = f"{name}: two generators give the same weights, and it has no tag {DETERMINISTIC}"
            expect(not same_bits(_params(model), _params(other)), reason)


def changes_only_its_layers(subject: Subject) -> None:
    """A rule that also changes layers that `at` does not name, or buffers, which another initializer has filled."""
    for name, network, _ in _networks(subject):
        plain = dict(network.built(torch.float64).state_dict())
        layers = dict.fromkeys(key.rpartition(".")[0] for key, _ in network.built(torch.float64).named_parameters())
        chosen = {key for key in plain if key.rpartition(".")[0] == next(iter(layers))}
        with attempting(f"{name}: initializing {next(iter(layers))} alone"):
            try:
                model = _started(subject, network, chosen)
            except CompositionError:
                continue
        for key, value in model.state_dict().items():
            reason = f"{name}: it changes {key}, and only {next(iter(layers))} was to be initialized"
            expect(key in chosen or same_bits([plain[key]], [value]), reason)


CHECKS = (batch_start_is_finite, generator_decides_batch_start, changes_only_its_layers)
