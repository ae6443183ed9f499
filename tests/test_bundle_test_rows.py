"""Which rows a file is run on: all test rows and a large batch as deployed, few rows without optimisation or again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_bundles import image_request, onnx_only
from torch import Tensor, nn
from torch.export import Dim
from torch.nn import functional

from regplug.api import NoParams
from regplug.bundles import mixed
from regplug.bundles.cases import REAL, VARIED, Reference
from regplug.bundles.formats import Array, Captured, Format, Loss
from regplug.bundles.mixed import MIXED_SIZES, Pool, mixed_batches
from regplug.bundles.numbers import check_run
from regplug.bundles.proving import test_rows_for as rows_for
from regplug.bundles.test_set import TestData, check_test
from regplug.bundles.writing import write_bundle
from regplug.errors import RegplugError
from regplug_formats import OnnxParams
from regplug_formats.onnx_format import Onnx
from regplug_formats.torchscript import TorchScript


def numbers(count: int) -> Array:
    return np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)


def known() -> list[Reference]:
    rows = numbers(97)
    return [
        Reference(case=case, inputs=part, outputs=part * 2, tolerance=1e-6)
        for case, part in ((REAL, rows[:64]), (VARIED, rows[64:]))
    ]


def data(count: int) -> TestData:
    rows = numbers(count) + 3
    return TestData(inputs=rows, targets=rows, outputs=rows * 2, tolerance=1e-6)


def beyond(limit: int) -> Callable[[Array], Array]:
    """A file that is wrong in batches of more rows than that."""
    return lambda rows: rows * 2 + (0.01 if len(rows) > limit else 0.0)


@pytest.mark.parametrize("count", [1, 90, 934, 1500])
def test_known_rows_among_the_test_rows_show_what_is_wrong_in_a_large_batch(count: int) -> None:
    pool, test = Pool.of(known()), data(count)
    largest = min(97 + count, 1031)
    assert [check for check in check_test(beyond(largest), test, pool, decision=None) if not check.passed] == []
    failed = {check.name for check in check_test(beyond(largest - 1), test, pool, decision=None) if not check.passed}
    assert failed == {"among_test_rows", "test_mse"}


def test_large_rows_are_run_in_smaller_batches() -> None:
    sizes: list[int] = []

    def run(rows: Array) -> Array:
        sizes.append(len(rows))
        return rows[:, :2] * 2

    wide = np.zeros((97, 40_000), np.float32)
    pool = Pool(inputs=wide, outputs=wide[:, :2], tolerance=0.0, real_rows=64)
    rows = np.zeros((300, 40_000), np.float32)
    test = TestData(inputs=rows, targets=rows[:, :2], outputs=rows[:, :2], tolerance=0.0)
    assert all(check.passed for check in check_test(run, test, pool, decision=None))
    assert sizes == [211, 186]


@pytest.mark.parametrize(
    ("seconds", "optimised", "sizes"),
    [
        (1e-5, True, [1, 2, 7, 97, 1031]),
        (4e-4, True, [1, 2, 7, 97, 1031]),
        (1e-3, True, [1, 2, 7, 97, 257]),
        (1e-2, True, [1, 2, 7, 97]),
        (1e-5, False, [1, 2, 7, 97, 1031]),
        (4e-4, False, [1, 2, 7, 97]),
        (1e-2, False, [1, 2, 7]),
    ],
)
def test_the_large_mixed_batch_is_the_largest_that_is_fast_enough(
    seconds: float, optimised: bool, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(mixed.time, "thread_time", lambda: clock[0])

    def run(rows: Array) -> Array:
        clock[0] += seconds * len(rows)
        return rows * 2

    detail = {check.name: check.detail for check in check_run(run, "x", known(), decision=None, optimised=optimised)}
    assert detail["mixed_batches.x"].endswith(f"batches of {', '.join(map(str, sizes))} rows")


def test_the_model_is_run_in_a_batch_of_97_rows_however_slow_it_is() -> None:
    assert MIXED_SIZES[-1] == 97
    batches = mixed_batches(lambda rows: rows * 2, Pool.of(known()), most_s=0.0)
    assert [len(batch.rows) for batch in batches] == [*MIXED_SIZES]


def test_without_optimisation_only_the_first_rows_of_each_case_are_run() -> None:
    sizes: list[int] = []

    def run(rows: Array) -> Array:
        sizes.append(len(rows))
        return rows * 2

    cases = [replace(each, inputs=each.inputs[:, :1], outputs=each.outputs[:, :1]) for each in known()]
    check_run(run, "disabled", cases, decision=None, optimised=False, most_s=0.0)
    assert max(itertools.takewhile(lambda size: size <= 7, sizes)) == 7
    assert sum(size > 7 for size in sizes) <= 2


class Other(Onnx):
    """A format of its own, possibly with fewer bits."""

    def __init__(self, loss: Loss | None) -> None:
        super().__init__(OnnxParams())
        self.loss = loss


def test_further_files_are_evaluated_on_fewer_test_rows_unless_they_have_fewer_bits() -> None:
    small = Loss(relative_error=0.1, agreement=0.9, accuracy=0.1, mse=0.1)
    forms: list[Format] = [Other(small), Other(None), Other(None), Other(small)]
    formats = [(str(place), str(place), form) for place, form in enumerate(forms)]
    asked = [rows_for(form, formats, data(1000)) for form in forms]
    assert [len(each.inputs) for each in asked if each] == [1000, 1000, 256, 1000]
    assert rows_for(forms[2], formats, None) is None
    few = data(1000).spread(256)
    np.testing.assert_array_equal(few.inputs, data(1000).inputs[: 3 * 256 : 3])
    np.testing.assert_array_equal(few.outputs, few.inputs * 2)
    assert len(data(100).spread(256).inputs) == 100


class Branched(nn.Module):
    """Two branches with batch norms, on images from which each row's mean is subtracted."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
        self.right = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
        self.head = nn.Linear(4 * 36, 3)
        self.mean = nn.Buffer(torch.zeros(()), persistent=False)

    def centre(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3), keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x - self.centre(x)
        return self.head((self.left(x) + self.right(x)).relu().flatten(1))


