"""The first-party probes against torch, closed forms and simulations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations
from trainings import assembled, stack, toy, trainer

from regplug.measuring.metrics import calibration_error as calibration_error_of_the_metrics
from regplug.measuring.metrics import probabilities
from regplug.probes import Probe
from regplug_probes import CalibrationParams, GradientsParams, NoiseScaleParams, SharpnessParams, WeightStatisticsParams
from regplug_probes.activations import ActivationStatistics, DeadUnits, dead_units, units_of
from regplug_probes.calibration import Calibration, calibration_error
from regplug_probes.curvature import Sharpness, largest_eigenvalue
from regplug_probes.gradients import GradientSizes, NoiseScale, UpdateRatio, noise_estimate
from regplug_probes.layers import histogram
from regplug_probes.weights import EffectiveRank, WeightStatistics, effective_rank

PROBES = {
    "gradients": (GradientSizes, GradientsParams),
    "objective": (GradientSizes, lambda: GradientsParams(of="objective", biases=True)),
    "update_ratio": (UpdateRatio, lambda: None),
    "gradient_noise_scale": (NoiseScale, NoiseScaleParams),
    "weight_statistics": (WeightStatistics, WeightStatisticsParams),
    "effective_rank": (EffectiveRank, lambda: None),
    "activation_statistics": (ActivationStatistics, lambda: None),
    "dead_units": (DeadUnits, lambda: None),
    "sharpness": (Sharpness, SharpnessParams),
    "calibration": (Calibration, CalibrationParams),
}


class Backwards(nn.Module):
    """Registers its layers in the reverse of the order in which it calls them."""

    def __init__(self):
        super().__init__()
        self.output, self.second, self.first = nn.Linear(5, 3), nn.Linear(6, 5), nn.Linear(8, 6)
        self.activation = nn.ReLU()

    def forward(self, x):
        return self.output(self.activation(self.second(self.activation(self.first(x)))))


def view_of(model=None, **fields):
    made = trainer(**{"dtype": "float64", "epochs": 1, **({} if model is None else {"model": model}), **fields})
    made._probed = True
    list(made.train())
    return made.view_of(0)


@pytest.fixture(scope="module")
def view():
    torch.manual_seed(0)
    return view_of(Backwards())


@pytest.fixture(scope="module")
def by_hand(view):
    """The same network outside of regplug, and its loss on the sample."""
    model = Backwards().double()
    model.load_state_dict(dict(view.params))
    return model, F.cross_entropy(model(view.sample.x), view.sample.labels)


def measured(name, view):
    probe, params = PROBES[name]
    return probe(params()).measure(view)


def test_gradients_are_those_of_backward_in_the_order_of_the_forward_pass(view, by_hand):
    model, loss = by_hand
    model.zero_grad()
    loss.backward(retain_graph=True)
    found = measured("gradients", view)
    assert [name for name in found if "/mean_abs/" in name] == [
        f"gradient/mean_abs/{name}" for name in ("first", "second", "output")
    ]
    for layer in ("first", "second", "output"):
        grad = getattr(model, layer).weight.grad
        assert found[f"gradient/mean_abs/{layer}"] == pytest.approx(float(grad.abs().mean()))
        assert found[f"gradient/std/{layer}"] == pytest.approx(float(grad.std(correction=0)))
        assert found[f"gradient/norm/{layer}"] == pytest.approx(float(grad.norm()))
    first, second = (getattr(model, layer).weight.grad.abs().mean() for layer in ("first", "second"))
    assert found["gradient/ratio"] == pytest.approx(float(first / second))
    norms = [getattr(model, layer).weight.grad.norm() for layer in ("first", "second", "output")]
    assert found["gradient/norm"] == pytest.approx(float(torch.stack(norms).norm()))
    whole = GradientSizes(GradientsParams(biases=True)).measure(view)
    both = torch.cat([model.first.weight.grad.flatten(), model.first.bias.grad])
    assert whole["gradient/norm/first"] == pytest.approx(float(both.norm()))


def test_the_ratio_of_gradients_needs_two_hidden_layers_with_gradients():
    assert "gradient/ratio" not in measured("gradients", view_of("mlp:hidden=[6]"))
    silent = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        silent[2].bias.fill_(-1e6)
    assert "gradient/ratio" not in measured("gradients", view_of(silent))


def test_a_parametrized_weight_is_measured_under_its_layer():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, 3))
    view = view_of(model)
    weights, grads = measured("weight_statistics", view), measured("gradients", view)
    assert weights["weights/norm/0"] == pytest.approx(float(view.params["0.weight"].norm()))
    assert {"gradient/norm/0", "gradient/norm/2"} <= set(grads)
    assert view.layers[0].trained == tuple(f"0.parametrizations.weight.original{n}" for n in (0, 1))


def test_update_ratios_are_those_of_the_last_step(view):
    found = measured("update_ratio", view)
    wanted = view.last_update["second.weight"].norm() / view.params["second.weight"].norm()
    assert found["update/ratio/second"] == pytest.approx(float(wanted))
    assert min(found[f"update/ratio/{n}"] for n in ("first", "second", "output")) <= found["update/ratio"]


def test_a_unit_is_dead_only_if_it_is_zero_everywhere():
    output = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    assert dead_units(units_of(output)).tolist() == [True, False, False]
    images = torch.zeros(2, 3, 4, 4)
    images[1, 2, 3, 3] = 0.5
    assert dead_units(units_of(images)).tolist() == [True, True, False]
    assert units_of(torch.zeros(2, 7, 5)).shape == (2, 5, 7)


def test_dead_units_and_zeros_are_told_apart_and_are_fractions(view):
    found = measured("dead_units", view)
    first = F.relu(F.linear(view.sample.x, view.params["first.weight"], view.params["first.bias"]))
    second = F.relu(F.linear(first, view.params["second.weight"], view.params["second.bias"]))
    assert found["dead/zero_fraction/activation"] == pytest.approx(float((first == 0).double().mean()))
    assert found["dead/zero_fraction/activation-2"] == pytest.approx(float((second == 0).double().mean()))
    zeros = float(torch.cat([first.flatten() == 0, second.flatten() == 0]).double().mean())
    assert found["dead/zero_fraction"] == pytest.approx(zeros)
    dead = torch.cat([(first == 0).all(0), (second == 0).all(0)]).double().mean()
    assert found["dead/unit_fraction"] == pytest.approx(float(dead), abs=1e-7)


def test_activation_statistics_are_those_of_torch(view):
    found = measured("activation_statistics", view)
    first, second = view.activations["activation#0"], view.activations["activation#1"]
    assert found["activation/mean/activation"] == pytest.approx(float(first.mean()))
    assert found["activation/mean_square/activation"] == pytest.approx(float(first.square().mean()))
    ratio = float(second.var(correction=0) / first.var(correction=0))
    assert found["activation/variance_ratio/activation-2"] == pytest.approx(ratio)
    assert found["activation/variance_ratio"] == pytest.approx(ratio)
    inputs = float(first.var(correction=0) / view.sample.x.var(correction=0))
    assert found["activation/variance_ratio/activation"] == pytest.approx(inputs)


def test_weight_statistics_are_those_of_torch(view):
    found = WeightStatistics(WeightStatisticsParams(below=0.1)).measure(view)
    weights = torch.cat([view.params[f"{name}.weight"].flatten() for name in ("first", "second", "output")])
    assert found["weights/norm"] == pytest.approx(float(weights.norm()))
    assert found["weights/std"] == pytest.approx(float(weights.std(correction=0)))
    assert found["weights/small_fraction"] == pytest.approx(float((weights.abs() < 0.1).double().mean()))


def test_the_effective_rank_is_that_of_the_closed_form():
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert effective_rank(torch.outer(torch.arange(1.0, 5), torch.arange(1.0, 4))) == pytest.approx(1, abs=1e-4)
    assert effective_rank(torch.zeros(3, 4)) == 0
    # p = (3/4, 1/4): exp(entropy) = 4 / 3^(3/4)
    assert effective_rank(torch.diag(torch.tensor([3.0, 1.0]))) == pytest.approx(4 / 3**0.75)


def test_sharpness_is_the_largest_eigenvalue_of_torch_s_hessian():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3))
    view = view_of(model)
    values = list(view.trained_params.values())

    def loss(*params):
        hidden = torch.tanh(F.linear(view.sample.x, params[0], params[1]))
        return F.cross_entropy(F.linear(hidden, params[2], params[3]), view.sample.labels)

    rows = torch.autograd.functional.hessian(loss, tuple(values))
    whole = torch.cat([torch.cat([b.reshape(a.numel(), -1) for b in r], 1) for a, r in zip(values, rows, strict=True)])
    found = Sharpness(SharpnessParams(iterations=60, tolerance=1e-8)).measure(view)
    wanted = torch.linalg.eigvalsh(whole)[-1]
    assert found["sharpness/largest_eigenvalue"] == pytest.approx(float(wanted), rel=1e-6)
    assert found["sharpness/residual"] <= 1e-6


def test_the_largest_eigenvalue_is_found_where_a_negative_one_is_larger_in_size():
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(60, 60, generator=generator, dtype=torch.float64)).Q
    eigenvalues = torch.linspace(-9, 1, 60, dtype=torch.float64)
    eigenvalues[-1] = 3
    matrix = basis @ eigenvalues.diag() @ basis.T
    start = torch.randn(60, generator=generator, dtype=torch.float64)
    found = largest_eigenvalue(lambda v: matrix @ v, start, iterations=200, tolerance=1e-10)
    assert found.value == pytest.approx(3, abs=1e-8)
    few = largest_eigenvalue(lambda v: matrix @ v, start, iterations=6, tolerance=1e-10)
    assert few.residual >= float((eigenvalues - few.value).abs().min())
    assert largest_eigenvalue(torch.zeros_like, start, iterations=5, tolerance=1e-3).value == 0


def test_the_sharpness_of_a_network_without_curvature_is_zero():
    view = view_of("linear", loss="mae", dataset=toy("regression"))
    assert measured("sharpness", view).get("sharpness/largest_eigenvalue", 0.0) == pytest.approx(0, abs=1e-12)


def test_the_calibration_error_is_that_of_the_final_metrics(view):
    logits, y = view.held_out
    wanted = calibration_error_of_the_metrics(probabilities(logits.numpy()), y.numpy())
    found = measured("calibration", view)
    assert found["calibration/ece"] == pytest.approx(wanted)
    assert len(y) == 48  # the validation rows
    confidence, predicted = logits.softmax(1).max(1)
    excess = float(confidence.mean() - (predicted == y).double().mean())
    assert found["calibration/overconfidence"] == pytest.approx(excess)
    assert calibration_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), 10) == 1


def test_held_out_rows_are_the_test_rows_without_validation_rows():
    view = view_of(dataset=replace(toy(), valid=None), epochs=0)
    assert len(view.held_out.y) == 56


def test_the_estimated_noise_scale_is_unbiased_in_a_simulation():
    generator = torch.Generator().manual_seed(0)
    mean, scales = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([1.0, 3.0, 0.5]).double()
    rows, parts, trials = 4, 8, 4000
    draws = mean + scales * torch.randn(trials, parts, rows, 3, generator=generator, dtype=torch.float64)
    grads = draws.mean(2)
    squared, of_mean = grads.square().sum(2), grads.mean(1).square().sum(1)
    found = [noise_estimate(s.tolist(), float(m), rows) for s, m in zip(squared, of_mean, strict=True)]
    trace = torch.tensor([each.trace for each in found])
    signal = torch.tensor([each.squared_mean for each in found])
    # Both means within four standard errors of the truth.
    assert abs(float(trace.mean()) - float(scales.square().sum())) < 4 * float(trace.std()) / trials**0.5
    assert abs(float(signal.mean()) - float(mean.square().sum())) < 4 * float(signal.std()) / trials**0.5


def test_the_noise_scale_of_single_rows_is_that_of_the_rows_covariance(view, by_hand):
    model, _ = by_hand
    losses = F.cross_entropy(model(view.sample.x), view.sample.labels, reduction="none")
    rows = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one, list(model.parameters()), retain_graph=True)])
        for one in losses
    ]
    grads = torch.stack(rows)
    trace = float(grads.var(0).sum())
    signal = float(grads.mean(0).square().sum()) - trace / len(grads)
    found = NoiseScale(NoiseScaleParams(parts=10_000)).measure(view)
    assert found["noise_scale/trace"] == pytest.approx(trace)
    assert found["noise_scale/squared_mean"] == pytest.approx(signal)
    if signal > 0:
        assert found["noise_scale/simple"] == pytest.approx(trace / signal)


def test_a_mean_gradient_that_is_lost_in_noise_gives_no_scale():
    assert noise_estimate([1.0, 1.0], 0.0, 8).scale != noise_estimate([1.0, 1.0], 0.0, 8).scale
    assert noise_estimate([1.0, 1.0], 1.0, 8) == (0.0, 1.0, 0.0)


def test_a_histogram_counts_every_value():
    values = torch.linspace(-1, 1, 1000)
    found = histogram(values)
    assert sum(found.counts) == 1000
    assert (found.edges[0], found.edges[-1]) == pytest.approx((-1, 1))
    assert sum(histogram(torch.zeros(7)).counts) == 7


def test_probes_of_a_stack_measure_what_they_measure_of_each_run_alone():
    common = {"reg": ["batchnorm", "dropout:drop_probability=0.2", "l2:strength=0.1"], "dtype": "float64", "epochs": 2}
    together = stack({"seed": 0}, {"seed": 1}, **common)
    together._probed = True
    list(together.train())
    for seed in (0, 1):
        alone = view_of(seed=seed, **common)
        for name in PROBES:
            one, other = measured(name, alone), measured(name, together.view_of(seed))
            assert one.keys() == other.keys()
            assert one == pytest.approx(other, rel=1e-6, abs=1e-9), name


def test_probes_say_nothing_of_an_update_before_the_first_step():
    made = trainer(epochs=1)
    made._probed = True
    assert measured("update_ratio", made.view_of(0)) == {}
    assert measured("gradients", made.view_of(0))["gradient/norm"] > 0


def test_only_some_probes_have_histograms(view):
    made = {name: probe(params()) for name, (probe, params) in PROBES.items()}
    found = {name: list(probe.histograms(view)) for name, probe in made.items() if probe.histograms(view)}
    assert found == {
        "weight_statistics": ["weights/first", "weights/second", "weights/output"],
        "activation_statistics": ["activations/activation", "activations/activation-2"],
    }
    assert type(made["gradients"]).histograms is Probe.histograms
    assert assembled(probe=list(set(PROBES) - {"objective"})).components.probes
