"""Dropout and batch normalization against torch and their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from by_hand import train_by_hand
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trainings import assembled, toy, trained, trainer, weights

from regplug.errors import CompositionError, ParameterError
from regplug.regularizer import Clock, Shapes, Step
from regplug_regularizers.noise.dropout import dropout


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "norm.weight": (4,)}
    return {name: torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()}


def random_bits(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-32768, 32768, shape, generator=generator, dtype=torch.int16)


# Dropout.


@given(st.floats(0, 0.999), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_each_entry_of_dropout_is_zero_or_x_over_one_minus_p(p, seed):
    x = torch.randn(50, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    y = dropout(x, random_bits((50,), seed), torch.tensor(p, dtype=torch.float64))
    kept = y != 0
    rounded = round(p * 65536) / 65536
    torch.testing.assert_close(y[kept], x[kept] / (1 - rounded), rtol=1e-12, atol=0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(p):
    y = dropout(torch.ones(400_000, dtype=torch.float64), random_bits((400_000,)), torch.tensor(p))
    assert abs(y.mean() - 1) < 5 * math.sqrt(p / (1 - p) / y.numel())


def test_dropout_at_rate_zero_is_the_identity_to_the_bit():
    x = torch.randn(1000)
    assert torch.equal(dropout(x, random_bits((1000,)), torch.tensor(0.0)), x)


def test_dropout_keeps_a_nan_that_it_drops():
    y = dropout(torch.full((100,), torch.nan), random_bits((100,)), torch.tensor(0.9))
    assert torch.isnan(y).all()


def test_ten_thousand_ones_at_one_half_sum_to_twice_a_binomial():
    """FACTS C4: the sum is even, of mean 10,000 and deviation 100; evaluation is exactly 10,000."""
    sums = [
        float(dropout(torch.ones(10_000), random_bits((10_000,), seed), torch.tensor(0.5)).sum()) for seed in range(200)
    ]
    assert all(value % 2 == 0 for value in sums)
    assert abs(np.mean(sums) - 10_000) < 5 * 100 / math.sqrt(200)
    assert 80 < np.std(sums, ddof=1) < 120


def test_dropout_with_a_list_gives_each_place_its_rate():
    made = assembled(reg=["dropout:drop_probability=[0,0.75]"])
    model, seen = made.network.model, []
    for name in ("activation1", "activation2"):
        model.get_submodule(name).register_forward_hook(lambda module, args, output: seen.append(output))
    _forward(made, torch.randn(2000, 8))
    # ReLU zeroes some as well.
    zeros = [float((each == 0).double().mean()) for each in seen]
    assert zeros[1] > 0.75 > zeros[0]


def _forward(made, x):
    shapes = {
        "dropout": Shapes(
            x=tuple(x.shape),
            y=(len(x),),
            outputs=(len(x), 3),
            places=tuple(
                place.__class__(key=place.key, index=place.index, shape=(len(x), *place.shape[1:]))
                for place in made.network.places["dropout"]
            ),
            params={},
            weights={},
            rows=len(x),
        )
    }
    draws = made.program.regularizer.draws(shapes.__getitem__, made.network.settings)
    noise = {"dropout": {key: random_bits(draw.shape) for (_, key), draw in draws.items()}}
    numbers = {"dropout": {"drop_probability": torch.tensor(made.network.settings["dropout"]["drop_probability"])}}
    clock = Clock(index=0, count=1, epoch=0, epochs=1, task=made.data.task, roles={})
    return made.program.forward(made.program.params, made.program.buffers, Step(numbers, noise, clock), x)


def test_dropout_with_another_number_of_rates_than_places_names_the_places():
    with pytest.raises(CompositionError, match=r"3 numbers for 2 places \(activation1#0, activation2#0\)"):
        assembled(reg=["dropout:drop_probability=[0.1,0.2,0.3]"])


@pytest.mark.parametrize("rate", ["1", "-0.1", "[0.5,1.0]"])
def test_dropout_of_everything_is_refused(rate):
    with pytest.raises(ParameterError, match="drop_probability"):
        assembled(reg=[f"dropout:drop_probability={rate}"])


def test_dropout_acts_where_at_says():
    made = assembled(reg=["dropout:at=flatten"])
    assert [place.key for place in made.network.places["dropout"]] == ["flatten#0"]


def test_dropout_before_a_batch_normalization_is_doubted():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    assert any(
        "before a batch normalization" in n.message for n in assembled(model=model, reg=["dropout"]).network.notices
    )
    assert not assembled(model=model, reg=['dropout:at="4"']).network.notices


# Batch normalization.


def test_batchnorm_is_torchs_layer_before_each_activation_in_training_and_evaluation():
    """A loop by hand with nn.BatchNorm1d in the model: the same weights and running statistics."""
    made = assembled(reg=["batchnorm:momentum=0.3,eps=1e-4"], dtype="float64")
    # The biases before a normalization are buffers of the run: nothing trains them.
    start = {name: value.clone() for name, value in made.network.model.named_parameters()}
    reference = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16, momentum=0.3, eps=1e-4), nn.ReLU(),
        nn.Linear(16, 12), nn.BatchNorm1d(12, momentum=0.3, eps=1e-4), nn.ReLU(), nn.Linear(12, 3),
    ).double()  # fmt: skip
    with torch.no_grad():
        for own, value in zip(reference.parameters(), _in_forward_order(made, start), strict=True):
            own.copy_(value)
    ours, _ = trained(trainer(reg=["batchnorm:momentum=0.3,eps=1e-4"], dtype="float64"))
    train_by_hand(reference, made)
    reference.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.outputs("test"), reference(made.data.test.x), rtol=1e-12, atol=1e-12)
    statistics = [value for name, value in weights(ours).items() if name.endswith("running_var")]
    torch.testing.assert_close(statistics[0], reference[1].running_var, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(statistics[1], reference[4].running_var, rtol=1e-12, atol=1e-12)


def _in_forward_order(made, start):
    names = ["hidden1", "activation1.before", "hidden2", "activation2.before", "output"]
    return [value for name in names for key, value in start.items() if key.startswith(name)]


def test_batchnorm_behind_what_at_names():
    made = assembled(reg=["batchnorm:at=hidden2"])
    assert [n for n, m in made.network.model.named_modules() if isinstance(m, nn.BatchNorm1d)] == ["hidden2.after.0.0"]


def test_batchnorm_of_images_is_by_channel():
    images = torch.randn(60, 2, 12, 12)
    made = assembled(model="cnn", dataset=(images, torch.arange(60) % 3), reg=["batchnorm"], batch_size=20)
    layers = [m for m in made.network.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert [type(layer) for layer in layers] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm1d]
    assert [layer.num_features for layer in layers] == [32, 64, 128]


def test_a_last_batch_of_one_row_is_left_out_with_batchnorm_and_said():
    fields = {"dataset": toy(train_rows=65), "reg": ["batchnorm"], "schedule": "cosine"}
    (notice,) = assembled(**fields).network.notices
    assert "each epoch leaves one row out" in notice.message
    assert "--batch-size 33" in notice.hint
    feed = trainer(**fields)._feed
    rows = [torch.cat([batch.rows for batch in feed.epoch(epoch)]) for epoch in (0, 1)]
    assert [len(each.unique()) for each in rows] == [64, 64]
    assert set(rows[0].tolist()) != set(rows[1].tolist())
    made, records = trained(trainer(**fields))
    assert len(records) == 3
    assert made._course.factors[6:] == []
    assert len(torch.cat([b.rows for b in trainer(dataset=toy(train_rows=65))._feed.epoch(0)])) == 65


def test_batchnorm_refuses_batches_of_one_row():
    with pytest.raises(CompositionError, match="batch normalization cannot compute a variance") as caught:
        assembled(reg=["batchnorm"], batch_size=1)
    assert "layernorm" in caught.value.hint
