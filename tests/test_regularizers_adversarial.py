"""Adversarial training against loops by hand, the closed form of a linear model, and the declared range."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from by_hand import reference_mlp
from trainings import assembled, greatest_difference, stack, toy, trained, trainer, weights

from regplug.data import InputSpec, order
from regplug.errors import CompositionError
from regplug.regularizer import Shapes
from regplug_regularizers.adversarial.limits import kept_within, limits_of, normalized_by_row


def bounded(low=-1.0, high=1.0):
    """Toy rows that declare a range, which some of them are out of."""
    return dataclasses.replace(toy(), inputs=InputSpec(layout="row", shape=(8,), dtype="float32", low=low, high=high))


def test_moved_inputs_stay_in_the_range_and_those_out_of_it_go_no_further():
    x = torch.tensor([[-2.0, -0.9, 0.0, 0.9, 2.0]])
    state = {"low": torch.tensor(-1.0), "high": torch.tensor(1.0)}
    torch.testing.assert_close(kept_within(x - 0.5, x, state), torch.tensor([[-2.0, -1.0, -0.5, 0.4, 1.5]]))
    torch.testing.assert_close(kept_within(x + 0.5, x, state), torch.tensor([[-1.5, -0.4, 0.5, 1.0, 2.0]]))


def test_without_a_declared_range_nothing_is_kept_back():
    shapes = Shapes(x=(1, 5), y=(1,), outputs=(1, 3), weights={}, params={}, rows=1)
    state = limits_of(shapes, {"w": torch.zeros(1)})
    far = torch.full((1, 5), 1e9)
    assert torch.equal(kept_within(far, torch.zeros(1, 5), state), far)


def test_rows_are_normalised_over_all_their_axes_and_zeros_stay():
    rows = torch.randn(3, 2, 4, 4)
    rows[1] = 0
    norms = normalized_by_row(rows).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.tensor([1.0, 0.0, 1.0]))


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_fgsm_in_a_declared_range_is_a_loop_by_hand(share):
    fields = {"reg": [f"fgsm:radius=0.3,clean_share={share}"], "dataset": bounded(), "dtype": "float64", "epochs": 2}
    made = assembled(**fields)
    model = reference_mlp(made)
    optimizer = torch.optim.SGD(model.parameters(), lr=made.config.lr)
    for epoch in range(2):
        for rows in order(len(made.data.train), 0, epoch).split(made.config.batch_size):
            x, y = made.data.train.x[rows].requires_grad_(), made.data.train.y[rows]
            (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
            moved = x.detach() + 0.3 * gradient.sign()
            moved = torch.where(x.abs() > 1, torch.minimum(moved, x.clamp(min=1)).maximum(x.clamp(max=-1)), moved)
            moved = torch.where(x.abs() > 1, moved, moved.clamp(-1, 1)).detach()
            optimizer.zero_grad()
            loss = share * F.cross_entropy(model(x), y) + (1 - share) * F.cross_entropy(model(moved), y)
            loss.backward()
            optimizer.step()
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("reg", "least"), [("fgsm:radius=0.1,clean_share=0", 1 - 1e-9), ("pgd:radius=0.1,steps=20,step_share=0.5", 0.999)]
)
def test_the_worst_input_of_a_linear_model_with_one_value_is_known(reg, least):
    """|w x + b - y| is at most its value at x plus radius * sum |w|; a random start may lead a row the other way."""
    raw = toy("regression")
    splits = {name: dataclasses.replace(split, y=split.y[:, :1]) for name, split in raw.splits()}
    raw = dataclasses.replace(raw, **splits, task=dataclasses.replace(raw.task, num_outputs=1))
    made = trainer(dataset=raw, model="linear", dtype="float64", epochs=1, lr=0.0, batch_size=104, reg=[reg])
    weight, bias = (value.detach() for value in made.tensors_of(0)[0].values())
    pool = made._pools.train
    error = (pool.x @ weight.T + bias - pool.y).abs() + 0.1 * weight.abs().sum()
    record = next(made.train())
    assert least < record.metrics["train/objective"][0] / float(error.square().mean()) < 1 + 1e-9


@pytest.mark.parametrize("reg", ["fgsm:radius=0", "pgd:radius=0,steps=2", "vat:radius=0"])
def test_a_radius_of_zero_is_the_run_without_it_where_rows_are_out_of_the_range(reg):
    fields = {"dataset": bounded(-0.5, 0.5), "epochs": 1}
    plain, attacked = (weights(trained(trainer(**fields, reg=own))[0]) for own in ([], [reg]))
    assert all(torch.equal(value, attacked[name]) for name, value in plain.items())


@pytest.mark.parametrize("reg", ["fgsm", "pgd:steps=2", "vat:iterations=2"])
def test_in_a_declared_range_a_stack_is_each_run_alone_with_batch_norm_and_dropout(reg):
    common = {"dataset": bounded(-0.5, 0.5), "dtype": "float64", "epochs": 1, "reg": [reg, "batchnorm", "dropout"]}
    together, _ = trained(stack({"seed": 0}, {"seed": 1}, **common))
    for seed in (0, 1):
        alone, _ = trained(trainer(**common, seed=seed))
        assert greatest_difference(weights(together, seed), weights(alone), relative=True) < 1e-9


def test_vat_refuses_a_regression_and_fgsm_takes_it():
    with pytest.raises(CompositionError, match="vat is for classification"):
        assembled(dataset=toy("regression"), reg=["vat"])
    assert assembled(dataset=toy("regression"), reg=["fgsm"])
