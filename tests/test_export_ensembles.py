"""Several tracked runs are exported as one model, which averages them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_calls import Terminal
from runs import Place, standing_in
from torch import nn
from trainings import toy

import regplug
from regplug.bundles.layout import read_manifest
from regplug.bundles.publish import require_free
from regplug.bundles.schema import manifest_fault
from regplug.cli.exporting import _tell
from regplug.data import prepare
from regplug.errors import RequestError
from regplug.exporting.of_ensemble import require_alike
from regplug.tracking import open_store

pytestmark = pytest.mark.slow

TINY = {"epochs": 1, "model": "mlp:hidden=[8]", "format": ["torchscript"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with runs of digits and of others, which were not exported."""
    with standing_in(tmp_path_factory.mktemp("ensembles")) as folder:
        place = Place(folder)
        runs = {
            "one": place.run(**TINY, dataset="digits", reg=["dropout"], seed=0),
            "two": place.run(**{**TINY, "model": "linear"}, dataset="digits", seed=1),
            "line": place.run(**{**TINY, "model": "linear"}, dataset="linear_regression", batch_size=8),
        }
        yield place, runs


@pytest.fixture
def runs(made, monkeypatch):
    monkeypatch.chdir(made[0].folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return made[1]


@pytest.fixture
def terminal(runs, capsys):
    return Terminal(capsys)


@pytest.fixture(scope="module")
def exported(made):
    """The bundle of two runs of digits."""
    with standing_in(made[0].folder):
        runs = [made[1][name].run_id for name in ("one", "two")]
        yield regplug.export(runs, ensemble=True, formats=["torchscript"], probabilities=True)


def sample(exported):
    with np.load(exported.path / "sample_input.npz") as inputs, np.load(exported.path / "sample_output.npz") as outputs:
        return inputs["input"], outputs[read_manifest(exported.path)["output"]["name"]]


def test_the_probabilities_are_the_mean_of_those_of_the_runs(runs, exported):
    inputs, outputs = sample(exported)
    x = torch.as_tensor(inputs, dtype=torch.float32).reshape(len(inputs), 1, 8, 8) / 16
    with torch.no_grad():
        each = [runs[name].model(x).softmax(-1) for name in ("one", "two")]
        answer = torch.jit.load(exported.path / "model.ts")(torch.as_tensor(inputs))
    wanted = torch.stack(each).mean(0).numpy()
    np.testing.assert_allclose(outputs, wanted, atol=1e-6)
    np.testing.assert_allclose(answer.numpy(), wanted, atol=1e-6)


def test_the_bundle_lists_its_members_and_is_verified(runs, exported):
    manifest = read_manifest(exported.path)
    members = [runs["one"], runs["two"]]
    assert [member["run_id"] for member in manifest["members"]] == [run.run_id for run in members]
    assert [member["state_sha256"] for member in manifest["members"]] == [run.state_sha256 for run in members]
    assert [member["config"]["seed"] for member in manifest["members"]] == [0, 1]
    assert manifest["run_id"] is None
    assert "config" not in manifest
    assert {"mlp", "linear", "dropout"} <= {plugin["name"] for plugin in manifest["plugins"]}
    assert "torchscript.test_accuracy" in {check.name for check in exported.verification.checks}
    assert regplug.verify(exported.path).passed


def test_the_members_are_part_of_the_schema(exported):
    manifest = read_manifest(exported.path)
    assert "members" in manifest_fault({**manifest, "members": manifest["members"][:1]})
    broken = {**manifest["members"][0], "state_sha256": "?"}
    assert "64 hexadecimal digits" in manifest_fault({**manifest, "members": [broken, broken]})


def test_the_runs_in_the_store_stay_as_they_were(made, exported):
    assert exported.path.name.startswith("ensemble-")
    store = open_store(folder=made[0].folder)
    for run in exported.members:
        assert "bundle" not in store.artifact_names(run)
        assert "regplug.bundle" not in store.find_run(run).tags


def test_the_command_exports_logits_whose_softmax_is_the_mean(runs, terminal, exported, tmp_path):
    names = [runs["two"].run_id[:8], runs["one"].run_id]
    said = terminal("export", *names, "--ensemble", "--out", tmp_path / "b", "--json")
    assert said.code == 0, said.err
    assert [member["run_id"] for member in said.document["members"]] == [runs["two"].run_id, runs["one"].run_id]
    with np.load(tmp_path / "b" / "sample_output.npz") as outputs:
        np.testing.assert_allclose(np.exp(outputs["logits"]), sample(exported)[1], atol=1e-6)
    assert "an ensemble of 2 runs" in terminal("inspect", tmp_path / "b").out


def test_a_bundle_of_the_same_runs_is_replaced_and_no_other(runs, exported):
    require_free(exported.path, "+".join(sorted(exported.members)))
    with pytest.raises(RequestError, match=r"contains a bundle of the runs \w{8}, \w{8}, which was not replaced"):
        regplug.export(runs["one"].run_id, out=exported.path)
    with pytest.raises(RequestError, match="contains a bundle of the runs"):
        regplug.export([runs["one"].run_id, runs["line"].run_id], ensemble=True, out=exported.path)


def test_the_summary_at_the_terminal_names_every_run(exported, capsys):
    _tell(exported)
    said = capsys.readouterr().out
    assert all(run in said for run in exported.members)


def test_a_regression_is_the_mean_in_the_units_of_the_user(place):
    data = replace(toy("regression"), scale_targets=True)
    made = [place.run(**TINY, dataset=data, seed=seed, reg=[]) for seed in (0, 1)]
    exported = regplug.export([run.run_id for run in made], ensemble=True, dataset=data)
    inputs, outputs = sample(exported)
    files = [regplug.export(run.run_id, dataset=data, out=f"b{at}") for at, run in enumerate(made)]
    alone = [torch.jit.load(file.path / "model.ts")(torch.as_tensor(inputs)).numpy() for file in files]
    np.testing.assert_allclose(outputs, np.mean(alone, axis=0), atol=1e-5)


def test_rows_of_another_split_are_not_tested(made, runs, tmp_path):
    """They may be training rows of another member."""
    split = made[0].run(**TINY, dataset="digits", data_seed=1)
    exported = regplug.export([runs["one"].run_id, split.run_id], ensemble=True, out=tmp_path / "b", formats=["onnx"])
    assert "onnx.test_accuracy" not in {check.name for check in exported.verification.checks}
    assert regplug.verify(exported.path).passed


def test_live_dropout_of_the_members_is_kept(runs, tmp_path):
    names = [runs[name].run_id for name in ("one", "two")]
    exported = regplug.export(names, ensemble=True, stochastic=True, out=tmp_path / "b", formats=["torchscript"])
    (layer,) = read_manifest(exported.path)["stochastic"]["layers"]
    assert layer["name"].startswith("members.0.")
    assert regplug.verify(exported.path).passed


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (["one", "two"], [], "takes one run, but 2 were named"),
        (["one"], ["--ensemble"], "at least two runs"),
        (["one", "one"], ["--ensemble"], "is named twice"),
        (["one", "missing"], ["--ensemble"], "missing"),
        (["one", "two"], ["--ensemble", "--register", "net"], "cannot be registered"),
        (["one", "line"], ["--ensemble"], "differ in the task: 'classification' and 'regression'"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(runs, terminal, names, options, words, tmp_path):
    ids = [runs[name].run_id if name in runs else name for name in names]
    said = terminal("export", *ids, *options, "--out", tmp_path / "b", "--json")
    assert said.code == 2
    error = said.document["error"]
    assert words in f"{error['message']} {error['hint']}"
    if "differ" in words:
        assert all(name[:8] in error["message"] for name in ids)
    assert not list(tmp_path.iterdir())


def changed(raw, **inputs):
    return replace(raw, inputs=replace(raw.inputs, **inputs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: toy("regression"), "the task: 'classification' and 'regression'"),
        (
            lambda raw: replace(raw, task=replace(raw.task, num_outputs=4, class_names=tuple("abcd"))),
            "outputs: 3 and 4",
        ),
        (
            lambda raw: replace(raw, task=replace(raw.task, class_names=tuple("acb"))),
            "the classes: ('a', 'b', 'c') and",
        ),
        (lambda raw: toy(features=7), "the shape of the input: (8,) and (7,)"),
        (lambda raw: changed(raw, names=tuple("stuvwxyz")), "the columns of the input"),
        (lambda raw: changed(raw, low=-99.0, high=99.0), "the range of the input: (None, None) and (-99.0, 99.0)"),
        (lambda raw: replace(raw, normalize="standard"), "the shift of the normalisation"),
    ],
)
def test_runs_that_differ_outside_their_networks_are_named_with_the_difference(change, words):
    data = prepare(toy())
    require_alike("first", data, "second", prepare(toy()))
    with pytest.raises(RequestError, match="Runs first and second cannot be one model") as error:
        require_alike("first", data, "second", prepare(change(toy())))
    assert words in str(error.value)


def test_runs_of_another_precision_are_refused():
    with pytest.raises(RequestError, match=r"precision of the training: 'torch.float32' and 'torch.float64'"):
        require_alike("first", prepare(toy()), "second", prepare(toy(), dtype=torch.float64))


def test_one_run_under_two_names_is_refused(runs):
    run = runs["one"].run_id
    with pytest.raises(RequestError, match="are the same run"):
        regplug.export([run, run[:12]], ensemble=True)


@pytest.mark.parametrize("wrong", [["a", "b"], []])
def test_several_runs_from_python_need_the_word(wrong):
    with pytest.raises(RequestError, match="An export takes one run"):
        regplug.export(wrong)


def test_a_module_is_no_ensemble_of_runs(tmp_path):
    with pytest.raises(RequestError, match="A module is exported, but ensemble was given"):
        regplug.export(nn.Linear(2, 2), np.ones((3, 2)), tmp_path / "b", ensemble=True)


def test_the_document_of_an_ensemble_is_json(exported):
    assert json.loads(json.dumps(exported.document()))["run_id"] == ""
