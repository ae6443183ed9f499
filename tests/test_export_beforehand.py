"""What could never be exported is refused before it is trained, and nothing else is."""

from __future__ import annotations

import random

import pytest
import torch
from catalogue import REGULARIZERS, fields, of
from cli_calls import Terminal
from torch import Tensor, nn
from trainings import toy

import regplug
from regplug.config import load_config
from regplug.errors import ModelError, RequestError
from regplug.registry import default_registry, load_target
from regplug.registry.usercode import derive_phases
from regplug.runs import runner
from regplug.runs.caller_objects import take_over
from regplug.runs.planning import make_plan
from regplug.runs.request import check_request

pytestmark = pytest.mark.slow


class Net(nn.Module):
    """Eight numbers to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class AlwaysRandom(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + torch.rand_like(x))


class RarelyRandom(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x + (torch.rand(1) > 1 - 1e-9))


class RandomByPython(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * random.random()


class Remembers(Net):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x) * self.calls


class RowByRow(Net):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.net(row) for row in x])


class Branches(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) if x.mean() > 0 else self.net(-x)


class LooseStatistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(8)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.net(x - self.mean)


class UnsavedStatistics(LooseStatistics):
    """In a buffer that is not part of the state, and as a Python number."""

    def __init__(self) -> None:
        super().__init__()
        del self.mean
        self.mean = nn.Buffer(torch.zeros(8), persistent=False)


class PythonStatistics(Net):
    largest = 1.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.largest = 2.0
        return self.net(x / self.largest)


class CountsCalls(Net):
    def __init__(self) -> None:
        super().__init__()
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


class InList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.more = [nn.Linear(8, 8)]

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.more[0](x))


HOPELESS = [
    (AlwaysRandom, ["draws random numbers in evaluation mode", "self.training"]),
    (RarelyRandom, ["draws random numbers in evaluation mode"]),
    (RandomByPython, ["random in evaluation mode"]),
    (Remembers, ["keeps values from one call to the next"]),
    (RowByRow, ["has a fixed batch size"]),
    (Branches, ["branches on tensor values", "test_export_beforehand.py:"]),
    (LooseStatistics, ["not in the state_dict", "the model: mean", "register_buffer"]),
    (UnsavedStatistics, ["not in the state_dict"]),
    (PythonStatistics, ["not in the state_dict"]),
    (CountsCalls, ["Inference writes to calls"]),
    (InList, ["not registered", "nn.ModuleList"]),
]


@pytest.mark.parametrize(("kind", "words"), HOPELESS)
def test_what_cannot_be_exported_is_refused_before_it_is_trained(place, kind, words, monkeypatch):
    monkeypatch.setattr(runner, "open_store", lambda *_: pytest.fail("the store was opened"))
    with pytest.raises(ModelError) as caught:
        place.run(model=kind(), export=True)
    message = str(caught.value)
    assert [word for word in (*words, "nothing was trained", "--no-export") if word not in message] == [], message
    assert caught.value.exit_code == 2
    assert (place.statuses(), place.leftovers()) == ([], [])


def test_without_a_bundle_it_is_trained(place):
    assert place.run(model=LooseStatistics(), export=False).status == "FINISHED"


class OfZeros(Net):
    def __init__(self) -> None:
        super().__init__()
        for weight in self.parameters():
            nn.init.zeros_(weight)


class OfNan(Net):
    """Not a number until it has learned."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((3,), -1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) * self.scale.log()


class OfHugeNumbers(Net):
    """So large that what is rounding there would be wrong elsewhere: rows alone and in a batch differ a lot."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * 1e30)


class KeepsAConstant(Net):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.tensor(2.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.scale)


class KeepsALoss(Net):
    def forward(self, x: Tensor) -> Tensor:
        self.balance = self.net[0].weight.square().mean() + x.detach().mean()
        return self.net(x)


class RaisesInTraining(Net):
    """It wants to know the epoch, say."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not hasattr(self, "epoch"):
            raise RuntimeError("no epoch")
        return self.net(x)


def with_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.Dropout(), nn.Linear(12, 3))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(12), nn.ReLU(), nn.LazyLinear(3))


def planned(model, **fields):
    """Built and checked as a run is, and not trained."""
    values, registry = take_over({"model": model, "dataset": toy(), **fields}, default_registry())
    return make_plan(check_request(load_config(None, [], {"epochs": 1, **values}), registry, writes=False))


SOUND = [OfZeros, OfNan, OfHugeNumbers, KeepsAConstant, KeepsALoss, RaisesInTraining, with_norm, lazy]


@pytest.mark.parametrize("make", SOUND)
def test_the_numbers_of_an_untrained_network_are_not_judged(make):
    assert planned(make).config.export


RESTRUCTURING = [name for name in REGULARIZERS if "structure" in derive_phases(load_target(of(name)))]


@pytest.mark.parametrize("name", RESTRUCTURING)
def test_what_regularizers_put_in_for_training_is_no_reason_to_refuse(name):
    assert planned(**fields(name)).config.reg


def test_a_plan_refuses_what_a_run_would(place):
    with pytest.raises(ModelError, match="nothing was trained"):
        planned(AlwaysRandom)
    assert planned(AlwaysRandom, export=False).order == ()


def test_the_command_line_says_so_with_exit_code_2(place, capsys):
    (place.folder / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = nn.Linear(64, 10)\n\n"
        "    def forward(self, x):\n        x = self.net(x.flatten(1))\n        return x if x.sum() > 0 else -x\n"
    )
    said = Terminal(capsys)("run", "--model", "./net.py:Net", "--dataset", "digits", "--json")
    assert said.code == 2, said
    error = said.document["error"]
    assert error["type"] == "ModelError"
    assert "net.py:12" in error["message"]
    assert place.statuses() == []


def test_cross_validation_refuses_before_its_first_run(place):
    fields = {"dataset": toy(), "grid": ["reg=none,l2"], "folds": 2, "epochs": 1, "batch_size": 16}
    with pytest.raises(ModelError, match="nothing was trained"):
        regplug.cross_validate(model=Branches(), **fields)
    assert place.statuses() == []
    result = regplug.cross_validate(model=Branches(), export=False, **fields)
    assert result.winner.status == "FINISHED"


def test_a_sweep_refuses_a_winner_that_cannot_be_exported_unless_it_exports_nothing(place):
    fields = {"model": Branches(), "dataset": toy(), "seeds": 2, "epochs": 1, "batch_size": 16}
    with pytest.raises(ModelError, match="nothing was trained"):
        regplug.sweep(**fields)
    assert place.statuses() == []
    result = regplug.sweep(**fields, export=False)
    assert (result.failed, result.winner) == ((), None)


def test_a_lazy_model_starts_from_the_runs_seed(place):
    torch.manual_seed(1)
    first = place.run(model=lazy, epochs=1)
    torch.manual_seed(2)
    assert place.run(model=lazy, epochs=1).state_sha256 == first.state_sha256


def test_a_module_of_the_callers_own_with_computed_weights_is_trained_as_a_copy(place):
    network = Net()
    nn.utils.prune.l1_unstructured(network.net[0], "weight", 0.5)
    mask = network.net[0].weight_mask.clone()
    trained = place.run(model=network, epochs=1, export=True, format=["torchscript"])
    assert trained.verification.passed
    assert torch.equal(trained.model.net[0].weight_mask, mask)


def test_a_model_that_answers_in_bfloat16_is_refused_in_words(place):
    class Autocast(Net):
        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.net(x)

    with pytest.raises(RequestError, match=r"returns torch.bfloat16(.|\n)*\.float\(\)"):
        place.run(model=Autocast())
