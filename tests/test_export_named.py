"""Bundles with several inputs and outputs and with symbolic axes: exported, verified, and run at other sizes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from cli_calls import Terminal
from named_kinds import (
    IMAGES,
    MASK,
    META,
    NAMES,
    SEQUENCES,
    TOKENS,
    Both,
    Dicts,
    Of,
    Quantiles,
    Recurrent,
    Unit,
    segmenting,
)
from torch import nn

import regplug
from regplug.bundles.layout import read_manifest
from regplug.errors import RegplugError

ALL = ("onnx", "torchscript", "pt2")


def torch_answers(network, arrays, *, as_dict=False):
    with torch.no_grad():
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return network.eval()(tensors) if as_dict else network.eval()(**tensors)


def onnx_answers(bundle, arrays):
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    torch.manual_seed(0)
    network = Both()
    bundle = regplug.export(
        network,
        {"image": IMAGES, "meta": META},
        tmp_path_factory.mktemp("both") / "b",
        outputs=("logits", "embedding"),
        dynamic={"image": {2: "height", 3: "width"}},
        class_names=NAMES,
        preprocess={"image": Unit()},
        formats=ALL,
        license_id="mit",
    )
    return network, bundle.path


@pytest.mark.slow
def test_two_inputs_and_two_outputs_are_exported_in_every_format_and_verified(both):
    _, path = both
    report = regplug.verify(path)
    assert report.failures == ()
    names = {check.name for check in report.checks}
    assert {
        f"{form}.{output}.numbers.disabled.height=19,width=4.real" for form in ALL for output in ("logits", "embedding")
    } <= names
    manifest = read_manifest(path)
    assert manifest["schema_version"] == 2
    assert [part["name"] for part in manifest["inputs"]] == ["image", "meta"]
    assert manifest["inputs"][0]["shape"] == ["batch", 3, "height", "width"]
    assert manifest["inputs"][0]["range"] == [0.0, 255.0]
    # A convolution of size 3 needs 3 pixels; at an output of one pixel torch.export would assume its size.
    assert manifest["axes"]["height"]["least"] == 4
    assert [part["shape"] for part in manifest["outputs"]] == [["batch", 3], ["batch", 8]]


@pytest.mark.slow
def test_the_files_answer_like_the_module_at_sizes_that_were_never_tried(both):
    network, path = both
    arrays = {"image": np.random.default_rng(5).integers(0, 256, (4, 3, 31, 12), np.uint8), "meta": META[:4]}
    logits, embedding = torch_answers(network, {**arrays, "image": arrays["image"] / np.float32(255)})
    answers = onnx_answers(path, arrays)
    np.testing.assert_allclose(answers["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(answers["embedding"], embedding, atol=1e-5)
    tensors = list(map(torch.from_numpy, arrays.values()))
    for opened in (torch.jit.load(str(path / "model.ts")), torch.export.load(path / "model.pt2").module()):
        with torch.no_grad():
            np.testing.assert_allclose(opened(*tensors)[1], embedding, atol=1e-5)


@pytest.mark.slow
def test_predict_reads_npz_and_json_and_answers_with_labels_and_every_output(both, tmp_path):
    network, path = both
    rows = {"image": IMAGES[:3], "meta": META[:3]}
    np.savez(tmp_path / "rows.npz", **rows)
    (tmp_path / "rows.json").write_text(json.dumps({name: array.tolist() for name, array in rows.items()}))
    each = [{name: array[at].tolist() for name, array in rows.items()} for at in range(3)]
    (tmp_path / "each.json").write_text(json.dumps(each))
    logits, embedding = torch_answers(network, {**rows, "image": rows["image"] / np.float32(255)})
    for name in ("rows.npz", "rows.json", "each.json"):
        found = regplug.predict(path, tmp_path / name, top=2).as_json()["predictions"]
        assert [one["label"] for one in found] == [NAMES[at] for at in logits.argmax(1)]
        np.testing.assert_allclose([one["outputs"]["embedding"] for one in found], embedding, atol=1e-5)
        assert len(found[0]["top"]) == 2
    assert len(regplug.predict(path, tmp_path).rows) == 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"image": IMAGES}, ["lacks the input 'meta'", "image: uint8 (batch, 3, height, width)"]),
        ({"image": IMAGES, "meta": META[:, 0]}, ["'meta' has shape (12,), with 1 axes", "array[None]"]),
        ({"image": IMAGES[:, :, :3], "meta": META}, ["3 along the axis 'height'", "4 or more is allowed"]),
        ({"image": IMAGES[:, :2], "meta": META}, ["(batch, 2, 8, 9)", "Only named axes"]),
        ({"image": IMAGES[:5], "meta": META}, ["different numbers of rows", "image has 5, meta has 12"]),
        ({"image": IMAGES.astype(np.float32), "meta": META}, ["float32", "uint8"]),
        ({"image": IMAGES, "meta": META * np.nan}, ["row 0 has NaN"]),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_name(both, tmp_path, arrays, words):
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(RegplugError) as caught:
        regplug.predict(both[1], tmp_path / "rows.npz")
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


@pytest.mark.slow
def test_a_size_beyond_the_checked_ones_and_an_unknown_array_are_noted(both, tmp_path):
    np.savez(tmp_path / "rows.npz", image=IMAGES.repeat(3, axis=2), meta=META, more=META)
    notes = " ".join(regplug.predict(both[1], tmp_path / "rows.npz").notes)
    assert "not used: more" in notes
    assert "height=24; the files were checked up to height=19" in notes


@pytest.mark.slow
def test_the_commands_show_and_predict_a_bundle_with_named_inputs(both, tmp_path, capsys):
    terminal = Terminal(capsys)
    np.savez(tmp_path / "rows.npz", image=IMAGES[:2], meta=META[:2])
    shown = terminal("inspect", both[1], "--html", tmp_path / "page.html")
    assert shown.code == 0
    assert "input     'image': uint8 (batch, 3, height, width), image, 0 to 255" in shown.out
    assert "axis      'height': 4 or more, checked at 4, 8, 9, 19" in shown.out
    assert "Sizes of width" in (tmp_path / "page.html").read_text()
    assert terminal("predict", both[1], tmp_path / "rows.npz", "--out", tmp_path / "o.csv").code == 0
    heading = (tmp_path / "o.csv").read_text().splitlines()[0]
    assert heading.startswith("input,row,label,probability,")
    assert heading.endswith("embedding_7,embedding_8")
    refused = terminal("predict", both[1], tmp_path / "o.csv")
    assert refused.code == 2
    assert "file type that this bundle does not take" in refused.err
    card = (both[1] / "README.md").read_text()
    assert "| `image` | uint8 | `(batch, 3, height, width)` | 0 to 255 |" in card
    assert "license: mit" in card


@pytest.mark.slow
def test_every_key_of_such_a_manifest_is_described(both):
    page = (Path(__file__).parents[1] / "docs" / "bundle.md").read_text()
    manifest = read_manifest(both[1])
    keys = {*manifest, *manifest["outputs"][0], *manifest["axes"]["height"]}
    assert [key for key in keys if f"`{key}`" not in page] == []
    assert set(manifest["inputs"][0]) == {"name", "layout", "dtype", "shape", "range"}


@pytest.mark.slow
def test_the_programs_of_the_model_card_run(both, monkeypatch, capsys):
    monkeypatch.chdir(both[1])
    programs = (both[1] / "README.md").read_text().split("```python\n")[1:]
    assert len(programs) == 2
    for program in programs:
        exec(program.partition("```")[0], {})  # noqa: S102
    assert "embedding (5, 8)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "failed"),
    [
        ("sample_output.npz", lambda arrays: arrays["embedding.height=19,width=4"].__iadd__(1e-3), "numbers"),
        ("sample_output.npz", lambda arrays: arrays["tolerance.embedding"].__imul__(1e6), "samples.tolerances"),
        ("sample_input.npz", lambda arrays: arrays["image.height=4,width=4"].__iadd__(1), "samples.inputs"),
        ("sample_input.npz", lambda arrays: arrays.pop("meta.large"), "samples.arrays"),
    ],
)
def test_a_changed_sample_is_found_although_the_checksums_are_new(both, tmp_path, name, change, failed):
    import shutil

    from regplug.bundles.layout import write_checksums

    bundle = tmp_path / "b"
    shutil.copytree(both[1], bundle)
    with np.load(bundle / name) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(bundle / name, **arrays)
    write_checksums(bundle)
    failures = [check.name for check in regplug.verify(bundle).failures]
    assert failures
    assert all(failed in failure for failure in failures), failures


@pytest.mark.slow
def test_a_wider_range_of_an_axis_than_was_checked_is_found(both, tmp_path):
    import shutil

    from regplug.bundles.layout import write_checksums

    bundle = tmp_path / "b"
    shutil.copytree(both[1], bundle)
    manifest = read_manifest(bundle)
    manifest["axes"]["height"]["most"] = 4096
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    write_checksums(bundle)
    assert {"samples.sizes", "bundle.readme"} <= {check.name for check in regplug.verify(bundle).failures}


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
    from PIL import Image

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


LENGTH = {"dynamic": {1: "length"}}
TWO = {"outputs": ["a", "b"]}
REFUSED = {
    "linear layer on a flattened sequence": (
        nn.Sequential(nn.Flatten(), nn.Linear(24, 3)),
        LENGTH,
        ["fixes the size of the axis 'length'", "length = 6", "AdaptiveAvgPool2d"],
    ),
    "loop over the length": (
        Of(lambda self, x: sum(self.head(x[:, at]) for at in range(x.shape[1]))),
        LENGTH,
        ["fixes the size of the axis 'length'"],
    ),
    "positions beyond a table": (
        Of(lambda self, x: self.head(x + torch.ones(16, 4)[: x.shape[1]]).mean(1)),
        {"dynamic": {1: ("length", 1, 99)}},
        ["'length' (length is 1 to 99)", "<= 16"],
    ),
    "sizes that agree only for some lengths": (
        Of(lambda self, x: self.head(x + x.unflatten(1, (-1, 2)).flatten(1, 2)).mean(1)),
        LENGTH,
        ["'length'", "size=skip.shape[2:]"],
    ),
    "no name for a tuple": (Of(lambda self, x: (self.head(x), x)), LENGTH, ["a tuple of 2", "outputs=("]),
    "too few names": (Of(lambda self, x: (self.head(x), x)), {"outputs": ["a"]}, ["a tuple of 2", "1 names"]),
    "unknown name": (Of(lambda self, x: {"a": self.head(x)}), {"outputs": ["b"]}, ["a dict of a", "no b"]),
    "no tensor": (Of(lambda self, x: {"a": self.head(x), "b": 3}), TWO, ["'b' is a int"]),
    "classes": (Of(lambda self, x: (x, self.head(x).argmax(1))), TWO, ["'b'", "torch.int64"]),
    "no batch": (Of(lambda self, x: (x, self.head(x).mean())), TWO, ["'b' has shape ()", "batch"]),
    "rows that see each other": (Of(lambda self, x: (x, self.head(x - x.mean(0)))), TWO, ["depends on its batch"]),
    "axis of the batch": (Of(lambda self, x: x), {"dynamic": {0: "rows"}}, ["is the batch"]),
    "no such axis": (Of(lambda self, x: x), {"dynamic": {3: "length"}}, ["not one of 1 to 2"]),
    "no such input": (Of(lambda self, x: x), {"dynamic": {"y": {1: "length"}}}, ["'y' is not an input"]),
    "example out of range": (
        Of(lambda self, x: x),
        {"dynamic": {1: ("length", 7, 9)}},
        ["6 along the axis 'length', whose range is 7 to 9"],
    ),
    "empty range": (Of(lambda self, x: x), {"dynamic": {1: ("length", 7, 2)}}, ["range 7 to 2", "empty"]),
    "names used twice": (Of(lambda self, x: x), {"outputs": ["input"]}, ["'input' is used twice"]),
    "with probabilities": (Of(lambda self, x: x), {"outputs": ["a"], "probabilities": True}, ["probabilities needs"]),
    "with names of columns": (
        Of(lambda self, x: x),
        {"outputs": ["a"], "column_names": ["u"]},
        ["column_names cannot"],
    ),
    "other class names": (
        Of(lambda self, x: x),
        {"outputs": ["a"], "class_names": ["u", "v"]},
        ["2 class names", "'a'"],
    ),
}


CAPTURED = (
    "linear layer on a flattened sequence",
    "loop over the length",
    "positions beyond a table",
    "sizes that agree only for some lengths",
    "rows that see each other",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in CAPTURED else name for name in REFUSED]
)
def test_what_cannot_have_names_or_symbolic_axes_is_refused_in_words(name, tmp_path, capfd):
    network, asked, words = REFUSED[name]
    with pytest.raises(RegplugError) as caught:
        regplug.export(network, SEQUENCES, tmp_path / "b", **asked)
    message = str(caught.value)
    assert [word for word in words if word not in message] == [], message
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("example", "words"),
    [
        ({"image": IMAGES}, ["cannot take the inputs image", "meta is missing"]),
        ({"image": IMAGES, "rows": META}, ["no argument rows", "meta is missing"]),
        ({"image": IMAGES, "meta": META[:3]}, ["image has 12, meta has 3"]),
        ({"image": IMAGES, "meta": META[:, :2]}, ["image (12, 3, 8, 9), meta (12, 2)", "named_kinds.py:"]),
        ({"image": IMAGES, "meta": "rows.csv"}, ["must be numbers"]),
        ({}, ["no input"]),
    ],
)
def test_inputs_that_the_module_does_not_take_are_refused(example, words, tmp_path):
    with pytest.raises(RegplugError) as caught:
        regplug.export(
            Both(),
            example,
            tmp_path / "b",
            outputs=("logits", "embedding"),
            preprocess={"image": Unit()} if "image" in example else None,
        )
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
