"""A training written by hand: torch's modules and optimizers, in the order of a run and from its start."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from trainings import assembled, trained, trainer

from regplug.data import order


def train_by_hand(model, made, *, optimizer=None, loss=F.cross_entropy, after=lambda: None, before=lambda: None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=made.config.lr)
    x, y = made.data.train.x, made.data.train.y
    model.train()
    for epoch in range(made.config.epochs):
        for rows in order(len(x), made.config.seed, epoch).split(made.config.batch_size):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            before()
            optimizer.step()
            after()


def reference_mlp(made):
    """The same network with the same start, made of torch's modules alone."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    model.to(made.data.train.x.dtype)
    with torch.no_grad():
        for own, value in zip(model.parameters(), made.inputs.params.values(), strict=True):
            own.copy_(value)
    return model


def assert_same_as_by_hand(fields, *, dtype="float64", tolerance=1e-12, **by_hand):
    """Trains by regplug and by hand from one start and compares the weights."""
    fields = {"dtype": dtype, **fields}
    made = assembled(**fields)
    model = reference_mlp(made)
    parts = {name: make(model, made) for name, make in by_hand.items()}
    train_by_hand(model, made, **parts)
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=tolerance, atol=tolerance)


def groups(model, decay):
    """Weights decayed and biases not, as a careful user of torch.optim writes it."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": [p for p in model.parameters() if p.ndim < 2]}]


def acting_by_hand(reg, layers, scale):
    """What `train_by_hand` does for l2 or weight_decay of strength 0.1, or max_norm of 0.5, at a learning rate of 0.2.

    Args:
        reg: The regularizer, as a run names it.
        layers: The layers on whose weights it acts.
        scale: Multiplies the weight of each with what a function returns for it.
    """
    if reg.startswith("l2"):
        return {
            "loss": lambda logits, y: (
                F.cross_entropy(logits, y) + 0.05 * sum(layer.weight.square().sum() for layer in layers)
            )
        }
    if reg.startswith("weight_decay"):
        return {"before": lambda: scale(lambda weight: 1 - 0.2 * 0.1)}
    return {"after": lambda: scale(lambda weight: (0.5 / (weight.norm(dim=1, keepdim=True) + 1e-7)).clamp(max=1))}
