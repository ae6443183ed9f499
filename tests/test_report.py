"""The HTML report of a study: what it says, that it escapes, and that it needs nothing from outside."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from shortcuts import drawing

from regplug.reports.cells import named, soft
from regplug.reports.contents import ComparisonReport, StudyReport
from regplug.reports.judging import judge
from regplug.reports.page import EXPLANATIONS, render_report
from regplug.reports.sentences import answer_of, question_of
from regplug.statistics import PairKey, Question, Setting, Study, StudyRun, analyse, rank_over_datasets
from regplug.studies.report_facts import Trained, facts_of_runs

pytestmark = pytest.mark.usefixtures("figures_are_drawn")

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
    with drawing():
        return render_report(report_of(study, command="regplug sweep --grid 'reg.l2.strength=0,1'", **options))


class Reader(HTMLParser):
    """Collects tags, attributes and text; complains about tags that are not closed in turn."""

    VOID = ("meta", "br", "link", "wbr")

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
    assert reader.tags.count("tr") == 2 * (1 + len(STRENGTHS)), "the settings, and their expert statistics"
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
    assert reader.tags.count("table") == 4
    assert "script" not in reader.tags
    text = " ".join(" ".join(reader.text).split())
    assert text.count("is better than") >= 2
    assert "Mean ranks a 1;" in text
    assert "Critical difference of ranks" in text


def test_where_a_bootstrap_interval_is_missing_the_cell_and_a_note_say_why():
    few, many = (render_report(report_of(study_of({"a": {}, "b": {}}, num_seeds=count))) for count in (5, 10))
    assert few.count(">from 10 on</td>") == 2
    assert "Below 10 seeds there is no bootstrap interval" in few
    assert "from 10 on" not in many
    assert "no bootstrap interval" not in many


def asked(study, **options):
    analysis = analyse(study, ACCURACY, **options)
    return question_of(study, analysis), answer_of(analysis)


def test_the_question_and_the_answer_name_the_reference():
    question, told = asked(study_of({"none": {}, "l2": {}, "dropout": {}}), baseline="none")
    assert question == "Is any of l2 or dropout better than none in test/accuracy?"
    assert told.startswith("No improvement over none was detected; 2 are worse; the best of the others is l2, with a")
    _, told = asked(study_of({"l2": {}, "none": {}, "dropout": {}}), baseline="none")
    assert told.startswith("Yes: 1 of 2 settings is better than none, l2, by 0.0")
    assert told.endswith("after Holm; 1 is worse.")


def test_the_question_follows_from_what_varies():
    strengths = study_of({f"l2={x}": {"reg.l2.strength": x} for x in STRENGTHS})
    assert asked(strengths, baseline="l2=0")[0] == "Which l2.strength gives the best test/accuracy, and does it help?"
    three = study_of({"a": {}, "b": {}, "c": {}})
    assert asked(three)[0] == "Which of 3 settings has the best test/accuracy?"
    assert "is better than 2 of the 2 others." in asked(three)[1]
    assert asked(three, all_pairs=True)[0] == "Which of 3 settings differ in test/accuracy?"
    assert asked(three, all_pairs=True)[1].startswith("3 of 3 pairs differ detectably; a has the best mean, 0.")
    two = study_of({"a": {}, "b": {}})
    assert asked(two)[0] == "Do a and b differ in test/accuracy?"
    assert asked(two)[1].startswith("Yes: a is better than b in test/accuracy by 0.0")
    assert asked(study_of({"a": {}}, num_seeds=1))[0] == "How good is a in test/accuracy?"


def test_the_header_tells_what_was_trained():
    trained = [
        Trained(
            dataset="digits",
            model="mlp",
            epochs="5",
            seed=seed,
            data_seed=0,
            fold=(fold, 0),
            sizes={"train": 90 + fold},
        )
        for seed in (0, 1, 2)
        for fold in (0, 1)
    ]
    facts = facts_of_runs(trained)
    assert facts == {
        "Dataset": "digits",
        "Rows": "train 90 to 91",
        "Model": "mlp",
        "Epochs": "5",
        "Seeds": "3 (0 to 2)",
        "Folds": "2",
    }
    text = " ".join(read(render_report(report_of(study_of({"a": {}, "b": {}}), facts=facts))).text)
    assert all(value in text for value in facts.values())


def test_a_name_may_be_broken_only_between_its_parts():
    assert str(soft("dropout:drop_probability=0.2+l2")) == "dropout:drop_probability=0.2+<wbr>l2"
    assert str(soft(f"net:{'x' * 40}=1")) == f"net:<wbr>{'x' * 40}=<wbr>1"
    told = str(named("l2 is better than none, not l20.", ["l2", "none"]))
    assert told == '<span class="n">l2</span> is better than <span class="n">none,</span> not l20.'


def test_every_expert_statistic_is_folded_away_and_explained(page):
    folded = page[page.index("<summary>Expert statistics") :]
    folded = folded[: folded.index("</details>")]
    heads = re.findall(r'<th scope="col">(.*?)</th>', folded)
    assert heads == [name for name in EXPLANATIONS if f"<dt>{name}</dt>" in folded] != []


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
