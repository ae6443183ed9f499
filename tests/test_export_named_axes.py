"""Bundles with symbolic lengths, heights and widths: exported, verified, and run at other sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from named_kinds import (
    IMAGES,
    MASK,
    SEQUENCES,
    TOKENS,
    Dicts,
    Of,
    Quantiles,
    Recurrent,
    Unit,
    onnx_answers,
    segmenting,
    torch_answers,
)
from PIL import Image
from torch import nn

import regplug
from regplug.bundles.layout import read_manifest
from regplug.errors import RegplugError

ALL = ("onnx", "torchscript", "pt2")


@pytest.mark.slow
def test_a_dict_in_and_a_dict_out_with_a_symbolic_length(tmp_path):
    torch.manual_seed(0)
    network = Dicts()
    bundle = regplug.export(
        network,
        {"tokens": TOKENS, "mask": MASK},
        tmp_path / "b",
        outputs=("tags", "pooled"),
        dynamic={"tokens": {1: ("length", 1, 40)}, "mask": {1: "length"}},
        formats=ALL,
    ).path
    assert regplug.verify(bundle).passed
    manifest = read_manifest(bundle)
    assert manifest["task"] is None
    assert manifest["outputs"][0]["shape"] == ["batch", "length", 5]
    assert manifest["axes"]["length"] == {"least": 1, "most": 40, "checked": [6, 1, 24, 7]}
    arrays = {"tokens": np.tile(TOKENS, 5)[:, :29], "mask": np.tile(MASK, 5)[:, :29]}
    wanted = torch_answers(network, arrays, as_dict=True)
    for name, answer in onnx_answers(bundle, arrays).items():
        np.testing.assert_allclose(answer, wanted[name], atol=1e-5)
    np.savez(tmp_path / "long.npz", tokens=np.tile(TOKENS, 8)[:, :41], mask=np.tile(MASK, 8)[:, :41])
    with pytest.raises(RegplugError, match="'tokens' has 41 along the axis 'length'; 1 to 40 is allowed"):
        regplug.predict(bundle, tmp_path / "long.npz")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "formats"),
    [(nn.GRU, ("onnx", "torchscript")), (nn.LSTM, ("onnx",)), (nn.RNN, ("onnx", "pt2"))],
    ids=["GRU", "LSTM", "RNN"],
)
def test_a_recurrent_network_takes_sequences_of_any_length(layer, formats, tmp_path):
    torch.manual_seed(0)
    network = Recurrent(layer)
    bundle = regplug.export(network, SEQUENCES, tmp_path / "b", dynamic={1: "length"}, formats=formats).path
    assert [part["name"] for part in read_manifest(bundle)["outputs"]] == list(Quantiles._fields)
    rows = np.tile(SEQUENCES, (1, 4, 1))[:, :23]
    wanted = torch_answers(network, {"x": rows})
    for name, answer in onnx_answers(bundle, {"input": rows}).items():
        np.testing.assert_allclose(answer, getattr(wanted, name), atol=1e-5)
    np.save(tmp_path / "rows.npy", rows)
    found = regplug.predict(bundle, tmp_path / "rows.npy").rows
    assert math.isclose(found[3].outputs["median"], float(wanted.median[3]), abs_tol=1e-5)


@pytest.mark.slow
def test_a_length_stays_symbolic_after_the_export_of_the_same_layer_with_a_fixed_one(tmp_path):
    torch.manual_seed(0)
    last = Of(lambda self, x: self.head(self.rnn(x)[0][:, -1]), 6)
    last.rnn = nn.GRU(4, 6, batch_first=True)
    # torch compiles a loop for the fixed length and keeps it; its guards used to fix the length of the next export.
    regplug.export(last, SEQUENCES, tmp_path / "fixed", formats=["onnx"])
    bundle = regplug.export(Recurrent(), SEQUENCES, tmp_path / "b", dynamic={1: "length"}, formats=["onnx", "pt2"])
    assert bundle.verification.passed


@pytest.mark.slow
def test_images_of_any_size_are_read_by_a_fully_convolutional_network(tmp_path):
    torch.manual_seed(0)
    network = segmenting()
    bundle = regplug.export(
        # The axes are named against the order of the alphabet, in which a manifest has them.
        network,
        IMAGES,
        tmp_path / "b",
        dynamic={2: "rows", 3: "columns"},
        preprocess=Unit(),
        outputs="map",
    ).path
    assert regplug.verify(bundle).passed
    assert read_manifest(bundle)["outputs"][0]["shape"][:2] == ["batch", 2]
    pixels = np.random.default_rng(1).integers(0, 256, (21, 14, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    (row,) = regplug.predict(bundle, tmp_path / "one.png").rows
    wanted = torch_answers(network, {"input": pixels.transpose(2, 0, 1)[None] / np.float32(255)})
    np.testing.assert_allclose(row.outputs["map"], wanted[0], atol=1e-5)


@pytest.mark.slow
def test_a_format_that_cannot_hold_a_symbolic_length_names_those_that_can(tmp_path):
    def limited(self, x):
        if x.shape[1] > 40:
            raise ValueError("too long")
        return self.head(x.mean(1))

    asked = {"dynamic": {1: ("length", 1, 40)}}
    with pytest.raises(RegplugError) as caught:
        regplug.export(Of(limited), SEQUENCES, tmp_path / "b", **asked)
    assert "torchscript" in str(caught.value)
    assert "formats=['onnx', 'pt2']" in str(caught.value)
    bundle = regplug.export(Of(limited), SEQUENCES, tmp_path / "b", **asked, formats=["onnx", "pt2"])
    assert regplug.verify(bundle.path).passed
