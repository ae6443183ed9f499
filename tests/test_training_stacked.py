"""A stack of runs is each run alone; what diverges or stops in it leaves the others untouched."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from trainings import (
    assembled,
    assert_same_bits,
    greatest_difference,
    stack,
    toy,
    trained,
    trainer,
    weights,
)

from regplug.runs.loading import pools_of
from regplug.training.course import Pools
from regplug.training.loop import Trainer

STRENGTHS = {
    "dropout": "drop_probability={}", "l1": "strength={}", "l2": "strength={}", "input_noise": "std={}",
    "mixup": "alpha={}", "label_smoothing": "strength={}", "clip_norm": "max_norm={}", "sam": "rho={}",
    "weight_decay": "strength={}", "max_norm": "max_norm={}", "swa": "start={}",
    "early_stopping": "min_delta={},patience=2",
}  # fmt: skip
"""How a strength is written for each regularizer of the compositions below."""

RUNS = ((0.0, 0, 0.1), (0.2, 1, 0.3), (0.6, 2, 0.05))
"""Strength, seed and learning rate of each run."""

COMPOSITIONS = (
    ("dropout", "batchnorm", "l2"),
    ("mixup", "label_smoothing", "input_noise"),
    ("sam", "clip_norm", "weight_decay", "max_norm"),
    ("batchnorm", "swa", "dropout", "sam"),
    ("early_stopping", "l1", "dropout", "clip_norm"),
)


def written(name, strength):
    """A regularizer at one strength; those whose bound must be above zero are moved up."""
    if name in ("clip_norm", "max_norm"):
        strength += 0.5
    return f"{name}:{STRENGTHS[name].format(strength)}" if name in STRENGTHS else name


def runs_of(names):
    return [
        {"reg": [written(name, strength) for name in names], "seed": seed, "lr": rate} for strength, seed, rate in RUNS
    ]


@pytest.mark.parametrize("names", COMPOSITIONS, ids="+".join)
def test_runs_of_other_strengths_seeds_and_rates_are_the_same_stacked_and_alone(names):
    common = {"dtype": "float64", "epochs": 4}
    together, records = trained(stack(*runs_of(names), **common))
    for number, run in enumerate(runs_of(names)):
        alone, own = trained(trainer(**common, **run))
        assert greatest_difference(weights(together, number), weights(alone), relative=True) < 1e-9
        assert together.evaluate("test")["test/loss"][number] == pytest.approx(alone.evaluate("test")["test/loss"][0])
        last = own[-1]
        for metric, (value,) in last.metrics.items():
            assert records[last.epoch - 1].metrics[metric][number] == pytest.approx(value, rel=1e-8, abs=1e-12), metric


def test_runs_of_a_regression_with_schedule_and_momentum_are_the_same_stacked_and_alone():
    common = {"dtype": "float64", "dataset": toy("regression"), "momentum": 0.9, "lr": 0.02}
    common |= {"schedule": "cosine", "warmup": 1}
    together, _ = trained(stack(*({"seed": seed, "reg": ["dropout"]} for seed in range(3)), **common))
    for seed in range(3):
        alone, _ = trained(trainer(**common, seed=seed, reg=["dropout"]))
        assert greatest_difference(weights(together, seed), weights(alone), relative=True) < 1e-9


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimizer_is_the_same_stacked_and_alone(optimizer):
    common = {"dtype": "float64", "optimizer": optimizer, "reg": ["weight_decay"]}
    runs = [{"lr": rate} for rate in (0.001, 0.01, 0.03)]
    together, _ = trained(stack(*runs, **common))
    for number, run in enumerate(runs):
        alone, _ = trained(trainer(**common, **run))
        assert greatest_difference(weights(together, number), weights(alone), relative=True) < 1e-9


def test_stacks_of_images_are_the_same_as_alone():
    images, classes = torch.randn(60, 1, 12, 12, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    common = {"model": "cnn", "dataset": (images, classes), "dtype": "float64", "batch_size": 16, "epochs": 1}
    runs = [{"seed": seed, "reg": ["dropout", "batchnorm"]} for seed in range(2)]
    together, _ = trained(stack(*runs, **common))
    for number, run in enumerate(runs):
        alone, _ = trained(trainer(**common, **run))
        assert greatest_difference(weights(together, number), weights(alone), relative=True) < 1e-9


@pytest.mark.slow
def test_in_float32_nearly_every_run_is_the_same_stacked_and_alone(tell):
    """A run may take the other side of a ReLU's kink: at least 95 % within 1e-4 of the greatest weight."""
    runs = [
        {"seed": seed, "lr": 0.1 + 0.01 * seed, "reg": ["dropout:drop_probability=0.3", "l2:strength=1e-3"]}
        for seed in range(40)
    ]
    together, _ = trained(stack(*runs, epochs=6))
    differences = sorted(
        greatest_difference(weights(together, number), weights(trained(trainer(**run, epochs=6))[0]), relative=True)
        for number, run in enumerate(runs)
    )
    within = sum(difference < 1e-4 for difference in differences)
    tell(f"stacked against alone, float32: {within} of 40 runs within 1e-4, median {differences[20]:.1e}, "
         f"greatest {differences[-1]:.1e}")  # fmt: skip
    assert within >= 38


