"""Calibrated bundles: a temperature, prediction sets and intervals, fitted on validation rows and held on test rows."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from made_bundles import both, onnx_only, row_request, rows
from planting import updated
from rewriting import change_manifest
from torch import nn
from trainings import toy

import regplug
from regplug.api import Task
from regplug.bundles.calibration.answers import intervals_of, sets_of, softmax
from regplug.bundles.calibration.fitting import (
    Promise,
    exact_interval,
    fit_intervals,
    fit_sets,
    fit_temperature,
    measured_sets,
    nll,
    rank_of,
)
from regplug.bundles.calibration.request import Calibration, calibration_of
from regplug.bundles.layout import read_manifest
from regplug.bundles.schema import figure_contradictions, manifest_fault
from regplug.bundles.verifying import verify_bundle
from regplug.bundles.writing import write_bundle
from regplug.errors import ExportError, RequestError, VerificationError

ACCURACY = {"name": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6}
SETS = {"coverage": 0.9, "rows": 9, "test": [{"coverage": 0.9, "low": 0.8, "high": 0.9}]}


def drawn(count, seed, scale=1.0, classes=3):
    """Logits and classes that are drawn from softmax(logits / scale)."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (count, classes))
    shares = softmax(logits / scale)
    targets = (shares.cumsum(1) > generator.random((count, 1))).argmax(1)
    return logits.astype(np.float32), targets


def test_the_temperature_is_that_from_which_the_classes_were_drawn():
    logits, targets = drawn(20000, 0, scale=1.7)
    temperature = fit_temperature(logits, targets)
    assert temperature == pytest.approx(1.7, rel=0.05)
    assert nll(logits, targets, temperature) <= min(nll(logits, targets, temperature * step) for step in (0.99, 1.01))


def test_rows_that_are_all_right_have_no_temperature():
    with pytest.raises(ExportError, match=r"No temperature .* the 3 validation rows, of which 3 are predicted right"):
        fit_temperature(np.eye(3), np.arange(3))


@pytest.mark.parametrize(("rows", "coverage", "rank"), [(9, 0.9, 9), (99, 0.9, 90), (10, 0.9, 10), (1, 0.5, 1)])
def test_the_threshold_is_the_n_plus_1_quantile(rows, coverage, rank):
    assert rank_of(rows, coverage) == rank


def test_sets_and_intervals_of_new_rows_have_the_promised_coverage_on_average():
    covered = {"sets": [], "intervals": []}
    for seed in range(300):
        logits, targets = drawn(60, seed)
        threshold = fit_sets(softmax(logits[:40]), targets[:40], 0.8)
        covered["sets"].append(sets_of(softmax(logits[40:]), threshold)[np.arange(20), targets[40:]].mean())
        noise = np.random.default_rng(seed).standard_cauchy((60, 1))
        halves = fit_intervals(np.zeros((40, 1)), noise[:40], 0.8, 0.0)
        covered["intervals"].append((np.abs(noise[40:]) <= halves).mean())
    # With n = 40 the mean coverage is 33 / 41.
    for shares in covered.values():
        assert np.mean(shares) == pytest.approx(33 / 41, abs=4 * np.std(shares) / 300**0.5)


def test_the_coverage_of_test_rows_is_beta_binomial():
    counts = []
    for seed in range(2000):
        scores = np.random.default_rng(seed).random(60)
        counts.append((scores[40:] <= np.sort(scores[:40])[rank_of(40, 0.8) - 1]).sum())
    promise = Promise(rows=40, coverage=0.8)
    for alarm in (0.5, 0.1, 0.02):
        least = promise.least(20, alarm)
        # `least` is the quantile: fewer than that occur with at most this probability, and one more with a greater one.
        assert np.mean(np.array(counts) / 20 < least - 1e-9) <= alarm + 0.02
        assert np.mean(np.array(counts) / 20 <= least + 1e-9) >= alarm - 0.02


def test_the_interval_of_a_share_is_exact():
    from scipy.stats import binomtest

    found = binomtest(17, 20).proportion_ci(0.95, "exact")
    assert exact_interval(17, 20) == pytest.approx((found.low, found.high))
    assert exact_interval(0, 20)[0] == 0.0


