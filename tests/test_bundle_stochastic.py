"""A bundle whose dropout stays live: refused or proven, by checks of its own that find what was changed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from architectures import Transformer
from made_bundles import both, image_request, onnx_only, row_request, rows
from onnx import helper, numpy_helper
from torch import Tensor, nn

from regplug.api import NoParams, Task
from regplug.bundles.describe import inspect_bundle
from regplug.bundles.formats import Format
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.bundles.predict import mean_and_spread, predict
from regplug.bundles.report import Check
from regplug.bundles.stochastic import checks
from regplug.bundles.stochastic.layers import ALPHA, KINDS, LiveDropout, Noise
from regplug.bundles.stochastic.record import COPIES, RUNS
from regplug.bundles.stochastic.uniforms import uniforms
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import ExportError, RegplugError, RequestError
from regplug_formats import OnnxParams
from regplug_formats.onnx_small import OnnxFp16, OnnxInt8
from regplug_formats.pt2 import Pt2

CHECKS = {
    "noise_off.numbers", "noise_given", "layers_live", "rates", "masks", "finite", "batches", "repeats_differ",
    "rows_differ", "rows_independent", "mean", "spread",
}  # fmt: skip


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 24), nn.ReLU(), nn.Dropout(0.4), nn.Linear(24, 16), nn.Tanh(), nn.Dropout(0.25), nn.Linear(16, 3)
    )


def all_three() -> list[tuple[str, str, Format]]:
    return [*both(), ("pt2", "model.pt2", Pt2(NoParams()))]


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = row_request(network(), stochastic=True, formats=all_three(), test=(rows(90), np.arange(90) % 3))
    return write_bundle(request, tmp_path_factory.mktemp("stochastic") / "bundle").path


@pytest.fixture
def bundle(proven: Path, tmp_path: Path) -> Path:
    return shutil.copytree(proven, tmp_path / "bundle")


def failed(bundle: Path) -> set[str]:
    return {check.name for check in verify_bundle(bundle).failures}


def test_a_stochastic_bundle_has_its_own_checks_at_export_and_when_it_is_verified(proven: Path) -> None:
    at_export = json.loads((proven / "verification.json").read_text())["checks"]
    report = verify_bundle(proven)
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


def test_the_manifest_says_what_is_live_and_so_does_inspect(proven: Path) -> None:
    part = read_manifest(proven)["stochastic"]
    assert part == {
        "kind": "mc_dropout",
        "layers": [
            {"name": "2", "kind": "Dropout", "rate": 0.4, "mask": ["batch", 24]},
            {"name": "5", "kind": "Dropout", "rate": 0.25, "mask": ["batch", 16]},
        ],
        "not_live": [],
        "passes": RUNS * COPIES,
    }
    text = "\n".join(inspect_bundle(proven))
    assert "MC dropout, repeats differ: 2 (Dropout, p=0.4), 5 (Dropout, p=0.25)" in text
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


@pytest.mark.slow
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
        (nn.Linear(4, 3), {}, RequestError, "no dropout that drops anything"),
        (nn.Sequential(nn.Linear(4, 3), nn.Dropout(0)), {}, RequestError, "no dropout that drops anything"),
        (nn.Sequential(OwnForward(0.5), nn.Linear(4, 3)), {}, RequestError, "no dropout that drops anything"),
        (nn.Sequential(nn.Dropout(1.0), nn.Linear(4, 3)), {}, RequestError, "drops everything"),
        (network(), {"formats": SMALL}, RequestError, "onnx_fp16, onnx_int8 cannot hold live dropout"),
        (nn.Sequential(nn.Dropout(1e-5), nn.Linear(4, 3)), {}, ExportError, "too little noise to prove"),
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

    with pytest.raises(ExportError, match="not drawn anew for each row"):
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


def nodes_of(model: Any, kind: str) -> list[Any]:
    return [node for node in model.graph.node if node.op_type == kind]


def constant_behind(model: Any, drawn: str, steps: int) -> Any:
    """The constant of the node so many steps behind a draw."""
    name = drawn
    for _ in range(steps):
        node = next(node for node in model.graph.node if name in node.input)
        name = node.output[0]
    return next(item for item in model.graph.initializer if item.name in node.input)


def rate_altered(model: Any) -> None:
    constant = constant_behind(model, nodes_of(model, "RandomUniformLike")[0].output[0], 1)
    constant.CopyFrom(numpy_helper.from_array(np.float32(0.41).reshape(()), constant.name))


def scale_missing(model: Any) -> None:
    constant = constant_behind(model, nodes_of(model, "RandomUniformLike")[1].output[0], 3)
    constant.CopyFrom(numpy_helper.from_array(np.float32(1).reshape(()), constant.name))


def mask_shared(model: Any) -> None:
    """One mask for all rows of a batch."""
    node = nodes_of(model, "RandomUniformLike")[0]
    for name, value in (("from", 0), ("to", 1), ("axis", 0)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    first = helper.make_node("Slice", [node.input[0], "from", "to", "axis"], ["first_row"])
    node.input[0] = "first_row"
    place = next(i for i, one in enumerate(model.graph.node) if one.output == node.output)
    model.graph.node.insert(place, first)


def layer_not_live(model: Any) -> None:
    """The second dropout as a runtime's optimiser would have it: the identity."""
    draw = nodes_of(model, "RandomUniformLike")[1]
    name, seen = draw.output[0], [draw]
    while True:
        node = next(node for node in model.graph.node if name in node.input)
        seen.append(node)
        if node.op_type == "Mul" and len(seen) == 5:
            break
        name = node.output[0]
    data = next(value for value in seen[-1].input if value != seen[-2].output[0])
    kept = [node for node in model.graph.node if node not in seen]
    for node in kept:
        node.input[:] = [data if value == seen[-1].output[0] else value for value in node.input]
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def seed_planted(model: Any) -> None:
    nodes_of(model, "RandomUniformLike")[0].attribute.append(helper.make_attribute("seed", 1.0))


