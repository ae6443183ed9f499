"""Datasets of the caller's by item: torch.utils.data.Dataset, and folders of the Hugging Face library."""

import sys

import numpy as np
import pandas
import pytest
import torch
from PIL import Image
from saved_datasets import ClassLabel, Saved, saved_table, stand_in
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import regplug
from regplug.api import DataContext
from regplug.config.spec import ComponentSpec
from regplug.data import LazyRows, RawData, items, prepare, raw_from_items
from regplug.errors import DataError, RequestError
from regplug.registry import default_registry
from regplug_datasets.own_files import HuggingFaceParams
from regplug_datasets.own_files.huggingface import huggingface


class Pictures(Dataset):
    """Grey pictures of two classes."""

    classes = ("dark", "light")

    def __init__(self, rows=20, labels=2):
        self.rows, self.labels = rows, labels

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        return torch.full((1, 4, 6), 5 * row, dtype=torch.uint8), row % self.labels


def test_a_torch_dataset_is_read_once_and_keeps_bytes_and_class_names():
    raw = raw_from_items([Pictures()])
    assert (raw.inputs.dtype, raw.inputs.shape, raw.normalize) == ("uint8", (1, 4, 6), "unit")
    assert raw.task.class_names == ("dark", "light")
    assert {name: len(split) for name, split in raw.splits()} == {"train": 12, "valid": 4, "test": 4}
    assert (raw.train.x[:, 0, 0, 0] // 5 % 2 == raw.train.y).all()
    prepare(raw)


def test_datasets_for_training_and_test_are_kept_apart():
    two = raw_from_items([Pictures(20), Pictures(6)])
    assert {name: len(split) for name, split in two.splits()} == {"train": 16, "valid": 4, "test": 6}
    three = raw_from_items([Pictures(20), Pictures(4), Pictures(6)])
    assert {name: len(split) for name, split in three.splits()} == {"train": 20, "valid": 4, "test": 6}
    with pytest.raises(DataError, match="test dataset has classes that the training dataset lacks: 2"):
        raw_from_items([Pictures(20), Pictures(6, labels=3)])


def test_floating_targets_of_items_make_a_regression_with_targets_that_are_scaled():
    x = torch.randn(20, 3)
    raw = raw_from_items([TensorDataset(x, x.sum(1))])
    assert (raw.task.kind, raw.inputs.layout, raw.scale_targets) == ("regression", "row", True)
    sequences = raw_from_items([TensorDataset(torch.randn(20, 5, 3), torch.arange(20) % 2)])
    assert (sequences.inputs.layout, sequences.inputs.shape) == ("array", (5, 3))


def test_items_that_do_not_fit_into_memory_are_read_while_a_run_trains(monkeypatch):
    memory = prepare(raw_from_items([Pictures()]))
    monkeypatch.setattr(items, "MOST_BYTES", 0.0)
    raw = raw_from_items([Pictures()])
    assert isinstance(raw.train.x, LazyRows)
    assert torch.equal(prepare(raw).train.x[:], memory.train.x[:])


class Odd(Dataset):
    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 10

    def __getitem__(self, row):
        return self.item(row)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (lambda row: np.zeros(3), "item 0 is ndarray"),
        (lambda row: (np.zeros(3), 1, 2), "item 0 is 3 values"),
        (lambda row: ({"a": 1}, 0), "inputs of item 0 are a dict"),
        (lambda row: ("text", 0), "inputs of item 0 are a str"),
        (lambda row: (np.zeros(3 + row), row % 2), r"inputs of item 1 have shape \(4,\), those of item 0 \(3,\)"),
        (lambda row: (np.zeros(3), 0), "two classes or more"),
    ],
)
def test_items_that_cannot_be_used_are_named(item, message):
    with pytest.raises(DataError, match=message):
        prepare(raw_from_items([Odd(item)]))