def test_targets_in_another_order_have_no_temperature_and_the_hint_says_so():
    logits, _ = drawn(500, 3)
    with pytest.raises(ExportError, match="No temperature between") as caught:
        fit_temperature(logits, logits.argmin(1))
    assert "order of the class names" in caught.value.hint


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, bool])
def test_classes_may_be_floats_or_booleans(dtype):
    shares = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])
    classes = np.array([0, 1, 0, 1])
    assert fit_sets(shares, classes.astype(dtype), 0.5) == fit_sets(shares, classes, 0.5)
    assert nll(np.log(shares), classes.astype(dtype)) == nll(np.log(shares), classes)
    assert measured_sets(shares, classes.astype(dtype), 0.5) == measured_sets(shares, classes, 0.5)


def test_a_coverage_that_is_no_number_is_refused():
    with pytest.raises(RequestError, match="is not a number"):
        calibration_of("none", "0.9", None)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, ""),
        ({"metrics": [ACCURACY | {"value": 0.99}]}, "accuracy is 0.99, outside of its interval from 0.4 to 0.6"),
        ({"calibration": SETS | {"test": [{"coverage": 0.99, "low": 0.8, "high": 0.92}]}}, "calibration.test is 0.99"),
        ({"calibration": SETS | {"rows": 3}}, "coverage is 0.9, which 3 rows are too few to promise"),
    ],
)
def test_figures_that_contradict_each_other_are_found_out(change, found):
    manifest = {"metrics": [ACCURACY], "calibration": SETS} | change
    assert [fault for fault in figure_contradictions(manifest) if found not in fault] == []
    assert bool(found) == any(figure_contradictions(manifest))


def test_equal_probabilities_are_covered_however_they_are_rounded():
    shares = np.full((50, 2), 0.5, np.float32)
    threshold = fit_sets(shares, np.zeros(50, int), 0.9)
    assert measured_sets(np.nextafter(shares, 0, dtype=np.float32), np.zeros(50, int), threshold)["coverage"] == 1.0


