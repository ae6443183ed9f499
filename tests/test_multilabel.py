"""Several labels for each row: from tables and arrays to metrics, predictions and bundles."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as sk
import torch
from runs import standing_in
from tracking_stores import copied_store
from trainings import assembled, toy, trained, trainer

import regplug
from regplug.api import Regularizer, Task
from regplug.bundles.decisions import decision_of
from regplug.bundles.passes import sigmoid
from regplug.data import prepare, raw_from_arrays, raw_from_table
from regplug.data.altering import alter_training
from regplug.data.folds import fold_data
from regplug.errors import CompositionError, DataError, RequestError
from regplug.measuring.guessing import find_guess, has_fitted
from regplug.measuring.metrics import evaluate_predictions, left_out_metrics, row_metrics
from regplug.measuring.predictions import predictions_csv
from regplug.registry import default_registry
from regplug.runs.caller_objects import take_over
from regplug.tables.options import TableOptions
from regplug.tables.reading import read_table
from regplug.tables.taking import take_frame
from regplug.training.ensemble import combined

TASK = Task(kind="multilabel", num_outputs=3, class_names=("a", "b", "c"))
REGULARIZERS = {
    one.name: one.component
    for one in default_registry().components("regularizer")
    if isinstance(one.component, Regularizer) and one.origin.is_first_party
}


def frame(rows=120):
    random = np.random.default_rng(0)
    size = random.normal(size=rows)
    return pd.DataFrame(
        {
            "size": np.where(np.arange(rows) % 9 == 4, np.nan, size),
            "town": random.choice(["Ulm", "Bonn"], rows),
            "large": (size > 0).astype(int),
            "even": np.where(np.arange(rows) % 2, "no", "Yes"),
            "odd, or not": np.arange(rows) % 2 == 1,
            "cost": size * 2,
        }
    )


def load(target, data=None, **options):
    options = TableOptions(target=target, drop=("cost",) if "cost" not in target else (), **options)
    return raw_from_table(take_frame(frame() if data is None else data), options, seed=0, name="mine")


def test_several_columns_of_zero_and_one_are_labels():
    raw = load('large,even,"odd, or not"')
    assert raw.task == Task(kind="multilabel", num_outputs=3, class_names=("large", "even", "odd, or not"))
    assert (raw.train.y.dtype, raw.train.y.shape[1], raw.scale_targets) == (np.float32, 3, False)
    assert raw.inputs.names == ("size", "town")
    np.testing.assert_array_equal(raw.train.y[:, 1], 1 - raw.train.y[:, 2])
    assert prepare(raw).units is None


def test_a_name_that_holds_a_comma_is_one_target():
    assert load("odd, or not").task.kind == "classification"


def test_targets_of_a_text_file_keep_their_digits(tmp_path):
    frame().to_csv(tmp_path / "t.csv", index=False)
    options = TableOptions(target="large, even", drop=("cost",))
    raw = raw_from_table(read_table(tmp_path / "t.csv", options=options), options, seed=0, name="mine")
    np.testing.assert_array_equal(raw.train.y, load("large,even").train.y[:, :2])


def test_several_quantities_are_a_regression_of_as_many_outputs():
    data = prepare(load("cost,large", task="regression"))
    assert (data.task.kind, data.task.num_outputs) == ("regression", 2)
    np.testing.assert_allclose(data.in_units(data.test.y.numpy()), data.raw.test.y, rtol=1e-5, atol=1e-6)
    assert load("cost,large").task.kind == "regression"


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("large,towns", {}, "no column 'towns'"),
        ("large,large", {}, "names large twice"),
        ("large,", {}, "has a name that is empty"),
        ("large,town", {}, r"row \d+, column town: '(Ulm|Bonn)' is no label"),
        ("large,cost", {"task": "classification"}, "row 0, column cost: .* is no label"),
        ("large,even", {"balance": True}, "a row has several labels"),
        ("large,even", {"group": "even"}, "that is the target"),
    ],
)
def test_targets_that_are_no_labels_are_refused(target, options, words):
    with pytest.raises(DataError, match=words):
        load(target, **options)


def test_a_label_that_is_the_same_in_every_row_is_refused():
    with pytest.raises(DataError, match="column even: the label is 1 in every row"):
        load("large,even", frame().assign(even="yes"))
    rare = frame(60).assign(even=[*["no"] * 59, "yes"], day=range(60))
    (note,) = [note for note in load("large,even", rare, order="day").notes if "Label" in note]
    assert note == "Label even is 0 in every training row, so it cannot be learned."


def test_arrays_of_zero_and_one_are_labels():
    y = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]] * 8)
    for given in (y, y.astype(bool), torch.tensor(y), y.tolist()):
        raw = raw_from_arrays(np.zeros((40, 2)), given)
        assert (raw.task.kind, raw.task.class_names) == ("multilabel", ("0", "1", "2"))
    assert raw_from_arrays(np.zeros((40, 2)), y[:, :1]).task.kind == "classification"
    assert raw_from_arrays(np.zeros((40, 2)), y.astype(float)).task.kind == "regression"
    for wrong, words in (
        (np.eye(4, dtype=int).repeat(10, 0), "classes as one-hot rows"),
        (y + 1, "it must be classes"),
        (np.c_[y, np.ones(40, int)], "column 3: the label is 1 in every row"),
    ):
        with pytest.raises(DataError, match=words):
            raw_from_arrays(np.zeros((40, 2)), wrong)


def test_a_frame_of_targets_gives_the_labels_their_names():
    given = frame()
    dataset = (given[["size", "town"]], given[["large", "odd, or not"]])
    fields, registry = take_over({"dataset": dataset}, default_registry())
    made = assembled(dataset=dataset, reg=["mixup"])
    assert made.data.task.class_names == ("large", "odd, or not")
    assert fields["dataset"] in {one.full_name for one in registry.components("dataset")}
    listed, _ = take_over({"dataset": given, "target": ["large", "odd, or not"]}, default_registry())
    assert listed["target"] == 'large,"odd, or not"'


def test_labels_that_are_not_zero_or_one_are_refused_before_the_training():
    raw = toy("multilabel")
    wrong = dataclasses.replace(raw, test=dataclasses.replace(raw.test, y=raw.test.y + 0.5))
    with pytest.raises(DataError, match=r"the label in row 0, column \d is"):
        prepare(wrong)


def test_wrong_labels_for_a_share_of_the_rows_need_one_class_for_each_row():
    with pytest.raises(DataError, match="is a multilabel classification"):
        alter_training(toy("multilabel"), label_noise=0.2)


def test_folds_of_rows_with_labels():
    assert len(fold_data(toy("multilabel"), fold=0, folds=4, repeat=0, data_seed=0).valid) == 38


def test_metrics_are_those_of_scikit_learn():
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(50, 3)), random.integers(0, 2, (50, 3)).astype(np.float32)
    share, predicted = sigmoid(logits), logits > 0
    found = evaluate_predictions(logits, targets, TASK)
    wanted = {
        "loss": np.mean([sk.log_loss(targets[:, k], share[:, k]) for k in range(3)]),
        "exact_match": sk.accuracy_score(targets, predicted),
        "label_accuracy": 1 - sk.hamming_loss(targets, predicted),
        "macro_f1": sk.f1_score(targets, predicted, average="macro"),
        "auroc": sk.roc_auc_score(targets, share),
        "brier": np.mean([sk.brier_score_loss(targets[:, k], share[:, k]) for k in range(3)]),
    }
    assert found == pytest.approx(wanted)
    for name, values in row_metrics(logits, targets, TASK).items():
        assert values.mean() == pytest.approx(found[name])
    targets[:, 1] = 0
    assert "unlike b" in left_out_metrics(targets, TASK)["auroc"]
    assert "auroc" not in evaluate_predictions(logits, targets, TASK)


def test_a_model_that_gives_the_shares_of_the_labels_is_no_better_than_guessing():
    random = np.random.default_rng(0)
    targets, train = (random.integers(0, 2, (rows, 3)).astype(np.float32) for rows in (60, 200))
    share = np.broadcast_to(train.mean(0), (60, 3))
    guess = find_guess(np.log(share / (1 - share)) + 0.5, targets, train, TASK, "test")
    assert (guess.metric, "chance alone" in guess.sentence) == ("loss", False)
    assert find_guess(2 * targets - 1, targets, train, TASK, "test") is None
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    assert has_fitted(0.3, loss, torch.tensor(train), TASK)
    assert not has_fitted(0.69, loss, torch.tensor(train), TASK)


def test_the_probabilities_of_an_ensemble_of_labels_are_the_mean_of_its_members():
    logits = torch.randn(3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(combined(list(logits), "multilabel").sigmoid(), logits.sigmoid().mean(0))
    far = torch.tensor([[[1e3, -1e3]], [[1e3, -1e3]]])
    assert torch.isfinite(combined(list(far), "multilabel")).all()


def test_predictions_name_each_label():
    text = predictions_csv(np.array([[0.0, 2.0, -2.0]]), np.array([[1.0, 1.0, 0.0]]), TASK)
    heading, row = text.splitlines()
    assert heading.split(",")[:4] == ["row", "a", "prediction of a", "probability of a"]
    assert row == "0,1,0,0.5,1,1,0.880797,0,0,0.119203"


def test_a_label_that_changed_is_found_unless_it_is_near_the_limit():
    decision = decision_of("multilabel", "probabilities")
    want, got = np.array([[0.9, 0.501], [0.1, 0.9]]), np.array([[0.9, 0.499], [0.7, 0.9]])
    assert decision.changed(got, want, tolerance=0.01).tolist() == [False, True]
    assert decision.right(want, np.array([[1, 1], [0, 0]])).tolist() == [[True, True], [True, False]]
    assert decision_of("regression", "values") is None


def test_regularizers_that_need_one_class_for_each_row_are_refused_by_what_they_declare():
    needing = [name for name, one in REGULARIZERS.items() if "multilabel" not in one.tasks]
    assert {"label_smoothing", "label_noise_correction"} <= set(needing)
    for name in needing[:3]:
        with pytest.raises(CompositionError, match=f"{name} is for classification, but the dataset is a multilabel"):
            assembled(dataset=toy("multilabel"), reg=[name])


def test_mixup_mixes_labels():
    made, records = trained(trainer(dataset=toy("multilabel"), reg=["mixup", "mean_teacher"], epochs=2))
    assert records[-1].metrics["train/objective"][0] > 0
    assert "test/loss" in made.evaluate("test")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on a frame with labels, its bundle and a folder."""
    with standing_in(tmp_path_factory.mktemp("labels")) as folder:
        copied_store(folder)
        given = frame()
        result = regplug.run(
            dataset=given, target=["large", "even"], overrides=["dataset.drop=[cost]"], model="mlp:hidden=[8]",
            epochs=3, format=["onnx"], lr=0.1, keep_predictions=True,
        )  # fmt: skip
        given.to_csv(folder / "rows.csv", index=False)
        yield result, (folder / result.bundle_path).absolute(), folder, given