def test_a_diverging_run_is_told_and_leaves_the_others_as_they_were_to_the_bit():
    calm = [{"seed": 0, "lr": 0.1}, {"seed": 1, "lr": 0.1}, {"seed": 2, "lr": 0.1}]
    wild = [calm[0], {"seed": 1, "lr": 1e30}, calm[2]]
    common = {"reg": ["dropout", "batchnorm", "l2"], "epochs": 4}
    first, _ = trained(stack(*calm, **common))
    second, records = trained(stack(*wild, **common))
    assert second.state.diverged[0] == second.state.diverged[2] == ""
    assert "NaN or infinite at step" in second.state.diverged[1]
    for run in (0, 2):
        assert_same_bits(weights(first, run), weights(second, run))
    assert records[0].active == [True, True, True]
    assert records[1].active == [True, False, True]


def test_a_stack_of_which_all_diverge_ends():
    made, records = trained(stack({"lr": 1e30}, {"lr": 1e31}, reg=["l2"]))
    assert len(records) == 1
    assert all("step" in where for where in made.state.diverged)


def test_a_diverged_run_is_told_by_its_first_step_and_part():
    made, _ = trained(stack({"lr": 0.1}, {"lr": 1e30}, reg=["l2:strength=1"]))
    assert "(l2)" in made.state.diverged[1] or "the data loss" in made.state.diverged[1]


def test_a_stopped_run_is_frozen_and_the_others_go_on():
    impatient, patient = "early_stopping:keep=last,min_delta=1e9,patience=1", "early_stopping:keep=last,patience=50"
    runs = [{"reg": [stopping, "batchnorm", "swa:start=0.1"]} for stopping in (impatient, patient)]
    made = stack(*runs, epochs=4, momentum=0.9)
    steps = made.train()
    next(steps)
    next(steps)
    assert made.state.stopped == [2, None]
    before = made.state.to_dict()
    frozen, going = weights(made, 0), weights(made, 1)
    for _ in steps:
        pass
    assert_same_bits(frozen, weights(made, 0))
    assert not torch.equal(going["output.weight"], weights(made, 1)["output.weight"])
    after = made.state.to_dict()
    for name, value in before["regularizer"].items():
        assert torch.equal(value[0], after["regularizer"][name][0]), name
    for slot, tensors in before["optimizer"].items():
        assert all(torch.equal(a[0], b[0]) for a, b in zip(tensors, after["optimizer"][slot], strict=True))


def test_runs_on_rows_of_their_own_are_the_same_stacked_and_alone():
    """Folds: each run trains and validates on its own rows of one pool."""
    rows = [torch.arange(0, 72), torch.arange(32, 104)]
    held = [torch.arange(72, 104), torch.arange(0, 32)]
    fields = {"dtype": "float64", "reg": ["dropout", "early_stopping"]}

    def build(folds, stacked):
        made = [assembled(**fields, seed=fold) for fold in folds]
        train, _, test = pools_of(made[0].data)
        inputs = [
            dataclasses.replace(one.inputs, train_rows=rows[fold], valid_rows=held[fold])
            for one, fold in zip(made, folds, strict=True)
        ]
        return Trainer(
            program=made[0].program,
            rule=made[0].rule,
            runs=inputs,
            pools=Pools(train=train, valid=train, test=test),
            course=dataclasses.replace(made[0].course, factors=[1.0] * 100),
            places=made[0].network.places,
            stacked=stacked,
        )

    together, _ = trained(build([0, 1], True))
    for fold in (0, 1):
        alone, _ = trained(build([fold], False))
        assert greatest_difference(weights(together, fold), weights(alone), relative=True) < 1e-9
        for split in ("valid", "test", "train"):
            metric = f"{split}/loss"
            assert together.evaluate(split)[metric][fold] == pytest.approx(alone.evaluate(split)[metric][0], rel=1e-9)
        torch.testing.assert_close(together.outputs("valid")[fold], alone.outputs("valid"))


def test_a_single_run_in_a_stack_is_that_run():
    alone, _ = trained(trainer(dtype="float64", reg=["dropout", "batchnorm"]))
    stacked, _ = trained(stack({}, dtype="float64", reg=["dropout", "batchnorm"]))
    assert greatest_difference(weights(stacked, 0), weights(alone), relative=True) < 1e-9
