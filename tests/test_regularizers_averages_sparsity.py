"""Averages, sparsity, snapshots and learning rates against torch, scikit-learn and their recursions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso
from torch import nn
from trainings import assembled, stack, step, toy, trained, trainer, weights

from regplug.api import Task
from regplug.data.raw import InputSpec, RawData, Split
from regplug.errors import CompositionError
from regplug.regularizer import Shapes
from regplug_regularizers.stopping import PlateauParams
from regplug_regularizers.stopping.plateau import Plateau
from regplug_regularizers.weights.proximal_l1 import soft_threshold
from regplug_regularizers.weights.pruning import magnitude_mask
from regplug_regularizers.weights.unit_norm import UnitNorm

SHAPES = Shapes(x=(1, 1), y=(1,), outputs=(1, 3), weights={}, params={}, rows=1)


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Sparsity.


def sparse_regression(rows=60, features=8):
    """Values that depend on three of the columns."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((rows, features)).astype(np.float32)
    truth = np.array([2.0, -1.0, 0.5] + [0.0] * (features - 3), dtype=np.float32)
    y = x @ truth + 0.3 * generator.standard_normal(rows).astype(np.float32)
    split = Split(x=x, y=y[:, None].astype(np.float32))
    task, inputs = Task(kind="regression", num_outputs=1), InputSpec(layout="row", shape=(features,), dtype="float32")
    return RawData(name="sparse", train=split, valid=None, test=split, task=task, inputs=inputs)


def test_proximal_l1_reaches_scikit_learns_lasso_and_its_support():
    data = sparse_regression()
    fields = {"model": "linear", "dataset": data, "loss": "half_squared_error", "batch_size": 60, "shuffle": False}
    fields |= {"dtype": "float64", "epochs": 300, "lr": 0.4, "evaluate_every": 300}
    made, _ = trained(trainer(**fields, reg=["proximal_l1:strength=0.15"]))
    lasso = Lasso(alpha=0.15, tol=1e-12).fit(data.train.x.astype(np.float64), data.train.y[:, 0].astype(np.float64))
    coefficients = weights(made)["output.weight"][0].numpy()
    np.testing.assert_allclose(coefficients, lasso.coef_, atol=1e-9)
    assert ((coefficients == 0) == (lasso.coef_ == 0)).all()
    assert 0 < (coefficients == 0).sum() < 8
    np.testing.assert_allclose(weights(made)["output.bias"], lasso.intercept_, atol=1e-9)


def test_soft_thresholding_minimises_what_it_is_the_proximal_map_of():
    values = torch.linspace(-2, 2, 4001, dtype=torch.float64)
    for w in (-1.3, -0.2, 0.0, 0.1, 0.9):
        best = values[(0.5 * (values - w) ** 2 + 0.3 * values.abs()).argmin()]
        got = soft_threshold(torch.tensor(w, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64))
        assert float(got) == pytest.approx(float(best), abs=1e-3)


def test_the_threshold_follows_each_runs_learning_rate_in_a_stack():
    runs = [{"lr": rate, "reg": [f"proximal_l1:strength={s}"]} for rate, s in ((0.1, 0.05), (0.3, 0.01))]
    together, _ = trained(stack(*runs, dtype="float64", schedule="cosine"))
    for number, run in enumerate(runs):
        alone = weights(trained(trainer(**run, dtype="float64", schedule="cosine"))[0])
        for name, value in weights(together, number).items():
            torch.testing.assert_close(value, alone[name], rtol=1e-9, atol=1e-12)


