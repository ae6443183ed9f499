"""A study in a real browser: its report opened from disk, and MLflow's compare page of its runs."""

from __future__ import annotations

import pytest
from browsing import needs_browser, open_page, serving
from runs import standing_in
from shortcuts import drawing

import regplug
from regplug.reports.sentences import answer_of
from regplug.studies.reporting import compare_address
from regplug.tracking import open_store

STRENGTHS = ("0", "0.03", "0.3", "3")

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the store of a small sweep, as `regplug sweep` leaves it, and the study."""
    with drawing(), standing_in(tmp_path_factory.mktemp("a_sweep")) as made:
        study = regplug.sweep(
            model="linear",
            epochs=6,
            lr=0.1,
            grid=[f"reg.l2.strength={','.join(STRENGTHS)}"],
            seeds=4,
            name="strengths",
            export=False,
        )
        yield made, study


@pytest.fixture(scope="module")
def report(folder):
    """The report as a file."""
    path = folder[0] / "report.html"
    store = open_store(folder[1].started.tracking_uri)
    path.write_text(store.read_artifact(folder[1].study_id, "report.html").read_text())
    return path


@pytest.mark.parametrize("width", [1200, 400])
def test_the_report_reads_wide_and_narrow_without_the_network(page, report, folder, screenshots, width):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report.as_uri())
    page.screenshot(path=screenshots / f"report-{width}.png", full_page=True)
    assert asked == [report.as_uri()]
    analysis = folder[1].conclusion.analysis
    assert page.locator(".answer").inner_text() == answer_of(analysis)
    facts = page.locator("header dl").inner_text()
    assert [
        text for text in ("digits", "train 1079, valid 359, test 359", "linear", "4 (0 to 3)") if text not in facts
    ] == []
    labels = [summary.label for summary in analysis.summaries]
    rows = page.locator("tbody th").all_inner_texts()[: len(labels)]
    assert all(label in row for row, label in zip(rows, labels, strict=True))
    figures = page.locator("figure svg")
    assert figures.count() >= 3
    for number in range(figures.count()):
        box = figures.nth(number).bounding_box()
        assert box["width"] > 0.7 * min(width, 544)
        assert box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    hidden = page.locator("table").first.evaluate("table => table.scrollWidth - table.clientWidth")
    assert hidden == 0, "the whole table is in sight"


def test_mlflows_compare_page_reads_strength_against_metric_at_once(page, folder, screenshots):
    study = folder[1]
    store = open_store(study.started.tracking_uri)
    info = store.find_run(study.study_id)
    url = compare_address(store, info.experiment_id, [each.run_id for each in study.results])
    with serving(folder[0]) as address:
        open_page(page, url.replace("http://127.0.0.1:5000", address), "Parallel Coordinates Plot")
        page.locator("svg.main-svg").first.wait_for()
        page.locator(".parcoords .axis-title").first.wait_for()
        page.screenshot(path=screenshots / "study-compare.png", full_page=True)
        axes = page.locator(".parcoords .axis-title").all_text_contents()
        assert axes[0] == "reg.l2.strength"
        assert axes[-1] == "test/accuracy"
