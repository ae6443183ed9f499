"""Initializers, probes and formats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from regplug.api import Format, Initializer
from regplug.bundles.formats import Format as FormatFunctions
from regplug.probes import Probe, ProbeView
from regplug.testing import bench
from regplug.testing.building import all_networks
from regplug.testing.checking import NotApplicable, attempting, expect
from regplug.testing.exports import prove_with
from regplug.testing.generators import generators_untouched, seeded_globally
from regplug.testing.subject import Subject
from regplug.testing.tags import DETERMINISTIC
from regplug.testing.trainings import learned, make_trainer, same_bits, train

"""Tag of an initializer that fills without random numbers."""

SHAPES = (("weight", (8, 6)), ("weight", (4, 2, 3, 3)), ("bias", (8,)), ("norm", (8,)))
"""Roles and shapes that every network has."""


def _filled(subject: Subject, seed: int, global_seed: int = 0) -> list[Tensor]:
    if subject.descriptor(Initializer).sees_batch:
        raise NotApplicable("it sees a batch")
    tensors = []
    generator = torch.Generator().manual_seed(seed)
    with seeded_globally(global_seed), generators_untouched("filling a tensor"):
        for role, shape in SHAPES:
            tensor = torch.full(shape, 0.25)
            with torch.no_grad(), attempting(f"filling a {role} of shape {shape}"):
                subject.make(role, tensor, generator)
            tensors.append(tensor)
    return tensors


def fills_with_finite_numbers(subject: Subject) -> None:
    """A rule that divides by a missing fan, or fills with NaN or infinity."""
    for (role, shape), tensor in zip(SHAPES, _filled(subject, 0), strict=True):
        expect(torch.isfinite(tensor).all(), f"a {role} of shape {shape} is not finite")
        expect(tuple(tensor.shape) == shape, f"a {role} of shape {shape} became {tuple(tensor.shape)}")


def generator_decides(subject: Subject) -> None:
    """Weights drawn from torch's global generator, or equal for every seed: the run's seed would not decide them."""
    one, again, other = _filled(subject, 1), _filled(subject, 1, global_seed=9), _filled(subject, 2)
    expect(same_bits(one, again), "the same generator gives two results, depending on a global one")
    touched = any(bool((tensor != tensor.flatten()[0]).any()) for tensor in one)
    if touched and DETERMINISTIC not in subject.component.tags:
        expect(not same_bits(one, other), f"two generators give the same weights, and it has no tag {DETERMINISTIC}")


INITIALIZER_CHECKS = (fills_with_finite_numbers, generator_decides)


_PARTS = ("params", "logits", "losses", "activations", "loss_gradients", "objective_gradients", "last_update")
"""What a probe sees; computed once and shared by all probes of a run."""


def _views(subject: Subject) -> Iterator[ProbeView]:
    for name, network in all_networks(subject).items():
        yield train(make_trainer(None, name=name, network=network, epochs=1, probed=True)).view_of(0)


def _probe(subject: Subject) -> Probe:
    probe = subject.build()
    expect(isinstance(probe, Probe), f"it is a {type(probe).__name__}, and must be a regplug.probes.Probe")
    return probe  # type: ignore[no-any-return] # looked at above


def measures_finite_numbers(subject: Subject) -> None:
    """Metrics that cannot be logged: no number, or a name without a prefix that would overwrite another's."""
    for view in _views(subject):
        with attempting("measuring"):
            measured = _probe(subject).measure(view)
        expect(measured, "it measures nothing")
        for name, value in measured.items():
            expect(isinstance(value, float) and math.isfinite(value), f"{name} is {value!r}")
            head, slash, tail = name.partition("/")
            expect(head and slash and tail, f"the metric {name!r} has no prefix, as in norm/weight")
            expect(head not in ("train", "valid", "test", "gap", "time"), f"the prefix of {name!r} is the host's own")


def measuring_changes_nothing(subject: Subject) -> None:
    """A probe that writes to the weights or draws random numbers: measuring would change the run."""
    for view in _views(subject):
        parts = [getattr(view, part) for part in _PARTS]
        seen = [value for part in parts for value in (part.values() if isinstance(part, Mapping) else [part])]
        before = [value.clone() for value in seen]
        with attempting("measuring"), generators_untouched("measuring"):
            _probe(subject).measure(view)
            _probe(subject).histograms(view)
        expect(same_bits(before, seen), "measuring wrote to the weights or to data that other probes share")


def measuring_twice_gives_the_same(subject: Subject) -> None:
    """A probe with memory: its results would depend on how often it is called."""
    probe = _probe(subject)
    for view in _views(subject):
        with attempting("measuring"):
            expect(probe.measure(view) == probe.measure(view), "two measurements of the same weights differ")


def looking_leaves_the_run_alone(subject: Subject) -> None:
    """A probe with side effects: a run that is measured would end with other weights."""
    for name, network in all_networks(subject).items():
        plain, seen = (make_trainer(None, name=name, network=network, probed=probed) for probed in (False, True))
        train(plain)
        for _ in seen.train():
            with attempting("measuring"), generators_untouched("measuring"):
                _probe(subject).measure(seen.view_of(0))
                _probe(subject).histograms(seen.view_of(0))
        seen.finish()
        expect(same_bits(learned(plain), learned(seen)), f"{name}: a run that is measured ends with other weights")


PROBE_CHECKS = (
    measures_finite_numbers,
    measuring_changes_nothing,
    measuring_twice_gives_the_same,
    looking_leaves_the_run_alone,
)


def file_is_the_network(subject: Subject) -> None:
    """A file that differs from the network: every check that `regplug run` makes of a bundle, on two networks."""
    functions = subject.build()
    expect(
        isinstance(functions, FormatFunctions), f"it is a {type(functions).__name__}, no regplug.bundles.formats.Format"
    )
    for name in ("normed", "cnn"):
        network = bench.NETWORKS[name]
        model = network.built(torch.float32)
        with torch.no_grad():
            for seed in range(3):
                model.train()(network.inputs(16, torch.float32, seed))
        x = network.inputs(64, torch.float32, seed=9)
        prove_with(functions, subject.descriptor(Format), model.eval(), x, bench.CLASSES)


def filename_is_plain(subject: Subject) -> None:
    """A file name that contains a folder, or that every bundle already uses."""
    filename = subject.descriptor(Format).filename
    reserved = ("manifest.json", "verification.json", "sample_input.npz", "sample_output.npz", "SHA256SUMS")
    expect(filename and "/" not in filename and "\\" not in filename, f"the file name is {filename!r}")
    expect(filename not in reserved, f"{filename} is a file of every bundle")


def filename_is_its_own(subject: Subject) -> None:
    """Two formats that write the same file: they could not be used together."""
    filename = subject.descriptor(Format).filename
    rivals = [
        one.full_name
        for one in subject.registry.components("format")
        if one.name != subject.component.name and getattr(one.component, "filename", "") == filename
    ]
    if not subject.registry.components("format"):
        raise NotApplicable("no other format is installed")
    expect(not rivals, f"{filename} is written by {', '.join(rivals)} too")


FORMAT_CHECKS = (filename_is_plain, filename_is_its_own, file_is_the_network)
