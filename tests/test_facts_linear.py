"""Weight decay on linear regression against the reference scripts' figures: FACTS.md section A, rows A1 to A4.

A reference is the least and the greatest of 100 to 200 seeds, and where there are a mean and a standard deviation they
are the sample's. Of ten seeds at most one may lie outside the range, and the mean within four standard errors.
"""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from trainings import trained, trainer

COMMAND = {
    "model": "linear", "dataset": "linear_regression", "init": "normal:std=1",
    "epochs": 100, "batch_size": 5, "lr": 0.003,
}  # fmt: skip
"""The fields of the command that FACTS.md A1 to A4 are judged by; a row adds the loss and the penalty."""

DECAYED, HALF, FULL = {"reg": ["l2:strength=3"]}, {"loss": "half_squared_error"}, {"loss": "mse"}
ROWS = {
    "A1": (HALF, (11.63, 15.62), 13.41, 0.73),
    "A2": (HALF | DECAYED, (0.315, 0.421), 0.365, 0.020),
    "A3": (FULL, (11.63, 15.62), 13.42, 0.73),
    "A4": (FULL | DECAYED, (0.320, 0.785), None, None),
}
"""Row -> what it adds to the command, range of the norm of the weights, mean and standard deviation.

A3 has no deviation of its own: without decay the norm is that of A1, chi with 180 degrees of freedom.
"""
TEST_LOSS = {"A1": (48.7, 140), "A2": (0.0445, 0.188), "A3": (98, 280), "A4": (0.106, 6.6)}
SEEDS = range(10)


def seed_of(fields, seed):
    """Norm of the weights and test loss of one seed."""
    made, _ = trained(trainer(**COMMAND, **fields, seed=seed, data_seed=seed, evaluate_every=100))
    (weight,) = (value for name, value in made.weights_of(0).items() if name.endswith("weight"))
    return float(torch.linalg.vector_norm(weight)), made.evaluate("test")["test/loss"][0]


def outside(values, low, high):
    return [value for value in values if not low <= value <= high]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_ten_seeds_of_weight_decay_land_where_the_reference_does(row, tell):
    fields, norm_range, mean, deviation = ROWS[row]
    norms, losses = zip(*(seed_of(fields, seed) for seed in SEEDS), strict=True)
    tell(f"FACTS {row}: norm of the weights mean {statistics.mean(norms):.4g}, median {statistics.median(norms):.4g}, "
         f"[{min(norms):.4g}, {max(norms):.4g}]; test loss mean {statistics.mean(losses):.4g}, "
         f"[{min(losses):.4g}, {max(losses):.4g}]")  # fmt: skip
    assert len(outside(norms, *norm_range)) <= 1
    assert len(outside(losses, *TEST_LOSS[row])) <= 1
    if mean is not None:
        assert abs(statistics.mean(norms) - mean) <= 4 * deviation / math.sqrt(len(norms))


@pytest.mark.slow
def test_the_command_logs_the_norm_that_the_training_has(place):
    result = place.run(**COMMAND, **HALF, **DECAYED)
    norm, loss = seed_of(HALF | DECAYED, 0)
    assert result.metrics["norm/weight"] == pytest.approx(norm, rel=1e-6)
    assert result.metrics["test/loss"] == pytest.approx(loss, rel=1e-6)


def test_l2_in_a_small_linear_model_is_ridge_descent_written_by_hand():
    """K1: w <- (1 - lr * strength) w - lr * mean_i (x_i w + b - y_i) x_i; the bias is not decayed."""
    made = trainer(**COMMAND, **HALF, **DECAYED, dtype="float64", evaluate_every=100)
    w, b = (value.detach().clone() for value in made.tensors_of(0)[0].values())
    for epoch in range(100):
        for batch in made._feed.epoch(epoch):
            error = batch.x @ w.T + b - batch.y
            w, b = (1 - 0.003 * 3) * w - 0.003 * error.T @ batch.x / len(error), b - 0.003 * error.mean(0)
    trained(made)
    got_w, got_b = made.tensors_of(0)[0].values()
    torch.testing.assert_close(got_w.detach(), w, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(got_b.detach(), b, rtol=1e-10, atol=1e-12)
