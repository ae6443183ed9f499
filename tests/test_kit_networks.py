"""The networks on which the conformance kit checks: its own, and those of a plugin's author."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
from kit_honest import HONEST
from kit_honest_contract import StopsWhenItRises
from kit_mutants import Layers
from torch.nn.utils.parametrize import is_parametrized
from written_here import Strength, here

from regplug.errors import RequestError
from regplug.regularization.finding import find_sites
from regplug.regularizer import RegularizerFunctions
from regplug.testing import check_regularizer
from regplug.testing.bench import NETWORKS, Network
from regplug.testing.building import networks_of
from regplug.testing.running import Bound
from regplug.testing.selection import checks_of
from regplug.testing.subject import find_subject
from regplug.testing.trainings import EPOCHS_UNTIL_WORSE, make_trainer

pytestmark = pytest.mark.slow


class StopsAtSevenClasses(RegularizerFunctions):
    """Right on the kit's networks, which have three outputs."""

    Params = Strength

    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * outputs.logits.view(-1, 3).square().mean()


class OnActivations(Layers):
    """Refuses a network whose activations are functions."""

    Layer = torch.nn.Identity


def described(functions):
    return dataclasses.replace(here(functions), summary="Of the test.")


class Wide(torch.nn.Module):
    """A network of an author's own, with dropout of its own and another number of outputs."""

    def __init__(self, *, is_flat=False):
        super().__init__()
        self.first, self.act, self.drop = torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Dropout(0.2)
        self.last, self.is_flat = torch.nn.Linear(5, 7), is_flat

    def forward(self, x):
        x = self.first(x)
        return self.last(self.drop(torch.relu(x) if self.is_flat else self.act(x)))


def own(name):
    """Results of the checks of a first-party regularizer on a network of one's own too."""
    networks = {"wide": Network(make=Wide, input_shape=(4,), num_outputs=7)}
    assert networks_of(find_subject("regularizer", name, {}, networks=networks))[-1] == "wide"
    return check_regularizer(name, networks=networks, only=["wide"])


@pytest.mark.parametrize("name", ["l2", "mixup", "swa"])
def test_a_regularizer_is_checked_on_a_network_of_the_authors_own(name):
    report = own(name)
    assert report.passed, report.lines()
    assert report.outcome("takes_your_own_networks") == "passed"


def test_a_network_that_does_not_exist_is_refused_with_a_near_name():
    with pytest.raises(RequestError, match="no network mpl") as caught:
        check_regularizer("l2", only=["mpl"])
    assert "mlp" in caught.value.hint


def test_a_bug_that_shows_on_the_authors_network_alone_is_found():
    networks = {"wide": Network(make=Wide, input_shape=(4,), num_outputs=7)}
    bug = described(StopsAtSevenClasses)
    assert check_regularizer(bug).passed
    failed = check_regularizer(bug, networks=networks).failures
    assert any("wide" in result.reason for result in failed)


def test_a_network_of_the_authors_own_that_is_refused_is_told():
    networks = {"flat": Network(make=partial(Wide, is_flat=True), input_shape=(4,), num_outputs=7)}
    subject = find_subject("regularizer", described(OnActivations), {}, networks=networks)
    (check,) = (check for check in checks_of(subject) if check.__name__ == "takes_your_own_networks")
    told = Bound(check, subject).result()
    assert told.outcome == "skipped"
    assert "it refuses flat: tested found no " in told.reason


def test_the_networks_of_the_kit_have_what_trips_up_regularizers():
    models = {name: network.built(torch.float64) for name, network in NETWORKS.items()}
    sites = {name: find_sites(models[name], network.inputs(2)) for name, network in NETWORKS.items()}
    assert any(site.is_branch for site in sites["residual"])
    assert {"shared", "activation"} <= {site.name for site in sites["twice"] if site.call > 0}
    assert is_parametrized(models["weight_normed"].hidden1, "weight")
    assert any(isinstance(module, torch.nn.BatchNorm1d) for module in models["normed"].modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_on_each_network_of_the_kit_the_validation_loss_rises_within_its_longer_training(name):
    stopping = next(one for one in HONEST if one.target.endswith(f":{StopsWhenItRises.__name__}"))
    trainer = make_trainer(find_subject("regularizer", stopping, {}), name=name, epochs=EPOCHS_UNTIL_WORSE)
    assert len(list(trainer.train())) < EPOCHS_UNTIL_WORSE