@pytest.mark.slow
def test_a_bundle_of_labels_predicts_raw_rows_by_label(run):
    result, bundle, folder, _ = run
    assert {"test/exact_match", "test/label_accuracy", "test/macro_f1", "test/loss"} <= set(result.metrics)
    answers = regplug.predict(bundle, folder / "rows.csv")
    assert [name for name, _ in answers.rows[0].labels] == ["large", "even"]
    for row in answers.rows[:5]:
        assert row.present == tuple(name for name, share in row.labels if share > 0.5)
        assert row.as_json()["probabilities"] == dict(row.labels)
    names = {check.name.rpartition(".")[0] for check in result.verification.checks}
    assert {"onnx.labels", "onnx"} <= names
    assert regplug.verify(bundle).passed


@pytest.mark.slow
def test_a_bundle_of_labels_may_end_in_a_sigmoid(run):
    result, bundle, folder, given = run
    ending = regplug.export(result.run_id, dataset=given, out=folder / "sigmoid", probabilities=True)
    assert ending.verification.passed
    shares = [
        np.array([[share for _, share in row.labels] for row in regplug.predict(where, folder / "rows.csv").rows])
        for where in (bundle, ending.path)
    ]
    np.testing.assert_allclose(*shares, atol=1e-5)


def test_a_regression_ends_in_no_sigmoid():
    with pytest.raises(RequestError, match="the task is a regression"):
        regplug.export(torch.nn.Linear(2, 1), np.zeros((4, 2), np.float32), "nowhere", probabilities=True)


def test_a_classifier_of_labels_predicts_a_matrix():
    x = np.random.default_rng(0).normal(size=(80, 3))
    y = (x[:, :2] > 0).astype(int)
    classifier = regplug.Classifier(model="mlp:hidden=[16]", epochs=20, lr=0.5).fit(x, y, sample_weight=np.ones(80))
    assert classifier.predict(x).shape == classifier.predict_proba(x).shape == classifier.decision_function(x).shape
    assert classifier.score(x, y) > 0.5
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        classifier.fit(x, y + 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in REGULARIZERS.items() if "multilabel" in one.tasks])
def test_a_regularizer_that_declares_labels_trains_on_them(name):
    one = REGULARIZERS[name]
    if "row" not in one.inputs or one.requires or one.felt.branches or one.felt.activation or one.felt.companions:
        pytest.skip("it needs other inputs, networks or companions")
    made, records = trained(trainer(dataset=toy("multilabel"), reg=[name], epochs=2, model="mlp:hidden=[8,8]"))
    assert np.isfinite(records[-1].metrics["train/objective"])
    assert np.isfinite(made.evaluate("test")["test/loss"][0])
