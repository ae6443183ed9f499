"""A study in a real browser: its report opened from disk, and MLflow's compare page of its runs."""

from __future__ import annotations

import pytest
from browsing import needs_browser, open_page, serving
from runs import standing_in
from shortcuts import drawing

import regplug
from regplug.reports.sentences import answer_of
from regplug.studies.reporting import compare_address
from regplug.tracking import compare_url, open_store

STRENGTHS = ("0", "0.03", "0.3", "3")
COLUMNS = ("params.`reg.l2.strength`", "metrics.`test/accuracy`")

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


@pytest.fixture(scope="module")
def address(folder):
    """Where the UI listens."""
    with serving(folder[0]) as base:
        yield base


@pytest.mark.parametrize("width", [1280, 400])
def test_the_link_of_a_study_shows_its_runs_with_strengths_the_best_first(page, address, folder, screenshots, width):
    study = folder[1]
    page.set_viewport_size({"width": width, "height": 1400})
    open_page(page, _served(study.started.runs_url, address), "Run Name")
    page.wait_for_timeout(2_000)
    page.screenshot(path=screenshots / f"study-runs-{width}.png")
    if width < 1000:
        return  # MLflow's side bars leave no room for the columns
    assert {"reg.l2.strength", "test/accuracy"} <= set(page.locator(".ag-header-cell").all_inner_texts())
    cells = {name: page.locator(f".ag-cell[col-id='{name}']").all_inner_texts() for name in COLUMNS}
    assert {float(text) for text in cells[COLUMNS[0]]} == {float(text) for text in STRENGTHS}
    scores = [float(text.rstrip("….")) for text in cells[COLUMNS[1]]]
    assert scores == sorted(scores, reverse=True)
    assert any("l2:strength=0.03" in text for text in page.locator(".ag-cell a").all_inner_texts())


def test_the_charts_of_a_study_draw_a_curve_for_each_run(page, address, folder, screenshots):
    page.set_viewport_size({"width": 1280, "height": 2600})
    study = folder[1]
    open_page(page, _served(study.started.runs_url, address), "Run Name")
    page.wait_for_timeout(1_000)
    page.goto(page.url + "&compareRunsMode=CHART")
    page.locator("svg.main-svg path.js-line").first.wait_for(state="attached")
    page.wait_for_timeout(2_000)
    page.screenshot(path=screenshots / "study-charts.png")
    assert page.locator("svg.main-svg path.js-line").count() >= 10


def test_the_compare_page_of_a_study_and_other_runs_has_files_and_durations(page, address, folder, screenshots):
    study = folder[1]
    store = open_store(study.started.tracking_uri)
    info = store.find_run(study.study_id)
    child = store.find_run(study.results[0].run_id)
    assert 0 < (child.ended - child.started).total_seconds() < 60
    assert list(store.dataset_digests(child.run_id)) == ["digits"]
    assert "Repeat with" in child.tags["mlflow.note.content"]
    open_page(page, compare_url(address, info.experiment_id, [child.run_id, info.run_id]), "Artifacts")
    page.wait_for_timeout(2_000)
    page.screenshot(path=screenshots / "study-and-child.png", full_page=True)


def test_mlflows_compare_page_reads_strength_against_metric_at_once(page, address, folder, screenshots):
    study = folder[1]
    store = open_store(study.started.tracking_uri)
    info = store.find_run(study.study_id)
    url = compare_address(store, info.experiment_id, [each.run_id for each in study.results])
    open_page(page, _served(url, address), "Parallel Coordinates Plot", "config.toml")
    page.locator("svg.main-svg").first.wait_for()
    page.locator(".parcoords .axis-title").first.wait_for()
    page.screenshot(path=screenshots / "study-compare.png", full_page=True)
    axes = page.locator(".parcoords .axis-title").all_text_contents()
    assert axes[0] == "reg.l2.strength"
    assert axes[-1] == "test/accuracy"
    assert set(axes) <= {"reg.l2.strength", "seed", "test/accuracy"}


def _served(url, address):
    return url.replace("http://127.0.0.1:5000", address)
