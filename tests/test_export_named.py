"""A bundle with two inputs and two outputs: exported, verified, run at other sizes, and not to be forged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_calls import Terminal
from named_kinds import IMAGES, META, NAMES, Both, Unit, onnx_answers, torch_answers

import regplug
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.errors import RegplugError

ALL = ("onnx", "torchscript", "pt2")


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
    bundle = tmp_path / "b"
    shutil.copytree(both[1], bundle)
    manifest = read_manifest(bundle)
    manifest["axes"]["height"]["most"] = 4096
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    write_checksums(bundle)
    assert {"samples.sizes", "bundle.readme"} <= {check.name for check in regplug.verify(bundle).failures}
