"""What holds for every first-party regularizer: off is off, on is felt, together they are a loop by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from by_hand import groups, reference_mlp
from torch import nn
from trainings import FIRST_PARTY, assembled, assert_same_bits, trained, trainer, weights

from regplug.config.params import describe_params
from regplug.noise import bits, keep_mask
from regplug.registry import default_registry


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "norm.weight": (4,)}
    return {name: torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()}


OFF = ("dropout:drop_probability=0", "l1:strength=0", "l2:strength=0", "input_noise:std=0", "mixup:alpha=0",
       "label_smoothing:strength=0", "sam:rho=0", "weight_decay:strength=0", "none")  # fmt: skip


@pytest.mark.parametrize("off", OFF)
def test_a_strength_of_zero_changes_no_bit_of_the_weights(off):
    for fields in ({}, {"reg": ["batchnorm"]}):
        plain = weights(trained(trainer(**fields))[0])
        without = weights(trained(trainer(reg=[*fields.get("reg", []), off]))[0])
        assert_same_bits(plain, without)


def test_every_strength_that_declares_an_off_value_is_tested_to_be_off_there():
    declared = {
        one.name
        for one in default_registry().components("regularizer")
        if one.name in FIRST_PARTY and any(info.off is not None for info in describe_params(one.component.params))
    }
    assert declared == {text.partition(":")[0] for text in OFF} - {"none"}


@pytest.mark.parametrize("name", sorted(set(FIRST_PARTY) - {"none"}))
def test_a_regularizer_at_a_strength_that_is_felt_changes_the_weights(name):
    strong = {"l1": "strength=0.1", "l2": "strength=0.1", "clip_norm": "max_norm=0.01", "max_norm": "max_norm=0.1"}
    strong |= {"swa": "start=0.1", "early_stopping": "min_delta=1e9,patience=1"}
    reg = f"{name}:{strong[name]}" if name in strong else name
    plain, felt = weights(trained(trainer())[0]), weights(trained(trainer(reg=[reg]))[0])
    assert not all(torch.equal(value, felt[key]) for key, value in plain.items() if key in felt)


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
