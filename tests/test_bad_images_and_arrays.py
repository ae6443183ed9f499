"""Images, arrays, idx files and classes that cannot be used: one message each, exit code 2, nothing trained."""

import gzip

import numpy as np
import pytest
from cli_calls import Terminal
from made_images import write_images
from PIL import Image

import regplug
from regplug.api import DataContext
from regplug.data import raw_from_arrays
from regplug.data.altering import repetition_note
from regplug.errors import DataError
from regplug_datasets import MNISTParams
from regplug_datasets.mnist import fashion_mnist, kmnist, mnist


def picture(path, value, size=(6, 4)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def folder_of(place, train=(6, 6), test=()):
    for split, sizes in (("train", train), ("test", test)):
        for label, number in enumerate(sizes):
            for at in range(number):
                picture(
                    place / split / f"class{label}" / f"{at}.png", 20 * label + at + (100 if split == "test" else 0)
                )
    return place


def truncated(place):
    path = write_images(place) / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    return "fashion_mnist"


def idx_file(name, change):
    """Writes the data set with one file changed; `change` gets the bytes of the file."""

    def make(place):
        path = write_images(place) / "FashionMNIST" / "raw" / name
        path.write_bytes(change(path.read_bytes()))
        return "fashion_mnist"

    return make


def packed(change):
    """Writes the training images packed with gzip; `change` gets the packed bytes."""

    def make(place):
        path = write_images(place) / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
        path.with_name(path.name + ".gz").write_bytes(change(gzip.compress(path.read_bytes())))
        path.unlink()
        return "fashion_mnist"

    return make


def changed(change):
    """Writes an npz file; `change` gets its bytes."""

    def make(place):
        path = arrays()(place)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def one_array(place):
    with (place / "a.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    return place / "a.npz"


def without_training(place):
    folder = folder_of(place / "images", test=(3, 3))
    (folder / "train").rename(folder / "more")
    return folder


def floating(place):
    folder = folder_of(place)
    Image.new("F", (6, 4), 0.5).save(folder / "train" / "class0" / "0.tif")
    return folder


def broken(content):
    def make(place):
        folder = folder_of(place)
        (folder / "train" / "class1" / "2.png").write_bytes(content)
        return folder

    return make


def arrays(**changed):
    def make(place):
        np.savez(
            place / "a.npz", **{"x": np.random.default_rng(0).normal(size=(20, 3)), "y": np.arange(20) % 2} | changed
        )
        return place / "a.npz"

    return make


INFINITE = np.zeros((20, 3))
INFINITE[3:5, 1] = np.inf


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (truncated, "no whole idx file of bytes"),
        (lambda place: "kmnist", "Put the four idx files into"),
        (idx_file("train-images-idx3-ubyte", lambda data: b"\1\2" + data[2:]), "no whole idx file of bytes"),
        (
            idx_file("train-labels-idx1-ubyte", lambda data: data[:4] + bytes([0, 0, 0, 150]) + data[8:158]),
            "label each",
        ),
        (idx_file("t10k-images-idx3-ubyte", lambda _: bytes([0, 0, 8, 1, 0, 0, 0, 0])), "images have 28x28 pixels"),
        (packed(lambda data: data[: len(data) // 2]), "Download the file again"),
        (packed(lambda _: b"garbage"), "cannot be read: Not a gzipped file"),
        (changed(lambda data: data[:200]), "cannot be read as npz"),
        (changed(lambda data: data[:150] + b"x" * 50 + data[200:]), "cannot be read as npz"),
        (changed(lambda _: b""), "cannot be read as npz"),
        (one_array, "holds one array"),
        (arrays(x=np.array([{}] * 20)), "cannot be read as npz: Object arrays"),
        (arrays(x=np.zeros((0, 3)), y=np.zeros(0, int)), "cannot be split"),
        (arrays(x=np.zeros((20, 0))), "its rows have no values"),
        (arrays(x=np.full((20, 3), 1e300)), "beyond float32's range"),
        (arrays(x=np.ones((20, 3), complex)), "it must be numbers of shape"),
        (without_training, "has a folder test with folders in it, but no folder train"),
        (floating, "0.tif (its pixels are floating-point numbers"),
        (broken(b""), "2.png (it is empty)"),
        (broken(b"no picture"), "1 file is no whole image"),
        (lambda place: folder_of(place, train=(6,)), "a classification needs two classes or more"),
        (lambda place: folder_of(place, train=(6, 1)), "same share of each class"),
        (lambda place: folder_of(place, train=(6, 6), test=(2, 2, 2)), "classes that"),
        (lambda place: place / "nowhere", "No file"),
        (lambda place: place, "is no folder of images: it holds no folder"),
        (arrays(y=np.zeros(20, int)), "two classes or more"),
        (arrays(y=np.r_[np.zeros(19, int), 1]), "same share of each class"),
        (arrays(y=np.ones(20)), "the target is 1 in every row"),
        (arrays(y=np.arange(19)), "x has 20 rows and y has 19"),
        (arrays(x=INFINITE), "values are not finite"),
        (arrays(x=np.array([["a"]] * 20)), "x is <U1 of shape (20, 1)"),
        (lambda place: f"{arrays()(place)}:inputs=z", "has no array 'z'"),
        (lambda place: "digits:validation=0.7,test=0.7", "cannot be split"),
    ],
)
def test_what_cannot_be_used_is_one_message_with_exit_code_two(make, told, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    said = Terminal(capsys)("plan", "--dataset", make(tmp_path), "--model", "linear", "--batch-size", 2, "--no-export")
    assert said.code == 2
    assert told in " ".join(said.err.split())
    assert "Traceback" not in said.err


def test_unusual_images_are_read_and_links_in_a_circle_do_no_harm(tmp_path):
    from regplug_datasets.own_files import ImagesParams
    from regplug_datasets.own_files.image_folder import images

    folder = folder_of(tmp_path) / "train" / "class0"
    Image.new("RGBA", (6, 4), (10, 20, 30, 128)).save(folder / "rgba.png")
    Image.fromarray(np.full((4, 6), 257 * 200, np.uint16)).save(folder / "sixteen.png")
    frames = [Image.new("L", (6, 4), value) for value in (50, 60, 70)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "again").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder.parent / "self").symlink_to("self")
    raw = images(ImagesParams(path=str(tmp_path), validation=0.0, test=0.2), DataContext(data_seed=0))
    assert raw.task.class_names == ("class0", "class1")
    assert len(raw.train) + len(raw.test) == 15
    values = {tuple(pixel) for split in (raw.train, raw.test) for pixel in split.x[:, :, 0, 0].tolist()}
    assert {(10, 20, 30), (200, 200, 200), (50, 50, 50)} <= values
    assert raw.notes == ("images: of files with several frames, the first is used: moving.gif.",)


def test_arrays_whose_channels_seem_to_be_last_are_told(tmp_path):
    random = np.random.default_rng(0)
    raw = raw_from_arrays(random.integers(0, 255, (20, 5, 6, 3)).astype(np.uint8), np.arange(20) % 2)
    assert "is read as 5 channels of 6x3 pixels" in raw.notes[0]
    assert raw_from_arrays(random.integers(0, 255, (20, 3, 5, 6)).astype(np.uint8), np.arange(20) % 2).notes == ()


def test_a_refused_folder_leaves_no_run_behind(place, capsys):
    folder_of(place.folder / "a", train=(6, 1))
    said = Terminal(capsys)("run", "--dataset", place.folder / "a", "--model", "linear", "--batch-size", 2)
    assert (said.code, "Traceback" in said.err, place.statuses()) == (2, False, [])


def test_a_batch_larger_than_the_rows_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = Terminal(capsys)("plan", "--dataset", folder_of(tmp_path / "a"), "--batch-size", 99, "--no-export")
    assert said.code == 2
    assert "batch_size=99 is larger than" in said.err


def test_ragged_lists_are_refused():
    with pytest.raises(DataError, match="x is no array of numbers"):
        regplug.run(dataset=([[1.0], [1.0, 2.0]], [0, 1]), export=False)


def test_a_picture_that_trains_and_tests_is_counted(tmp_path):
    from regplug_datasets.own_files import ImagesParams
    from regplug_datasets.own_files.image_folder import images

    folder_of(tmp_path, train=(6, 6), test=(2, 2))
    for at in range(6):
        picture(tmp_path / "train" / "class0" / f"{at}.png", 100)
    raw = images(ImagesParams(path=str(tmp_path), validation=0.0), DataContext(data_seed=0))
    assert "1 of the 4 test rows (25.0%)" in repetition_note(raw)


@pytest.mark.parametrize("dataset", [mnist, fashion_mnist, kmnist])
def test_idx_files_of_each_dataset_are_read_without_torchvision(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(write_images(tmp_path)))
    raw = dataset(MNISTParams(), DataContext(data_seed=0))
    assert (raw.train.x.shape, len(raw.test), raw.task.num_outputs) == ((200, 1, 28, 28), 50, 10)
    assert raw.train.x.flags.writeable
