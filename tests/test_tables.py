"""Tables with categories and gaps: their columns, what becomes of them, and that the preparation travels."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from mixed_tables import load, write
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler

from regplug.api import DataContext, Feature
from regplug.data import prepare, raw_from_table
from regplug.data.altering import alter_training, noisy_test_inputs
from regplug.errors import DataError
from regplug.tables.kinds import find_kinds
from regplug.tables.options import TableOptions
from regplug.tables.preparation import Preparation
from regplug.tables.reading import Table, read_table
from regplug_datasets import TableParams
from regplug_datasets.tables import table


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("tables"))


def test_each_column_becomes_a_number_with_an_indicator_or_a_block(path):
    data = prepare(load(path, target="ill", drop=("cost",)))
    assert data.inputs.names == (
        *("age", "age is missing"),
        *("job=(missing)", "job=cook", "job=nurse", "job=pilot", "job=(other)"),
        *("town=Bonn", "town=Ulm", "town=(other)"),
        "size",
    )
    assert data.features[1] == Feature(name="job", kind="category", start=2, stop=7)
    for feature in data.features:
        if feature.kind == "category":
            assert set(data.test.x[:, feature.start : feature.stop].sum(1).tolist()) == {1.0}


@pytest.mark.parametrize("normalize", ["standard", "quantile", "none"])
def test_the_numbers_are_those_of_scikit_learns_transformers(path, normalize):
    raw = load(path, target="ill", drop=("cost",), normalize=normalize)
    data = prepare(raw)
    scaler = {
        "standard": StandardScaler(),
        "quantile": QuantileTransformer(n_quantiles=len(raw.train), output_distribution="normal"),
        "none": "passthrough",
    }[normalize]
    numbers = make_pipeline(SimpleImputer(strategy="median"), scaler)
    encoder = OneHotEncoder(min_frequency=10, handle_unknown="infrequent_if_exist", sparse_output=False)
    transform = ColumnTransformer([("n", numbers, [0, 3]), ("c", encoder, [1])]).fit(raw.train.x)
    wanted = transform.transform(raw.test.x)
    ours = data.test.x[:, [data.inputs.names.index(name) for name in ("age", "size")]]
    # Beyond the last quantile but one, scikit-learn's line is straight in probability and ours in the score.
    inner = np.abs(wanted[:, :2]) < (2 if normalize == "quantile" else np.inf)
    np.testing.assert_allclose(ours[inner], wanted[:, :2][inner], atol=0.02 if normalize == "quantile" else 1e-5)
    at = data.inputs.names.index("job=(missing)")
    np.testing.assert_array_equal(data.test.x[:, at : at + 4], wanted[:, 2:6])


def test_statistics_are_those_of_the_training_rows_and_the_columns_stay_with_other_rows(path):
    raw = load(path, target="ill", drop=("cost",))
    half = raw.train.take(np.arange(20))
    plan = raw.table
    one, other = plan.fit(raw.train.x), plan.fit(half.x)
    assert one.features == other.features
    assert one.columns[3].shift == pytest.approx(raw.train.x[:, 3].mean(), rel=1e-5)
    assert other.columns[3].shift == pytest.approx(half.x[:, 3].mean(), rel=1e-5)


def test_a_table_of_numbers_alone_enters_the_graph_as_it_is(path):
    raw = load(path, target="ill", drop=("age", "job", "town"))
    assert raw.table is None
    assert prepare(raw).inputs.names == ("size", "cost")


def test_a_gap_in_a_row_that_does_not_train_is_filled(tmp_path):
    for empty in range(0, 60, 7):
        rows = [f"{'' if row == empty else row % 13},{row % 7},{row * 0.5}" for row in range(60)]
        (tmp_path / "t.csv").write_text("a,b,cost\n" + "\n".join(rows))
        data = prepare(load(tmp_path / "t.csv"))
        for split in (data.train, data.valid, data.test):
            assert split.x.isfinite().all()


def test_a_regression_learns_scaled_targets_and_keeps_its_units(path):
    data = prepare(load(path, target="cost"))
    assert abs(data.train.y.mean().item()) < 1e-5
    assert data.train.y.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(data.in_units(data.test.y.numpy()), data.raw.test.y, rtol=1e-5)
    assert prepare(load(path, target="cost", scale_target=False)).units is None


def test_a_preparation_is_the_same_after_json(path):
    raw = load(path, target="cost", normalize="quantile")
    preparation = raw.table.fit(raw.train.x)
    again = Preparation.from_json(json.loads(json.dumps(preparation.as_json())))
    np.testing.assert_array_equal(again.apply(raw.test.x), preparation.apply(raw.test.x))
    cells = again.encode(preparation.rows)
    np.testing.assert_array_equal(cells, raw.test.x[: len(cells)])


def test_kinds_of_columns_are_found(tmp_path):
    rows = [f"{i},n{i},x,,2024-01-{i + 1:02d},{i % 2},{'ab'[i % 2]},true" for i in range(24)]
    (tmp_path / "t.csv").write_text("count,name,same,none,day,flag,letter,truth\n" + "\n".join(rows))
    found = find_kinds(read_table(tmp_path / "t.csv"))
    kinds = {name: one.kind for name, one in found.items()}
    told = "count number, name id, same constant, none empty, day date, flag number, letter category, truth constant"
    assert kinds == dict(pair.split() for pair in told.split(", "))
    assert found["count"].counts_rows
    assert not found["flag"].counts_rows


def test_a_column_of_nan_or_of_texts_that_mean_nothing_is_empty():
    columns = pa.table({"nan": pa.array([np.nan] * 3, from_pandas=False), "text": ["NA", "", "null"]})
    found = find_kinds(Table(source="here", columns=columns))
    assert {name: (one.kind, one.gaps) for name, one in found.items()} == {"nan": ("empty", 3), "text": ("empty", 3)}


def test_what_is_left_out_is_told(tmp_path):
    rows = [f"n{i},x,{i % 4},{i % 2}" for i in range(40)]
    (tmp_path / "t.csv").write_text("name,same,a,b\n" + "\n".join(rows))
    raw = load(tmp_path / "t.csv", target="b")
    assert raw.inputs.names == ("a",)
    assert [note.split(":")[0] for note in raw.notes] == ["Column name is left out", "Column same is left out"]


def test_rows_in_an_order_and_in_groups_are_parted_so(tmp_path):
    days = [f"2024-{1 + i % 12:02d}-{1 + i // 12:02d},{i % 12},{i % 5},{i % 2}" for i in range(60)]
    (tmp_path / "t.csv").write_text("day,month,a,b\n" + "\n".join(days))
    raw = load(tmp_path / "t.csv", order="day")
    assert raw.inputs.names == ("month", "a")
    months = [split.x[:, 0] for split in (raw.train, raw.valid, raw.test)]
    assert months[0].max() <= months[1].min()
    assert months[1].max() <= months[2].min()
    grouped = load(tmp_path / "t.csv", group="month", drop=("day",))
    assert grouped.inputs.names == ("a",)
    assert len(grouped.groups) == len(grouped.train) + len(grouped.valid)
    with pytest.raises(DataError, match="by group= or by order="):
        load(tmp_path / "t.csv", group="month", order="day")


def test_a_parquet_file_and_a_text_file_give_the_same_rows(path, tmp_path):
    from pyarrow import csv as reader
    from pyarrow import parquet

    parquet.write_table(reader.read_csv(path), tmp_path / "t.parquet")
    one, other = load(path, target="ill"), load(tmp_path / "t.parquet", target="ill")
    np.testing.assert_array_equal(one.train.x, other.train.x)
    assert one.table.columns == other.table.columns


def test_fewer_training_rows_are_what_a_tables_statistics_are_fitted_on(path):
    raw = alter_training(load(path, target="ill", weight="cost"), train_rows=30)
    data = prepare(raw)
    assert len(data.train) == 30
    assert abs(data.train.x[:, 0].mean().item()) < 1e-5
    assert len(raw.weights) == 30 + len(raw.valid)


def test_label_noise_gives_other_classes_to_rows_of_a_table_and_leaves_its_cells(path):
    clean = load(path, target="town", drop=("cost",))
    noisy = alter_training(clean, label_noise=0.25)
    changed = noisy.train.y != clean.train.y
    assert changed.sum() == round(0.25 * len(clean.train))
    assert set(noisy.train.y) <= set(range(clean.task.num_outputs))
    np.testing.assert_array_equal(noisy.train.x, clean.train.x)
    np.testing.assert_array_equal(noisy.test.y, clean.test.y)


@pytest.mark.parametrize("normalize", ["standard", "quantile", "none"])
def test_test_noise_moves_the_numbers_of_a_table_in_its_units_and_no_category(path, normalize):
    data = prepare(load(path, target="ill", drop=("cost",), normalize=normalize))
    noisy = noisy_test_inputs(data, 0.5, seed=0)
    numbers = [data.inputs.names.index(name) for name in ("age", "size")]
    others = [at for at in range(len(data.inputs.names)) if at not in numbers]
    np.testing.assert_array_equal(noisy[:, others], data.test.x[:, others])
    was_empty = data.test.x[:, numbers[0] + 1] == 1
    np.testing.assert_array_equal(noisy[was_empty, numbers[0]], data.test.x[was_empty, numbers[0]])
    moved = (noisy - data.test.x)[:, numbers[1]]
    assert (moved != 0).all()
    if normalize == "standard":
        assert moved.std().item() == pytest.approx(0.5, rel=0.4)


def test_data_show_tells_the_columns_as_text_and_as_json(terminal, path):
    said = terminal("data", "show", path).out
    for part in ("120 rows, 6 columns", "category", "cook, nurse, pilot", "regplug run --dataset"):
        assert part in said
    document = terminal("data", "show", path, "--json").document
    kinds = {one["name"]: (one["kind"], one["missing"]) for one in document["columns"]}
    assert kinds["age"] == ("number", 13)
    assert kinds["job"] == ("category", 17)


@pytest.mark.parametrize(
    ("file", "names", "shown"),
    [
        ("t.csv", "age,Class,town", "Likely target: Class, by its name. If it is: "),
        ("churn.csv", "age,Churn,town", "Likely target: Churn, which has the name of the file."),
        ("t.csv", "price,rooms,town", "perhaps town or price, as targets are often the last or the first column: "),
        ("t.csv", "y,rooms,label", "perhaps y or label, by their names: "),
        ("t.csv", "id,rooms,day", "perhaps rooms, as targets"),
    ],
)
def test_data_show_names_a_target_only_where_a_name_tells_it(file, names, shown, terminal, tmp_path):
    third = (lambda n: f"2024-01-{1 + n % 28:02d}") if names.endswith("day") else (lambda n: "ab"[n % 2])
    lines = [f"{n if names.startswith('id') else n * 7 % 31},{n % 2},{third(n)}" for n in range(40)]
    (tmp_path / file).write_text("\n".join([names, *lines]))
    said = " ".join(terminal("data", "show", tmp_path / file).out.split())
    assert shown in said
    likely = terminal("data", "show", tmp_path / file, "--json").document["possible_targets"]
    assert ("--target NAME" in said) == ("Likely target" not in said)
    assert all(name in shown for name in likely)


def test_data_show_refuses_what_is_no_table(terminal, tmp_path):
    for path, words in ((tmp_path / "none.csv", "No file"), (tmp_path, "is a folder")):
        said = terminal("data", "show", path)
        assert (said.code, words in said.err) == (2, True)


def test_numbers_far_from_the_mean_are_compressed_and_all_others_keep_their_spread(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(5, 2, 400)
    values[[7, 20]] = 1e6
    lines = [f"{value},{random.normal()},{random.normal()}" for value in values]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(lines))
    raw = load(tmp_path / "t.csv", target="y", validation=0.0, test=0.01)
    inputs = prepare(raw).train.x.numpy()
    assert 5 < inputs[:, 0].max() <= 10
    assert inputs[inputs[:, 0] < 5, 0].std() > 0.5
    assert (np.argsort(inputs[:, 0], kind="stable") == np.argsort(raw.train.x[:, 0], kind="stable")).all()
    assert np.abs(inputs[:, 1]).max() < 10
    kept = prepare(load(tmp_path / "t.csv", target="y", normalize="standard", validation=0.0, test=0.01)).train.x
    assert kept[:, 0].max() > 12
    assert load(tmp_path / "t.csv", target="y", drop=("a",)).table is None


def test_zeros_and_rare_amounts_stay_apart(tmp_path):
    random = np.random.default_rng(0)
    amounts = np.where(random.random(2000) < 0.03, random.lognormal(0, 2, 2000), 0)
    lines = [f"{amount},{random.normal()}" for amount in amounts]
    (tmp_path / "t.csv").write_text("a,y\n" + "\n".join(lines))
    raw = load(tmp_path / "t.csv", target="y")
    before, after = raw.train.x[:, 0], prepare(raw).train.x[:, 0].numpy()
    typical = np.median(after[before > 0])
    assert typical - after[before == 0].max() > 2
    assert np.abs(after).max() <= 10


def test_a_target_that_nobody_named_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "\n".join(f"{n * 7 % 31},{'xy'[n % 2]}" for n in range(60)))
    context = DataContext(data_seed=0)
    notes = table(TableParams(path=str(tmp_path / "t.csv")), context).notes
    assert notes == ("The target is b, the last column, as none is named. To predict another: target=NAME.",)
    assert table(TableParams(path=str(tmp_path / "t.csv"), target="b"), context).notes == ()


def test_digits_that_matter_are_kept_where_a_text_file_is_read_as_float32(tmp_path):
    lines = [f"{i * 0.1!r},{1e9 + i % 20},{'1.1' if i % 2 else '2.2'},{1700000000 + i}.5" for i in range(60)]
    (tmp_path / "t.csv").write_text("a,code,y,time\n" + "\n".join(lines))
    options = TableOptions(target="y", task="classification", categories=("code",), order="time", rare=1)
    table = read_table(tmp_path / "t.csv", options=options)
    assert [str(field.type) for field in table.columns.schema] == ["float", "double", "double", "double"]
    raw = raw_from_table(table, options, seed=0, name="mine")
    assert raw.task.class_names == ("1.1", "2.2")
    assert raw.table.columns[1].categories[:2] == ("1000000000", "1000000001")
    np.testing.assert_array_equal(raw.test.x[:, 0], np.float32([i * 0.1 for i in range(48, 60)]))
    assert find_kinds(table)["a"].text(3) == "0.3"


def test_text_far_below_numbers_makes_a_category_of_the_column(tmp_path):
    rows = [f"{i % 7},{i}.25,{i % 2}" for i in range(100_000)] + ["old,1,0", "2,7,1"]
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(rows))
    table = read_table(tmp_path / "t.csv", options=TableOptions())
    found = find_kinds(table)
    assert (found["a"].kind, found["a"].labels[-1], found["b"].kind) == ("category", "old", "number")


def test_a_number_beyond_float32_is_refused_by_its_line(tmp_path):
    rows = [f"{i},{i % 2}" for i in range(40)] + ["1e300,1"]
    (tmp_path / "t.csv").write_text("a,y\n" + "\n".join(rows))
    options = TableOptions(target="y")
    with pytest.raises(DataError, match=r"line 42, column a: 1e\+300 is beyond float32"):
        raw_from_table(read_table(tmp_path / "t.csv", options=options), options, seed=0, name="mine")
