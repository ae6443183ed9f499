"""A bundle's model card: hubs can read its head, and its programs run as they are printed."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from made_bundles import FLOWERS, both, image_request, row_request, rows
from planting import updated
from rewriting import change_manifest

from regplug.api import Task
from regplug.bundles.card import unit_of
from regplug.bundles.layout import README, canonical_json, read_manifest, write_checksums
from regplug.bundles.measured import measured_metrics
from regplug.bundles.request import licensed
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle

COLUMNS = ["petal length (cm)", "b | c", "<b>d</b>", "`e`"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cards")
    test = (rows(60), np.arange(60) % 3)
    task = Task(kind="classification", num_outputs=3, class_names=("iris", "a|b", "<i>"))
    named = row_request(test=test, task=task, manifest={"column_names": COLUMNS})
    made = {"rows": licensed(named, "apache-2.0"), "images": image_request(formats=both()[:1])}
    return {name: write_bundle(request, folder / name).path for name, request in made.items()}


def card(bundle: Path) -> str:
    return (bundle / README).read_text(encoding="utf-8")


def programs(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def head(text: str) -> dict[str, object]:
    return yaml.safe_load(text.split("---\n")[1])


@pytest.mark.slow
def test_the_head_of_a_card_is_what_hubs_read(bundles: dict[str, Path]) -> None:
    found = head(card(bundles["rows"]))
    assert (found["license"], found["pipeline_tag"], found["library_name"]) == (
        "apache-2.0",
        "tabular-classification",
        "onnx",
    )
    (metric,) = read_manifest(bundles["rows"])["metrics"]
    assert found["model-index"][0]["results"][0]["metrics"][0]["value"] == metric["value"]
    other = head(card(bundles["images"]))
    assert (other["license"], other["pipeline_tag"]) == ("unknown", "image-classification")
    assert "model-index" not in other


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows", "images"])
def test_the_python_programs_of_a_card_run_as_they_are_printed(
    name: str, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bundles[name])
    found = programs(card(bundles[name]), "python")
    assert len(found) == {"rows": 2, "images": 1}[name]
    names = read_manifest(bundles[name])["class_names"]
    with np.load("sample_output.npz") as known:
        wanted = known["logits"][:5]
    for program in found:
        assert program.count("\n") <= 15
        said, made = io.StringIO(), {}
        with contextlib.redirect_stdout(said):
            exec(program, made)  # noqa: S102 - the program under test
        assert np.allclose(np.asarray(made["logits"]), wanted, atol=1e-4)
    first = subprocess.run([sys.executable, "-c", found[0]], capture_output=True, text=True, check=True)
    assert first.stdout.strip() == str([names[place] for place in wanted.argmax(1)])


@pytest.mark.slow
def test_a_card_tells_columns_with_units_metrics_with_intervals_and_hashes(bundles: dict[str, Path]) -> None:
    text = card(bundles["rows"])
    assert "| petal length (cm) | cm |" in text
    assert r"| b \| c | as in the data |" in text
    assert "<b>" not in text
    (metric,) = read_manifest(bundles["rows"])["metrics"]
    assert metric["low"] < metric["value"] < metric["high"]
    assert metric["rows"] == 60
    assert f"| accuracy | {metric['value']:.4g} | {metric['low']:.4g} to {metric['high']:.4g} | 60 |" in text
    assert all(line in text for line in ("## Licence", "`apache-2.0`", "## Data", "## Hashes"))
    assert all(program.count("\n") <= 15 for program in programs(text, "cpp"))
    assert len(programs(text, "cpp")) == 2
    assert ", ".join(FLOWERS) in card(bundles["images"])


@pytest.mark.slow
def test_a_card_of_other_files_is_found_and_a_bundle_without_one_is_an_older_one(
    bundles: dict[str, Path], tmp_path: Path
) -> None:
    bundle = shutil.copytree(bundles["images"], tmp_path / "bundle")
    shutil.copy(bundles["rows"] / README, bundle / README)
    write_checksums(bundle)
    assert [check.name for check in verify_bundle(bundle).failures] == ["bundle.readme"]
    shutil.copy(bundles["images"] / README, bundle / README)
    (bundle / README).write_text(card(bundle) + "<!-- and more -->\n")
    write_checksums(bundle)
    assert [check.name for check in verify_bundle(bundle).failures] == ["bundle.readme"]
    (bundle / README).unlink()
    write_checksums(bundle)
    assert [check.name for check in verify_bundle(bundle).failures] == ["bundle.readme"]
    change_manifest(bundle, updated("versions", "regplug", value="0.1.0"))
    assert verify_bundle(bundle).passed


def test_the_unit_of_a_column_stands_in_parentheses_at_its_end() -> None:
    assert [unit_of(name) for name in ("mass [kg]", "a (b) c", "x")] == ["kg", "as in the data", "as in the data"]


def test_metrics_have_intervals_that_contain_them() -> None:
    outputs = np.random.default_rng(0).normal(size=(50, 2))
    cases = {"classification": outputs.argmax(1), "multilabel": outputs > 1, "regression": outputs + 1}
    for task, targets in cases.items():
        for metric in measured_metrics(outputs, targets, task, 0.0):
            assert metric["low"] <= metric["value"] <= metric["high"], metric
            assert json.loads(canonical_json(metric))["rows"] == 50