def test_the_learning_rate_is_that_of_the_step():
    made = trainer(reg=["proximal_l1:strength=1e9"], epochs=1)
    next(iter(made.train()))
    assert all(not value.any() for name, value in weights(made).items() if name.endswith("weight"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_the_mask_spares_the_largest_weights(share):
    weight = normal(5, 4)
    mask = magnitude_mask(weight, torch.tensor(share, dtype=torch.float64))
    assert int((mask == 0).sum()) == round(share * 20)
    if 0 < share < 1:
        assert weight[mask == 0].abs().max() < weight[mask == 1].abs().min()


def test_weights_that_are_equal_are_pruned_one_after_the_other():
    mask = magnitude_mask(torch.ones(10), torch.tensor(0.5))
    assert mask.tolist() == [0.0] * 5 + [1.0] * 5


def test_pruning_follows_the_cubic_schedule_from_start_to_end():
    """Twelve steps in three epochs; pruned at the steps 3, 6 and 9, to nine tenths at the last."""
    made = trainer(reg=["pruning:sparsity=0.9,start=0,end=0.75,every=3"], epochs=3)
    shares = {}
    for record in made.train():
        weight = weights(made)["hidden1.weight"]
        shares[record.epoch] = float((weight == 0).double().mean())
    expected = {epoch: 0.9 * (1 - (1 - at / 9) ** 3) for epoch, at in ((1, 3), (2, 6), (3, 9))}
    assert shares == pytest.approx(expected, abs=1 / 128)


def test_pruning_that_ends_before_it_starts_is_refused():
    with pytest.raises(CompositionError, match=r"ends at 0\.5 of the run and starts at 0\.6"):
        assembled(reg=["pruning:start=0.6,end=0.5"])


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3, 3)])
def test_unit_norm_gives_each_unit_norm_one_and_spares_zeros_and_biases(shape):
    weight = 3 * normal(*shape)
    weight[0] = 0
    norms = UnitNorm().project(step(), "w", weight).flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.tensor([0.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    bias = normal(4)
    assert UnitNorm().project(step(roles={"b": "bias"}), "b", bias) is bias


# Averages.


def test_ema_is_the_recursion_and_torchs_averaged_model():
    fields = {"reg": ["ema:decay=0.8"], "dtype": "float64", "epochs": 3, "batch_size": 104}
    made, average, torchs = trainer(**fields), {}, None
    for _ in made.train():
        params = {name: value.detach().clone() for name, value in made.tensors_of(0)[0].items()}
        average = {n: 0.8 * average.get(n, v) + 0.2 * v for n, v in params.items()}
        module = nn.ParameterList(params.values())
        if torchs is None:
            torchs = torch.optim.swa_utils.AveragedModel(
                module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8)
            )
        torchs.update_parameters(module)
    made.finish()
    for (name, value), other in zip(weights(made).items(), torchs.module, strict=True):
        torch.testing.assert_close(value, average[name])
        torch.testing.assert_close(value, other.detach())


def test_ema_with_batch_norm_recomputes_the_running_statistics():
    made = trainer(reg=["ema:decay=0.9", "batchnorm"], dtype="float64")
    for _ in made.train():
        pass
    before = weights(made)
    made.finish()
    changed = [name for name, value in weights(made).items() if not torch.equal(value, before[name])]
    assert any(name.endswith("running_var") for name in changed)


def test_early_stopping_with_ema_must_say_which_weights_it_keeps():
    with pytest.raises(CompositionError, match="early_stopping with ema"):
        assembled(reg=["early_stopping", "ema"])
    assembled(reg=["early_stopping:keep=last", "ema"])


# Snapshots.


def test_a_snapshot_ensemble_ends_with_the_network_of_each_cycle():
    made, kept = trainer(reg=["snapshot_ensemble:cycles=2,lowest=0.1"], epochs=5), {}
    for record in made.train():
        kept[record.epoch] = weights(made)
    made.finish()
    networks = made.networks_of(0)
    for (params, _), epoch in zip(networks, (3, 5), strict=True):
        assert all(torch.equal(value, kept[epoch][name]) for name, value in params.items())


def test_more_cycles_than_epochs_are_refused():
    with pytest.raises(CompositionError, match="4 cycles, and the run 3 epochs") as caught:
        assembled(reg=["snapshot_ensemble:cycles=4"])
    assert "--epochs 4" in caught.value.hint


def test_a_snapshot_ensemble_refuses_another_end():
    for other in ("swa", "ema", "early_stopping"):
        with pytest.raises(CompositionError, match="snapshot_ensemble"):
            assembled(reg=["snapshot_ensemble", other])


# Learning rates.

LOSSES = [3.0, 2.0, 2.0, 2.0, 1.9999, 2.1, 2.0, 2.0, 1.0, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]


@pytest.mark.parametrize(
    "numbers",
    [
        {"factor": 0.5, "patience": 1},
        {"factor": 0.1, "patience": 2, "cooldown": 2},
        {"factor": 0.3, "patience": 0, "threshold": 0.01, "lowest": 0.2},
    ],
)
def test_plateau_is_torchs_reduce_lr_on_plateau(numbers):
    params = PlateauParams(**numbers)
    settings = {name: getattr(params, name) for name in ("factor", "patience", "threshold", "cooldown", "lowest")}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    torchs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        factor=params.factor,
        patience=params.patience,
        threshold=params.threshold,
        cooldown=params.cooldown,
        min_lr=params.lowest,
    )
    ours = Plateau(params)
    state, rate = ours.init(SHAPES, {"w": normal(2)}, {}), 1.0
    for epoch, loss in enumerate(LOSSES, start=1):
        torchs.step(loss)
        end = ours.after_epoch(step(settings, epoch=epoch, state=state), {"valid/loss": torch.tensor(loss)}, {}, {})
        state, rate = end.state, rate * float(end.rate_scale)
        assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6), epoch
    assert rate < 1


def test_plateau_without_a_validation_split_is_refused():
    with pytest.raises(CompositionError, match="plateau needs a validation split"):
        assembled(dataset="digits:validation=0", reg=["plateau"])


@pytest.mark.parametrize(("first", "growth", "lowest"), [(3, 1, 0.0), (2, 2, 0.1), (1, 3, 0.05)])
def test_warm_restarts_are_torchs(first, growth, lowest):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.2)
    torchs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=first, T_mult=growth, eta_min=0.2 * lowest
    )
    made = trainer(reg=[f"warm_restarts:first={first},growth={growth},lowest={lowest}"], epochs=9, dataset=toy())
    for record in made.train():
        optimizer.step()
        torchs.step(record.epoch)
        assert 0.2 * float(made.state.rate_scale) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-5)
