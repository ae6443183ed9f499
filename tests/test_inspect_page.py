"""The page of `inspect --html` in a real browser, and predictions for whole folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from browsing import needs_browser
from cli_calls import Terminal
from made_bundles import image_request, images, onnx_only, row_request, rows
from PIL import Image

import regplug
from regplug.bundles.layout import read_manifest, read_report
from regplug.bundles.writing import write_bundle

LONG = "a column with a name that is far too long for a telephone and has_no_place_to_break_" * 2
COLUMNS = ["petal length (cm)", "<script>alert(1)</script>", LONG, "d"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    test = (rows(60), np.arange(60) % 3)
    table = row_request(formats=onnx_only(), test=test, manifest={"column_names": COLUMNS})
    made = {"rows": table, "images": image_request(formats=onnx_only())}
    return {name: write_bundle(request, folder / name).path for name, request in made.items()}


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_window_loads_nothing_and_logs_no_error(
    width: int,
    browser,
    screenshots,
    bundles: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = Terminal(capsys)("inspect", bundles["rows"], "--html", tmp_path / "page.html")
    assert (said.code, "page.html" in said.out) == (0, True)
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked, told = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    address = (tmp_path / "page.html").as_uri()
    page.goto(address)
    page.locator("summary").click()
    page.screenshot(path=screenshots / f"inspect-{width}.png", full_page=True)
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert told == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    text = page.inner_text("main")
    assert all(word in text for word in (COLUMNS[0], COLUMNS[1], "accuracy", "95 % interval", "model.onnx"))
    assert read_manifest(bundles["rows"])["state_sha256"] in text
    assert all(check.name in text for check in read_report(bundles["rows"]).checks)
    page.close()


def test_a_page_that_cannot_be_written_is_refused(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (bundles["rows"] / "page.html", tmp_path / "none" / "page.html"):
        said = Terminal(capsys)("inspect", bundles["rows"], "--html", place)
        assert (said.code, str(place) in said.err) == (2, True)
        assert not place.exists()


def test_a_folder_of_images_is_predicted_as_its_files_are(bundles: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for at, pixels in enumerate(images(7)):
        Image.fromarray(pixels[0]).save(tmp_path / ("deep" if at % 2 else "") / f"{at}.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    found = regplug.predict(bundles["images"], tmp_path)
    names = sorted(tmp_path.rglob("[0-9].png"))
    assert [row.source for row in found.rows] == [str(name) for name in names]
    assert {row.row for row in found.rows} == {0}
    assert found.notes == (f"{tmp_path}: 1 files that the model does not take were left out.",)
    alone = [regplug.predict(bundles["images"], name).rows[0] for name in names]
    assert [row.label for row in alone] == [row.label for row in found.rows]
    assert np.allclose([row.top[0][1] for row in alone], [row.top[0][1] for row in found.rows], atol=1e-6)


def test_a_folder_of_tables_and_arrays_is_predicted_and_one_without_any_is_refused(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    np.save(folder / "a.npy", rows(3))
    np.savez(folder / "b.npz", rows(2))
    np.savetxt(folder / "c.csv", rows(4), delimiter=",")
    said = Terminal(capsys)("predict", bundles["rows"], folder, "--json")
    found = [(Path(one["source"]).name, one["row"]) for one in json.loads(said.out)["predictions"]]
    assert found == [
        (name, row) for name, count in {"a.npy": 3, "b.npz": 2, "c.csv": 4}.items() for row in range(count)
    ]
    (tmp_path / "empty").mkdir()
    empty = Terminal(capsys)("predict", bundles["rows"], tmp_path / "empty")
    assert (empty.code, "has no file that this bundle takes" in empty.err) == (2, True)
