"""Large tables: they are read and split a block at a time, and come out as small ones do."""

from __future__ import annotations

import csv
import time

import numpy as np
import pandas
import pyarrow as pa
import pytest

from regplug.data import prepare, raw_from_table
from regplug.errors import DataError
from regplug.tables import blocks, text
from regplug.tables.blocks import codes_of_splits
from regplug.tables.gathering import Gathered
from regplug.tables.kinds import find_kinds
from regplug.tables.options import TableOptions
from regplug.tables.preparation import Column, codes_of_labels
from regplug.tables.reading import Table, read_table

ROWS = 3000


@pytest.fixture(scope="module")
def frame():
    """Numbers, numbers with gaps, whole numbers, few texts and 300 texts."""
    random = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "size": random.normal(size=ROWS).round(3),
            "age": np.where(random.random(ROWS) < 0.1, np.nan, random.normal(size=ROWS).round(3)),
            "count": random.integers(0, 50, ROWS),
            "town": random.choice(["Bonn", " Ulm", None, "Köln"], ROWS),
            "place": [f"place {number}" for number in random.integers(0, 300, ROWS)],
            "open": random.choice(["true", "false"], ROWS),
        }
    )


@pytest.fixture
def small_blocks(monkeypatch):
    for name in ("_BLOCK_BYTES", "_BLOCK_BYTES_OF_COLUMN", "_MOST_BLOCK_BYTES", "_PART_BYTES"):
        monkeypatch.setattr(text, name, 4000)
    monkeypatch.setattr(blocks, "_FEWEST_ROWS", 100)
    monkeypatch.setattr(blocks, "_MOST_ROWS", 100)


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_a_file_read_in_parts_has_the_cells_of_the_file_as_a_whole(frame, small_blocks, tmp_path, quoting, line_end):
    path = tmp_path / "large.csv"
    frame.to_csv(path, index=False, quoting=quoting, lineterminator=line_end)
    assert len(text._cuts(path, 4000)) > 20 or line_end == "\r"
    read = read_table(path, options=TableOptions(target="open"))
    assert read.columns.column("size").num_chunks == 1
    assert {str(kind) for kind in read.columns.schema.types[3:]} == {
        "dictionary<values=string, indices=int32, ordered=0>"
    }
    found = find_kinds(read)
    for name in ("size", "age", "count"):
        assert np.array_equal(found[name].values, frame[name].to_numpy(np.float32), equal_nan=True)
    for name in ("town", "place", "open"):
        one = found[name]
        assert one.kind == "category"
        assert [one.labels[at] for at in one.places] == frame[name].fillna("").str.strip().tolist()
    assert found["town"].labels == ("", "Bonn", "Köln", "Ulm")
    assert found["town"].gaps == frame["town"].isna().sum()


def test_text_with_line_ends_stays_one_cell_wherever_a_part_ends(small_blocks, tmp_path):
    rows = [f'{n % 7}.5,"a\n{n % 2},b",{n % 3}' for n in range(2000)]
    (tmp_path / "t.csv").write_text("size,text,y\n" + "\n".join(rows))
    found = find_kinds(read_table(tmp_path / "t.csv", options=TableOptions()))
    assert found["text"].labels == ("a\n0,b", "a\n1,b")
    assert found["size"].values.tolist() == [n % 7 + 0.5 for n in range(2000)]


def test_a_table_of_many_columns_is_gathered_in_linear_time():
    """With Arrow's functions by name, each part of 2,000 columns took half a second."""
    types = {f"x{number}": pa.float32() for number in range(2000)} | {"y": pa.string()}
    part = pa.table(
        [pa.array([1.0], kind) if kind == pa.float32() else pa.array(["a"]) for kind in types.values()],
        names=list(types),
    )
    gathered, began = Gathered(types), time.thread_time()
    for number in range(3):
        gathered.add(part, share=(number + 1) / 3)
    assert time.thread_time() - began < 0.5
    assert gathered.table() == pa.concat_tables([part] * 3).combine_chunks()


def test_a_column_name_may_have_a_line_end(tmp_path):
    (tmp_path / "t.csv").write_text('"size\nin m",y\n' + "1.5,2\n2.5,3\n" * 30)
    assert read_table(tmp_path / "t.csv", options=TableOptions()).names == ("size\nin m", "y")


@pytest.mark.parametrize("last", ["late,1", "1e300,1", "1,2,3"])
def test_a_last_row_that_does_not_fit_makes_the_file_be_read_as_a_whole(small_blocks, tmp_path, last):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{n}.25,{n % 2}\n" for n in range(3000)) + last)
    if last == "1,2,3":
        with pytest.raises(DataError, match="line 3002: 3 cells under 2 column names"):
            read_table(tmp_path / "t.csv", options=TableOptions())
        return
    one = find_kinds(read_table(tmp_path / "t.csv", options=TableOptions()))["a"]
    assert one.text(3000) == ("late" if last == "late,1" else "1e+300")
    assert one.text(2999) == "2999.25"


def test_later_rows_may_be_shorter_than_the_first_ones(small_blocks, tmp_path):
    values = np.r_[np.full(3000, 0.123456789), np.arange(3000) % 10].astype(np.float32)
    lines = [f"{value:.9f},1" for value in values[:3000]] + [f"{value:g},0" for value in values[3000:]]
    (tmp_path / "t.csv").write_text("a,y\n" + "\n".join(lines))
    found = find_kinds(read_table(tmp_path / "t.csv", options=TableOptions()))
    assert np.array_equal(found["a"].values, values)


@pytest.mark.parametrize("in_order", [True, False])
def test_blocks_of_rows_come_to_their_splits(frame, small_blocks, in_order):
    found = find_kinds(Table(source="here", columns=pa.Table.from_pandas(frame)))
    kept = tuple(label for label in found["place"].labels if label < "place 2")
    columns = [
        Column(name=name, kind="category" if one.places is not None else "number", categories=kept)
        for name, one in found.items()
    ]
    rows = np.random.default_rng(1).permutation(ROWS)
    index = [np.sort(part) if in_order else part for part in np.split(rows, [1500, 2000])]
    index[2] = index[2][:-7]  # Not every row has to be in a split.
    whole = [
        one.values if one.places is None else codes_of_labels(column, one.labels)[one.places]
        for one, column in zip(found.values(), columns, strict=True)
    ]
    wanted = np.stack(whole, axis=1).astype(np.float32)
    for part, rows in zip(codes_of_splits(list(zip(found.values(), columns, strict=True)), index), index, strict=True):
        assert part.dtype == np.float32
        assert np.array_equal(part, wanted[rows], equal_nan=True)
    none = codes_of_splits(list(zip(found.values(), columns, strict=True)), [index[0], index[1], index[2][:0]])[2]
    assert none.shape == (0, 6)


def test_prepared_rows_of_a_table_are_not_copied(tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n" + "\n".join(f"{'' if n % 9 == 1 else n},{n % 2}" for n in range(90)))
    options = TableOptions(target="y")
    prepared = prepare(raw_from_table(read_table(tmp_path / "t.csv", options=options), options, seed=0, name="mine"))
    assert np.shares_memory(prepared.test.x.numpy(), prepared.file_test.x)
    assert np.shares_memory(prepared.valid.x.numpy(), prepared.file_valid.x)
