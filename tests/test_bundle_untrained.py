"""The graph of the untrained network serves the trained one, but only if nothing but numbers has changed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from made_bundles import mlp, onnx_only, row_request
from torch import Tensor, nn

from regplug.bundles import structure as checking
from regplug.bundles import writing
from regplug.bundles.structure import check_untrained
from regplug.bundles.untrained import structure
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle

ROWS = torch.zeros(3, 4)


class Plain(nn.Module):
    """A module with attributes of every kind that can be compared."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.mean = nn.Buffer(torch.ones(4))
        self.scale = nn.Buffer(torch.ones(4), persistent=False)
        self.factor, self.count, self.word, self.flag = 1.0, 1, "a", True
        self.kept = [torch.zeros(2), (1, 2), {"a": {3}}, torch.relu, nn.ReLU(), None, torch.float32]

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.factor


def other(change):
    """A copy of one module with a change."""
    torch.manual_seed(0)
    module = Plain().eval()
    before = structure(module, ROWS)
    changed = copy.deepcopy(module)
    change(changed)
    return before, structure(changed, ROWS)


CHANGES = {
    "a float": lambda m: setattr(m, "factor", 2.0),
    "the sign of zero": lambda m: setattr(m, "factor", -0.0),
    "an integer for a float": lambda m: setattr(m, "factor", 1),
    "a flag for an integer": lambda m: setattr(m, "count", True),
    "a word": lambda m: setattr(m, "word", "b"),
    "another attribute": lambda m: setattr(m, "more", 1),
    "a number of a plain tensor": lambda m: m.kept[0].add_(1),
    "a function": lambda m: m.kept.__setitem__(3, torch.tanh),
    "a value in a set": lambda m: m.kept[2]["a"].add(4),
    "training mode": lambda m: m.layer.train(),
    "a module": lambda m: setattr(m, "layer", nn.Identity()),
    "a wider layer": lambda m: setattr(m, "layer", nn.Linear(4, 5)),
    "no bias": lambda m: setattr(m.layer, "bias", None),
    "the number type of a buffer": lambda m: setattr(m, "mean", m.mean.double()),
    "one tensor twice": lambda m: setattr(m, "mean", m.scale),
    "other strides": lambda m: setattr(m.layer, "weight", nn.Parameter(m.layer.weight.detach().T)),
    "a forward of its own": lambda m: setattr(m, "forward", torch.relu),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_structures_differ_by_everything_but_numbers(change):
    before, after = other(change)
    assert before is not None
    assert before != after


def test_structures_are_equal_whatever_the_weights_and_buffers_hold():
    def learn(module):
        with torch.no_grad():
            for value in (*module.parameters(), *module.buffers()):
                value.add_(1)

    before, after = other(learn)
    assert before is not None
    assert before == after


@pytest.mark.parametrize("value", [np.ones(2), lambda x: ROWS, object()], ids=["array", "closure", "object"])
def test_a_value_that_cannot_be_compared_makes_the_structure_unknown(value):
    rows = ROWS.clone()
    unknown = (lambda: rows) if callable(value) else value
    assert other(lambda m: setattr(m, "more", unknown))[1] is None


def test_a_module_that_holds_itself_in_a_list_is_unknown():
    def tie(module):
        module.kept.append(module.kept)

    assert other(tie)[1] is None


class Scaled(nn.Module):
    """Multiplies by a plain number, or by one of the class."""

    shared = 1.0

    def __init__(self, own: float = 1.0) -> None:
        super().__init__()
        self.layer, self.norm, self.own = nn.Linear(4, 3), nn.BatchNorm1d(3), own
        self.offset = nn.Buffer(torch.zeros(3), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)) * self.own * type(self).shared + self.offset


def trained(network: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.is_floating_point():
                value.copy_(torch.rand_like(value))
    return network


@pytest.fixture
def captures(monkeypatch):
    """The number of captures since it was last cleared."""
    made: list[int] = []
    for module in (writing, checking):
        real = module.capture
        monkeypatch.setattr(module, "capture", lambda *a, real=real, **k: made.append(1) or real(*a, **k))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("make", [mlp, Scaled])
def test_a_trained_network_is_captured_once(make, captures, tmp_path):
    network = make()
    untrained = check_untrained(row_request(network))
    bundle = write_bundle(row_request(trained(network)), tmp_path / "bundle", untrained=untrained)
    assert len(captures) == 1
    assert any(check.name == "capture.no_buffer_written" for check in bundle.verification.checks)
    assert verify_bundle(bundle.path).passed


@pytest.mark.slow
@pytest.mark.parametrize("place", ["module", "class"])
def test_a_trained_network_with_another_graph_is_captured_again(place, captures, tmp_path, monkeypatch):
    network = Scaled()
    untrained = check_untrained(row_request(network, formats=onnx_only()))
    trained(network)
    if place == "module":
        network.own = 3.0
    else:
        monkeypatch.setattr(Scaled, "shared", 3.0)
    path = write_bundle(row_request(network, formats=onnx_only()), tmp_path / "bundle", untrained=untrained).path
    assert len(captures) == 2
    assert verify_bundle(path).passed
