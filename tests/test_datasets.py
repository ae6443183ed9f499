"""First-party datasets: shapes, splits, seeds, and files that are missing or wrong."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from regplug.api import DataContext
from regplug.data import digest, prepare
from regplug.errors import DataError
from regplug_datasets import DigitsParams, LinearRegressionParams, MNISTParams, TableParams
from regplug_datasets.digits import digits
from regplug_datasets.mnist import fashion_mnist, mnist, read_idx
from regplug_datasets.synthetic import linear_regression
from regplug_datasets.tables import table as read_table

DATA_DIR = os.environ.get("REGPLUG_DATA_DIR")
needs_data = pytest.mark.skipif(not DATA_DIR, reason="REGPLUG_DATA_DIR names no folder with the idx files")

SEED_0 = DataContext(data_seed=0)
SEED_1 = DataContext(data_seed=1)


def test_digits_has_every_image_of_scikit_learn_once():
    raw = digits(DigitsParams(), SEED_0)
    x = np.concatenate([split.x for _, split in raw.splits()]).reshape(-1, 64)
    assert [len(split) for _, split in raw.splits()] == [1079, 359, 359]
    assert sorted(map(bytes, x)) == sorted(map(bytes, load_digits().data.astype(np.uint8)))
    assert x.dtype == np.uint8
    assert x.max() == raw.inputs.high


def test_digits_become_numbers_between_zero_and_one():
    train = prepare(digits(DigitsParams(), SEED_0)).train.x
    assert (train.min().item(), train.max().item()) == (0, 1)


def test_digits_has_the_same_share_of_each_digit_in_each_split():
    raw = digits(DigitsParams(), SEED_0)
    for _, split in raw.splits():
        assert np.bincount(split.y) / len(split) == pytest.approx(np.full(10, 0.1), abs=0.01)


@pytest.mark.parametrize(
    ("dataset", "params"), [(digits, DigitsParams()), (linear_regression, LinearRegressionParams())]
)
def test_the_data_seed_repeats_the_data_and_another_gives_others(dataset, params):
    first, again, other = (digest(dataset(params, context)) for context in (SEED_0, SEED_0, SEED_1))
    assert first == again != other


def test_digits_without_validation_has_no_validation_split():
    raw = digits(DigitsParams(validation=0.0), SEED_0)
    assert raw.valid is None
    assert len(raw.train) == 1797 - len(raw.test)


def test_linear_regression_is_the_line_that_it_says_it_is():
    raw = linear_regression(LinearRegressionParams(train_rows=5000), SEED_0)
    x, y = raw.train.x.astype(np.float64), raw.train.y[:, 0]
    with_one = np.column_stack([x, np.ones(len(x))])
    (*weights, bias), *_ = np.linalg.lstsq(with_one, y, rcond=None)
    assert np.array(weights) == pytest.approx(np.full(200, 0.01), abs=1e-3)
    assert bias == pytest.approx(0.05, abs=1e-3)
    assert np.std(y - with_one @ [*weights, bias], ddof=201) == pytest.approx(0.01, rel=0.05)
    assert x.mean() == pytest.approx(0, abs=0.005)
    assert x.std() == pytest.approx(1, abs=0.005)


def test_linear_regression_has_20_rows_to_train_and_100_each_to_validate_and_to_test():
    raw = linear_regression(LinearRegressionParams(), SEED_0)
    assert [split.x.shape for _, split in raw.splits()] == [(20, 200), (100, 200), (100, 200)]
    assert [split.y.shape for _, split in raw.splits()] == [(20, 1), (100, 1), (100, 1)]
    prepare(raw)


def test_uniform_features_lie_between_zero_and_one():
    x = linear_regression(LinearRegressionParams(features="uniform", train_rows=1000), SEED_0).train.x
    assert x.min() >= 0
    assert x.max() <= 1
    assert x.mean() == pytest.approx(0.5, abs=0.01)
    assert x.var() == pytest.approx(1 / 12, rel=0.02)


def test_the_test_rows_do_not_depend_on_how_many_rows_train():
    few, many = (linear_regression(LinearRegressionParams(train_rows=rows), SEED_0).test for rows in (20, 1000))
    assert np.array_equal(few.x, many.x)
    assert np.array_equal(few.y, many.y)


# The reference of 100-200 seeds, convention K1: half squared error, the penalty's gradient on the weights only,
# N(0, 1) start, batches of 5, learning rate 0.003, 100 epochs.
@pytest.mark.parametrize(("strength", "mean", "deviation"), [(0.0, 13.41, 0.73), (3.0, 0.365, 0.020)])
def test_weight_norms_after_training_agree_with_the_independent_reference(strength, mean, deviation):
    norms = []
    for seed in range(10):
        prepared = prepare(linear_regression(LinearRegressionParams(), DataContext(data_seed=seed)))
        x, y = prepared.train.x, prepared.train.y
        generator = torch.Generator().manual_seed(seed)
        w, b = torch.randn(200, 1, generator=generator), torch.zeros(1)
        for _ in range(100):
            for rows in torch.randperm(20, generator=generator).split(5):
                residual = x[rows] @ w + b - y[rows]
                w -= 0.003 * (x[rows].T @ residual / 5 + strength * w)
                b -= 0.003 * residual.mean()
        norms.append(w.norm().item())
    assert np.mean(norms) == pytest.approx(mean, abs=4 * deviation / np.sqrt(10))


@needs_data
@pytest.mark.parametrize(("dataset", "folder"), [(mnist, "MNIST"), (fashion_mnist, "FashionMNIST")])
def test_idx_files_are_read_as_torchvision_reads_them(dataset, folder, tmp_path):
    from torchvision.datasets.mnist import read_image_file, read_label_file

    for packed in (Path(DATA_DIR) / folder / "raw").glob("*.gz"):
        (tmp_path / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    raw = dataset(MNISTParams(), SEED_0)
    for split, prefix in ((raw.train, "train"), (raw.test, "t10k")):
        images = read_image_file(tmp_path / f"{prefix}-images-idx3-ubyte")
        labels = read_label_file(tmp_path / f"{prefix}-labels-idx1-ubyte")
        assert np.array_equal(split.x[:, 0], images.numpy())
        assert np.array_equal(split.y, labels.numpy())


@needs_data
@pytest.mark.parametrize("dataset", [mnist, fashion_mnist])
def test_fixed_constants_are_the_statistics_of_the_training_images(dataset):
    x = prepare(dataset(MNISTParams(normalize="fixed"), SEED_0)).train.x[:]
    assert x.mean().item() == pytest.approx(0, abs=1e-3)
    assert x.std().item() == pytest.approx(1, abs=1e-3)


@needs_data
def test_validation_images_are_taken_from_the_training_images_and_subsets_nest():
    raw = mnist(MNISTParams(validation=1000, train_rows=200), SEED_0)
    larger = mnist(MNISTParams(validation=1000, train_rows=300), SEED_0)
    assert [len(split) for _, split in raw.splits()] == [200, 1000, 10000]
    assert {image.tobytes() for image in raw.train.x} < {image.tobytes() for image in larger.train.x}
    assert np.array_equal(raw.valid.x, larger.valid.x)


@needs_data
def test_more_images_than_there_are_are_refused():
    with pytest.raises(DataError, match="train_rows=60000 asks for more than the 59000 images"):
        mnist(MNISTParams(validation=1000, train_rows=60000), SEED_0)


def write_idx(path, shape, values, magic=b"\0\0\x08"):
    header = magic + bytes([len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    path.write_bytes(header + bytes(values))
    return path


def test_an_idx_file_gives_its_bytes_in_its_shape(tmp_path):
    path = write_idx(tmp_path / "images", (2, 1, 3), range(6))
    assert read_idx(path).tolist() == [[[0, 1, 2]], [[3, 4, 5]]]


@pytest.mark.parametrize(
    ("values", "magic"), [(range(5), b"\0\0\x08"), (range(7), b"\0\0\x08"), (range(6), b"\0\0\x0d"), (range(6), b"hey")]
)
def test_an_idx_file_cut_short_or_of_another_type_is_refused(tmp_path, values, magic):
    with pytest.raises(DataError, match="no whole idx file"):
        read_idx(write_idx(tmp_path / "images", (2, 3), values, magic))


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\x08\xff\0\0", b"\0\0\x08\x02\0\0\0\x05\0"])
def test_a_file_that_ends_in_its_header_is_no_idx_file(tmp_path, content):
    (tmp_path / "images").write_bytes(content)
    with pytest.raises(DataError, match="no whole idx file"):
        read_idx(tmp_path / "images")


def test_a_broken_packed_file_is_refused(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(b"\0" * 1000)[:-12])
    with pytest.raises(DataError, match=r"images\.gz cannot be read"):
        read_idx(path)


def test_a_missing_file_is_named_and_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match=r"Neither .*MNIST/raw/train-images-idx3-ubyte nor .*\.gz beside it exists"):
        mnist(MNISTParams(), SEED_0)
    assert list(tmp_path.iterdir()) == []


def test_without_a_data_folder_the_files_are_downloaded_once_into_the_cache(tmp_path, monkeypatch):
    from torchvision import datasets

    calls = []

    class FakeMNIST:
        def __init__(self, root, download):
            calls.append((root, download))
            folder = Path(root) / "MNIST" / "raw"
            folder.mkdir(parents=True)
            for prefix, rows in (("train", 20), ("t10k", 10)):
                write_idx(folder / f"{prefix}-images-idx3-ubyte", (rows, 28, 28), bytes(rows * 784))
                write_idx(folder / f"{prefix}-labels-idx1-ubyte", (rows,), [row % 10 for row in range(rows)])

    monkeypatch.delenv("REGPLUG_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(datasets, "MNIST", FakeMNIST)
    assert len(mnist(MNISTParams(), SEED_0).train) == len(mnist(MNISTParams(), SEED_0).train) == 20
    assert calls == [(tmp_path / "regplug", True)]


def test_a_download_that_fails_says_where_to_put_the_files(tmp_path, monkeypatch):
    from torchvision import datasets

    def fail(**_):
        raise RuntimeError("no route to host")

    monkeypatch.delenv("REGPLUG_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(datasets, "FashionMNIST", fail)
    with pytest.raises(DataError, match=r"FashionMNIST could not be downloaded.*no route to host") as caught:
        fashion_mnist(MNISTParams(), SEED_0)
    assert "REGPLUG_DATA_DIR" in caught.value.hint


def table(tmp_path, text, **params):
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding=params.pop("encoding", "utf-8"))
    return read_table(TableParams(path=str(path), **params), SEED_0)


ROWS = "".join(f"{i},{i * i},{'yes' if i % 2 else 'no'}\n" for i in range(20))


def test_a_table_with_text_in_its_last_column_is_a_classification(tmp_path):
    raw = table(tmp_path, "a,b,c\n" + ROWS)
    assert raw.task.class_names == ("no", "yes")
    assert raw.inputs.names == ("a", "b")
    assert [len(split) for _, split in raw.splits()] == [12, 4, 4]
    for _, split in raw.splits():
        assert np.array_equal(split.y, split.x[:, 0] % 2)
        assert np.array_equal(split.x[:, 1], split.x[:, 0] ** 2)
    assert prepare(raw).train.x.mean(dim=0).abs().max() < 1e-6


def test_the_target_may_stand_anywhere_and_numbers_make_a_regression(tmp_path):
    rows = "".join(f"{i}.5,{2 * i}\n" for i in range(30))
    raw = table(tmp_path, "price,size\n" + rows, target="price")
    assert raw.task.kind == "regression"
    assert raw.inputs.names == ("size",)
    assert np.array_equal(raw.train.y, raw.train.x / 2 + 0.5)
    prepare(raw)


@pytest.mark.parametrize(("distinct", "kind"), [(20, "classification"), (21, "regression")])
def test_few_whole_numbers_are_classes_and_many_are_a_quantity(tmp_path, distinct, kind):
    rows = "".join(f"{i},{i % distinct}.0\n" for i in range(200))
    assert table(tmp_path, "a,b\n" + rows).task.kind == kind


def test_whole_numbers_as_classes_are_sorted_as_numbers(tmp_path):
    rows = "".join(f"{i},{(9, 10, 100)[i % 3]}\n" for i in range(30))
    assert table(tmp_path, "a,b\n" + rows).task.class_names == ("9", "10", "100")
    assert table(tmp_path, "a,b\n" + rows, task="regression").task.kind == "regression"


def test_spreadsheets_byte_order_mark_semicolons_quotes_and_blank_lines_are_read(tmp_path):
    rows = "".join(f'{i};"{"x" if i % 2 else "y"}; quoted" \n\n' for i in range(20))
    raw = table(tmp_path, "a; b\n" + rows, delimiter="semicolon", encoding="utf-8-sig")
    assert raw.inputs.names == ("a",)
    assert raw.task.class_names == ("x; quoted", "y; quoted")


@pytest.mark.parametrize(
    ("text", "params", "message"),
    [
        ("a,b\n1,2\ninf,3\n", {}, r"mine\.csv, line 3, column a: the number is infinite; the column has 1 such number"),
        (
            "a,b\n1,2\n\ninf,3\n-inf,3\n",
            {},
            r"mine\.csv, line 4, column a: the number is infinite; the column has 2 such numbers",
        ),
        ("a,b\n,2\nnan,3\n", {}, "column a is empty.\nLeave it out: drop="),
        ("a,b\n2024-02-01,2\n2024-02-02,3\n", {}, "column a has dates, such as 2024-02-01"),
        ("a,b\n01.02.2024,2\n02.02.2024,3\n", {}, "column a has dates, such as 01.02.2024"),
        ("a,b\n1,2.5\n2,2.5\n", {}, "column b: the target is 2.5 in every row"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", {}, "the first line has 5.1 as the name of a column"),
        ("a;b\n1;2\n3;4\n", {"delimiter": "comma"}, "no column beside the target a;b"),
        ("a,b\n1,2\n3\n", {}, "line 3: 1 cell under 2 column names"),
        ("a,b\n1,2\n1e39,3\n", {}, "line 3, column a: 1e[+]39 is beyond float32"),
        ("a,b\n1,yes\n2,\n", {}, "line 3, column b: the target is empty"),
        ("a,b\n1,2.5\n2,many\n", {"task": "regression"}, "line 3, column b: 'many' is not a finite number"),
        ("a,b\n1,2\n1,2,3\n", {}, "line 3: 3 cells under 2 column names"),
        ("a,b\n", {}, "has no rows"),
        ("", {}, "has no rows"),
        ("1,2\n3,4\n", {}, "the first line has only numbers"),
        ("a,a\n3,4\n", {}, "column 2 has the same name 'a' as another one"),
        ("a,\n3,4\n", {}, "column 2 has no name"),
        ("a\n3\n", {}, "no column beside the target a"),
        ("a,b\n1,x\n2,x\n", {}, "every row has the class x"),
        ("a,b\n1,x\n2,y\n3,x\n4,x\n5,x\n6,x\n", {}, "column b: class y has 1 row"),
        ("a,b\n" + "1,x\n2,x\n" * 2 + "1,y\n" * 4 + "1,z\n" * 4, {}, "same share of each class"),
        ("age,price\n1,2\n", {"target": "prise"}, "no column 'prise'.\nDid you mean price"),
    ],
)
def test_a_table_that_cannot_be_used_says_where_and_why(tmp_path, text, params, message):
    with pytest.raises(DataError, match=message):
        table(tmp_path, text, **params)


def test_a_missing_path_a_missing_file_a_folder_and_a_binary_file_are_refused(tmp_path):
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\xff\xe0" * 10)
    for path, message in (
        ("", "needs a file"),
        (str(tmp_path / "none.csv"), "No file"),
        (str(tmp_path), "cannot be read as a table"),
        (str(tmp_path / "picture.csv"), "cannot be read as a table"),
    ):
        with pytest.raises(DataError, match=message):
            read_table(TableParams(path=path), SEED_0)


PLUGINS = ("activations", "datasets", "initializers", "models", "probes")


def test_the_descriptors_import_neither_torch_nor_numpy():
    imports = "; ".join(f"import regplug_{name}" for name in PLUGINS)
    code = f"import sys; {imports}; print(sorted({{'torch', 'numpy', 'sklearn'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
