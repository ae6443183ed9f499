"""A tracked run is exported again from what it kept, and a user's own module without any run."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import mlflow
import numpy as np
import pytest
import torch
from cli_calls import Terminal
from runs import Place, standing_in
from torch import nn
from tracking_stores import copied_store
from trainings import toy

import regplug
from regplug.bundles.layout import read_manifest
from regplug.errors import DataError, ExportError, RequestError, TrackingError, VerificationError
from regplug.exporting import export_tracked
from regplug.tracking import open_store
from regplug.training.state_hash import state_sha256

ONNX = ["onnx"]
DIGITS = {"dataset": "digits", "model": "mlp:hidden=[16]", "epochs": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run that has a structure of its own and was not exported."""
    with standing_in(tmp_path_factory.mktemp("made")) as folder:
        place = Place(folder)
        return place, place.run(**DIGITS, reg=["batchnorm", "dropout"], format=["onnx"])


@pytest.fixture
def run(made, monkeypatch):
    monkeypatch.chdir(made[0].folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return made[1]


@pytest.fixture
def terminal(run, capsys):
    return Terminal(capsys)


@pytest.mark.slow
def test_a_tracked_run_is_exported_again_from_its_configuration_and_state(run, tmp_path):
    exported = regplug.export(run.run_id[:8], out=tmp_path / "bundle", probabilities=True)
    assert exported.verification.passed
    manifest = read_manifest(tmp_path / "bundle")
    assert manifest["state_sha256"] == run.state_sha256
    assert manifest["run_id"] == run.run_id
    assert list(manifest["files"]) == ["model.onnx"]
    assert manifest["output"]["name"] == "probabilities"
    accuracy = next(c for c in exported.verification.checks if c.name == "onnx.test_accuracy")
    assert accuracy.figure == pytest.approx(run.metrics["test/accuracy"])
    assert regplug.verify(exported.path).passed


@pytest.mark.slow
def test_a_run_without_a_bundle_keeps_the_first_that_is_made_of_it(run, tmp_path):
    regplug.export(run.run_id, out=tmp_path / "bundle")
    store = open_store()
    assert "bundle/model.onnx" in store.artifact_names(run.run_id, "bundle")
    assert store.find_run(run.run_id).status == "FINISHED"


@pytest.mark.slow
def test_export_from_the_command_line_registers_and_names_a_champion_only_when_asked(
    run, terminal, tmp_path, monkeypatch
):
    first = terminal("export", run.run_id[:8], "--out", tmp_path / "a", "--register", "net", "--json").document
    assert first["registered"] == {"name": "net", "version": "1", "alias": "", "uri": "models:/net/1"}
    assert first["verification"]["passed"]
    assert first["bundle"]["path"] == str(tmp_path / "a")
    assert first["run_id"] == run.run_id
    said = terminal("export", run.run_id[:8], "--out", tmp_path / "a", "--register", "net", "--alias", "champion")
    assert said.code == 0
    assert "models:/net/2, alias champion" in said.out
    monkeypatch.setenv("MLFLOW_TRACKING_URI", run.tracking_uri)
    client = mlflow.MlflowClient(run.tracking_uri)
    assert client.get_model_version_by_alias("net", "champion").version == 2
    assert client.get_model_version("net", "1").run_id == run.run_id
    model = mlflow.pyfunc.load_model("models:/net@champion")
    with (
        np.load(tmp_path / "a" / "sample_input.npz") as inputs,
        np.load(tmp_path / "a" / "sample_output.npz") as outputs,
    ):
        answer = next(iter(model.predict(inputs["input"]).values()))
        assert np.abs(answer - outputs["logits"]).max() <= outputs["tolerance"]


@pytest.mark.slow
def test_another_bundle_is_replaced_only_with_overwrite(run, terminal, tmp_path):
    module = regplug.export(nn.Linear(4, 2), pictures()[:, 0, 0, :4].astype(np.float32), tmp_path / "b", formats=ONNX)
    said = terminal("export", run.run_id, "--out", module.path, "--json")
    assert said.code == 2
    error = said.document["error"]
    assert "contains a bundle of a module" in error["message"]
    assert "--overwrite" in error["hint"]
    assert read_manifest(module.path).get("run_id") is None
    assert terminal("export", run.run_id, "--out", module.path, "--overwrite").code == 0
    assert read_manifest(module.path)["run_id"] == run.run_id
    assert terminal("export", run.run_id, "--out", module.path).code == 0
    with pytest.raises(RequestError, match=f"bundle of run {run.run_id[:8]}, which was not replaced"):
        regplug.export(nn.Linear(4, 2), pictures()[:, 0, 0, :4].astype(np.float32), module.path, formats=ONNX)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--alias", "champion"], "--register NAME"),
        (["--register", "a/b"], "cannot name a registered model"),
        (["--register", "net", "--alias", "v1"], "'v1' is not a valid alias"),
        (["--register", "net", "--format", "torchscript"], "model.onnx would be registered"),
        (["--format", "onyx"], "Did you mean onnx?"),
        (["--license", "a\nb"], r"The licence 'a\nb' is not one line of at most 100 letters, digits and .-+()"),
        (["--license", "a" * 101], "an SPDX expression, such as apache-2.0"),
        (["--format", "onnx:opset=7"], "opset"),
    ],
)
def test_a_wrong_request_starts_nothing(run, terminal, options, words, tmp_path):
    said = terminal("export", run.run_id, "--out", tmp_path / "bundle", *options, "--json")
    assert said.code == 2
    error = said.document["error"]
    assert words in f"{error['message']} {error['hint']}"
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_not_there_is_told_with_near_names(terminal):
    said = terminal("export", "mlpp", "--json")
    assert (said.code, said.document["error"]["type"]) == (2, "RequestError")