def test_items_that_change_at_random_are_kept_as_they_were_read_first_and_this_is_told():
    raw = raw_from_items([Odd(lambda row: (np.random.rand(3), row % 2))])  # noqa: NPY002 - as a user's transform
    assert "item 0 differs each time it is read" in " ".join(raw.notes)
    assert raw_from_items([Pictures()]).notes == ()


class Endless(IterableDataset):
    def __iter__(self):
        yield from ()


def test_a_dataset_without_numbered_items_is_refused():
    with pytest.raises(RequestError, match="is an iterable dataset"):
        regplug.run(dataset=Endless(), export=False)


@pytest.mark.slow
def test_a_run_trains_on_a_dataset_and_on_pairs_of_arrays_and_frames(place):
    x = np.random.default_rng(0).normal(size=(60, 3)).astype("f")
    y = (x[:, 0] > 0).astype(int)
    frame = pandas.DataFrame(x, columns=["age", "size", "price"])
    common = {"model": "linear", "epochs": 1, "batch_size": 8, "export": False}
    for dataset, name in (
        (Pictures(40), "pictures"),
        ((Pictures(40), Pictures(8)), "pictures"),
        ((x, y), "arrays"),
        ((torch.tensor(x), torch.tensor(y)), "arrays"),
        ((frame, torch.tensor(y)), "frame"),
        ((frame, pandas.Series(y, name="y")), "frame"),
    ):
        result = place.run(dataset=dataset, **common)
        assert result.config.dataset.startswith(f"yours/{name}")


@pytest.mark.parametrize("returned", ["(x, y)", "TensorDataset(torch.tensor(x), torch.tensor(y))", "frame"])
def test_a_function_of_the_users_may_return_arrays_a_dataset_or_a_frame(returned, place, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import numpy as np, pandas, torch\nfrom torch.utils.data import TensorDataset\n"
        "def make(params, context):\n"
        "    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype('f'), np.arange(40) % 2\n"
        "    frame = pandas.DataFrame(x).assign(y=y)\n"
        f"    return {returned}\n"
    )
    common = {"model": "linear", "epochs": 1, "batch_size": 8, "export": False}
    result = place.run(dataset=f"{tmp_path}/mine.py:make", **common)
    assert "test/accuracy" in result.metrics


