"""The page of an experiment in a store of 5,000 runs, as `regplug ui` serves it."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from browsing import needs_browser, open_page
from runs import standing_in
from tracking_stores import copied_store
from waiting import end_group, free_port, wait_until

from regplug.tracking import ChildRun, open_store
from regplug.tracking.kinds import STUDY_TAG

pytestmark = [pytest.mark.full, needs_browser]

STUDIES, EACH = 50, 99


def child(number):
    params = {"model": "mlp", "dataset": "digits", "regularizers": "l2", "reg.l2.strength": number / 100}
    points = [(f"test/{name}", number / EACH, epoch, epoch) for name in ("loss", "accuracy") for epoch in range(5)]
    return ChildRun(name=f"mlp + l2 seed {number}", params=params, metrics=points, start_ms=number, end_ms=number + 9)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store of 5,000 runs in one experiment: fifty studies and their runs."""
    with standing_in(tmp_path_factory.mktemp("many_runs")) as made:
        copied_store(made)
        store = open_store()
        for number in range(STUDIES):
            params, tags = {"model": "mlp", "dataset": "digits"}, {STUDY_TAG: "sweep"}
            study = store.start_run(experiment="digits/mlp", name=f"study {number}", params=params, tags=tags)
            with study:
                list(store.log_children(study.run_id, "digits/mlp", [child(at) for at in range(EACH)]))
        assert len(store.runs(limit=None)) == STUDIES * (EACH + 1) == 5000
        yield made


@pytest.fixture(scope="module")
def runs_url(folder):
    """The page that `regplug ui` names."""
    said, log = folder / "ui.json", folder / "ui.log"
    command = [sys.executable, "-m", "regplug", "ui", "--port", str(free_port()), "--json"]
    with said.open("w") as out, log.open("w") as err:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, start_new_session=True)
    try:
        wait_until(lambda: said.read_text().endswith("}\n"), process, log)
        yield json.loads(said.read_text())["runs_url"]
    finally:
        end_group(process)


def test_the_page_of_an_experiment_of_five_thousand_runs_shows_its_newest_runs(page, runs_url, screenshots, tell):
    began = time.monotonic()
    open_page(page, runs_url, f"study {STUDIES - 1}")
    seconds = time.monotonic() - began
    tell(f"the page of an experiment of 5,000 runs shows the newest after {seconds:.1f} s")
    page.wait_for_timeout(2_000)
    page.screenshot(path=screenshots / "many-runs.png")
    names = page.locator(".ag-cell a").all_inner_texts()
    assert {f"study {STUDIES - number}" for number in range(1, 11)} <= set(names)
    assert "matching runs" in page.inner_text("body")
