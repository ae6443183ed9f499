"""Mathematics that studies of the lab bring along, against torch, scikit-learn and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from regplug.api import Task
from regplug.data import InputSpec, RawData, Split
from regplug_lab.images import calibration_error, entropy, mc_predict, reliability, trained_by_hand
from regplug_lab.model_selection import ridge
from regplug_lab.polynomial import chosen_features


def test_the_loop_written_by_hand_is_torchs():
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    start = [param.detach().clone() for param in model.parameters()]
    x, y = torch.randn(20, 5, dtype=torch.float64), torch.arange(20) % 3
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(2):
        for at in range(0, 20, 8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[at : at + 8]), y[at : at + 8]).backward()
            optimizer.step()
    found = trained_by_hand(start, x, y, epochs=2, lr=0.3, batch=8)
    for mine, theirs in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-12, atol=1e-12)


def test_ridge_is_scikit_learns():
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((20, 6), np.float32), generator.standard_normal((20, 1), np.float32)
    inputs = InputSpec(layout="row", shape=(6,), dtype="float32")
    raw = RawData(name="d", train=Split(x=x, y=y), test=Split(x=x, y=y), task=Task(kind="regression", num_outputs=1),
                  inputs=inputs)  # fmt: skip
    theirs = Ridge(alpha=0.3 * 20, fit_intercept=False).fit(x.astype(np.float64), y[:, 0].astype(np.float64)).coef_
    assert ridge(raw, 0.3) == pytest.approx(theirs)


def test_entropy_and_calibration_of_known_predictions():
    even, sure = np.full((10, 4), 0.25), np.tile([1.0, 0, 0, 0], (10, 1))
    assert entropy(even) == pytest.approx(np.log(4))
    assert entropy(sure) == pytest.approx(0)
    assert calibration_error(sure, np.zeros(10, int)) == 0
    assert calibration_error(sure, np.array([0] * 6 + [1] * 4)) == pytest.approx(0.4)
    assert reliability(sure, np.array([0] * 6 + [1] * 4))[-1] == pytest.approx(0.6)
    assert np.isnan(reliability(sure, np.zeros(10, int))[:-1]).all()


def test_without_noise_the_passes_agree_and_with_it_information_is_positive():
    model = nn.Sequential()
    model.add_module("flatten", nn.Flatten())
    model.add_module("activation1", nn.ReLU())
    model.add_module("output", nn.Linear(50, 3))
    x = torch.rand(6, 50)
    with torch.no_grad():
        mean, information = mc_predict(model, torch.zeros(6, 50), 5, seed=0)
        noisy_mean, noisy = mc_predict(model, 20 * x, 50, seed=0)
        again, _ = mc_predict(model, 20 * x, 50, seed=0)
    assert information == pytest.approx(0, abs=1e-12)
    assert mean.sum(1) == pytest.approx(1)
    assert (noisy > 0).all()
    assert np.array_equal(noisy_mean, again)


def test_cross_validation_without_noise_finds_the_cubic():
    x = np.random.default_rng(0).standard_normal(40)
    y = 5 + 1.2 * x - 1.7 * x**2 + 0.93 * x**3
    assert chosen_features(x, y + 0.1 * np.random.default_rng(1).standard_normal(40)) >= 4