CLASSES = Task(kind="classification", num_outputs=3)
REFUSED = {
    "no validation rows": (CLASSES, "temperature", 0.0, None, "no validation rows"),
    "too few rows": (CLASSES, "none", 0.95, 18, r"18 validation rows are too few .* at least 19"),
    "labels": (Task(kind="multilabel", num_outputs=3), "none", 0.9, 40, "multilabel"),
    "a regression": (Task(kind="regression", num_outputs=1), "temperature", 0.0, 40, "a regression has none"),
    "both": (CLASSES, "temperature", 0.9, 40, "Both a temperature and a conformal"),
    "a coverage of 1": (CLASSES, "none", 1.0, 40, "A coverage of 1 cannot be promised"),
    "a negative coverage": (CLASSES, "none", -0.5, 40, "A coverage of -0.5"),
    "an unknown kind": (CLASSES, "platt", 0.0, 40, "no calibration 'platt'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_calibrated_is_refused(name):
    task, kind, coverage, count, message = REFUSED[name]
    given = None if count is None else (np.zeros((count, 4), np.float32), np.zeros(count, int))
    with pytest.raises(RequestError, match=message):
        calibration_of(kind, coverage, given).validate(task, stochastic=False)


def test_a_stochastic_bundle_is_not_calibrated():
    calibration = Calibration(kind="temperature", rows=(rows(), np.zeros(80, int)))
    with pytest.raises(RequestError, match="stochastic bundle cannot be calibrated"):
        row_request(nn.Linear(4, 3), calibration=calibration, stochastic=True, formats=onnx_only()).validate()


def test_nineteen_rows_are_enough_for_a_coverage_of_95_percent():
    calibration_of("none", 0.95, (rows(19), np.zeros(19, int))).validate(CLASSES, stochastic=False)


class Scaled(nn.Module):
    """Four numbers around 5 to three logits that are twice too large."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return 2 * self.layer(x)


def request_of(kind, coverage=0.0, count=1200, **changes):
    """Rows whose classes are drawn from half the network's logits: a third for validation, the rest for the test."""
    x, network = rows(count), Scaled()
    with torch.no_grad():
        shares = softmax(network((torch.from_numpy(x) - 5) / 2).numpy() / 2)
    y = (shares.cumsum(1) > np.random.default_rng(1).random((count, 1))).argmax(1)
    cut = count // 3
    calibration = Calibration(kind=kind, coverage=coverage, rows=(x[:cut], y[:cut]))
    asked = {"calibration": calibration, "test": (x[cut:], y[cut:]), "formats": both(), **changes}
    return row_request(network, **asked)


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    torch.manual_seed(0)
    request = request_of("temperature")
    return request, write_bundle(request, tmp_path_factory.mktemp("t") / "b")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    torch.manual_seed(0)
    request = request_of("conformal", 0.9, probabilities=True)
    return request, write_bundle(request, tmp_path_factory.mktemp("s") / "b")


def onnx_outputs(bundle, x):
    import onnxruntime

    return onnxruntime.InferenceSession(str(bundle.path / "model.onnx")).run(None, {"input": x})


@pytest.mark.slow
def test_a_temperature_divides_the_logits_of_the_file_and_is_told(scaled):
    request, bundle = scaled
    part = read_manifest(bundle.path)["calibration"]
    assert part["temperature"] == pytest.approx(2, rel=0.3)
    x = request.samples
    with torch.no_grad():
        plain = request.module((torch.from_numpy(x) - 5) / 2).numpy()
    (got,) = onnx_outputs(bundle, x)
    np.testing.assert_allclose(got, plain / part["temperature"], atol=1e-5)
    (test,) = part["test"]
    assert test["nll_after"] < test["nll_before"]
    assert test["ece_after"] < test["ece_before"]
    assert (part["rows"], test["rows"]) == (400, 800)
    assert verify_bundle(bundle.path).passed


@pytest.mark.slow
def test_the_sets_of_the_file_are_those_of_its_probabilities_and_cover_the_test_rows(sets):
    request, bundle = sets
    part = read_manifest(bundle.path)["calibration"]
    x, y = request.test
    shares, found = onnx_outputs(bundle, x)
    assert np.array_equal(found, sets_of(shares, part["thresholds"][0]))
    coverage = found[np.arange(len(y)), y].mean()
    (test,) = part["test"]
    assert test["coverage"] == pytest.approx(coverage)
    assert test["low"] < coverage < test["high"]
    assert test["mean_size"] == pytest.approx(found.sum(1).mean())
    assert 0.85 < coverage < 0.95
    checked = {check.name: check for check in bundle.verification.checks}
    assert checked["torchscript.sets.test_coverage"].figure == pytest.approx(coverage)
    assert verify_bundle(bundle.path).passed


@pytest.mark.slow
def test_a_promise_that_was_raised_everywhere_but_in_the_report_is_found(sets, tmp_path):
    bundle = shutil.copytree(sets[1].path, tmp_path / "b")
    card = bundle / "README.md"
    card.write_text(card.read_text().replace(" 90 %", " 99 %"))
    change_manifest(bundle, updated("calibration", "coverage", value=0.99))
    assert "sets.test_coverage has a different limit" in str(verify_bundle(bundle).failures)
    assert "bundle.checks_at_export" in {check.name for check in verify_bundle(bundle).failures}


@pytest.mark.slow
def test_predict_shows_the_sets(sets, tmp_path, capsys):
    from cli_calls import Terminal

    request, bundle = sets
    np.save(tmp_path / "x.npy", request.test[0][:20])
    answers = regplug.predict(bundle.path, tmp_path / "x.npy")
    shares, found = onnx_outputs(bundle, request.test[0][:20])
    names = np.array(request.task.class_names)
    for row, share, is_in in zip(answers.rows, shares, found, strict=True):
        assert set(row.prediction_set) == set(names[is_in])
        assert list(row.prediction_set) == [name for name in names[np.argsort(-share)] if name in row.prediction_set]
    assert answers.as_json()["predictions"][0]["set"] == list(answers.rows[0].prediction_set)
    said = Terminal(capsys)("predict", bundle.path, tmp_path / "x.npy")
    assert "90 % set" in said.out
    assert ", ".join(answers.rows[0].prediction_set) in said.out


@pytest.mark.slow
def test_a_run_exports_sets_and_its_export_may_choose_a_temperature_instead(place, tmp_path):
    run = place.run(format=["onnx"], export=True, conformal=0.9)
    part = read_manifest(run.bundle_path)["calibration"]
    assert (part["kind"], part["coverage"]) == ("conformal", 0.9)
    other = regplug.export(run.run_id, out=tmp_path / "b", calibrate="temperature", dataset=toy())
    assert read_manifest(other.path)["calibration"]["kind"] == "temperature"
    plain = regplug.export(run.run_id, out=tmp_path / "c", conformal=0, dataset=toy())
    assert read_manifest(plain.path)["calibration"] is None


@pytest.mark.parametrize(
    ("valid", "asked", "message"),
    [
        (None, {"calibrate": "temperature"}, "no validation rows"),
        (48, {"conformal": 0.99}, "48 validation rows are too"),
    ],
)
def test_a_run_that_cannot_be_calibrated_is_refused_before_it_trains(place, valid, asked, message):
    data = toy() if valid else dataclasses.replace(toy(), valid=None)
    with pytest.raises(RequestError, match=message):
        place.run(dataset=data, export=True, **asked)
    assert place.statuses() == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a", "b", "--ensemble", "--conformal", "0.9"), "An ensemble cannot be calibrated"),
        (("a", "--calibrate", "temperature", "--conformal", "0.9"), "Both a temperature and a conformal"),
        (("a", "--conformal", "1.5"), "A coverage of 1.5 cannot be promised"),
        (("a", "--calibrate", "platt"), "no calibration 'platt'"),
    ],
)
def test_the_command_line_refuses_what_cannot_be_calibrated(words, said, capsys):
    from cli_calls import Terminal

    answer = Terminal(capsys)("export", *words)
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.slow
def test_a_regression_gets_intervals_in_the_units_of_its_targets(tmp_path, capsys):
    from cli_calls import Terminal

    x = rows(400)
    network = nn.Linear(4, 2)
    with torch.no_grad():
        values = network(torch.from_numpy(x)).numpy()
    y = values + np.random.default_rng(0).normal(0, [1, 10], values.shape).astype(np.float32)
    exported = regplug.export(
        network, x[:64], tmp_path / "b", task="regression", test=(x[:200], y[:200]), validation=(x[200:], y[200:]),
        conformal=0.8, formats=["onnx", "pt2", "onnx_fp16"],
    )  # fmt: skip
    part = read_manifest(exported.path)["calibration"]
    got, intervals = onnx_outputs(exported, x)
    np.testing.assert_allclose(intervals, intervals_of(got, part["thresholds"]), rtol=1e-6)
    np.testing.assert_allclose(part["thresholds"], [1.28, 12.8], rtol=0.2)
    assert [one["mean_size"] for one in part["test"]] == pytest.approx([2 * half for half in part["thresholds"]])
    assert regplug.verify(exported.path).passed
    np.save(tmp_path / "x.npy", x[:3])
    said = Terminal(capsys)("predict", exported.path, tmp_path / "x.npy", "--json").document
    np.testing.assert_allclose(said["predictions"][1]["intervals"], intervals[1], rtol=1e-6)


