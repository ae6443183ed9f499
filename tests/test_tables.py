"""Tables with categories and gaps: their columns, what becomes of them, and that the preparation travels."""

from __future__ import annotations

import csv
import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from cli_calls import Terminal
from made_docs import DOCS
from runs import standing_in
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler
from tracking_stores import copied_store
from trainings import toy, trained, trainer

import regplug
from regplug.api import DataContext, Feature
from regplug.config import load_config
from regplug.data import prepare, raw_from_table
from regplug.data.altering import alter_training, noisy_test_inputs
from regplug.data.folds import fold_data
from regplug.errors import BundleError, DataError, RequestError
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.caller_objects import take_over
from regplug.tables.kinds import find_kinds
from regplug.tables.options import TableOptions
from regplug.tables.preparation import Preparation
from regplug.tables.reading import Table, read_table
from regplug_datasets import TableParams
from regplug_datasets.tables import table

JOBS = ("cook", "nurse", "pilot")


def write(folder, rows=120, name="mine.csv"):
    """Columns: number with gaps, text with gaps, a rare category, number, class, quantity."""
    random = np.random.default_rng(0)
    lines = ["age,job,town,size,ill,cost"]
    for row in range(rows):
        age = "" if row % 9 == 4 else str(random.integers(20, 60))
        job = "NA" if row % 7 == 3 else JOBS[row % 3]
        size = f"{random.normal():.3f}"
        town = "Rare" if row % 40 == 0 else "Ulm" if row % 2 else "Bonn"
        lines.append(f"{age},{job},{town},{size},{'yes' if row % 3 else 'no'},{1000 + 50 * (row % 3) + row % 5}.5")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def load(path, seed=0, **options):
    return raw_from_table(read_table(path), TableOptions(**options), seed=seed, name="mine")


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


def test_balanced_rows_weigh_the_same_for_each_class_and_weights_multiply(path):
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


def test_a_parquet_file_and_a_text_file_give_the_same_rows(path, tmp_path):
    from pyarrow import csv as reader
    from pyarrow import parquet

    parquet.write_table(reader.read_csv(path), tmp_path / "t.parquet")
    one, other = load(path, target="ill"), load(tmp_path / "t.parquet", target="ill")
    np.testing.assert_array_equal(one.train.x, other.train.x)
    assert one.table.columns == other.table.columns


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
    import torch

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


@pytest.fixture
def terminal(capsys):
    return Terminal(capsys)


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
