"""Closed forms that studies of the lab compute with, against NumPy and torch."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from regplug.errors import FailedError
from regplug.lab import Lab, Runs
from regplug_lab.by_hand import ByHand, as_by_hand
from regplug_lab.dead_units import dead_fractions
from regplug_lab.judging import near
from regplug_lab.normalization import IMAGES
from regplug_lab.products import BALANCED, EXPONENT, log_sizes
from regplug_lab.starts import spread_of_units


def test_the_rescaled_product_has_the_size_of_the_product():
    generator = np.random.default_rng(5)
    matrices = [2 * generator.standard_normal((4, 4)) for _ in range(21)]
    product = matrices[0]
    for matrix in matrices[1:]:
        product = product @ matrix
    logs = log_sizes(np.random.default_rng(5), 2.0, 20)
    assert len(logs) == 21
    assert logs[0] == pytest.approx(np.log10(np.abs(matrices[0]).max()))
    assert logs[-1] == pytest.approx(np.log10(np.abs(product).max()))


def test_the_exponent_is_that_of_the_reference():
    assert pytest.approx(0.55797, abs=5e-6) == EXPONENT
    assert pytest.approx(0, abs=1e-4) == EXPONENT + np.log(BALANCED)


def test_units_differ_by_their_largest_difference_of_any_weight():
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2))
    for param in model.parameters():
        nn.init.constant_(param, 0.1)
    assert spread_of_units(model) == (0, 0)
    with torch.no_grad():
        model[2].weight[1, 1] = 0.6
        model[0].weight[:, 2] = 0.4
    units, entries = spread_of_units(model)
    assert units == pytest.approx(0.5)
    assert entries == pytest.approx(0.2)


RUNS = {"seed 0": "", "seed 1": "The run diverged.", "seed 2": ""}
"""Run -> its error."""


def _runs_of(model: nn.Module) -> Runs:
    each = [SimpleNamespace(point=SimpleNamespace(key=key), error=error) for key, error in RUNS.items()]
    return Runs(SimpleNamespace(results=each), dict.fromkeys(RUNS, model))


def test_a_run_that_failed_leaves_a_gap_or_an_error_but_shifts_no_seed():
    model = nn.Identity()
    runs = _runs_of(model)
    assert runs.models_or_none() == [model, None, model]
    with pytest.raises(FailedError, match=r"^The run seed 1 failed, so it has no network. The run diverged.$"):
        runs.models()


def test_a_unit_is_dead_if_no_image_reaches_it_and_a_diverged_run_has_none():
    model = nn.Sequential()
    model.hidden1, model.activation1 = nn.Linear(784, 4), nn.ReLU()
    with torch.no_grad():
        model.hidden1.weight.zero_()
        model.hidden1.bias.copy_(torch.tensor([1.0, -1.0, -1.0, -1.0]))
        model.hidden1.weight[1, 5] = 2
    images = torch.zeros(7000, 784, dtype=torch.uint8)
    images[6999, 5] = 255
    assert dead_fractions(_runs_of(model), images) == pytest.approx([0.5, math.nan, 0.5], nan_ok=True)


def test_a_mean_is_near_within_four_of_its_standard_errors_and_a_rounded_digit():
    values = [1.0, 1.2] * 5
    error = np.std(values, ddof=1) / 10**0.5
    claim = {"source": "a test"}
    assert near("a", "A.", values, 1.1 + 3.9 * error, **claim).verdict == "HOLDS"
    assert near("a", "A.", values, 1.1 + 4.1 * error, **claim).verdict == "DOES NOT HOLD"
    assert near("a", "A.", values, 1.1 + 4.1 * error, 0.1, **claim).verdict == "HOLDS"
    assert near("a", "A.", values[:4], 5, **claim).verdict == "UNDECIDED"


def test_a_mean_agrees_with_runs_in_plain_torch_and_the_claim_says_who_leaves_the_range_of_facts():
    reference = ByHand(facts=(0.70, 0.75), outside=26, seeds=60, mean=0.74, sd=0.03)
    limit = 4 * 0.03 * (1 / 10 + 1 / 60) ** 0.5
    values = [0.69 + limit, 0.79 + limit] * 5
    near_enough, too_far = (as_by_hand("a", "A", [one + by for one in values], reference) for by in (-0.001, 0.001))
    assert (near_enough.verdict, too_far.verdict) == ("HOLDS", "DOES NOT HOLD")
    assert "FACTS has 0.7 to 0.75; 5 of 10 runs here and 26 of 60 in plain torch lie outside that." in near_enough.text
    assert as_by_hand("a", "A", values[:4], reference).verdict == "UNDECIDED"


def test_lenet_trains_on_every_image_of_the_folder_train(tmp_path: Path):
    for split, count in (("train", 5), ("test", 2)):
        for name in ("airplane", "automobile"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for at in range(count):
                Image.new("RGB", (32, 32), (20 * at, 0, 0)).save(folder / f"{at}.png")
    raw = Lab(study="s", quick=True, seeds=1).data(f"images:path={tmp_path},{IMAGES}")
    assert raw.valid is None
    assert (len(raw.train.y), len(raw.test.y)) == (10, 4)
