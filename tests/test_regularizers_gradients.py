"""Penalties, clipping, sharpness-aware minimization and decoupled decay against torch and loops by hand."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from by_hand import assert_same_as_by_hand, groups, reference_mlp, train_by_hand
from torch import nn
from trainings import assembled, step, trained, trainer, weights

from regplug.data import order
from regplug.regularizer import Outputs
from regplug_regularizers.gradients import WeightDecayParams
from regplug_regularizers.gradients.clip_norm import ClipNorm
from regplug_regularizers.gradients.sam import Sam
from regplug_regularizers.gradients.weight_decay import WeightDecay
from regplug_regularizers.penalties import PenaltyParams
from regplug_regularizers.penalties.norms import L1, L2

NOTHING = Outputs(torch.zeros(1), {}, {})
ROLES = {"fc.weight": "weight", "fc.bias": "bias", "norm.weight": "norm"}


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "norm.weight": (4,)}
    return {name: torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()}


# Penalties.


def test_l1_and_l2_are_their_closed_forms_on_weights_alone():
    tensors, at = parameters(), step({"strength": 0.3}, roles=ROLES)
    w = tensors["fc.weight"]
    assert float(L1(PenaltyParams()).penalty(at, tensors, NOTHING)) == pytest.approx(
        0.3 * float(w.abs().sum()), rel=1e-12
    )
    assert float(L2(PenaltyParams()).penalty(at, tensors, NOTHING)) == pytest.approx(
        0.15 * float((w**2).sum()), rel=1e-12
    )


@pytest.mark.parametrize(("penalty", "power"), [(L1, 1), (L2, 2)])
def test_a_penalty_on_everything_takes_biases_and_normalization_too(penalty, power):
    tensors = parameters()
    got = penalty(PenaltyParams(everything=True)).penalty(step({"strength": 1.0}, roles=ROLES), tensors, NOTHING)
    assert float(got) == pytest.approx(
        sum(float((t.abs() ** power).sum()) for t in tensors.values()) / power, rel=1e-12
    )


@pytest.mark.parametrize(
    ("penalty", "gradient"), [(L1, lambda w: 0.3 * w.sign()), (L2, lambda w: 0.3 * w)], ids=["l1", "l2"]
)
def test_the_gradient_of_a_penalty_is_its_closed_form(penalty, gradient):
    w = torch.tensor([[1.5, 0.0, -2.0]], dtype=torch.float64, requires_grad=True)
    penalty(PenaltyParams()).penalty(step({"strength": 0.3}), {"w": w}, NOTHING).backward()
    torch.testing.assert_close(w.grad, gradient(w.detach()))


def test_l2_in_the_loss_is_what_torchs_sgd_calls_weight_decay():
    assert_same_as_by_hand(
        {"reg": ["l2:strength=0.1"], "momentum": 0.9, "lr": 0.05, "epochs": 5},
        optimizer=lambda model, made: torch.optim.SGD(groups(model, 0.1), lr=0.05, momentum=0.9),
    )


def test_l2_acts_on_the_effective_weight_of_a_parametrized_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)).double()
    reference = copy.deepcopy(model)
    fields = {"model": model, "dtype": "float64", "reg": ["l2:strength=0.2"]}
    made = assembled(**fields)
    train_by_hand(
        reference,
        made,
        loss=lambda logits, y: (
            F.cross_entropy(logits, y) + 0.1 * (reference[0].weight.square().sum() + reference[2].weight.square().sum())
        ),
    )
    ours, _ = trained(trainer(**fields))
    for name, value in reference.named_parameters():
        torch.testing.assert_close(ours.tensors_of(0)[0][name].detach(), value.detach(), rtol=1e-12, atol=1e-12)


def test_max_norm_bounds_the_effective_weight_of_a_parametrized_layer():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    ours, _ = trained(trainer(model=model, reg=["max_norm:max_norm=0.3"]))
    for name, value in ours.weights_of(0).items():
        if name.endswith("weight"):
            assert value.norm(dim=1).max() <= 0.3 * (1 + 1e-5)


def test_a_frozen_parametrized_layer_is_left_alone():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    ours, _ = trained(trainer(model=model, reg=["l2", "max_norm:max_norm=0.01"]))
    values = weights(ours)
    assert torch.equal(
        torch._weight_norm(
            values["0.parametrizations.weight.original1"], values["0.parametrizations.weight.original0"], 0
        ),
        before,
    )


# Gradient and optimizer phases.


def test_clip_norm_is_torchs_clip_grad_norm():
    grads = parameters()
    for bound in (0.5, 100.0):
        torchs = [nn.Parameter(g.clone()) for g in grads.values()]
        for param, grad in zip(torchs, grads.values(), strict=True):
            param.grad = grad.clone()
        nn.utils.clip_grad_norm_(torchs, bound)
        clipped, _ = ClipNorm().gradients(step({"max_norm": bound}), grads, grads)
        for own, other in zip(clipped.values(), torchs, strict=True):
            torch.testing.assert_close(own, other.grad, rtol=1e-12, atol=0)


def test_training_with_clip_norm_is_a_loop_with_clip_grad_norm():
    assert_same_as_by_hand(
        {"reg": ["clip_norm:max_norm=0.2"]},
        before=lambda model, made: lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.2),
    )


def test_sam_is_a_loop_of_two_gradients_by_hand():
    fields = {"reg": ["sam:rho=0.1"], "dtype": "float64"}
    made = assembled(**fields)
    model = reference_mlp(made)
    optimizer = torch.optim.SGD(model.parameters(), lr=made.config.lr)

    def closure(logits, y):
        return F.cross_entropy(logits, y)

    x, y = made.data.train.x, made.data.train.y
    for epoch in range(made.config.epochs):
        for rows in order(len(x), 0, epoch).split(made.config.batch_size):
            start = [p.detach().clone() for p in model.parameters()]
            grads = torch.autograd.grad(closure(model(x[rows]), y[rows]), list(model.parameters()))
            norm = torch.sqrt(sum(g.square().sum() for g in grads))
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    p.add_(0.1 * g / (norm + 1e-12))
            optimizer.zero_grad()
            closure(model(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for p, value in zip(model.parameters(), start, strict=True):
                    p.copy_(value)
            optimizer.step()
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=1e-12, atol=1e-12)


def test_sam_goes_up_by_its_radius():
    grads = parameters()
    point = Sam().perturb(step({"rho": 0.3}), {n: torch.zeros_like(g) for n, g in grads.items()}, grads)
    assert float(torch.sqrt(sum(p.square().sum() for p in point.values()))) == pytest.approx(0.3, rel=1e-9)


def test_sam_moves_running_statistics_once_a_step():
    plain = weights(trained(trainer(reg=["batchnorm", "sam:rho=0.5"], epochs=1))[0])
    tracked = [int(value) for name, value in plain.items() if name.endswith("num_batches_tracked")]
    assert tracked == [4, 4]


def test_weight_decay_with_adamw_is_torchs_adamw():
    assert_same_as_by_hand(
        {"reg": ["weight_decay:strength=0.3"], "optimizer": "adamw", "lr": 0.01, "epochs": 5},
        optimizer=lambda model, made: torch.optim.AdamW(
            [{**group, "weight_decay": group.get("weight_decay", 0)} for group in groups(model, 0.3)], lr=0.01
        ),
    )


def test_adam_without_decay_is_torchs_adam():
    assert_same_as_by_hand(
        {"optimizer": "adam", "lr": 0.01, "epochs": 5},
        optimizer=lambda model, made: torch.optim.Adam(model.parameters(), lr=0.01),
    )


def test_weight_decay_spares_biases_and_normalization_unless_asked():
    functions, at = WeightDecay(WeightDecayParams()), step({"strength": 0.3}, roles=ROLES)
    assert [functions.decay(at, name, value) is not None for name, value in parameters().items()] == [
        True,
        False,
        False,
    ]
    everything = WeightDecay(WeightDecayParams(everything=True))
    assert all(everything.decay(at, name, value) == 0.3 for name, value in parameters().items())


def test_two_ways_to_decay_are_doubted():
    assert any("not the same method" in n.message for n in assembled(reg=["l2", "weight_decay"]).network.notices)
    assert any("add up" in n.message for n in assembled(reg=["weight_decay", "weight_decay@b"]).network.notices)
