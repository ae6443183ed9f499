"""No row's answer may depend on its batch: asked of the model before it is exported, and of each file of a bundle."""

from __future__ import annotations

import shutil
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from batch_users import BATCH_USERS, BatchUser
from made_bundles import Normalize, onnx_only, row_request, rows
from made_stochastic import all_three
from rewriting import rewrite
from torch import Tensor, nn

from regplug.bundles.cases import BATCHES, REAL, VARIED, make_cases
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import ExportError, RequestError

NAMED_FIRST = (
    "adds the row before",
    "repeats the first row",
    "attends to all rows",
    "subtracts the mean",
    "turned round",
)
QUICK = (NAMED_FIRST[0], "zeros from row 64 on")
FORMATS = ("onnx", "torchscript", "pt2")


def using_its_batch(name: str) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), BatchUser(name), nn.Linear(16, 3))


def only(name: str) -> list[object]:
    return [form for form in all_three() if form[0] == name]


def assert_refused(name: str, count: int, form: str, folder: Path) -> None:
    request = row_request(using_its_batch(name), samples=rows(count), formats=only(form))
    with pytest.raises(ExportError, match=r"depends on its batch.*module '2' \(batch_users\.BatchUser\)"):
        write_bundle(request, folder / "bundle")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("count", [1, 80])
@pytest.mark.parametrize(("name", "form"), list(zip(BATCH_USERS, cycle(FORMATS), strict=False)))
def test_a_model_that_uses_its_batch_is_no_bundle_whatever_the_examples(
    name: str, form: str, count: int, tmp_path: Path
) -> None:
    assert_refused(name, count, form, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NAMED_FIRST)
def test_one_example_row_is_enough_to_refuse_it_in_each_format_alone(name: str, form: str, tmp_path: Path) -> None:
    assert_refused(name, 1, form, tmp_path)


@pytest.fixture(scope="module")
def of_one_row(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A proven bundle of a sound network that was given a single example row."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    request = row_request(network, samples=rows(1), formats=all_three())
    return write_bundle(request, tmp_path_factory.mktemp("one") / "bundle").path


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BATCH_USERS]
)
def test_verify_finds_each_planted_file_that_uses_its_batch(name: str, of_one_row: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(of_one_row, tmp_path / "bundle")
    rewrite(bundle, Normalize(5.0, 0.5), using_its_batch(name))
    failures = {check.name for check in verify_bundle(bundle).failures}
    wanted = {f"{form}.mixed_batches.{level}" for form in FORMATS for level in ("all", "disabled")}
    assert wanted <= failures


class SoundUntilRow(nn.Module):
    """The network of `of_one_row`, with zeros from a row on."""

    def __init__(self, network: nn.Module, row: int) -> None:
        super().__init__()
        self.network, self.row = network, row

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x) * (torch.arange(x.shape[0])[:, None] < self.row)


@pytest.mark.slow
@pytest.mark.parametrize("row", [64, 90, 500])
def test_verify_finds_a_file_that_is_right_on_small_batches(row: int, of_one_row: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    bundle = shutil.copytree(of_one_row, tmp_path / "bundle")
    rewrite(bundle, Normalize(5.0, 0.5), network)
    # Files that were written anew have other hashes than the card.
    assert {check.name for check in verify_bundle(bundle).failures} == {"bundle.readme"}
    rewrite(bundle, Normalize(5.0, 0.5), SoundUntilRow(network, row))
    failures = {check.name for check in verify_bundle(bundle).failures if not check.name.endswith("other_sizes")}
    wanted = {f"{form}.mixed_batches.{level}" for form in FORMATS for level in ("all", "disabled")}
    assert failures == wanted | {"bundle.readme"}


class LimitedBatch(nn.Module):
    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[0] > self.most:
            raise ValueError("too many rows")
        return x


@pytest.mark.parametrize("most", [64, 1000])
def test_a_model_that_raises_for_a_large_batch_is_refused(most: int, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 3), LimitedBatch(most))
    with pytest.raises(ExportError, match=r"cannot take a batch of 97 rows.*too many rows|batch <= 1000"):
        write_bundle(row_request(network, formats=onnx_only()), tmp_path / "bundle")


class BatchStatistics(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.batch_norm(x, None, None, training=True)


def test_a_norm_with_the_statistics_of_the_batch_is_told_to_use_running_ones(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 3), BatchStatistics())
    with pytest.raises(ExportError, match="cannot take a batch of 1 rows") as caught:
        write_bundle(row_request(network, formats=onnx_only()), tmp_path / "bundle")
    assert "running statistics with training=self.training" in caught.value.hint


@pytest.mark.parametrize(
    ("samples", "value_range"),
    [
        (np.full((1, 5), 3.0, np.float32), None),
        (np.zeros((1, 5), np.float32), None),
        (np.zeros((1, 5), np.float16), (-2.0, 2.0)),
        (rows(9), (0.0, 1.0)),
        (np.full((1, 1, 3, 3), 200, np.uint8), None),
        (np.zeros((2, 1, 3, 3), np.uint8), (0.0, 16.0)),
        (np.array([[3, 900, 5]]), None),
        (np.array([[3, 900, 5], [4, 7, 5]], np.int32), None),
        (np.array([[1, 2]], np.int8), (0.0, 1000.0)),
        (np.array([[2**62, -(2**62)]]), None),
        (np.zeros((1, 6), bool), None),
        (np.array([[3e38, -3e38]], np.float32), (-3.4e38, 3.4e38)),
    ],
)
def test_varied_rows_differ_and_are_of_the_declared_range_or_of_what_was_seen(
    samples: np.ndarray, value_range: tuple[float, float] | None
) -> None:
    cases = make_cases(samples, value_range)
    real, varied = cases[REAL], cases[VARIED]
    assert (varied.dtype, varied.shape) == (samples.dtype, (BATCHES[-1] - len(real), *samples.shape[1:]))
    assert len(np.unique(varied.reshape(len(varied), -1), axis=0)) > 3
    assert np.isfinite(varied).all()
    np.testing.assert_array_equal(make_cases(real, value_range)[VARIED], varied)
    low, high = value_range or (0, 255)
    if value_range is not None or samples.dtype == np.uint8:
        assert varied[::2].min() >= min(low, real.min())
        assert varied[::2].max() <= max(high, real.max())
    elif samples.dtype.kind == "i" and len(samples) > 1:
        assert all(np.isin(varied[:, place], samples[:, place]).all() for place in range(samples.shape[1]))


def test_examples_that_say_nothing_of_their_range_are_asked_to_differ(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 3))
    request = row_request(
        network, samples=np.zeros((5, 4), np.int64), preprocess=nn.Identity(), formats=only("torchscript")
    )
    with pytest.raises(RequestError, match="at least two different real inputs"):
        write_bundle(request, tmp_path / "bundle")
