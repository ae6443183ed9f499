"""What is done to gradients and steps, against torch, published equations and loops by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from by_hand import assert_same_as_by_hand, reference_mlp
from torch import nn
from trainings import assembled, step, trained, trainer, weights

from regplug.data import order
from regplug.errors import CompositionError
from regplug.regularizer import Shapes
from regplug_regularizers.gradients import LookaheadParams
from regplug_regularizers.gradients.adaptive_clip import AdaptiveClip, clipped
from regplug_regularizers.gradients.asam import Asam
from regplug_regularizers.gradients.clip_value import ClipValue
from regplug_regularizers.gradients.gradient_centralization import GradientCentralization
from regplug_regularizers.gradients.gradient_noise import GradientNoise, variance_at
from regplug_regularizers.gradients.lookahead import Lookahead

ROLES = {"fc.weight": "weight", "conv.weight": "weight", "fc.bias": "bias"}


def tensors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"fc.weight": (4, 3), "conv.weight": (4, 2, 3, 3), "fc.bias": (4,)}
    return {name: torch.randn(size, generator=generator, dtype=torch.float64) for name, size in sizes.items()}


# A second gradient.


def trained_twice_by_hand(made, point):
    """A loop of two gradients; `point` says where the second one is taken."""
    model = reference_mlp(made)
    optimizer = torch.optim.SGD(model.parameters(), lr=made.config.lr)
    x, y = made.data.train.x, made.data.train.y
    for epoch in range(made.config.epochs):
        for rows in order(len(x), 0, epoch).split(made.config.batch_size):
            start = [p.detach().clone() for p in model.parameters()]
            grads = torch.autograd.grad(F.cross_entropy(model(x[rows]), y[rows]), list(model.parameters()))
            with torch.no_grad():
                for p, value in zip(model.parameters(), point(start, grads), strict=True):
                    p.copy_(value)
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for p, value in zip(model.parameters(), start, strict=True):
                    p.copy_(value)
            optimizer.step()
    return model


def test_asam_is_a_loop_of_two_gradients_by_hand():
    def point(params, grads):
        scales = [p.abs() + 0.05 if p.ndim > 1 else torch.ones_like(p) for p in params]
        norm = torch.sqrt(sum((s * g).square().sum() for s, g in zip(scales, grads, strict=True)))
        return [p + 0.4 * s**2 * g / norm for p, s, g in zip(params, scales, grads, strict=True)]

    fields = {"reg": ["asam:rho=0.4,eta=0.05"], "dtype": "float64"}
    model = trained_twice_by_hand(assembled(**fields), point)
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=1e-10, atol=1e-10)


def test_asam_does_not_feel_the_scale_of_the_weights():
    """Weights a hundred times as large, with gradients a hundredth: the point moves a hundred times as far."""
    params, grads = tensors(), tensors(1)
    del params["fc.bias"], grads["fc.bias"]
    at = step({"rho": 0.5, "eta": 0.0}, roles=ROLES)
    small = Asam().perturb(at, params, grads)
    large = Asam().perturb(at, {n: 100 * p for n, p in params.items()}, {n: g / 100 for n, g in grads.items()})
    for name, value in small.items():
        torch.testing.assert_close(large[name], 100 * value)


@pytest.mark.parametrize("reg", ["sam:rho=0.5", "asam:rho=0.5"])
def test_a_second_pass_leaves_running_statistics_alone(reg):
    """After one step they are those of the first pass, which is the same with and without it."""
    fields = {"epochs": 1, "batch_size": 104, "dtype": "float64"}
    twice, once = (weights(trained(trainer(**fields, reg=["batchnorm", *more]))[0]) for more in ([reg], []))
    statistics = [name for name in once if "running" in name or "tracked" in name]
    assert len(statistics) == 6
    assert all(torch.equal(once[name], twice[name]) for name in statistics)
    assert not torch.equal(once["output.weight"], twice["output.weight"])


def test_two_second_gradients_refuse_each_other():
    with pytest.raises(CompositionError, match="asam refuses second-gradient, and sam is one"):
        assembled(reg=["sam", "asam"])


# Clipping, centralization and noise.


def test_clip_value_is_torchs_clip_grad_value():
    assert_same_as_by_hand(
        {"reg": ["clip_value:max_value=0.01"]},
        before=lambda model, made: lambda: nn.utils.clip_grad_value_(model.parameters(), 0.01),
    )
    at = step({"max_value": 0.5})
    made, _ = ClipValue().gradients(at, {}, tensors())
    assert all(value.abs().max() <= 0.5 for value in made.values())


def test_adaptive_clipping_is_the_papers_equation_for_each_unit():
    params, grads = tensors(), tensors(1)
    params["fc.weight"][1] = 0
    made, _ = AdaptiveClip().gradients(step({"ratio": 0.8, "eps": 1e-3}), params, grads)
    was_clipped = []
    for name in ("fc.weight", "conv.weight"):
        for own, weight, grad in zip(made[name], params[name], grads[name], strict=True):
            bound = 0.8 * max(float(weight.norm()), 1e-3)
            was_clipped.append(float(grad.norm()) > bound)
            expected = grad * bound / grad.norm() if was_clipped[-1] else grad
            torch.testing.assert_close(own, expected)
    assert {True, False} == set(was_clipped)
    bias = 0.8 * params["fc.bias"].norm() / grads["fc.bias"].norm()
    torch.testing.assert_close(made["fc.bias"], grads["fc.bias"] * bias.clamp(max=1))


def test_a_gradient_of_zero_stays_zero_where_clipping_is_adaptive():
    zero, one = torch.zeros(2, 3), torch.ones(())
    assert torch.equal(clipped(zero, zero, 0.01 * one, 1e-3 * one), zero)


def test_centralized_gradients_of_a_unit_sum_to_zero_and_others_are_spared():
    grads = tensors()
    made, _ = GradientCentralization().gradients(step(roles=ROLES), grads, grads)
    for name in ("fc.weight", "conv.weight"):
        torch.testing.assert_close(made[name].flatten(1).sum(1), torch.zeros(4).double(), atol=1e-12, rtol=0)
        # The projection of the paper: P = I - e e^T with e a vector of 1 / sqrt(inputs).
        flat = grads[name].flatten(1)
        e = torch.ones(flat.shape[1], 1).double() / flat.shape[1] ** 0.5
        torch.testing.assert_close(made[name].flatten(1), flat @ (torch.eye(len(e)).double() - e @ e.T))
    assert made["fc.bias"] is grads["fc.bias"]


def test_the_variance_of_gradient_noise_falls_as_published():
    assert [float(variance_at(t, torch.tensor(0.3), torch.tensor(0.55))) for t in (0, 9, 99)] == pytest.approx(
        [0.3, 0.3 / 10**0.55, 0.3 / 100**0.55]
    )


def test_gradient_noise_has_its_moments():
    grads = {"w": torch.ones(200, 200, dtype=torch.float64)}
    shapes = Shapes(x=(1, 1), y=(1,), outputs=(1, 3), weights={}, params={"w": (200, 200)}, rows=1)
    functions = GradientNoise()
    assert functions.noise(shapes, {})["w"].shape == (200, 200)
    at = step({"variance": 0.3, "decay": 0.55}, {"w": torch.randn(200, 200, dtype=torch.float64)})
    at.clock.index = 9
    added = functions.gradients(at, grads, grads)[0]["w"] - 1
    assert abs(float(added.mean())) < 5 * (0.3 / 10**0.55) ** 0.5 / 200
    assert float(added.var()) == pytest.approx(0.3 / 10**0.55, rel=0.05)


# Slow weights.


def test_lookahead_is_the_recursion_of_its_paper():
    functions = Lookahead(LookaheadParams(steps=3))
    params = slow = {"w": torch.zeros(2, dtype=torch.float64)}
    state = functions.init(Shapes(x=(1, 1), y=(1,), outputs=(1, 3), weights={}, params={}, rows=1), params, {})
    for index in range(7):
        params = {"w": params["w"] + 1}
        at = step({"alpha": 0.25}, state=state)
        at.clock.index = index
        moved, state = functions.after_step(at, params)
        if index % 3 == 2:
            slow = {"w": slow["w"] + 0.25 * (params["w"] - slow["w"])}
            params = slow
        torch.testing.assert_close(moved["w"], params["w"])
        torch.testing.assert_close(functions.evaluated(step(state=state), moved, {})[0]["w"], slow["w"])


def test_lookahead_at_each_step_and_all_the_way_is_the_run_without_it():
    plain, followed = (weights(trained(trainer(reg=regs, epochs=1))[0]) for regs in ([], ["lookahead:alpha=1,steps=1"]))
    assert all(torch.equal(value, followed[name]) for name, value in plain.items())
