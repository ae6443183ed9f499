"""What holds for every installed regularizer: off is off, on is felt; and together they are a loop by hand."""

from __future__ import annotations

import functools
import zlib

import pytest
import torch
import torch.nn.functional as F
from alike import assert_alike, is_changed, learned
from by_hand import groups, reference_mlp
from catalogue import REGULARIZERS, fields, marked, needed, needs_images, of, off, typed
from torch import nn
from trainings import assembled, trained, trainer

from regplug.noise import bits, keep_mask
from regplug.registry import load_target
from regplug.registry.usercode import derive_phases
from regplug.testing import check_regularizer
from regplug.testing.bench import NETWORKS


def in_sample(name):
    """One in six is tried with the slow tests, the others with the exhaustive ones; which ones never changes."""
    return pytest.mark.slow if zlib.crc32(name.encode()) % 6 == 0 else pytest.mark.full


def fitting(name):
    """The networks of the kit that take the inputs for which something was made; none to mean all."""
    layout = "image" if needs_images([REGULARIZERS[name]]) else "row"
    return [network for network, one in NETWORKS.items() if one.layout == layout] if needed(name) else []


@functools.cache
def without(name):
    """What the same run learns without a regularizer, and with those that it requires."""
    run = fields(name)
    return learned(**{**run, "reg": run["reg"][1:]})


@pytest.mark.parametrize("name", [marked(name) for name in REGULARIZERS])
def test_a_regularizer_is_felt_and_trains_the_same_alone_stacked_and_stopped(name):
    felt = assert_alike(name)
    is_neutral = not derive_phases(load_target(of(name)))
    assert is_changed(without(name), felt) is not is_neutral


@pytest.mark.parametrize(("name", "text"), [marked(name, text) for name in REGULARIZERS for text in off(name)])
def test_a_strength_that_is_off_changes_no_bit_of_the_weights(name, text):
    run = fields(name)
    assert not is_changed(without(name), learned(**{**run, "reg": [typed(name, text), *run["reg"][1:]]}))


@pytest.mark.parametrize("name", [pytest.param(name, marks=in_sample(name)) for name in REGULARIZERS])
def test_a_regularizer_passes_the_conformance_kit(name, tell):
    report = check_regularizer(name, values=needed(name), only=fitting(name))
    seconds = sum(result.seconds for result in report.results)
    tell(f"kit: {name}, {len(report.results)} checks in {seconds:.1f} s")
    report.raise_if_failed()


@pytest.mark.parametrize("regs", [["dropout:drop_probability=[0.2,0.5]", "l2:strength=0.01", "label_smoothing"]])
def test_a_whole_run_is_a_loop_by_hand_with_the_same_order_and_masks(regs):
    """Modules, torch.optim, clip_grad_norm_ and renorm; the masks are those of the run. float32."""
    fields = {"reg": [*regs, "clip_norm:max_norm=0.5", "max_norm:max_norm=1.0"], "momentum": 0.9, "lr": 0.05}
    made = assembled(**fields)
    feed = trainer(**fields)._feed
    model = reference_mlp(made)
    optimizer = torch.optim.SGD(groups(model, 0.01), lr=0.05, momentum=0.9)
    for epoch in range(made.config.epochs):
        for batch in feed.epoch(epoch):
            masks = [batch.noise["dropout"][f"activation{n}#0"] for n in (1, 2)]
            hidden = batch.x
            for layer, mask, rate in zip((model[0], model[2]), masks, (0.2, 0.5), strict=True):
                keep, scale = keep_mask(mask, torch.tensor(rate))
                hidden = torch.relu(layer(hidden)) * keep * scale
            optimizer.zero_grad()
            F.cross_entropy(model[4](hidden), batch.y, label_smoothing=0.1).backward()
            # The penalty is in the loss, so its gradient is clipped with the rest.
            for p in model.parameters():
                p.grad.add_(0.01 * p.detach() if p.ndim > 1 else 0)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            for group in optimizer.param_groups:
                group["weight_decay"] = 0
            optimizer.step()
            with torch.no_grad():
                for p in model.parameters():
                    if p.ndim > 1:
                        p.copy_(torch.renorm(p, 2, 0, 1.0))
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=2e-6, atol=1e-6)


def test_masks_of_the_run_have_the_shapes_that_were_declared():
    batch = next(trainer(reg=["dropout"])._feed.epoch(0))
    assert bits((32, 16)).shape == tuple(batch.noise["dropout"]["activation1#0"].shape)
