"""Bundles with named inputs are calibrated, evaluated on test rows and written with fewer bits, as with one input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from cli_calls import Terminal
from named_kinds import NAMES, SEQUENCES, Of
from torch import nn

import regplug
from regplug.bundles.calibration.answers import sets_of, softmax
from regplug.bundles.folder_checks import readme
from regplug.bundles.layout import read_manifest, write_checksums
from regplug.bundles.named.predict import DECIDED
from regplug.bundles.named.schema import named_fault
from regplug.bundles.predict import named_prediction
from regplug.errors import RegplugError

RNG = np.random.default_rng(1)
STEPS = RNG.normal(size=(900, 5, 4)).astype(np.float32)
META = RNG.integers(0, 3, (900, 2))


class Pair(nn.Module):
    """Sequences of any length and codes to logits, twice too large, and an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.head = nn.Linear(4, 6), nn.Linear(8, 3)

    def forward(self, steps, meta):
        embedding = torch.cat([self.steps(steps).relu().mean(1), meta.float()], 1)
        return {"logits": 4 * self.head(embedding), "embedding": embedding}


def some(at):
    return {"steps": STEPS[at], "meta": META[at]}


def logits_of(network, arrays):
    with torch.no_grad():
        return network(**{name: torch.from_numpy(array) for name, array in arrays.items()})["logits"].numpy()


def drawn(logits):
    """Classes that are drawn from half the logits."""
    shares = softmax(logits / 2)
    return (shares.cumsum(1) > np.random.default_rng(2).random((len(logits), 1))).argmax(1)


def exported(folder, network, **asked):
    y = drawn(logits_of(network, some(slice(None))))
    return regplug.export(
        network,
        some(slice(40)),
        folder,
        dynamic={"steps": {1: "length"}},
        class_names=NAMES,
        test=(some(slice(300, None)), y[300:]),
        validation=(some(slice(300)), y[:300]),
        **asked,
    ).path


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    torch.manual_seed(0)
    network = Pair().eval()
    formats = ["onnx", "torchscript", "onnx_fp16", "onnx_int8"]
    return network, exported(tmp_path_factory.mktemp("s") / "b", network, conformal=0.9, formats=formats)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    torch.manual_seed(0)
    network = Pair().eval()
    asked = {"calibrate": "temperature", "probabilities": True, "formats": ["onnx_fp16", "pt2"]}
    return network, exported(tmp_path_factory.mktemp("t") / "b", network, **asked)


def answers(bundle, arrays, file="model.onnx"):
    session = onnxruntime.InferenceSession(str(bundle / file))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays), strict=True))


@pytest.mark.slow
def test_the_sets_follow_from_the_first_output_at_any_length_and_cover_the_test_rows(sets):
    network, path = sets
    part = read_manifest(path)["calibration"]
    found = answers(path, {"steps": np.tile(STEPS[:9], (1, 3, 1)), "meta": META[:9]})
    assert list(found) == ["logits", "embedding", "sets"]
    assert np.array_equal(found["sets"], sets_of(softmax(found["logits"]), part["thresholds"][0]))
    y = drawn(logits_of(network, some(slice(None))))[300:]
    covered = answers(path, some(slice(300, None)))["sets"][np.arange(600), y].mean()
    assert part["test"][0]["coverage"] == pytest.approx(covered)
    assert 0.85 < covered < 0.95
    report = regplug.verify(path)
    assert report.failures == ()
    names = {check.name for check in report.checks}
    assert {f"{form}.sets.disabled.length=13" for form in ("onnx", "torchscript", "onnx_fp16", "onnx_int8")} <= names
    told = {check["name"]: check for check in json.loads((path / "verification.json").read_text())["checks"]}
    assert told["onnx.sets.test_coverage"]["figure"] == pytest.approx(covered)
    assert told["onnx_int8.logits.test_accuracy"]["figure"] > 0.4
    assert {"calibration.fitted", "onnx_fp16.logits.changed_answers", "onnx_int8.size"} <= set(told)


