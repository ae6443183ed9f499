"""A run that ends with several networks is one model: in metrics, as a module, in files and after a store."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from runs import Place, standing_in
from torch import nn
from trainings import stack, toy, trained, trainer

import regplug
from regplug.regularizer import EpochEnd, RegularizerFunctions
from regplug.training.ensemble import Ensemble, combined, count_members

SNAPSHOTS = f"{__file__}:Snapshots"
EPOCHS = 4


class Snapshots(RegularizerFunctions):
    """Ends with the networks of the middle and of the end of the run."""

    def init(self, shapes, params, buffers):
        return {name: value.detach().clone() for name, value in params.items()}

    def after_epoch(self, step, metrics, params, buffers):
        is_middle = step.clock.epoch == step.clock.epochs // 2
        return EpochEnd(params, buffers, dict(params) if is_middle else step.state)

    def finalize(self, step, params, buffers, batches):
        return [(dict(step.state), buffers), (params, buffers)]


def test_the_probabilities_of_an_ensemble_are_the_mean_of_its_members():
    logits = torch.randn(3, 5, 4, dtype=torch.float64)
    one = combined(list(logits), "classification")
    torch.testing.assert_close(one.softmax(-1), logits.softmax(-1).mean(0))
    torch.testing.assert_close(one.exp(), logits.softmax(-1).mean(0))
    assert torch.equal(combined(list(logits), "regression"), logits.mean(0))


def test_one_far_logit_leaves_finite_logarithms():
    logits = torch.tensor([[[1e4, 0.0]], [[1e4, 0.0]]])
    assert torch.isfinite(combined(list(logits), "classification")).all()


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_metrics_of_a_run_are_those_of_its_networks_together(kind):
    made, _ = trained(trainer(reg=[SNAPSHOTS], dataset=toy(kind), epochs=EPOCHS, lr=0.05))
    half, _ = trained(trainer(dataset=toy(kind), epochs=EPOCHS, lr=0.05, reg=[]))
    networks = made.networks_of(0)
    assert len(networks) == 2
    torch.testing.assert_close(networks[1][0]["output.weight"], half.tensors_of(0)[0]["output.weight"])
    each = []
    for params, buffers in networks:
        each.append(torch.func.functional_call(made._program.model.eval(), {**params, **buffers}, made._pools.test.x))
    wanted = combined([one.detach() for one in each], kind)
    torch.testing.assert_close(made.outputs("test"), wanted)
    loss = made._program.loss.mean(wanted, made._pools.test.y, {})
    assert made.evaluate("test")["test/loss"][0] == pytest.approx(float(loss), rel=1e-5)


def test_runs_of_a_stack_end_with_ensembles_of_their_own():
    together, _ = trained(stack({"seed": 0}, {"seed": 1}, reg=[SNAPSHOTS], epochs=EPOCHS))
    for seed in (0, 1):
        alone, _ = trained(trainer(seed=seed, reg=[SNAPSHOTS], epochs=EPOCHS))
        torch.testing.assert_close(together.outputs("test")[seed], alone.outputs("test"), atol=1e-5, rtol=1e-4)
        measured = together.evaluate("test")
        assert measured["test/loss"][seed] == pytest.approx(alone.evaluate("test")["test/loss"][0], rel=1e-4)


def test_members_are_counted_by_the_names_of_a_saved_state():
    assert count_members(["members.0.weight", "members.1.weight", "members.10.weight"]) == 3
    assert count_members(["weight", "membership.0.bias"]) == 1
    assert count_members(list(Ensemble([nn.Linear(1, 1)] * 2, "classification").state_dict())) == 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run that ended with an ensemble, and the folder where it stands."""
    with standing_in(tmp_path_factory.mktemp("ensembles")) as folder:
        yield Place(folder).run(dataset="digits", model="mlp:hidden=[8]", reg=[SNAPSHOTS], epochs=EPOCHS, export=True)


def test_the_trained_model_is_one_module_of_ordinary_networks(exported):
    assert isinstance(exported.model, Ensemble)
    assert not exported.model.training
    assert len(exported.model.members) == 2


def test_the_files_of_an_ensemble_are_proven_and_answer_as_it_does(exported):
    assert exported.verification.passed
    sample = np.load(exported.bundle_path / "sample_input.npz")
    outputs = np.load(exported.bundle_path / "sample_output.npz")
    x = torch.as_tensor(next(iter(sample.values())), dtype=torch.float32) / 16
    expected = exported.model(x.reshape(len(x), 1, 8, 8)).detach().numpy()
    np.testing.assert_allclose(next(iter(outputs.values())), expected, atol=1e-4)
    assert regplug.verify(exported.bundle_path).passed


def test_a_tracked_ensemble_is_exported_again(exported, tmp_path):
    again = regplug.export(exported.run_id, out=tmp_path / "again", tracking_uri=exported.tracking_uri)
    assert again.verification.passed
