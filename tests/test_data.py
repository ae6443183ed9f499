"""Raw arrays to tensors: normalisation, splits, order, and what is refused."""

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from regplug.api import Task
from regplug.data import InputSpec, Normalize, RawData, Split, digest, order, prepare, split_indices
from regplug.errors import DataError
from regplug.seeds import derive_seed

CLASSES = Task(kind="classification", num_outputs=3, class_names=("a", "b", "c"))


def rows(train_x, test_x=None, *, normalize="standard", **spec):
    """Raw rows of three classes in turn; what is not given of the test split is the training split's."""
    train_x = np.asarray(train_x, dtype=np.float32)
    test_x = train_x if test_x is None else np.asarray(test_x, dtype=np.float32)
    spec = {"names": tuple(f"c{i}" for i in range(train_x.shape[1])), **spec}
    return RawData(
        name="mine",
        train=Split(x=train_x, y=np.arange(len(train_x)) % 3),
        test=Split(x=test_x, y=np.arange(len(test_x)) % 3),
        task=CLASSES,
        inputs=InputSpec(layout="row", shape=train_x.shape[1:], dtype="float32", **spec),
        normalize=normalize,
    )


def images(normalize, fixed=None, low=0, high=255):
    x = np.random.default_rng(0).integers(0, 256, (30, 2, 5, 4), dtype=np.uint8)
    x[:, 1] //= 2
    return RawData(
        name="pictures",
        train=Split(x=x[:20], y=np.arange(20) % 3),
        valid=Split(x=x[20:25], y=np.arange(5) % 3),
        test=Split(x=x[25:], y=np.arange(5) % 3),
        task=CLASSES,
        inputs=InputSpec(layout="image", shape=(2, 5, 4), dtype="uint8", low=low, high=high),
        normalize=normalize,
        fixed=fixed,
    )


def test_standard_rows_equal_scikit_learns_scaler_fitted_on_the_training_split():
    rng = np.random.default_rng(1)
    train, test = rng.normal(1000, 3, (5000, 4)), rng.normal(0, 1, (7, 4))
    prepared = prepare(rows(train, test))
    scaler = StandardScaler().fit(train.astype(np.float32).astype(np.float64))
    assert prepared.train.x.numpy() == pytest.approx(scaler.transform(train), abs=1e-4)
    assert prepared.test.x.numpy() == pytest.approx(scaler.transform(test), rel=1e-4)


def test_a_constant_column_is_moved_to_zero_and_not_scaled():
    prepared = prepare(rows([[0.1, 1], [0.1, 2], [0.1, 3]], [[1.1, 2], [0.1, 2], [0.1, 2]]))
    assert prepared.train.x[:, 0].tolist() == [0, 0, 0]
    assert prepared.test.x[0, 0].item() == pytest.approx(1)


def test_standard_images_have_mean_zero_and_deviation_one_in_each_channel():
    x = prepare(images("standard"), dtype=torch.float64).train.x
    assert x.mean(dim=(0, 2, 3)).abs().max() < 1e-12
    assert x.var(dim=(0, 2, 3), correction=0).sqrt().numpy() == pytest.approx([1, 1])


def test_unit_maps_the_declared_range_and_not_the_seen_one():
    prepared = prepare(images("unit", low=-255, high=255))
    assert torch.equal(prepared.preprocess(torch.tensor([0, 255])), torch.tensor([0.5, 1.0]))


def test_fixed_takes_the_declared_constants():
    prepared = prepare(images("fixed", fixed=(50.0, 20.0)))
    assert prepared.preprocess(torch.tensor([70])).item() == pytest.approx(1)


def test_none_changes_nothing_but_the_type():
    raw = images("none")
    assert np.array_equal(prepare(raw).train.x.numpy(), raw.train.x)


