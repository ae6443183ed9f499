"""Data frames with columns of every type: what is read, and one message for what cannot be."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import regplug
from regplug.data import raw_from_table
from regplug.errors import DataError, RequestError
from regplug.tables.kinds import find_kinds
from regplug.tables.options import TableOptions
from regplug.tables.reading import Table
from regplug.tables.taking import take_frame

ROWS = 60


def frame(**columns):
    return pd.DataFrame({"a": np.arange(ROWS) % 13, "y": ["p", "q"] * 30, **columns})


def load(table, **options):
    return raw_from_table(take_frame(table), TableOptions(**{"target": "y", **options}), seed=0, name="mine")


def column(values):
    """The kind and the categories of one more column."""
    raw = load(frame(z=values), rare=0)
    one = raw.table.columns[-1] if raw.table else None
    return ("number", ()) if one is None else (one.kind, one.categories)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pd.array([True, False, None] * 20, dtype="boolean"), ("category", ("", "False", "True"))),
        (pd.Categorical(["u", "v"] * 30, categories=["w", "u", "v"]), ("category", ("u", "v"))),
        (pd.array([1, None, 3] * 20, dtype="Int64"), ("number", ())),
        (pd.array(["a", "b", None] * 20, dtype="string"), ("category", ("", "a", "b"))),
        (pd.arrays.SparseArray([0, 1, 0] * 20), ("number", ())),
        ([Decimal("1.5"), Decimal(2)] * 30, ("number", ())),
        (np.array([np.float64(1), np.int64(2), None] * 20, dtype=object), ("number", ())),
        (np.array([np.str_("a"), np.str_("b")] * 30, dtype=object), ("category", ("a", "b"))),
        ([1, "a"] * 30, ("category", ("1", "a"))),
        (np.arange(ROWS).astype("float16"), ("number", ())),
    ],
)
def test_columns_of_every_type_are_numbers_or_categories(values, wanted):
    assert column(values) == wanted


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.date_range("2024", periods=ROWS, tz="Europe/Berlin"), "column z has dates, such as 2023-12-31 23:00"),
        ([datetime.date(2024, 1, 1 + row % 28) for row in range(ROWS)], "column z has dates, such as 2024-01-01"),
        (pd.period_range("2024", periods=ROWS), "column z has values of type .*period"),
        (pd.to_timedelta(np.arange(ROWS), unit="h"), "column z has values of type duration"),
        (pd.cut(np.arange(ROWS), 4), "column z has values of type .*interval"),
        ([[1, 2]] * ROWS, "Column z of the data frame has values of type list"),
        ([b"1", b"2"] * 30, "Column z of the data frame has values of type bytes"),
        (np.ones(ROWS) * 1j, "Column z of the data frame has values of type complex128"),
        (["5,5", "-0,25"] * 30, "column z has numbers that are written as '-0,25'"),
        (["1,100", "12,200.5"] * 30, "column z has numbers that are written as '1,100'"),
        (["12%", "7.5 %", None] * 20, "column z has numbers that are written as '12%'"),
        (np.r_[np.inf, np.zeros(ROWS - 1)], "row 0, column z: the number is infinite"),
    ],
)
def test_columns_that_are_no_inputs_are_refused_unless_they_are_left_out(values, words):
    with pytest.raises(DataError, match=words):
        load(frame(z=values))
    if not words.startswith("Column"):
        assert load(frame(z=values), drop=("z",)).inputs.names == ("a",)


def test_lists_in_a_parquet_file_or_another_frame_are_refused_by_their_type():
    columns = pa.table({"a": range(ROWS), "nested": [[1, 2]] * ROWS, "y": ["p", "q"] * 30})
    table = Table(source="here", columns=columns)
    assert find_kinds(table)["nested"].describe() == "values of type list<item: int64>"
    with pytest.raises(DataError, match=r"column nested has values of type list<item: int64>, not numbers or text"):
        raw_from_table(table, TableOptions(target="y"), seed=0, name="mine")
    for option in ("target", "group", "order", "weight"):
        with pytest.raises(DataError, match="column nested has values of type"):
            raw_from_table(table, TableOptions(**{"target": "y", option: "nested"}), seed=0, name="mine")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.date_range("2024", periods=ROWS), "column y: the target has dates, such as 2024-01-01"),
        (["5,5", "0,25"] * 30, "column y has numbers that are written as"),
        (pd.array([1, None, 2] * 20, dtype="Int64"), "row 1, column y: the target is empty; 20 rows have none"),
        (np.r_[np.inf, np.arange(ROWS - 1) + 0.5], "row 0, column y: the number is infinite"),
    ],
)
def test_targets_that_cannot_be_learned_are_refused(values, words):
    with pytest.raises(DataError, match=words):
        load(frame(y=values))


def test_categories_that_no_row_has_are_no_classes():
    values = pd.Categorical(["u", "v"] * 30, categories=["u", "v", "w"])
    assert load(frame(y=values)).task.class_names == ("u", "v")


def test_the_index_and_names_of_any_kind_are_taken():
    assert load(frame().set_index(pd.Index([0] * ROWS))).inputs.names == ("a",)
    several = frame()
    several.columns = pd.MultiIndex.from_tuples([("x", "a"), ("x", "y")])
    assert load(several, target="('x', 'y')").task.class_names == ("p", "q")
    assert load(pd.DataFrame(np.arange(3 * ROWS).reshape(ROWS, 3) % 7), target="2").inputs.names == ("0", "1")
    with pytest.raises(DataError, match="column 3 has the same name 'a'"):
        load(pd.concat([frame(), frame()[["a"]]], axis=1))
    with pytest.raises(DataError, match="the data frame has no rows: it needs columns"):
        load(frame().iloc[:0])


@pytest.mark.parametrize("value", [frame()["a"], np.zeros((4, 2))])
def test_inputs_without_targets_are_no_dataset(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RequestError, match="which has inputs or targets alone"):
        regplug.run(dataset=value, target="a", epochs=1)
    assert list(tmp_path.iterdir()) == []
