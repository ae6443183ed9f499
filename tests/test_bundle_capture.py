"""What the captured graph is checked for, with and without decomposing it."""

from __future__ import annotations

import pytest
import torch
from made_bundles import cnn, mlp
from torch import nn
from torch.export import Dim, ExportedProgram

from regplug.bundles.capture import judge
from regplug.errors import ExportError

pytestmark = pytest.mark.slow


class Counts(nn.Module):
    """Writes a buffer in place, through a view of it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(2))

    def forward(self, x):
        self.count[:1].add_(1)
        return x * self.count.sum()


class Normalizes(nn.Module):
    """Updates running statistics in an operator that has no argument for training."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("variance", torch.ones(4))

    def forward(self, x):
        return nn.functional.instance_norm(x, self.mean, self.variance, use_input_stats=True)


class Draws(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class InPlace(nn.Module):
    """Writes results of its own operators in place, as residual networks do, also through a view."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.norm(self.linear(x)))
        y += x
        y[:, :2].mul_(2)
        return self.relu(y)


class WritesAlias(nn.Module):
    """Writes a buffer through a chain of views and operators in place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(1, 4))

    def forward(self, x):
        self.total.view(4).relu_().unsqueeze(0).add_(1)
        return x + self.total


def captured(module, *shape):
    with torch.no_grad():
        return torch.export.export(module.eval(), (torch.ones(3, *shape),), dynamic_shapes=({0: Dim("batch")},))


@pytest.mark.parametrize(
    ("make", "shape"), [(mlp, (4,)), (cnn, (1, 8, 8)), (InPlace, (4,))], ids=["mlp", "cnn", "in place"]
)
def test_a_network_of_plain_operators_is_judged_without_the_cost_of_decomposing_it(make, shape, monkeypatch):
    program = captured(make(), *shape)
    monkeypatch.setattr(ExportedProgram, "run_decompositions", lambda self: pytest.fail("it was decomposed"))
    names = [check.name for check in judge(program)]
    assert names == ["batch_symbolic", "training_arguments", "no_random_operator", "no_buffer_written"]


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (Counts(), (2,), "Inference writes to count"),
        (WritesAlias(), (4,), "Inference writes to total"),
        (Normalizes(), (4, 5), "Inference writes to mean, variance"),
        (Draws(), (2,), "draws random numbers in evaluation mode"),
    ],
    ids=["in place", "through views", "running statistics", "random"],
)
def test_an_operator_that_may_write_or_draw_is_found(module, shape, words):
    with pytest.raises(ExportError) as caught:
        judge(captured(module, *shape))
    assert words in caught.value.message
