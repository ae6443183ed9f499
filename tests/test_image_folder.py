"""Folders of images and npz files of the user's own: splits, sizes, colours, orientation, and what is refused."""

import numpy as np
import pytest
from PIL import Image

import regplug
from regplug.api import DataContext
from regplug.config.spec import ComponentSpec
from regplug.data import LazyRows, digest, prepare
from regplug.errors import DataError
from regplug.registry import default_registry
from regplug_datasets.own_files import ImagesParams, NpzParams, image_folder, image_reading
from regplug_datasets.own_files.array_file import npz
from regplug_datasets.own_files.image_folder import images

SEED_0 = DataContext(data_seed=0)
COLOURS = {"dark": 40, "light": 200}


def write(path, size=(6, 4), value=100, mode="L", **saved):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("L", size, value).convert(mode) if mode != "RGB" else Image.new("RGB", size, (value, 0, 10))
    picture.save(path, **saved)


def write_classes(folder, number=6, classes=COLOURS, **made):
    for name, value in classes.items():
        for at in range(number):
            write(folder / name / f"{at}.png", value=value + at, **made)
    return folder


def read(folder, **params):
    return images(ImagesParams(path=str(folder), **params), SEED_0)


def test_a_folder_for_each_class_is_a_classification_parted_with_equal_shares(tmp_path):
    raw = read(write_classes(tmp_path, number=10))
    assert raw.task.class_names == ("dark", "light")
    assert [(len(split), np.bincount(split.y).tolist()) for _, split in raw.splits()] == [
        (12, [6, 6]),
        (4, [2, 2]),
        (4, [2, 2]),
    ]
    assert raw.train.x.shape == (12, 1, 4, 6)
    assert raw.train.x.dtype == np.uint8
    assert ((raw.train.x[:, 0, 0, 0] >= 200) == (raw.train.y == 1)).all()
    assert digest(raw) == digest(read(tmp_path))
    prepare(raw)


def test_own_folders_for_the_splits_are_kept(tmp_path):
    for split, number in (("train", 6), ("val", 2), ("Test", 3)):
        write_classes(tmp_path / split, number=number)
    raw = read(tmp_path)
    assert {name: len(split) for name, split in raw.splits()} == {"train": 12, "valid": 4, "test": 6}


def test_splits_without_a_folder_are_taken_from_the_training_images(tmp_path):
    write_classes(tmp_path / "train", number=10)
    write_classes(tmp_path / "test", number=3)
    raw = read(tmp_path)
    assert {name: len(split) for name, split in raw.splits()} == {"train": 16, "valid": 4, "test": 6}
    assert read(tmp_path, validation=0.0).valid is None


def test_several_sizes_become_the_most_frequent_one_or_the_one_asked_for(tmp_path):
    write_classes(tmp_path)
    write(tmp_path / "dark" / "wide.png", size=(30, 10))
    assert read(tmp_path).inputs.shape == (1, 4, 6)
    assert "1 of 13 have another size than 4x6 and are scaled and cropped" in " ".join(read(tmp_path).notes)
    assert read(tmp_path, size=8).notes == ()
    assert read(tmp_path, size=(8, 5)).inputs.shape == (1, 8, 5)
    assert read(tmp_path, size=8).inputs.shape == (1, 8, 8)


def test_cropping_keeps_proportions_and_squashing_keeps_the_edges(tmp_path):
    write_classes(tmp_path)
    picture = Image.new("L", (30, 10), 0)
    picture.paste(255, (0, 0, 10, 10))
    for at in range(2):
        picture.save(tmp_path / "dark" / f"{at}.png")
    path = tmp_path / "dark" / "0.png"
    cropped, squashed = (image_reading.pixels(path, (1, 10, 10), fit) for fit in ("crop", "squash"))
    assert cropped.max() < 30
    assert (squashed[0, :, 0] == 255).all()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_channels_follow_the_files_unless_they_are_asked_for(mode, channels, tmp_path):
    write_classes(tmp_path, mode=mode)
    assert read(tmp_path).inputs.shape[0] == channels
    assert read(tmp_path, channels="rgb").inputs.shape[0] == 3
    assert read(tmp_path, channels="grey").inputs.shape[0] == 1


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    write_classes(tmp_path)
    Image.fromarray(np.full((4, 6), 257 * 99, np.uint16)).save(tmp_path / "dark" / "0.png")
    assert (image_reading.pixels(tmp_path / "dark" / "0.png", (1, 4, 6), "crop") == 99).all()