@pytest.mark.slow
def test_a_state_that_was_changed_is_no_bundle(place):
    run = place.run(**DIGITS)
    file = Path(url2pathname(urlsplit(place.only_run().artifact_uri).path)) / "state.pt"
    state = torch.load(file)
    state["output.bias"] += 1e-6
    torch.save(state, file)
    with pytest.raises(VerificationError, match="is not the trained state"):
        regplug.export(run.run_id, formats=ONNX, out="bundle")
    torch.save({"other.weight": state["output.bias"]}, file)
    with pytest.raises(VerificationError, match="does not fit its rebuilt model"):
        regplug.export(run.run_id, formats=ONNX, out="bundle")
    assert place.leftovers() == []


def test_data_that_were_changed_are_no_ground_for_a_bundle(place):
    lines = [f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(60)]
    (place.folder / "mine.csv").write_text("\n".join(["u,v,label", *lines]))
    run = place.run(dataset="csv:path=mine.csv,target=label", model="linear")
    (place.folder / "mine.csv").write_text("\n".join(["u,v,label", *lines[1:]]))
    with pytest.raises(DataError, match=r"is not the one that run .* was trained on"):
        regplug.export(run.run_id, formats=ONNX, out="bundle")


@pytest.mark.slow
def test_a_run_of_objects_is_exported_when_they_are_handed_over_again(place):
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    run = place.run(model=net)
    with pytest.raises(RequestError, match="with a Python object"):
        regplug.export(run.run_id, formats=ONNX, out="bundle")
    exported = regplug.export(run.run_id, formats=["torchscript"], out="bundle", model=net, dataset=toy())
    assert read_manifest(exported.path)["state_sha256"] == run.state_sha256


def test_a_run_that_kept_no_state_says_why(place):
    with pytest.raises(Exception, match="at step"):
        place.run(dataset="digits", lr=1e6, epochs=10, reg=["l2:strength=1"])
    with pytest.raises(RequestError, match=r"has no state.pt.\n.*FAILED"):
        export_tracked(place.only_run().run_id)


class Center(nn.Module):
    def forward(self, raw):
        return raw.float() / 255 - 0.5


def classifier():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).train()


def pictures(count=20):
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), np.uint8)


