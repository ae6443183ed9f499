"""What a bundle says of its tolerances and of its noise is bounded by what its files do; predict asks as much."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from made_bundles import image_request, onnx_only, row_request, rows
from made_stochastic import all_three
from planting import Plant, outputs, tolerance_times, updated
from random_networks import random_request
from rewriting import change_arrays, change_manifest
from torch import Tensor, nn

from regplug.api import Task
from regplug.bundles.isolate import isolate
from regplug.bundles.layout import write_checksums
from regplug.bundles.predict import predict
from regplug.bundles.tolerance import references
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError, RequestError, VerificationError

TWO = Task(kind="classification", num_outputs=2, class_names=("a", "b"))


class Raw(nn.Module):
    def forward(self, raw: Tensor) -> Tensor:
        return raw.float()


def ill_conditioned() -> nn.Module:
    """Of an image of one colour it amplifies its own rounding: no two runtimes agree on that."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.InstanceNorm2d(4, eps=1e-12), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", all_three(), ids=lambda form: form[0])
def test_a_large_tolerance_is_let_through_where_the_file_itself_rounds_as_much(form: Any, tmp_path: Path) -> None:
    request = image_request(ill_conditioned(), preprocess=Raw(), formats=[form])
    bundle = write_bundle(request, tmp_path / "bundle").path
    with np.load(bundle / "sample_output.npz") as known:
        assert known["tolerance.full"] > 0.1 * np.abs(known["logits"]).max()
    assert verify_bundle(bundle).passed
    tolerance_times(1e4, ".full")(bundle)
    assert {check.name for check in verify_bundle(bundle).failures} == {"samples.tolerances"}


