"""Learning-rate factors against torch's schedulers stepped beside a real optimizer."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.optim import lr_scheduler

from regplug.config import SCHEDULES, parse_schedule
from regplug.training.schedules import rate_factors

EPOCHS, PER_EPOCH = 6, 5
COUNT = EPOCHS * PER_EPOCH
REFERENCES = {
    "constant": lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    "cosine:final=0.1": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=COUNT, eta_min=0.1 * 0.3),
    "linear:final=0.2": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=COUNT),
    "step:every=2,factor=0.5": lambda o: lr_scheduler.MultiStepLR(o, [10, 20], gamma=0.5),
    "exponential:factor=0.9": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9 ** (step // PER_EPOCH)),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=COUNT + 1, cycle_momentum=False),
}


def factors(text, *, epochs=EPOCHS, warmup=0):
    return rate_factors(parse_schedule(text), epochs=epochs, steps_per_epoch=PER_EPOCH, warmup=warmup)


@pytest.mark.parametrize("text", REFERENCES)
def test_the_rate_at_each_step_is_torchs(text):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler, rates = REFERENCES[text](optimizer), []
    for _ in range(COUNT):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert [0.3 * factor for factor in factors(text)] == pytest.approx(rates, rel=1e-9, abs=1e-12)


def test_every_schedule_that_there_is_has_a_reference_here():
    assert {text.partition(":")[0] for text in REFERENCES} == set(SCHEDULES)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("epochs", "warmup"), [(0, 0), (1, 0), (4, 2), (2, 5)])
def test_there_is_one_factor_for_each_step(name, epochs, warmup):
    found = factors(name, epochs=epochs, warmup=warmup)
    assert len(found) == epochs * PER_EPOCH
    assert all(0 <= factor <= 1 + 1e-12 for factor in found)


def test_a_warm_up_rises_in_equal_steps_from_above_nothing_and_leaves_the_rest_to_the_schedule():
    found = factors("linear", warmup=2)
    rising = found[: 2 * PER_EPOCH]
    assert rising[0] > 0
    assert {round(b - a, 12) for a, b in itertools.pairwise([0, *rising])} == {round(1 / 11, 12)}
    assert found[2 * PER_EPOCH] == 1
    assert found[2 * PER_EPOCH :] == factors("linear", epochs=EPOCHS - 2)
