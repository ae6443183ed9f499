"""The HTML report of a study: what it says, that it escapes, and that it needs nothing from outside."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from regplug.reports import curves, factors, figures, plots
from regplug.reports.judging import judge
from regplug.reports.page import ComparisonReport, StudyReport, render_report
from regplug.statistics import PairKey, Question, Setting, Study, StudyRun, analyse, rank_over_datasets

ACCURACY = "test/accuracy"
EVIL = "<script>alert('$x_1$')</script>"
STRENGTHS = (0, 0.01, 0.1, 1)


def study_of(varied, *, num_seeds=5):
    """A study whose settings differ by a little, by label; `varied` says what distinguishes each."""
    rng = np.random.default_rng(0)
    by_seed = rng.normal(0.9, 0.01, num_seeds)
    runs = [
        StudyRun(setting=label, key=PairKey(seed=seed), seconds=1.5, metrics={ACCURACY: value, "valid/loss": 1 - value})
        for at, label in enumerate(varied)
        for seed, value in enumerate(by_seed - 0.02 * at + rng.normal(0, 0.002, num_seeds))
    ]
    settings = tuple(Setting(label=label, varied=values) for label, values in varied.items())
    return Study(name="trial", settings=settings, runs=tuple(runs))


def report_of(study, curves=(), **options):
    judged = judge(study, Question(metric=ACCURACY, selected_by="valid/loss"), dict(curves))
    return StudyReport(title="A trial", study=study, analysis=judged.analysis, figures=judged.figures, **options)


CURVES = {"valid/loss": {f"l2={x}": [[(1, 0.9), (2, 0.5)], [(1, 0.8), (2, 0.6)]] for x in STRENGTHS}}


@pytest.fixture(scope="module")
def page():
    study = study_of({f"l2={x}": {"reg.l2.strength": x} for x in STRENGTHS})
    options = {"curves": CURVES, "notes": ("Folds were trimmed.",), "compare_url": "http://127.0.0.1:5000/#/compare"}
    return render_report(report_of(study, command="regplug sweep --grid 'reg.l2.strength=0,1'", **options))


class Reader(HTMLParser):
    """Collects tags, attributes and text; complains about tags that are not closed in turn."""

    VOID = ("meta", "br", "link")

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_tells_verdict_table_figures_method_and_command(page):
    reader = read(page)
    text = " ".join(" ".join(reader.text).split())
    assert "l2=0 has the best valid/loss. l2=0 is better than" in text
    assert reader.tags.count("tr") == 1 + len(STRENGTHS)
    assert reader.tags.count("figure") == reader.tags.count("svg") == 3
    for part in ("chosen by validation", "Holm's correction", "Folds were trimmed.", "reg.l2.strength=0,1", "1.5"):
        assert part in text


def test_the_page_takes_nothing_from_outside(page):
    reader = read(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(reader.tags)
    loaded = [value for name, value in reader.attributes if name in ("src", "href", "xlink:href", "data", "action")]
    assert [value for value in loaded if not value.startswith("#")] == ["http://127.0.0.1:5000/#/compare"]
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page


def test_the_page_serves_dark_screens_and_phones(page):
    for part in ("prefers-color-scheme: dark", "width=device-width", "max-width: 40rem", "currentColor"):
        assert part in page


def test_the_same_study_gives_the_same_page(page):
    study = study_of({f"l2={x}": {"reg.l2.strength": x} for x in STRENGTHS})
    options = {"curves": CURVES, "notes": ("Folds were trimmed.",), "compare_url": "http://127.0.0.1:5000/#/compare"}
    assert page == render_report(report_of(study, command="regplug sweep --grid 'reg.l2.strength=0,1'", **options))


def test_every_text_from_outside_is_escaped():
    study = study_of({EVIL: {"reg": EVIL}, "none & <b>": {"reg": "none"}})
    curves = {EVIL: {EVIL: [[(1, 0.5)]]}}
    report = report_of(study, command=EVIL, notes=(EVIL,), details={EVIL: EVIL}, curves=curves)
    page = render_report(report)
    reader = read(page)
    assert "script" not in reader.tags
    assert "b" not in reader.tags
    assert "".join(reader.text).count("alert(") >= 8


def test_groups_that_are_not_ranked_together_have_a_part_each_on_one_page():
    first, second = (report_of(study_of({"a": {}, EVIL: {}}), compare_url="http://x/") for _ in range(2))
    ranks = rank_over_datasets([{"a": 0.9, EVIL: 0.8}] * 2, [False] * 2)
    parts = (first, replace(second, title=EVIL))
    page = render_report(ComparisonReport(title="Two", verdict="2 groups", parts=parts, ranks=ranks, notes=(EVIL,)))
    reader = read(page)
    assert reader.tags.count("table") == 2
    assert "script" not in reader.tags
    text = " ".join(" ".join(reader.text).split())
    assert text.count("is better than") >= 2
    assert "Mean ranks a 1;" in text
    assert "Critical difference of ranks" in text


def test_where_a_bootstrap_interval_is_missing_the_cell_and_a_note_say_why():
    few, many = (render_report(report_of(study_of({"a": {}, "b": {}}, num_seeds=count))) for count in (5, 10))
    assert few.count("<td>from 10 on</td>") == 2
    assert "Below 10 seeds there is no bootstrap interval" in few
    assert "from 10 on" not in many
    assert "no bootstrap interval" not in many


def test_an_address_that_runs_code_is_no_link():
    page = render_report(report_of(study_of({"a": {}, "b": {}}), compare_url="javascript:alert(1)"))
    assert "javascript:" not in page


def test_a_study_of_one_run_makes_a_page():
    page = render_report(report_of(study_of({"only": {}}, num_seeds=1)))
    assert "There is nothing to compare." in page


def test_a_setting_that_only_failed_stands_in_the_table_and_in_no_figure():
    study = study_of({"a": {}, "b": {}})
    failed = StudyRun(setting="dead", key=PairKey(seed=0), metrics={ACCURACY: math.nan})
    study = Study(name="s", settings=(*study.settings, Setting(label="dead")), runs=(*study.runs, failed))
    page = render_report(report_of(study))
    assert "1 failed" in page
    assert "too few pairs" in page
    assert page.count("dead</text>") == 0


def test_each_number_that_varies_has_a_response_with_a_line_for_the_rest():
    study = study_of({f"{r} {x}": {"reg": r, "lr": x} for r in ("none", "l2") for x in (0.1, 0.2, 0.3)})
    (response,) = factors.responses_of(study)
    assert response.factor == "lr"
    assert {name: [x for x, _ in points] for name, points in response.lines.items()} == {
        "reg=none": [0.1, 0.2, 0.3],
        "reg=l2": [0.1, 0.2, 0.3],
    }
    assert factors.responses_of(study_of({"a": {"reg": "none"}, "b": {"reg": "l2"}})) == []


def test_the_parameters_of_a_component_are_factors_of_their_own():
    texts = ("none", "l2:strength=0.1", "l2:strength=1", "dropout:drop_probability=0.2", "dropout:drop_probability=0.4")
    responses = factors.responses_of(study_of({text: {"reg": text} for text in texts}))
    assert [response.factor for response in responses] == ["reg.l2.strength", "reg.dropout.drop_probability"]
    assert [x for points in responses[0].lines.values() for x, _ in points] == [0.1, 1]


def test_two_factors_form_a_grid_only_if_every_cell_is_a_setting():
    cells = {f"{a} {b}": {"lr": a, "model": b} for a in (0.3, 0.1) for b in ("linear", "mlp")}
    grid = factors.grid_of(study_of(cells))
    assert sorted(grid.names) == ["lr", "model"]
    assert len(grid.cells) == 4
    del cells["0.1 mlp"]
    assert factors.grid_of(study_of(cells)) is None


@pytest.mark.parametrize(
    ("xs", "is_log"),
    [
        ({0, 0.01, 0.1, 1}, True),
        ({1e-4, 1e-3, 1e-2}, True),
        ({1, 2, 3}, False),
        ({0, 1}, False),
        ({-10, 1, 5, 90}, False),
    ],
)
def test_strengths_spaced_by_factors_have_a_logarithmic_axis(xs, is_log):
    assert factors.is_log_spaced(xs) is is_log
    band = plots.Band(label="", xs=sorted(xs), mean=[0.5] * len(xs), low=[0.4] * len(xs), high=[0.6] * len(xs))
    scale = plots.bands_figure("x", "y", [band], is_log=is_log).axes[0].get_xscale()
    assert scale == (("symlog" if 0 in xs else "log") if is_log else "linear")


def test_the_band_is_the_interval_of_the_table():
    study = study_of({f"l2={x}": {"reg.l2.strength": x} for x in STRENGTHS})
    analysis = analyse(study, ACCURACY)
    drawn = figures.find(figures.drawings(study, analysis, {}), "strength-reg.l2.strength").draw()
    axes = drawn.axes[0]
    low = min(vertex[1] for vertex in axes.collections[0].get_paths()[0].vertices)
    assert low == pytest.approx(min(summary.t_interval[0] for summary in analysis.summaries))


def test_a_stopped_run_keeps_its_last_value_in_the_mean_curve():
    band = curves.mean_curve("a", [[(1, 1.0), (2, 0.5)], [(1, 1.0), (2, 0.7), (3, 0.3)]])
    assert list(band.xs) == [1, 2, 3]
    assert band.mean == pytest.approx([1.0, 0.6, 0.4])
    assert band.high[2] - band.mean[2] == pytest.approx(np.std([0.5, 0.3], ddof=1))


def test_a_diverged_value_counts_for_nothing_in_the_mean_curve():
    band = curves.mean_curve("a", [[(1, 1.0), (2, math.nan)], [(1, 3.0), (2, math.inf)]])
    assert band.mean[0] == 2.0
    assert math.isnan(band.mean[1])


def test_the_chosen_setting_and_the_reference_are_shown_beside_the_leading_ones():
    study = study_of({label: {} for label in "abcdefgh"})
    analysis = analyse(study, ACCURACY, baseline="h")
    assert curves.leading(analysis, dict.fromkeys("abcdefgh")) == ["a", "b", "c", "d", "h"]
    assert curves.leading(analysis, {"b": 0}) == ["b"]


def test_figures_are_png_and_repeat():
    study = study_of({"_a": {}, "$b": {}})
    drawn = [figures.settings_png(study, analyse(study, ACCURACY)) for _ in range(2)]
    assert drawn[0].startswith(b"\x89PNG")
    assert drawn[0] == drawn[1]


def test_a_name_with_an_underscore_in_front_stands_in_the_legend():
    band = plots.Band(label="_a", xs=[1, 2], mean=[1, 2], low=[1, 2], high=[1, 2])
    assert ">_a</text>" in plots.svg(plots.bands_figure("x", "y", [band])).replace("> ", ">")
