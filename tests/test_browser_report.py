"""Reports in a real browser: wide and narrow, light and dark, with few and with many long names."""

from __future__ import annotations

import pytest
from browsing import needs_browser
from shortcuts import drawing
from test_report import report_of, study_of

from regplug.reports.page import render_report

pytestmark = [pytest.mark.slow, needs_browser]

LONG = (
    "batchnorm+dropout:drop_probability=0.3+label_smoothing:smoothing=0.1+l2:strength=0.0001",
    "dropout:drop_probability=0.5,at=act*+stochastic_depth:survival_probability=0.8",
    "early_stopping:patience=10,metric=valid/loss",
    "./a/folder/with/a/long/name/of_a_regularizer.py:ARegularizerWithoutAnyPlaceToBreakIt",
)
MANY = (
    "none",
    *(f"{name}:strength={x}" for name in ("l1", "l2", "mixup") for x in (0.001, 0.01, 0.1, 1, 10)),
    *LONG[:3],
)
CASES = {
    "three": {name: {"reg": name} for name in ("none", LONG[0], LONG[3])},
    "nineteen": {name: {"reg": name} for name in MANY},
    "grid": {f"l2.strength={x}, lr={y}": {"reg.l2.strength": x, "lr": y} for x in (0, 0.01, 1) for y in (0.1, 0.2)},
}

CUT = """svg => [...svg.querySelectorAll('text')].filter(text => {
    const inner = text.getBoundingClientRect(), outer = svg.getBoundingClientRect(), slack = 1;
    return inner.left < outer.left - slack || inner.right > outer.right + slack
        || inner.top < outer.top - slack || inner.bottom > outer.bottom + slack;
}).map(text => text.textContent)"""
"""The labels of a figure that reach out of it."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    for name, varied in CASES.items():
        curves = {"valid/loss": {label: [[(1, 0.9), (2, 0.5)], [(1, 0.8), (2, 0.6)]] for label in varied}}
        with drawing():
            report = report_of(study_of(varied), curves, facts={"Dataset": "credit_data.csv", "Rows": "train 100"})
        (folder / f"{name}.html").write_text(render_report(report), encoding="utf-8")
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
@pytest.mark.parametrize("case", CASES)
def test_no_label_is_cut_and_nothing_is_loaded(browser, files, screenshots, case, width, scheme):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    address = (files / f"{case}.html").as_uri()
    page.goto(address)
    page.screenshot(path=screenshots / f"report-{case}-{width}-{scheme}.png", full_page=True)
    assert asked == [address]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [cut for cut in (svg.evaluate(CUT) for svg in page.locator("figure svg").all()) if cut] == []
    names = page.locator("th.name:visible").all()
    assert len(names) >= len(CASES[case])
    assert all(name.evaluate("cell => cell.scrollWidth <= cell.clientWidth + 1") for name in names)
    page.locator("details").evaluate_all("all => all.forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_names_are_whole_in_the_figures(browser, files):
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto((files / "three.html").as_uri())
    shown = "".join("".join(page.locator("figure svg text").all_text_contents()).split())
    assert [name for name in CASES["three"] if name not in shown] == []
    page.close()
