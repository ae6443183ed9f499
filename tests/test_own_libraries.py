"""Data of libraries that regplug does not need: folders of Hugging Face datasets, and data frames of polars."""

import numpy as np
import pytest
from PIL import Image
from runs import standing_in
from tracking_stores import copied_store

import regplug
from regplug.api import DataContext
from regplug.config import load_config
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.caller_objects import take_over

ROWS = 90
SIZE = np.random.default_rng(0).normal(size=ROWS)
TABLE = {
    "size": [None if row % 11 == 3 else float(value) for row, value in enumerate(SIZE)],
    "town": [["Ulm", "Bonn", None][row % 3] for row in range(ROWS)],
    "label": [int(value > 0) for value in SIZE],
}


def taken(dataset, **fields):
    fields, registry = take_over({"dataset": dataset, **fields}, default_registry())
    components = find_components(load_config(None, (), fields), registry)
    return components.dataset.build(DataContext())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Saves columns with the real library; returns the folder."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("saved")

    def save(name, columns, split=False, **features):
        made = datasets.Dataset.from_dict(columns, features=datasets.Features(features) if features else None)
        (made.train_test_split(0.3, seed=0) if split else made).save_to_disk(folder / name)
        return str(folder / name)

    return save


@pytest.mark.slow
def test_a_saved_table_trains_exports_and_predicts_rows(saved, tmp_path):
    import datasets

    names = datasets.ClassLabel(names=["small", "large"])
    folder = saved("table", TABLE, size=datasets.Value("float32"), town=datasets.Value("string"), label=names)
    with standing_in(tmp_path):
        copied_store(tmp_path)
        run = regplug.run(dataset=folder, model="linear", epochs=3, format=["onnx"])
        (tmp_path / "rows.csv").write_text("town,size\nUlm,2.5\n,\n")
        answers = regplug.predict(run.bundle_path, tmp_path / "rows.csv")
    assert run.verification.passed
    assert {row.label for row in answers.rows} <= {"small", "large"}


@pytest.mark.slow
def test_saved_images_and_arrays_keep_their_splits(saved):
    import datasets

    pictures = [Image.fromarray(np.full((6, 6), 200 * (row % 2), np.uint8)) for row in range(ROWS)]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])}
    raw = taken(saved("images", {"image": pictures, "label": [0, 1] * 45}, split=True, **features))
    assert (raw.inputs.shape, raw.task.class_names, len(raw.test)) == ((1, 6, 6), ("dark", "light"), 27)
    labels = {"x": SIZE.reshape(-1, 3).tolist(), "labels": [[row % 2, row % 3 // 2, 1 - row % 2] for row in range(30)]}
    assert taken(saved("labels", labels)).task.kind == "multilabel"
    values = {"x": SIZE.reshape(-1, 3).tolist(), "y": SIZE[:30].tolist()}
    assert taken(saved("values", values)).task.kind == "regression"


def test_a_frame_of_polars_is_a_dataset():
    polars = pytest.importorskip("polars")
    whole = polars.DataFrame(TABLE).with_columns(polars.col("town").cast(polars.Categorical))
    raw = taken(whole, target="label")
    assert (raw.inputs.names, raw.table.columns[1].categories) == (("size", "town"), ("", "Bonn", "Ulm"))
    beside = taken((whole.select("size", "town"), whole["label"]), weights=polars.Series(np.arange(ROWS)))
    np.testing.assert_array_equal(beside.train.y, raw.train.y)
    assert len(beside.weights) == len(beside.train) + len(beside.valid)
    several = whole.with_columns(odd=polars.Series([0, 1] * 45))
    assert taken(several, target=["label", "odd"]).task.class_names == ("label", "odd")
    assert taken((whole.select("size"), several.select("label", "odd"))).task.class_names == ("label", "odd")
