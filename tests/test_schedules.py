"""Learning-rate factors against torch's schedulers stepped beside a real optimizer."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
from torch.optim import lr_scheduler

from regplug.config import RunConfig, load_config
from regplug.errors import ParameterError, PluginError, UnknownComponentError
from regplug.registry import default_registry
from regplug.registry.components import find_components, resolve_config
from regplug.runs.assembly import make_course

NAMES = [one.name for one in default_registry().components("schedule") if one.origin.is_first_party]
EPOCHS, PER_EPOCH = 6, 5
COUNT = EPOCHS * PER_EPOCH
REFERENCES = {
    "constant": lambda o: lr_scheduler.ConstantLR(o, factor=1.0),
    "cosine:final=0.1": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=COUNT, eta_min=0.1 * 0.3),
    "linear:final=0.2": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, total_iters=COUNT),
    "step:every=2,factor=0.5": lambda o: lr_scheduler.MultiStepLR(o, [10, 20], gamma=0.5),
    "exponential:factor=0.9": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9 ** (step // PER_EPOCH)),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.3, total_steps=COUNT + 1, cycle_momentum=False),
    "one_cycle:up=0.9": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.3, total_steps=COUNT + 1, cycle_momentum=False, pct_start=0.9
    ),
    "one_cycle:up=1": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.3, total_steps=COUNT + 1, cycle_momentum=False, pct_start=1.0
    ),
    "one_cycle:up=0.01": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.3, total_steps=COUNT + 1, cycle_momentum=False, pct_start=0.01
    ),
}
OWN = """
def halved(params, step):
    return 0.5 ** step.epoch

def raises(params, step):
    return 1 / (3 - step.index)

def negative(params, step):
    return 1.0 - step.index

def endless(params, step):
    return float("inf")

def text(params, step):
    return "1"
"""


def factors(text, *, epochs=EPOCHS, warmup=0):
    config = RunConfig(schedule=text, epochs=epochs, warmup=warmup, batch_size=4)
    return list(make_course(config, find_components(config, default_registry()), 4 * PER_EPOCH - 1).factors)


@pytest.mark.parametrize("text", REFERENCES)
def test_the_rate_at_each_step_is_torchs(text):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler, rates = REFERENCES[text](optimizer), []
    for _ in range(COUNT):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert [0.3 * factor for factor in factors(text)] == pytest.approx(rates, rel=1e-12, abs=1e-15)


def test_every_schedule_that_there_is_has_a_reference_here():
    assert {text.partition(":")[0] for text in REFERENCES} == set(NAMES)


@pytest.mark.parametrize("name", [*NAMES, "one_cycle:up=0.5", "one_cycle:up=1"])
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


def test_a_schedule_of_one_step_is_a_number():
    for name in (*NAMES, "one_cycle:up=0.5"):
        config = RunConfig(schedule=name, epochs=1, batch_size=4)
        (factor,) = make_course(config, find_components(config, default_registry()), 4).factors
        assert 0 < factor <= 1


def test_a_schedule_is_written_like_every_component():
    config = load_config(None, ["schedule.every=5"], {"schedule": "step"})
    assert resolve_config(config, default_registry()).schedule == "step:every=5,factor=0.1"
    assert load_config(None, (), {"schedule": {"name": "cosine", "final": 0.1}}).schedule == "cosine:final=0.1"


@pytest.mark.parametrize(
    ("text", "error", "message", "hint"),
    [
        ("stp", UnknownComponentError, "No schedule is named 'stp'", "Did you mean step"),
        ("step:evry=3", ParameterError, "evry is unknown. Did you mean every", "plugins show step"),
        ("step:every=0", ParameterError, "every=0 is not allowed: int, greater than 0", "plugins show step"),
        ("cosine:final=2", ParameterError, "final=2 is not allowed: float, between 0 and 1", "plugins show cosine"),
    ],
)
def test_what_is_wrong_is_refused_with_what_is_right(text, error, message, hint):
    with pytest.raises(error, match=message) as caught:
        find_components(RunConfig(schedule=text), default_registry())
    assert hint in caught.value.hint


def test_a_schedule_and_its_factors_need_no_torch():
    program = (
        "import sys\nfrom regplug.config import RunConfig\nfrom regplug.registry import default_registry, load_target\n"
        "from regplug.registry.components import find_components\nfrom regplug.api import ScheduleStep\n"
        "for name in sys.argv[1:]:\n"
        "    found = find_components(RunConfig(schedule=name), default_registry()).schedule\n"
        "    assert load_target(found.registered)(found.params, ScheduleStep(0, 9, 3)) > 0\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *NAMES], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_function_of_your_own_is_a_schedule(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    found = factors(f"{tmp_path}/own.py:halved", epochs=3, warmup=1)
    assert found[PER_EPOCH:] == [1.0] * PER_EPOCH + [0.5] * PER_EPOCH


def test_a_run_of_very_many_steps_computes_factors_as_they_are_needed():
    config = RunConfig(epochs=10**9, batch_size=4, schedule="linear", warmup=3)
    found = make_course(config, find_components(config, default_registry()), 40).factors
    assert len(found) == 10**10
    assert found[0] == 1 / 31
    assert found[30] == 1.0
    assert found[10**10 - 1] == pytest.approx(0, abs=1e-9)
    assert found[5 * 10**9] == pytest.approx(0.5, abs=1e-8)
    with pytest.raises(IndexError):
        found[10**10]


def test_factors_at_the_ends_of_blocks_are_those_of_their_steps():
    config = RunConfig(epochs=3, batch_size=1, schedule="linear", warmup=1)
    found = make_course(config, find_components(config, default_registry()), 900).factors
    count = 1800
    expected = [(step + 1) / 901 for step in range(900)] + [1 - step / count for step in range(count)]
    assert list(found) == pytest.approx(expected, rel=1e-12)
    assert found[1020:1030] == pytest.approx(expected[1020:1030], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises", r"own.py:raises raised ZeroDivisionError.* at step 3 of 30"),
        ("negative", r"own.py:negative gave -1.0, at step 2 of 30"),
        ("endless", r"own.py:endless gave inf, at step 0 of 30"),
        ("text", r"own.py:text gave '1', at step 0 of 30"),
    ],
)
def test_what_is_no_factor_is_refused_by_name_and_step(tmp_path, name, message):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(PluginError, match=message):
        factors(f"{tmp_path}/own.py:{name}")
