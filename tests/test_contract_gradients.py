"""Gradients of the inputs within a step: through attention, within one another, and differentiated again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from trainings import NormedNet, assembled, greatest_difference, stack, trained, trainer, weights
from written_here import Strength, by_path, here

from regplug.data import order
from regplug.regularizer import RegularizerFunctions


class GradientPenalty(RegularizerFunctions):
    """Adds strength times the squared gradient of the loss by the inputs."""

    Params = Strength

    def penalty(self, step, weights, outputs):
        def loss(x):
            return F.cross_entropy(step.run(x=x).logits, step.batch.y, reduction="sum")

        return step.settings["strength"] * step.gradient(loss, step.batch.x).square().sum() / len(step.batch.x)


class Attention(nn.Module):
    """Rows of eight numbers as four steps of two, through attention of one of torch's kinds."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.embed, self.output = kind, nn.Linear(2, 4), nn.Linear(4, 3)
        if kind == "multihead":
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        if kind == "encoder":
            self.attention = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, x):
        x = self.embed(x.unflatten(-1, (4, 2)))
        if self.kind == "multihead":
            x = self.attention(x, x, x, need_weights=False)[0]
        elif self.kind == "encoder":
            x = self.attention(x)
        else:
            x = F.scaled_dot_product_attention(x, x, x)
        return self.output(x.mean(-2))


@pytest.mark.parametrize("kind", ["plain", "multihead", "encoder"])
def test_the_gradient_of_the_inputs_goes_through_attention_and_can_be_differentiated_again(kind):
    fields = {"model": lambda: Attention(kind), "dtype": "float64", "epochs": 2}
    runs = [{"reg": [by_path(GradientPenalty, s)], "seed": n} for n, s in enumerate((0.1, 0.02))]
    alone, _ = trained(trainer(**runs[1], **fields))
    many, _ = trained(stack(*runs, **fields))
    by_hand = attention_by_hand(kind, made=assembled(**fields, seed=1), strength=0.02)
    assert greatest_difference(weights(alone), by_hand, relative=True) < 1e-9
    assert greatest_difference(weights(many, 1), by_hand, relative=True) < 1e-9


def attention_by_hand(kind, made, strength):
    network = Attention(kind).double()
    with torch.no_grad():
        for own, value in zip(network.parameters(), made.inputs.params.values(), strict=True):
            own.copy_(value)
    optimizer = torch.optim.SGD(network.parameters(), lr=made.config.lr)
    for epoch in range(2):
        for rows in order(104, 1, epoch).split(32):
            x, y = made.data.train.x[rows].requires_grad_(), made.data.train.y[rows]
            with sdpa_kernel(SDPBackend.MATH):
                loss = F.cross_entropy(network(x), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
                total = F.cross_entropy(network(x), y) + strength * gradient.square().sum() / len(x)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    return {name: value.detach() for name, value in network.named_parameters()}


class InEvaluation(RegularizerFunctions):
    """The gradient penalty at the model in evaluation mode, and what the function returns more."""

    def penalty(self, step, weights, outputs):
        def loss(x):
            logits = step.run(x=x, training=False).logits
            return logits.square().sum(), logits

        gradient, logits = step.gradient(loss, step.batch.x, has_aux=True)
        assert logits.shape == outputs.logits.shape
        return 0.01 * gradient.square().mean() + 0.0 * logits.sum()


@pytest.mark.parametrize("kind", ["plain", "multihead", "encoder"])
def test_the_gradient_of_the_inputs_in_evaluation_mode_goes_through_attention(kind):
    fields = {"model": lambda: Attention(kind), "dtype": "float64", "epochs": 1, "reg": [here(InEvaluation)]}
    alone, _ = trained(trainer(**fields))
    many, _ = trained(stack({}, {"seed": 1}, **fields))
    plain, _ = trained(trainer(**{**fields, "reg": []}))
    assert greatest_difference(weights(alone), weights(many, 0), relative=True) < 1e-9
    assert greatest_difference(weights(alone), weights(plain), relative=True) > 1e-6


class Curvature(RegularizerFunctions):
    """A gradient within a gradient: the squared Hessian of the first logit times a fixed direction."""

    def penalty(self, step, weights, outputs):
        def slope(x):
            return step.gradient(lambda x: step.run(x=x).logits[:, 0].sum(), x).sum()

        return 0.01 * step.gradient(slope, step.batch.x).square().mean()


def test_a_gradient_may_stand_within_a_gradient_with_batch_normalization():
    fields = {"model": NormedNet, "dtype": "float64", "epochs": 1, "reg": [here(Curvature)]}
    alone, _ = trained(trainer(**fields))
    many, _ = trained(stack({}, {"seed": 1}, **fields))
    assert greatest_difference(weights(alone), weights(many, 0), relative=True) < 1e-9
