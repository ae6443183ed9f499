"""Small tables, generated data and CIFAR: shapes, splits, and the truth of what is generated."""

import pickle

import numpy as np
import pytest
import torch
from made_images import write_cifar

from regplug.api import DataContext
from regplug.data import digest, prepare
from regplug.errors import DataError
from regplug_datasets import CIFARParams
from regplug_datasets.cifar import cifar10, cifar100
from regplug_datasets.textbook import (
    AddingParams,
    NoisyLineParams,
    PlaneParams,
    PolynomialParams,
    TableParams,
    curves,
    plane,
    sequences,
    sklearn_tables,
)

SEED_0, SEED_1 = DataContext(data_seed=0), DataContext(data_seed=1)
TABLES = {"iris": (150, 4, 3), "wine": (178, 13, 3), "breast_cancer": (569, 30, 2), "diabetes": (442, 10, 1)}
PLANE = ("moons", "spirals", "rings")
GENERATED = [
    *((getattr(plane, name), PlaneParams()) for name in PLANE),
    (curves.noisy_line, NoisyLineParams()),
    (curves.polynomial, PolynomialParams()),
    (sequences.adding, AddingParams()),
]


def everything(raw, part="x"):
    return np.concatenate([getattr(split, part) for _, split in raw.splits()])


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_all_its_rows_once_with_their_names_and_the_same_shares_of_classes(name):
    raw = getattr(sklearn_tables, name)(TableParams(), SEED_0)
    rows, columns, outputs = TABLES[name]
    assert everything(raw).shape == (rows, columns)
    assert (len(raw.inputs.names), raw.task.num_outputs) == (columns, outputs)
    assert len(raw.valid) == pytest.approx(0.2 * rows, abs=1)
    if raw.task.is_classification:
        shares = [np.bincount(split.y) / len(split) for _, split in raw.splits()]
        assert np.ptp(shares, axis=0).max() < 0.06
    train = prepare(raw).train.x
    assert torch.allclose(train.mean(0), torch.zeros(columns), atol=1e-4)


@pytest.mark.parametrize(("make", "params"), GENERATED)
def test_the_data_seed_repeats_generated_data_and_sizes_move_no_other_split(make, params):
    raw = make(params, SEED_0)
    assert digest(raw) == digest(make(params, SEED_0)) != digest(make(params, SEED_1))
    fewer = make(type(params)(train_rows=6), SEED_0)
    assert (len(fewer.train), fewer.valid) == (6, None) if raw.valid is None else len(fewer.train) == 6
    assert np.array_equal(fewer.test.x, raw.test.x)
    prepare(raw)


@pytest.mark.parametrize("name", PLANE)
def test_points_without_noise_lie_on_the_shapes_and_no_line_separates_them(name):
    raw = getattr(plane, name)(PlaneParams(noise=0.0), SEED_0)
    x, y = raw.test.x.astype(np.float64), raw.test.y
    assert np.bincount(y).tolist() == [500, 500]
    if name == "rings":
        assert np.hypot(*x.T) == pytest.approx(np.where(y == 1, 0.5, 1))
    if name == "moons":
        assert np.hypot(*(x - np.where(y[:, None] == 1, (1, 0.5), (0, 0))).T) == pytest.approx(np.ones(1000))
    if name == "spirals":
        assert np.hypot(*x.T).max() < 1 + 1e-6
    with_one = np.column_stack([x, np.ones(len(x))])
    weights, *_ = np.linalg.lstsq(with_one, 2 * y - 1, rcond=None)
    assert np.mean((with_one @ weights > 0) == (y == 1)) < 0.95


def test_the_noisy_line_has_its_slope_and_its_noise():
    raw = curves.noisy_line(NoisyLineParams(train_rows=20_001), SEED_0)
    x, y = raw.train.x[:, 0].astype(np.float64), raw.train.y[:, 0]
    slope, offset = np.polyfit(x, y, 1)
    assert (slope, offset, np.std(y - 1.5 * x)) == pytest.approx((1.5, 0, 0.5), abs=0.02)
    assert (x.min(), x.max()) == (-1, 1)


def test_the_polynomial_has_its_coefficients():
    raw = curves.polynomial(PolynomialParams(train_rows=5000), SEED_0)
    x = raw.train.x[:, 0].astype(np.float64)
    basis = np.stack([np.ones_like(x), x, x**2 / 2, x**3 / 6], axis=1)
    weights, *_ = np.linalg.lstsq(basis, raw.train.y[:, 0], rcond=None)
    assert weights == pytest.approx([5, 1.2, -3.4, 5.6], abs=0.02)


def test_the_sum_of_the_two_marked_numbers_is_the_target():
    raw = sequences.adding(AddingParams(length=7), SEED_0)
    values, marks = raw.train.x[..., 0], raw.train.x[..., 1]
    assert raw.train.x.shape == (1000, 7, 2)
    assert marks[:, :3].sum(1).tolist() == marks[:, 3:].sum(1).tolist() == [1] * 1000
    assert raw.train.y[:, 0] == pytest.approx((values * marks).sum(1))


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("dataset", "kind", "place", "rows"),
    [(cifar10, 10, "cifar-10-batches-py", 10), (cifar100, 100, "cifar-100-python", 2)],
)
def test_cifar_is_read_from_its_published_files(dataset, kind, place, rows, data_dir):
    write_cifar(data_dir / place, kind)
    raw = dataset(CIFARParams(), SEED_0)
    assert raw.train.x.shape == (rows, 3, 32, 32)
    assert (len(raw.test), raw.task.class_names) == (2, ("cat", "dog"))
    first = np.random.default_rng(0).integers(0, 256, (2, 3072), np.uint8)
    assert np.array_equal(raw.train.x[0].ravel(), first[0])
    prepare(raw)


def test_cifar_files_that_are_missing_or_wrong_are_named_and_run_no_code(data_dir):
    with pytest.raises(DataError, match=r"No file .*data_batch_1"):
        cifar10(CIFARParams(), SEED_0)
    write_cifar(data_dir / "cifar-10-batches-py")
    path = data_dir / "cifar-10-batches-py" / "data_batch_3"
    whole = path.read_bytes()
    for content, told in (
        (whole[:100], "cannot be read"),
        (pickle.dumps(print), "it names builtins.print"),
        (pickle.dumps({"data": 1}), "has no data and labels"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"data_batch_3.*{told}"):
            cifar10(CIFARParams(), SEED_0)
