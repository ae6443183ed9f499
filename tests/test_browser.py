"""MLflow's UI in a real browser: two runs compared, with parameters, curves and files."""

from __future__ import annotations

import pytest
from browsing import needs_browser, open_page, serving
from runs import standing_in
from shortcuts import drawing

import regplug
from regplug.tracking.ui import compare_url, newest_url

PLAIN, DROPPED = "mlp seed 0", "mlp + dropout:drop_probability=0.2 seed 0"

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store of two runs, as `regplug run` leaves it."""
    with drawing(), standing_in(tmp_path_factory.mktemp("two_runs")) as made:
        yield made, [regplug.run(reg=reg, epochs=6) for reg in ([], ["dropout:drop_probability=0.2"])]


@pytest.fixture(scope="module")
def address(folder):
    """Where the UI listens."""
    with serving(folder[0]) as base:
        yield base


@pytest.fixture
def experiment(folder):
    """Id of the runs' experiment."""
    from mlflow import MlflowClient

    result = folder[1][0]
    return MlflowClient(result.tracking_uri).get_run(result.run_id).info.experiment_id


def test_regplugs_link_opens_the_side_for_training_with_columns(page, address, screenshots):
    url = newest_url(address)
    open_page(page, url, PLAIN, DROPPED)
    page.screenshot(path=screenshots / "link.png")
    heads = page.locator(".ag-header-cell").all_inner_texts()
    assert {"test/accuracy", "reg.dropout.drop_probability"} <= set(heads)
    assert "test/rmse" not in heads
    assert "Sessions" not in page.inner_text("body"), "it is the side for chats"


def test_the_table_lists_both_runs_by_what_differs(page, address, experiment, screenshots):
    open_page(page, f"{address}/#/experiments/{experiment}/runs", PLAIN, DROPPED)
    page.screenshot(path=screenshots / "table.png")
    text = page.inner_text("body")
    assert "2 matching runs" in text
    assert "digits" in text


def test_the_charts_draw_both_runs(page, address, experiment, screenshots):
    page.set_viewport_size({"width": 1280, "height": 2600})  # the page draws only the groups that are in sight
    open_page(page, f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART", PLAIN, DROPPED, "test/accuracy")
    page.get_by_text(f"{DROPPED} (test/accuracy)").first.wait_for(state="attached")
    page.screenshot(path=screenshots / "charts.png")
    text = page.inner_text("body")
    assert all(metric in text for metric in ("gap/loss", "norm/weight", "test/accuracy"))


def test_the_compare_page_shows_what_differs(page, address, experiment, folder, screenshots):
    open_page(page, compare_url(address, experiment, [run.run_id for run in folder[1]]), PLAIN, DROPPED)
    for part in ("Parameters", "Metrics"):
        page.get_by_role("switch", name=f"{part} - Show diff only").click()
    page.get_by_text("confusion_matrix.png").first.wait_for()
    page.locator("svg.main-svg").first.wait_for()
    page.screenshot(path=screenshots / "compare.png")
    text = page.inner_text("body")
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in text.splitlines() if "\t" in line}
    assert rows["reg.dropout.drop_probability"] == ["0", "0.2"]
    assert rows["regularizers"] == ["none", "dropout"]
    assert "optimizer" not in rows
    assert all(metric in text for metric in ("test/accuracy", "gap/accuracy", "norm/weight"))
    assert all(file in text for file in ("config.toml", "curves.png"))


def test_a_run_tells_what_it_is_and_keeps_its_files(page, address, experiment, folder, screenshots):
    run = f"{address}/#/experiments/{experiment}/runs/{folder[1][1].run_id}"
    open_page(page, run, DROPPED)
    page.get_by_text("Repeat with:").first.wait_for()
    page.screenshot(path=screenshots / "run.png")
    assert "regplug run" in page.inner_text("body")
    open_page(page, f"{run}/artifacts", "bundle")
    page.get_by_text("bundle", exact=True).first.click()
    for name in ("model.onnx", "model.ts", "manifest.json", "SHA256SUMS"):
        page.get_by_text(name, exact=True).first.wait_for()
    page.get_by_text("curves.png", exact=True).first.click()
    page.wait_for_timeout(2_000)
    page.screenshot(path=screenshots / "files.png")


def test_a_run_draws_its_curves(page, address, experiment, folder, screenshots):
    run = f"{address}/#/experiments/{experiment}/runs/{folder[1][1].run_id}"
    open_page(page, f"{run}/model-metrics", DROPPED, f"{DROPPED} (norm/weight)")
    page.locator("svg.main-svg").first.wait_for()
    page.screenshot(path=screenshots / "curves.png")
    assert page.locator("svg.main-svg path.js-line, svg.main-svg path.point, .gl-container canvas").count()