@pytest.mark.slow
def test_a_small_file_has_small_weights_and_limits_of_its_own(sets):
    network, path = sets
    manifest = read_manifest(path)
    wanted = logits_of(network, some(slice(50)))
    for file in ("model.fp16.onnx", "model.int8.onnx"):
        may_lose = manifest["files"][file]["may_lose"]["relative_error"]
        error = np.abs(answers(path, some(slice(50)), file)["logits"] - wanted).max()
        assert 0 < error <= may_lose * np.abs(wanted).max()
    limits = {check.name: check.limit for check in regplug.verify(path).checks}
    assert limits["onnx_int8.embedding.numbers.all.real"] > 100 * limits["onnx.embedding.numbers.all.real"]
    assert "onnx_int8.logits.numbers.all.large" not in limits


@pytest.mark.slow
def test_a_temperature_divides_the_logits_before_the_softmax(scaled):
    network, path = scaled
    manifest = read_manifest(path)
    part = manifest["calibration"]
    assert part["temperature"] == pytest.approx(2, rel=0.3)
    assert part["test"][0]["nll_after"] < part["test"][0]["nll_before"]
    assert manifest["baked_in"][-2:] == ["temperature", "softmax"]
    assert [one["name"] for one in manifest["metrics"]] == ["accuracy"]
    opened = torch.export.load(path / "model.pt2").module()
    shares, _ = opened(torch.from_numpy(STEPS[:9]), torch.from_numpy(META[:9]))
    wanted = softmax(logits_of(network, some(slice(9))) / part["temperature"])
    np.testing.assert_allclose(shares, wanted, atol=1e-5)
    assert regplug.verify(path).passed