def range_altered(model: Any) -> None:
    for attribute in nodes_of(model, "RandomUniformLike")[0].attribute:
        if attribute.name == "high":
            attribute.f = 1.2


def normal_numbers(model: Any) -> None:
    node = nodes_of(model, "RandomUniformLike")[0]
    del node.attribute[:]
    node.op_type = "RandomNormalLike"


def weight_nudged(model: Any) -> None:
    weight = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    array = numpy_helper.to_array(weight).copy()
    array.flat[0] += 1e-4
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))


MUTATIONS: list[tuple[Callable[[Any], None], set[str]]] = [
    (rate_altered, {"rates", "noise_given"}),
    (scale_missing, {"noise_given", "mean"}),
    (mask_shared, {"masks", "rows_independent"}),
    (layer_not_live, {"layers_live", "noise_given", "spread"}),
    (range_altered, {"masks"}),
    (weight_nudged, {"noise_off.numbers", "noise_given"}),
]


@pytest.mark.parametrize(("plant", "names"), MUTATIONS, ids=[plant.__name__ for plant, _ in MUTATIONS])
def test_a_fault_planted_into_the_noise_is_found_though_checksums_hold(
    bundle: Path, plant: Callable[[Any], None], names: set[str]
) -> None:
    model = onnx.load(bundle / "model.onnx")
    plant(model)
    onnx.save(model, bundle / "model.onnx")
    write_checksums(bundle)
    found = failed(bundle)
    for level in ("all", "disabled"):
        told = {f"onnx.{name}.{level}" for name in names - {"noise_off.numbers"}}
        told |= {f"onnx.{name}.{level}.real" for name in names & {"noise_off.numbers"}}
        assert told <= found


@pytest.mark.parametrize("plant", [seed_planted, range_altered, normal_numbers, layer_not_live])
def test_a_graph_that_draws_otherwise_is_found_without_running_it(bundle: Path, plant: Callable[[Any], None]) -> None:
    model = onnx.load(bundle / "model.onnx")
    plant(model)
    onnx.save(model, bundle / "model.onnx")
    write_checksums(bundle)
    assert "onnx.random_nodes" in failed(bundle)


@pytest.mark.parametrize("other", ["quiet", "other rate", "fewer layers"])
def test_torchs_files_are_held_to_the_same(bundle: Path, other: str, tmp_path: Path) -> None:
    net = network()
    if other == "other rate":
        net[2].p = 0.41
    if other == "fewer layers":
        net[5] = nn.Identity()
    formats = [form for form in all_three() if form[0] != "onnx"]
    made = write_bundle(row_request(net, stochastic=other != "quiet", formats=formats), tmp_path / "other").path
    for name in ("model.ts", "model.pt2"):
        shutil.copy(made / name, bundle / name)
    write_checksums(bundle)
    found = failed(bundle)
    wanted = {"quiet": "layers_live", "other rate": "rates", "fewer layers": "layers_live"}[other]
    for form in ("torchscript", "pt2"):
        assert f"{form}.{wanted}.all" in found
        assert f"{form}.noise_off.numbers.all.real" not in found


def test_draws_that_are_lost_are_told(bundle: Path) -> None:
    with np.load(bundle / "sample_output.npz") as outputs:
        kept = {name: outputs[name] for name in outputs.files if not name.endswith(".live")}
    np.savez(bundle / "sample_output.npz", **kept)
    write_checksums(bundle)
    assert "onnx.samples" in failed(bundle)


def test_the_answer_is_the_mean_over_passes_with_its_spread(proven: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows(40))
    few, many = (predict(proven, [tmp_path / "x.npy"], passes=count) for count in (None, 400))
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