def pictures(rows):
    made = [Image.new("RGB", (6, 4 + row % 2), (10 * row, 0, 0)) for row in range(rows)]
    columns = {"image": made, "label": [row % 2 for row in range(rows)]}
    return Saved(columns, {"image": object(), "label": ClassLabel(["dark", "light"])})


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Puts a stand-in for the library datasets in place; returns a function that reads what was "saved"."""

    def make(value, **params):
        stand_in(monkeypatch, value)
        return huggingface(HuggingFaceParams(path=str(tmp_path), **params), DataContext(data_seed=0))

    return make


def test_saved_images_keep_their_splits_and_class_names(saved):
    raw = saved({"train": pictures(20), "test": pictures(6)})
    assert raw.inputs.shape == (3, 4, 6)
    assert raw.task.class_names == ("dark", "light")
    assert {name: len(split) for name, split in raw.splits()} == {"train": 16, "valid": 4, "test": 6}
    assert saved(pictures(20), size=8).inputs.shape == (3, 8, 8)
    prepare(raw)


def test_saved_images_without_a_test_split_take_it_from_the_training_rows(saved):
    parts = {"train": pictures(20), "validation": pictures(6)}
    raw = saved(parts)
    assert {name: len(split) for name, split in raw.splits()} == {"train": 16, "valid": 6, "test": 4}
    # The red of each picture counts the rows: each training row is in one split, and no validation row in another.
    reds = {name: sorted((split.x[:, 0, 0, 0] // 10).tolist()) for name, split in raw.splits()}
    assert sorted(reds["train"] + reds["test"]) == list(range(20))
    assert reds["valid"] == list(range(6))
    assert (np.bincount(raw.test.y) == 2).all()
    assert len(saved(parts, test=0.5).test) == 10
    prepare(raw)


def test_a_saved_table_is_prepared_as_a_data_frame_is(saved):
    raw = saved(saved_table())
    assert isinstance(raw, RawData)
    assert raw.task.class_names == ("no", "yes")
    assert raw.inputs.names == ("age", "town")
    prepare(raw)


def test_what_a_saved_dataset_cannot_give_is_told(saved):
    with pytest.raises(DataError, match="has no column 'lable' for target"):
        saved(pictures(8), target="lable")
    with pytest.raises(DataError, match="has the splits all"):
        saved({"all": pictures(8)})
    with pytest.raises(DataError, match="images or arrays, for which balance= has no effect"):
        saved(pictures(8), balance=True)
    with pytest.raises(DataError, match="image, label are several inputs"):
        saved(Saved({**pictures(8).columns, "class": [0, 1] * 4}, pictures(8).features), target="class")
    lacking = Saved({"age": [1.0, 2.0], "label": [0, 1]}, {"age": None, "label": ClassLabel(["no", "yes"])})
    with pytest.raises(DataError, match="the test split has no column town"):
        saved({"train": saved_table(), "test": lacking})
    empty = Saved({"age": [], "town": [], "label": []}, saved_table().features)
    with pytest.raises(DataError, match="the train split has no rows"):
        saved(empty)


def test_a_saved_table_keeps_its_splits_and_is_prepared_over_text_and_gaps(tmp_path):
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features(age=datasets.Value("float32"), town=datasets.Value("string"), sex=label, label=label)

    def part(rows, start):
        ages = [None if row % 7 == 0 else float(row + start) for row in range(rows)]
        towns = [None if row % 5 == 0 else "ab"[row % 2] for row in range(rows)]
        sexes, labels = [row // 2 % 2 for row in range(rows)], [row % 2 for row in range(rows)]
        columns = {"age": ages, "town": towns, "sex": sexes, "label": labels}
        return datasets.Dataset.from_dict(columns, features=features)

    whole = datasets.DatasetDict(train=part(60, 0), validation=part(20, 100), test=part(24, 200))
    whole.save_to_disk(tmp_path / "all")
    params = HuggingFaceParams(path=str(tmp_path / "all"), rare=1)
    raw = huggingface(params, DataContext(data_seed=0))
    assert {name: len(split) for name, split in raw.splits()} == {"train": 60, "valid": 20, "test": 24}
    assert [float(split.x[1, 0]) for _, split in raw.splits()] == [1, 101, 201]
    assert raw.task.class_names == ("no", "yes")
    kinds = {column.name: (column.kind, column.categories) for column in raw.table.columns}
    assert kinds == {"age": ("number", ()), "town": ("category", ("", "a", "b")), "sex": ("category", ("no", "yes"))}
    prepare(raw)

    datasets.DatasetDict(train=part(60, 0), validation=part(20, 100)).save_to_disk(tmp_path / "two")
    raw = huggingface(HuggingFaceParams(path=str(tmp_path / "two")), DataContext(data_seed=0))
    assert {name: len(split) for name, split in raw.splits()} == {"train": 48, "valid": 20, "test": 12}


def test_a_saved_split_without_classes_is_refused_with_its_row(saved):
    hidden = Saved({**saved_table().columns, "label": [0, 1, -1, 0] * 10}, saved_table().features)
    with pytest.raises(DataError, match="test row 2, column label: the target is empty; 10 rows have none"):
        saved({"train": saved_table(), "test": hidden})


def test_without_the_library_the_folder_is_recognised_and_what_to_install_is_told(tmp_path, monkeypatch):
    (tmp_path / "dataset_info.json").write_text("{}")
    found = default_registry().locate("dataset", ComponentSpec.parse(str(tmp_path), is_data=True))
    assert found.name == "huggingface"
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="saved by the library datasets, which is not installed") as caught:
        huggingface(HuggingFaceParams(path=str(tmp_path)), DataContext(data_seed=0))
    assert caught.value.hint == "pip install 'regplug[huggingface]'"