@pytest.mark.slow
def test_predict_inspect_and_the_card_show_the_calibration(sets, scaled, tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", **some(slice(20)))
    terminal, found = Terminal(capsys), answers(sets[1], some(slice(20)))
    rows = terminal("predict", sets[1], tmp_path / "rows.npz", "--json").document
    assert rows["coverage"] == 0.9
    for row, is_in in zip(rows["predictions"], found["sets"], strict=True):
        assert set(row["set"]) == {name for name, one in zip(NAMES, is_in, strict=True) if one}
        assert set(row["outputs"]) == {"logits", "embedding"}
    for file_format in ("torchscript", "onnx-int8"):
        other = regplug.predict(sets[1], tmp_path / "rows.npz", format=file_format).rows
        assert set(other[0].outputs) == {"logits", "embedding"}
    assert "90 % set" in terminal("predict", sets[1], tmp_path / "rows.npz").out
    shares = regplug.predict(scaled[1], tmp_path / "rows.npz", format="pt2").rows[0]
    assert shares.top[0][1] == pytest.approx(max(shares.outputs["logits"]))
    shown = terminal("inspect", sets[1], "--html", tmp_path / "page.html").out
    assert "calibrated `sets` shall contain the target of 90 % of the rows" in shown
    assert "output    'sets': bool (batch, 3)" in shown
    assert "sets shall contain the target of 90 %" in (tmp_path / "page.html").read_text()
    card = (sets[1] / "README.md").read_text()
    assert "| `sets` | bool | `(batch, 3)` |" in card
    assert "logits, embedding, sets = model(*rows)" in card
    assert "`logits` holds the probabilities of 3 classes" in (scaled[1] / "README.md").read_text()


@pytest.mark.slow
def test_the_programs_of_the_card_run_with_the_added_output(sets, scaled, monkeypatch, capsys):
    for path, count in ((sets[1], 2), (scaled[1], 2)):
        monkeypatch.chdir(path)
        programs = (path / "README.md").read_text().split("```python\n")[1:]
        assert len(programs) == count
        for program in programs:
            exec(program.partition("```")[0], {})  # noqa: S102
    assert "sets (5, 3)" in capsys.readouterr().out


def changed(manifest, **changes):
    return {**manifest, **changes}


@pytest.mark.slow
def test_a_manifest_that_tells_another_calibration_is_found(sets, tmp_path):
    manifest = read_manifest(sets[1])
    part = manifest["calibration"]
    assert named_fault(manifest) == ""
    for other, words in (
        (changed(manifest, task=None, class_names=[]), "contradicts the task None"),
        (changed(manifest, task="regression", class_names=[]), "of this regression it is"),
        (changed(manifest, calibration={**part, "coverage": 2}), "calibration.coverage must be"),
        (changed(manifest, baked_in=manifest["baked_in"][:-1]), "baked_in does not name the calibration"),
        (changed(manifest, outputs=[*manifest["outputs"], {**manifest["outputs"][1], "name": "sets"}]), "named 'sets'"),
    ):
        assert words in named_fault(other)
    bundle = tmp_path / "b"
    shutil.copytree(sets[1], bundle)
    forged = changed(manifest, calibration={**part, "thresholds": [0.9]})
    (bundle / "manifest.json").write_text(json.dumps(forged))
    write_checksums(bundle)
    failed = {check.name for check in regplug.verify(bundle).failures}
    assert {"onnx.sets.all", "torchscript.sets.disabled", "onnx_int8.sets.all.length=1", "onnx.manifest"} <= failed


@pytest.mark.slow
def test_a_card_with_other_figures_than_the_manifest_is_found(sets, scaled):
    manifest = read_manifest(scaled[1])
    metrics = [{**manifest["metrics"][0], "value": 0.99}]
    calibration = {**manifest["calibration"], "temperature": 1.0}
    for path, forged, words in (
        (scaled[1], changed(manifest, metrics=metrics), "the accuracy"),
        (scaled[1], changed(manifest, calibration=calibration), "the temperature"),
        (scaled[1], changed(manifest, state_sha256="0" * 64), "the hash of the model's weights"),
        (scaled[1], changed(manifest, class_names=manifest["class_names"][::-1]), "the names of the classes"),
        (sets[1], changed(manifest, axes={"length": {"least": 1, "most": 99, "checked": [5]}}), "the sizes of length"),
        (sets[1], changed(manifest, calibration={"kind": "conformal", "coverage": 0.99}), "the coverage"),
    ):
        (check,) = readme(path, changed(forged, versions={"regplug": "0.1.0"}), 0)
        assert not check.passed
        assert words in check.detail


@pytest.mark.slow
def test_quantiles_of_a_single_input_get_intervals_for_the_first_output(tmp_path):
    torch.manual_seed(0)
    network = Of(lambda self, x: (self.head(x).mean(1), x[:, 0]))
    with torch.no_grad():
        values = network(torch.from_numpy(STEPS))[0].numpy()
    y = values + np.random.default_rng(0).normal(0, [1, 5, 9], values.shape).astype(np.float32)
    path = regplug.export(
        network, STEPS[:40], tmp_path / "b", outputs=("values", "first"), task="regression", conformal=0.8,
        test=(STEPS[:400], y[:400]), validation=(STEPS[400:], y[400:]), formats=["onnx"],
    ).path  # fmt: skip
    part = read_manifest(path)["calibration"]
    np.testing.assert_allclose(part["thresholds"], [1.28, 6.4, 11.5], rtol=0.2)
    np.save(tmp_path / "x.npy", STEPS[:3])
    row = regplug.predict(path, tmp_path / "x.npy").as_json()["predictions"][1]
    np.testing.assert_allclose(row["values"], values[1], atol=1e-5)
    np.testing.assert_allclose(np.diff(row["intervals"])[:, 0], 2 * np.array(part["thresholds"]), rtol=1e-5)
    assert len(row["outputs"]["first"]) == 4
    assert regplug.verify(path).passed


def test_labels_of_named_outputs_have_probabilities():
    manifest = {"task": "multilabel", "class_names": ["a", "b"], "baked_in": ["net"], "outputs": [{"name": "z"}]}
    outputs = {"z": np.zeros(2, np.float32), DECIDED: np.array([0.5, 0.9]), "more": np.ones(2, np.float32)}
    row = named_prediction("", 0, outputs, manifest, 3).as_json()
    assert row["labels"] == ["b"]
    assert row["probabilities"]["a"] == 0.5
    assert row["outputs"]["more"] == [1.0, 1.0]


Y = np.arange(12) % 3
LOGITS = {"outputs": ["a", "b"], "class_names": NAMES}
TWO_PARTS = Of(lambda self, x: (self.head(x).mean(1), x))
REFUSED = {
    "test rows without a task": ({"outputs": ["a", "b"], "test": (SEQUENCES, Y)}, ["test needs a task"]),
    "a temperature without a task": (
        {"outputs": ["a", "b"], "calibrate": "temperature", "validation": (SEQUENCES, Y)},
        ["calibrate, validation needs a task"],
    ),
    "validation rows without a calibration": ({**LOGITS, "validation": (SEQUENCES, Y)}, ["but no calibration"]),
    "no validation rows": ({**LOGITS, "conformal": 0.9}, ["no validation rows"]),
    "too few": ({**LOGITS, "conformal": 0.95, "validation": (SEQUENCES, Y)}, ["12 validation rows are too few"]),
    "a class that is none": ({**LOGITS, "test": (SEQUENCES, Y + 1)}, ["not a class", "0 to 2"]),
    "other targets": ({**LOGITS, "test": (SEQUENCES, Y[:5])}, ["Test targets have shape (5,) for 12 rows"]),
    "other inputs": ({**LOGITS, "test": (SEQUENCES[:, :3], Y)}, ["Test rows", "(batch, 3, 4)", "(batch, 6, 4)"]),
    "an unknown input": ({**LOGITS, "test": ({"x": SEQUENCES}, Y)}, ["Test rows is not given by the names", "x"]),
    "no pair": ({**LOGITS, "test": SEQUENCES}, ["Test rows are not a pair"]),
    "a map as values": ({"outputs": ["a", "b"], "task": "regression"}, ["'a'", "a regression needs (batch, outputs)"]),
    "class names of values": ({**LOGITS, "task": "regression"}, ["Class names were given for a regression"]),
    "probabilities of values": (
        {"outputs": ["a", "b"], "task": "regression", "probabilities": True},
        ["the task is a regression"],
    ),
    "a name that the calibration needs": (
        {**LOGITS, "outputs": ["a", "sets"], "conformal": 0.5, "validation": (SEQUENCES, Y)},
        ["'sets' is used twice"],
    ),
    "values that are not known": (
        {"outputs": ["a", "b"], "task": "regression", "test": (SEQUENCES, np.full((12, 3), np.nan, np.float32))},
        ["A test target is NaN"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_evaluated_or_calibrated_is_refused_in_words(name, tmp_path):
    asked, words = REFUSED[name]
    network = Of(lambda self, x: (x, self.head(x).mean(1))) if name == "a map as values" else TWO_PARTS
    with pytest.raises(RegplugError) as caught:
        regplug.export(network, SEQUENCES, tmp_path / "b", **asked)
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)
    assert not list(tmp_path.iterdir())


def test_validation_rows_at_a_size_that_the_model_does_not_take_are_refused_in_words(tmp_path):
    table = Of(lambda self, x: self.head(x + torch.ones(7, 4)[: x.shape[1]]).mean(1))
    rows = np.tile(SEQUENCES, (1, 2, 1))
    with pytest.raises(RegplugError, match="cannot take length=12"):
        regplug.export(
            table, SEQUENCES, tmp_path / "b", dynamic={1: "length"}, class_names=NAMES, validation=(rows, Y),
            calibrate="temperature",
        )  # fmt: skip
