"""Initializers that see training data: what they are given, what they may change, and `lsuv` against its definition."""

from __future__ import annotations

import kit_honest
import kit_mutants_kinds
import pytest
import torch
from kit_mutants import PLANTED
from torch import nn
from trainings import assembled, greatest_difference, stack, toy, trained, weights

from regplug.config import RunConfig
from regplug.errors import CompositionError
from regplug.initializers import layers_of, neutral
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.initializing import initialize
from regplug.testing import check_initializer
from regplug.testing.running import Bound
from regplug.testing.selection import checks_of
from regplug.testing.subject import find_subject

ROWS = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))


def net():
    model = nn.Sequential()
    parts = {"hidden": nn.Linear(3, 8), "norm": nn.BatchNorm1d(8), "act": nn.Tanh(), "drop": nn.Dropout(0.5)}
    for name, part in {**parts, "output": nn.Linear(8, 2)}.items():
        model.add_module(name, part)
    return model


def started(model, *texts, seed=0, rows=ROWS):
    initialize(model, find_components(RunConfig(init=texts), default_registry()).inits, seed, rows)
    return model


def variances(model, rows):
    """Output variance of each linear layer and convolution."""
    with neutral(model, 0):
        layers = layers_of(model, {name for name, _ in model.named_parameters()}, rows[:2])
        kinds = nn.Linear | nn.Conv2d
        return {one.name: one.output(rows).var(correction=0).item() for one in layers if isinstance(one.module, kinds)}


def seen_by(model, *texts, monkeypatch, rows=ROWS):
    """The layers and the batch that `lsuv` was given."""
    from regplug_initializers import batch_rules

    seen = []
    monkeypatch.setattr(batch_rules, "lsuv", lambda params, layers, batch, generator: seen.append((layers, batch)))
    started(model, *texts, rows=rows)
    return seen


@pytest.fixture(scope="module")
def digits():
    return assembled(dataset="digits", model="linear").data.train.x


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 10))


def cnn():
    convolutions = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU()
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("make", [mlp, cnn])
def test_lsuv_gives_each_layer_an_output_of_variance_one_on_digits(make, digits):
    batch = digits[:256]
    own = variances(started(make(), "lsuv", rows=batch), batch)
    assert len(own) == 3
    assert all(abs(variance - 1) < 0.1 for variance in own.values()), own
    narrow = variances(started(make(), "lsuv:tol=1e-4", rows=batch), batch)
    assert all(abs(variance - 1) < 1.1e-4 for variance in narrow.values()), narrow
    plain = variances(started(make(), "orthogonal", rows=batch), batch)
    assert max(abs(variance - 1) for variance in plain.values()) > 0.1


def test_a_run_with_residual_connections_and_normalizations_starts_at_variance_one(digits):
    made = assembled(dataset="digits", model="resnet", init=("lsuv",), seed=3)
    own = variances(made.network.model, digits[:600])
    assert len(own) > 5
    # Other rows than those that lsuv saw, so the variances may be a little beyond its tolerance.
    assert all(abs(variance - 1) < 0.3 for variance in own.values()), own


def test_lsuv_scales_orthonormal_weights_and_sets_biases_to_zero():
    model = started(net(), "lsuv")
    gram = model.output.weight @ model.output.weight.T
    assert torch.allclose(gram / gram[0, 0], torch.eye(2), atol=1e-6)
    assert model.hidden.bias.tolist() == [0] * 8
    assert model.norm.weight.tolist() == [1] * 8
    assert started(net(), "lsuv:bias=0.5").output.bias.tolist() == [0.5] * 2