def test_exif_orientation_turns_an_image_upright(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter clockwise: its first row is the right edge
    for name in COLOURS:
        (tmp_path / name).mkdir()
        for at in range(5):
            Image.fromarray(pixels).save(tmp_path / name / f"{at}.png", exif=exif)
    raw = read(tmp_path)
    assert raw.inputs.shape == (1, 6, 4)
    assert (raw.train.x[0, 0, :, -1] == 255).all()
    assert raw.train.x[0, 0, :, :-1].max() == 0


def test_bad_images_are_named_all_at_once(tmp_path):
    write_classes(tmp_path)
    (tmp_path / "dark" / "0.png").write_bytes(b"")
    (tmp_path / "light" / "1.png").write_text("no picture")
    with pytest.raises(DataError, match=r"2 files are no whole images.*0.png \(it is empty\).*1.png"):
        read(tmp_path)


def test_an_image_that_is_cut_short_is_named(tmp_path):
    write_classes(tmp_path, size=(60, 60), mode="RGB")
    path = tmp_path / "dark" / "3.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"1 file is no whole image: .*3.png"):
        read(tmp_path)


def test_folders_that_cannot_be_used_say_why(tmp_path):
    with pytest.raises(DataError, match="is no folder of images: it holds no folder"):
        read(tmp_path)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert "It holds a.csv: a single file is named itself" in caught.value.hint
    (tmp_path / "src" / "notes").mkdir(parents=True)
    with pytest.raises(DataError, match="holds one folder, notes: a classification needs two"):
        read(tmp_path / "src")
    (tmp_path / "src" / "code").mkdir()
    with pytest.raises(DataError, match=r"no folder in it has a file that ends in \.png"):
        read(tmp_path / "src")
    tmp_path = write_classes(tmp_path / "pictures", classes={"dark": 1})
    (tmp_path / "light").mkdir()
    with pytest.raises(DataError, match="the class light has no image"):
        read(tmp_path)
    write(tmp_path / "light" / "1.png")
    with pytest.raises(DataError, match="same share of each class"):
        read(tmp_path)


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", classes={**COLOURS, "grey": 9})
    with pytest.raises(DataError, match=r"classes that .*train lacks: grey"):
        read(tmp_path)


def test_more_images_than_the_memory_holds_are_streamed_or_refused_before_they_are_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "MOST_BYTES", 0.0)
    write_classes(tmp_path)
    assert isinstance(read(tmp_path).train.x, LazyRows)
    with pytest.raises(DataError, match="GiB of memory") as caught:
        read(tmp_path, keep="memory")
    assert "size=64" in caught.value.hint
    monkeypatch.setattr(image_folder, "MOST_BYTES", 1.0)
    assert isinstance(read(tmp_path).train.x, np.ndarray)


def test_the_path_of_a_folder_or_of_an_npz_file_is_a_dataset(tmp_path):
    write_classes(tmp_path / "pictures")
    np.savez(tmp_path / "rows.npz", x=np.zeros((4, 2)), y=np.arange(4))
    for name, dataset in (("pictures", "images"), ("rows.npz", "npz")):
        spec = ComponentSpec.parse(str(tmp_path / name), is_data=True)
        assert default_registry().locate("dataset", spec).name == dataset


def test_an_npz_file_holds_rows_or_images(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((20, 8, 8), np.uint8), y=np.arange(20) % 2, z=np.ones(20))
    raw = npz(NpzParams(path=str(path)), SEED_0)
    assert (raw.inputs.shape, raw.task.num_outputs, len(raw.train)) == ((1, 8, 8), 2, 12)
    assert npz(NpzParams(path=str(path), target="z"), SEED_0).task.kind == "regression"


def test_an_npz_file_that_cannot_be_used_says_why(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("text")
    with pytest.raises(DataError, match="cannot be read as npz"):
        npz(NpzParams(path=str(path)), SEED_0)
    np.savez(path, x=np.zeros((20, 3)), labels=np.zeros(20))
    with pytest.raises(DataError, match="has no array 'y'") as caught:
        npz(NpzParams(path=str(path)), SEED_0)
    assert "labels (20,)" in caught.value.hint
    np.savez(path, x=np.array([{}, {}], dtype=object), y=np.zeros(2))
    with pytest.raises(DataError, match="cannot be read as npz"):
        npz(NpzParams(path=str(path)), SEED_0)


@pytest.mark.slow
def test_a_folder_of_images_is_trained_exported_and_proven(tmp_path, place):
    folder = write_classes(tmp_path / "pictures", number=20, size=(12, 12), mode="RGB")
    result = place.run(dataset=str(folder), model="cnn", epochs=2, batch_size=8, lr=0.05, export=True)
    assert result.verification.passed
    (row,) = regplug.predict(result.bundle_path, folder / "light" / "3.png").rows
    assert {label for label, _ in row.top} == set(COLOURS)