class LeftInTraining(Branched):
    def forward(self, x: Tensor) -> Tensor:
        self.right[1].training = True
        return super().forward(x)


class ByBatchStatistics(Branched):
    """The same by hand, because torch.onnx writes such a batch norm with its running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        x = x - self.centre(x)
        right = self.right[0](x)
        variance, mean = torch.var_mean(right, (0, 2, 3), correction=0, keepdim=True)
        return self.head((self.left(x) + (right - mean) / (variance + 1e-5).sqrt()).relu().flatten(1))


class ChangesBeyond300Rows(Branched):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0.01 * (torch.arange(x.shape[0])[-1:] >= 300)


class BakedMean(Branched):
    def centre(self, x: Tensor) -> Tensor:
        return self.mean


class SwapsChannelsUnlessAlone(Branched):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.where(torch.arange(x.shape[0])[-1:, None, None, None] > 0, x.flip(1), x))


class RarelyDrops(Branched):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(super().forward(x), 1e-4, training=True)


ALWAYS_FAULTS = (ByBatchStatistics, ChangesBeyond300Rows, SwapsChannelsUnlessAlone, RarelyDrops)


def pictures(count: int) -> Array:
    return np.random.default_rng(1).integers(0, 256, (count, 2, 8, 8), np.uint8)


def network(kind: type[Branched] = Branched) -> Branched:
    torch.manual_seed(0)
    made = kind()
    made.mean.fill_(pictures(1).mean() / 255)
    with torch.no_grad():
        made.left(torch.from_numpy(pictures(64)) / 255)
    return made


def as_if(kind: type[Branched], form: type[Onnx] | type[TorchScript]) -> Format:
    """A format that writes another network than it is given."""

    class Faulty(form):  # type: ignore[valid-type, misc]
        def write(self, captured: Captured, path: Path, manifest: Any) -> None:
            captured.module.network.__class__ = kind
            batch = ({0: Dim("batch", min=1)},)
            program = torch.export.export(captured.module, (captured.example,), dynamic_shapes=batch)
            super().write(replace(captured, program=program), path, manifest)
            captured.module.network.__class__ = Branched

    return Faulty(OnnxParams() if form is Onnx else NoParams())


def exported(folder: Path, made: nn.Module, formats: Any) -> set[str]:
    """The names of the checks of a bundle."""
    test = (pictures(700), np.arange(700) % 3)
    request = image_request(made, samples=pictures(80), formats=formats, test=test)
    return {check.name for check in write_bundle(request, folder / "bundle").verification.checks}


@pytest.mark.slow
def test_a_sound_network_is_exported(tmp_path: Path) -> None:
    sound = [("first", "first.onnx", as_if(Branched, Onnx)), ("further", "further.ts", as_if(Branched, TorchScript))]
    made = exported(tmp_path, network(), sound)
    assert {"first.among_test_rows", "further.among_test_rows"} <= made


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LeftInTraining, *ALWAYS_FAULTS])
def test_a_network_with_a_fault_is_refused(kind: type[Branched], tmp_path: Path) -> None:
    with pytest.raises(RegplugError):
        exported(tmp_path, network(kind), onnx_only())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [BakedMean, *ALWAYS_FAULTS])
@pytest.mark.parametrize("at", [0, 1], ids=["first file", "further file"])
def test_a_file_with_a_fault_is_refused(kind: type[Branched], at: int, tmp_path: Path) -> None:
    forms = [as_if(Branched, TorchScript), as_if(kind, TorchScript)]
    forms = [as_if(kind, Onnx)] if at == 0 else forms
    formats = [(f"form{place}", ("model.onnx", "model.ts")[at] + str(place), form) for place, form in enumerate(forms)]
    with pytest.raises(RegplugError) as caught:
        exported(tmp_path, network(), formats)
    assert "depends on its batch" not in str(caught.value), "the network itself is sound"
    assert not list(tmp_path.iterdir())
