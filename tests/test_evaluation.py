"""Metrics against torch, scikit-learn and closed forms; the weight norm's probe."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch.nn import functional as F

from regplug.api import NoParams, Task
from regplug.errors import DivergedError
from regplug.measuring.metrics import (
    calibration_bins,
    confusion_matrix,
    evaluate_predictions,
    left_out_metrics,
    row_metrics,
    wilson_interval,
)
from regplug.measuring.predictions import predictions_csv
from regplug.probes import ProbeView
from regplug_probes.norms import WeightNorm

FOUR = Task(kind="classification", num_outputs=4, class_names=("a", "b", "c", "d"))
TWO = Task(kind="classification", num_outputs=2)
LINE = Task(kind="regression", num_outputs=1)


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    targets = rng.choice(4, 500, p=[0.6, 0.2, 0.1, 0.1])
    logits = rng.normal(size=(500, 4)) + 1.5 * np.eye(4)[targets]
    return logits.astype(np.float32), targets


def test_classification_metrics_are_scikit_learns_and_torchs(predictions):
    logits, targets = predictions
    found = evaluate_predictions(logits, targets, FOUR)
    probability = torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
    predicted = logits.argmax(axis=1)
    assert found["loss"] == pytest.approx(F.cross_entropy(*map(torch.from_numpy, predictions)).item(), rel=1e-5)
    assert found["loss"] == pytest.approx(sk.log_loss(targets, probability))
    assert found["accuracy"] == sk.accuracy_score(targets, predicted)
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(targets, predicted))
    assert found["macro_f1"] == sk.f1_score(targets, predicted, average="macro")
    one_against_rest = [sk.roc_auc_score(targets == label, probability[:, label]) for label in range(4)]
    assert found["auroc"] == pytest.approx(np.mean(one_against_rest))
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("num_classes", [2, 4])
def test_the_brier_score_is_scikit_learns(predictions, num_classes):
    logits, targets = predictions[0][:, :num_classes], predictions[1] % num_classes
    probability = torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
    expected = sk.brier_score_loss(targets, probability if num_classes > 2 else probability[:, 1])
    task = Task(kind="classification", num_outputs=num_classes)
    assert evaluate_predictions(logits, targets, task)["brier"] == pytest.approx(expected)
    assert row_metrics(logits, targets, task)["brier"].mean() == pytest.approx(expected)


def test_the_calibration_error_is_the_one_of_guo_bin_by_bin(predictions):
    logits, targets = predictions
    probability = torch.softmax(torch.from_numpy(logits).double(), dim=1).numpy()
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == targets
    expected = 0.0
    for low, high in itertools.pairwise(np.linspace(0, 1, 16)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert evaluate_predictions(logits, targets, FOUR)["ece"] == pytest.approx(expected)


def test_a_certain_prediction_is_in_the_last_bin_and_an_empty_bin_is_zero():
    rows, confidence, accuracy = calibration_bins(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1]))
    assert (rows.tolist(), confidence.tolist()) == ([0] * 14 + [2], [0] * 14 + [1])
    assert accuracy[-1] == 0.5


def test_the_values_by_row_have_the_metrics_as_their_mean(predictions):
    logits, targets = predictions
    found = evaluate_predictions(logits, targets, FOUR)
    by_row = row_metrics(logits, targets, FOUR)
    assert by_row["accuracy"].dtype == np.bool_
    assert {name: values.mean() for name, values in by_row.items()} == pytest.approx(
        {name: found[name] for name in by_row}
    )
    values, goals = logits.astype(np.float64), logits[::-1].astype(np.float64)
    task = Task(kind="regression", num_outputs=4)
    assert row_metrics(values, goals, task)["mae"].mean() == pytest.approx(
        evaluate_predictions(values, goals, task)["mae"]
    )


def test_predictions_are_a_table_of_rows_labels_and_probabilities():
    told = predictions_csv(np.log([[0.75, 0.25], [0.5, 0.5]]), np.array([0, 1]), TWO)
    assert told.splitlines() == [
        "row,label,prediction,probability of 0,probability of 1",
        "0,0,0,0.75,0.25",
        "1,1,0,0.5,0.5",
    ]
    line = predictions_csv(np.array([[3.5]]), np.array([[3.0]]), LINE)
    assert line.splitlines() == ["row,target,prediction", "0,3,3.5"]


def test_two_classes_have_the_auroc_of_the_second_one():
    logits, targets = np.array([[0.0, 1], [0, 2], [0, 3], [0, 4]]), np.array([0, 1, 0, 1])
    assert evaluate_predictions(logits, targets, TWO)["auroc"] == 0.75


def test_the_accuracys_interval_is_wilsons():
    p, n, z = 0.95, 100, 1.959963984540054
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = [(p + z**2 / (2 * n) + sign * half) / (1 + z**2 / n) for sign in (-1, 1)]
    assert wilson_interval(95, 100) == pytest.approx(expected)


def test_the_interval_stays_within_zero_and_one():
    assert wilson_interval(0, 10)[0] == 0
    assert wilson_interval(10, 10)[1] == 1
    assert wilson_interval(0, 10)[1] == pytest.approx(0.2775, abs=1e-4)


def test_huge_logits_keep_their_loss():
    found = evaluate_predictions(np.array([[1000.0, 0], [1000, 0]]), np.array([0, 1]), TWO)
    assert found["loss"] == 500


def test_a_class_without_a_row_leaves_auroc_out_with_the_reason(predictions):
    logits, targets = predictions
    targets = np.where(targets == 2, 0, targets)
    found = evaluate_predictions(logits, targets, FOUR)
    assert "auroc" not in found
    assert left_out_metrics(targets, FOUR) == {"auroc": "it needs a row of each class, but there is none of c"}
    recalls = [(logits.argmax(axis=1) == targets)[targets == label].mean() for label in (0, 1, 3)]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def test_nothing_is_left_out_where_all_classes_occur(predictions):
    assert left_out_metrics(predictions[1], FOUR) == {}


@pytest.mark.parametrize("num_columns", [1, 3])
def test_regression_metrics_are_scikit_learns(num_columns):
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(50, num_columns)).astype(np.float32)
    values = targets + 0.1 * rng.normal(size=targets.shape).astype(np.float32)
    found = evaluate_predictions(values, targets, Task(kind="regression", num_outputs=num_columns))
    assert found == {
        "mae": pytest.approx(np.abs(values - targets).mean(), rel=1e-5),
        "rmse": pytest.approx(np.sqrt(np.square(values - targets).mean(axis=0)).mean(), rel=1e-5),
        "r2": pytest.approx(sk.r2_score(targets, values)),
    }


@pytest.mark.parametrize("value", [1.0, 2.0])
def test_r2_of_a_column_that_does_not_vary_is_scikit_learns(value):
    targets = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 4.0]])
    values = np.array([[value, 1.5], [value, 2.0], [value, 3.0]])
    found = evaluate_predictions(values, targets, Task(kind="regression", num_outputs=2))
    assert found["r2"] == pytest.approx(sk.r2_score(targets, values))


def test_one_row_has_no_r2_with_the_reason():
    targets = np.array([[1.0]])
    assert evaluate_predictions(np.array([[3.0]]), targets, LINE) == {"mae": 2, "rmse": 2}
    assert left_out_metrics(targets, LINE) == {"r2": "it needs two rows or more"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_an_error(bad):
    with pytest.raises(DivergedError, match="output for row 1"):
        evaluate_predictions(np.array([[0.0], [bad]]), np.zeros((2, 1)), LINE)


def test_the_confusion_matrix_has_true_classes_down_and_predicted_ones_across():
    logits = np.eye(3)[[0, 0, 2, 2]]
    assert confusion_matrix(logits, np.array([0, 1, 1, 2])).tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 1]]


def test_the_weight_norm_counts_weights_and_neither_biases_nor_normalization():
    params = {
        "hidden.weight": torch.tensor([[3.0, 0], [0, 4]]),
        "output.weight": torch.tensor([[12.0]]),
        "hidden.bias": torch.tensor([100.0]),
        "norm.weight": torch.tensor([100.0]),
    }
    roles = {"hidden.weight": "weight", "output.weight": "weight", "hidden.bias": "bias", "norm.weight": "norm"}
    before = {name: tensor.clone() for name, tensor in params.items()}
    assert WeightNorm(NoParams()).measure(ProbeView(params=params, roles=roles)) == {"norm/weight": 13}
    assert all(torch.equal(before[name], params[name]) for name in params)


def test_the_weight_norm_of_a_model_without_weights_is_zero():
    assert WeightNorm(NoParams()).measure(ProbeView(params={}, roles={})) == {"norm/weight": 0}