def test_equal_seeds_give_equal_starts_and_global_generators_stay_as_they_were():
    model = net()
    state = torch.get_rng_state()
    first, again, other = (
        torch.cat([p.detach().flatten() for p in started(model, "lsuv", seed=seed).parameters()]) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_a_stack_of_seeds_is_each_run_alone():
    fields = {"init": ("lsuv",), "dtype": "float64", "epochs": 1}
    together = stack({"seed": 0}, {"seed": 1}, **fields)
    list(together.train())
    together.finish()
    for number in range(2):
        alone, _ = trained(seed=number, **fields)
        assert greatest_difference(weights(alone), weights(together, number)) < 1e-9


def test_modes_and_buffers_are_the_same_afterwards():
    model = net().train()
    model.drop.eval()
    model.norm.running_mean += 2
    started(model, "lsuv")
    assert [module.training for module in model] == [True, True, True, False, True]
    assert model.norm.running_mean.tolist() == [2] * 8
    assert model.norm.num_batches_tracked == 0


class Counting(nn.Linear):
    """Changes a buffer and draws from the global generator in evaluation too."""

    def __init__(self):
        super().__init__(3, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        return super().forward(x) + torch.rand(3)


def test_a_model_that_counts_and_draws_in_evaluation_starts_reproducibly():
    one, other = (started(nn.Sequential(Counting()), "lsuv") for _ in range(2))
    assert torch.equal(one[0].weight, other[0].weight)
    assert one[0].calls == 0


def test_a_rule_that_sees_a_batch_comes_after_the_others_and_gets_its_own_layers(monkeypatch):
    model = net()
    ((layers, batch),) = seen_by(model, "lsuv", "zeros:at=hidden", monkeypatch=monkeypatch)
    assert [layer.name for layer in layers] == ["norm", "output"]
    assert model.hidden.weight.abs().sum() == 0
    assert [len(layer.weights) for layer in layers] == [0, 1]
    assert batch.shape == (256, 3)
    assert layers[0].roles == {"weight": "norm", "bias": "norm"}
    ((_, batch),) = seen_by(model, "lsuv", rows=ROWS[:20], monkeypatch=monkeypatch)
    assert sorted(batch.tolist()) == sorted(ROWS[:20].tolist())


def test_layers_come_in_the_order_of_the_forward_pass_and_those_without_an_output_last():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(3, 3)
            self.last, self.first = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.last(self.first(x))

    model = Backwards()
    layers = layers_of(model, {name for name, _ in model.named_parameters()}, ROWS[:2])
    assert [(layer.name, layer.has_output) for layer in layers] == [("first", True), ("last", True), ("unused", False)]
    before = model.unused.weight.clone()
    assert torch.equal(started(model, "lsuv").unused.weight, before)


@pytest.mark.parametrize("texts", [("lsuv", "zeros:at=hidden"), ("zeros:at=hidden", "lsuv:at=output")])
def test_a_layer_whose_output_does_not_vary_is_refused(texts):
    with pytest.raises(CompositionError, match=r"output of layer output has variance 0 on 256 training rows") as caught:
        started(net(), *texts)
    assert "zero" in caught.value.hint
    assert caught.value.exit_code == 2


def test_lsuv_without_a_layer_to_scale_is_refused():
    with pytest.raises(CompositionError, match="none of its layers"):
        started(net(), "lsuv:at=norm")


def test_the_users_own_function_may_see_a_batch(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def means(params, layers, batch, generator):\n"
        "    for layer in layers:\n"
        "        for bias in layer.biases:\n"
        "            bias.sub_(layer.output(batch).mean(0))\n"
        "means.sees_batch = True\n"
    )
    made = assembled(init=(f"{tmp_path}/mine.py:means",), dataset=toy())
    outputs = made.network.model(made.data.train.x)
    assert outputs.mean(0).abs().max() < 1e-5


PLANTED_HERE = [
    one for one in PLANTED if one.check in ("generator_decides_batch_start", "batch_start_is_finite",
                                            "changes_only_its_layers")
]  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED_HERE, ids=str)
def test_the_kit_catches_an_initializer_that_misuses_the_batch(planted):
    assert planted.descriptor.target.startswith(kit_mutants_kinds.__name__)
    subject = find_subject("initializer", planted.descriptor, {})
    check = {one.__name__: one for one in checks_of(subject)}[planted.check]
    assert Bound(check, subject).result().outcome == "failed"


def test_the_kit_passes_lsuv_and_an_honest_rule():
    assert {one.name for one in kit_honest.HONEST} >= {"scaled_to_the_inputs"}
    (honest,) = (one for one in kit_honest.HONEST if one.name == "scaled_to_the_inputs")
    for component in ("lsuv", honest):
        report = check_initializer(component)
        assert report.passed, report.failures
