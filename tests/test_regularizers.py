"""Each first-party regularizer against torch, the closed form or its own definition."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from trainings import FIRST_PARTY, assembled, assert_same_bits, step, toy, trained, trainer, weights

from regplug.errors import CompositionError, ParameterError
from regplug.noise import bits, keep_mask
from regplug.regularizer import Outputs, Shapes
from regplug_regularizers import EarlyStoppingParams, PenaltyParams, SwaParams, WeightDecayParams
from regplug_regularizers.clip_norm import ClipNorm
from regplug_regularizers.dropout import dropout
from regplug_regularizers.early_stopping import EarlyStopping
from regplug_regularizers.input_noise import InputNoise
from regplug_regularizers.label_smoothing import LabelSmoothing
from regplug_regularizers.max_norm import MaxNorm
from regplug_regularizers.mixup import Mixup
from regplug_regularizers.penalties import L1, L2
from regplug_regularizers.sam import Sam
from regplug_regularizers.swa import Swa
from regplug_regularizers.weight_decay import WeightDecay

NOTHING = Outputs(torch.zeros(1), {}, {})
ROLES = {"fc.weight": "weight", "fc.bias": "bias", "norm.weight": "norm"}


def random_bits(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-32768, 32768, shape, generator=generator, dtype=torch.int16)


def parameters():
    generator = torch.Generator().manual_seed(0)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "norm.weight": (4,)}
    return {name: torch.randn(s, generator=generator, dtype=torch.float64) for name, s in shapes.items()}


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
    from regplug.regularizer import Clock, Step

    shapes = {
        "dropout": Shapes(
            x=tuple(x.shape),
            y=(len(x),),
            places=tuple(
                place.__class__(key=place.key, index=place.index, shape=(len(x), *place.shape[1:]))
                for place in made.network.places["dropout"]
            ),
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
    start = {name: value.clone() for name, value in made.program.params.items()}
    reference = nn.Sequential(
        nn.Linear(8, 16), nn.BatchNorm1d(16, momentum=0.3, eps=1e-4), nn.ReLU(),
        nn.Linear(16, 12), nn.BatchNorm1d(12, momentum=0.3, eps=1e-4), nn.ReLU(), nn.Linear(12, 3),
    ).double()  # fmt: skip
    with torch.no_grad():
        for own, value in zip(reference.parameters(), _in_forward_order(made, start), strict=True):
            own.copy_(value)
    ours, _ = trained(trainer(reg=["batchnorm:momentum=0.3,eps=1e-4"], dtype="float64"))
    _train_by_hand(reference, made)
    reference.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.outputs("test"), reference(made.data.test.x), rtol=1e-12, atol=1e-12)
    statistics = [value for name, value in weights(ours).items() if name.endswith("running_var")]
    torch.testing.assert_close(statistics[0], reference[1].running_var, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(statistics[1], reference[4].running_var, rtol=1e-12, atol=1e-12)


def _in_forward_order(made, start):
    names = ["hidden1", "activation1.before", "hidden2", "activation2.before", "output"]
    return [value for name in names for key, value in start.items() if key.startswith(name)]


def _train_by_hand(model, made, *, optimizer=None, loss=F.cross_entropy, after=lambda: None, before=lambda: None):
    from regplug.data import order

    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=made.config.lr)
    x, y = made.data.train.x, made.data.train.y
    model.train()
    for epoch in range(made.config.epochs):
        for rows in order(len(x), made.config.seed, epoch).split(made.config.batch_size):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            before()
            optimizer.step()
            after()


def _reference_mlp(made):
    """The same network with the same start, made of torch's modules alone."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    model.to(made.data.train.x.dtype)
    with torch.no_grad():
        for own, value in zip(model.parameters(), made.inputs.params.values(), strict=True):
            own.copy_(value)
    return model


def _assert_same_as_by_hand(fields, *, dtype="float64", tolerance=1e-12, **by_hand):
    """Trains by regplug and by hand from one start and compares the weights."""
    fields = {"dtype": dtype, **fields}
    made = assembled(**fields)
    model = _reference_mlp(made)
    parts = {name: make(model, made) for name, make in by_hand.items()}
    _train_by_hand(model, made, **parts)
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=tolerance, atol=tolerance)