@pytest.mark.slow
def test_a_module_of_ones_own_becomes_a_bundle_and_stays_as_it_was(tmp_path):
    net = classifier()
    net(Center()(torch.from_numpy(pictures())))
    before, modes = state_sha256(net), [part.training for part in net.modules()]
    test = (pictures(9), np.arange(9) % 2)
    exported = regplug.export(
        net, pictures(), tmp_path / "b", class_names=["cat", "dog"], formats=ONNX, preprocess=Center(), test=test,
        probabilities=True, manifest={"author": "me"},
    )  # fmt: skip
    assert exported.verification.passed
    assert "onnx.test_accuracy" in {check.name for check in exported.verification.checks}
    manifest = read_manifest(exported.path)
    assert (manifest["class_names"], manifest["input"]["range"]) == (["cat", "dog"], [0.0, 255.0])
    assert manifest["author"] == "me"
    assert (state_sha256(net), [part.training for part in net.modules()]) == (before, modes)
    answers = regplug.predict(exported.path, [exported.path / "sample_input.npz"], top=2)
    assert {row.label for row in answers.rows} <= {"cat", "dog"}
    assert json.loads(json.dumps(exported.document()))["run_id"] == ""


@pytest.mark.parametrize(
    ("module", "example", "kind"),
    [
        (nn.Linear(4, 1), np.ones((3, 4)), "regression"),
        (nn.Linear(4, 2), torch.ones(3, 4), "classification"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), np.ones((3, 4, 3), np.float32), "classification"),
        (nn.Linear(4, 2).double(), np.ones((3, 4)), "classification"),
        (
            nn.Sequential(nn.Embedding(9, 3), nn.Flatten(), nn.Linear(12, 5)),
            np.ones((3, 4), np.int64),
            "classification",
        ),
    ],
)
def test_task_layout_and_type_follow_from_module_and_example(module, example, kind, tmp_path):
    exported = regplug.export(module, example, tmp_path / "b", formats=["torchscript"])
    manifest = read_manifest(exported.path)
    assert manifest["task"] == kind
    assert manifest["input"]["layout"] == {2: "row", 3: "array"}[len(example.shape)]
    assert manifest["input"]["dtype"] in ("float32", "int64")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"class_names": ["a", "a"]}, RequestError, "distinct name"),
        (
            {"class_names": ["a", "b", "c"]},
            ExportError,
            "gives 2 outputs for each row, but there are 3 class names: a, b, c",
        ),
        ({"class_names": ["a", "b"], "task": "regression"}, RequestError, "a regression has none"),
        ({"class_names": "ab"}, RequestError, "are a single string"),
        ({"module": print}, RequestError, "not a torch.nn.Module"),
        ({"module": nn.Linear(4, 2, device="meta")}, RequestError, "meta device"),
        ({"example": np.array([["a"] * 4])}, RequestError, "not file names"),
        ({"test": (np.ones((2, 4)), np.array([0, 2]))}, RequestError, "0 to 1"),
        ({"test": (np.ones((2, 4)), np.array(["a", "b"]))}, RequestError, "in the order of their names"),
        ({"test": (np.ones((2, 4)), np.ones((2, 2)))}, RequestError, "do not fit samples"),
        ({"value_range": (1, 1)}, RequestError, "is empty"),
        ({"column_names": ["a"]}, RequestError, "1 column names"),
        ({"formats": ["onyx"]}, RequestError, "Did you mean onnx"),
        ({"license_id": "mit\n# Evil"}, RequestError, "is not one line"),
        ({"license_id": " "}, RequestError, "is not one line"),
        ({"license_id": None}, RequestError, "The licence None is not"),
        ({"manifest": {"license": "[mit](x)"}}, RequestError, "is not one line"),
        ({"example": np.ones((3, 5), np.float32)}, RequestError, "cannot take inputs"),
        ({"example": None}, RequestError, "needs an example"),
    ],
)
def test_a_request_that_does_not_fit_its_module_is_refused(change, error, words, tmp_path):
    asked = {"module": nn.Linear(4, 2), "example": np.ones((3, 4), np.float32), "formats": ONNX, **change}
    with pytest.raises(error, match=words):
        regplug.export(out=tmp_path / "b", **asked)
    assert not list(tmp_path.iterdir())


def test_a_run_takes_no_example(tmp_path):
    with pytest.raises(RequestError, match="example was given"):
        regplug.export("3f2a", np.ones((3, 4)), tmp_path)


def test_a_registry_that_does_not_know_the_model_is_told(tmp_path):
    store = copied_store(tmp_path)
    with pytest.raises(TrackingError, match="could not be registered as net"):
        store.register_model("models:/m-0", run_id="0" * 32, name="net")
