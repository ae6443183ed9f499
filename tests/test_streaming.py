"""Inputs that stay uint8 in memory, or are read while a run trains: they give the same bits as normalised tensors."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from trainings import trainer

import regplug
from regplug.api import DataContext
from regplug.data import LazyRows, RawData, Reader, Split, digest, prepare, tensors
from regplug.data.altering import alter_training, noisy_test_inputs, repeated_rows
from regplug.data.folds import fold_data
from regplug.data.inputs import KeptRaw, Streamed, all_in_chunks, rows_in_turn
from regplug.errors import DataError
from regplug.runs.data_facts import facts_of
from regplug.studies.stacks import running
from regplug_datasets.own_files import ImagesParams
from regplug_datasets.own_files.image_folder import images

WAYS = ("normalised", "raw", "streamed")


def write_folder(folder, number=16, side=6):
    generator = np.random.default_rng(0)
    for label, mean in (("dark", 60), ("light", 170)):
        (folder / label).mkdir(parents=True)
        for at in range(number):
            pixels = (mean + generator.integers(-50, 50, (side, side))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{at:02}.png")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("pictures"))


def read(folder, way, **params):
    keep = "stream" if way == "streamed" else "memory"
    return images(ImagesParams(path=str(folder), keep=keep, workers=2, **params), DataContext(data_seed=0))


@pytest.fixture
def prepared(folder, monkeypatch):
    def make(way, **params):
        monkeypatch.setattr(tensors, "FLOATS_KEPT_BYTES", 0 if way == "raw" else 1 << 30)
        return prepare(read(folder, way, **params))

    return make


def test_inputs_are_a_tensor_or_are_normalised_when_they_are_needed(prepared):
    types = [type(prepared(way).train.x) for way in WAYS]
    assert types == [torch.Tensor, KeptRaw, Streamed]
    told = [prepared(way).kept for way in WAYS]
    assert told[0].startswith("in memory as float32")
    assert told[1].startswith("in memory as uint8")
    assert told[2].startswith("streamed from their source by 2 worker processes")


@pytest.mark.parametrize("normalize", ["unit", "standard"])
def test_every_way_gives_the_same_bits_for_the_same_rows(prepared, normalize):
    whole, *others = (prepared(way, normalize=normalize) for way in WAYS)
    index = torch.randperm(len(whole.train))
    stacked = torch.stack([index[:6], index[6:12]])
    for other in others:
        assert torch.equal(other.train.x[index], whole.train.x[index])
        assert torch.equal(other.train.x[stacked], whole.train.x[stacked])
        assert torch.equal(torch.cat(list(all_in_chunks(other.test.x))), whole.test.x)
        for parts in (torch.split(index, 5), torch.split(stacked, 2, 1), [slice(0, 3), slice(3, 4)]):
            for at_once in (1, 2):
                pairs = zip(rows_in_turn(other.train.x, parts, at_once), parts, strict=True)
                assert all(torch.equal(got, whole.train.x[part]) for got, part in pairs)
        assert torch.equal(other.preprocess.shift, whole.preprocess.shift)
        assert torch.equal(other.preprocess.scale, whole.preprocess.scale)


def test_digests_repeated_rows_and_noise_do_not_depend_on_the_way(prepared):
    whole, *others = (prepared(way) for way in WAYS)
    for other in others:
        assert (other.digest, facts_of(other).rows_digest) == (whole.digest, facts_of(whole).rows_digest)
        assert repeated_rows(other.raw) == repeated_rows(whole.raw)
        noisy = noisy_test_inputs(other, 0.5, 3)
        assert torch.equal(noisy[:], noisy_test_inputs(whole, 0.5, 3))
        assert torch.equal(noisy[torch.tensor([3, 1])], noisy[:][[3, 1]])


def test_folds_and_fewer_rows_of_streamed_inputs_are_those_of_an_array(folder):
    memory, streamed = (read(folder, way) for way in ("raw", "streamed"))
    for change in (
        lambda raw: fold_data(raw, fold=1, folds=3, repeat=0, data_seed=0),
        lambda raw: alter_training(raw, train_rows=7, label_noise=0.3),
    ):
        assert isinstance(change(streamed).train.x, LazyRows)
        assert digest(change(streamed)) == digest(change(memory))


def test_reading_ahead_leaves_torchs_global_generator_alone(folder):
    lazy = read(folder, "streamed").train.x
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    list(lazy.in_turn([slice(0, 2), slice(2, 4)]))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_image_is_one_error_wherever_it_is_read(tmp_path, workers):
    write_folder(tmp_path, number=8, side=60)
    for name in ("dark/03.png", "light/05.png"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=r"2 files are no whole images"):
        read(tmp_path, "raw")
    streamed = images(ImagesParams(path=str(tmp_path), keep="stream", workers=workers), DataContext(data_seed=0))
    with pytest.raises(DataError, match=r"^1 file is no whole image: \S+ \(\w+\)\.\nRepair or remove them\.$"):
        prepare(streamed)


class Values(Reader):
    """Rows of numbers, one of which may be infinite."""

    def __init__(self, rows, infinite=-1):
        super().__init__((3,), np.float32)
        self.rows, self.infinite = rows, infinite

    def __len__(self):
        return self.rows

    def read(self, row):
        return np.full(3, np.inf if row == self.infinite else row, np.float32)


def test_a_dataset_of_a_plugin_may_be_read_lazily_and_is_checked_as_an_array_is():
    def raw(infinite):
        rows = LazyRows(Values(20, infinite), workers=0)
        y = np.linspace(0, 1, 20, dtype=np.float32)[:, None]
        task = regplug.api.Task(kind="regression", num_outputs=1)
        inputs = regplug.data.InputSpec(layout="row", shape=(3,), dtype="float32")
        train, test = (Split(x=rows.take(part), y=y[part]) for part in (np.arange(15), np.arange(15, 20)))
        return RawData(name="lazy", train=train, test=test, task=task, inputs=inputs, normalize="standard")

    data = prepare(raw(-1))
    assert torch.allclose(data.train.x[:].mean(), torch.zeros(()), atol=1e-6)
    assert data.kept.startswith("streamed from their source by the run's own process")
    with pytest.raises(DataError, match="test split: the value in row 2, column 0 is inf"):
        prepare(raw(17))


def test_a_copy_of_a_split_has_digests_of_its_own(folder):
    split = read(folder, "raw").train
    first = split.row_digests
    again = pickle.loads(pickle.dumps(split))  # noqa: S301 - what was just written
    again.x[0] += 1
    assert not np.array_equal(again.row_digests[0], first[0])
    assert np.array_equal(again.row_digests[1:], first[1:])


COMMON = {"model": "mlp:hidden=[8]", "epochs": 2, "batch_size": 5, "reg": ("dropout", "batchnorm"), "lr": 0.05}


def train(place, folder, way, monkeypatch, **changes):
    monkeypatch.setattr(tensors, "FLOATS_KEPT_BYTES", 0 if way == "raw" else 1 << 30)
    keep = "stream" if way == "streamed" else "memory"
    return place.run(dataset=f"{folder}:keep={keep},workers=2", **{**COMMON, **changes})


@pytest.mark.slow
def test_a_run_ends_with_the_same_weights_and_metrics_whichever_way_its_inputs_are_kept(place, folder, monkeypatch):
    first, *others = (train(place, folder, way, monkeypatch, test_noise=0.5) for way in WAYS)
    for other in others:
        assert other.state_sha256 == first.state_sha256
        same = [name for name in first.metrics if not name.startswith("time/")]
        assert {name: other.metrics[name] for name in same} == {name: first.metrics[name] for name in same}
    assert "corrupted/accuracy" in first.metrics
    assert others[1].kept.startswith("streamed")
    assert others[1].document()["inputs"] == others[1].kept


def test_a_run_that_goes_on_from_a_saved_state_reads_the_same_batches(folder, monkeypatch):
    def make(way):
        monkeypatch.setattr(tensors, "FLOATS_KEPT_BYTES", 0 if way == "raw" else 1 << 30)
        keep = "stream" if way == "streamed" else "memory"
        return trainer(**COMMON, dataset=f"{folder}:keep={keep},workers=2")

    whole, first, second = (make(way) for way in WAYS)
    list(whole.train())
    next(first.train())
    second.state.load_dict(first.state.to_dict())
    list(second.train())
    assert all(torch.equal(value, whole.state.params[name]) for name, value in second.state.params.items())


@pytest.mark.slow
def test_a_stack_of_streamed_runs_is_that_of_runs_in_memory(place, folder, monkeypatch):
    monkeypatch.setattr(running.GroupRunner, "_measure", lambda self, sizes: {size: 1.0 / size for size in sizes})

    def losses(way, **more):
        monkeypatch.setattr(tensors, "FLOATS_KEPT_BYTES", 0 if way == "raw" else 1 << 30)
        keep = "stream" if way == "streamed" else "memory"
        study = regplug.sweep(dataset=f"{folder}:keep={keep},workers=2", **COMMON, seeds=2, **more)
        return [run.metrics["test/loss"] for run in study.results]

    assert losses("raw") == losses("normalised")
    assert losses("streamed") == losses("normalised")


@pytest.mark.slow
def test_streamed_images_are_exported_with_part_of_the_test_rows(place, folder, monkeypatch):
    monkeypatch.setattr(regplug.exporting.of_run, "STREAMED_TEST_BYTES", 3 * 36)
    result = train(place, folder, "streamed", monkeypatch, export=True)
    assert result.verification.passed
    assert any("on 3 test rows" in check.detail for check in result.verification.checks)
