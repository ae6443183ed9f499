"""Of any dataset: wrong labels, fewer rows, a noisy test split; rows that stand in two splits; what MLflow is told."""

import numpy as np
import pytest
import torch
from trainings import toy

import regplug
from regplug.data import RawData, prepare, raw_from_arrays
from regplug.data.altering import alter_training, noisy_test_inputs, repeated_rows, repetition_note
from regplug.errors import DataError


def classes(rows=200, seed=0):
    x = np.random.default_rng(seed).normal(3, 2, (rows, 2)).astype(np.float32)
    return raw_from_arrays(x, np.arange(rows) % 4)


def test_a_share_of_the_training_labels_becomes_other_classes_and_no_other_label_moves():
    raw = classes()
    noisy = alter_training(raw, label_noise=0.25)
    changed = noisy.train.y != raw.train.y
    assert changed.sum() == round(0.25 * len(raw.train))
    assert set(np.unique(noisy.train.y)) <= {0, 1, 2, 3}
    assert np.array_equal(noisy.test.y, raw.test.y)
    assert np.array_equal(noisy.valid.y, raw.valid.y)
    again, other = (alter_training(raw, label_noise=0.25, seed=seed).train.y for seed in (0, 1))
    assert np.array_equal(again, noisy.train.y)
    assert not np.array_equal(other, noisy.train.y)


def test_fewer_training_rows_nest_and_keep_their_groups():
    raw = classes()
    grouped = RawData(**{**vars(raw), "groups": np.arange(len(raw.train) + len(raw.valid))})
    few, more = (alter_training(grouped, train_rows=rows) for rows in (10, 50))
    assert set(few.groups[:10]) <= set(more.groups[:50])
    assert np.array_equal(raw.train.x[few.groups[:10]], few.train.x)
    assert np.array_equal(few.groups[10:], grouped.groups[len(raw.train) :])
    assert few.test is grouped.test


def test_what_cannot_be_altered_is_refused():
    with pytest.raises(DataError, match="asks for more than the 120 training rows"):
        alter_training(classes(), train_rows=121)
    values = raw_from_arrays(np.zeros((20, 1)), np.linspace(0, 1, 20))
    with pytest.raises(DataError, match=r"label_noise=0.1 replaces the class of a row"):
        alter_training(values, label_noise=0.1)


def test_test_noise_has_the_scale_of_the_data():
    data = prepare(raw_from_arrays(np.random.default_rng(0).normal(0, (1, 9), (4000, 2)), np.arange(4000) % 2))
    added = noisy_test_inputs(data, 0.5, 0) - data.test.x
    assert torch.allclose(added.std(0), 0.5 * data.train.x.std(0), rtol=0.1)
    assert torch.equal(noisy_test_inputs(data, 0.5, 0), noisy_test_inputs(data, 0.5, 0))


def test_rows_that_train_and_test_are_counted_and_told():
    raw = classes()
    x = raw.test.x.copy()
    x[:3] = raw.train.x[:3]
    repeated = RawData(**{**vars(raw), "test": type(raw.test)(x=x, y=raw.test.y)})
    assert repeated_rows(raw) == {}
    assert repetition_note(raw) == ""
    assert repeated_rows(repeated) == {"test": 3}
    assert "3 of the 40 test rows (7.5%)" in repetition_note(repeated)


def test_a_run_is_measured_on_the_noisy_test_rows_beside_the_clean_ones(place):
    clean, noisy = (place.run(test_noise=strength) for strength in (0.0, 10.0))
    assert clean.state_sha256 == noisy.state_sha256
    assert "corrupted/accuracy" not in clean.metrics
    assert noisy.metrics["test/accuracy"] == clean.metrics["test/accuracy"]
    assert noisy.metrics["corrupted/accuracy"] < noisy.metrics["test/accuracy"]
    assert noisy.metrics["corrupted/loss"] > noisy.metrics["test/loss"]


def test_a_stack_is_measured_on_the_same_noisy_rows_as_a_run_alone(place):
    alone = place.run(test_noise=1.0, seed=1, label_noise=0.2, train_rows=64)
    study = regplug.sweep(
        dataset=toy(), model="mlp:hidden=[16,12]", epochs=2, batch_size=32, lr=0.2,
        test_noise=1.0, label_noise=0.2, train_rows=64, seeds=2, export=False,
    )  # fmt: skip
    found = [run.metrics["corrupted/loss"] for run in study.results]
    assert min(abs(value - alone.metrics["corrupted/loss"]) for value in found) < 1e-5


def test_predictions_of_the_clean_rows_do_not_see_the_noise(place):
    clean, noisy = (place.run(test_noise=strength) for strength in (0.0, 50.0))
    same = {name for name in clean.metrics if not name.startswith("time/")}
    assert {name: noisy.metrics[name] for name in same} == {name: clean.metrics[name] for name in same}
