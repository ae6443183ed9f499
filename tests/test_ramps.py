"""Numbers that change over a run: how they are written, refused, trained, stacked and tracked."""

from __future__ import annotations

import math

import pytest
import torch
from mlflow import MlflowClient
from trainings import assembled, greatest_difference, stack, trained, trainer, weights

import regplug
from regplug.config.ramps import Ramp, read_ramp
from regplug.errors import ParameterError

EPOCHS = 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0..1", Ramp(0, 1)),
        ("1e-3..1e-1@cosine", Ramp(1e-3, 1e-1, "cosine")),
        ("-.5..+2.@step", Ramp(-0.5, 2, "step")),
        ("0.1", None),
        ("../net", None),
        ("a..b", None),
        ("1...2", None),
    ],
)
def test_a_ramp_is_two_numbers_with_two_dots_between(text, expected):
    assert read_ramp(text) == expected
    assert expected is None or read_ramp(str(expected)) == expected


@pytest.mark.parametrize(
    ("shape", "expected"), [("linear", [0, 0.25, 0.5, 0.75, 1]), ("step", [0, 0, 1, 1, 1]), ("cosine", None)]
)
def test_a_ramp_starts_at_the_first_value_and_ends_at_the_last(shape, expected):
    shares = [Ramp(0, 1, shape).share(index, 5) for index in range(5)]
    assert shares == pytest.approx(expected or [(1 - math.cos(math.pi * t / 4)) / 2 for t in range(5)])


@pytest.mark.parametrize(
    ("reg", "message"),
    [
        ("mixup:alpha=0..1", "alpha cannot change during a run"),
        ("early_stopping:patience=2..5", "patience cannot change during a run"),
        ("l2:strength=0..1@cosin", "Did you mean cosine"),
        ("l2:strength=0..-1", "both ends must be float or list of float, at least 0"),
        ("dropout:drop_probability=0..1", "both ends must be .* less than 1"),
    ],
)
def test_a_ramp_that_makes_no_sense_is_refused_in_words(reg, message):
    with pytest.raises(ParameterError, match=message):
        assembled(reg=[reg])


def by_hand(made, strengths):
    """The toy perceptron with an L2 strength for each step."""
    from regplug.data import order

    model = made.network.model
    params = dict(model.named_parameters())
    x, y = made.data.train.x, made.data.train.y
    step = 0
    for epoch in range(EPOCHS):
        for rows in order(len(x), made.config.seed, epoch).split(made.config.batch_size):
            penalty = sum(value.square().sum() for value in params.values() if value.ndim > 1)
            loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows]) + strengths[step] / 2 * penalty
            for value, grad in zip(params.values(), torch.autograd.grad(loss, list(params.values())), strict=True):
                value.data.sub_(made.config.lr * grad)
            step += 1
    return {name: value.detach() for name, value in params.items()}


@pytest.mark.parametrize("text", ["0..0.1", "0.2..0@cosine", "0.01..0.3@step"])
def test_a_scheduled_strength_is_the_loop_by_hand_with_a_strength_for_each_step(text):
    fields = {"dtype": "float64", "epochs": EPOCHS}
    plain, ramp = assembled(**fields), read_ramp(text)
    count = plain.course.epochs * math.ceil(len(plain.data.train) / plain.config.batch_size)
    way = ramp.last - ramp.first
    expected = by_hand(plain, [ramp.first + way * ramp.share(index, count) for index in range(count)])
    made, _ = trained(trainer(reg=[f"l2:strength={text}"], **fields))
    assert greatest_difference(weights(made), expected) < 1e-12


def test_runs_with_other_ramps_and_with_none_are_trained_in_one_stack():
    regs = [["l2:strength=0..0.1"], ["l2:strength=0.2..0@cosine"], ["l2:strength=0.05"]]
    common = {"dtype": "float64", "epochs": EPOCHS}
    together, _ = trained(stack(*({"reg": reg, "seed": seed} for seed, reg in enumerate(regs)), **common))
    for run, reg in enumerate(regs):
        alone, _ = trained(trainer(reg=reg, seed=run, **common))
        assert greatest_difference(weights(alone), weights(together, run)) < 1e-12


def test_a_ramp_of_equal_ends_is_the_plain_number():
    one, other = (trained(trainer(reg=[f"l2:strength={text}"]))[0] for text in ("0.1", "0.1..0.1"))
    assert greatest_difference(weights(one), weights(other)) == 0


def test_a_scheduled_strength_is_tracked_as_text_and_by_its_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = regplug.run(model="mlp:hidden=[8]", reg=["l2:strength=0..0.1@cosine"], epochs=1, export=False)
    params = MlflowClient(result.tracking_uri).get_run(result.run_id).data.params
    assert params["reg.l2.strength"] == "0.0..0.1@cosine"
    assert (params["reg.l2.strength.first"], params["reg.l2.strength.last"]) == ("0", "0.1")
    assert result.config.reg[0].startswith("l2:strength=0.0..0.1@cosine")


def test_a_file_may_give_a_ramp_as_a_table(tmp_path):
    from regplug.config import load_config

    file = tmp_path / "run.toml"
    file.write_text('[[reg]]\nname = "l2"\nstrength = { first = 0, last = 0.1, shape = "step" }\n')
    made = assembled(reg=list(load_config(file).reg))
    assert made.network.settings["l2"]["strength"] == Ramp(0, 0.1, "step")