@pytest.mark.slow
def test_test_rows_that_are_unlike_the_validation_rows_refute_the_promise(tmp_path):
    torch.manual_seed(0)
    request = request_of("conformal", 0.9)
    x, y = request.test
    wrong = dataclasses.replace(request, test=(x, (y + 1) % 3), formats=onnx_only())
    with pytest.raises(VerificationError, match=r"onnx.sets.test_coverage: 0.\d+ \(limit 0.[78]"):
        write_bundle(wrong, tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"thresholds": [0.9]}, "onnx.sets.all"),
        ({"kind": "platt"}, "calibration.kind must be"),
        ({"coverage": 1.5}, "calibration.coverage must be"),
        ({"method": "absolute_residual"}, "of this classification it is"),
    ],
)
def test_a_manifest_that_tells_another_calibration_is_found_out(sets, change, found):
    manifest = json.loads((sets[1].path / "manifest.json").read_text())
    manifest["calibration"] |= change
    if "thresholds" not in change:
        assert found in manifest_fault(manifest)
        return
    from regplug.bundles.calibration.checks import check_added_output
    from regplug.bundles.samples import read_samples

    known, _ = read_samples(sets[1].path, manifest)
    form = onnx_only()[0][2]
    checks = check_added_output(form, sets[1].path / "model.onnx", known, manifest)
    assert not any(check.passed for check in checks)
