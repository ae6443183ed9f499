"""Projection, averaging, stopping, and what is done to a batch, against torch and their definitions."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from by_hand import assert_same_as_by_hand
from trainings import assembled, assert_same_bits, step, toy, trained, trainer, weights

from regplug.errors import CompositionError
from regplug.regularizer import Shapes
from regplug_regularizers.mixing.mixup import Mixup
from regplug_regularizers.noise.input_noise import InputNoise
from regplug_regularizers.stopping import EarlyStoppingParams
from regplug_regularizers.stopping.early_stopping import EarlyStopping
from regplug_regularizers.targets.label_smoothing import LabelSmoothing
from regplug_regularizers.weights import SwaParams
from regplug_regularizers.weights.max_norm import MaxNorm
from regplug_regularizers.weights.swa import Swa

ROLES = {"fc.weight": "weight", "fc.bias": "bias", "norm.weight": "norm"}


SHAPES = Shapes(x=(1, 1), y=(1,), outputs=(1, 3), weights={}, params={}, rows=1)


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "norm.weight": (4,)}
    return {name: torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()}


# Weights.


def test_max_norm_is_torchs_renorm_for_rows_and_filters():
    for shape in ((5, 7), (4, 3, 3, 3)):
        w = 3 * torch.randn(shape, dtype=torch.float64)
        got = MaxNorm().project(step({"max_norm": 2.0}), "w", w)
        torch.testing.assert_close(got, torch.renorm(w, 2, 0, 2.0), rtol=1e-6, atol=1e-9)


def test_max_norm_lets_small_rows_and_biases_be_to_the_bit():
    tensors, at = parameters(), step({"max_norm": 100.0}, roles=ROLES)
    assert all(torch.equal(MaxNorm().project(at, name, value), value) for name, value in tensors.items())
    small = step({"max_norm": 0.01}, roles=ROLES)
    assert torch.equal(MaxNorm().project(small, "fc.bias", tensors["fc.bias"]), tensors["fc.bias"])


def test_swa_is_torchs_averaged_model_and_update_bn():
    """AveragedModel over the last epochs, then update_bn over the batches of the pass at the end."""
    fields = {"reg": ["swa:start=0.4", "batchnorm"], "epochs": 5, "dtype": "float64"}
    made = trainer(**fields)
    averaged = None
    for record in made.train():
        if record.epoch > 2:
            snapshot = _snapshot(made)
            averaged = averaged or torch.optim.swa_utils.AveragedModel(snapshot)
            averaged.update_parameters(snapshot)
    batches = [(batch.x, batch.y) for batch in made._feed.epoch("finish")]
    torch.optim.swa_utils.update_bn(batches, averaged)
    made.finish()
    got = _snapshot(made).state_dict()
    for name, value in averaged.module.state_dict().items():
        torch.testing.assert_close(got[name], value, rtol=1e-12, atol=1e-12, check_dtype=False)


def _snapshot(made):
    model = copy.deepcopy(made._program.model)
    model.load_state_dict({**made.tensors_of(0)[0], **made.tensors_of(0)[1]})
    return model


def test_swa_without_a_batch_normalization_recomputes_nothing_and_finishing_twice_is_finishing_once():
    made, _ = trained(trainer(reg=["swa:start=0.3"], epochs=4))
    once = weights(made)
    made.finish()
    assert_same_bits(once, weights(made))


def test_swa_shows_the_weights_before_there_is_an_average():
    functions, params = Swa(SwaParams()), {"w": torch.ones(2)}
    state = functions.init(SHAPES, params, {})
    assert torch.equal(functions.evaluated(step(state=state), params, {})[0]["w"], params["w"])
    end = functions.after_epoch(step({"start": 0.75}, epoch=7, state=state), {}, params, {})
    assert end.state["count"] == 0
    end = functions.after_epoch(step({"start": 0.75}, epoch=8, state=end.state), {}, params, {})
    end = functions.after_epoch(step({"start": 0.75}, epoch=9, state=end.state), {}, {"w": 3 * torch.ones(2)}, {})
    assert torch.equal(functions.evaluated(step(state=end.state), params, {})[0]["w"], 2 * torch.ones(2))


# Data.


def test_label_smoothing_is_torchs():
    logits, y = torch.randn(20, 5, dtype=torch.float64), torch.randint(0, 5, (20,))
    _, soft = LabelSmoothing().batch(step({"strength": 0.2}), logits, F.one_hot(y, 5).double())
    torch.testing.assert_close(F.cross_entropy(logits, soft), F.cross_entropy(logits, y, label_smoothing=0.2))


def test_training_with_label_smoothing_is_a_loop_with_torchs():
    assert_same_as_by_hand(
        {"reg": ["label_smoothing:strength=0.2"]},
        loss=lambda model, made: lambda logits, y: F.cross_entropy(logits, y, label_smoothing=0.2),
    )


@pytest.mark.parametrize("alpha", [0.0, 0.2, 3.0])
def test_mixed_targets_stay_distributions_and_mixing_keeps_sums(alpha):
    x, y = torch.randn(9, 4, dtype=torch.float64), F.one_hot(torch.arange(9) % 3, 3).double()
    share = torch.tensor(np.random.default_rng(0).beta(alpha, alpha) if alpha else 1.0)
    noise = {"share": share, "partner": torch.randperm(9)}
    mixed, targets = Mixup().batch(step({"alpha": alpha}, noise), x, y)
    assert (targets >= 0).all()
    torch.testing.assert_close(targets.sum(1), torch.ones(9, dtype=torch.float64))
    torch.testing.assert_close(mixed.sum(0), x.sum(0))
    torch.testing.assert_close(mixed, share * x + (1 - share) * x[noise["partner"]])
    if not alpha:
        assert torch.equal(mixed, x)


def test_mixup_blends_the_values_of_a_regression():
    _, records = trained(trainer(dataset=toy("regression"), reg=["mixup:alpha=1.0"]))
    assert records[-1].metrics["train/objective"][0] < records[0].metrics["train/objective"][0]


def test_label_smoothing_refuses_a_regression():
    with pytest.raises(CompositionError, match="label_smoothing is for classification"):
        assembled(dataset=toy("regression"), reg=["label_smoothing"])


def test_input_noise_has_its_moments_and_spares_the_targets():
    functions = InputNoise()
    shapes = Shapes(x=(1000, 100), y=(1000,), outputs=(1000, 3), weights={}, params={}, rows=1000)
    draw = functions.noise(shapes, {"std": 0.3})["input"]
    noise = torch.randn(draw.shape, dtype=torch.float64)
    x, y = torch.zeros(1000, 100, dtype=torch.float64), torch.zeros(1000)
    noisy, targets = functions.batch(step({"std": 0.3}, {"input": noise}), x, y)
    assert targets is y
    assert abs(noisy.mean()) < 5 * 0.3 / math.sqrt(noisy.numel())
    assert float(noisy.std()) == pytest.approx(0.3, rel=0.02)


# Early stopping.


def run_of(losses, **params):
    """The epoch of the stop, or None, and the weight that the run ends with; the weight of epoch e is e."""
    functions = EarlyStopping(EarlyStoppingParams(**params))
    numbers = {"patience": params.get("patience", 5), "min_delta": params.get("min_delta", 0.0)}
    state = functions.init(SHAPES, {"w": torch.zeros(1)}, {"b": torch.zeros(1)})
    for epoch, loss in enumerate(losses, start=1):
        now = {"w": torch.full((1,), float(epoch))}, {"b": torch.full((1,), float(epoch))}
        end = functions.after_epoch(step(numbers, epoch=epoch, state=state), {"valid/loss": torch.tensor(loss)}, *now)
        state = end.state
        if end.stop:
            break
    params_, buffers = functions.finalize(step(state=state), *now, ())
    return (epoch if end.stop else None), float(params_["w"]), float(buffers["b"])


@pytest.mark.parametrize(
    ("losses", "params", "expected"),
    [
        ([3, 2, 1, 2, 2, 2], {"patience": 2}, (5, 3, 3)),
        ([3, 2, 1, 2, 2, 2], {"patience": 2, "keep": "last"}, (5, 5, 5)),
        ([3, 2, 1], {"patience": 1}, (None, 3, 3)),
        ([1, 1, 1, 1], {"patience": 2}, (3, 1, 1)),
        ([3, 2.9, 2.8, 2.7], {"patience": 2, "min_delta": 0.5}, (3, 1, 1)),
        ([3, 4, 2, 4, 1.5, 2], {"patience": 2}, (None, 5, 5)),
        ([2, math.nan, math.nan, 1], {"patience": 2}, (3, 1, 1)),
    ],
)
def test_early_stopping_stops_after_its_patience_and_goes_back_to_the_best_epoch(losses, params, expected):
    assert run_of([float(loss) for loss in losses], **params) == expected


def test_a_run_with_early_stopping_ends_with_the_weights_of_its_best_epoch():
    fields = {"reg": ["early_stopping:patience=3"], "epochs": 60, "lr": 1.0, "batch_size": 16}
    made, best, at = trainer(**fields), math.inf, {}
    for record in made.train():
        if record.metrics["valid/loss"][0] < best:
            best, at = record.metrics["valid/loss"][0], weights(made)
    assert record.epoch < 60
    made.finish()
    assert_same_bits(at, weights(made))
    assert made.evaluate("valid")["valid/loss"][0] == best


def test_early_stopping_looks_at_each_epoch_even_where_evaluation_is_rare():
    _, records = trained(trainer(reg=["early_stopping"], evaluate_every=3, epochs=4))
    assert all("valid/loss" in record.metrics for record in records)
    assert ["test/loss" in record.metrics for record in records] == [False, False, True, True]


def test_early_stopping_without_a_validation_split_is_refused():
    with pytest.raises(CompositionError, match="needs a validation split"):
        assembled(dataset="digits:validation=0", reg=["early_stopping"])


def test_early_stopping_with_averaging_must_say_which_weights_are_kept():
    with pytest.raises(CompositionError, match="early_stopping with swa") as caught:
        assembled(reg=["early_stopping", "swa"])
    assert "keep=last" in caught.value.hint
    assembled(reg=["early_stopping:keep=last", "swa"])