def test_passes_that_mean_nothing_are_refused(proven: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows(2))
    with pytest.raises(RequestError, match="gives no spread"):
        predict(proven, [tmp_path / "x.npy"], passes=1)
    quiet = write_bundle(row_request(network(), formats=onnx_only()), tmp_path / "bundle").path
    with pytest.raises(RequestError, match="do not differ from pass to pass"):
        predict(quiet, [tmp_path / "x.npy"], passes=20)


def test_mean_and_spread_are_numpys() -> None:
    answers = np.random.default_rng(0).normal(1e6, 1, (7, 5, 3))
    given = iter(answers)
    mean, spread = mean_and_spread(lambda rows: next(given), np.zeros((5, 4)), 7)
    np.testing.assert_allclose(mean, answers.mean(0))
    np.testing.assert_allclose(spread, answers.std(0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_a_live_layer_has_the_distribution_of_torchs(kind: type[nn.Module], rate: float) -> None:
    shape = (400, 6, 5, 5, 5) if kind is nn.Dropout3d else (400, 6, 25) if kind is nn.Dropout1d else (400, 6, 5, 5)
    module, noise = kind(rate).train(), Noise()
    live, x = LiveDropout(module, "layer", noise), torch.full(shape, 2.0)
    assert torch.equal(live(x), x)
    with torch.random.fork_rng(devices=[]), noise.live():
        torch.manual_seed(0)
        ours, theirs = live(x), module(x)
    values = [torch.unique((one * 1e4).round()) for one in (ours, theirs)]
    assert torch.equal(*values)
    assert len(values[0]) == 2
    whole = kind not in (nn.Dropout, nn.AlphaDropout)
    entries = ours[:, :, *[0] * (len(shape) - 2)] if whole else ours
    assert not whole or torch.equal(ours.flatten(2).min(2)[0], ours.flatten(2).max(2)[0])
    share = float((entries == entries.min()).double().mean()) if rate < 0.5 else None
    if share is not None:
        assert share == pytest.approx(rate, abs=5 * math.sqrt(rate * (1 - rate) / entries.numel()))


def test_alpha_dropout_keeps_mean_and_variance_of_standard_numbers() -> None:
    noise = Noise()
    live, x = LiveDropout(nn.AlphaDropout(0.3), "layer", noise), torch.randn(400_000)
    with noise.live([torch.from_numpy(uniforms(0, (400_000,)))]):
        y = live(x)
    assert float(y.mean()) == pytest.approx(0, abs=0.01)
    assert float(y.var()) == pytest.approx(1, abs=0.02)
    scale = 1 / math.sqrt((ALPHA**2 * 0.3 + 1) * 0.7)
    assert float(y[torch.from_numpy(uniforms(0, (400_000,))) < 0.3][0]) == pytest.approx(scale * ALPHA * (0.3 - 1))


def test_given_numbers_are_uniform_and_those_of_one_layer_are_not_those_of_another() -> None:
    one, other = uniforms(0, (100_000,)), uniforms(1, (100_000,))
    for numbers in (one, other):
        counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 49 + 5 * math.sqrt(98)
    assert abs(np.corrcoef(one, other)[0, 1]) < 5 / math.sqrt(100_000)


def draws_of(kind: str, generator: np.random.Generator) -> np.ndarray:
    """512 passes of two rows and four outputs: the sum of a few dropped units, the rarest case included."""
    if kind == "rare":
        return (generator.random((512, 2, 4)) < 0.05).astype(np.float64)
    if kind == "skewed":
        return ((generator.random((512, 2, 4, 6)) > 0.9) * np.array([8, 4, 2, 1, 1, 1])).sum(-1).astype(np.float64)
    return (generator.random((512, 2, 4, 20)) > 0.5).sum(-1).astype(np.float64)


@pytest.mark.parametrize("kind", ["rare", "skewed", "many"])
def test_equal_distributions_raise_no_alarm_in_two_thousand_comparisons(kind: str) -> None:
    generator = np.random.default_rng(0)
    alarms: list[Check] = []
    for _ in range(2000):
        one, other = draws_of(kind, generator), draws_of(kind, generator)
        found = [
            checks.mean_agrees(one, other, 0.0),
            checks.spread_agrees(one, other, 0.0),
            checks.rows_independent(one.reshape(RUNS, COPIES, 2, 4)),
        ]
        alarms += [check for check in found if not check.passed]
    assert alarms == []


def test_another_mean_another_spread_and_masks_that_are_shared_are_found() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 512, 2, 4))
    assert checks.mean_agrees(one, other, 0.0).passed
    assert not checks.mean_agrees(one + 0.45, other, 0.0).passed
    assert not checks.spread_agrees(0.65 * one, other, 0.0).passed
    shared = one + 0.8 * np.repeat(generator.normal(size=(RUNS, 1, 2, 4)), COPIES, axis=1).reshape(512, 2, 4)
    assert not checks.rows_independent(shared.reshape(RUNS, COPIES, 2, 4)).passed
