"""Probes see logits, losses, activations, gradients, the last update and effective weights, and leave no trace."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from trainings import assembled, assert_same_bits, stack, trained, trainer, weights

from regplug.api import NoParams
from regplug.data import order
from regplug.probes import Probe

REGS = ["batchnorm", "dropout", "l2:strength=0.1", "mixup", "swa:start=0.3"]


def probed_trainer(*, stacked=False, runs=({"seed": 0},), **fields):
    """As `trainings.trainer`, with probes allowed."""
    made = stack(*runs, **fields) if stacked else trainer(**{**fields, **runs[0]})
    made._probed = True
    return made


class LooksEverywhere(Probe):
    """Asks for everything that there is."""

    def __init__(self, params=None):
        self.seen = []

    def measure(self, view):
        parts = (view.logits, view.losses, view.sample.x)
        named = (view.activations, view.loss_gradients, view.objective_gradients, view.last_update, view.params)
        self.seen.append(view)
        return {"looks/sum": float(sum(part.sum() for part in parts) + sum(v.sum() for n in named for v in n.values()))}


class VanishingGradients(Probe):
    """`gradient/ratio`: mean |g| of the first hidden weight over that of the last one."""

    def __init__(self, params=None):
        pass

    def measure(self, view):
        sizes = [float(g.abs().mean()) for n, g in view.loss_gradients.items() if view.roles[n] == "weight"]
        return {"gradient/ratio": sizes[0] / sizes[-1]}


class DeadUnits(Probe):
    """`dead/share`: units of the activations that are exactly zero on every row of the sample."""

    def __init__(self, params=None):
        pass

    def measure(self, view):
        units = [(out == 0).all(0).float() for name, out in view.activations.items() if "activation" in name]
        return {"dead/share": float(torch.cat(units).mean())}


class UpdateRatio(Probe):
    """`update/ratio`: norm of the last update over the norm of the weights."""

    def __init__(self, params=None):
        pass

    def measure(self, view):
        update = torch.cat([value.flatten() for value in view.last_update.values()])
        return {"update/ratio": float(update.norm() / torch.cat([v.flatten() for v in view.params.values()]).norm())}


@pytest.mark.parametrize("reg", [[], REGS], ids=["bare", "composed"])
def test_a_run_that_is_looked_at_ends_with_the_same_bits(reg):
    plain, _ = trained(trainer(reg=reg))
    seen = probed_trainer(reg=reg)
    before = torch.get_rng_state()
    for _ in seen.train():
        assert LooksEverywhere().measure(seen.view_of(0))
    seen.finish()
    assert torch.equal(before, torch.get_rng_state())
    assert_same_bits(weights(plain), weights(seen))


def test_a_stack_that_is_looked_at_ends_with_the_same_bits():
    runs = ({"seed": 0}, {"seed": 1})
    plain, _ = trained(stack(*runs, reg=REGS))
    seen = probed_trainer(stacked=True, runs=runs, reg=REGS)
    for _ in seen.train():
        for run in range(2):
            LooksEverywhere().measure(seen.view_of(run))
    seen.finish()
    for run in range(2):
        assert_same_bits(weights(plain, run), weights(seen, run))


def test_a_run_of_a_stack_is_seen_as_the_run_alone():
    reg = ["batchnorm", "dropout:drop_probability=0.2", "l2:strength=0.1"]
    common = {"reg": reg, "dtype": "float64"}
    together = probed_trainer(stacked=True, runs=({"seed": 0}, {"seed": 1}), **common)
    list(together.train())
    for seed in (0, 1):
        alone = probed_trainer(runs=({"seed": seed},), **common)
        list(alone.train())
        one, other = alone.view_of(0), together.view_of(seed)
        torch.testing.assert_close(one.logits, other.logits)
        torch.testing.assert_close(one.losses, other.losses)
        for name in ("activations", "loss_gradients", "objective_gradients", "last_update", "params"):
            torch.testing.assert_close(dict(getattr(one, name)), dict(getattr(other, name)))


def test_what_is_seen_is_what_torch_computes():
    made = probed_trainer(reg=["l2:strength=0.1"], dtype="float64", epochs=1)
    data = assembled(reg=[], dtype="float64").data
    for _ in made.train():
        pass
    view, model = made.view_of(0), made._program.model.eval()
    assert torch.equal(view.sample.x, data.train.x[view.sample.rows])
    logits = model(view.sample.x)
    torch.testing.assert_close(view.logits, logits.detach())
    torch.testing.assert_close(view.losses, F.cross_entropy(logits, view.sample.labels, reduction="none").detach())
    loss = F.cross_entropy(logits, view.sample.labels)
    params = dict(model.named_parameters())
    wanted = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))
    torch.testing.assert_close(dict(view.loss_gradients), wanted)
    extra = {name: 0.1 * value.detach() * (value.ndim > 1) for name, value in params.items()}
    torch.testing.assert_close(dict(view.objective_gradients), {n: wanted[n] + extra[n] for n in wanted})
    hidden = F.relu(F.linear(view.sample.x, params["hidden1.weight"], params["hidden1.bias"]))
    torch.testing.assert_close(view.activations["activation1#0"], hidden.detach())


def test_the_last_update_is_that_of_the_last_step():
    made = probed_trainer(dtype="float64", epochs=1)
    assert made.view_of(0).last_update == {}
    list(made.train())
    by_hand = assembled(dtype="float64", epochs=1)
    model, (x, y) = by_hand.network.model, (by_hand.data.train.x, by_hand.data.train.y)
    for rows in order(len(x), 0, 0).split(32):
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        for value, grad in zip(
            model.parameters(),
            torch.autograd.grad(F.cross_entropy(model(x[rows]), y[rows]), list(model.parameters())),
            strict=True,
        ):
            value.data.sub_(0.2 * grad)
    wanted = {name: value.detach() - before[name] for name, value in model.named_parameters()}
    torch.testing.assert_close(dict(made.view_of(0).last_update), wanted)


@pytest.mark.parametrize("probe", [VanishingGradients, DeadUnits, UpdateRatio])
def test_the_probes_that_people_write_are_few_lines(probe):
    made = probed_trainer(epochs=1)
    list(made.train())
    (value,) = probe().measure(made.view_of(0)).values()
    assert value >= 0


def test_dead_units_are_those_that_never_answer():
    class Dead(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.activation, self.output = nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 3)
            with torch.no_grad():
                self.hidden.bias[:2] = -1e6

        def forward(self, x):
            return self.output(self.activation(self.hidden(x)))

    made = probed_trainer(model=Dead(), epochs=1)
    list(made.train())
    assert DeadUnits().measure(made.view_of(0))["dead/share"] >= 0.5


def test_a_user_s_spectral_norm_does_not_advance_when_somebody_looks():
    """torch's own parametrization moves its vectors whenever the weight is read in training."""
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 6)), nn.Tanh(), nn.Linear(6, 3))
    plain, _ = trained(trainer(model=model))
    seen = probed_trainer(model=model)
    for _ in seen.train():
        LooksEverywhere().measure(seen.view_of(0))
    seen.finish()
    assert_same_bits(weights(plain), weights(seen))
    norm = torch.linalg.matrix_norm(seen.view_of(0).params["0.weight"], ord=2)
    assert float(norm) == pytest.approx(1, abs=0.2)


def test_a_trainer_without_probes_keeps_no_copy_of_the_weights():
    made = trainer()
    list(made.train())
    assert made._before_last == {}


def test_a_probe_without_a_constructor_of_its_own_gets_its_parameters():
    class Counts(Probe):
        def measure(self, view):
            return {"count/params": float(len(view.params))}

    assert isinstance(Counts().params, NoParams)
    assert Counts(3).params == 3
