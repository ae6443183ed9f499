"""Every way in which a model is no function of its input has an error of its own that names the module and the fix."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from made_bundles import mlp, onnx_only, row_request, rows
from torch import Tensor, nn

from regplug.api import Task
from regplug.bundles.writing import write_bundle
from regplug.errors import ExportError, RegplugError, VerificationError


class AlwaysDrops(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class IgnoresItsMode(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rand(x.shape) > 0.3)


class StaysInTraining(nn.Dropout):
    def train(self, mode: bool = True) -> StaysInTraining:
        self.training = True
        return self


class RarelyRandom(nn.Module):
    """Equal on almost every repeat: only the graph shows it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + (torch.rand(1) > 1 - 1e-9)


class NormByHand(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0, correction=0) + 1e-3)


class CountsCalls(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x


class LooseStatistics(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(16)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() > -1e9 else x


class NormByStd(nn.Module):
    """One row alone has no spread: its answer is NaN."""

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x - x.mean(0)).square().mean(0).sqrt()


class FixedBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(2, 16)


class FixedBatchByExpand(nn.Module):
    """Takes every batch in torch, and is traced to the one it was traced with."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.zeros(int(torch.tensor(x.shape[0])), 16)


class LeavesForNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.tanh(x.detach().numpy()))


class Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + math.tanh(x[0, 0].item()) * 0)


class Unsupported(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.special.bessel_j1(x)


class Wide(nn.Module):
    """A convolution in float64, for which onnxruntime has no kernel."""

    def forward(self, x: Tensor) -> Tensor:
        wide = F.conv2d(x.double().view(-1, 1, 4, 4), torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1)
        return wide.flatten(1).float()


class RefusesNan(nn.Module):
    """By a branch on numbers, or by an operator that raises."""

    def __init__(self, branches: bool) -> None:
        super().__init__()
        self.branches = branches

    def forward(self, x: Tensor) -> Tensor:
        if self.branches and not torch.isfinite(x).all():
            raise ValueError("no NaN, please")
        return F.binary_cross_entropy(x.sigmoid(), torch.zeros_like(x), reduction="none")


class GivesTwo(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Overflows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / torch.zeros(())


def inside(planted: nn.Module) -> nn.Module:
    """A network in which the planted module is number 1."""
    return nn.Sequential(nn.Linear(4, 16), planted, nn.Linear(16, 3))


def poisoned() -> nn.Module:
    network = mlp()
    with torch.no_grad():
        network[4].weight[2, 3] = math.nan
    return network


def hooked() -> nn.Module:
    network = inside(nn.ReLU())
    network[1].register_forward_hook(lambda _m, _i, output: output + 0.1)
    return network


def remembers() -> nn.Module:
    network = inside(LooseStatistics())
    network(torch.randn(8, 4))
    return network


def with_lock() -> nn.Module:
    network = inside(nn.ReLU())
    network[1].busy = threading.Lock()
    return network


FAULTS: list[tuple[str, Callable[[], nn.Module], list[str]]] = [
    ("stays in training", lambda: inside(StaysInTraining(0.5)), ["module '1'", "StaysInTraining", "training mode"]),
    ("dropout always on", lambda: inside(AlwaysDrops()), ["module '1'", "AlwaysDrops", "random", "self.training"]),
    ("noise always on", lambda: inside(IgnoresItsMode()), ["module '1'", "IgnoresItsMode", "random"]),
    (
        "rare noise",
        lambda: inside(RarelyRandom()),
        ["module '1'", "test_bundle_faults.py:", "draws random numbers", "aten.rand"],
    ),
    ("no running statistics", lambda: inside(nn.BatchNorm1d(16, track_running_stats=False)), ["'1'", "track_running"]),
    ("batch norm by hand", lambda: inside(NormByHand()), ["module '1'", "NormByHand", "other rows"]),
    ("batch norm by hand, NaN alone", lambda: inside(NormByStd()), ["module '1'", "NormByStd", "other rows"]),
    ("writes a buffer", lambda: inside(CountsCalls()), ["1.calls", "Inference writes"]),
    ("loose statistics", remembers, ["module '1': mean", "register_buffer"]),
    (
        "branches on numbers",
        lambda: inside(Branches()),
        ["branches on tensor values", "test_bundle_faults.py:", "where"],
    ),
    ("fixed batch", lambda: inside(FixedBatch()), ["module '1'", "FixedBatch", "batch of 1 rows", "flatten"]),
    ("numpy inside", lambda: inside(LeavesForNumpy()), ["numpy", "test_bundle_faults.py:"]),
    ("bad weight", poisoned, ["1 of 128", "'4.weight'", "not finite"]),
    ("hook that matters", hooked, ["module '1'", "ReLU", "Hooks change", "handle.remove()"]),
    ("cannot be copied", with_lock, ["cannot be copied", "module '1': busy", "lock"]),
    ("two outputs", GivesTwo, ["a tuple of 2", "(batch, outputs)", "net(x)[0]"]),
    ("another width", lambda: nn.Linear(4, 5), ["gives 5 outputs", "3 class names: iris, rose, tulip"]),
    (
        "raises for NaN",
        lambda: inside(RefusesNan(False)),
        ["'nonfinite'", "RefusesNan", "between 0 and 1", "_faults.py:"],
    ),
    ("branches on NaN", lambda: inside(RefusesNan(True)), ["branches on tensor values", "_faults.py:", "torch.where"]),
    ("overflows", lambda: inside(Overflows()), ["on real inputs are NaN or infinite"]),
    ("unsupported operator", lambda: inside(Unsupported()), ["bessel_j1", "regplug_formats", "--format"]),
]


@pytest.mark.parametrize(("make", "words"), [pytest.param(make, words, id=name) for name, make, words in FAULTS])
def test_a_planted_fault_is_named_with_its_module_and_its_fix(
    make: Callable[[], nn.Module], words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ExportError) as caught:
        write_bundle(row_request(make(), formats=onnx_only()), tmp_path / "bundle")
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


def test_an_operator_without_a_kernel_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as caught:
        write_bundle(row_request(inside(Wide()), formats=onnx_only()), tmp_path / "bundle")
    assert "no kernel for Conv with this number type: compute it in float32" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("planted", [Reads, FixedBatchByExpand])
def test_a_number_taken_out_of_a_tensor_is_no_bundle(planted: type[nn.Module], tmp_path: Path) -> None:
    with pytest.raises(RegplugError):
        write_bundle(row_request(inside(planted())), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_statistics_that_no_state_holds_show_when_the_model_is_built_anew(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="not in the state_dict"):
        write_bundle(row_request(remembers(), rebuild=lambda: inside(LooseStatistics())), tmp_path / "bundle")


def test_a_structure_that_changed_in_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="does not fit a rebuilt model"):
        write_bundle(row_request(inside(nn.ReLU()), rebuild=mlp), tmp_path / "bundle")


def test_a_hook_that_changes_nothing_is_taken_off_the_copy_and_stays_on_the_original(tmp_path: Path) -> None:
    network, seen = inside(nn.ReLU()), []
    network[1].register_forward_hook(lambda *_: seen.append(1))
    bundle = write_bundle(row_request(network, formats=onnx_only()), tmp_path / "bundle")
    check = next(c for c in bundle.verification.checks if c.name == "model.hooks")
    assert check.detail == "removed 1 hooks without effect"
    before = len(seen)
    network(torch.randn(2, 4))
    assert len(seen) == before + 1


def test_a_wrong_width_of_a_regression_is_named(tmp_path: Path) -> None:
    task = Task(kind="regression", num_outputs=1)
    with pytest.raises(ExportError, match="gives 2 outputs for each row; this regression needs 1"):
        write_bundle(row_request(nn.Linear(4, 2), task=task, samples=rows()), tmp_path / "bundle")
