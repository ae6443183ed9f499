"""What docs/ says of bundles, tracking, configuration and studies is so."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from made_docs import DOCS, blocks
from mlflow import MlflowClient
from runs import standing_in

import regplug
from regplug.config import load_config
from regplug.config.spec import ComponentSpec
from regplug.studies.design.axes import parse_axis
from regplug.studies.design.points import MOST_RUNS

BUNDLE, TRACKING, CONFIGURATION, STUDIES = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("bundle", "tracking", "configuration", "studies")
)
PREFIXES = ("model.", "dataset.", "reg.")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One small run with a bundle."""
    with standing_in(tmp_path_factory.mktemp("run")) as folder:
        uri = f"sqlite:///{folder}/mlruns/mlflow.db"
        return regplug.run(
            model="mlp:hidden=[16]", reg=["l2"], lr=0.2, epochs=2, out=str(folder / "b"), tracking_uri=uri
        )


@pytest.fixture(scope="module")
def tracked(result):
    return MlflowClient(result.tracking_uri).get_run(result.run_id)


def test_each_file_of_a_bundle_is_told(result):
    names = [path.name for path in result.bundle_path.iterdir()]
    assert len(names) >= 7
    assert not [name for name in names if f"`{name}`" not in BUNDLE]


def test_each_key_of_the_manifest_is_told(result):
    manifest = json.loads((result.bundle_path / "manifest.json").read_text())
    keys = {*manifest, *manifest["input"], *manifest["output"]}
    assert not [key for key in keys if f"`{key}`" not in BUNDLE]


def test_each_field_of_a_check_is_told(result):
    report = json.loads((result.bundle_path / "verification.json").read_text())
    assert not [key for key in {*report, *report["checks"][0]} if f"`{key}`" not in BUNDLE]


def test_the_script_without_regplug_answers(result, tmp_path):
    script, *_ = blocks(BUNDLE, "python")
    assert len([line for line in script.splitlines() if line and not line.startswith(("import", "from"))]) <= 12
    forbidden = "import sys\nfor name in ('torch', 'mlflow', 'regplug'):\n    sys.modules[name] = None\n"
    file = tmp_path / "answer.py"
    file.write_text(forbidden + script)
    done = subprocess.run([sys.executable, file, result.bundle_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    ours = regplug.predict(result.bundle_path, result.bundle_path / "sample_input.npz").rows[:5]
    assert [line.split()[0] for line in done.stdout.splitlines()] == [row.label for row in ours]


def test_each_metric_is_told(tracked):
    assert not [name for name in tracked.data.metrics if not _is_told(name)]


def _is_told(name):
    prefix, _, quantity = name.partition("/")
    if prefix == "valid" and quantity not in ("loss", "accuracy"):
        return f"`test/{quantity}`" in TRACKING
    return f"`{name}`" in TRACKING or (f"`{prefix}/...`" in TRACKING and quantity in ("loss", "accuracy"))


def test_each_file_of_a_run_is_told(result):
    names = [file.path for file in MlflowClient(result.tracking_uri).list_artifacts(result.run_id)]
    assert not [name for name in names if f"`{name}`" not in TRACKING]


def test_only_parameters_that_were_chosen_are_logged(tracked):
    names = {"model", "model.hidden", "dataset", "regularizers", "reg.l2.strength", "lr", "epochs", "seed"}
    assert set(tracked.data.params) == names
    assert not [name for name in names if not name.startswith(PREFIXES) and f"`{name}`" not in TRACKING]
    assert tracked.data.params["reg.l2.strength"] == "0.0001"


def test_the_example_from_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(TRACKING, "python")
    exec(example, {})  # noqa: S102  # the document's own lines
    run_id, experiment, accuracy = capsys.readouterr().out.split()
    assert (len(run_id), experiment) == (32, "digits/mlp")
    assert 0 < float(accuracy) <= 1


def test_the_example_of_a_file_is_a_configuration(tmp_path):
    (example,) = blocks(CONFIGURATION, "toml")
    file = tmp_path / "mine.toml"
    file.write_text(example)
    config = load_config(file, ["reg.l2.strength=1e-3", "model.hidden=[32]"])
    assert config.reg == ("dropout:drop_probability=0.2", "l2:strength=0.001")
    assert config.model == "mlp:hidden=[32]"


def test_each_written_component_can_be_read():
    table = CONFIGURATION.split("## Components")[1].split("\n\n")[1]
    texts = [text for row in table.splitlines()[2:] for text in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(texts) == 7
    assert [str(ComponentSpec.parse(text)) for text in texts] == texts


def test_each_schedule_of_the_text_is_one():
    text = CONFIGURATION.split("## Schedules")[1].split("`--schedule` takes ")[1].split(". `--warmup")[0]
    schedules = re.findall(r"`([^`]+)`", text)
    assert len(schedules) == 6
    assert [load_config(None, (), {"schedule": each}).schedule for each in schedules] == schedules


def test_the_axes_of_studies_are_written_as_told():
    axes = [
        axis for line in STUDIES.splitlines() if line.startswith("| `") for axis in re.findall(r"`([^`]+=[^`]+)`", line)
    ]
    assert [len(parse_axis(axis).values) for axis in axes] == [2, 7, 5, 3, 3, 2, 2]
    assert f"at most {MOST_RUNS:,} runs" in STUDIES


@pytest.mark.slow
def test_the_study_file_and_the_studies_from_python_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (file,), (example,) = blocks(STUDIES, "toml"), blocks(STUDIES, "python")
    (tmp_path / "study.toml").write_text(file, encoding="utf-8")
    assert len(regplug.sweep(config="study.toml").results) == 12
    exec(example, {})  # noqa: S102  # the document's own lines
    assert "report.html" in [path.name for path in tmp_path.iterdir()]
    assert len(capsys.readouterr().out.splitlines()) == 3
