"""Pages in a real browser: Debian's chromium through Playwright, and MLflow's UI started as README says.

Screenshots go to `$REGPLUG_SCREENSHOTS`, else to a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from made_docs import README
from waiting import end_group, free_port, wait_for_answer

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
PAGE_TIMEOUT_MS = 300_000

needs_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}: apt-get install chromium")


@contextlib.contextmanager
def serving(folder):
    """MLflow's UI of a folder's store, by README's command on a free port; yields its address."""
    (line,) = (line.strip() for line in README.read_text().splitlines() if line.startswith("    mlflow ui "))
    port = free_port()
    words = shlex.split(line)
    command = [str(Path(sys.executable).with_name(words[0])), *words[1:], "--port", str(port)]
    with (folder / "ui.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for_answer(f"{base}/health", process, folder / "ui.log")
            yield base
        finally:
            end_group(process)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e .[test]"
    )
    with playwright.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS), timeout=PAGE_TIMEOUT_MS)
        yield made
        made.close()


@pytest.fixture
def page(browser):
    """A page; the test fails if a script or a request failed, or if it says at the end that something went wrong."""
    made, problems = browser.new_page(viewport={"width": 1280, "height": 1400}), []
    made.set_default_timeout(PAGE_TIMEOUT_MS)
    made.on("response", lambda answer: problems.extend(_failures(answer)))
    made.on("pageerror", lambda error: problems.append(str(error)))
    yield made
    text = made.inner_text("body")
    made.close()
    assert problems == []
    assert "Something went wrong" not in text


def _failures(answer):
    """A request that failed; MLflow's pages ask who is logged in, which a server without users answers with 404."""
    is_expected = answer.status < 400 or answer.url.endswith("/mlflow/users/current")
    return [] if is_expected else [f"{answer.status} {answer.url}"]


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory):
    chosen = os.environ.get("REGPLUG_SCREENSHOTS")
    place = Path(chosen) if chosen else tmp_path_factory.mktemp("screenshots")
    place.mkdir(parents=True, exist_ok=True)
    return place


def open_page(page, url, *texts):
    """Opens a page, waits until it shows the texts, and closes MLflow's assistant."""
    page.goto(url)
    for text in texts:
        page.get_by_text(text, exact=True).first.wait_for()
    close = page.locator("[data-component-id='mlflow.assistant.chat_panel.close']")
    if close.count():
        close.first.click()
