"""MLflow's UI in a real browser, started as README says: two runs compared, with parameters, curves and files.

Screenshots go to `$REGPLUG_SCREENSHOTS`, else to a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from made_docs import README

import regplug
from regplug.tracking.ui import compare_url

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e .[test]")

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_TIMEOUT_S = 240
PAGE_TIMEOUT_MS = 90_000
PLAIN, DROPPED = "mlp seed 0", "mlp + dropout(p=0.2) seed 0"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store of two runs, as `regplug run` leaves it."""
    made = tmp_path_factory.mktemp("two_runs")
    before = Path.cwd()
    os.chdir(made)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            yield made, [regplug.run(reg=reg, epochs=6) for reg in ([], ["dropout:drop_probability=0.2"])]
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def address(folder):
    """Where the UI listens: README's command, on a free port."""
    (line,) = (line.strip() for line in README.read_text().splitlines() if line.startswith("    mlflow ui "))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = shlex.split(line)
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:], "--port", str(port)]
    with (folder[0] / "ui.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder[0], stdout=log, stderr=log, start_new_session=True)
        try:
            base = f"http://127.0.0.1:{port}"
            _wait(process, f"{base}/health", folder[0] / "ui.log")
            yield base
        finally:
            _end(process)


def _wait(process, url, log):
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310  # our own address
            return
        time.sleep(0.2)
    pytest.fail(f"the UI did not start:\n{log.read_text()}")


def _end(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
            return


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield made
        made.close()


@pytest.fixture
def page(browser):
    made = browser.new_page(viewport={"width": 1280, "height": 1400})
    made.set_default_timeout(PAGE_TIMEOUT_MS)
    yield made
    made.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    chosen = os.environ.get("REGPLUG_SCREENSHOTS")
    place = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture
def experiment(folder):
    """Id of the runs' experiment."""
    from mlflow import MlflowClient

    result = folder[1][0]
    return MlflowClient(result.tracking_uri).get_run(result.run_id).info.experiment_id


def _open(page, url, *texts):
    """Opens a page, waits until it shows the texts, and closes MLflow's assistant."""
    page.goto(url)
    for text in texts:
        page.get_by_text(text, exact=True).first.wait_for()
    close = page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
    if close.count():
        close.first.click()


def test_the_table_lists_both_runs_by_what_differs(page, address, experiment, screenshots):
    _open(page, f"{address}/#/experiments/{experiment}/runs", PLAIN, DROPPED)
    page.screenshot(path=screenshots / "table.png")
    text = page.inner_text("body")
    assert "2 matching runs" in text
    assert "digits" in text


def test_the_charts_draw_both_runs(page, address, experiment, screenshots):
    _open(page, f"{address}/#/experiments/{experiment}/runs?compareRunsMode=CHART", PLAIN, DROPPED, "test/accuracy")
    page.get_by_text(f"{DROPPED} (test/accuracy)").first.wait_for(state="attached")
    page.screenshot(path=screenshots / "charts.png")
    text = page.inner_text("body")
    # The page draws what is in sight: the groups further down come when one scrolls.
    assert all(metric in text for metric in ("gap/loss", "norm/weight", "test/accuracy"))


def test_the_compare_page_shows_what_differs(page, address, experiment, folder, screenshots):
    _open(page, compare_url(address, experiment, [run.run_id for run in folder[1]]), PLAIN, DROPPED)
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
    _open(page, run, DROPPED)
    page.get_by_text("Repeat with:").first.wait_for()
    page.screenshot(path=screenshots / "run.png")
    assert "regplug run" in page.inner_text("body")
    _open(page, f"{run}/artifacts", "bundle")
    page.get_by_text("bundle", exact=True).first.click()
    for name in ("model.onnx", "model.ts", "manifest.json", "SHA256SUMS"):
        page.get_by_text(name, exact=True).first.wait_for()
    page.get_by_text("curves.png", exact=True).first.click()
    page.wait_for_timeout(2_000)
    page.screenshot(path=screenshots / "files.png")


def test_a_run_draws_its_curves(page, address, experiment, folder, screenshots):
    run = f"{address}/#/experiments/{experiment}/runs/{folder[1][1].run_id}"
    _open(page, f"{run}/model-metrics", DROPPED, f"{DROPPED} (norm/weight)")
    page.locator("svg.main-svg").first.wait_for()
    page.screenshot(path=screenshots / "curves.png")
    assert page.locator("svg.main-svg path.js-line, svg.main-svg path.point, .gl-container canvas").count()