@pytest.mark.parametrize("normalize", ["none", "unit", "standard", "fixed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_module_for_export_gives_the_bits_that_were_trained_on(normalize, dtype):
    raw = images(normalize, fixed=(33.3, 7.7))
    prepared = prepare(raw, dtype=dtype)
    assert torch.equal(prepared.preprocess(torch.from_numpy(raw.valid.x)), prepared.valid.x)
    assert prepared.valid.x.dtype == dtype


def test_normalize_follows_the_precision_of_the_model_in_front_of_which_it_stands():
    module = Normalize(torch.tensor(1.0), torch.tensor(2.0)).double()
    assert module(torch.tensor([3], dtype=torch.uint8)).dtype == torch.float64


def test_arrays_that_must_not_be_written_are_taken_and_left_as_they_are():
    raw = images("unit")
    raw.train.x.setflags(write=False)
    before = raw.train.x.copy()
    prepare(raw)
    assert np.array_equal(raw.train.x, before)


def test_the_raw_arrays_stay_as_they_are_where_nothing_is_normalised():
    raw = rows(np.ones((3, 2)), normalize="none")
    prepare(raw).train.x.add_(1)
    assert raw.train.x.max() == 1


def test_regression_targets_take_the_precision_of_the_run():
    raw = RawData(
        name="line",
        train=Split(x=np.zeros((2, 1), np.float32), y=np.ones((2, 1), np.float32)),
        test=Split(x=np.zeros((2, 1), np.float32), y=np.ones((2, 1), np.float32)),
        task=Task(kind="regression", num_outputs=1),
        inputs=InputSpec(layout="row", shape=(1,), dtype="float32"),
    )
    prepared = prepare(raw, dtype=torch.float64)
    assert prepared.train.y.dtype == torch.float64
    assert prepared.valid is None
    assert prepared.task is raw.task
    assert prepared.inputs is raw.inputs


def test_the_digest_tells_values_shapes_and_splits_apart():
    raw = images("none")
    x = raw.train.x.copy()
    x[0, 0, 0, 0] ^= 1
    others = [
        raw.__class__(**{**vars(raw), "train": Split(x=x, y=raw.train.y)}),
        raw.__class__(**{**vars(raw), "train": raw.test, "test": raw.train}),
        raw.__class__(**{**vars(raw), "valid": None}),
    ]
    assert digest(raw) == digest(images("unit")) == prepare(raw).digest
    assert len({digest(raw), *map(digest, others)}) == 4


def test_a_missing_value_is_refused_with_row_and_column():
    with pytest.raises(DataError, match="test split: the value in row 1, column c2 is nan"):
        prepare(rows(np.ones((3, 3)), [[1, 2, 3], [1, 2, np.nan]]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": Split(x=np.zeros((0, 2), np.float32), y=np.zeros(0, np.int64))}, "it has no rows"),
        (
            {"train": Split(x=np.zeros((2, 3), np.float32), y=np.zeros(2, np.int64))},
            r"shape \(2, 3\).*require \(2, 2\)",
        ),
        ({"train": Split(x=np.zeros((2, 2)), y=np.zeros(2, np.int64))}, "are float64, but are declared as float32"),
        (
            {"train": Split(x=np.zeros((2, 2), np.float32), y=np.array([0, 3]))},
            "from 0 to 3; 3 classes are numbered 0 to 2",
        ),
        ({"train": Split(x=np.zeros((2, 2), np.float32), y=np.zeros(2))}, "must be int64"),
        ({"task": Task(kind="classification", num_outputs=1)}, "two classes or more"),
        ({"task": Task(kind="regression", num_outputs=1)}, r"must be floating of shape \(rows, 1\)"),
        ({"normalize": "unit"}, "needs a declared range"),
        ({"normalize": "fixed"}, "needs constants"),
    ],
)
def test_data_that_are_not_what_they_declare_are_refused(change, message):
    raw = rows(np.ones((3, 2)))
    with pytest.raises(DataError, match=message):
        prepare(RawData(**{**vars(raw), **change}))


def test_an_infinite_regression_target_is_refused():
    x, y = np.zeros((2, 1), np.float32), np.array([[0.0], [np.inf]])
    raw = RawData(
        name="line",
        train=Split(x=x, y=y),
        test=Split(x=x, y=y),
        task=Task(kind="regression", num_outputs=1),
        inputs=InputSpec(layout="row", shape=(1,), dtype="float32"),
    )
    with pytest.raises(DataError, match="target: the value in row 1, column 0 is inf"):
        prepare(raw)


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    torch.manual_seed(5)
    first = order(100, seed=3, epoch=2)
    torch.manual_seed(6)
    assert torch.equal(first, order(100, seed=3, epoch=2))
    assert not torch.equal(first, order(100, seed=3, epoch=1))
    assert not torch.equal(first, order(100, seed=4, epoch=2))
    assert torch.equal(first.sort().values, torch.arange(100))


def test_the_order_without_shuffling_is_the_datas():
    assert order(4, seed=3, epoch=2, shuffle=False).tolist() == [0, 1, 2, 3]


def test_drawing_an_order_leaves_torchs_global_generator_alone():
    state = torch.get_rng_state()
    order(10, seed=0, epoch=0)
    assert torch.equal(state, torch.get_rng_state())


def test_a_split_takes_each_row_once_and_keeps_the_share_of_each_class():
    labels = np.repeat([0, 1], [800, 200])
    parts = split_indices(1000, valid=0.2, test=0.1, seed=0, labels=labels)
    assert [len(part) for part in parts] == [700, 200, 100]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    assert [labels[part].mean() for part in parts] == pytest.approx([0.2, 0.2, 0.2])


def test_a_split_is_repeated_by_its_seed_and_moved_by_another():
    first, again, other = (split_indices(50, valid=10, test=10, seed=seed)[2].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_the_validation_rows_do_not_depend_on_how_many_test_rows_there_are():
    few, many = (split_indices(50, valid=10, test=test, seed=1)[1] for test in (1, 20))
    assert np.array_equal(few, many)


def test_a_split_of_nothing_is_empty():
    train, valid, test = split_indices(5, valid=0, test=0, seed=0)
    assert (len(train), len(valid), len(test)) == (5, 0, 0)


@pytest.mark.parametrize(("valid", "test"), [(3, 2), (0.5, 0.5), (0.01, 0.2)])
def test_too_few_rows_for_the_splits_are_refused(valid, test):
    with pytest.raises(DataError, match="5 rows cannot be split"):
        split_indices(5, valid=valid, test=test, seed=0)


def test_a_class_too_rare_for_the_splits_is_refused():
    with pytest.raises(DataError, match=r"same share of each class.*least populated"):
        split_indices(5, valid=0.2, test=0.2, seed=0, labels=np.array([0, 0, 0, 0, 1]))


def test_seeds_of_two_purposes_differ_and_stay_the_same_for_ever():
    assert derive_seed(0, "order", 3) == 386106667988085106
    assert (
        len(
            {
                derive_seed(0, "a", "b"),
                derive_seed(0, "ab"),
                derive_seed(0, "a, b"),
                derive_seed(0, 1),
                derive_seed(0, "1"),
            }
        )
        == 5
    )
    assert all(0 <= derive_seed(seed) < 2**63 for seed in range(100))


def test_the_declared_range_is_normalised_as_the_inputs_are():
    limits = prepare(rows([[0, 1], [4, 3]], low=0.0, high=4.0)).limits
    assert {name: value.tolist() for name, value in limits.items()} == {"low": [-1.0, -2.0], "high": [1.0, 2.0]}
    assert set(prepare(rows([[0, 1], [4, 3]], low=0.0)).limits) == {"low"}
