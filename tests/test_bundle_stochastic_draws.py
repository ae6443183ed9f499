"""Live dropout has the distribution of torch's, and the checks of draws tell what differs from what does not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from regplug.bundles.report import Check
from regplug.bundles.stochastic import checks
from regplug.bundles.stochastic.layers import ALPHA, KINDS, LiveDropout, Noise
from regplug.bundles.stochastic.record import COPIES, RUNS
from regplug.bundles.stochastic.uniforms import uniforms


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_live_layer_has_the_distribution_of_torchs(kind: type[nn.Module], rate: float) -> None:
    shape = (400, 6, 5, 5, 5) if kind is nn.Dropout3d else (400, 6, 25) if kind is nn.Dropout1d else (400, 6, 5, 5)
    module, noise = kind(rate).train(), Noise()
    live, x = LiveDropout(module, "layer", noise), torch.full(shape, 2.0)
    assert torch.equal(live(x), x)
    with torch.random.fork_rng(devices=[]), noise.live():
        torch.manual_seed(0)
        ours, theirs = live(x), module(x)
    values = [torch.unique((one * 1e4).round()) for one in (ours, theirs)]
    assert torch.equal(*values)
    assert len(values[0]) == 2
    whole = kind not in (nn.Dropout, nn.AlphaDropout)
    entries = ours[:, :, *[0] * (len(shape) - 2)] if whole else ours
    assert not whole or torch.equal(ours.flatten(2).min(2)[0], ours.flatten(2).max(2)[0])
    share = float((entries == entries.min()).double().mean()) if rate < 0.5 else None
    if share is not None:
        assert share == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / entries.numel()))


def test_alpha_dropout_keeps_mean_and_variance_of_standard_numbers() -> None:
    noise = Noise()
    live, x = LiveDropout(nn.AlphaDropout(0.3), "layer", noise), torch.randn(400_000)
    with noise.live([torch.from_numpy(uniforms(0, (400_000,)))]):
        y = live(x)
    assert float(y.mean()) == pytest.approx(0, abs=0.01)
    assert float(y.var()) == pytest.approx(1, abs=0.02)
    scale = 1 / math.sqrt((ALPHA**2 * 0.3 + 1) * 0.7)
    assert float(y[torch.from_numpy(uniforms(0, (400_000,))) < 0.3][0]) == pytest.approx(scale * ALPHA * (0.3 - 1))


def test_given_numbers_are_uniform_and_those_of_one_layer_are_not_those_of_another() -> None:
    one, other = uniforms(0, (100_000,)), uniforms(1, (100_000,))
    for numbers in (one, other):
        counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 49 + 5 * math.sqrt(98)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(100_000)


def draws_of(kind: str, generator: np.random.Generator) -> np.ndarray:
    """512 passes of two rows and four outputs: the sum of a few dropped units, the rarest case included."""
    if kind == "rare":
        return (generator.random((512, 2, 4)) < 0.05).astype(np.float64)
    if kind == "skewed":
        return ((generator.random((512, 2, 4, 6)) > 0.9) * np.array([8, 4, 2, 1, 1, 1])).sum(-1).astype(np.float64)
    return (generator.random((512, 2, 4, 20)) > 0.5).sum(-1).astype(np.float64)


@pytest.mark.parametrize("kind", ["rare", "skewed", "many"])
def test_equal_distributions_raise_no_alarm_in_two_thousand_comparisons(kind: str) -> None:
    generator = np.random.default_rng(0)
    alarms: list[Check] = []
    for _ in range(2000):
        one, other = draws_of(kind, generator), draws_of(kind, generator)
        found = [
            checks.mean_agrees(one, other, 0.0),
            checks.spread_agrees(one, other, 0.0),
            checks.rows_independent(one.reshape(RUNS, COPIES, 2, 4)),
        ]
        alarms += [check for check in found if not check.passed]
    assert alarms == []


def test_another_mean_another_spread_and_masks_that_are_shared_are_found() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 512, 2, 4))
    assert checks.mean_agrees(one, other, 0.0).passed
    assert not checks.mean_agrees(one + 0.45, other, 0.0).passed
    assert not checks.spread_agrees(0.65 * one, other, 0.0).passed
    shared = one + 0.8 * np.repeat(generator.normal(size=(RUNS, 1, 2, 4)), COPIES, axis=1).reshape(512, 2, 4)
    assert not checks.rows_independent(shared.reshape(RUNS, COPIES, 2, 4)).passed