@pytest.mark.slow
class Masked(nn.Module):
    """Attention of 16 steps with a float32 mask: in float64 torch computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.triu(torch.full((16, 16), float("-inf")), 1)
        return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], attn_mask=mask).flatten(1)


def test_a_model_that_computes_something_else_in_float64_has_a_tolerance_all_the_same() -> None:
    raw = np.random.default_rng(0).normal(0, 1, (64, 16, 4)).astype(np.float32)
    deployed, _ = isolate(nn.Identity(), Masked(), "")
    (reference,) = references(deployed, {"real": raw})
    assert 0 < reference.tolerance < 1e-4


def test_rounding_that_only_another_runtime_has_raises_no_false_alarm(tmp_path: Path) -> None:
    """Of a bright image torch is exact here by luck, in 32 as in 64 bits and with other weights; onnxruntime is not."""
    bundle = write_bundle(random_request(45, onnx_only()), tmp_path / "bundle").path
    assert verify_bundle(bundle).passed


@pytest.mark.slow
@pytest.mark.parametrize("form", all_three(), ids=lambda form: form[0])
def test_a_perturbed_file_answers_otherwise_by_its_last_bits(form: Any, tmp_path: Path) -> None:
    bundle = write_bundle(row_request(formats=[form]), tmp_path / "bundle").path
    before = (bundle / form[1]).read_bytes()
    plain = form[2].open(bundle / form[1], optimised=False)(rows())
    moved = [form[2].open_perturbed(bundle / form[1], seed=seed)(rows()) for seed in (0, 1)]
    for other in moved:
        gap = np.abs(other - plain).max()
        assert 0 < gap < 1e-5 * np.abs(plain).max()
    assert not np.array_equal(*moved)
    assert (bundle / form[1]).read_bytes() == before


def of_manifest(change: Callable[[Any], Any]) -> Plant:
    return lambda bundle: change_manifest(bundle, change)


def of_layer(**fields: Any) -> Plant:
    return of_manifest(lambda manifest: manifest["stochastic"]["layers"][0].update(fields))


def nan_in(name: str) -> Plant:
    return outputs(lambda arrays: arrays[name].fill(np.nan))


LIVE: dict[str, tuple[Plant, str]] = {
    "a wide tolerance of given noise": (tolerance_times(1e4, ".given"), "samples.tolerances"),
    "a tolerance of given noise that is NaN": (tolerance_times(np.nan, ".given"), "samples.tolerances"),
    "live answers that are NaN": (nan_in("logits.live"), "samples.outputs"),
    "answers to given noise that are NaN": (nan_in("logits.given"), "samples.outputs"),
    "fewer passes": (of_manifest(updated("stochastic", "passes", value=7)), "samples.arrays"),
    "another kind": (of_manifest(updated("stochastic", "kind", value="x")), "bundle.schema"),
    "no noise": (of_manifest(updated("stochastic", value=None)), "samples.arrays"),
    "a layer more": (of_manifest(lambda manifest: _twice(manifest["stochastic"]["layers"])), "onnx.layers_live.all"),
    "a rate of its own": (of_layer(rate=0.41), "pt2.rates.all"),
    "a mask of a trillion numbers": (of_layer(mask=["batch", 10**6, 10**6]), "torchscript.noise_given.all"),
}


def _twice(layers: list[Any]) -> None:
    layers.append(layers[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVE)
def test_a_stochastic_bundle_that_contradicts_itself_is_refused(name: str, live_copy: Path) -> None:
    plant, check = LIVE[name]
    plant(live_copy)
    failures = {found.name for found in verify_bundle(live_copy).failures}
    assert check in failures


def test_predict_refuses_a_graph_that_is_not_as_its_manifest_says(tmp_path: Path) -> None:
    bundle = write_bundle(row_request(nn.Linear(4, 3), formats=onnx_only()), tmp_path / "bundle").path
    np.save(tmp_path / "x.npy", rows(2))
    other = write_bundle(row_request(nn.Linear(4, 2), formats=onnx_only(), task=TWO), tmp_path / "other").path
    shutil.copy(other / "model.onnx", bundle / "model.onnx")
    write_checksums(bundle)
    with pytest.raises(VerificationError, match=r"gives float32 \(2, 2\); its manifest says \(2, 3\)"):
        predict(bundle, [tmp_path / "x.npy"])
    model = onnx.load(bundle / "model.onnx")
    _rename_input(model, "rows")
    onnx.save(model, bundle / "model.onnx")
    write_checksums(bundle)
    with pytest.raises(VerificationError, match="cannot run on inputs as in its manifest"):
        predict(bundle, [tmp_path / "x.npy"])


def _rename_input(model: onnx.ModelProto, name: str) -> None:
    before = model.graph.input[0].name
    model.graph.input[0].name = name
    for node in model.graph.node:
        node.input[:] = [name if one == before else one for one in node.input]


def test_predict_refuses_what_is_linked_or_far_too_large(tmp_path: Path) -> None:
    bundle = write_bundle(row_request(nn.Linear(4, 3), formats=onnx_only()), tmp_path / "bundle").path
    np.save(tmp_path / "x.npy", rows(2))
    shutil.move(bundle / "model.onnx", tmp_path / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(VerificationError, match=r"model\.onnx is a link"):
        predict(bundle, [tmp_path / "x.npy"])
    (bundle / "model.onnx").unlink()
    with (bundle / "model.onnx").open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(VerificationError, match="larger than an ONNX file can be"):
        predict(bundle, [tmp_path / "x.npy"])


def test_probabilities_that_do_not_sum_to_one_are_no_answers(tmp_path: Path) -> None:
    bundle = write_bundle(row_request(formats=onnx_only(), probabilities=True), tmp_path / "bundle").path
    assert verify_bundle(bundle).passed

    def double(arrays: dict[str, np.ndarray]) -> None:
        arrays["probabilities"] *= 2

    change_arrays(bundle / "sample_output.npz", double)
    # The tolerance is then too small for such answers as well, so it is raised with them.
    change_arrays(bundle / "sample_output.npz", lambda arrays: arrays.update(tolerance=arrays["tolerance"] * 2))
    assert {check.name for check in verify_bundle(bundle).failures} == {"samples.outputs"}


@pytest.mark.parametrize("spoil", [lambda c: c[: len(c) // 2], lambda c: c[:200] + b"\xff" * 40 + c[240:]])
def test_a_packed_input_that_is_broken_is_refused_in_words(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    bundle = write_bundle(row_request(nn.Linear(4, 3), formats=onnx_only()), tmp_path / "bundle").path
    np.savez_compressed(tmp_path / "x.npz", input=rows(500))
    content = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(spoil(content))
    with pytest.raises(BundleError, match="is not an array file"):
        predict(bundle, [tmp_path / "x.npz"])


def test_a_manifest_that_would_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    level: dict[str, Any] = {}
    deep = level
    for _ in range(60):
        level["more"] = level = {}
    for manifest, words in (({"note": deep}, "levels"), ({"run_id": 3}, "run_id must be"), ({"config": 5}, "config")):
        with pytest.raises(RequestError, match=words):
            write_bundle(row_request(nn.Linear(4, 3), manifest=manifest), tmp_path / "bundle")
    assert not list(tmp_path.iterdir())
