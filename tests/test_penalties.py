"""Penalties against scikit-learn, torch, closed forms and the papers' equations."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import ElasticNet

from regplug_regularizers.penalties.elastic_net import elastic_net


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


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
    (by_penalty,) = torch.autograd.grad(elastic_net([w_F], scalar(strength), scalar(l1_share)), w_F)
    is_zero = w_F == 0
    assert 0 < is_zero.sum() < 12
    assert (by_loss + by_penalty)[~is_zero].abs().max() < 1e-7
    assert by_loss[is_zero].abs().max() < strength * l1_share
