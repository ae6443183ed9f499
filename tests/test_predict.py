"""Inference from a bundle: arrays, tables and images, and what does not fit is refused with what is needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_bundles import FLOWERS, THREE, Normalize, image_request, onnx_only, row_request, rows
from PIL import Image
from torch import nn

from regplug.api import NoParams, Task
from regplug.bundles.calibration.answers import softmax
from regplug.bundles.inputs import InputForm, image_size, read_image
from regplug.bundles.predict import Predictions, predict
from regplug.bundles.writing import write_bundle
from regplug.errors import BundleError, RequestError, VerificationError
from regplug.tables.reading import read_table
from regplug_datasets.own_files.image_reading import pixels as trained_pixels
from regplug_formats.torchscript import TorchScript

NETWORK = nn.Linear(4, 3)
OBJECTS = np.array([[1, "a"], [2, 3]], dtype=object)


@pytest.fixture(scope="module")
def table_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    request = row_request(NETWORK, formats=onnx_only())
    return write_bundle(request, tmp_path_factory.mktemp("table") / "bundle").path


@pytest.fixture(scope="module")
def image_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    request = image_request(network, formats=onnx_only(), probabilities=True)
    return write_bundle(request, tmp_path_factory.mktemp("image") / "bundle").path


@pytest.fixture(scope="module")
def values_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = Task(kind="regression", num_outputs=2)
    request = row_request(nn.Linear(4, 2), formats=onnx_only(), task=task, manifest={})
    return write_bundle(request, tmp_path_factory.mktemp("values") / "bundle").path


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def expected(raw: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return NETWORK(Normalize(5.0, 0.5)(torch.from_numpy(raw))).softmax(1).numpy()


def shares(predictions: Predictions) -> np.ndarray:
    """Probabilities in the order of the classes."""
    return np.array([[dict(row.top)[name] for name in FLOWERS] for row in predictions.rows])


def test_an_array_of_raw_rows_gives_labels_and_probabilities(table_bundle: Path, tmp_path: Path) -> None:
    raw = rows(700)
    answer = predict(table_bundle, [saved(tmp_path / "x.npy", raw)])
    np.testing.assert_allclose(shares(answer), expected(raw), atol=1e-6)
    assert [row.row for row in answer.rows] == list(range(700))
    assert [row.label for row in answer.rows] == [FLOWERS[c] for c in expected(raw).argmax(1)]
    first = answer.as_json()["predictions"][0]
    assert set(first) == {"source", "row", "label", "probability", "top"}


def test_top_says_how_many_classes_are_named(table_bundle: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", rows(2))
    assert [len(predict(table_bundle, [path], top=top).rows[0].top) for top in (1, 2, 9)] == [1, 2, 3]
    with pytest.raises(RequestError, match="--top 0"):
        predict(table_bundle, [path], top=0)


def test_one_row_many_rows_and_other_number_types_are_taken(table_bundle: Path, tmp_path: Path) -> None:
    raw = np.round(rows(3))
    np.savez(tmp_path / "x.npz", other=raw[:1], input=raw)
    paths = [
        saved(tmp_path / "one.npy", raw[0]),
        saved(tmp_path / "double.npy", raw.astype(np.float64)),
        saved(tmp_path / "whole.npy", raw.astype(np.int64)),
        tmp_path / "x.npz",
    ]
    answer = predict(table_bundle, paths)
    np.testing.assert_allclose(shares(answer), expected(raw)[[0, 0, 1, 2, 0, 1, 2, 0, 1, 2]], atol=1e-6)
    assert answer.rows[-1].source == str(tmp_path / "x.npz")


def test_columns_of_a_table_are_matched_by_name(table_bundle: Path, tmp_path: Path) -> None:
    raw = rows(2)
    path = tmp_path / "x.csv"
    lines = [f"{d},{a},tulip,{c},{b}" for a, b, c, d in raw.tolist()]
    for delimiter in ",;\t":
        path.write_text("\n".join(["d, a,species,c,b", *lines]).replace(",", delimiter))
        np.testing.assert_allclose(shares(predict(table_bundle, [path])), expected(raw), atol=1e-6)


def test_blank_lines_above_a_header_do_not_hide_its_delimiter(table_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n\r\na;b;c;d\n1;2;3;4\n")
    assert read_table(path).names == ("a", "b", "c", "d")
    raw = np.array([[1, 2, 3, 4]], np.float32)
    np.testing.assert_allclose(shares(predict(table_bundle, [path])), expected(raw), atol=1e-6)
    path.write_text("\n\na;b;c;d\n1;2;3;4\n1;2\n")
    with pytest.raises(BundleError, match="line 5: 2 cells under 4 column names"):
        predict(table_bundle, [path])


def test_a_table_without_header_is_taken_in_order(table_bundle: Path, tmp_path: Path) -> None:
    raw = rows(2)
    path = tmp_path / "x.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in raw.tolist()) + "\n\n")
    np.testing.assert_allclose(shares(predict(table_bundle, [path])), expected(raw), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c,d\n1,2,3,4\n1,2,red,4\n", r"line 3, column 'c': 'red' is not a number"),
        ("a,b,c,d\n1,2,3,\n", r"line 2, column 'd' is empty"),
        ("a,b,c,d\n1,2,3,4\n1,2,3\n", r"line 3: 3 cells under 4 column names\."),
        ("a,b,c,d\n1,2,3,4,5\n", r"line 2: 5 cells under 4 column names\."),
        ("1,2,3,4\n1\n", r"line 2: 1 cell under 4 cells of the first line\."),
        ("a;b;c;d\n1,5;2;3;4\n", r"Write decimals with a point"),
        ("a,b,c\n1,2,3\n", r"lacks the column d"),
        ("a,b,c,d,a\n1,2,3,4,5\n", r"has the column 'a' twice"),
        ("1,2,3\n", r"has 3 columns; this bundle takes rows of 4"),
        ("a,b,c,d\n", r"header but no rows"),
        ("", r"is empty"),
        ("a,b,c,d\n1,2,nan,4\n", r"row 0 has NaN"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_its_place(
    table_bundle: Path, tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(BundleError, match=message):
        predict(table_bundle, [path])


def test_an_image_is_read_with_pillow(image_bundle: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "colour.png")
    paths = [tmp_path / "grey.png", tmp_path / "colour.png", saved(tmp_path / "x.npy", pixels[None, None])]
    answer = predict(image_bundle, paths)
    np.testing.assert_allclose(shares(answer)[1:], shares(answer)[:-1], atol=1e-6)
    np.testing.assert_allclose(shares(answer).sum(1), 1, atol=1e-6)
    assert answer.notes == ()


@pytest.mark.slow
def test_pixels_are_brought_to_the_models_range_and_that_is_said(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    digits = np.random.default_rng(0).integers(0, 17, (64, 1, 8, 8)).astype(np.float32)
    request = image_request(
        network, preprocess=Normalize(0.0, 1 / 16), samples=digits, value_range=(0.0, 16.0), formats=onnx_only()
    )
    bundle = write_bundle(request, tmp_path / "bundle").path
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    paths = [tmp_path / "white.png", saved(tmp_path / "full.npy", np.full((1, 8, 8), 16.0))]
    answer = predict(bundle, paths)
    np.testing.assert_allclose(shares(answer)[0], shares(answer)[1], atol=1e-6)
    assert answer.notes == ("white.png: pixels of 0 to 255 were scaled to the model's range 0 to 16.",)
    beyond = predict(bundle, [saved(tmp_path / "beyond.npy", np.full((1, 8, 8), 200.0))])
    assert "outside the model's range 0 to 16" in beyond.notes[0]


def test_a_row_whose_input_or_output_is_not_finite_is_refused_not_answered(
    table_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = np.zeros((3, 4))
    few[1] = 1e300
    with pytest.raises(BundleError, match="row 1 has a number that float32 cannot hold"):
        predict(table_bundle, [saved(tmp_path / "double.npy", few)])
    spoil = np.array([[0.0], [np.nan], [0.0]])
    monkeypatch.setattr("regplug.bundles.predict.probabilities_or_values", lambda outputs, _: outputs + spoil)
    with pytest.raises(BundleError, match="the model's output for row 1 is not finite"):
        predict(table_bundle, [saved(tmp_path / "single.npy", np.zeros((3, 4)))])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_image_is_turned_upright_as_in_training(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (6, 4, 3), np.uint8)).save(path, exif=exif)
    height, width = (4, 6) if orientation > 4 else (6, 4)
    form = InputForm(
        name="pixels", layout="image", dtype=np.dtype("uint8"), shape=(3, height, width), range=(0, 255), columns=()
    )
    assert image_size(path) == (width, height)
    np.testing.assert_array_equal(read_image(path, form).rows[0], trained_pixels(path, form.shape, "crop"))
    np.testing.assert_array_equal(read_image(path, form, path.read_bytes()).rows, read_image(path, form).rows)
    with pytest.raises(BundleError, match=f"is {width} x {height} pixels; this bundle takes {height} x {width}"):
        read_image(path, replace(form, shape=(3, width, height)))


def deep_images(folder: Path) -> list[Path]:
    """A grey image of 16 bits in each kind of file: `I;16`, big-endian `I;16B`, and `I` with 16 of its 32 bits."""
    pixels = np.random.default_rng(7).integers(0, 2**16, (6, 4), np.uint16)
    pixels[0] = [0, 256, 257, 2**16 - 1]
    made = {
        "little.png": Image.fromarray(pixels),
        "big.tif": Image.frombytes("I;16B", (4, 6), pixels.astype(">u2").tobytes()),
        "grey.pgm": Image.fromarray(pixels.astype(np.int32)),
    }
    for name, image in made.items():
        image.save(folder / name)
    return [folder / name for name in made]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_16_bits_become_those_of_training(tmp_path: Path, channels: int) -> None:
    form = InputForm(
        name="pixels", layout="image", dtype=np.dtype("uint8"), shape=(channels, 6, 4), range=(0, 255), columns=()
    )
    for path in deep_images(tmp_path):
        wanted = trained_pixels(path, form.shape, "crop")
        np.testing.assert_array_equal(read_image(path, form).rows[0], wanted)
        np.testing.assert_array_equal(read_image(path, form, path.read_bytes()).rows[0], wanted)
        assert wanted[:, 0].tolist() == [[0, 0, 1, 255]] * channels
        with pytest.raises(BundleError, match=r"more than 8 bits per pixel \(I"):
            read_image(path, replace(form, dtype=np.dtype("float32")))


def test_deeper_images_are_refused(tmp_path: Path) -> None:
    form = InputForm(
        name="pixels", layout="image", dtype=np.dtype("uint8"), shape=(1, 6, 4), range=(0, 255), columns=()
    )
    for pixels in (np.full((6, 4), 0.5, np.float32), np.full((6, 4), 2**16, np.int32), np.full((6, 4), -1, np.int32)):
        Image.fromarray(pixels).save(tmp_path / "deep.tif")
        with pytest.raises(BundleError, match=r"more than 16 bits per pixel \([FI]\)"):
            read_image(tmp_path / "deep.tif", form)


def test_an_image_of_another_size_is_not_resized_in_silence(image_bundle: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((28, 32), np.uint8)).save(tmp_path / "large.png")
    with pytest.raises(BundleError, match=r"is 32 x 28 pixels; this bundle takes 8 x 8"):
        predict(image_bundle, [tmp_path / "large.png"])


def test_inputs_of_the_wrong_shape_or_type_are_refused(image_bundle: Path, table_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("1")
    (tmp_path / "broken.npy").write_text("1")
    (tmp_path / "broken.png").write_text("1")
    (tmp_path / "x.csv").write_text("1")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "x.png")
    np.savez(tmp_path / "x.npz", one=rows(1), two=rows(1))
    np.savez(tmp_path / "objects.npz", input=OBJECTS)
    (tmp_path / "folder.csv").mkdir()
    cases = [
        (table_bundle, saved(tmp_path / "wide.npy", rows(2, 5)), r"shape \(2, 5\)"),
        (
            table_bundle,
            saved(tmp_path / "empty.npy", rows(0)),
            r"has no rows: its shape is \(0, 4\).\nGive at least one",
        ),
        (table_bundle, saved(tmp_path / "number.npy", np.array(3.0)), r"shape \(\)"),
        (table_bundle, saved(tmp_path / "objects.npy", OBJECTS), r"contains Python objects.*\nSave numbers"),
        (table_bundle, tmp_path / "objects.npz", r"contains Python objects.*\nSave numbers"),
        (table_bundle, tmp_path / "folder.csv", r"has no file that this bundle takes"),
        (image_bundle, saved(tmp_path / "flat.npy", np.zeros((5, 64))), r"array.reshape\(\(-1, 1, 8, 8\)\)"),
        (image_bundle, saved(tmp_path / "whole.npy", np.full((1, 8, 8), 7.0)), r"array.astype\('uint8'\)"),
        (table_bundle, saved(tmp_path / "text.npy", np.array([["a"] * 4])), "contains <U1"),
        (table_bundle, saved(tmp_path / "nan.npy", np.full((2, 4), np.nan)), "row 0 has NaN"),
        (table_bundle, tmp_path / "x.npz", "none is named 'input'"),
        (table_bundle, tmp_path / "x.png", "is an image; this bundle takes rows of 4"),
        (table_bundle, tmp_path / "x.txt", "a file type that predict does not read"),
        (table_bundle, tmp_path / "broken.npy", "is not an array file"),
        (table_bundle, tmp_path / "none.npy", "There is no file"),
        (image_bundle, tmp_path / "broken.png", "cannot be read as an image"),
        (image_bundle, tmp_path / "x.csv", "is a table; this bundle takes images"),
        (image_bundle, saved(tmp_path / "unit.npy", np.full((1, 8, 8), 0.5)), "normalisation is part of the model"),
        (image_bundle, saved(tmp_path / "big.npy", np.full((1, 8, 8), 256)), "from 256 to 256"),
    ]
    for bundle, path, message in cases:
        with pytest.raises(BundleError, match=message) as caught:
            predict(bundle, [path])
        assert "pickle" not in str(caught.value)


def test_values_beyond_a_declared_range_are_told_with_that_range_and_what_may_be_meant(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    digits = np.random.default_rng(0).integers(0, 17, (64, 1, 8, 8), np.uint8)
    request = image_request(network, samples=digits, value_range=(0.0, 16.0), formats=onnx_only())
    bundle = write_bundle(request, tmp_path / "bundle").path
    note = predict(bundle, [saved(tmp_path / "x.npy", np.full((1, 8, 8), 200, np.uint8))]).notes[0]
    assert "outside the model's range 0 to 16" in note
    assert "numpy.rint(array * 0.0627451).astype('uint8')" in note
    with pytest.raises(BundleError, match="Give the raw values, 0 to 16"):
        predict(bundle, [saved(tmp_path / "y.npy", np.full((1, 8, 8), 0.5))])


def test_channels_that_come_last_and_a_file_of_a_bundle_are_told(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    colour = np.random.default_rng(0).integers(0, 256, (64, 3, 8, 8), np.uint8)
    bundle = write_bundle(image_request(network, samples=colour, formats=onnx_only()), tmp_path / "bundle").path
    last = saved(tmp_path / "x.npy", colour.transpose(0, 2, 3, 1))
    with pytest.raises(BundleError, match=r"array.transpose\(0, 3, 1, 2\)"):
        predict(bundle, [last])
    with pytest.raises(BundleError, match=r"Name its folder: .*bundle"):
        predict(bundle / "model.onnx", [last])


def test_a_regression_gives_values(values_bundle: Path, tmp_path: Path) -> None:
    answer = predict(values_bundle, [saved(tmp_path / "x.npy", rows(3))])
    assert [len(row.values) for row in answer.rows] == [2, 2, 2]
    assert set(answer.as_json()["predictions"][0]) == {"source", "row", "values"}
    path = tmp_path / "x.csv"
    path.write_text("w,x,y,z\n" + "\n".join(",".join(map(str, row)) for row in rows(3).tolist()))
    from_table = predict(values_bundle, [path])
    np.testing.assert_allclose([row.values for row in from_table.rows], [row.values for row in answer.rows], atol=1e-6)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
def test_a_changed_byte_is_refused_before_it_answers(table_bundle: Path, tmp_path: Path, name: str) -> None:
    bundle = shutil.copytree(table_bundle, tmp_path / "bundle")
    content = bytearray((bundle / name).read_bytes())
    content[-2] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(VerificationError, match=f"{name} is not the verified file"):
        predict(bundle, [saved(tmp_path / "x.npy", rows(1))])


def test_a_bundle_without_onnx_says_so(tmp_path: Path) -> None:
    request = row_request(nn.Linear(4, 3), formats=[("torchscript", "model.ts", TorchScript(NoParams()))])
    bundle = write_bundle(request, tmp_path / "bundle").path
    with pytest.raises(BundleError, match=r"has no model\.onnx") as caught:
        predict(bundle, [saved(tmp_path / "x.npy", rows(1))])
    assert "predict with `--format torchscript`" in caught.value.hint


def test_another_format_predicts_in_its_own_runtime(tmp_path: Path) -> None:
    bundle, raw = write_bundle(row_request(NETWORK), tmp_path / "bundle").path, rows(5)
    path = saved(tmp_path / "x.npy", raw)
    np.testing.assert_allclose(shares(predict(bundle, [path], file_format="torchscript")), expected(raw), atol=1e-6)
    with pytest.raises(BundleError, match="has no file of the format 'onnx-int8'") as caught:
        predict(bundle, [path], file_format="onnx-int8")
    assert caught.value.hint == "It has: onnx, torchscript. Or export the run with `--format onnx-int8`."
    (bundle / "model.ts").write_bytes(b"")
    with pytest.raises(VerificationError, match=r"model\.ts is not the verified file"):
        predict(bundle, [path], file_format="torchscript")


def test_what_is_no_bundle_and_no_input_is_refused(tmp_path: Path, table_bundle: Path) -> None:
    with pytest.raises(BundleError, match="There is no bundle"):
        predict(tmp_path / "nothing", [tmp_path / "x.npy"])
    with pytest.raises(RequestError, match="No input"):
        predict(table_bundle, [])


def test_predict_imports_neither_torch_nor_mlflow_nor_pillow_for_a_table(table_bundle: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", rows(1))
    program = (
        "import sys; from pathlib import Path\n"
        "from regplug.bundles.predict import predict\n"
        "from regplug.bundles.describe import inspect_bundle\n"
        f"predict(Path({str(table_bundle)!r}), [Path({str(path)!r})]); inspect_bundle(Path({str(table_bundle)!r}))\n"
        "assert not {'torch', 'mlflow', 'onnx', 'PIL', 'pydantic', 'regplug.registry'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -1e4]])), [[0.5, 0.5, 0.0]])


@pytest.mark.slow
def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    task = Task(kind="classification", num_outputs=THREE.num_outputs)
    bundle = write_bundle(row_request(nn.Linear(4, 3), task=task, formats=onnx_only()), tmp_path / "bundle").path
    answer = predict(bundle, [saved(tmp_path / "x.npy", rows(1))])
    assert {label for label, _ in answer.rows[0].top} == {"0", "1", "2"}


def test_a_pattern_means_all_files_that_match_and_a_file_itself(table_bundle: Path, tmp_path: Path) -> None:
    for name in ("b", "a", "c[1]"):
        np.save(tmp_path / f"{name}.npy", rows(2))
    answers = predict(table_bundle, [tmp_path / "[ab].npy", tmp_path / "c[1].npy"])
    assert [Path(row.source).stem for row in answers.rows] == ["a", "a", "b", "b", "c[1]", "c[1]"]
    with pytest.raises(BundleError, match="No file matches"):
        predict(table_bundle, [tmp_path / "*.csv"])
