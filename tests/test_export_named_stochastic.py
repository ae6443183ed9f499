"""Bundles with named inputs keep dropout live, as with one input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from cli_calls import Terminal
from named_kinds import NAMES, SEQUENCES
from torch import nn

import regplug
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.bundles.passes import probabilities_or_values
from regplug.errors import RegplugError

META = np.random.default_rng(1).integers(0, 3, (12, 2))
ROWS = {"steps": SEQUENCES, "meta": META}


class Unsure(nn.Module):
    """Sequences of any length and codes to logits and an embedding, with dropout before both."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.drop, self.more = nn.Linear(4, 16), nn.Dropout(0.3), nn.Dropout(0.5)
        self.head, self.out = nn.Linear(18, 3), nn.Linear(18, 2)

    def forward(self, steps, meta):
        hidden = torch.cat([self.drop(self.steps(steps).relu()).mean(1), meta.float()], 1)
        return {"logits": self.head(hidden), "embedding": self.out(self.more(hidden)).reshape(-1, 2, 1)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    torch.manual_seed(0)
    return regplug.export(
        Unsure(),
        ROWS,
        tmp_path_factory.mktemp("u") / "b",
        dynamic={"steps": {1: "length"}},
        class_names=NAMES,
        stochastic=True,
        formats=["onnx", "torchscript", "pt2"],
        test=(ROWS, np.arange(12) % 3),
    ).path


@pytest.mark.slow
def test_every_file_passes_the_checks_of_live_dropout(bundle):
    report = regplug.verify(bundle)
    assert report.failures == ()
    names = {check.name for check in report.checks}
    for form in ("onnx", "torchscript", "pt2"):
        assert {
            f"{form}.noise_off.embedding.numbers.all.length=15.real",
            f"{form}.noise_off.logits.argmax.disabled",
            *(f"{form}.{one}.all" for one in ("noise_given", "rates", "masks", "rows_differ", "mean", "spread")),
        } <= names
    part = read_manifest(bundle)["stochastic"]
    assert [(one["name"], one["rate"], one["mask"]) for one in part["layers"]] == [
        ("drop", 0.3, ["batch", 6, 16]),
        ("more", 0.5, ["batch", 18]),
    ]
    told = {check["name"] for check in json.loads((bundle / "verification.json").read_text())["checks"]}
    assert {"model.live_dropout", "onnx.noise_off.logits.test_accuracy", "onnx.clean_process"} <= told


@pytest.mark.slow
def test_the_file_draws_at_every_length_and_differs_from_pass_to_pass(bundle):
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    arrays = {"steps": np.tile(SEQUENCES, (1, 3, 1)), "meta": META}
    passes = np.stack([session.run(["embedding"], arrays)[0] for _ in range(20)])
    assert (passes.std(0) > 0).all()


@pytest.mark.slow
def test_predict_gives_the_mean_and_the_spread_of_every_output(bundle, tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", **ROWS)
    answers = regplug.predict(bundle, tmp_path / "rows.npz", passes=400)
    document = answers.as_json()
    assert document["passes"] == 400
    assert "dropout is live" in document["notes"][0]
    row = document["predictions"][3]
    assert len(row["top"]) == 3
    assert 0 < row["spread"] < 0.5
    network = torch.export.load(bundle / "model.pt2").module()
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in ROWS.items()}
        passes = np.stack([network(*tensors.values())[1][3].numpy() for _ in range(400)])
    np.testing.assert_allclose(row["outputs"]["embedding"], passes.mean(0), atol=6 * passes.std() / 20)
    np.testing.assert_allclose(row["output_spreads"]["embedding"], passes.std(0), rtol=0.5)
    assert set(row["outputs"]) == set(row["output_spreads"]) == {"logits", "embedding"}
    terminal = Terminal(capsys)
    assert "spread" in terminal("predict", bundle, tmp_path / "rows.npz", "--passes", "5").out
    assert "noise     MC dropout" in terminal("inspect", bundle).out
    assert "Its dropout is live" in (bundle / "README.md").read_text()


def scaled(arrays):
    arrays["embedding.live"] = arrays["embedding.live"] * np.float32(1.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (scaled, "spread"),
        (lambda arrays: arrays["logits.given"].__iadd__(0.01), "noise_given"),
        (lambda arrays: arrays["tolerance.given"].__imul__(1e6), "samples.tolerances.given"),
        (lambda arrays: arrays.pop("embedding.live"), "samples.arrays"),
    ],
)
def test_changed_draws_are_found_although_the_checksums_are_new(bundle, tmp_path, change, failed):
    copied = tmp_path / "b"
    shutil.copytree(bundle, copied)
    with np.load(copied / "sample_output.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(copied / "sample_output.npz", **arrays)
    write_checksums(copied)
    assert any(failed in check.name for check in regplug.verify(copied).failures)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"formats": ["onnx", "onnx_fp16"]}, ["onnx_fp16 does not support live dropout"]),
        ({"conformal": 0.5, "validation": (ROWS, np.arange(12) % 3)}, ["A stochastic bundle cannot be calibrated"]),
    ],
)
def test_what_cannot_have_live_dropout_is_refused(asked, words, tmp_path):
    with pytest.raises(RegplugError) as caught:
        regplug.export(Unsure(), ROWS, tmp_path / "b", class_names=NAMES, stochastic=True, **asked)
    assert [word for word in words if word not in str(caught.value)] == []
    with pytest.raises(RegplugError, match="has no dropout"):
        regplug.export(nn.Linear(4, 3), SEQUENCES, tmp_path / "b", outputs="y", stochastic=True, formats=["onnx"])


def test_probabilities_of_labels_and_classes_are_made_from_logits():
    logits = np.array([[0.0, 0.0]])
    for task, wanted in (("classification", 0.5), ("multilabel", 0.5), ("regression", 0.0)):
        assert probabilities_or_values(logits, {"task": task, "baked_in": []})[0, 0] == wanted
    assert probabilities_or_values(logits, {"task": "classification", "baked_in": ["softmax"]})[0, 0] == 0.0
