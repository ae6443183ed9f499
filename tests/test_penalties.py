"""Penalties against scikit-learn, torch, closed forms and the papers' equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from alike import learned
from catalogue import fields
from scipy import integrate, stats
from sklearn.linear_model import ElasticNet
from torch import nn
from trainings import assembled, greatest_difference

from regplug.errors import CompositionError
from regplug_regularizers.penalties.activity import activity_l1, activity_l2, kl_sparsity
from regplug_regularizers.penalties.confidence_penalty import confidence
from regplug_regularizers.penalties.elastic_net import elastic_net
from regplug_regularizers.penalties.group_lasso import group_lasso
from regplug_regularizers.penalties.jacobian import squared_jacobian
from regplug_regularizers.penalties.l0 import expected_count, final_gate, hard_concrete
from regplug_regularizers.penalties.orthogonal import orthogonality
from regplug_regularizers.penalties.spectral_penalty import half_squared_norm
from regplug_regularizers.penalties.variational_dropout import divergence


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_minimum_of_the_elastic_net_is_scikit_learns():
    """At its solution the gradient of loss and penalty is 0 where w is not, and at most the L1 strength where it is."""
    strength, l1_share = 0.1, 0.6
    generator = np.random.default_rng(0)
    x_BF = generator.standard_normal((60, 12))
    y_B = x_BF[:, :4] @ [1.0, -2.0, 0.5, 0.1] + 0.1 * generator.standard_normal(60)
    found = ElasticNet(alpha=strength, l1_ratio=l1_share, fit_intercept=False, tol=1e-14, max_iter=100_000)
    w_F = torch.from_numpy(found.fit(x_BF, y_B).coef_.astype(float)).requires_grad_()
    loss = (torch.from_numpy(x_BF) @ w_F - torch.from_numpy(y_B)).square().mean() / 2
    (by_loss,) = torch.autograd.grad(loss, w_F)
    (by_penalty,) = torch.autograd.grad(strength * elastic_net(w_F, scalar(l1_share)), w_F)
    is_zero = w_F == 0
    assert 0 < is_zero.sum() < 12
    assert (by_loss + by_penalty)[~is_zero].abs().max() < 1e-7
    assert by_loss[is_zero].abs().max() < strength * l1_share


def test_the_group_lasso_is_the_sum_over_rows_or_columns_of_their_norms_times_the_root_of_their_size():
    weight = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    assert float(group_lasso(weight, "units")) == pytest.approx(math.sqrt(3) * 5)
    assert float(group_lasso(weight, "inputs")) == pytest.approx(math.sqrt(2) * (3 + 4))
    kernel = normal(5, 2, 3, 3)
    by_filter = sum(math.sqrt(18) * one.norm() for one in kernel)
    assert float(group_lasso(kernel, "units")) == pytest.approx(float(by_filter))


def test_the_group_lasso_of_single_numbers_is_l1_and_has_no_gradient_at_zero():
    weight = normal(4, 1).requires_grad_()
    torch.testing.assert_close(group_lasso(weight, "units"), weight.abs().sum())
    nothing = torch.zeros(3, 2, requires_grad=True)
    group_lasso(nothing, "units").backward()
    assert not nothing.grad.any()


def test_orthonormal_weights_cost_nothing_and_others_the_distance_of_their_gram_matrix():
    matrix = nn.init.orthogonal_(torch.empty(3, 8, dtype=torch.float64))
    assert float(orthogonality(matrix)) < 1e-20
    weight = normal(3, 2, 4)
    values = torch.linalg.svdvals(weight.flatten(1))
    torch.testing.assert_close(orthogonality(weight), (values.square() - 1).square().sum())


def test_the_spectral_penalty_is_what_power_iteration_comes_to_and_so_is_its_gradient():
    """Yoshida and Miyato 2017, algorithm 1: sigma = u^T W v, and the gradient of sigma^2 / 2 is sigma u v^T."""
    weight = normal(5, 7).requires_grad_()
    v = F.normalize(normal(7, seed=1), dim=0)
    with torch.no_grad():
        for _ in range(500):
            u = F.normalize(weight @ v, dim=0)
            v = F.normalize(weight.T @ u, dim=0)
        sigma = u @ weight @ v
    value = half_squared_norm(weight)
    value.backward()
    torch.testing.assert_close(value.detach(), sigma**2 / 2)
    torch.testing.assert_close(weight.grad, sigma * torch.outer(u, v))


def test_activity_penalties_are_sums_over_units_and_means_over_rows():
    h = torch.tensor([[1.0, -2.0], [0.0, 4.0]])
    assert float(activity_l1(h)) == 7 / 2
    assert float(activity_l2(h)) == 21 / 2


def test_kl_sparsity_is_the_divergence_of_two_coins_for_each_unit():
    h = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = sum(stats.entropy([0.1, 0.9], [float(q), 1 - float(q)]) for q in h.mean(0))
    assert float(kl_sparsity(h, scalar(0.1))) == pytest.approx(expected)
    assert float(kl_sparsity(torch.full((3, 2), 0.1, dtype=torch.float64), scalar(0.1))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_kl_sparsity_refuses_activations_that_are_no_probabilities(activation):
    with pytest.raises(CompositionError, match="outside of 0 and 1") as caught:
        assembled(**{**fields("kl_sparsity"), "activation": activation})
    assert "--activation sigmoid" in caught.value.hint


def test_the_confidence_penalty_is_the_divergence_from_equal_probabilities():
    logits = normal(6, 4)
    expected = [stats.entropy(p, np.full(4, 0.25)) for p in logits.softmax(1).numpy()]
    assert float(confidence(logits)) == pytest.approx(np.mean(expected))
    by_entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    assert float(confidence(logits)) == pytest.approx(math.log(4) - float(by_entropy))


class OneNetwork:
    """Stands for the step of a network without noise."""

    def __init__(self, network):
        self.network = network

    def run(self, *, x):
        return type("Outputs", (), {"logits": self.network(x)})

    def gradient(self, function, x):
        return torch.func.grad(function)(x)


@pytest.mark.slow
def test_the_estimate_of_the_jacobian_is_unbiased():
    """The mean over 4,000 draws is within five standard errors of the full Jacobian's squared norm."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double().requires_grad_(False)
    x = normal(1, 4)
    full = torch.autograd.functional.jacobian(network, x)[0, :, 0].square().sum()
    draws = 4000
    many = normal(draws, 1, 3, seed=2)
    each = torch.vmap(lambda v: squared_jacobian(OneNetwork(network), x, v[None]))(many)
    assert abs(float(each.mean() - full)) < 5 * float(each.std()) / math.sqrt(draws)
    together = squared_jacobian(OneNetwork(network), x.expand(draws, 4), many)
    torch.testing.assert_close(together, each.mean())
    several = squared_jacobian(OneNetwork(network), x, many.view(1, draws, 3))
    torch.testing.assert_close(several, each.mean())