def _groups(model, decay):
    """Weights decayed and biases not, as a careful user of torch.optim writes it."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": [p for p in model.parameters() if p.ndim < 2]}]


def test_batchnorm_behind_what_at_names():
    made = assembled(reg=["batchnorm:at=hidden2"])
    assert [n for n, m in made.network.model.named_modules() if isinstance(m, nn.BatchNorm1d)] == ["hidden2.after.0.0"]


def test_batchnorm_of_images_is_by_channel():
    images = torch.randn(60, 2, 12, 12)
    made = assembled(model="cnn", dataset=(images, torch.arange(60) % 3), reg=["batchnorm"], batch_size=20)
    layers = [m for m in made.network.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert [type(layer) for layer in layers] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm1d]
    assert [layer.num_features for layer in layers] == [32, 64, 128]


def test_batchnorm_with_a_last_batch_of_one_row_is_refused_before_training():
    with pytest.raises(CompositionError, match="a last batch of one row"):
        assembled(dataset=toy(train_rows=65), reg=["batchnorm"])


# Penalties.


def test_l1_and_l2_are_their_closed_forms_on_weights_alone():
    tensors, at = parameters(), step({"strength": 0.3}, roles=ROLES)
    w = tensors["fc.weight"]
    assert float(L1(PenaltyParams()).penalty(at, tensors, NOTHING)) == pytest.approx(
        0.3 * float(w.abs().sum()), rel=1e-12
    )
    assert float(L2(PenaltyParams()).penalty(at, tensors, NOTHING)) == pytest.approx(
        0.15 * float((w**2).sum()), rel=1e-12
    )


@pytest.mark.parametrize(("penalty", "power"), [(L1, 1), (L2, 2)])
def test_a_penalty_on_everything_takes_biases_and_normalization_too(penalty, power):
    tensors = parameters()
    got = penalty(PenaltyParams(everything=True)).penalty(step({"strength": 1.0}, roles=ROLES), tensors, NOTHING)
    assert float(got) == pytest.approx(
        sum(float((t.abs() ** power).sum()) for t in tensors.values()) / power, rel=1e-12
    )


@pytest.mark.parametrize(
    ("penalty", "gradient"), [(L1, lambda w: 0.3 * w.sign()), (L2, lambda w: 0.3 * w)], ids=["l1", "l2"]
)
def test_the_gradient_of_a_penalty_is_its_closed_form(penalty, gradient):
    w = torch.tensor([[1.5, 0.0, -2.0]], dtype=torch.float64, requires_grad=True)
    penalty(PenaltyParams()).penalty(step({"strength": 0.3}), {"w": w}, NOTHING).backward()
    torch.testing.assert_close(w.grad, gradient(w.detach()))


def test_l2_in_the_loss_is_what_torchs_sgd_calls_weight_decay():
    _assert_same_as_by_hand(
        {"reg": ["l2:strength=0.1"], "momentum": 0.9, "lr": 0.05, "epochs": 5},
        optimizer=lambda model, made: torch.optim.SGD(_groups(model, 0.1), lr=0.05, momentum=0.9),
    )


def test_l2_acts_on_the_effective_weight_of_a_parametrized_layer():
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)).double()
    reference = copy.deepcopy(model)
    fields = {"model": model, "dtype": "float64", "reg": ["l2:strength=0.2"]}
    made = assembled(**fields)
    _train_by_hand(
        reference,
        made,
        loss=lambda logits, y: (
            F.cross_entropy(logits, y) + 0.1 * (reference[0].weight.square().sum() + reference[2].weight.square().sum())
        ),
    )
    ours, _ = trained(trainer(**fields))
    for name, value in reference.named_parameters():
        torch.testing.assert_close(ours.tensors_of(0)[0][name].detach(), value.detach(), rtol=1e-12, atol=1e-12)


def test_max_norm_bounds_the_effective_weight_of_a_parametrized_layer():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    ours, _ = trained(trainer(model=model, reg=["max_norm:max_norm=0.3"]))
    for name, value in ours.weights_of(0).items():
        if name.endswith("weight"):
            assert value.norm(dim=1).max() <= 0.3 * (1 + 1e-5)


def test_a_frozen_parametrized_layer_is_left_alone():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    ours, _ = trained(trainer(model=model, reg=["l2", "max_norm:max_norm=0.01"]))
    values = weights(ours)
    assert torch.equal(
        torch._weight_norm(
            values["0.parametrizations.weight.original1"], values["0.parametrizations.weight.original0"], 0
        ),
        before,
    )


# Gradient and optimizer phases.


def test_clip_norm_is_torchs_clip_grad_norm():
    grads = parameters()
    for bound in (0.5, 100.0):
        torchs = [nn.Parameter(g.clone()) for g in grads.values()]
        for param, grad in zip(torchs, grads.values(), strict=True):
            param.grad = grad.clone()
        nn.utils.clip_grad_norm_(torchs, bound)
        clipped, _ = ClipNorm().gradients(step({"max_norm": bound}), grads, grads, {})
        for own, other in zip(clipped.values(), torchs, strict=True):
            torch.testing.assert_close(own, other.grad, rtol=1e-12, atol=0)


def test_training_with_clip_norm_is_a_loop_with_clip_grad_norm():
    _assert_same_as_by_hand(
        {"reg": ["clip_norm:max_norm=0.2"]},
        before=lambda model, made: lambda: nn.utils.clip_grad_norm_(model.parameters(), 0.2),
    )


def test_sam_is_a_loop_of_two_gradients_by_hand():
    fields = {"reg": ["sam:rho=0.1"], "dtype": "float64"}
    made = assembled(**fields)
    model = _reference_mlp(made)
    optimizer = torch.optim.SGD(model.parameters(), lr=made.config.lr)

    def closure(logits, y):
        return F.cross_entropy(logits, y)

    from regplug.data import order

    x, y = made.data.train.x, made.data.train.y
    for epoch in range(made.config.epochs):
        for rows in order(len(x), 0, epoch).split(made.config.batch_size):
            start = [p.detach().clone() for p in model.parameters()]
            grads = torch.autograd.grad(closure(model(x[rows]), y[rows]), list(model.parameters()))
            norm = torch.sqrt(sum(g.square().sum() for g in grads))
            with torch.no_grad():
                for p, g in zip(model.parameters(), grads, strict=True):
                    p.add_(0.1 * g / (norm + 1e-12))
            optimizer.zero_grad()
            closure(model(x[rows]), y[rows]).backward()
            with torch.no_grad():
                for p, value in zip(model.parameters(), start, strict=True):
                    p.copy_(value)
            optimizer.step()
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=1e-12, atol=1e-12)


def test_sam_goes_up_by_its_radius():
    grads = parameters()
    point = Sam().perturb(step({"rho": 0.3}), {n: torch.zeros_like(g) for n, g in grads.items()}, grads)
    assert float(torch.sqrt(sum(p.square().sum() for p in point.values()))) == pytest.approx(0.3, rel=1e-9)


def test_sam_moves_running_statistics_once_a_step():
    plain = weights(trained(trainer(reg=["batchnorm", "sam:rho=0.5"], epochs=1))[0])
    tracked = [int(value) for name, value in plain.items() if name.endswith("num_batches_tracked")]
    assert tracked == [4, 4]


def test_weight_decay_with_adamw_is_torchs_adamw():
    _assert_same_as_by_hand(
        {"reg": ["weight_decay:strength=0.3"], "optimizer": "adamw", "lr": 0.01, "epochs": 5},
        optimizer=lambda model, made: torch.optim.AdamW(
            [{**group, "weight_decay": group.get("weight_decay", 0)} for group in _groups(model, 0.3)], lr=0.01
        ),
    )


def test_adam_without_decay_is_torchs_adam():
    _assert_same_as_by_hand(
        {"optimizer": "adam", "lr": 0.01, "epochs": 5},
        optimizer=lambda model, made: torch.optim.Adam(model.parameters(), lr=0.01),
    )


def test_weight_decay_spares_biases_and_normalization_unless_asked():
    functions, at = WeightDecay(WeightDecayParams()), step({"strength": 0.3}, roles=ROLES)
    assert [functions.decay(at, name, value) is not None for name, value in parameters().items()] == [
        True,
        False,
        False,
    ]
    everything = WeightDecay(WeightDecayParams(everything=True))
    assert all(everything.decay(at, name, value) == 0.3 for name, value in parameters().items())


def test_two_ways_to_decay_are_doubted():
    assert any("not the same method" in n.message for n in assembled(reg=["l2", "weight_decay"]).network.notices)
    assert any("add up" in n.message for n in assembled(reg=["weight_decay", "weight_decay@b"]).network.notices)


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
    state = functions.init(params, {})
    assert torch.equal(functions.evaluated(params, {}, state)[0]["w"], params["w"])
    end = functions.after_epoch(step({"start": 0.75}, epoch=7), {}, params, {}, state)
    assert end.state["count"] == 0
    end = functions.after_epoch(step({"start": 0.75}, epoch=8), {}, params, {}, end.state)
    end = functions.after_epoch(step({"start": 0.75}, epoch=9), {}, {"w": 3 * torch.ones(2)}, {}, end.state)
    assert torch.equal(functions.evaluated(params, {}, end.state)[0]["w"], 2 * torch.ones(2))


# Data.


def test_label_smoothing_is_torchs():
    logits, y = torch.randn(20, 5, dtype=torch.float64), torch.randint(0, 5, (20,))
    _, soft = LabelSmoothing().batch(step({"strength": 0.2}), logits, F.one_hot(y, 5).double())
    torch.testing.assert_close(F.cross_entropy(logits, soft), F.cross_entropy(logits, y, label_smoothing=0.2))


def test_training_with_label_smoothing_is_a_loop_with_torchs():
    _assert_same_as_by_hand(
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
    draw = functions.noise(Shapes(x=(1000, 100), y=(1000,)), {"std": 0.3})["input"]
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
    state = functions.init({"w": torch.zeros(1)}, {"b": torch.zeros(1)})
    for epoch, loss in enumerate(losses, start=1):
        now = {"w": torch.full((1,), float(epoch))}, {"b": torch.full((1,), float(epoch))}
        end = functions.after_epoch(step(numbers, epoch=epoch), {"valid/loss": torch.tensor(loss)}, *now, state)
        state = end.state
        if end.stop:
            break
    params_, buffers = functions.finalize(None, *now, state, ())
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


# What holds for all.

OFF = ("dropout:drop_probability=0", "l1:strength=0", "l2:strength=0", "input_noise:std=0", "mixup:alpha=0",
       "label_smoothing:strength=0", "sam:rho=0", "weight_decay:strength=0", "none")  # fmt: skip


@pytest.mark.parametrize("off", OFF)
def test_a_strength_of_zero_changes_no_bit_of_the_weights(off):
    for fields in ({}, {"reg": ["batchnorm"]}):
        plain = weights(trained(trainer(**fields))[0])
        without = weights(trained(trainer(reg=[*fields.get("reg", []), off]))[0])
        assert_same_bits(plain, without)


def test_every_strength_that_declares_an_off_value_is_tested_to_be_off_there():
    from regplug.params import describe_params
    from regplug.registry import default_registry

    declared = {
        one.name
        for one in default_registry().components("regularizer")
        if one.name in FIRST_PARTY and any(info.off is not None for info in describe_params(one.component.params))
    }
    assert declared == {text.partition(":")[0] for text in OFF} - {"none"}


@pytest.mark.parametrize("name", sorted(set(FIRST_PARTY) - {"none"}))
def test_a_regularizer_at_a_strength_that_is_felt_changes_the_weights(name):
    strong = {"l1": "strength=0.1", "l2": "strength=0.1", "clip_norm": "max_norm=0.01", "max_norm": "max_norm=0.1"}
    strong |= {"swa": "start=0.1", "early_stopping": "min_delta=1e9,patience=1"}
    reg = f"{name}:{strong[name]}" if name in strong else name
    plain, felt = weights(trained(trainer())[0]), weights(trained(trainer(reg=[reg]))[0])
    assert not all(torch.equal(value, felt[key]) for key, value in plain.items() if key in felt)


@pytest.mark.parametrize("regs", [["dropout:drop_probability=[0.2,0.5]", "l2:strength=0.01", "label_smoothing"]])
def test_a_whole_run_is_a_loop_by_hand_with_the_same_order_and_masks(regs):
    """Modules, torch.optim, clip_grad_norm_ and renorm; the masks are those of the run. float32."""
    fields = {"reg": [*regs, "clip_norm:max_norm=0.5", "max_norm:max_norm=1.0"], "momentum": 0.9, "lr": 0.05}
    made = assembled(**fields)
    feed = trainer(**fields)._feed
    model = _reference_mlp(made)
    optimizer = torch.optim.SGD(_groups(model, 0.01), lr=0.05, momentum=0.9)
    for epoch in range(made.config.epochs):
        for batch in feed.epoch(epoch):
            masks = [batch.noise["dropout"][f"activation{n}#0"] for n in (1, 2)]
            hidden = batch.x
            for layer, mask, rate in zip((model[0], model[2]), masks, (0.2, 0.5), strict=True):
                keep, scale = keep_mask(mask, torch.tensor(rate))
                hidden = torch.relu(layer(hidden)) * keep * scale
            optimizer.zero_grad()
            F.cross_entropy(model[4](hidden), batch.y, label_smoothing=0.1).backward()
            # The penalty is in the loss, so its gradient is clipped with the rest.
            for p in model.parameters():
                p.grad.add_(0.01 * p.detach() if p.ndim > 1 else 0)
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            for group in optimizer.param_groups:
                group["weight_decay"] = 0
            optimizer.step()
            with torch.no_grad():
                for p in model.parameters():
                    if p.ndim > 1:
                        p.copy_(torch.renorm(p, 2, 0, 1.0))
    ours, _ = trained(trainer(**fields))
    for own, other in zip(ours.tensors_of(0)[0].values(), model.parameters(), strict=True):
        torch.testing.assert_close(own.detach(), other.detach(), rtol=2e-6, atol=1e-6)


def test_masks_of_the_run_have_the_shapes_that_were_declared():
    batch = next(trainer(reg=["dropout"])._feed.epoch(0))
    assert bits((32, 16)).shape == tuple(batch.noise["dropout"]["activation1#0"].shape)
