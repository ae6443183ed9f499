"""A bundle whose dropout stays live: refused or proven, by checks of its own; what it says and how it answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from architectures import Transformer
from made_bundles import image_request, onnx_only, row_request, rows
from made_stochastic import all_three, network
from torch import Tensor, nn

from regplug.api import Task
from regplug.bundles.describe import inspect_bundle
from regplug.bundles.layout import read_manifest
from regplug.bundles.passes import mean_and_spread
from regplug.bundles.predict import predict
from regplug.bundles.stochastic.record import COPIES, RUNS
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import ExportError, RegplugError, RequestError
from regplug_formats import OnnxParams
from regplug_formats.onnx_small import OnnxFp16, OnnxInt8

pytestmark = pytest.mark.slow

CHECKS = {
    "noise_off.numbers", "noise_given", "layers_live", "rates", "masks", "finite", "batches", "repeats_differ",
    "rows_differ", "rows_independent", "mean", "spread",
}  # fmt: skip


def test_a_stochastic_bundle_has_its_own_checks_at_export_and_when_it_is_verified(live_bundle: Path) -> None:
    at_export = json.loads((live_bundle / "verification.json").read_text())["checks"]
    report = verify_bundle(live_bundle)
    assert report.passed, report.failures
    for names in ({check["name"] for check in at_export}, {check.name for check in report.checks}):
        for form in ("onnx", "torchscript", "pt2"):
            for level in ("all", "disabled"):
                wanted = {f"{form}.{name}.{level}" for name in CHECKS - {"noise_off.numbers"}}
                assert wanted | {f"{form}.noise_off.numbers.{level}.real"} <= names
        assert "onnx.clean_process" in names
        assert not [name for name in names if name.startswith("onnx.repeat.") or name == "onnx.no_random_node"]
    assert {"model.live_dropout", "model.live_repeats_differ", "onnx.noise_off.test_accuracy"} <= {
        check["name"] for check in at_export
    }


def test_the_manifest_says_what_is_live_and_so_does_inspect(live_bundle: Path) -> None:
    part = read_manifest(live_bundle)["stochastic"]
    assert part == {
        "kind": "mc_dropout",
        "layers": [
            {"name": "2", "kind": "Dropout", "rate": 0.4, "mask": ["batch", 24]},
            {"name": "5", "kind": "Dropout", "rate": 0.25, "mask": ["batch", 16]},
        ],
        "not_live": [],
        "passes": RUNS * COPIES,
    }
    text = "\n".join(inspect_bundle(live_bundle))
    assert "MC dropout, outputs differ each time: 2 (Dropout, p=0.4), 5 (Dropout, p=0.25)" in text
    assert "without its noise" in text


def test_an_ordinary_bundle_says_that_it_is_not_stochastic(tmp_path: Path) -> None:
    bundle = write_bundle(row_request(network(), formats=onnx_only()), tmp_path / "bundle")
    assert read_manifest(bundle.path)["stochastic"] is None


def test_export_leaves_torchs_state_and_the_network_as_they_were(tmp_path: Path) -> None:
    mine, before = network().train(), torch.get_rng_state()
    fast = torch.backends.mha.get_fastpath_enabled()
    write_bundle(row_request(mine, stochastic=True, formats=onnx_only()), tmp_path / "bundle")
    assert [type(part) for part in mine] == [type(part) for part in network()]
    assert all(part.training for part in mine.modules())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.equal(torch.get_rng_state(), before)


def images_of(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), *middle, nn.Flatten(), nn.Linear(12 * 36, 3))


class Twice(nn.Module):
    """One layer called twice on one input, in place, and added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 16), nn.Linear(16, 3)
        self.drop, self.in_place = nn.Dropout(0.5), nn.Dropout(0.2, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        both = self.drop(h) + self.drop(h)
        changed = self.in_place(both)
        return self.last(both + changed)


class Steps(nn.Module):
    """A transformer that takes its steps first: the batch is the masks' second axis."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(6, 12), nn.Linear(12, 3)
        self.block = nn.TransformerEncoderLayer(12, 2, 24, dropout=0.2)

    def forward(self, x_BTF: Tensor) -> Tensor:
        return self.head(self.block(self.embed(x_BTF).transpose(0, 1)).mean(0))


@pytest.mark.parametrize(
    ("make", "masks"),
    [
        (lambda: images_of(nn.Dropout2d(0.3)), [["batch", 12, 1, 1]]),
        (lambda: images_of(nn.Flatten(2), nn.Dropout1d(0.3)), [["batch", 12, 1]]),
        (lambda: images_of(nn.Flatten(), nn.Dropout1d(0.3)), [["batch", 1]]),
        (lambda: images_of(nn.SELU(), nn.AlphaDropout(0.2)), [["batch", 12, 6, 6]]),
        (lambda: images_of(nn.SELU(), nn.FeatureAlphaDropout(0.2), nn.Dropout(0)), [["batch", 12, 1, 1]]),
    ],
    ids=["channels", "channels of one axis", "whole rows", "alpha", "alpha of channels"],
)
def test_every_kind_of_torchs_dropout_is_live(make: Callable[[], nn.Module], masks: list[Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = write_bundle(image_request(make(), stochastic=True), tmp_path / "bundle").path
    assert [layer["mask"] for layer in read_manifest(bundle)["stochastic"]["layers"]] == masks
    assert verify_bundle(bundle).passed


def test_each_call_of_a_layer_draws_by_itself_and_a_change_in_place_is_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bundle = write_bundle(row_request(Twice(), stochastic=True, formats=all_three()), tmp_path / "bundle").path
    assert [layer["name"] for layer in read_manifest(bundle)["stochastic"]["layers"]] == ["drop", "drop", "in_place"]


@pytest.mark.parametrize(("make", "axis"), [(Transformer, 0), (Steps, 1)])
def test_a_transformers_dropout_is_live_though_its_fused_path_never_calls_it(
    make: Callable[[], nn.Module], axis: int, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    net, width = make(), 4 - axis
    request = row_request(
        net, stochastic=True, layout="array", formats=all_three(), task=Task(kind="classification", num_outputs=width),
        samples=np.random.default_rng(0).normal(5, 2, (64, 5, 6)).astype(np.float32),
    )  # fmt: skip
    bundle = write_bundle(request, tmp_path / "bundle").path
    part = read_manifest(bundle)["stochastic"]
    assert [layer["name"] for layer in part["layers"]] == ["block.dropout1", "block.dropout", "block.dropout2"]
    assert part["not_live"] == ["block.self_attn"]
    assert [layer["mask"].index("batch") for layer in part["layers"]] == [axis] * 3
    assert verify_bundle(bundle).passed
    assert "not live: block.self_attn" in "\n".join(inspect_bundle(bundle))


def test_a_regression_of_flattened_steps_has_masks_that_hold_several_of_each_row(tmp_path: Path) -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2))
            self.head = nn.Linear(40, 2)

        def forward(self, x_BTF: Tensor) -> Tensor:
            return self.head(self.body(x_BTF.flatten(0, 1)).unflatten(0, (-1, 5)).flatten(1))

    torch.manual_seed(0)
    samples = np.random.default_rng(0).normal(5, 2, (64, 5, 6)).astype(np.float32)
    task = Task(kind="regression", num_outputs=2)
    request = row_request(Flat(), stochastic=True, layout="array", samples=samples, task=task, formats=onnx_only())
    bundle = write_bundle(request, tmp_path / "bundle").path
    assert read_manifest(bundle)["stochastic"]["layers"][0]["mask"] == ["5*batch", 8]
    np.save(tmp_path / "x.npy", samples[:3])
    answer = predict(bundle, [tmp_path / "x.npy"], passes=5)
    assert [(len(row.values), len(row.spread)) for row in answer.rows] == [(2, 2)] * 3
    assert set(answer.as_json()["predictions"][0]) == {"source", "row", "values", "spread"}


def test_what_is_random_in_training_by_other_means_is_told_however_rarely_it_is(tmp_path: Path) -> None:
    class Rarely(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 1e-6, self.training)

    net = nn.Sequential(network(), nn.BatchNorm1d(3), Rarely())
    bundle = write_bundle(row_request(net, stochastic=True, formats=onnx_only()), tmp_path / "bundle")
    assert read_manifest(bundle.path)["stochastic"]["not_live"] == ["2"]
    told = next(check for check in bundle.verification.checks if check.name == "model.other_noise")
    assert "not live" in told.detail


class OwnForward(nn.Dropout):
    def forward(self, x: Tensor) -> Tensor:
        return x


def refused(net: nn.Module, **more: Any) -> Any:
    return row_request(net, stochastic=True, **more)


SMALL = [("onnx_fp16", "model.fp16.onnx", OnnxFp16(OnnxParams())), ("onnx_int8", "a.onnx", OnnxInt8(OnnxParams()))]


@pytest.mark.parametrize(
    ("net", "more", "error", "words"),
    [
        (nn.Linear(4, 3), {}, RequestError, "no dropout with a rate above 0"),
        (nn.Sequential(nn.Linear(4, 3), nn.Dropout(0)), {}, RequestError, "no dropout with a rate above 0"),
        (nn.Sequential(OwnForward(0.5), nn.Linear(4, 3)), {}, RequestError, "no dropout with a rate above 0"),
        (nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 3)), {}, RequestError, "drops everything"),
        (network(), {"formats": SMALL}, RequestError, "onnx_fp16, onnx_int8 does not support live dropout"),
        (nn.Sequential(nn.Dropout(1e-5), nn.Linear(4, 3)), {}, ExportError, "too little noise to verify"),
    ],
)
def test_what_cannot_be_stochastic_is_refused(
    net: nn.Module, more: dict[str, Any], error: type[RegplugError], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        write_bundle(refused(net, **{"formats": onnx_only(), **more}), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_mask_that_is_not_drawn_for_each_row_is_refused(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.last = nn.Dropout(0.5), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x * self.drop(torch.ones(4)))

    with pytest.raises(ExportError, match="not drawn separately for each row"):
        write_bundle(refused(Shared(), formats=onnx_only()), tmp_path / "bundle")


class StaysOn(nn.Dropout):
    def train(self, mode: bool = True) -> StaysOn:
        self.training = True
        return self


class AlwaysDrops(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


class AlwaysNoisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.rand_like(x)


@pytest.mark.parametrize(("noise", "is_named"), [(StaysOn(0.5), True), (AlwaysDrops(), True), (AlwaysNoisy(), False)])
def test_live_noise_without_the_wish_stays_refused_and_the_hint_names_the_wish_where_it_is_dropout(
    noise: nn.Module, is_named: bool, tmp_path: Path
) -> None:
    with pytest.raises(ExportError) as caught:
        write_bundle(row_request(nn.Sequential(noise, nn.Linear(4, 3)), formats=onnx_only()), tmp_path / "bundle")
    assert ("--stochastic" in caught.value.hint) == is_named


def test_dropout_that_never_leaves_training_is_what_is_asked_for(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 16), StaysOn(0.5), nn.Linear(16, 3))
    assert write_bundle(refused(net, formats=onnx_only()), tmp_path / "bundle").verification.passed


def test_noise_that_is_no_dropout_is_refused_also_when_dropout_is_wanted(tmp_path: Path) -> None:
    for noise in (AlwaysNoisy(), AlwaysDrops()):
        with pytest.raises(ExportError, match="random in evaluation mode"):
            write_bundle(refused(nn.Sequential(noise, network()), formats=onnx_only()), tmp_path / "bundle")


def test_the_answer_is_the_mean_over_passes_with_its_spread(live_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows(40))
    few, many = (predict(live_bundle, [tmp_path / "x.npy"], passes=count) for count in (None, 400))
    assert (few.passes, many.passes) == (20, 400)
    assert few.as_json()["passes"] == 20
    assert "20 passes" in few.notes[0]
    net = network()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        x = (torch.from_numpy(rows(40)) - 5) * 0.5
        passes = torch.stack([net.train()(x).softmax(1) for _ in range(400)]).numpy()
    mean = {name: passes.mean(0)[:, place] for place, name in enumerate(("iris", "rose", "tulip"))}
    for row in many.rows:
        for (label, probability), spread in zip(row.top, row.spread, strict=True):
            assert probability == pytest.approx(mean[label][row.row], abs=0.08)
            assert 0 < spread < 0.6
    assert many.rows[0].as_json()["spread"] == many.rows[0].spread[0]


def test_passes_that_mean_nothing_are_refused(live_bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows(2))
    with pytest.raises(RequestError, match="gives no spread"):
        predict(live_bundle, [tmp_path / "x.npy"], passes=1)
    quiet = write_bundle(row_request(network(), formats=onnx_only()), tmp_path / "bundle").path
    with pytest.raises(RequestError, match="all passes give the same output"):
        predict(quiet, [tmp_path / "x.npy"], passes=20)


def test_mean_and_spread_are_numpys() -> None:
    answers = np.random.default_rng(0).normal(1e6, 1, (7, 5, 3))
    given = iter(answers)
    mean, spread = mean_and_spread(lambda rows: next(given), np.zeros((5, 4)), 7)
    np.testing.assert_allclose(mean, answers.mean(0))
    np.testing.assert_allclose(spread, answers.std(0, ddof=1), rtol=1e-6)
