"""Weights of rows, and rows that the caller gives in memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from mixed_tables import load, write
from trainings import toy, trained, trainer

from regplug.api import DataContext
from regplug.config import load_config
from regplug.data import prepare
from regplug.data.folds import fold_data
from regplug.errors import DataError, RequestError
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.caller_objects import take_over
from regplug.tables.kinds import find_kinds
from regplug.tables.reading import read_table


def test_balanced_rows_weigh_the_same_for_each_class_and_weights_multiply(tmp_path):
    path = write(tmp_path)
    raw = load(path, target="ill", balance=True)
    weights, y = raw.weights[: len(raw.train)], raw.train.y
    assert weights[y == 0].sum() == pytest.approx(weights[y == 1].sum())
    assert prepare(raw).weights.mean().item() == pytest.approx(1)
    both = load(path, target="ill", balance=True, weight="cost")
    assert "cost" not in both.inputs.names
    with pytest.raises(DataError, match="the target is a quantity"):
        load(path, target="cost", balance=True)


@pytest.mark.parametrize("reg", [[], ["focal"], ["generalized_cross_entropy"], ["poly", "curriculum"]])
def test_rows_of_weight_zero_have_no_effect_whatever_computes_the_losses(reg):
    raw = toy()
    weights = np.r_[np.ones(60), np.zeros(len(raw.train) + len(raw.valid) - 60)]
    ends = []
    for label in (0, 1):
        y = raw.train.y.copy()
        y[60:] = label
        data = dataclasses.replace(raw, train=dataclasses.replace(raw.train, y=y), weights=weights)
        made, _ = trained(trainer(dataset=data, reg=reg, epochs=1))
        ends.append(made.tensors_of(0)[0]["output.weight"])
    torch.testing.assert_close(*ends)


class Streamed:
    """A data frame of a library that is not known: it streams Arrow's columns, as those of polars do."""

    def __init__(self, columns):
        self._columns = columns

    def __arrow_c_stream__(self, requested_schema=None):
        return self._columns.__arrow_c_stream__(requested_schema)


def taken(dataset, **fields):
    """The raw data of what a caller passes."""
    fields, registry = take_over({"dataset": dataset, **fields}, default_registry())
    config = load_config(None, (), fields)
    return find_components(config, registry).dataset.build(DataContext())


def test_a_frame_that_streams_arrow_columns_is_a_dataset():
    columns = pa.table({"a": [row % 13 for row in range(60)], "b": ["u", None, "v"] * 20, "y": ["p", "q"] * 30})
    raw = taken(Streamed(columns), target="y")
    assert (raw.inputs.names, raw.task.class_names) == (("a", "b"), ("p", "q"))
    beside = taken((Streamed(columns.select(["a", "b"])), columns.column("y")))
    np.testing.assert_array_equal(beside.train.x, raw.train.x)
    with pytest.raises(DataError, match="column 2 has the same name 'a' as another one"):
        taken(Streamed(pa.table([[1, 2], [3, 4], [0, 1]], names=["a", "a", "y"])))


def test_weights_of_the_caller_follow_their_rows():
    weights = np.arange(60.0)
    columns = {"a": weights, "y": ["p", "q"] * 30}
    for raw in (
        taken(pd.DataFrame(columns), target="y", weights=weights),
        taken((pd.DataFrame({"a": weights}), columns["y"]), weights=list(weights)),
        taken(pa.table(columns), weights=weights),
        taken((weights[:, None], np.arange(60) % 2), weights=weights),
    ):
        assert raw.inputs.shape == (1,)
        np.testing.assert_array_equal(raw.weights, np.concatenate([raw.train.x, raw.valid.x])[:, 0])
        fold = fold_data(raw, fold=1, folds=3, repeat=0, data_seed=0)
        np.testing.assert_array_equal(fold.weights, np.concatenate([fold.train.x, fold.valid.x])[:, 0])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(5), r"of shape \(5,\) for 60 rows|has 60 rows and \(weight\) has 5"),
        (np.r_[np.ones(59), -1], "the weight of row 59 is -1"),
        (np.r_[np.nan, np.ones(59)], "the weight of row 0 is nan"),
        (np.zeros(60), "every training row has weight 0"),
    ],
)
def test_weights_that_are_wrong_are_refused(weights, message):
    frame = pd.DataFrame({"a": range(60), "y": ["p", "q"] * 30})
    for dataset in (frame, (frame[["a"]].to_numpy(), frame["y"])):
        with pytest.raises(DataError, match=message):
            taken(dataset, weights=weights)


def test_weights_need_data_of_the_callers():
    with pytest.raises(RequestError, match="weights is an array, but dataset"):
        taken("digits", weights=np.ones(5))


def test_options_of_a_frame_beside_its_targets_are_kept():
    frame = pd.DataFrame({"a": ["u", "v", "w"] * 20, "b": range(60)})
    dataset = (frame, ["p", "q"] * 30)
    fields, registry = take_over({"dataset": dataset}, default_registry())
    config = load_config(None, ["dataset.rare=100"], fields)
    raw = find_components(config, registry).dataset.build(DataContext())
    assert raw.table.columns[0].categories == ()


def test_booleans_of_a_frame_are_the_text_that_pandas_writes_for_new_rows(tmp_path):
    frame = pd.DataFrame({"on": [True, False, None] * 20, "y": ["p", "q"] * 30})
    (column,) = taken(frame, target="y").table.columns
    frame.to_csv(tmp_path / "rows.csv", index=False)
    written = find_kinds(read_table(tmp_path / "rows.csv"))["on"]
    assert set(column.categories) - {""} == set(written.labels) - {""} == {"True", "False"}


def test_settings_that_suit_tables_are_used_for_rows_of_the_caller_and_not_for_images():
    rows, images = np.zeros((8, 3)), np.zeros((8, 1, 4, 4))
    for dataset, suited in ((pd.DataFrame(rows), True), ((rows, [0, 1] * 4), True), ((images, [0, 1] * 4), False)):
        fields, registry = take_over({"dataset": dataset}, default_registry())
        config = load_config(None, (), fields, suggest=registry.settings_of)
        assert (config.schedule != "constant") is suited
