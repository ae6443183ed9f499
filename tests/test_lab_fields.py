"""The fields that a study gives to `lab.sweep` and `lab.run`."""

from __future__ import annotations

import pytest
from tracking_stores import copied_store

from regplug.errors import ParameterError
from regplug.lab import Lab


@pytest.mark.parametrize(
    ("method", "fields", "told"),
    [
        ("sweep", {"epoch": 1}, "lab.sweep has no field epoch.\nDid you mean epochs?"),
        ("sweep", {"keep_model": True}, "lab.sweep has no field keep_model.\nDid you mean keep_models"),
        ("sweep", {"folds": 2, "repeat": 2}, "lab.sweep has no field repeat.\nDid you mean repeats"),
        ("sweep", {"observers": []}, r"has no field observers.\n.*help\(regplug.sweep\)"),
        ("run", {"epoch": 1}, "lab.run has no field epoch.\nDid you mean epochs?"),
        ("run", {"seeds": 3}, r"lab.run has no field seeds.\n.*Known: label, .*: help\(regplug.run\)"),
    ],
)
def test_a_misspelt_field_is_refused_before_anything_is_trained(tmp_path, monkeypatch, method, fields, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match=told):
        getattr(Lab(study="s", quick=True, seeds=1), method)(model="mlp", dataset="moons", **fields)
    assert not list(tmp_path.iterdir())


def test_a_sweep_takes_the_values_of_a_file_and_of_overrides(tmp_path):
    copied_store(tmp_path)
    (tmp_path / "run.toml").write_text('model = "linear"\ndataset = "moons"\nepochs = 5\n')
    lab = Lab(study="s", quick=True, seeds=1, tracking_uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    runs = lab.sweep(config=tmp_path / "run.toml", overrides=["epochs=1"])
    assert [len(curve) for curve in runs.curves("train/loss")] == [1]
    assert runs.result.document()["runs"][0]["config"]["model"] == "linear:bias=true"