def test_the_expected_count_of_open_gates_is_what_simulation_finds():
    draws = 40_000
    logits = torch.tensor([-4.0, -1.0, 0.0, 2.0], dtype=torch.float64)
    u = torch.rand(draws, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gates = hard_concrete(u, logits.expand(draws, 4))
    assert gates.min() == 0
    assert gates.max() == 1
    for number, logit in enumerate(logits):
        expected = float(expected_count(logit[None]))
        share = float((gates[:, number] != 0).double().mean())
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / draws)


def test_a_closed_gate_is_zero_in_evaluation_and_an_open_one_is_one():
    assert final_gate(torch.tensor([-20.0, 0.0, 20.0])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("alpha", [0.05, 0.5, 2.0, 20.0])
def test_the_divergence_of_variational_dropout_is_near_the_integral_that_it_approximates(alpha):
    """-KL = log(alpha) / 2 - E log |1 + sqrt(alpha) e| + c, and c makes it vanish as alpha grows (Molchanov 2017)."""

    def expectation(a):
        def density(value):
            return stats.norm.pdf(value) * math.log(abs(1 + math.sqrt(a) * value) + 1e-300)

        pole = -1 / math.sqrt(a)
        return sum(integrate.quad(density, *part, limit=400)[0] for part in ((-12, pole), (pole, 12)))

    limit = (math.log(2) + 0.5772156649) / 2
    exact = -(0.5 * math.log(alpha) - expectation(alpha) - limit)
    assert float(divergence(torch.tensor([math.log(alpha)]))) == pytest.approx(exact, abs=0.02)


# Which weights, and how strongly.


def test_an_l2_of_one_layer_is_l2_with_a_strength_for_each_weight():
    run = fields("l2")
    by_glob = learned(**{**run, "reg": ["l2:strength=0.1,at=hidden2"]})
    by_list = learned(**{**run, "reg": ["l2:strength=[0,0.1,0]"]})
    assert greatest_difference(by_glob, by_list, relative=True) < 1e-12
    assert greatest_difference(by_glob, learned(**{**run, "reg": ["l2:strength=0.1"]})) > 1e-4


def test_two_strengths_on_two_layers_are_two_penalties_under_two_names():
    run = fields("l2")
    by_list = learned(**{**run, "reg": ["l2:strength=[0.1,0.2,0]"]})
    by_name = learned(**{**run, "reg": ["l2@a:strength=0.1,at=hidden1", "l2@b:strength=0.2,at=hidden2"]})
    assert greatest_difference(by_list, by_name, relative=True) < 1e-12


@pytest.mark.parametrize("name", ["l1", "l2", "elastic_net", "group_lasso", "orthogonal", "spectral_penalty"])
@pytest.mark.parametrize(("values", "says"), [("at=nothing", "names no module"), ("strength=[1,2]", "3 weights")])
def test_a_penalty_of_weights_that_are_not_there_is_refused(name, values, says):
    with pytest.raises(CompositionError, match=says):
        assembled(**{**fields(name), "reg": [f"{name}:{values}"]})


@pytest.mark.parametrize("name", ["activity_l1", "activity_l2"])
def test_an_activity_penalty_has_a_strength_for_each_place(name):
    run = fields(name)
    by_list = learned(**{**run, "reg": [f"{name}:strength=[0,0.1]"]})
    by_glob = learned(**{**run, "reg": [f"{name}:strength=0.1,at=activation2"]})
    assert greatest_difference(by_list, by_glob, relative=True) < 1e-12
    with pytest.raises(CompositionError, match="3 numbers for 2 places"):
        assembled(**{**run, "reg": [f"{name}:strength=[1,2,3]"]})


def test_l2_warns_beside_a_decoupled_decay():
    notices = assembled(**{**fields("l2"), "reg": ["l2", "weight_decay"]}).network.notices
    assert [notice.kind for notice in notices] == ["warn"]
