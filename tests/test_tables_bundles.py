"""Bundles of tables: the preparation travels, and new rows are prepared as the training rows were."""

from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
import torch
from made_docs import DOCS
from mixed_tables import write
from rewriting import change_manifest
from runs import standing_in
from tracking_stores import copied_store

import regplug
from regplug.errors import BundleError
from regplug.tables.preparation import Preparation


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory, path):
    """Of a classification and of a regression, with the table from which they came."""
    with standing_in(tmp_path_factory.mktemp("runs")) as folder:
        copied_store(folder)
        runs = [
            regplug.run(dataset=str(path), target=target, model="mlp:hidden=[8]", epochs=3, format=["onnx"], lr=0.1)
            for target in ("ill", "cost")
        ]
        return [(run, (folder / run.bundle_path).absolute()) for run in runs]


def numbers_of(rows):
    """One number for each row: the value, or the probability of the first class by name."""
    return np.array([row.values[0] if row.values else dict(row.top)["no"] for row in rows])


def test_rows_as_the_table_has_them_are_predicted_in_the_users_units(bundles, path):
    for run, bundle in bundles:
        answer = regplug.predict(bundle, path)
        assert len(answer.rows) == 120
        assert any("are ignored" in note for note in answer.notes)
        assert any(check.name == "samples.raw_rows" and check.passed for check in run.verification.checks)
    assert 900 < numbers_of(regplug.predict(bundles[1][1], path).rows).mean() < 1200
    assert bundles[1][0].metrics["test/rmse"] < 200
    assert bundles[1][0].metrics["test/loss"] < 10


def test_the_trained_module_answers_in_the_users_units(bundles):
    run, bundle = bundles[1]
    x = np.load(bundle / "sample_input.npz")["input"]

    with torch.no_grad():
        values = run.model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(values, np.load(bundle / "sample_output.npz")["values"], rtol=1e-4)


def test_the_documented_lines_of_numpy_prepare_rows(bundles, path):
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", (DOCS / "bundle.md").read_text(), re.S) if "prepare" in b]
    scope = {}
    exec(block, scope)  # noqa: S102 - the page's own code
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for _, bundle in bundles:
        part = json.loads((bundle / "manifest.json").read_text())["preparation"]
        ours = Preparation.from_json(part)
        cells = [[row[name] for name in ours.names] for row in rows]
        np.testing.assert_array_equal(scope["prepare"](rows, part), ours.apply(ours.encode(cells)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job,town\ncook,Ulm\n", "lacks the columns age, size, cost"),
        ("age,job,town,size,cost\nold,cook,Ulm,1,1\n", "line 2, column 'age': 'old' is not a number"),
        ("age,job,town,size,cost\n1,cook,Ulm,inf,1\n", "line 2, column 'size': the number is infinite"),
    ],
)
def test_new_rows_that_do_not_fit_are_refused(bundles, tmp_path, text, message):
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(BundleError, match=message):
        regplug.predict(bundles[0][1], tmp_path / "new.csv")


def test_new_rows_may_have_gaps_unseen_categories_and_another_order(bundles, tmp_path):
    (tmp_path / "new.csv").write_text("town;size;extra;job;cost;age\nMars;;1;astronaut;5;\nUlm;0.5;1;cook;6;33\n")
    answer = regplug.predict(bundles[0][1], tmp_path / "new.csv")
    assert len(answer.rows) == 2
    told = "\n".join(answer.notes)
    for part in ("ignored: extra", "town has 'Mars'", "job has 'astronaut'", "1 empty cells of size count as"):
        assert part in told


def test_a_preparation_that_was_changed_is_found_out(bundles):
    from regplug.bundles.rows import rows_prepared

    _, bundle = bundles[0]
    manifest = json.loads((bundle / "manifest.json").read_text())
    real = np.load(bundle / "sample_input.npz")["input"]
    assert all(check.passed for check in rows_prepared(manifest, real))
    manifest["preparation"]["columns"][0]["fill"] += 1
    manifest["preparation"]["columns"][0]["shift"] += 1
    assert not all(check.passed for check in rows_prepared(manifest, real))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda part: part["missing"].append("no"), "preparation.missing has other texts"),
        (lambda part: part["rows"].__delitem__(slice(1, None)), "preparation.rows has 1 rows, and an export writes"),
        (lambda part: category(part)["categories"].reverse(), "preparation makes other columns than column_names"),
    ],
)
def test_a_forged_preparation_is_found(bundles, change, told, tmp_path):
    bundle = shutil.copytree(bundles[0][1], tmp_path / "b")
    change_manifest(bundle, lambda manifest: change(manifest["preparation"]))
    assert told in "".join(check.detail for check in regplug.verify(bundle).failures)


def category(part):
    """The first column of categories."""
    return next(column for column in part["columns"] if column["kind"] == "category")
