"""Results for papers and notebooks: tables as text, figures as files, data frames, short texts."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import pytest
from test_report import ACCURACY, EVIL, study_of

from regplug.errors import RequestError
from regplug.reports import figures, files
from regplug.reports.cells import html_table
from regplug.reports.outputs import TABLE_KINDS
from regplug.reports.table import run_records, setting_records, table_text
from regplug.statistics import analyse
from regplug.tables.frames import frame_of

NAMES = ("none", "l2:strength=0.1", "a_b & 50% #1 $x$ {y} ~ ^ \\ <z> | *")


@pytest.fixture(scope="module")
def study():
    return study_of({name: {"reg": name} for name in NAMES})


@pytest.fixture(scope="module")
def parts(study):
    return [("", analyse(study, ACCURACY, selected_by="valid/loss", baseline="none"))]


def test_csv_and_json_have_every_digit(parts):
    (_, analysis), text = parts[0], table_text(parts, "csv")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["setting"] for row in rows] == [summary.label for summary in analysis.summaries]
    assert [float(row["mean"]) for row in rows] == [summary.mean for summary in analysis.summaries]
    assert float(rows[1]["difference_low"]) == analysis.comparison_of(rows[1]["setting"]).interval[0]
    assert json.loads(table_text(parts, "json")) == setting_records(parts)


def test_latex_is_balanced_and_every_special_letter_is_escaped(parts):
    text = table_text(parts, "latex")
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lrrrr}"
    assert [lines[1], lines[3], lines[-2], lines[-1]] == [r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}"]
    assert {line.count(" & ") for line in lines if line.endswith(r"\\")} == {4}
    assert re.search(r"none \(reference, chosen by validation\) & 0\.\d+ \[0\.\d+, 0\.\d+\] & +& +& 5 \\\\", text)
    assert re.search(r"& \$-\$0\.0\d+ \[\$-\$0\.0\d+, \$-\$0\.0\d+\] &", text)
    bare = re.sub(r"\\[a-zA-Z]+(\{\})?|\\[&%$#_{}\\]|\$-\$", "", text)
    assert not re.search(r"[%$#_~^|<>\\]", bare)
    assert bare.count("{") == bare.count("}")


def test_markdown_has_a_cell_for_each_column(parts):
    lines = table_text(parts, "markdown").splitlines()
    assert len(lines) == 2 + len(NAMES)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {6}
    assert "l2:strength=0.1" in lines[3]


def test_several_groups_have_a_table_each_and_a_column_in_csv(parts):
    two = [("digits", parts[0][1]), ("wine", parts[0][1])]
    assert table_text(two, "latex").count(r"\begin{tabular}") == 2
    assert "% wine" in table_text(two, "latex")
    assert "**wine**" in table_text(two, "markdown")
    assert {row["group"] for row in csv.DictReader(table_text(two, "csv").splitlines())} == {"digits", "wine"}


def test_an_unknown_kind_of_table_or_figure_is_refused(parts, tmp_path):
    with pytest.raises(RequestError, match="cannot be written as latx") as refused:
        table_text(parts, "latx")
    assert "latex" in refused.value.hint
    with pytest.raises(RequestError, match="cannot be written as jpg"):
        files.save_figures([], tmp_path, ["jpg"])
    with pytest.raises(RequestError, match="There is no figure diffrences") as refused:
        figures.find(figures.drawings(study_of({"a": {}, "b": {}}), parts[0][1], {}), "diffrences")
    assert "differences" in refused.value.hint


@pytest.mark.slow
@pytest.mark.usefixtures("figures_are_drawn")
def test_figures_are_files_of_each_format_and_repeat(study, parts, tmp_path):
    drawn = figures.drawings(study, parts[0][1], {})[:1]
    drawn = [replace(drawn[0], name="strength-reg/l2 x")]
    paths = [files.save_figures(drawn, tmp_path / place) for place in ("a", "b")]
    assert [path.name for path in paths[0]] == [f"strength-reg-l2-x.{kind}" for kind in ("svg", "pdf", "png")]
    starts = [path.read_bytes()[:5] for path in paths[0]]
    assert (starts[0], starts[1], starts[2][1:4]) == (b"<?xml", b"%PDF-", b"PNG")
    assert [one.read_bytes() for one in paths[0]] == [other.read_bytes() for other in paths[1]]


def test_records_become_data_frames(study, parts):
    frame = frame_of(setting_records(parts))
    assert list(frame["setting"]) == [summary.label for summary in parts[0][1].summaries]
    runs = frame_of(run_records([("", study)]))
    assert len(runs) == len(study.runs)
    assert {"setting", "reg", "seed", "status", "seconds", ACCURACY} <= set(runs.columns)


def test_a_notebook_shows_an_escaped_table():
    study = study_of({EVIL: {}, "b": {}})
    text = html_table(EVIL, EVIL, [("", analyse(study, ACCURACY))])
    assert "<script" not in text
    assert text.count("<tr>") == 3


def test_every_kind_is_tested():
    assert TABLE_KINDS == ("csv", "latex", "markdown", "json")
